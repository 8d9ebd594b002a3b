// SPDX-License-Identifier: Apache-2.0
// What only the simulation promises: same seed, same run; faults happen and stay within TCP.
#include <gtest/gtest.h>

#include <cerrno>
#include <map>
#include <string>
#include <vector>

#include "io/sim_io.h"
#include "rig.h"

namespace tidegate::io {
namespace {

struct Outcome {
  uint64_t trace = 0;
  uint64_t events = 0;
  uint32_t resets = 0;
  uint32_t corrupted = 0;
  int64_t ended_at_ns = 0;
};

// Echoes for 20 clients over two SimIos under every fault there is.
Outcome run(uint64_t seed, double reset_probability) {
  SimConfig config;
  config.jitter = base::milliseconds(20);
  config.chunk_bytes_max = 300;
  config.window_bytes = 4096;
  config.stall_probability = 0.01;
  config.starvation_probability = 0.1;
  config.reset_probability = reset_probability;
  SimNetwork network(seed, config);
  IoLimits limits;
  limits.sockets = 32;
  limits.buffers = 8;
  limits.buffer_bytes = 256;
  std::vector<std::unique_ptr<SimIo>> ios;
  for (int i = 0; i < 2; ++i) {
    ios.push_back(std::make_unique<SimIo>(network, limits));
    ListenSpec spec;
    spec.address.sin6_port = htons(7000);
    EXPECT_EQ(ios.back()->listen(spec, nullptr), IoStatus::kOk);
  }
  constexpr uint32_t kBytes = 6000;
  struct Client {
    SimClientSocket* socket;
    std::string text;
    uint32_t sent = 0;
    std::string received;
  };
  std::vector<Client> clients;
  for (uint32_t i = 0; i < 20; ++i)
    clients.push_back({network.connect(7000), pattern(kBytes, i), 0, {}});

  Outcome outcome;
  struct Backlog {
    std::string bytes;
    bool waiting = false;
    bool open = false;
    bool broken = false;
  };
  std::vector<std::map<uint32_t, Backlog>> backlogs(ios.size());
  for (int turn = 0; turn < 200'000; ++turn) {
    for (size_t n = 0; n < ios.size(); ++n) {
      SimIo& io = *ios[n];
      for (const Completion& c : io.poll({})) {
        ++outcome.events;
        outcome.trace = outcome.trace * 31 + static_cast<uint64_t>(c.event) * 7 + c.slot * 3 +
                        static_cast<uint64_t>(static_cast<uint32_t>(c.result));
        Backlog& b = backlogs[n][c.slot];
        switch (c.event) {
          case Event::kAccepted:
            b = {};
            b.open = true;
            io.start_receive(c.slot, 1);
            break;
          case Event::kReceived:
            b.bytes.append(reinterpret_cast<char*>(c.data), static_cast<size_t>(c.result));
            io.recycle(c.buffer);
            break;
          case Event::kEnded:
            b.broken = c.result < 0;
            if (b.broken) {
              b.open = false;
              io.close(c.slot, 1);
            }
            break;
          case Event::kWritable:
            b.waiting = false;
            break;
          default:
            break;
        }
      }
      for (auto& [slot, b] : backlogs[n]) {
        if (!b.open || b.waiting || b.bytes.empty()) continue;
        const auto size = static_cast<uint32_t>(b.bytes.size());
        io.send(slot, 1, reinterpret_cast<const uint8_t*>(b.bytes.data()), size);
        const auto shorts = io.finish_sends();
        if (shorts.empty()) {
          b.bytes.clear();
        } else if (shorts[0].sent >= 0) {
          b.bytes.erase(0, static_cast<size_t>(shorts[0].sent));
          b.waiting = true;
          io.watch_writable(slot, 1);
        } else {
          b.bytes.clear();
        }
      }
    }
    bool over = true;
    for (Client& client : clients) {
      client.sent +=
          client.socket->send({reinterpret_cast<const uint8_t*>(client.text.data()) + client.sent,
                               kBytes - client.sent});
      uint8_t chunk[512];
      for (uint32_t got; (got = client.socket->receive(chunk)) > 0;) {
        client.received.append(reinterpret_cast<char*>(chunk), got);
      }
      over = over && (client.socket->broken() || client.received.size() == kBytes);
    }
    const base::Instant next = network.next_event_time();
    if (over || next == base::Instant::never()) break;
    network.advance_to(next);
  }
  outcome.ended_at_ns = network.now().ns;
  outcome.trace += network.trace_hash();
  for (const Client& client : clients) {
    if (client.socket->broken()) ++outcome.resets;
    if (client.text.compare(0, client.received.size(), client.received) != 0) ++outcome.corrupted;
    if (!client.socket->broken()) {
      EXPECT_EQ(client.received.size(), kBytes) << "seed " << seed;
    }
    network.release(client.socket);
  }
  return outcome;
}

TEST(SimIo, AStarvedReceiveReadsOnWhenTheLinkWasBroken) {
  SimNetwork network(1, SimConfig{});
  IoLimits limits;
  limits.sockets = 4;
  limits.buffers = 4;
  limits.buffer_bytes = 256;
  SimIo io(network, limits);
  ListenSpec spec;
  spec.address.sin6_port = htons(7000);
  ASSERT_EQ(io.listen(spec, nullptr), IoStatus::kOk);
  SimClientSocket* const client = network.connect(7000);
  std::string received;
  int32_t ended = 0;
  const auto run_for = [&](int ms) {
    for (int i = 0; i < ms; ++i) {
      network.advance_to(network.now() + base::milliseconds(1));
      for (const Completion& c : io.poll({})) {
        if (c.event == Event::kAccepted) io.start_receive(c.slot, 1);
        if (c.event == Event::kEnded) ended = c.result;
        if (c.event != Event::kReceived) continue;
        received.append(reinterpret_cast<char*>(c.data), static_cast<size_t>(c.result));
        io.recycle(c.buffer);
      }
    }
  };
  run_for(50);
  network.config().starvation_probability = 1;
  client->send(base::as_bytes("hello"));
  run_for(50);
  EXPECT_EQ(received, "");
  network.config().reset_probability = 1;
  client->send(base::as_bytes(" and more"));
  run_for(50);
  EXPECT_EQ(ended, 0);
  network.config().starvation_probability = 0;
  run_for(50);
  EXPECT_EQ(received, "hello");
  EXPECT_EQ(ended, -ECONNRESET);
  network.release(client);
}

TEST(Sim, SameSeedSameTrace) {
  const Outcome one = run(42, 0.001);
  const Outcome two = run(42, 0.001);
  const Outcome other = run(43, 0.001);
  EXPECT_EQ(one.trace, two.trace);
  EXPECT_EQ(one.events, two.events);
  EXPECT_EQ(one.ended_at_ns, two.ended_at_ns);
  EXPECT_NE(one.trace, other.trace);
}

TEST(Sim, FaultsNeverCorruptAStream) {
  uint32_t resets = 0;
  for (uint64_t seed = 1; seed <= 20; ++seed) {
    const Outcome outcome = run(seed, 0.002);
    EXPECT_EQ(outcome.corrupted, 0u) << "seed " << seed;
    resets += outcome.resets;
    EXPECT_EQ(run(seed, 0).resets, 0u) << "seed " << seed;
  }
  EXPECT_GT(resets, 5u);
}

TEST(Sim, ConnectionsSpreadOverListeners) {
  SimNetwork network(1, {});
  IoLimits limits;
  SimIo a(network, limits);
  SimIo b(network, limits);
  ListenSpec spec;
  spec.address.sin6_port = htons(80);
  ASSERT_EQ(a.listen(spec, nullptr), IoStatus::kOk);
  ASSERT_EQ(b.listen(spec, nullptr), IoStatus::kOk);
  for (int i = 0; i < 200; ++i) network.connect(80);
  network.advance_to(base::Instant{} + base::seconds(1));
  a.poll({});
  b.poll({});
  EXPECT_EQ(a.open_sockets() + b.open_sockets(), 200u);
  EXPECT_GT(a.open_sockets(), 60u);
  EXPECT_GT(b.open_sockets(), 60u);
}

TEST(Sim, LatencyAndRefusal) {
  SimConfig config;
  config.latency = base::milliseconds(30);
  SimNetwork network(1, config);
  SimClientSocket* client = network.connect(9);
  EXPECT_EQ(network.next_event_time(), base::Instant{} + base::milliseconds(30));
  network.advance_to(base::Instant{} + base::milliseconds(59));
  EXPECT_FALSE(client->broken());
  network.advance_to(base::Instant{} + base::milliseconds(60));
  EXPECT_TRUE(client->broken());
  EXPECT_FALSE(client->ended());
  network.release(client);
  EXPECT_EQ(network.link_count(), 0u);
}

TEST(Sim, LinksAreForgottenWhenBothEndsAreOver) {
  Rig rig(Backend::kSim);
  rig.listen();
  for (int order = 0; order < 3; ++order) {
    auto client = rig.connect_accepted();
    const uint32_t slot = rig.last_slot;
    if (order == 0) client.reset();
    rig.close(slot);
    if (order == 1) client.reset();  // between close() and kClosed
    rig.settle();
    client.reset();
    rig.settle();
    EXPECT_EQ(rig.network()->link_count(), 0u) << order;
  }
}

// A socket at the front that waits for a buffer must not keep others' ends back: next_event_time
// would say "now" for ever.
TEST(Sim, AnEndIsDeliveredWhileOthersWaitForBuffers) {
  IoLimits limits;
  limits.buffers = 1;
  limits.buffer_bytes = 16;
  Rig rig(Backend::kSim, limits);
  rig.listen();
  rig.hold_buffers = true;
  auto hungry = rig.connect_accepted();
  auto leaver = rig.connect_accepted();
  const uint32_t slot = rig.last_slot;
  hungry->send_text(std::string(100, 'x'));
  rig.settle();
  leaver->finish();
  EXPECT_TRUE(rig.until([&] { return rig.sockets[slot].end_result == 0; }));
  rig.settle();
  EXPECT_EQ(rig.network()->next_event_time(), base::Instant::never());
}

TEST(Sim, ShortSendsBeforeACloseAreStillReported) {
  SimConfig config;
  Rig rig(Backend::kSim);
  rig.network()->config().window_bytes = 100;
  rig.listen();
  auto client = rig.connect_accepted();
  const uint32_t slot = rig.last_slot;
  const std::string text(150, 'y');
  EXPECT_TRUE(rig.io().finish_sends().empty());
  rig.io().send(slot, rig.gen(slot), reinterpret_cast<const uint8_t*>(text.data()), 150);
  rig.close(slot);
  const auto shorts = rig.io().finish_sends();
  ASSERT_EQ(shorts.size(), 1u);
  EXPECT_EQ(shorts[0].sent, 100);
}

}  // namespace
}  // namespace tidegate::io
