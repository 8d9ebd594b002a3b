// SPDX-License-Identifier: Apache-2.0
// The backends while system calls fail, give less than there is, or complete with the errors of a
// system in want: nothing is lost, nothing spins, everything is counted.
#include <gtest/gtest.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstddef>

#include "faults.h"
#include "io/backend.h"
#include "io/uring_slots.h"
#include "rig.h"

namespace tidegate::io {

// Completions that the kernel gives only in want, put behind those that are there.
struct UringFaults {
  enum class What { kAccept, kSend, kWritable, kPeer };
  static void complete(UringIo& io, What what, uint32_t slot, uint32_t generation, int32_t result) {
    constexpr UringIo::Op kOps[] = {UringIo::Op::kAccept, UringIo::Op::kSend,
                                    UringIo::Op::kWritable, UringIo::Op::kPeer};
    io_uring_cqe cqe{};
    cqe.user_data =
        pack_user_data(static_cast<uint8_t>(kOps[static_cast<int>(what)]), generation, slot);
    cqe.res = result;
    ASSERT_LT(io.stash_end_, io.stash_capacity_);
    io.stash_[io.stash_end_++] = cqe;
  }
};

namespace {

IoLimits small() {
  IoLimits limits;
  limits.sockets = 64;
  limits.buffers = 64;
  limits.buffer_bytes = 512;
  limits.queue_entries = 64;
  return limits;
}

class EpollFaults : public testing::Test {
 protected:
  ~EpollFaults() override { faults::set(""); }

  // Text goes both ways on several connections, as sends may be cut; everything arrives.
  void exchange(uint32_t clients_count, uint32_t bytes) {
    Rig rig(Backend::kEpoll, small());
    ASSERT_TRUE(rig.usable());
    rig.listen();
    std::vector<std::unique_ptr<TestClient>> clients;
    std::vector<uint32_t> slots;
    for (uint32_t i = 0; i < clients_count; ++i) {
      clients.push_back(rig.connect_accepted());
      slots.push_back(rig.last_slot);
    }
    std::vector<std::string> up(clients_count);
    std::vector<std::string> down(clients_count);
    std::vector<size_t> fed(clients_count);
    std::vector<size_t> sent(clients_count);
    std::vector<bool> waiting(clients_count);
    for (uint32_t i = 0; i < clients_count; ++i) {
      up[i] = pattern(bytes, i + 1);
      down[i] = pattern(bytes, i + 1000);
    }
    const auto done = [&] {
      bool all = true;
      for (uint32_t i = 0; i < clients_count; ++i) {
        fed[i] += clients[i]->send(reinterpret_cast<const uint8_t*>(up[i].data()) + fed[i],
                                   std::min<uint32_t>(bytes - static_cast<uint32_t>(fed[i]), 3000));
        clients[i]->drain();
        Seen& seen = rig.sockets[slots[i]];
        if (waiting[i] && seen.writable) {
          waiting[i] = false;
          seen.writable = false;
        }
        if (!waiting[i] && sent[i] < bytes) {
          // In three parts: what was taken may end in any of them.
          const size_t left = bytes - sent[i];
          const size_t third = left / 3;
          char* at = down[i].data() + sent[i];
          const iovec parts[3] = {
              {at, third}, {at + third, third}, {at + 2 * third, left - 2 * third}};
          rig.io().send(slots[i], rig.gen(slots[i]), parts, 3, static_cast<uint32_t>(left));
          const auto shorts = rig.io().finish_sends();
          if (shorts.empty()) {
            sent[i] = bytes;
          } else {
            EXPECT_GE(shorts[0].sent, 0) << "want of memory broke a connection";
            sent[i] += static_cast<size_t>(std::max(shorts[0].sent, 0));
            waiting[i] = true;
            rig.io().watch_writable(slots[i], rig.gen(slots[i]));
          }
        }
        all &= seen.received.size() == bytes && clients[i]->received.size() == bytes;
      }
      return all;
    };
    ASSERT_TRUE(rig.until(done));
    for (uint32_t i = 0; i < clients_count; ++i) {
      EXPECT_TRUE(rig.sockets[slots[i]].received == up[i]);
      EXPECT_TRUE(clients[i]->received == down[i]);
      rig.close(slots[i]);
    }
    ASSERT_TRUE(rig.until([&] { return rig.closed == clients_count; }));
  }
};

TEST_F(EpollFaults, ShortReadsAndWritesLoseNothing) {
  faults::set("seed=1,recv.short=60,sendmsg.short=60");
  exchange(8, 200'000);
  EXPECT_GT(faults::count("recv"), 100u);
  EXPECT_GT(faults::count("sendmsg"), 10u);
}

TEST_F(EpollFaults, WantOfMemoryAndInterruptionsLoseNothing) {
  faults::set(
      "seed=2,recv.ENOMEM=15,recv.ENOBUFS=10,recv.EINTR=15,recv.EAGAIN=10,"
      "sendmsg.ENOBUFS=20,sendmsg.ENOMEM=20,sendmsg.EINTR=20,sendmsg.EAGAIN=10,sendmsg.short=20");
  exchange(8, 200'000);
  EXPECT_GT(faults::count("recv"), 100u);
  EXPECT_GT(faults::count("sendmsg"), 10u);
}

TEST_F(EpollFaults, AcceptsThatFailAreTriedAgain) {
  Rig rig(Backend::kEpoll, small());
  ASSERT_TRUE(rig.usable());
  rig.listen();
  faults::set(
      "seed=3,accept4.EMFILE=15,accept4.ENFILE=15,accept4.ENOBUFS=10,accept4.ENOMEM=10,"
      "accept4.ECONNABORTED=15,accept4.EINTR=15");
  std::vector<std::unique_ptr<TestClient>> clients;
  for (int i = 0; i < 40; ++i) clients.push_back(rig.connect());
  ASSERT_TRUE(rig.until([&] { return rig.accepted == 40; }));
  EXPECT_GT(rig.accept_errors.size(), 3u);
  for (const int32_t error : rig.accept_errors) {
    EXPECT_TRUE(error == -EMFILE || error == -ENFILE || error == -ENOBUFS || error == -ENOMEM)
        << error;
  }
}

// A socket that the kernel will not watch cannot be served: its owner hears that it is over.
TEST_F(EpollFaults, ASocketThatIsNotWatchedEnds) {
  Rig rig(Backend::kEpoll, small());
  ASSERT_TRUE(rig.usable());
  rig.listen();
  auto kept = rig.connect_accepted();
  const uint32_t good = rig.last_slot;
  rig.receive_on_accept = false;
  auto lost = rig.connect_accepted();
  const uint32_t slot = rig.last_slot;
  faults::set("epoll_ctl.ENOMEM=100");
  rig.io().start_receive(slot, rig.gen(slot));
  rig.io().watch_writable(slot, rig.gen(slot));
  rig.io().watch_writable(slot, rig.gen(slot));
  faults::set("");
  ASSERT_TRUE(rig.until(
      [&] { return rig.sockets[slot].end_result == -ENOMEM && rig.sockets[slot].writable; }));
  rig.close(slot);
  ASSERT_TRUE(rig.until([&] { return rig.closed == 1; }));
  kept->send_text("served on");
  ASSERT_TRUE(rig.until([&] { return rig.sockets[good].received == "served on"; }));
}

TEST(UringFaults, AcceptsThatFailGoOn) {
  Rig rig(Backend::kUring, small());
  if (!rig.usable()) GTEST_SKIP();
  rig.listen();
  auto first = rig.connect_accepted();
  for (const int error : {EMFILE, ENOBUFS, ENOMEM, ENFILE}) {
    const size_t before = rig.accept_errors.size();
    UringFaults::complete(*rig.uring(), UringFaults::What::kAccept, 0, 0, -error);
    ASSERT_TRUE(rig.until([&] { return rig.accept_errors.size() == before + 1; }));
    EXPECT_EQ(rig.accept_errors.back(), -error);
    const uint32_t accepted = rig.accepted;
    auto next = rig.connect();
    ASSERT_TRUE(rig.until([&] { return rig.accepted == accepted + 1; })) << error;
  }
  const uint64_t errors = rig.uring()->counters().accept_errors;
  for (const int error : {ECONNABORTED, ECANCELED, EINTR}) {
    UringFaults::complete(*rig.uring(), UringFaults::What::kAccept, 0, 0, -error);
  }
  rig.settle();
  EXPECT_EQ(rig.accept_errors.size(), 4u);  // none of them is the owner's business
  EXPECT_EQ(rig.uring()->counters().accept_errors, errors + 1);
  auto last = rig.connect_accepted();
}

TEST(UringFaults, SendsWithoutMemoryWait) {
  Rig rig(Backend::kUring, small());
  if (!rig.usable()) GTEST_SKIP();
  rig.listen();
  auto client = rig.connect_accepted();
  const uint32_t slot = rig.last_slot;
  for (const int error : {ENOMEM, ENOBUFS, ECANCELED, EINTR, EAGAIN}) {
    UringFaults::complete(*rig.uring(), UringFaults::What::kSend, slot, rig.gen(slot), -error);
    rig.pump(false);
    const auto shorts = rig.io().finish_sends();
    ASSERT_EQ(shorts.size(), 1u) << error;
    EXPECT_EQ(shorts[0].slot, slot);
    EXPECT_EQ(shorts[0].sent, 0) << error;  // all of it is to be sent again
    rig.send(slot, "x");                    // a new list begins
  }
  EXPECT_EQ(rig.io().trouble().memory_pauses, 2u);
  UringFaults::complete(*rig.uring(), UringFaults::What::kSend, slot, rig.gen(slot), -EPIPE);
  rig.pump(false);
  ASSERT_EQ(rig.io().finish_sends().size(), 1u);
}

TEST(UringFaults, CancelledAndLateCompletionsOfASocketAreHarmless) {
  Rig rig(Backend::kUring, small());
  if (!rig.usable()) GTEST_SKIP();
  rig.listen();
  auto client = rig.connect_accepted();
  const uint32_t slot = rig.last_slot;
  // Of a generation that is gone, and of a slot that is free.
  UringFaults::complete(*rig.uring(), UringFaults::What::kWritable, slot, rig.gen(slot) + 7, 0);
  UringFaults::complete(*rig.uring(), UringFaults::What::kPeer, 63, 1, -ECANCELED);
  rig.settle();
  EXPECT_EQ(rig.uring()->counters().stale_completions, 2u);
  client->send_text("well");
  ASSERT_TRUE(rig.until([&] { return rig.sockets[slot].received == "well"; }));
  rig.close(slot);
  ASSERT_TRUE(rig.until([&] { return rig.closed == 1; }));
}

// In a process of its own, where a filter refuses io_uring as a container's does.
int choose_under_filter(int error) {
  sock_filter filter[] = {
      BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(seccomp_data, nr)),
      BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_io_uring_setup, 0, 1),
      BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | static_cast<uint32_t>(error)),
      BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW)};
  sock_fprog program{4, filter};
  if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0 ||
      prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) != 0) {
    return 77;
  }
  MadeBackend made = make_backend(BackendKind::kAuto, small());
  if (made.io == nullptr || made.kind != BackendKind::kEpoll) return 1;
  if (made.error.text[0] == '\0') return 2;  // it says why
  const MadeBackend only = make_backend(BackendKind::kUring, small());
  if (only.io != nullptr) return 3;
  const IoStatus expected = error == ENOSYS ? IoStatus::kKernelTooOld : IoStatus::kRefused;
  return only.status == expected ? 0 : 4;
}

TEST(RefusedRing, EpollTakesItsPlaceAndSaysWhy) {
  for (const int error : {EPERM, EACCES, ENOSYS}) {
    const pid_t child = fork();
    ASSERT_GE(child, 0);
    if (child == 0) _exit(choose_under_filter(error));
    int status = 0;
    ASSERT_EQ(waitpid(child, &status, 0), child);
    ASSERT_TRUE(WIFEXITED(status));
    if (WEXITSTATUS(status) == 77) GTEST_SKIP() << "no seccomp here";
    EXPECT_EQ(WEXITSTATUS(status), 0) << error;
  }
}

}  // namespace
}  // namespace tidegate::io
