// SPDX-License-Identifier: Apache-2.0
// The vector form of the mask against the scalar one: every size, alignment and phase.
#include "protocol/mask.h"

#include <gtest/gtest.h>

#include <vector>

#include "base/prng.h"

namespace tidegate::protocol {
namespace {

constexpr uint8_t kGuard = 0xa5;

TEST(Mask, EqualsTheScalarFormAtEverySizeAndAlignment) {
  base::Prng prng(11);
  for (size_t size = 0; size <= 300; ++size) {
    for (size_t offset = 0; offset < 9; ++offset) {
      std::vector<uint8_t> fast(offset + size + 40, kGuard);
      for (size_t i = 0; i < size; ++i) fast[offset + i] = static_cast<uint8_t>(prng.next());
      std::vector<uint8_t> slow = fast;
      const uint32_t key = static_cast<uint32_t>(prng.next());
      apply_mask(fast.data() + offset, size, key);
      apply_mask_scalar(slow.data() + offset, size, key);
      // The guard bytes around the payload are compared too.
      ASSERT_EQ(fast, slow) << "size " << size << " offset " << offset;
    }
  }
}

TEST(Mask, PiecesWithAPhaseEqualTheWhole) {
  base::Prng prng(12);
  for (size_t cut = 0; cut <= 80; ++cut) {
    std::vector<uint8_t> whole(80);
    for (uint8_t& byte : whole) byte = static_cast<uint8_t>(prng.next());
    std::vector<uint8_t> pieces = whole;
    const uint32_t key = static_cast<uint32_t>(prng.next());
    apply_mask(whole.data(), whole.size(), key);
    apply_mask(pieces.data(), cut, key);
    apply_mask(pieces.data() + cut, pieces.size() - cut, rotate_mask(key, cut));
    ASSERT_EQ(pieces, whole) << "cut " << cut;
  }
}

TEST(Mask, ScalarFormIsTheRfcs) {
  uint8_t data[] = {0x7f, 0x9f, 0x4d, 0x51, 0x58};
  const uint8_t key[] = {0x37, 0xfa, 0x21, 0x3d};
  apply_mask_scalar(data, sizeof data, base::load_le<uint32_t>(key));
  EXPECT_EQ(base::as_text(data), "Hello");
}

TEST(Mask, TwiceIsNothing) {
  std::vector<uint8_t> data(1000, 7);
  apply_mask(data.data(), data.size(), 0xdeadbeef);
  EXPECT_NE(data, std::vector<uint8_t>(1000, 7));
  apply_mask(data.data(), data.size(), 0xdeadbeef);
  EXPECT_EQ(data, std::vector<uint8_t>(1000, 7));
}

}  // namespace
}  // namespace tidegate::protocol
