// SPDX-License-Identifier: Apache-2.0
// The part of ControlAgent that carries an operator's orders to the shards: drain, kick, new
// limits.
#include <chrono>

#include "control/control_agent.h"

namespace tidegate::control {

using mailbox::AgentId;

void ControlAgent::drain(const DrainOrder& order, const std::function<void()>& wake) {
  for (AgentId shard = 0; shard < mailbox_.shards(); ++shard) {
    enqueue(
        [this, shard, order] {
          mailbox::Drain drain{};
          drain.close_from_ns = order.close_from.ns;
          drain.spread_ns = order.spread.ns;
          drain.deadline_ns = order.deadline.ns;
          drain.retry_after_ms = order.retry_after_ms;
          drain.stop_accepting = order.stop_accepting ? 1 : 0;
          return mailbox_.post(shard, drain, base::as_bytes(order.reconnect_url));
        },
        wake);
  }
}

KickResult ControlAgent::kick_blocking(const KickOrder& order, const std::function<void()>& wake) {
  uint32_t number = 0;
  {
    const std::lock_guard lock(mutex_);
    number = next_listing_++;
    kicks_[number] = {0, mailbox_.shards()};
  }
  for (AgentId shard = 0; shard < mailbox_.shards(); ++shard) {
    enqueue(
        [this, shard, order, number] {
          mailbox::Kick kick{};
          kick.request = number;
          kick.session = order.session;
          kick.code = order.code;
          kick.user_bytes = static_cast<uint16_t>(order.user.size());
          kick.player_bytes = static_cast<uint16_t>(order.player.size());
          kick.reason_bytes = static_cast<uint16_t>(order.reason.size());
          const std::string tail = order.user + order.player + order.reason;
          return mailbox_.post(shard, kick, base::as_bytes(tail));
        },
        wake);
  }
  std::unique_lock lock(mutex_);
  KickResult result;
  result.complete = changed_.wait_for(lock, std::chrono::seconds(2),
                                      [&] { return kicks_[number].shards_left == 0; });
  result.closed = kicks_[number].closed;
  kicks_.erase(number);
  return result;
}

void ControlAgent::on_kicked(base::Bytes bytes) {
  const auto kicked = mailbox::read_message<mailbox::Kicked>(bytes);
  const std::lock_guard lock(mutex_);
  const auto it = kicks_.find(kicked.request);
  if (it == kicks_.end()) return;
  it->second.closed += kicked.closed;
  if (--it->second.shards_left == 0) changed_.notify_all();
}

void ControlAgent::post_settings(const std::vector<uint8_t>& settings,
                                 const std::function<void()>& wake) {
  for (AgentId shard = 0; shard < mailbox_.shards(); ++shard) {
    enqueue(
        [this, shard, settings] { return mailbox_.post(shard, mailbox::SettingsSet{}, settings); },
        wake);
  }
}

void ControlAgent::run(std::function<void()> work, const std::function<void()>& wake) {
  enqueue(
      [work = std::move(work)] {
        work();
        return true;
      },
      wake);
}

}  // namespace tidegate::control
