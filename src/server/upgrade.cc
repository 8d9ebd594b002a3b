// SPDX-License-Identifier: Apache-2.0
// An upgrade as the composition root sees it: the old process stops all shards behind one tick,
// lets everything that is under way arrive, and gives what each shard has to the new one, which was
// set up meanwhile (handover/channel.h has the order). Until the new one has taken all of it the
// old one can go on, and does when anything fails.
#include <poll.h>

#include <algorithm>

#include "io/event_waker.h"
#include "server/agent.h"
#include "server/inheritance.h"
#include "server/server.h"
#include "server/upgrade_time.h"

namespace tidegate::server {

using handover::Packet;

namespace {

constexpr base::Duration kSetUpLimit = base::seconds(60);  // of the new process, while we serve
constexpr base::Duration kStandstill = base::seconds(3);   // for shards to stop and fall quiet
constexpr base::Duration kTakeLimit = base::seconds(10);   // for the new process to read it all
constexpr base::Duration kTidyLimit = base::seconds(1);    // for its first tick
// Between naps: as many as show that all is quiet, as each wake-up on a busy core costs a slice of
// it.
constexpr uint64_t kTurnsInARow = 4;
constexpr uint32_t kTicksAhead = 3;  // the last tick is so far off that all shards hear of it

void pause_thread() { ::poll(nullptr, 0, 1); }

// Between turns at a standstill, and looks at it: others need the core, but nobody is served.
void nap() {
  const timespec time{0, 100'000};
  ::ppoll(nullptr, 0, &time, nullptr);
}

}  // namespace

// Between turns of control at a standstill.
void Server::step_aside(uint64_t turns) {
  if (turns % kTurnsInARow == 0) nap();
}

// --- the shards' threads ---

// Behind each turn while an upgrade runs. True: no turn now.
bool Server::step_upgrade(Agent& agent) {
  const UpgradePhase phase = upgrade_phase_.load(std::memory_order_acquire);
  if (phase == UpgradePhase::kNone) return false;
  switch (phase) {
    case UpgradePhase::kPause:
      if (!agent.shard->held()) return false;
      agent.handover->pause();
      agent.quiet.store(agent.handover->quiet(), std::memory_order_relaxed);
      agent.work.store(agent.shard->work_turns(), std::memory_order_relaxed);
      // partner: wait_quiet()
      if (agent.turns.fetch_add(1, std::memory_order_release) % kTurnsInARow == 0) nap();
      return false;
    case UpgradePhase::kSave:
      if (agent.step.load(std::memory_order_relaxed) != UpgradePhase::kSave) {
        agent.saved = agent.handover->save(&agent.state);
        agent.step.store(UpgradePhase::kSave, std::memory_order_release);  // partner: reached()
      }
      pause_thread();
      return true;
    case UpgradePhase::kResume:
      if (agent.step.load(std::memory_order_relaxed) != UpgradePhase::kResume) {
        agent.handover->resume();
        agent.step.store(UpgradePhase::kResume, std::memory_order_release);
      }
      return false;
    case UpgradePhase::kNone:
      break;
  }
  return false;
}

bool Server::reached(UpgradePhase phase, base::Duration limit) {
  const base::Instant end = upgrade_now() + limit;
  for (;;) {
    bool all = true;
    for (const auto& agent : agents_) {
      all = all && agent->step.load(std::memory_order_acquire) == phase;
    }
    if (all) return true;
    if (upgrade_now() >= end) return false;
    for (const auto& agent : agents_) agent->io->waker().wake();
    nap();
  }
}

// All shards stand behind the same tick and have received what they will.
bool Server::wait_standing(base::Duration limit) {
  const base::Instant end = upgrade_now() + limit;
  for (;;) {
    uint32_t newest = 0;
    bool all = true;
    for (const auto& agent : agents_) {
      newest = std::max(newest, agent->shard->current_tick());
      all = all && agent->turns.load(std::memory_order_acquire) != 0;
    }
    // A shard that began a tick before it heard of the hold needs the others in it.
    if (newest > upgrade_tick_) {
      upgrade_tick_ = newest;
      for (const auto& agent : agents_) agent->shard->hold_after(upgrade_tick_);
    }
    if (all) return true;
    if (upgrade_now() >= end) return false;
    for (const auto& agent : agents_) agent->io->waker().wake();
    nap();
  }
}

// Two whole turns of every agent in which nothing happened: a message that was posted before the
// first of them would have been seen in the second.
bool Server::wait_quiet(base::Duration limit) {
  struct Mark {
    uint64_t turns, work;
  };
  std::vector<Mark> marks;
  const auto look = [&] {
    marks.clear();
    for (const auto& agent : agents_) {
      const uint64_t turns = agent->turns.load(std::memory_order_acquire);
      marks.push_back({turns, agent->work.load(std::memory_order_relaxed)});
    }
    const uint64_t turns = control_turns_.load(std::memory_order_acquire);
    marks.push_back({turns, control_work_.load(std::memory_order_relaxed)});
  };
  const base::Instant end = upgrade_now() + limit;
  control_waker_->wake();  // from here on it does not sleep
  look();
  while (upgrade_now() < end) {
    nap();
    bool over = true;
    bool moved = false;
    for (size_t i = 0; i < agents_.size(); ++i) {
      const Agent& agent = *agents_[i];
      over = over && agent.turns.load(std::memory_order_acquire) >= marks[i].turns + 3;
      moved = moved || agent.work.load(std::memory_order_relaxed) != marks[i].work ||
              !agent.quiet.load(std::memory_order_relaxed);
    }
    const Mark& control = marks.back();
    over = over && control_turns_.load(std::memory_order_acquire) >= control.turns + 3;
    moved = moved || control_work_.load(std::memory_order_relaxed) != control.work;
    if (moved) {
      look();
    } else if (over) {
      return true;
    }
  }
  return false;
}

// --- the old process ---

bool Server::hand_over(int channel_descriptor, std::string* error) {
  handover::Channel channel(channel_descriptor);
  const auto fail = [&](const std::string& why) {
    *error = why;
    control_counters_->add(metrics::Counter::kUpgradesFailed, 1);
    log(base::LogLevel::kError, "upgrade: " + why + "; this process goes on");
    return false;
  };
  if (!running_ || draining_.load(std::memory_order_relaxed)) {
    return fail("the server is shutting down");
  }
  if (extensions_.handlers != nullptr || extensions_.hooks != nullptr ||
      extensions_.events != nullptr) {
    return fail("a server inside a game keeps what only the game knows; restart it instead");
  }
  if (keeper_ != nullptr && keeper_->store().shared()) {
    return fail(
        "sessions are in a store that several gateways share: drain this one, others take "
        "them");
  }
  if (!config_copy().bus.servers.empty()) {
    return fail("a gateway of several is known to the others by its process: drain it");
  }
  std::vector<int> listeners;
  for (const auto& agent : agents_) {
    if (!agent->io->can_hand_over()) return fail("this io backend cannot hand sockets over");
    for (const int fd : agent->io->listeners()) listeners.push_back(fd);
  }
  handover::Hello hello;
  hello.shards = static_cast<uint32_t>(agents_.size());
  const control::Config config = config_copy();
  hello.tick_rate = config.world.tick_rate;
  hello.cell_size = config.world.cell_size;
  hello.position_step = world::WorldConfig{}.position_step;
  hello.websocket_port = websocket_port_;
  hello.tls_port = tls_port_;
  hello.admin_port = admin_port_;
  hello.server_version = TIDEGATE_VERSION;
  hello.session_secret = session_tokens_->secret();
  std::vector<uint8_t> bytes;
  handover::Writer(bytes).add(hello);
  if (!channel.send(Packet::kHello, bytes, listeners)) return fail("the new process is gone");

  Packet packet{};
  std::vector<uint8_t> answer;
  std::vector<int> none;
  const auto answered = [&](Packet expected, base::Duration limit, std::string* why) {
    if (!channel.receive(limit, &packet, &answer, &none)) {
      *why = "the new process ended or did not answer";
      return false;
    }
    for (const int fd : none) ::close(fd);
    if (packet == Packet::kRefused) {
      *why = "refused by the new process: " + std::string(base::as_text(answer));
      return false;
    }
    *why = "the new process said something unexpected";
    return packet == expected;
  };
  std::string why;
  if (!answered(Packet::kReady, kSetUpLimit, &why)) return fail(why);
  heir_takes_ = answer.size() >= 4 ? base::load_le<uint32_t>(answer.data()) : 0;

  // Its port is to be free for the new one.
  if (admin_) admin_->stop();
  Standstill at;
  const bool good = stand_still(&at, &why) && send_state(channel, at.stopped, &why) &&
                    (at.sent = upgrade_now(), answered(Packet::kTaken, kTakeLimit, &why));
  if (good && channel.send(Packet::kGo, {})) {
    const base::Instant now = upgrade_now();
    log(base::LogLevel::kInfo, "upgrade: handed over " + millis(now - at.stopped) +
                                   " after the last tick: quiet " + millis(at.quiet - at.stopped) +
                                   ", records " + millis(at.saved - at.quiet) + ", sent " +
                                   millis(at.sent - at.saved) + ", taken " + millis(now - at.sent));
    abandon(channel);
    return true;
  }
  if (good) why = "the new process is gone";
  go_on();
  return fail(why);
}

bool Server::stand_still(Standstill* at, std::string* why) {
  for (const auto& agent : agents_) {
    agent->handover = std::make_unique<shard::Handover>(*agent->shard, heir_takes_);
    agent->state = {};
    agent->turns.store(0, std::memory_order_relaxed);
    agent->step.store(UpgradePhase::kNone, std::memory_order_relaxed);
  }
  upgrade_tick_ = 0;
  for (const auto& agent : agents_) {
    upgrade_tick_ = std::max(upgrade_tick_, agent->shard->current_tick() + kTicksAhead);
  }
  upgrade_phase_.store(UpgradePhase::kPause, std::memory_order_release);  // partner: step_upgrade()
  for (const auto& agent : agents_) agent->shard->hold_after(upgrade_tick_);
  if (!wait_standing(kStandstill)) {
    *why = "the shards did not come to a standstill";
    return false;
  }
  at->stopped = upgrade_now();
  if (!wait_quiet(kStandstill)) {
    *why = "what was under way between the shards did not end";
    return false;
  }
  at->quiet = upgrade_now();
  upgrade_phase_.store(UpgradePhase::kSave, std::memory_order_release);
  if (!reached(UpgradePhase::kSave, kStandstill)) {
    *why = "the shards took too long to say what they have";
    return false;
  }
  for (const auto& agent : agents_) {
    if (agent->saved) continue;
    *why =
        "the kernel gives no descriptors for the sockets: it takes Linux 6.8, and a limit of open "
        "files above the number of connections (LimitNOFILE= in systemd)";
    return false;
  }
  at->saved = upgrade_now();
  return true;
}

bool Server::send_state(handover::Channel& channel, base::Instant stopped, std::string* why) {
  *why = "the new process is gone";
  handover::Process process;
  process.stopped_ns = stopped.ns;
  process.jwks = auth_->url_keys();
  std::vector<uint8_t> records;
  handover::Writer writer(records);
  for (const auto& agent : agents_) {
    static_assert(std::size(shard::Handover::State{}.closed) <=
                  std::size(handover::Process{}.closed));
    for (size_t i = 0; i < std::size(agent->state.closed); ++i) {
      process.closed[i] += agent->state.closed[i];
    }
  }
  writer.add(process);
  auth_->for_each_revoked([&](std::string_view user, int64_t at, int64_t until) {
    handover::Revocation revocation;
    revocation.user = user;
    revocation.at_s = at;
    revocation.until_s = until;
    writer.add(revocation);
  });
  const auto send_file = [&](uint32_t shard, base::Bytes bytes) {
    const int file = handover::make_memory_file(bytes);
    if (file < 0) {
      *why = "the system has no memory for a file of the state";
      return false;
    }
    uint8_t head[12];
    base::store_le(head, shard);
    base::store_le<uint64_t>(head + 4, bytes.size());
    const bool sent = channel.send(Packet::kState, head, std::span<const int>(&file, 1));
    ::close(file);
    return sent;
  };
  if (!send_file(handover::kProcessState, records)) return false;
  for (uint32_t i = 0; i < agents_.size(); ++i) {
    shard::Handover::State& state = agents_[i]->state;
    if (!send_file(i, state.records)) return false;
    uint8_t head[4];
    base::store_le(head, i);
    const std::span<const int> all(state.descriptors);
    for (size_t at = 0; at < all.size(); at += handover::kDescriptorsMax) {
      const size_t count = std::min(handover::kDescriptorsMax, all.size() - at);
      if (!channel.send(Packet::kDescriptors, head, all.subspan(at, count))) return false;
    }
  }
  return channel.send(Packet::kEnd, {});
}

// Nothing was given away for good.
void Server::go_on() {
  for (const auto& agent : agents_) agent->shard->hold_after(UINT32_MAX);
  upgrade_phase_.store(UpgradePhase::kResume, std::memory_order_release);
  (void)reached(UpgradePhase::kResume, base::seconds(30));
  upgrade_phase_.store(UpgradePhase::kNone, std::memory_order_release);
  for (const auto& agent : agents_) {
    agent->io->waker().wake();
    for (const int fd : agent->state.descriptors) ::close(fd);
    agent->state = {};
  }
  std::string error;
  if (admin_ && !start_admin(admin_port_, &error)) log(base::LogLevel::kError, error);
}

// Everything is another process' now: threads end, nobody is told anything, no socket is closed but
// for our number of it.
void Server::abandon(handover::Channel& channel) {
  running_ = false;
  stop_shards_.store(true, std::memory_order_relaxed);
  for (const auto& agent : agents_) agent->io->waker().wake();
  for (const auto& agent : agents_) agent->thread.join();
  // Thousands of sockets to let go of: not on the cores that the new one needs for its first tick.
  Packet packet{};
  std::vector<uint8_t> payload;
  std::vector<int> none;
  (void)channel.receive(kTidyLimit, &packet, &payload, &none);
  start_jwks({});
  stop_control_.store(true, std::memory_order_relaxed);
  control_waker_->wake();
  control_thread_.join();
  keep_last_sessions();
  if (snapshots_) snapshots_->stop();
  for (const auto& agent : agents_) {
    for (const int fd : agent->state.descriptors) ::close(fd);
  }
}

}  // namespace tidegate::server
