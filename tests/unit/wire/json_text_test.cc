// SPDX-License-Identifier: Apache-2.0
#include "wire/json_text.h"

#include <gtest/gtest.h>

#include <limits>
#include <string>
#include <vector>

namespace tidegate::wire {
namespace {

std::string written(auto&& write) {
  uint8_t room[256];
  JsonText out(room);
  write(out);
  EXPECT_FALSE(out.overflow());
  return std::string(out.text());
}

TEST(JsonText, EscapesWhatJsonAsksForAndNothingElse) {
  const auto string = [](std::string_view text) {
    return written([&](JsonText& out) { out.string(text); });
  };
  EXPECT_EQ(string("plain"), R"("plain")");
  EXPECT_EQ(string("a\"b\\c\n\r\t"), R"("a\"b\\c\n\r\t")");
  EXPECT_EQ(string(std::string_view("\0\x1f\x7f", 3)), "\"\\u0000\\u001f\x7f\"");
  EXPECT_EQ(string("\xe2\x82\xac\xf0\x9f\x8c\x8a"), "\"\xe2\x82\xac\xf0\x9f\x8c\x8a\"");
}

TEST(JsonText, ReplacesWhatIsNotUtf8) {
  const auto string = [](std::string_view text) {
    return written([&](JsonText& out) { out.string(text); });
  };
  EXPECT_EQ(string("a\xff"
                   "b"),
            "\"a\xef\xbf\xbd"
            "b\"");
  EXPECT_EQ(string("\xc3"), "\"\xef\xbf\xbd\"");
  // A surrogate is three bytes of which none is UTF-8; what is good beside it stays.
  EXPECT_EQ(string("\xed\xa0\x80\xc3\xa9"), "\"\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd\xc3\xa9\"");
}

TEST(JsonText, WritesNumbers) {
  EXPECT_EQ(written([](JsonText& out) { out.number(0.1F); }), "0.1");
  EXPECT_EQ(written([](JsonText& out) { out.number(-3.0F); }), "-3");
  EXPECT_EQ(written([](JsonText& out) { out.number(-0.0F); }), "-0.0");
  EXPECT_EQ(written([](JsonText& out) { out.number(std::numeric_limits<float>::quiet_NaN()); }),
            "\"NaN\"");
  EXPECT_EQ(written([](JsonText& out) { out.number(-std::numeric_limits<float>::infinity()); }),
            "\"-Infinity\"");
  EXPECT_EQ(written([](JsonText& out) { out.number(UINT64_MAX); }), "18446744073709551615");
  EXPECT_EQ(written([](JsonText& out) { out.number(INT64_MIN); }), "-9223372036854775808");
}

TEST(JsonText, SaysWhenTheBufferEnds) {
  for (size_t room = 0; room < 20; ++room) {
    std::vector<uint8_t> bytes(room);
    JsonText out(bytes);
    out.string("twenty bytes, quoted");
    EXPECT_TRUE(out.overflow());
    EXPECT_LE(out.size(), room);
  }
  uint8_t room[4];
  JsonText out(room);
  out.put("ab");
  out.put("cde");
  EXPECT_TRUE(out.overflow());
  out.put('c');  // would fit
  EXPECT_EQ(out.text(), "ab");
}

TEST(Base64, BothWays) {
  for (const auto& [plain, encoded] :
       std::vector<std::pair<std::string, std::string>>{{"", ""},
                                                        {"f", "Zg=="},
                                                        {"fo", "Zm8="},
                                                        {"foo", "Zm9v"},
                                                        {"foobar", "Zm9vYmFy"},
                                                        {"\xfb\xff", "+/8="}}) {
    EXPECT_EQ(written([&](JsonText& out) { out.base64(base::as_bytes(plain)); }),
              "\"" + encoded + "\"");
    uint8_t room[32];
    size_t size = 99;
    ASSERT_TRUE(decode_base64(encoded, room, &size)) << encoded;
    EXPECT_EQ(base::as_text({room, size}), plain);
  }
  uint8_t room[32];
  size_t size = 0;
  ASSERT_TRUE(decode_base64("-_8", room, &size));  // URL-safe, without padding
  EXPECT_EQ(base::as_text({room, size}), "\xfb\xff");
  for (const char* wrong :
       {"A", "A===", "=", "====", "Zg=", "Zm9v=", "Zh==", "Z g==", "Zm9vY\x80=="}) {
    EXPECT_FALSE(decode_base64(wrong, room, &size)) << wrong;
  }
}

}  // namespace
}  // namespace tidegate::wire
