// SPDX-License-Identifier: Apache-2.0
#include "control/jwks_service.h"

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <cstdio>
#include <cstring>

#include "crypto/key_set.h"

namespace tidegate::control {
namespace {

constexpr base::Duration kRetryFirst = base::seconds(1);

// Whole or not at all: beside the file, then in its place.
bool write_file_blocking(const std::string& path, const std::string& text, std::string* error) {
  const std::string beside = path + ".new";
  std::FILE* file = std::fopen(beside.c_str(), "we");
  bool good = file != nullptr && std::fwrite(text.data(), 1, text.size(), file) == text.size();
  if (file != nullptr) good = std::fclose(file) == 0 && good;
  if (!good || std::rename(beside.c_str(), path.c_str()) != 0) {
    *error = "cannot write " + path + ": " + std::strerror(errno);
    std::remove(beside.c_str());
    return false;
  }
  return true;
}

}  // namespace

JwksService::JwksService(JwksOptions options, Fetch fetch, Done done)
    : options_(std::move(options)), fetch_(std::move(fetch)), done_(std::move(done)) {}

JwksService::~JwksService() { stop(); }

void JwksService::start() {
  thread_ = std::thread([this] { run(); });
}

void JwksService::stop() {
  {
    const std::lock_guard lock(mutex_);
    stopping_ = true;
  }
  wake_.notify_all();
  if (thread_.joinable()) thread_.join();
}

bool JwksService::ask(base::Instant now) {
  const std::lock_guard lock(mutex_);
  if (asked_) return true;  // one is on its way already
  if (last_ask_.ns != 0 && now - last_ask_ < options_.ask_interval) return false;
  last_ask_ = now;
  asked_ = true;
  wake_.notify_all();
  return true;
}

JwksService::Result JwksService::fetch_once() {
  Result result;
  crypto::KeySet keys;
  std::string why;
  if (!fetch_(options_.url, &result.jwks, &why)) {
    result.error = options_.url + ": " + why;
    return result;
  }
  if (!keys.add_jwks(result.jwks, &why)) {
    result.error = options_.url + ": not a usable key set: " + why;
    return result;
  }
  result.ok = true;
  if (!options_.cache_file.empty() &&
      !write_file_blocking(options_.cache_file, result.jwks, &why)) {
    result.error = why;  // told, but the keys are good
  }
  return result;
}

void JwksService::run() {
  base::Duration retry = kRetryFirst;
  for (;;) {
    const Result result = fetch_once();
    std::unique_lock lock(mutex_);
    asked_ = false;
    if (stopping_) return;
    lock.unlock();
    done_(result);
    base::Duration pause = options_.interval;
    if (result.ok) {
      retry = kRetryFirst;
    } else {
      pause = std::min(retry, options_.interval);
      retry = {std::min(retry.ns * 2, options_.interval.ns)};
    }
    lock.lock();
    wake_.wait_for(lock, std::chrono::nanoseconds(pause.ns),
                   [this] { return stopping_ || asked_; });
    if (stopping_) return;
  }
}

}  // namespace tidegate::control
