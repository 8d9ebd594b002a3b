// SPDX-License-Identifier: Apache-2.0
#include "control/jwks_service.h"

#include <gtest/gtest.h>

#include <condition_variable>
#include <deque>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "control/config.h"
#include "control/https_fetch.h"

namespace tidegate::control {
namespace {

constexpr const char* kJwks = R"({"keys":[{"kty":"OKP","crv":"Ed25519","kid":"a","alg":"EdDSA",)"
                              R"("x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}]})";

// Answers fetches from a list, its last for ever, and notes what became of them.
struct Rig {
  std::mutex mutex;
  std::condition_variable changed;
  std::deque<std::string> answers;  // empty text: a failure
  std::vector<JwksService::Result> results;

  JwksService::Fetch fetch() {
    return [this](const std::string&, std::string* body, std::string* error) {
      const std::lock_guard lock(mutex);
      *body = answers.front();
      if (answers.size() > 1) answers.pop_front();
      *error = "nobody answers";
      return !body->empty();
    };
  }
  JwksService::Done done() {
    return [this](const JwksService::Result& result) {
      const std::lock_guard lock(mutex);
      results.push_back(result);
      changed.notify_all();
    };
  }
  JwksService::Result wait_for(size_t count) {
    std::unique_lock lock(mutex);
    changed.wait(lock, [&] { return results.size() >= count; });
    return results[count - 1];
  }
};

TEST(JwksService, FetchesAtOnceAndWhenAskedButNotTooOften) {
  Rig rig;
  rig.answers = {kJwks};
  JwksOptions options{"https://keys.example/jwks", base::seconds(3600), base::seconds(10), ""};
  JwksService service(options, rig.fetch(), rig.done());
  service.start();
  EXPECT_TRUE(rig.wait_for(1).ok);
  const base::Instant now{5'000'000'000};
  EXPECT_TRUE(service.ask(now));
  EXPECT_TRUE(rig.wait_for(2).ok);
  EXPECT_FALSE(service.ask(now + base::seconds(9)));
  EXPECT_TRUE(service.ask(now + base::seconds(10)));
  EXPECT_EQ(rig.wait_for(3).jwks, kJwks);
}

TEST(JwksService, AFailureIsToldAndTriedAgainAndNothingBadIsTaken) {
  Rig rig;
  rig.answers = {"", R"({"keys":[]})", kJwks};
  JwksOptions options{"https://keys.example/jwks", base::milliseconds(1), base::seconds(10), ""};
  JwksService service(options, rig.fetch(), rig.done());
  service.start();
  const JwksService::Result first = rig.wait_for(1);
  EXPECT_FALSE(first.ok);
  EXPECT_EQ(first.error, "https://keys.example/jwks: nobody answers");
  const JwksService::Result second = rig.wait_for(2);
  EXPECT_FALSE(second.ok);
  EXPECT_NE(second.error.find("not a usable key set"), std::string::npos);
  EXPECT_TRUE(rig.wait_for(3).ok);
}

TEST(JwksService, TheLastGoodSetIsKeptInAFile) {
  Rig rig;
  rig.answers = {kJwks, ""};
  const std::string path = testing::TempDir() + "tidegate_jwks_cache";
  JwksOptions options{"https://keys.example/jwks", base::milliseconds(1), base::seconds(10), path};
  {
    JwksService service(options, rig.fetch(), rig.done());
    service.start();
    EXPECT_FALSE(rig.wait_for(2).ok);
  }
  std::string text;
  std::string error;
  ASSERT_TRUE(read_file_blocking(path, 1 << 16, &text, &error)) << error;
  EXPECT_EQ(text, kJwks);
  std::remove(path.c_str());
}

TEST(JwksService, OnlySafeUrlsAreFetched) {
  for (const char* good :
       {"https://keys.example/jwks", "http://127.0.0.1:8080/k", "http://[::1]:80/"}) {
    EXPECT_EQ(check_fetch_url(good), nullptr) << good;
  }
  for (const char* bad :
       {"", "keys.example", "http://keys.example/", "file:///etc/passwd", "https://",
        "https://a b/", "ftp://127.0.0.1/", "http://127.0.0.1.evil.example/"}) {
    EXPECT_NE(check_fetch_url(bad), nullptr) << bad;
  }
  std::string body;
  std::string error;
  // Nobody listens on port 1.
  EXPECT_FALSE(fetch_blocking("http://127.0.0.1:1/", {}, &body, &error));
  EXPECT_FALSE(error.empty());
}

}  // namespace
}  // namespace tidegate::control
