// SPDX-License-Identifier: Apache-2.0
#include "protocol/utf8.h"

#include <gtest/gtest.h>

#include <string>

#include "base/prng.h"

namespace tidegate::protocol {
namespace {

std::string encode(uint32_t code) {
  std::string out;
  if (code < 0x80) {
    out += static_cast<char>(code);
  } else if (code < 0x800) {
    out += static_cast<char>(0xc0 | code >> 6);
    out += static_cast<char>(0x80 | (code & 63));
  } else if (code < 0x10000) {
    out += static_cast<char>(0xe0 | code >> 12);
    out += static_cast<char>(0x80 | (code >> 6 & 63));
    out += static_cast<char>(0x80 | (code & 63));
  } else {
    out += static_cast<char>(0xf0 | code >> 18);
    out += static_cast<char>(0x80 | (code >> 12 & 63));
    out += static_cast<char>(0x80 | (code >> 6 & 63));
    out += static_cast<char>(0x80 | (code & 63));
  }
  return out;
}

// Section 3 of RFC 3629 by decoding arithmetic, an independent second opinion.
bool reference_is_valid(const std::string& text) {
  for (size_t i = 0; i < text.size();) {
    const uint8_t lead = static_cast<uint8_t>(text[i]);
    const size_t size = lead < 0x80       ? 1
                        : lead >> 5 == 6  ? 2
                        : lead >> 4 == 14 ? 3
                        : lead >> 3 == 30 ? 4
                                          : 0;
    if (size == 0 || text.size() - i < size) return false;
    uint32_t code = size == 1 ? lead : lead & (0x7fu >> size);
    for (size_t k = 1; k < size; ++k) {
      const uint8_t tail = static_cast<uint8_t>(text[i + k]);
      if (tail >> 6 != 2) return false;
      code = code << 6 | (tail & 63);
    }
    if (code > 0x10ffff || (code >= 0xd800 && code < 0xe000) || encode(code).size() != size) {
      return false;
    }
    i += size;
  }
  return true;
}

TEST(Utf8, EveryCodePoint) {
  for (uint32_t code = 0; code < 0x110000; ++code) {
    const bool surrogate = code >= 0xd800 && code < 0xe000;
    ASSERT_EQ(is_valid_utf8(base::as_bytes(encode(code))), !surrogate) << std::hex << code;
  }
  for (const uint32_t code : {0x110000u, 0x13ffffu, 0x140000u, 0x1fffffu}) {
    EXPECT_FALSE(is_valid_utf8(base::as_bytes(encode(code)))) << std::hex << code;
  }
}

TEST(Utf8, RefusedAtTheByteThatIsWrong) {
  struct Case {
    std::string text;
    size_t valid_bytes;  // a prefix of this size is still possible, one more byte is not
  };
  const Case cases[] = {
      {"\x80", 0},
      {"\xbf", 0},
      {"\xc0", 0},
      {"\xc1", 0},
      {"\xf5", 0},
      {"\xfe", 0},
      {"\xff", 0},
      {"\xc2\x41", 1},
      {"\xc2\xc2", 1},
      {"\xe0\x9f", 1},
      {"\xe0\x80\x80", 1},
      {"\xed\xa0\x80", 1},
      {"\xed\xbf\xbf", 1},
      {"\xf0\x8f", 1},
      {"\xf0\x80\x80\x80", 1},
      {"\xf4\x90\x80\x80", 1},
      {"\xe2\x82\x41", 2},
      {"\xf0\x9f\x8c\x41", 3},
      {"ab\xe2\x28", 3},
      {"\xf1\x80\xc0", 2},
      {"\xef\xbf\xff", 2},
  };
  for (const Case& c : cases) {
    const base::Bytes bytes = base::as_bytes(c.text);
    EXPECT_NE(advance_utf8(Utf8State::kBoundary, bytes.first(c.valid_bytes)), Utf8State::kInvalid)
        << c.text;
    EXPECT_EQ(advance_utf8(Utf8State::kBoundary, bytes.first(c.valid_bytes + 1)),
              Utf8State::kInvalid)
        << c.text;
    EXPECT_EQ(advance_utf8(Utf8State::kBoundary, bytes), Utf8State::kInvalid) << c.text;
  }
}

TEST(Utf8, ATruncatedCodePointIsNotWhole) {
  for (const std::string text : {"\xc3", "\xe2\x82", "\xf0\x9f\x8c", "ok\xe2"}) {
    EXPECT_FALSE(is_valid_utf8(base::as_bytes(text)));
    EXPECT_NE(advance_utf8(Utf8State::kBoundary, base::as_bytes(text)), Utf8State::kInvalid);
  }
  EXPECT_TRUE(is_valid_utf8({}));
}

TEST(Utf8, InvalidIsSticky) {
  EXPECT_EQ(advance_utf8(Utf8State::kInvalid, base::as_bytes("fine")), Utf8State::kInvalid);
  EXPECT_EQ(advance_utf8(Utf8State::kInvalid, {}), Utf8State::kInvalid);
}

// One bad byte at every place of a long ASCII run: no vector step jumps over it.
TEST(Utf8, ABadByteAnywhereInAsciiIsFound) {
  for (size_t size = 1; size < 130; ++size) {
    for (size_t at = 0; at < size; ++at) {
      std::string text(size, 'a');
      text[at] = '\xff';
      ASSERT_FALSE(is_valid_utf8(base::as_bytes(text))) << size << " " << at;
    }
  }
}

TEST(Utf8, RandomTextsAgreeWithTheReferenceAtEverySplit) {
  base::Prng prng(3);
  uint32_t valid_count = 0;
  for (int round = 0; round < 3000; ++round) {
    std::string text;
    for (uint64_t n = prng.below(20); n > 0; --n) {
      switch (prng.below(3)) {
        case 0:
          text += std::string(prng.below(40), 'x');
          break;
        default:
          text += encode(static_cast<uint32_t>(prng.below(prng.chance(0.5) ? 0x110000 : 0x1000)));
      }
    }
    if (!text.empty() && prng.chance(0.5)) {
      text[prng.below(text.size())] = static_cast<char>(prng.next());
    }
    const bool valid = reference_is_valid(text);
    valid_count += valid ? 1 : 0;
    ASSERT_EQ(is_valid_utf8(base::as_bytes(text)), valid);
    const size_t cut = prng.below(text.size() + 1);
    const Utf8State half = advance_utf8(Utf8State::kBoundary, base::as_bytes(text).first(cut));
    ASSERT_EQ(advance_utf8(half, base::as_bytes(text).subspan(cut)) == Utf8State::kBoundary, valid);
  }
  EXPECT_GT(valid_count, 500u);
  EXPECT_LT(valid_count, 2900u);
}

}  // namespace
}  // namespace tidegate::protocol
