// SPDX-License-Identifier: Apache-2.0
// Keeps the key set of auth.jwks_url: fetched at the start and every auth.jwks_interval, sooner
// when a token names a key that is not known (but not more often than kAskInterval), and again with
// a growing pause after a failure. The keys there were stay until new ones have come; the last good
// set is kept in a file, so that a restart does not depend on somebody else's server.
//
// Thread: its own; ask() and stop() from any. Owner: server. Limits: FetchLimits.
#pragma once

#include <condition_variable>
#include <functional>
#include <mutex>
#include <string>
#include <thread>

#include "base/time.h"

namespace tidegate::control {

struct JwksOptions {
  std::string url;
  base::Duration interval = base::seconds(600);
  base::Duration ask_interval = base::seconds(10);  // between two fetches that tokens cause
  std::string cache_file;                           // empty: none
};

class JwksService {
 public:
  // The body of a GET; false with text in `error`.
  using Fetch = std::function<bool(const std::string& url, std::string* body, std::string* error)>;
  // A good set was fetched (`jwks`), or it failed (`error`). Called on the service's thread.
  struct Result {
    bool ok = false;
    std::string jwks;
    std::string error;
  };
  using Done = std::function<void(const Result&)>;

  JwksService(JwksOptions options, Fetch fetch, Done done);
  ~JwksService();  // stops
  JwksService(const JwksService&) = delete;
  JwksService& operator=(const JwksService&) = delete;

  void start();
  void stop();
  // A token names an unknown key. False: it was asked too recently, nothing will come of it.
  bool ask(base::Instant now);

 private:
  void run();
  Result fetch_once();

  JwksOptions options_;
  Fetch fetch_;
  Done done_;
  std::mutex mutex_;  // everything below
  std::condition_variable wake_;
  bool stopping_ = false;
  bool asked_ = false;
  base::Instant last_ask_{};
  std::thread thread_;
};

}  // namespace tidegate::control
