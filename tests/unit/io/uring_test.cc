// SPDX-License-Identifier: Apache-2.0
// What only the io_uring backend has: wakes between threads and rings, queues that run over, and
// what Linux promises about listeners.
#include <gtest/gtest.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <atomic>
#include <cstring>
#include <thread>

#include "io/event_waker.h"
#include "io/listener.h"
#include "io/uring_io.h"
#include "rig.h"

namespace tidegate::io {
namespace {

IoLimits tiny() {
  IoLimits limits;
  limits.sockets = 16;
  limits.buffers = 16;
  limits.buffer_bytes = 256;
  limits.queue_entries = 16;
  return limits;
}

ListenSpec loopback(uint16_t port) {
  ListenSpec spec;
  spec.address.sin6_port = htons(port);
  const uint8_t address[16] = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 127, 0, 0, 1};
  std::memcpy(&spec.address.sin6_addr, address, sizeof address);
  return spec;
}

// Polls for ever until woken; counts.
void poll_until_woken(Io& io, std::atomic<uint32_t>& woken) {
  for (bool seen = false; !seen;) {
    for (const Completion& c : io.poll(base::Instant::never())) seen |= c.event == Event::kWoken;
  }
  woken.fetch_add(1);
}

TEST(Uring, AnotherThreadWakesASleepingRing) {
  SetupError error;
  auto made = UringIo::make(tiny(), &error);
  ASSERT_TRUE(made.ok()) << error.text;
  UringIo& io = **made;
  std::atomic<uint32_t> woken{0};
  int plain = 0;  // carried by the wake alone: ThreadSanitizer checks the order
  std::thread shard([&] {
    poll_until_woken(io, woken);
    EXPECT_EQ(plain, 7);
  });
  plain = 7;
  io.waker().wake();
  shard.join();
  EXPECT_EQ(woken.load(), 1u);
}

TEST(Uring, ARingWakesARingAndAPlainThread) {
  SetupError error;
  auto one = UringIo::make(tiny(), &error);
  auto two = UringIo::make(tiny(), &error);
  ASSERT_TRUE(one.ok() && two.ok()) << error.text;
  EventWaker control;
  std::atomic<uint32_t> woken{0};
  int plain = 0;
  std::thread shard([&] {
    poll_until_woken(**two, woken);
    EXPECT_EQ(plain, 9);
    plain = 10;
    (*two)->wake(control);
    (*two)->poll({});
  });
  plain = 9;
  (*one)->wake((*two)->waker());
  (*one)->poll({});
  pollfd waiting{control.fd(), POLLIN, 0};
  ASSERT_EQ(::poll(&waiting, 1, 60'000), 1);
  control.drain();
  EXPECT_EQ(plain, 10);
  waiting.revents = 0;
  EXPECT_EQ(::poll(&waiting, 1, 0), 0);
  shard.join();
}

TEST(Uring, DeadlineInThePastReturnsAtOnceAndCostsNoCall) {
  SetupError error;
  auto made = UringIo::make(tiny(), &error);
  ASSERT_TRUE(made.ok()) << error.text;
  UringIo& io = **made;
  EXPECT_TRUE(io.poll({}).empty());
  EXPECT_TRUE(io.poll({}).empty());
  const uint64_t enters = io.counters().enters;
  EXPECT_TRUE(io.poll({}).empty());
  EXPECT_EQ(io.counters().enters, enters);
  const base::Instant deadline = io.now() + base::milliseconds(2);
  EXPECT_TRUE(io.poll(deadline).empty());
  EXPECT_GE(io.now(), deadline);
}

TEST(Uring, WaitsInPollForTools) {
  IoLimits limits = tiny();
  limits.poll_wait = true;
  Rig rig(Backend::kUring, limits);
  ASSERT_TRUE(rig.usable());
  rig.listen();
  auto client = rig.connect_accepted();
  const uint32_t slot = rig.last_slot;
  client->send_text("through poll");
  ASSERT_TRUE(rig.until([&] { return rig.sockets[slot].received == "through poll"; }));
  const base::Instant deadline = rig.io().now() + base::milliseconds(2);
  rig.io().poll(deadline);
  EXPECT_GE(rig.io().now(), deadline);
}

// Deferred task work does not wake a poll(2) on the ring itself: this hung, or limped from one
// delayed acknowledgement to the next.
TEST(Uring, WaitingInPollIsWokenByArrivals) {
  IoLimits limits = tiny();
  limits.poll_wait = true;
  SetupError error;
  auto made = UringIo::make(limits, &error);
  ASSERT_TRUE(made.ok()) << error.text;
  UringIo& io = **made;
  uint16_t port = 0;
  ASSERT_EQ(io.listen(loopback(0), &port), IoStatus::kOk);
  std::thread shard([&] {
    for (bool ended = false; !ended;) {
      for (const Completion& c : io.poll(base::Instant::never())) {
        if (c.event == Event::kAccepted) io.start_receive(c.slot, 1);
        if (c.event == Event::kEnded) ended = true;
        if (c.event != Event::kReceived) continue;
        io.send(c.slot, 1, c.data, static_cast<uint32_t>(c.result));
        EXPECT_TRUE(io.finish_sends().empty());
        io.recycle(c.buffer);
      }
    }
  });
  const int client = ::socket(AF_INET, SOCK_STREAM, 0);
  sockaddr_in to{};
  to.sin_family = AF_INET;
  to.sin_port = htons(port);
  to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  ASSERT_EQ(::connect(client, reinterpret_cast<sockaddr*>(&to), sizeof to), 0);
  for (int i = 0; i < 300; ++i) {
    char byte = static_cast<char>(i);
    ASSERT_EQ(::send(client, &byte, 1, 0), 1);
    ASSERT_EQ(::recv(client, &byte, 1, MSG_WAITALL), 1);
    EXPECT_EQ(byte, static_cast<char>(i));
  }
  ::close(client);
  shard.join();
}

// More sends than submission entries, more completions than the queue holds: nothing is lost, all
// short sends are reported, other completions keep their order.
TEST(Uring, QueuesMayRunOver) {
  IoLimits limits;
  limits.sockets = 512;
  limits.buffers = 2048;
  limits.buffer_bytes = 32;
  limits.queue_entries = 8;  // 32 completions
  Rig rig(Backend::kUring, limits);
  ASSERT_TRUE(rig.usable());
  rig.listen();
  constexpr uint32_t kClients = 300;
  std::vector<std::unique_ptr<TestClient>> clients;
  std::vector<uint32_t> slots;
  for (uint32_t i = 0; i < kClients; ++i) {
    clients.push_back(rig.connect_accepted());
    slots.push_back(rig.last_slot);
  }
  for (uint32_t i = 0; i < kClients; i += 2) clients[i]->reset();
  for (uint32_t i = 1; i < kClients; i += 2) clients[i]->send_text(pattern(150, i));
  const std::string answer = "answer";
  for (uint32_t i = 0; i < kClients; ++i) {
    rig.io().send(slots[i], rig.gen(slots[i]), reinterpret_cast<const uint8_t*>(answer.data()), 6);
  }
  const auto shorts = rig.io().finish_sends();
  EXPECT_EQ(shorts.size(), kClients / 2);
  for (const ShortSend& s : shorts) EXPECT_LT(s.sent, 0);
  ASSERT_TRUE(rig.until([&] {
    for (uint32_t i = 0; i < kClients; ++i) {
      const Seen& s = rig.sockets[slots[i]];
      if (i % 2 == 0 ? s.end_result == 1 : s.received.size() < 150) return false;
    }
    return true;
  }));
  for (uint32_t i = 1; i < kClients; i += 2) {
    EXPECT_EQ(rig.sockets[slots[i]].received, pattern(150, i));
    clients[i]->drain();
    EXPECT_EQ(clients[i]->received, "answer");
  }
  EXPECT_GT(rig.uring()->counters().overflows, 0u) << "the test did not reach what it is for";
  EXPECT_EQ(rig.uring()->counters().stale_completions, 0u);
}

TEST(Uring, StarvedReceivesDoNotSpin) {
  IoLimits limits = tiny();
  limits.buffers = 2;
  Rig rig(Backend::kUring, limits);
  ASSERT_TRUE(rig.usable());
  rig.listen();
  rig.hold_buffers = true;
  std::vector<std::unique_ptr<TestClient>> clients;
  for (int i = 0; i < 6; ++i) {
    clients.push_back(rig.connect_accepted());
    clients.back()->send_text(pattern(2000, 1));
  }
  ASSERT_TRUE(rig.until([&] { return rig.held.size() == 2; }));
  rig.settle();
  const uint64_t pauses = rig.uring()->counters().buffer_pauses;
  const uint64_t enters = rig.uring()->counters().enters;
  EXPECT_GT(pauses, 0u);
  for (int i = 0; i < 20; ++i) rig.pump(false);
  EXPECT_EQ(rig.uring()->counters().buffer_pauses, pauses);
  EXPECT_EQ(rig.uring()->counters().enters, enters);
}

TEST(Uring, EndsItsSocketsWhenDestroyed) {
  auto rig = std::make_unique<Rig>(Backend::kUring, tiny());
  ASSERT_TRUE(rig->usable());
  rig->listen();
  auto client = rig->connect_accepted();
  rig.reset();
  client->drain();
  EXPECT_TRUE(client->ended() || client->broken());
}

TEST(Uring, RefusesATableAboveTheProcessLimitInWords) {
  IoLimits limits = tiny();
  limits.sockets = 65536;
  SetupError error;
  auto made = UringIo::make(limits, &error);
  if (made.ok()) GTEST_SKIP() << "RLIMIT_NOFILE is large enough here";
  EXPECT_EQ(made.status(), IoStatus::kNoDescriptors);
  EXPECT_NE(std::string(error.text).find("RLIMIT_NOFILE"), std::string::npos) << error.text;
}

TEST(Listener, SharesItsPortAndNamesConflicts) {
  int first = -1;
  int second = -1;
  int family = 0;
  uint16_t port = 0;
  ASSERT_EQ(open_listener(loopback(0), &first, &family, &port), IoStatus::kOk);
  EXPECT_EQ(open_listener(loopback(port), &second, &family, nullptr), IoStatus::kOk);
  ::close(second);
  ::close(first);

  const int alone = ::socket(AF_INET, SOCK_STREAM, 0);  // without SO_REUSEPORT
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  socklen_t length = sizeof address;
  ASSERT_EQ(::bind(alone, reinterpret_cast<sockaddr*>(&address), length), 0);
  ASSERT_EQ(::listen(alone, 1), 0);
  ASSERT_EQ(::getsockname(alone, reinterpret_cast<sockaddr*>(&address), &length), 0);
  EXPECT_EQ(open_listener(loopback(ntohs(address.sin_port)), &second, &family, nullptr),
            IoStatus::kAddressInUse);
  ::close(alone);

  ListenSpec foreign = loopback(0);
  foreign.address.sin6_addr.s6_addr[12] = 192;  // 192.0.0.1
  EXPECT_EQ(open_listener(foreign, &second, &family, nullptr), IoStatus::kAddressDenied);
}

TEST(Listener, AcceptedSocketsInheritNoDelay) {
  int listener = -1;
  int family = 0;
  uint16_t port = 0;
  ASSERT_EQ(open_listener(loopback(0), &listener, &family, &port), IoStatus::kOk);
  const int client = ::socket(AF_INET, SOCK_STREAM, 0);
  sockaddr_in to{};
  to.sin_family = AF_INET;
  to.sin_port = htons(port);
  to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  ASSERT_EQ(::connect(client, reinterpret_cast<sockaddr*>(&to), sizeof to), 0);
  pollfd waiting{listener, POLLIN, 0};
  ASSERT_EQ(::poll(&waiting, 1, 60'000), 1);
  const int accepted = ::accept(listener, nullptr, nullptr);
  int on = 0;
  socklen_t length = sizeof on;
  ASSERT_EQ(::getsockopt(accepted, IPPROTO_TCP, TCP_NODELAY, &on, &length), 0);
  EXPECT_EQ(on, 1);
  ::close(accepted);
  ::close(client);
  ::close(listener);
}

}  // namespace
}  // namespace tidegate::io
