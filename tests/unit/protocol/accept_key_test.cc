// SPDX-License-Identifier: Apache-2.0
#include "protocol/accept_key.h"

#include <gtest/gtest.h>

#include <string>

namespace tidegate::protocol {
namespace {

std::string accept_of(std::string_view key) {
  char out[kAcceptKeyChars];
  compute_accept_key(key, out);
  return {out, sizeof out};
}

TEST(AcceptKey, KnownAnswers) {
  // RFC 6455 section 1.3; the other two computed with OpenSSL.
  EXPECT_EQ(accept_of("dGhlIHNhbXBsZSBub25jZQ=="), "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
  EXPECT_EQ(accept_of("AAAAAAAAAAAAAAAAAAAAAA=="), "ICX+Yqv66kxgM0FcWaLWlFLwTAI=");
  EXPECT_EQ(accept_of("/////////////////////w=="), "XXpj4jYzLM2yUE0C7TIgMwTQh2g=");
}

TEST(AcceptKey, Encode) {
  char out[kKeyChars];
  encode_websocket_key(
      {'t', 'h', 'e', ' ', 's', 'a', 'm', 'p', 'l', 'e', ' ', 'n', 'o', 'n', 'c', 'e'}, out);
  EXPECT_EQ(std::string_view(out, sizeof out), "dGhlIHNhbXBsZSBub25jZQ==");
  EXPECT_TRUE(is_websocket_key({out, sizeof out}));
}

TEST(AcceptKey, WhatIsAKey) {
  EXPECT_TRUE(is_websocket_key("AAAAAAAAAAAAAAAAAAAAAA=="));
  for (const std::string_view key :
       {"", "dGhlIHNhbXBsZSBub25jZQ=", "dGhlIHNhbXBsZSBub25jZQ",
        "dGhlIHNhbXBsZSBub25jZQ== ", "dGhlIHNhbXBsZSBub25jZQAA", "dGhl-HNhbXBsZSBub25jZQ==",
        "dGhl HNhbXBsZSBub25jZQ==", "dGhlIHNhbXBsZSBub25jZ===", "========================"}) {
    EXPECT_FALSE(is_websocket_key(key)) << key;
  }
}

}  // namespace
}  // namespace tidegate::protocol
