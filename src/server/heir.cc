// SPDX-License-Identifier: Apache-2.0
// The new process of an upgrade: set up beside the old one, then built from what that one has.
// Until it says that it took all of it, nothing has happened; upgrade.cc is the other side.
#include <algorithm>
#include <thread>

#include "control/start_thread.h"
#include "server/agent.h"
#include "server/inheritance.h"
#include "server/server.h"
#include "server/upgrade_time.h"

namespace tidegate::server {

using handover::Packet;

namespace {

constexpr base::Duration kStateLimit = base::seconds(30);  // for the old process' last tick
constexpr base::Duration kGoLimit = base::seconds(10);

}  // namespace

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
  uint8_t takes[4];
  base::store_le(takes, handover::kTakesTls);
  if (!from.channel.send(Packet::kReady, takes)) {
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
  for (;;) {
    if (!from.channel.receive(kStateLimit, &packet, &payload, &descriptors)) {
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
  // Each on a thread of its own: nobody is served meanwhile.
  uint64_t moved = 0;
  std::vector<std::string> problems(agents_.size());
  {
    std::vector<std::thread> threads;
    for (uint32_t i = 0; i < agents_.size(); ++i) {
      moved += parts.of[i].descriptors.size();
      const auto take = [this, i, part = &parts.of[i], problem = &problems[i]] {
        const std::vector<int> own = std::move(part->descriptors);
        part->descriptors.clear();
        if (!agents_[i]->handover->restore(part->file.bytes(), own, problem) && problem->empty()) {
          *problem = "its records do not fit";
        }
      };
      std::string ignored;
      std::thread thread;
      if (i + 1 == agents_.size() || !control::start_thread(&thread, take, &ignored)) {
        take();
      } else {
        threads.push_back(std::move(thread));
      }
    }
    for (std::thread& thread : threads) thread.join();
  }
  for (const std::string& why : problems) {
    if (!why.empty()) return fail(why);
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
      !from.channel.receive(kGoLimit, &packet, &payload, &descriptors) || packet != Packet::kGo) {
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
  const base::Duration gap = upgrade_now() - stopped_;
  (void)inheritance_->channel.send(Packet::kTicking, {});
  control_counters_->record(metrics::Timing::kUpgrade, gap);
  log(base::LogLevel::kInfo,
      "upgrade: " + std::to_string(control_counters_->get(metrics::Counter::kUpgradeMoved)) +
          " connections came over; from the last tick there to the first one here " + millis(gap));
}

}  // namespace tidegate::server
