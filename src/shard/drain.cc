// SPDX-License-Identifier: Apache-2.0
// Connections that end because an operator says so: a drain, which tells everybody where to go and
// closes them little by little, and a kick.
#include <cstring>

#include "shard/shard.h"
#include "wire/message_types.h"

namespace tidegate::shard {

using mailbox::read_message;

// From now on upgrades are refused (login.cc). Players go on until their turn comes.
void Shard::on_drain(base::Bytes bytes) {
  base::Bytes tail;
  const auto drain = read_message<mailbox::Drain>(bytes, &tail);
  draining_ = true;
  if (drain.stop_accepting != 0) io_.stop_accepting();
  drain_ = DrainPlan{};
  drain_.close_from = {drain.close_from_ns};
  drain_.spread = {drain.spread_ns};
  drain_.deadline = {drain.deadline_ns};
  drain_.retry_after_ms = drain.retry_after_ms;
  drain_.url_bytes = static_cast<uint16_t>(std::min<size_t>(tail.size(), kReconnectUrlMax));
  if (drain_.url_bytes != 0) std::memcpy(drain_.url, tail.data(), drain_.url_bytes);
  run_drain();
}

void Shard::run_drain() {
  if (!draining_ || (now_ < drain_.close_from && now_ < drain_.deadline)) return;
  if (!drain_.counted) {
    drain_.counted = true;
    drain_.total = live_players_;
  }
  const uint32_t target = drain_.target(now_);
  while (drain_.closed < target && drain_.cursor < players_end_) {
    const uint32_t slot = drain_.cursor++;
    if (players_[slot].session == 0 || !endpoint_.is_open(slot)) continue;
    wire::Disconnect disconnect;
    disconnect.code = wire::kErrorDraining;
    disconnect.reason = "the server is shutting down";
    disconnect.reconnect_url = {drain_.url, drain_.url_bytes};
    // Each its own time: those of one moment must not come to the next server in one moment.
    if (drain_.retry_after_ms != 0) {
      disconnect.retry_after_ms = 1 + static_cast<uint32_t>(prng_.next() % drain_.retry_after_ms);
    }
    send_disconnect(slot, disconnect);
    endpoint_.close(slot, 1001, "the server is shutting down", net::CloseCause::kServerClosed);
    counters_.add(metrics::Counter::kDrainClosed, 1);
    ++drain_.closed;
  }
  if (drain_.cursor < players_end_ || live_players_ == 0) return;
  // The walk is over: who left by itself needs no turn, and who came in behind the cursor, accepted
  // just before the drain, gets one.
  drain_.cursor = 0;
  drain_.total = drain_.closed + live_players_;
}

void Shard::on_kick(base::Bytes bytes) {
  base::Bytes tail;
  const auto kick = read_message<mailbox::Kick>(bytes, &tail);
  const std::string_view text = base::as_text(tail);
  const std::string_view user = text.substr(0, kick.user_bytes);
  const std::string_view player = text.substr(kick.user_bytes, kick.player_bytes);
  const std::string_view reason =
      text.substr(size_t{kick.user_bytes} + kick.player_bytes, kick.reason_bytes);
  uint32_t closed = 0;
  // No index by user: an operator asks, and the walk is bounded.
  for (uint32_t slot = 0; slot < players_end_; ++slot) {
    if (players_[slot].session == 0 || !endpoint_.is_open(slot)) continue;
    const IdentityView identity = identities_.view(players_[slot].identity);
    if ((kick.session != 0 && players_[slot].session != kick.session) ||
        (!user.empty() && identity.user != user) ||
        (!player.empty() && identity.player != player)) {
      continue;
    }
    players_[slot].flags |= kSessionEnds;  // nobody comes back into it
    players_[slot].end = static_cast<uint8_t>(session::End::kClosed);
    wire::Disconnect disconnect;
    disconnect.code = kick.code;
    disconnect.reason = reason;
    send_disconnect(slot, disconnect);
    endpoint_.close(slot, 1008, reason, net::CloseCause::kKicked);
    ++closed;
  }
  counters_.add(metrics::Counter::kKicked, closed);
  outbox_.post(mailbox_.control(), mailbox::Kicked{kick.request, closed});
}

}  // namespace tidegate::shard
