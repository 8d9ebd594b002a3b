// SPDX-License-Identifier: Apache-2.0
// The completion contract, held against every backend.
#include <sys/uio.h>

#include <algorithm>
#include <cerrno>

#include "rig.h"

namespace tidegate::io {
namespace {

class Contract : public testing::TestWithParam<Backend> {
 protected:
  void start(IoLimits limits = small()) {
    rig_ = std::make_unique<Rig>(GetParam(), limits);
    ASSERT_TRUE(rig_->usable());
    rig_->listen();
  }
  static IoLimits small() {
    IoLimits limits;
    limits.sockets = 64;
    limits.buffers = 64;
    limits.buffer_bytes = 1024;
    limits.queue_entries = 64;
    return limits;
  }
  Rig& rig() { return *rig_; }
  Io& io() { return rig_->io(); }

  // Sends all of `text` from the client, as its window allows, and waits until the server has it.
  void feed(TestClient& client, uint32_t slot, const std::string& text) {
    const size_t before = rig().sockets[slot].received.size();
    size_t sent = 0;
    ASSERT_TRUE(rig().until([&] {
      sent += client.send(reinterpret_cast<const uint8_t*>(text.data()) + sent,
                          static_cast<uint32_t>(std::min<size_t>(text.size() - sent, 5000)));
      return sent == text.size() && rig().sockets[slot].received.size() >= before + sent;
    }));
    EXPECT_EQ(rig().sockets[slot].received.substr(before), text);
  }

  std::unique_ptr<Rig> rig_;
};

TEST_P(Contract, EchoesBothWays) {
  start();
  auto client = rig().connect_accepted();
  const uint32_t slot = rig().last_slot;
  client->send_text("hello");
  ASSERT_TRUE(rig().until([&] { return rig().sockets[slot].received == "hello"; }));
  rig().send(slot, "world");
  ASSERT_TRUE(rig().until([&] { return client->drain(), client->received == "world"; }));
}

TEST_P(Contract, NamesThePeer) {
  start();
  auto client = rig().connect_accepted();
  const uint32_t slot = rig().last_slot;
  io().query_peer(slot, rig().gen(slot));
  ASSERT_TRUE(rig().until([&] { return !rig().sockets[slot].peer.empty(); }));
  const std::string host = rig().network() == nullptr ? "::ffff:127.0.0.1" : "::ffff:10.0.0.1";
  EXPECT_EQ(rig().sockets[slot].peer, host + " " + std::to_string(client->local_port()));
}

TEST_P(Contract, DeliversALongStreamThroughSmallBuffers) {
  IoLimits limits = small();
  limits.buffers = 4;
  limits.buffer_bytes = 97;
  start(limits);
  auto client = rig().connect_accepted();
  feed(*client, rig().last_slot, pattern(300'000, 1));
}

TEST_P(Contract, ClientHalfCloses) {
  start();
  auto client = rig().connect_accepted();
  const uint32_t slot = rig().last_slot;
  client->send_text("last words");
  client->finish();
  ASSERT_TRUE(rig().until([&] { return rig().sockets[slot].end_result != 1; }));
  EXPECT_EQ(rig().sockets[slot].end_result, 0);
  EXPECT_EQ(rig().sockets[slot].received, "last words");
  rig().send(slot, "answer");
  ASSERT_TRUE(rig().until([&] { return client->drain(), client->received == "answer"; }));
  rig().close(slot);
  ASSERT_TRUE(rig().until([&] { return client->drain(), rig().closed == 1 && client->ended(); }));
}

TEST_P(Contract, ServerHalfCloses) {
  start();
  auto client = rig().connect_accepted();
  const uint32_t slot = rig().last_slot;
  rig().send(slot, "bye");
  io().shut_down_send(slot, rig().gen(slot));
  ASSERT_TRUE(rig().until([&] { return client->drain(), client->ended(); }));
  EXPECT_EQ(client->received, "bye");
  client->send_text("still here");
  ASSERT_TRUE(rig().until([&] { return rig().sockets[slot].received == "still here"; }));
  client->close();
  ASSERT_TRUE(rig().until([&] { return rig().sockets[slot].end_result == 0; }));
  rig().close(slot);
  ASSERT_TRUE(rig().until([&] { return rig().closed == 1; }));
}

TEST_P(Contract, ClosesRightAfterHalfClosing) {
  start();
  auto client = rig().connect_accepted();
  const uint32_t slot = rig().last_slot;
  rig().send(slot, "bye");
  io().shut_down_send(slot, rig().gen(slot));
  rig().close(slot);
  ASSERT_TRUE(rig().until([&] { return client->drain(), rig().closed == 1 && client->ended(); }));
  EXPECT_EQ(client->received, "bye");
}

TEST_P(Contract, CloseDeliversWhatWasSent) {
  start();
  auto client = rig().connect_accepted();
  const uint32_t slot = rig().last_slot;
  const std::string text = pattern(16'000, 2);
  io().send(slot, rig().gen(slot), reinterpret_cast<const uint8_t*>(text.data()), 16'000);
  rig().close(slot);
  EXPECT_TRUE(io().finish_sends().empty());
  ASSERT_TRUE(rig().until([&] { return client->drain(), rig().closed == 1 && client->ended(); }));
  EXPECT_EQ(client->received, text);
}

TEST_P(Contract, NothingComesAfterCloseButClosed) {
  start();
  for (int round = 0; round < 20; ++round) {
    auto client = rig().connect_accepted();
    const uint32_t slot = rig().last_slot;
    io().watch_writable(slot, rig().gen(slot));
    io().query_peer(slot, rig().gen(slot));
    const std::string text = pattern(5000, 3);
    client->send(reinterpret_cast<const uint8_t*>(text.data()), 5000);
    if (round % 2 == 1) rig().settle();
    const size_t events = rig().sockets[slot].events.size();
    rig().close(slot);
    const uint32_t closed = rig().closed;
    ASSERT_TRUE(rig().until([&] { return rig().closed == closed + 1; }));
    EXPECT_EQ(rig().sockets[slot].events.size(), events + 1);
  }
}

TEST_P(Contract, ClosesASocketThatNeverReceived) {
  start();
  rig().receive_on_accept = false;
  auto client = rig().connect_accepted();
  rig().close(rig().last_slot);
  ASSERT_TRUE(rig().until([&] { return client->drain(), rig().closed == 1 && client->ended(); }));
}

TEST_P(Contract, ReportsAReset) {
  start();
  auto client = rig().connect_accepted();
  const uint32_t slot = rig().last_slot;
  client->reset();
  ASSERT_TRUE(rig().until([&] { return rig().sockets[slot].end_result != 1; }));
  EXPECT_EQ(rig().sockets[slot].end_result, -ECONNRESET);
  const uint8_t byte = 1;
  io().send(slot, rig().gen(slot), &byte, 1);
  const auto shorts = io().finish_sends();
  ASSERT_EQ(shorts.size(), 1u);
  EXPECT_EQ(shorts[0].slot, slot);
  EXPECT_EQ(shorts[0].generation, rig().gen(slot));
  EXPECT_LT(shorts[0].sent, 0);
  rig().close(slot);
  ASSERT_TRUE(rig().until([&] { return rig().closed == 1; }));
}

TEST_P(Contract, ShortSendsAreExactAndWritableComes) {
  start();
  auto client = rig().connect_accepted();
  const uint32_t slot = rig().last_slot;
  const std::string text = pattern(12'000'000, 4);
  const auto* data = reinterpret_cast<const uint8_t*>(text.data());
  size_t sent = 0;
  uint32_t shorts_seen = 0;
  bool waiting = false;
  const auto push = [&] {
    while (!waiting && sent < text.size()) {
      const auto size = static_cast<uint32_t>(std::min<size_t>(text.size() - sent, 700'001));
      io().send(slot, rig().gen(slot), data + sent, size);
      const auto shorts = io().finish_sends();
      if (shorts.empty()) {
        sent += size;
        continue;
      }
      ASSERT_EQ(shorts.size(), 1u);
      ASSERT_GE(shorts[0].sent, 0);
      ASSERT_LT(shorts[0].sent, static_cast<int32_t>(size));
      sent += static_cast<uint32_t>(shorts[0].sent);
      ++shorts_seen;
      waiting = true;
      rig().sockets[slot].writable = false;
      io().watch_writable(slot, rig().gen(slot));
    }
  };
  push();
  ASSERT_TRUE(waiting) << "the window is larger than the test's text";
  ASSERT_TRUE(rig().until([&] {
    client->drain();
    if (rig().sockets[slot].writable) {
      waiting = false;
      rig().sockets[slot].writable = false;
      push();
    }
    return client->received.size() >= text.size();
  }));
  EXPECT_EQ(sent, text.size());
  EXPECT_TRUE(client->received == text);
  EXPECT_GT(shorts_seen, 1u);
}

TEST_P(Contract, GathersPartsAcrossABatch) {
  start();
  std::vector<std::unique_ptr<TestClient>> clients;
  std::vector<uint32_t> slots;
  for (int i = 0; i < 20; ++i) {
    clients.push_back(rig().connect_accepted());
    slots.push_back(rig().last_slot);
  }
  const std::string shared = pattern(3000, 5);
  std::vector<std::string> own;
  std::vector<std::array<iovec, 3>> parts(slots.size());
  for (size_t i = 0; i < slots.size(); ++i) own.push_back("client " + std::to_string(i));
  for (size_t i = 0; i < slots.size(); ++i) {
    parts[i] = {iovec{own[i].data(), own[i].size()},
                iovec{const_cast<char*>(shared.data()), shared.size()},
                iovec{own[i].data(), own[i].size()}};
    io().send(slots[i], rig().gen(slots[i]), parts[i].data(), 3,
              static_cast<uint32_t>(2 * own[i].size() + shared.size()));
  }
  EXPECT_TRUE(io().finish_sends().empty());
  for (size_t i = 0; i < slots.size(); ++i) {
    const std::string whole = own[i] + shared + own[i];
    ASSERT_TRUE(rig().until(
        [&] { return clients[i]->drain(), clients[i]->received.size() >= whole.size(); }));
    EXPECT_EQ(clients[i]->received, whole);
  }
}

TEST_P(Contract, ShortGatheredSendIsExact) {
  start();
  auto client = rig().connect_accepted();
  const uint32_t slot = rig().last_slot;
  const std::string text = pattern(4'000'000, 6);
  std::vector<iovec> parts;
  for (size_t at = 0; at < text.size(); at += 50'000) {
    parts.push_back({const_cast<char*>(text.data()) + at, 50'000});
  }
  // The client reads nothing, so at the latest the third one finds the socket full.
  std::string expected;
  bool full = false;
  for (int i = 0; i < 3 && !full; ++i) {
    io().send(slot, rig().gen(slot), parts.data(), static_cast<uint32_t>(parts.size()), 4'000'000);
    const auto shorts = io().finish_sends();
    full = !shorts.empty();
    if (full) {
      ASSERT_GE(shorts[0].sent, 0);
    }
    expected += full ? text.substr(0, static_cast<size_t>(shorts[0].sent)) : text;
  }
  ASSERT_TRUE(full);
  rig().close(slot);
  ASSERT_TRUE(rig().until([&] { return client->drain(), client->ended(); }));
  EXPECT_TRUE(client->received == expected);
}

TEST_P(Contract, SlotsComeBackWithNewGenerations) {
  IoLimits limits = small();
  limits.sockets = 2;
  start(limits);
  auto stays = rig().connect_accepted();
  const uint32_t kept = rig().last_slot;
  uint32_t slot = UINT32_MAX;
  for (uint32_t round = 0; round < 50; ++round) {
    auto client = rig().connect_accepted();
    if (round > 0) {
      EXPECT_EQ(rig().last_slot, slot);
    }
    slot = rig().last_slot;
    EXPECT_NE(slot, kept);
    const std::string text = "round " + std::to_string(round);
    client->send_text(text);
    ASSERT_TRUE(rig().until([&] { return rig().sockets[slot].received == text; }));
    rig().close(slot);
    ASSERT_TRUE(rig().until([&] { return rig().closed == round + 1; }));
  }
  feed(*stays, kept, "still there");
  if (rig().uring() != nullptr) {
    EXPECT_EQ(rig().uring()->counters().stale_completions, 0u);
  }
}

TEST_P(Contract, BufferExhaustionLosesNothing) {
  IoLimits limits = small();
  limits.buffers = 4;
  limits.buffer_bytes = 64;
  start(limits);
  rig().hold_buffers = true;
  constexpr int kClients = 5;
  std::vector<std::unique_ptr<TestClient>> clients;
  std::vector<uint32_t> slots;
  std::vector<std::string> texts;
  for (int i = 0; i < kClients; ++i) {
    clients.push_back(rig().connect_accepted());
    slots.push_back(rig().last_slot);
    texts.push_back(pattern(1000, static_cast<uint32_t>(100 + i)));
  }
  for (int i = 0; i < kClients; ++i)
    clients[static_cast<size_t>(i)]->send_text(texts[static_cast<size_t>(i)]);
  ASSERT_TRUE(rig().until([&] { return rig().held.size() == 4; }));
  rig().settle();
  EXPECT_EQ(rig().held.size(), 4u);  // all are out, nobody spins, nothing more comes
  // Give them back one at a time; everything arrives in the end.
  ASSERT_TRUE(rig().until([&] {
    if (!rig().held.empty()) {
      io().recycle(rig().held.back());
      rig().held.pop_back();
    }
    size_t total = 0;
    for (const uint32_t slot : slots) total += rig().sockets[slot].received.size();
    return total == 1000 * kClients;
  }));
  for (int i = 0; i < kClients; ++i) {
    EXPECT_EQ(rig().sockets[slots[static_cast<size_t>(i)]].received, texts[static_cast<size_t>(i)]);
  }
}

TEST_P(Contract, ClosesASocketThatWaitsForABuffer) {
  IoLimits limits = small();
  limits.buffers = 1;
  limits.buffer_bytes = 64;
  start(limits);
  rig().hold_buffers = true;
  auto one = rig().connect_accepted();
  const uint32_t first = rig().last_slot;
  auto two = rig().connect_accepted();
  const uint32_t second = rig().last_slot;
  auto three = rig().connect_accepted();
  const uint32_t third = rig().last_slot;
  one->send_text("a");
  ASSERT_TRUE(rig().until([&] { return rig().held.size() == 1; }));
  two->send_text("b");
  three->send_text("c");
  rig().settle();
  rig().close(second);
  ASSERT_TRUE(rig().until([&] { return rig().closed == 1; }));
  io().recycle(rig().held.back());
  rig().held.pop_back();
  ASSERT_TRUE(rig().until([&] { return rig().sockets[third].received == "c"; }));
  EXPECT_EQ(rig().sockets[second].received, "");
  EXPECT_EQ(rig().sockets[first].received, "a");
}

TEST_P(Contract, TableFullAndRecovery) {
  IoLimits limits = small();
  limits.sockets = 4;
  start(limits);
  std::vector<std::unique_ptr<TestClient>> clients;
  while (clients.size() < 4) clients.push_back(rig().connect_accepted());
  for (uint32_t round = 1; round <= 3; ++round) {
    auto refused = rig().connect();
    ASSERT_TRUE(rig().until([&] { return rig().accept_errors.size() == round; }));
    EXPECT_EQ(rig().accept_errors.back(), -ENFILE);
    ASSERT_TRUE(
        rig().until([&] { return refused->drain(), refused->ended() || refused->broken(); }));
    // These stay in the backlog, with no further error, until slots are free.
    clients.push_back(rig().connect());
    clients.push_back(rig().connect());
    rig().settle();
    EXPECT_EQ(rig().accept_errors.size(), round);
    EXPECT_EQ(rig().accepted, 4 + 3 * (round - 1));
    rig().close(2);
    rig().close(0);
    ASSERT_TRUE(rig().until([&] { return rig().accepted == 3 + 3 * round; }));
    clients.back()->send_text("at last");
    ASSERT_TRUE(rig().until([&] {
      return rig().sockets[0].received == "at last" || rig().sockets[2].received == "at last";
    }));
    EXPECT_EQ(rig().accept_errors.size(), round);
    // A slot that becomes free while accepting goes on must not start a second accept.
    const uint32_t closed = rig().closed;
    rig().close(1);
    ASSERT_TRUE(rig().until([&] { return rig().closed == closed + 1; }));
    clients.push_back(rig().connect_accepted());
  }
}

TEST_P(Contract, ClosesASocketThatWaitsToBeWritable) {
  start();
  auto client = rig().connect_accepted();
  const uint32_t slot = rig().last_slot;
  const std::string text = pattern(1'000'000, 7);
  for (bool full = false; !full;) {
    io().send(slot, rig().gen(slot), reinterpret_cast<const uint8_t*>(text.data()), 1'000'000);
    full = !io().finish_sends().empty();
  }
  io().watch_writable(slot, rig().gen(slot));
  rig().settle();
  EXPECT_FALSE(rig().sockets[slot].writable);
  rig().close(slot);
  ASSERT_TRUE(rig().until([&] { return rig().closed == 1; }));
}

TEST_P(Contract, ChurnsAThousandConnections) {
  start();
  uint32_t closed = 0;
  for (int wave = 0; wave < 40; ++wave) {
    std::vector<std::unique_ptr<TestClient>> clients;
    const uint32_t accepted = rig().accepted;
    for (int i = 0; i < 25; ++i) {
      clients.push_back(rig().connect());
      clients.back()->send_text("x" + std::to_string(wave));
    }
    ASSERT_TRUE(rig().until([&] { return rig().accepted == accepted + 25; }));
    for (int i = 0; i < 25; ++i) {
      if (i % 3 == 0) clients[static_cast<size_t>(i)]->finish();
      if (i % 3 == 1) clients[static_cast<size_t>(i)]->reset();
    }
    for (auto& [slot, s] : rig().sockets) {
      if (s.open) rig().close(slot);
    }
    closed += 25;
    ASSERT_TRUE(rig().until([&] { return rig().closed == closed; }));
  }
  EXPECT_EQ(rig().accepted, 1000u);
}

TEST_P(Contract, StopsAcceptingAndServesOn) {
  start();
  auto client = rig().connect_accepted();
  const uint32_t slot = rig().last_slot;
  io().stop_accepting();
  auto late = rig().connect();
  ASSERT_TRUE(rig().until([&] {
    const uint8_t byte = 1;
    late->send(&byte, 1);
    return late->drain(), late->broken();
  }));
  EXPECT_EQ(rig().accepted, 1u);
  feed(*client, slot, "going on");
}

TEST_P(Contract, WakesItself) {
  start();
  rig().pump(false);
  io().wake(io().waker());
  ASSERT_TRUE(rig().until([&] { return rig().woken == 1; }));
  io().waker().wake();
  io().waker().wake();
  ASSERT_TRUE(rig().until([&] { return rig().woken >= 2; }));
}

TEST_P(Contract, AWakeBeforeTheFirstPollIsNotLost) {
  start();
  io().waker().wake();
  ASSERT_TRUE(rig().until([&] { return rig().woken == 1; }));
}

INSTANTIATE_TEST_SUITE_P(Backends, Contract,
                         testing::Values(Backend::kUring, Backend::kEpoll, Backend::kSim,
                                         Backend::kSimHarsh),
                         [](const testing::TestParamInfo<Backend>& info) -> std::string {
                           switch (info.param) {
                             case Backend::kUring:
                               return "Uring";
                             case Backend::kEpoll:
                               return "Epoll";
                             case Backend::kSim:
                               return "Sim";
                             default:
                               return "SimHarsh";
                           }
                         });

}  // namespace
}  // namespace tidegate::io
