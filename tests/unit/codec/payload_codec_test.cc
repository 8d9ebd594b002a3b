// SPDX-License-Identifier: Apache-2.0
// Payloads through each method and back; what is not what it promises; types that do not pay.
#include "codec/payload_codec.h"

#include <gtest/gtest.h>
#include <zdict.h>
#include <zlib.h>

#include <string>
#include <vector>

#include "base/prng.h"
#include "codec/gain_table.h"

namespace tidegate::codec {
namespace {

constexpr Method kMethods[] = {Method::kZlib, Method::kLz4, Method::kZstd};

std::string letters(uint64_t seed, size_t size, uint32_t kinds) {
  base::Prng prng(seed);
  std::string text(size, ' ');
  for (char& c : text) c = static_cast<char>('a' + prng.next() % kinds);
  return text;
}
std::vector<uint8_t> copy(base::Bytes bytes) { return {bytes.begin(), bytes.end()}; }

TEST(PayloadCodec, EachMethodGivesBackWhatItTook) {
  PayloadCodec codec(CodecConfig{});
  for (const Method method : kMethods) {
    for (const size_t size : {2u, 100u, 1024u, 5000u, 65536u}) {
      const std::string text = letters(size, size, 3);
      const auto packed = copy(codec.pack(method, base::as_bytes(text), false));
      if (packed.empty()) {
        EXPECT_LT(size, 200u);
        continue;
      }
      EXPECT_LT(packed.size(), size);
      const base::Bytes raw = codec.unpack(method, packed, static_cast<uint32_t>(size));
      EXPECT_EQ(base::as_text(raw), text);
    }
  }
}

TEST(PayloadCodec, NoiseIsLeftAlone) {
  PayloadCodec codec(CodecConfig{});
  base::Prng prng(7);
  std::vector<uint8_t> noise(4096);
  for (uint8_t& b : noise) b = static_cast<uint8_t>(prng.next());
  for (const Method method : kMethods) EXPECT_TRUE(codec.pack(method, noise, false).empty());
  const std::string large(65537, 'a');
  for (const Method method : kMethods) {
    EXPECT_TRUE(codec.pack(method, base::as_bytes(large), false).empty());
  }
}

TEST(PayloadCodec, OnlyExactlyThePromisedSizeIsTaken) {
  PayloadCodec codec(CodecConfig{});
  const std::string text = letters(1, 5000, 3);
  for (const Method method : kMethods) {
    const auto packed = copy(codec.pack(method, base::as_bytes(text), false));
    ASSERT_FALSE(packed.empty());
    for (const uint32_t size : {0u, 1u, 4999u, 5001u, 65536u, 65537u, UINT32_MAX}) {
      EXPECT_TRUE(codec.unpack(method, packed, size).empty()) << size;
    }
    auto cut = packed;
    cut.pop_back();
    EXPECT_TRUE(codec.unpack(method, cut, 5000).empty());
    auto longer = packed;
    longer.push_back(0);
    EXPECT_TRUE(codec.unpack(method, longer, 5000).empty());
    EXPECT_TRUE(codec.unpack(method, {}, 5000).empty());
    // And the next one is understood all the same.
    EXPECT_EQ(base::as_text(codec.unpack(method, packed, 5000)), text);
  }
}

// A megabyte of zeros in a kilobyte: refused by what it promises, or by what it is.
TEST(PayloadCodec, ABombCostsNoMoreThanItPromises) {
  PayloadCodec codec(CodecConfig{});
  const std::vector<uint8_t> zeros(1 << 20);
  std::vector<uint8_t> bomb(compressBound(zeros.size()));
  uLongf size = bomb.size();
  ASSERT_EQ(compress(bomb.data(), &size, zeros.data(), zeros.size()), Z_OK);
  bomb.resize(size);
  EXPECT_LT(bomb.size(), 2000u);
  EXPECT_TRUE(codec.unpack(Method::kZlib, bomb, 1 << 20).empty());
  EXPECT_TRUE(codec.unpack(Method::kZlib, bomb, 1000).empty());
}

TEST(PayloadCodec, ADictionaryHelpsShortPayloadsOfWhoHasIt) {
  std::vector<char> samples;
  std::vector<size_t> sizes;
  for (uint64_t i = 0; i < 400; ++i) {
    const std::string s =
        "{\"kind\":\"inventory\",\"owner\":\"player-" + std::to_string(i * 7919) +
        "\",\"items\":[{\"name\":\"healing potion\",\"count\":" + std::to_string(i % 13) +
        "},{\"name\":\"iron sword\",\"wear\":0." + std::to_string(i) + "}]}";
    samples.insert(samples.end(), s.begin(), s.end());
    sizes.push_back(s.size());
  }
  std::vector<uint8_t> dictionary(4096);
  const size_t trained = ZDICT_trainFromBuffer(dictionary.data(), dictionary.size(), samples.data(),
                                               sizes.data(), static_cast<unsigned>(sizes.size()));
  ASSERT_FALSE(ZDICT_isError(trained)) << ZDICT_getErrorName(trained);
  dictionary.resize(trained);
  CodecConfig config;
  config.dictionary = dictionary;
  PayloadCodec with(config);
  PayloadCodec without(CodecConfig{});
  EXPECT_NE(with.dictionary_id(), 0u);
  EXPECT_EQ(without.dictionary_id(), 0u);
  const base::Bytes sample{reinterpret_cast<const uint8_t*>(samples.data()), sizes[0]};
  const auto short_form = copy(with.pack(Method::kZstd, sample, true));
  const auto plain = copy(with.pack(Method::kZstd, sample, false));
  ASSERT_FALSE(short_form.empty());
  EXPECT_TRUE(plain.empty() || short_form.size() * 2 < plain.size());
  const auto raw_size = static_cast<uint32_t>(sample.size());
  EXPECT_EQ(base::as_text(with.unpack(Method::kZstd, short_form, raw_size)), base::as_text(sample));
  EXPECT_TRUE(without.unpack(Method::kZstd, short_form, raw_size).empty());
  // A file that is no dictionary is one that nobody has.
  config.dictionary = sample;
  EXPECT_EQ(PayloadCodec(config).dictionary_id(), 0u);
}

TEST(GainTable, ATypeThatDoesNotPayIsTriedAgainNowAndThen) {
  GainTable gains;
  uint32_t tried = 0;
  for (uint32_t i = 0; i < 20'000; ++i) {
    if (!gains.wants(1000)) continue;
    ++tried;
    gains.note(1000, 2000, 1990);
  }
  EXPECT_GE(tried, GainTable::kTries + 5);
  EXPECT_LT(tried, 20u);
  EXPECT_EQ(gains.paused(), 1u);
  EXPECT_TRUE(gains.wants(1001));  // another type is judged by itself
  // When it pays again, it is packed each time.
  while (!gains.wants(1000)) {
  }
  gains.note(1000, 2000, 500);
  for (uint32_t i = 0; i < 100; ++i) {
    ASSERT_TRUE(gains.wants(1000));
    gains.note(1000, 2000, i % 2 == 0 ? 500 : 0);  // one bad one between is no reason to stop
  }
}

}  // namespace
}  // namespace tidegate::codec
