// SPDX-License-Identifier: Apache-2.0
// New limits while the shard runs, and tokens that run out while their connections are open.
#include <cstdio>
#include <cstring>

#include "base/log.h"
#include "shard/live_settings.h"
#include "shard/shard.h"
#include "wire/message_types.h"

namespace tidegate::shard {

namespace {
// So many rows, so often: all of ten thousand in a second, and none of it is noticed.
constexpr uint32_t kExpiryRows = 256;
constexpr base::Duration kExpiryPause = base::milliseconds(20);
}  // namespace

void Shard::on_settings(base::Bytes bytes) {
  base::Bytes tail;
  (void)mailbox::read_message<mailbox::SettingsSet>(bytes, &tail);
  TG_ASSERT(tail.size() == sizeof(LiveSettings));
  LiveSettings s;
  std::memcpy(static_cast<void*>(&s), tail.data(), sizeof s);
  endpoint_.set_limits(s.endpoint);
  config_.endpoint.heartbeat_interval = s.endpoint.heartbeat_interval;
  config_.endpoint.edge.limits = s.endpoint.edge.limits;
  config_.messages_per_second = s.messages_per_second;
  config_.messages_burst = s.messages_burst;
  joins_.set_rate(s.joins_per_second);
  config_.violations_per_minute = s.violations_per_minute;
  config_.handler_time_limit = s.handler_time_limit;
  config_.handler_budget = s.handler_budget;
  config_.close_at_expiry = s.close_at_expiry;
  config_.expiry_warning = s.expiry_warning;
  config_.expiry_leeway = s.expiry_leeway;
  bridge_.set_budgets(s.handler_budget, s.tick_hook_budget);
  interest_.set_budget(s.budget);
}

// A user's connections are counted over all shards, from the login to the end. False: refused.
bool Shard::admit_user(uint32_t slot) {
  net::AdmissionTables* admission = config_.endpoint.admission;
  if (admission == nullptr) return true;
  Player& player = players_[slot];
  const uint32_t limit = config_.endpoint.edge.limits.connections_per_user;
  if (!admission->enter_user(limit, identities_.view(player.identity).user)) {
    counters_.add(metrics::Family::kAdmission, static_cast<uint32_t>(net::Admission::kPerUser));
    identities_.free(player.identity);
    player.identity = Identities::kNone;
    endpoint_.refuse_upgrade(slot, 429, "too_many_connections",
                             "this user has too many connections; close one of them", 5);
    return false;
  }
  player.flags |= kUserCounted;
  return true;
}

void Shard::leave_user(uint32_t slot) {
  Player& player = players_[slot];
  if (!(player.flags & kUserCounted)) return;
  player.flags &= static_cast<uint16_t>(~kUserCounted);
  config_.endpoint.admission->leave_user(identities_.view(player.identity).user);
}

void Shard::end_expired() {
  if (!config_.close_at_expiry || players_end_ == 0 || now_ < expiry_due_) return;
  expiry_due_ = now_ + kExpiryPause;
  const int64_t now_ms = io_.unix_ms();
  for (uint32_t i = 0; i < std::min(kExpiryRows, players_end_); ++i) {
    expiry_cursor_ = expiry_cursor_ + 1 < players_end_ ? expiry_cursor_ + 1 : 0;
    const uint32_t slot = expiry_cursor_;
    Player& player = players_[slot];
    if (player.session == 0 || player.expires_at == 0 || !endpoint_.is_open(slot)) continue;
    const int64_t left_ms = player.expires_at * 1000 - now_ms;
    if (left_ms <= -config_.expiry_leeway.ns / 1'000'000) {
      send_error(slot, wire::kErrorSessionExpired, "the token has expired", true);
      endpoint_.close(slot, 1008, "the token has expired", net::CloseCause::kTokenExpired);
      counters_.add(metrics::Counter::kTokensExpired, 1);
    } else if (left_ms <= config_.expiry_warning.ns / 1'000'000 &&
               !(player.flags & kExpiryWarned)) {
      player.flags |= kExpiryWarned;
      char text[64];
      send_error(slot, wire::kErrorSessionExpired,
                 base::format_into(text, "the token expires in %lld ms",
                                   static_cast<long long>(std::max<int64_t>(left_ms, 0))),
                 false);
    }
  }
}

}  // namespace tidegate::shard
