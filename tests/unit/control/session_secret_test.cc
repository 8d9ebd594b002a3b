// SPDX-License-Identifier: Apache-2.0
#include "control/session_secret.h"

#include <gtest/gtest.h>

namespace tidegate::control {
namespace {

TEST(SessionSecret, IsNeverShortOrEmpty) {
  using Status = store::ResumeClaim::Status;
  std::string error;
  Config::Session config;
  config.secret = "short";
  EXPECT_EQ(make_session_tokens(config, &error), nullptr);
  EXPECT_NE(error.find("session.secret"), std::string::npos);
  config.secret.clear();
  config.secret_file = "/nonexistent/key";
  EXPECT_EQ(make_session_tokens(config, &error), nullptr);
  EXPECT_NE(error.find("session.secret_file"), std::string::npos);
  config.secret_file.clear();
  const auto a = make_session_tokens(config, &error);
  const auto b = make_session_tokens(config, &error);
  EXPECT_EQ(b->check(a->issue(1, 1, "u", "u", 0), "u", "u", 0).status, Status::kBad)
      << "without a key each process has its own";
}

}  // namespace
}  // namespace tidegate::control
