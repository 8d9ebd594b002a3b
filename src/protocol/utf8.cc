// SPDX-License-Identifier: Apache-2.0
#include "protocol/utf8.h"

#include <bit>

#if defined(__SSE2__)
#include <immintrin.h>
#endif

namespace tidegate::protocol {

namespace {

// First byte at or behind `p` that is not ASCII, or `end`.
const uint8_t* skip_ascii(const uint8_t* p, const uint8_t* end) {
#if defined(__AVX2__)
  for (; end - p >= 32; p += 32) {
    const __m256i block = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(p));
    const uint32_t high = static_cast<uint32_t>(_mm256_movemask_epi8(block));
    if (high != 0) return p + std::countr_zero(high);
  }
#endif
#if defined(__SSE2__)
  for (; end - p >= 16; p += 16) {
    const __m128i block = _mm_loadu_si128(reinterpret_cast<const __m128i*>(p));
    const uint32_t high = static_cast<uint32_t>(_mm_movemask_epi8(block));
    if (high != 0) return p + std::countr_zero(high);
  }
#endif
  for (; end - p >= 8; p += 8) {
    const uint64_t high = base::load_le<uint64_t>(p) & 0x8080808080808080u;
    if (high != 0) return p + std::countr_zero(high) / 8;
  }
  while (p != end && *p < 0x80) ++p;
  return p;
}

Utf8State state_after_lead(uint8_t byte) {
  if (byte < 0x80) return Utf8State::kBoundary;
  if (byte < 0xc2) return Utf8State::kInvalid;  // a tail byte, or overlong C0 and C1
  if (byte < 0xe0) return Utf8State::kTail1;
  if (byte == 0xe0) return Utf8State::kAfterE0;
  if (byte == 0xed) return Utf8State::kAfterEd;
  if (byte < 0xf0) return Utf8State::kTail2;
  if (byte == 0xf0) return Utf8State::kAfterF0;
  if (byte < 0xf4) return Utf8State::kTail3;
  if (byte == 0xf4) return Utf8State::kAfterF4;
  return Utf8State::kInvalid;
}

Utf8State state_after_tail(Utf8State state, uint8_t byte) {
  struct Rule {
    uint8_t low;
    uint8_t high;
    Utf8State next;
  };
  static constexpr Rule kRules[] = {
      {0, 0, Utf8State::kInvalid},         // kBoundary: not asked
      {0x80, 0xbf, Utf8State::kBoundary},  // kTail1
      {0x80, 0xbf, Utf8State::kTail1},     // kTail2
      {0x80, 0xbf, Utf8State::kTail2},     // kTail3
      {0xa0, 0xbf, Utf8State::kTail1},     // kAfterE0
      {0x80, 0x9f, Utf8State::kTail1},     // kAfterEd
      {0x90, 0xbf, Utf8State::kTail2},     // kAfterF0
      {0x80, 0x8f, Utf8State::kTail2},     // kAfterF4
  };
  const Rule& rule = kRules[static_cast<uint8_t>(state)];
  return byte >= rule.low && byte <= rule.high ? rule.next : Utf8State::kInvalid;
}

}  // namespace

Utf8State advance_utf8(Utf8State state, base::Bytes text) {
  const uint8_t* p = text.data();
  const uint8_t* const end = p + text.size();
  while (p != end && state != Utf8State::kInvalid) {
    if (state != Utf8State::kBoundary) {
      state = state_after_tail(state, *p++);
    } else if (*p < 0x80) {
      p = skip_ascii(p, end);
    } else {
      state = state_after_lead(*p++);
    }
  }
  return state;
}

}  // namespace tidegate::protocol
