// SPDX-License-Identifier: Apache-2.0
// An upgrade as the composition root sees it: the old process stops all shards behind one tick,
// lets everything that is under way arrive, and gives what each shard has to the new one, which was
// set up meanwhile (handover/channel.h has the order). Until the new one has taken all of it the
// old one can go on, and does when anything fails.
#include <poll.h>

#include <algorithm>
#include <cstdio>

#include "io/event_waker.h"
#include "server/agent.h"
#include "server/inheritance.h"
#include "server/server.h"

namespace tidegate::server {

using handover::Packet;

namespace {

constexpr base::Duration kSetUpLimit = base::seconds(60);  // of the new process, while we serve
constexpr base::Duration kStandstill = base::seconds(3);   // for shards to stop and fall quiet
constexpr base::Duration kTakeLimit = base::seconds(10);   // for the new process to read it all
constexpr uint32_t kTicksAhead = 3;  // the last tick is so far off that all shards hear of it

base::Instant monotonic_now() {
  timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return {int64_t{t.tv_sec} * 1'000'000'000 + t.tv_nsec};
}

void pause_thread() { ::poll(nullptr, 0, 1); }

// Between turns of a shard at a standstill: others need the core.
void nap() {
  const timespec time{0, 100'000};
  ::ppoll(nullptr, 0, &time, nullptr);
}

std::string millis(base::Duration d) {
  char text[32];
  std::snprintf(text, sizeof text, "%.1f ms", static_cast<double>(d.ns) / 1e6);
  return text;
}

}  // namespace

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
      agent.turns.fetch_add(1, std::memory_order_release);  // partner: wait_quiet()
      nap();
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
  const base::Instant end = monotonic_now() + limit;
  for (;;) {
    bool all = true;
    for (const auto& agent : agents_) {
      all = all && agent->step.load(std::memory_order_acquire) == phase;
    }
    if (all) return true;
    if (monotonic_now() >= end) return false;
    for (const auto& agent : agents_) agent->io->waker().wake();
    pause_thread();
  }
}

// All shards stand behind the same tick and have received what they will.
bool Server::wait_standing(base::Duration limit) {
  const base::Instant end = monotonic_now() + limit;
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
    if (monotonic_now() >= end) return false;
    for (const auto& agent : agents_) agent->io->waker().wake();
    pause_thread();
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
  const base::Instant end = monotonic_now() + limit;
  look();
  while (monotonic_now() < end) {
    control_waker_->wake();
    pause_thread();
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

  // Its port is to be free for the new one.
  if (admin_) admin_->stop();
  base::Instant stopped{};
  std::vector<std::vector<uint8_t>> process;
  const bool good = stand_still(&stopped, &why) && send_state(channel, stopped, &why) &&
                    answered(Packet::kTaken, kTakeLimit, &why);
  if (good && channel.send(Packet::kGo, {})) {
    log(base::LogLevel::kInfo,
        "upgrade: handed over " + millis(monotonic_now() - stopped) + " after the last tick");
    abandon();
    return true;
  }
  if (good) why = "the new process is gone";
  go_on();
  return fail(why);
}

bool Server::stand_still(base::Instant* stopped, std::string* why) {
  for (const auto& agent : agents_) {
    agent->handover = std::make_unique<shard::Handover>(*agent->shard);
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
  *stopped = monotonic_now();
  if (!wait_quiet(kStandstill)) {
    *why = "what was under way between the shards did not end";
    return false;
  }
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
void Server::abandon() {
  running_ = false;
  stop_shards_.store(true, std::memory_order_relaxed);
  for (const auto& agent : agents_) agent->io->waker().wake();
  for (const auto& agent : agents_) agent->thread.join();
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

// --- the new process ---

std::unique_ptr<Server> Server::inherit(const control::Config& config, int channel_descriptor,
                                        std::string* error) {
  auto inheritance = std::make_unique<Inheritance>(channel_descriptor);
  Inheritance& from = *inheritance;
  if (!from.receive_hello(error)) {
    from.refuse(*error);
    return nullptr;
  }
  std::unique_ptr<Server> server(new Server(config, {}));
  server->inheritance_ = std::move(inheritance);
  if (!server->check_inheritance(error) || !server->set_up(error)) {
    from.refuse(*error);
    return nullptr;
  }
  if (!from.channel.send(Packet::kReady, {})) {
    *error = "upgrade: the process before this one is gone";
    return nullptr;
  }
  if (!server->receive_state(error)) {
    from.refuse(*error);
    return nullptr;
  }
  return server;
}

// What must be as it was; the rest of the configuration may be new.
bool Server::check_inheritance(std::string* error) {
  const handover::Hello& hello = inheritance_->hello;
  const auto differs = [&](const char* key) {
    *error = std::string(key) + " is another than that of the running server; it needs a restart";
    return false;
  };
  if (config_.world.tick_rate != hello.tick_rate) return differs("world.tick_rate");
  if (config_.world.cell_size != hello.cell_size) return differs("world.cell_size");
  if (world::WorldConfig{}.position_step != hello.position_step)
    return differs("the position step");
  control::Address& websocket = config_.listen.websocket;
  if (websocket.port != 0 && websocket.port != hello.websocket_port) {
    return differs("listen.websocket");
  }
  control::Address& tls = config_.listen.tls;
  if (tls.is_set() != (hello.tls_port != 0) ||
      (tls.is_set() && tls.port != 0 && tls.port != hello.tls_port)) {
    return differs("listen.tls");
  }
  if (config_.session.store == "redis") return differs("session.store");
  if (!config_.bus.servers.empty()) return differs("bus.servers");
  if (config_.session.secret.empty() && config_.session.secret_file.empty()) {
    config_.session.secret = std::string(hello.session_secret);
    inheritance_->takes_secret = true;
  }
  websocket_port_ = static_cast<uint16_t>(hello.websocket_port);
  tls_port_ = static_cast<uint16_t>(hello.tls_port);
  return true;
}

// Instead of listen(). False: there is none, or the kernel refuses it.
bool Server::adopt_listeners(Agent& agent, uint32_t shard, const io::ListenSpec& spec) {
  const int websocket = inheritance_->take_listener(shard, false);
  if (websocket < 0 || !agent.io->adopt_listener(websocket, spec)) return false;
  if (inheritance_->hello.tls_port == 0) return true;
  const int tls = inheritance_->take_listener(shard, true);
  return tls >= 0 && agent.io->adopt_listener(tls, spec);
}

bool Server::receive_state(std::string* error) {
  Inheritance& from = *inheritance_;
  const auto fail = [&](const std::string& what) {
    *error = "upgrade: " + what;
    return false;
  };
  struct Part {
    handover::MemoryFile file;
    std::vector<int> descriptors;
    bool came = false;
  };
  struct Parts {  // closes what nobody took
    std::vector<Part> of;
    ~Parts() {
      for (Part& part : of) {
        for (const int fd : part.descriptors) ::close(fd);
      }
    }
  } parts;
  parts.of.resize(agents_.size() + 1);  // the last one: of the process
  Packet packet{};
  std::vector<uint8_t> payload;
  std::vector<int> descriptors;
  base::Duration limit = base::seconds(30);
  for (;;) {
    if (!from.channel.receive(limit, &packet, &payload, &descriptors)) {
      return fail("the process before this one has changed its mind");
    }
    if (packet == Packet::kEnd) break;
    const uint32_t shard = payload.size() >= 4 ? base::load_le<uint32_t>(payload.data()) : 0;
    const size_t at = shard == handover::kProcessState ? agents_.size() : shard;
    const bool file = packet == Packet::kState && payload.size() == 12 && descriptors.size() == 1;
    const bool sockets = packet == Packet::kDescriptors && payload.size() == 4;
    if (at > agents_.size() || (!file && !sockets) || (file && parts.of[at].came)) {
      for (const int fd : descriptors) ::close(fd);
      return fail("a packet that is none");
    }
    Part& part = parts.of[at];
    if (file) {
      part.came = true;
      if (!part.file.open(descriptors[0], base::load_le<uint64_t>(payload.data() + 4))) {
        return fail("a file of the state cannot be read");
      }
    } else {
      part.descriptors.insert(part.descriptors.end(), descriptors.begin(), descriptors.end());
    }
  }
  if (!std::all_of(parts.of.begin(), parts.of.end(), [](const Part& p) { return p.came; })) {
    return fail("the state of a shard is missing");
  }
  for (const auto& agent : agents_) {
    agent->handover = std::make_unique<shard::Handover>(*agent->shard);
  }
  bool owned = true;
  for (uint32_t i = 0; i < agents_.size(); ++i) {
    const world::WorldScale& scale = agents_[i]->shard->slice().scale();
    owned = owned && shard::Handover::find_moved_cells(
                         parts.of[i].file.bytes(), scale, i, [&](world::CellKey cell) {
                           for (const auto& agent : agents_) {
                             owned = owned && agent->handover->note_owner(cell, i);
                           }
                         });
  }
  if (!owned) {
    return fail(
        "cells belong to other shards than the rule says; balance.on and balance.cells are "
        "to be as they were");
  }
  uint64_t moved = 0;
  for (uint32_t i = 0; i < agents_.size(); ++i) {
    const std::vector<int> own = std::move(parts.of[i].descriptors);
    parts.of[i].descriptors.clear();
    moved += own.size();
    std::string why;
    if (!agents_[i]->handover->restore(parts.of[i].file.bytes(), own, &why)) return fail(why);
  }
  for (uint32_t i = 0; i < agents_.size(); ++i) {
    agents_[i]->handover->for_each_topic([&](std::string_view topic) {
      const uint32_t home = session::home_shard(topic, static_cast<uint32_t>(agents_.size()));
      agents_[home]->handover->add_reader(topic, i);
    });
  }
  handover::Process process;
  handover::Reader in(parts.of.back().file.bytes());
  while (in.next()) {
    if (in.type() == handover::RecordType::kProcess) {
      if (!in.read(&process)) break;
    } else if (in.type() == handover::RecordType::kRevocation) {
      handover::Revocation revocation;
      if (!in.read(&revocation)) break;
      auth_->restore_revoked(std::string(revocation.user), revocation.at_s, revocation.until_s);
    }
  }
  if (!in.ok()) return fail("what the process knows is cut");
  std::string ignored;
  if (!process.jwks.empty() && !config_.auth.jwks_url.empty()) {
    (void)auth_->set_url_keys(std::string(process.jwks), &ignored);
  }
  if (!from.channel.send(Packet::kTaken, {}) ||
      !from.channel.receive(kTakeLimit, &packet, &payload, &descriptors) || packet != Packet::kGo) {
    return fail("the process before this one has changed its mind");
  }
  for (size_t i = 0; i < std::size(process.closed); ++i) {
    for (uint64_t n = process.closed[i]; n != 0; --n) {
      control_counters_->add(metrics::Family::kUpgradeClosed, static_cast<uint32_t>(i));
    }
  }
  control_counters_->set(metrics::Counter::kUpgradeMoved, moved);
  stopped_ = {process.stopped_ns};
  return true;
}

// The first tick has run.
void Server::report_inheritance() {
  const base::Duration gap = monotonic_now() - stopped_;
  control_counters_->record(metrics::Timing::kUpgrade, gap);
  log(base::LogLevel::kInfo,
      "upgrade: " + std::to_string(control_counters_->get(metrics::Counter::kUpgradeMoved)) +
          " connections came over; from the last tick there to the first one here " + millis(gap));
}

}  // namespace tidegate::server
