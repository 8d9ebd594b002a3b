// SPDX-License-Identifier: Apache-2.0
// What only the epoll backend has: wakes between it and other threads, starved sockets that do not
// spin, descriptors of the process, and the choice between the backends.
#include <gtest/gtest.h>
#include <sys/resource.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <thread>

#include "io/backend.h"
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

std::unique_ptr<EpollIo> make() {
  SetupError error;
  auto made = EpollIo::make(tiny(), &error);
  EXPECT_TRUE(made.ok()) << error.text;
  return std::move(made).value();
}

TEST(Epoll, AnotherThreadWakesASleepingShard) {
  const auto io = make();
  std::atomic<bool> done{false};
  int plain = 0;  // carried by the wake alone: ThreadSanitizer checks the order
  std::thread shard([&] {
    for (bool seen = false; !seen;) {
      for (const Completion& c : io->poll(base::Instant::never())) seen |= c.event == Event::kWoken;
    }
    EXPECT_EQ(plain, 7);
    done = true;
  });
  plain = 7;
  io->waker().wake();
  shard.join();
  EXPECT_TRUE(done);
}

TEST(Epoll, WakesARingAndIsWokenByOne) {
  SetupError error;
  auto ring = UringIo::make(tiny(), &error);
  if (!ring.ok()) GTEST_SKIP() << error.text;
  const auto epoll = make();
  const auto woken = [](Io& io) {
    for (int i = 0; i < 100; ++i) {
      for (const Completion& c : io.poll(io.now() + base::milliseconds(100))) {
        if (c.event == Event::kWoken) return true;
      }
    }
    return false;
  };
  (*ring)->wake(epoll->waker());
  (*ring)->poll({});
  EXPECT_TRUE(woken(*epoll));
  epoll->wake((*ring)->waker());
  EXPECT_TRUE(woken(**ring));
}

TEST(Epoll, WaitsToItsDeadline) {
  const auto io = make();
  EXPECT_TRUE(io->poll({}).empty());
  const base::Instant deadline = io->now() + base::microseconds(1500);
  EXPECT_TRUE(io->poll(deadline).empty());
  EXPECT_GE(io->now(), deadline);
}

TEST(Epoll, StarvedSocketsDoNotSpin) {
  IoLimits limits = tiny();
  limits.buffers = 2;
  Rig rig(Backend::kEpoll, limits);
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
  const EpollCounters before = rig.epoll()->counters();
  EXPECT_GT(before.buffer_pauses, 0u);
  // A reset of one that waits is no reason to wake up again and again either.
  clients[5]->reset();
  for (int i = 0; i < 20; ++i) rig.pump(false);
  EXPECT_EQ(rig.epoll()->counters().buffer_pauses, before.buffer_pauses);
  EXPECT_EQ(rig.epoll()->counters().changes, before.changes);
}

TEST(Epoll, EndedSocketsDoNotSpin) {
  Rig rig(Backend::kEpoll, tiny());
  ASSERT_TRUE(rig.usable());
  rig.listen();
  auto polite = rig.connect_accepted();
  const uint32_t first = rig.last_slot;
  auto rude = rig.connect_accepted();
  const uint32_t second = rig.last_slot;
  polite->finish();
  rude->reset();
  ASSERT_TRUE(rig.until(
      [&] { return rig.sockets[first].end_result == 0 && rig.sockets[second].end_result < 0; }));
  // One wait lasts to its deadline: nothing of the two is reported again.
  const uint64_t waits = rig.epoll()->counters().waits;
  EXPECT_TRUE(rig.io().poll(rig.io().now() + base::milliseconds(20)).empty());
  EXPECT_LE(rig.epoll()->counters().waits, waits + 2);
}

TEST(Epoll, EndsItsSocketsWhenDestroyed) {
  auto rig = std::make_unique<Rig>(Backend::kEpoll, tiny());
  ASSERT_TRUE(rig->usable());
  rig->listen();
  auto client = rig->connect_accepted();
  rig.reset();
  client->drain();
  EXPECT_TRUE(client->ended() || client->broken());
}

// Without a descriptor left accepting rests, says so, and goes on when there are some again.
TEST(Epoll, OutOfDescriptorsAcceptsLater) {
  Rig rig(Backend::kEpoll, tiny());
  ASSERT_TRUE(rig.usable());
  rig.listen();
  auto client = rig.connect();
  rlimit before{};
  ASSERT_EQ(getrlimit(RLIMIT_NOFILE, &before), 0);
  rlimit none = before;
  none.rlim_cur = 0;
  ASSERT_EQ(setrlimit(RLIMIT_NOFILE, &none), 0);
  const bool refused = rig.until([&] { return !rig.accept_errors.empty(); });
  ASSERT_EQ(setrlimit(RLIMIT_NOFILE, &before), 0);
  ASSERT_TRUE(refused);
  EXPECT_EQ(rig.accept_errors[0], -EMFILE);
  EXPECT_EQ(rig.accepted, 0u);
  ASSERT_TRUE(rig.until([&] { return rig.accepted == 1; }));
  const uint32_t slot = rig.last_slot;
  client->send_text("waited");
  ASSERT_TRUE(rig.until([&] { return rig.sockets[slot].received == "waited"; }));
}

TEST(BackendChoice, NamesAreRead) {
  BackendKind kind{};
  EXPECT_TRUE(backend_from("auto", &kind));
  EXPECT_EQ(kind, BackendKind::kAuto);
  EXPECT_TRUE(backend_from("epoll", &kind));
  EXPECT_EQ(kind, BackendKind::kEpoll);
  EXPECT_TRUE(backend_from("io_uring", &kind));
  EXPECT_EQ(kind, BackendKind::kUring);
  EXPECT_FALSE(backend_from("uring", &kind));
}

TEST(BackendChoice, EpollWhenAskedForAndNoneForWantOfDescriptors) {
  MadeBackend made = make_backend(BackendKind::kEpoll, tiny());
  ASSERT_NE(made.io, nullptr);
  EXPECT_EQ(made.kind, BackendKind::kEpoll);

  // A want that the operator can mend is no reason to take the slower backend.
  rlimit before{};
  ASSERT_EQ(getrlimit(RLIMIT_NOFILE, &before), 0);
  rlimit none = before;
  none.rlim_cur = 0;
  ASSERT_EQ(setrlimit(RLIMIT_NOFILE, &none), 0);
  const MadeBackend failed = make_backend(BackendKind::kAuto, tiny());
  ASSERT_EQ(setrlimit(RLIMIT_NOFILE, &before), 0);
  EXPECT_EQ(failed.io, nullptr);
  EXPECT_EQ(failed.status, IoStatus::kNoDescriptors);
  EXPECT_NE(failed.error.text[0], '\0');
}

}  // namespace
}  // namespace tidegate::io
