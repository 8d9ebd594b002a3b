// SPDX-License-Identifier: Apache-2.0
// Messages through Deflater and Inflater, the examples of RFC 7692 section 7.2.3, and data that is
// wrong.
#include "protocol/ws_deflate.h"

#include <gtest/gtest.h>

#include <memory>
#include <string>
#include <vector>

#include "base/prng.h"

namespace tidegate::protocol {
namespace {

using base::Bytes;
using base::MutableBytes;

struct alignas(16) Line {
  uint8_t bytes[16];
};

template <class Machine, class Settings>
struct Owned {
  explicit Owned(Settings settings)
      : memory(Machine::block_bytes(settings) / sizeof(Line) + 1),
        machine(Machine::make({memory[0].bytes, memory.size() * sizeof(Line)}, settings)) {}
  Machine* operator->() { return machine; }
  std::vector<Line> memory;
  Machine* machine;
};
using OwnedDeflater = Owned<Deflater, Deflater::Settings>;
using OwnedInflater = Owned<Inflater, uint8_t>;

std::string compress(OwnedDeflater& deflater, std::string_view text, Context context,
                     Deflater::Tail tail = Deflater::Tail::kCut) {
  std::string out(text.size() + text.size() / 8 + 64, '\0');
  const Bytes part = base::as_bytes(text);
  out.resize(deflater->compress(&part, 1, {reinterpret_cast<uint8_t*>(out.data()), out.size()},
                                context, tail));
  return out;
}

constexpr size_t kLimit = 100'000;

std::string inflate(OwnedInflater& inflater, std::string_view message,
                    Context context = Context::kTakeover, size_t limit = kLimit) {
  std::vector<uint8_t> out(limit + 1);
  size_t size = 0;
  switch (inflater->decompress(base::as_bytes(message), out, &size, context)) {
    case InflateStatus::kTooBig:
      return "too big";
    case InflateStatus::kInvalid:
      return "invalid";
    case InflateStatus::kOk:
      break;
  }
  return std::string(base::as_text({out.data(), size}));
}
std::string inflate_alone(std::string_view message) {
  OwnedInflater inflater(15);
  return inflate(inflater, message);
}

std::string hex(std::string_view digits) {
  std::string out;
  for (size_t i = 0; i + 1 < digits.size(); i += 3) {
    out += static_cast<char>(std::stoi(std::string(digits.substr(i, 2)), nullptr, 16));
  }
  return out;
}

TEST(Inflater, ReadsTheExamplesOfTheRfc) {
  // 7.2.3.1 one block; 7.2.3.2 with the window of the message before; 7.2.3.3 no compression;
  // 7.2.3.4 BFINAL; 7.2.3.5 two blocks; 7.2.3.6 an empty message.
  OwnedInflater inflater(15);
  EXPECT_EQ(inflate(inflater, hex("f2 48 cd c9 c9 07 00")), "Hello");
  EXPECT_EQ(inflate(inflater, hex("f2 00 11 00 00")), "Hello");
  EXPECT_EQ(inflate(inflater, hex("00 05 00 fa ff 48 65 6c 6c 6f 00")), "Hello");
  EXPECT_EQ(inflate(inflater, hex("f3 48 cd c9 c9 07 00 00")), "Hello");
  EXPECT_EQ(inflate(inflater, hex("f2 48 05 00 00 00 ff ff ca c9 c9 07 00")), "Hello");
  EXPECT_EQ(inflate(inflater, hex("00")), "");
  // The window outlives BFINAL.
  EXPECT_EQ(inflate(inflater, hex("f2 00 11 00 00")), "Hello");
}

TEST(Inflater, RefusesWhatDoesNotEndWithABlock) {
  EXPECT_EQ(inflate_alone(""), "invalid");
  EXPECT_EQ(inflate_alone(hex("f2 48 cd c9")), "invalid");              // cut off
  EXPECT_EQ(inflate_alone(hex("f3 48 cd c9 c9 07 00")), "invalid");     // BFINAL, nothing behind
  EXPECT_EQ(inflate_alone(hex("00 05 00 fa ff 48 65")), "invalid");     // stored, cut off
  EXPECT_EQ(inflate_alone(hex("00 05 00 fa fe 48")), "invalid");        // complement wrong
  EXPECT_EQ(inflate_alone(hex("ff ff ff ff")), "invalid");              // reserved block type
  EXPECT_EQ(inflate_alone(hex("f2 00 11 00 00")), "invalid");           // points before the start
  EXPECT_EQ(inflate_alone(hex("f2 48 cd c9 c9 07 00 ff")), "invalid");  // something behind
}

TEST(Inflater, RefusesAWindowLargerThanAgreed) {
  // "x", 600 other bytes, and a match that reaches back over all of them.
  base::Prng prng(3);
  std::string text;
  for (int i = 0; i < 700; ++i) text += static_cast<char>(prng.next());
  OwnedDeflater deflater(Deflater::Settings{15, 8, 9});
  OwnedInflater small(9);
  const std::string first = compress(deflater, text, Context::kTakeover);
  const std::string second = compress(deflater, text.substr(0, 80), Context::kTakeover);
  ASSERT_LT(second.size(), 40u);
  EXPECT_EQ(inflate(small, first), text);
  EXPECT_EQ(inflate(small, second), "invalid");
}

TEST(Inflater, StopsAtTheLimit) {
  OwnedDeflater deflater(Deflater::Settings{15, 8, 9});
  const std::string bomb = compress(deflater, std::string(kLimit * 100, 'b'), Context::kFresh);
  ASSERT_LT(bomb.size(), 11'000u);
  OwnedInflater inflater(15);
  EXPECT_EQ(inflate(inflater, bomb), "too big");
  const std::string full = compress(deflater, std::string(kLimit, 'b'), Context::kFresh);
  EXPECT_EQ(inflate(inflater, full), std::string(kLimit, 'b'));
  const std::string more = compress(deflater, std::string(kLimit + 1, 'b'), Context::kFresh);
  EXPECT_EQ(inflate(inflater, more), "too big");
  EXPECT_EQ(inflate(inflater, hex("f2 00 11 00 00")), "invalid");  // the window is empty
}

// What docs/protocol.md tells operators, in thousands of bytes. zlib's versions differ by a little.
TEST(Deflater, BlocksAreAsLargeAsTheDocumentSays) {
  EXPECT_NEAR(static_cast<double>(Deflater::block_bytes({15, 8, 1})) / 1e3, 268, 2);
  EXPECT_NEAR(static_cast<double>(Deflater::block_bytes({10, 4, 1})) / 1e3, 18, 2);
  EXPECT_NEAR(static_cast<double>(Inflater::block_bytes(15)) / 1e3, 40, 2);
  EXPECT_NEAR(static_cast<double>(Inflater::block_bytes(10)) / 1e3, 8, 2);
  size_t all = Inflater::block_bytes(15);
  for (uint8_t bits = 8; bits <= 15; ++bits) all += Deflater::block_bytes({bits, 8, 1});
  EXPECT_NEAR(static_cast<double>(all) / 1e6, 1.4, 0.1);
}

std::string random_message(base::Prng& prng) {
  const size_t size = 1 + prng.below(prng.chance(0.2) ? 40'000 : 300);
  const uint64_t letters = prng.chance(0.2) ? 256 : 1 + prng.below(20);
  std::string text;
  while (text.size() < size) {
    if (text.size() > 300 && prng.chance(0.2)) {
      const size_t back = 1 + prng.below(300);
      text += text.substr(text.size() - back, prng.below(60));
    }
    text += static_cast<char>('a' + prng.below(letters));
  }
  return text;
}

// Every window size in both directions; 8 is what zlib itself does not have.
TEST(Deflater, MessagesComeBackWholeWithEverySetting) {
  for (uint8_t bits = 8; bits <= 15; ++bits) {
    for (const uint8_t memory : {1, 5, 9}) {
      for (const uint8_t level : {1, 6, 9}) {
        for (const Context context : {Context::kTakeover, Context::kFresh}) {
          OwnedDeflater deflater(Deflater::Settings{bits, memory, level});
          OwnedInflater inflater(bits);
          base::Prng prng(bits * 100u + memory * 10u + level);
          for (int i = 0; i < 12; ++i) {
            const std::string text = random_message(prng);
            const std::string small = compress(deflater, text, context);
            ASSERT_NE(small, "");
            ASSERT_TRUE(inflate(inflater, small, context) == text)
                << int{bits} << " " << int{memory} << " " << int{level} << " " << i;
          }
        }
      }
    }
  }
}

// A decoder with a window of 256 bytes that gets its room byte by byte follows it: the rule behind
// window_bits 8 (see init_deflate). Distances are what the data's periods tempt it to.
TEST(Deflater, NeverPointsBackFurtherThanAWindowOf256) {
  for (size_t period = 200; period < 300; ++period) {
    base::Prng prng(period);
    std::string unit;
    for (size_t i = 0; i < period; ++i) unit += static_cast<char>(prng.next());
    std::string text;
    while (text.size() < 4000) text += unit;
    for (const uint8_t level : {1, 9}) {
      OwnedDeflater deflater(Deflater::Settings{8, 9, level});
      OwnedInflater inflater(8);
      // In pieces: each message's matches can only come from the window.
      for (size_t at = 0; at < text.size(); at += 40) {
        const std::string part = text.substr(at, 40);
        ASSERT_EQ(inflate(inflater, compress(deflater, part, Context::kTakeover)), part) << period;
      }
    }
  }
}

TEST(Deflater, WhatDoesNotFitLeavesAnEmptyWindow) {
  OwnedDeflater deflater(Deflater::Settings{15, 8, 6});
  OwnedInflater inflater(15);
  base::Prng prng(5);
  std::string noise;
  for (int i = 0; i < 5000; ++i) noise += static_cast<char>(prng.next());
  std::vector<uint8_t> out(noise.size() - 1);
  const Bytes part = base::as_bytes(noise);
  EXPECT_EQ(deflater->compress(&part, 1, out, Context::kTakeover), 0u);
  // Sent as it was, the noise is not in the receiver's window.
  EXPECT_EQ(inflate(inflater, compress(deflater, noise.substr(0, 200), Context::kTakeover)),
            noise.substr(0, 200));
  uint8_t none[1];
  const Bytes letter = base::as_bytes("a");
  EXPECT_EQ(deflater->compress(&letter, 1, MutableBytes(none, 0), Context::kTakeover), 0u);
}

TEST(Deflater, SeveralPartsAreOneMessage) {
  OwnedDeflater deflater(Deflater::Settings{15, 8, 6});
  OwnedInflater inflater(15);
  const Bytes parts[] = {base::as_bytes("tide"), Bytes{}, base::as_bytes("gate tide"), Bytes{}};
  uint8_t out[100];
  const size_t size = deflater->compress(parts, 4, out, Context::kTakeover);
  EXPECT_EQ(inflate(inflater, base::as_text({out, size})), "tidegate tide");
}

TEST(Deflater, PiecesBehindEachOtherAreAMessage) {
  OwnedDeflater deflater(Deflater::Settings{15, 8, 6});
  OwnedInflater inflater(15);
  const auto piece = [&](std::string_view text) {
    return compress(deflater, text, Context::kFresh, Deflater::Tail::kKeep);
  };
  const std::string a = piece("one one one "), b = piece("two two two ");
  for (const std::string& order : {a + b, b + a, a + a + b}) {
    const std::string whole = inflate(inflater, order.substr(0, order.size() - 4));
    EXPECT_EQ(whole, inflate(inflater, order + std::string(1, '\0')));
    EXPECT_TRUE(whole.starts_with(order.starts_with(a) ? "one one one " : "two two two "));
  }
}

// Damage never leads to a crash or endless work, and never past the limit.
TEST(Inflater, DamagedMessagesEnd) {
  OwnedDeflater deflater(Deflater::Settings{15, 8, 6});
  uint32_t refused = 0;
  for (uint64_t seed = 1; seed <= 600; ++seed) {
    base::Prng prng(seed);
    OwnedInflater inflater(static_cast<uint8_t>(8 + prng.below(8)));
    std::string message = compress(deflater, random_message(prng), Context::kFresh);
    for (int i = 0; i < 3; ++i) message[prng.below(message.size())] ^= 1 << prng.below(8);
    if (prng.chance(0.3)) message.resize(prng.below(message.size()));
    const std::string out = inflate(inflater, message, Context::kTakeover, 4096);
    if (out == "invalid" || out == "too big") ++refused;
    ASSERT_LE(out.size(), 4096u);
  }
  EXPECT_GT(refused, 200u);
}

}  // namespace
}  // namespace tidegate::protocol
