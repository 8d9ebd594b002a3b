// SPDX-License-Identifier: Apache-2.0
// Certificates: at the start, and when somebody asks to read them again.
#include <ctime>
#include <mutex>

#include "control/tls_files.h"
#include "crypto/random.h"
#include "server/agent.h"
#include "server/server.h"

namespace tidegate::server {
namespace {
// Listeners are numbered in the order in which set_up makes them.
constexpr uint32_t kTlsListener = 1;
}  // namespace

bool Server::set_up_tls(net::TlsConfig* out, std::string* error) {
  if (!config_.listen.tls.is_set()) return true;
  const control::CommandResult loaded = reload_tls();
  if (!loaded.ok) {
    *error = loaded.text;
    return false;
  }
  timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  out->contexts = &tls_;
  out->listeners = 1u << kTlsListener;
  out->handshake_budget = config_.tls.handshake_budget;
  out->tickets.rotation = config_.tls.ticket_rotation;
  out->tickets.origin = {int64_t{now.tv_sec} * 1'000'000'000 + now.tv_nsec};
  if (crypto::fill_random({out->tickets.seed.data(), out->tickets.seed.size()})) return true;
  *error = "the system gives no random bytes (getrandom)";
  return false;
}

control::CommandResult Server::reload_tls() {
  control::CommandResult result;
  const control::Config config = config_copy();
  if (!config.listen.tls.is_set()) {
    result.text = "no listener speaks TLS: listen.tls is not set";
    return result;
  }
  const std::lock_guard lock(tls_reload_);
  timespec now;
  clock_gettime(CLOCK_REALTIME, &now);
  const auto context =
      control::load_tls_blocking(config.tls, now.tv_sec, &result.text, &result.warnings);
  for (const std::string& warning : result.warnings) log(base::LogLevel::kWarn, warning);
  if (context == nullptr) {
    log(base::LogLevel::kError, result.text);
    return result;
  }
  const bool changed = tls_.get() == nullptr || tls_.get()->digest() != context->digest();
  if (changed) tls_.set(context);
  tls_expires_unix_.store(context->expires_unix(), std::memory_order_relaxed);
  result.ok = true;
  result.text = std::to_string(context->certificates()) +
                (context->certificates() == 1 ? " certificate" : " certificates") +
                (changed ? " in use" : " in use, none has changed");
  return result;
}

}  // namespace tidegate::server
