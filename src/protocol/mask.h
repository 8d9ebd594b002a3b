// SPDX-License-Identifier: Apache-2.0
// The XOR masking of RFC 6455 section 5.3, in place. Masking and unmasking are the same operation.
// The widest vectors the compiler was told of are used (AVX2, SSE2, else 64-bit words); the ragged
// end is done by one more vector that overlaps the one before, so no byte loop runs from 4 bytes
// on. Thread: any. Owner: borrows. Limits: none; any alignment.
#pragma once

#include <bit>
#include <cstddef>
#include <cstdint>

#if defined(__SSE2__)
#include <immintrin.h>
#endif

#include "base/bytes.h"

namespace tidegate::protocol {

// The key as load_le<uint32_t> of its four bytes, turned so that its first byte is the one that
// applies at payload offset `phase`. For payloads masked in pieces.
inline uint32_t rotate_mask(uint32_t key, uint64_t phase) {
  return std::rotr(key, static_cast<int>(phase & 3) * 8);
}

// One byte at a time: the reference that the vector form is tested against.
inline void apply_mask_scalar(uint8_t* data, size_t size, uint32_t key) {
  for (size_t i = 0; i < size; ++i) data[i] ^= static_cast<uint8_t>(key >> ((i & 3) * 8));
}

namespace detail {

template <class Word>
inline void xor_word(uint8_t* to, Word word, Word key) {
  base::store_le<Word>(to, word ^ key);
}

// size in [sizeof(Word), 2 * sizeof(Word)]: two words, both read before either is written.
template <class Word>
inline void mask_two_words(uint8_t* data, size_t size, Word key, Word tail_key) {
  const Word head = base::load_le<Word>(data);
  const Word tail = base::load_le<Word>(data + size - sizeof(Word));
  // The overlap is stored by both with equal bytes.
  xor_word(data, head, key);
  xor_word(data + size - sizeof(Word), tail, tail_key);
}

inline uint64_t widen(uint32_t key) { return key * 0x100000001u; }

}  // namespace detail

// Masks or unmasks data[0, size) with `key` = load_le<uint32_t> of the four mask bytes.
inline void apply_mask(uint8_t* data, size_t size, uint32_t key) {
  // Every branch ends with one overlapping unit at the end, so its key is turned by the distance.
  const uint32_t tail_key = rotate_mask(key, size);
#if defined(__AVX2__)
  if (size >= 32) {
    uint8_t* const last = data + size - 32;
    const __m256i wide = _mm256_set1_epi32(static_cast<int>(key));
    const __m256i tail =
        _mm256_xor_si256(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(last)),
                         _mm256_set1_epi32(static_cast<int>(tail_key)));
    for (; data < last; data += 32) {
      __m256i* const at = reinterpret_cast<__m256i*>(data);
      _mm256_storeu_si256(at, _mm256_xor_si256(_mm256_loadu_si256(at), wide));
    }
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(last), tail);
    return;
  }
#endif
#if defined(__SSE2__)
  if (size >= 16) {
    uint8_t* const last = data + size - 16;
    const __m128i wide = _mm_set1_epi32(static_cast<int>(key));
    const __m128i tail = _mm_xor_si128(_mm_loadu_si128(reinterpret_cast<const __m128i*>(last)),
                                       _mm_set1_epi32(static_cast<int>(tail_key)));
    for (; data < last; data += 16) {
      __m128i* const at = reinterpret_cast<__m128i*>(data);
      _mm_storeu_si128(at, _mm_xor_si128(_mm_loadu_si128(at), wide));
    }
    _mm_storeu_si128(reinterpret_cast<__m128i*>(last), tail);
    return;
  }
#else
  if (size > 16) {
    uint8_t* const last = data + size - 8;
    const uint64_t tail = base::load_le<uint64_t>(last) ^ detail::widen(tail_key);
    for (; data < last; data += 8) {
      detail::xor_word<uint64_t>(data, base::load_le<uint64_t>(data), detail::widen(key));
    }
    base::store_le(last, tail);
    return;
  }
#endif
  if (size >= 8) {
    detail::mask_two_words<uint64_t>(data, size, detail::widen(key), detail::widen(tail_key));
  } else if (size >= 4) {
    detail::mask_two_words<uint32_t>(data, size, key, tail_key);
  } else {
    apply_mask_scalar(data, size, key);
  }
}

}  // namespace tidegate::protocol
