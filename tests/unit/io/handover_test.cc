// SPDX-License-Identifier: Apache-2.0
// Sockets that go from one backend to another with nothing lost: what was received before, what
// waits in the kernel, and who was not accepted yet. From a ring to a ring, to epoll, and back.
#include <arpa/inet.h>
#include <gtest/gtest.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cstring>
#include <map>
#include <string>
#include <tuple>

#include "io/backend.h"
#include "io/epoll_io.h"
#include "io/uring_io.h"

namespace tidegate::io {
namespace {

IoLimits limits() {
  IoLimits l;
  l.sockets = 64;
  l.buffers = 64;
  l.buffer_bytes = 256;
  l.queue_entries = 64;
  return l;
}

int connect_to(uint16_t port) {
  const int fd = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  sockaddr_in to{};
  to.sin_family = AF_INET;
  to.sin_port = htons(port);
  to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  EXPECT_EQ(::connect(fd, reinterpret_cast<sockaddr*>(&to), sizeof to), 0);
  return fd;
}

struct Received {
  std::map<uint32_t, std::string> text;
  std::vector<uint32_t> accepted;
  uint32_t ended = 0;
};

void take(Io& io, Received* out) {
  for (const Completion& c : io.poll(io.now() + base::milliseconds(20))) {
    if (c.event == Event::kAccepted && c.result >= 0) {
      out->accepted.push_back(c.slot);
      io.start_receive(c.slot, 5);
    } else if (c.event == Event::kReceived) {
      out->text[c.slot].append(reinterpret_cast<char*>(c.data), static_cast<size_t>(c.result));
      io.recycle(c.buffer);
    } else if (c.event == Event::kEnded) {
      ++out->ended;
    }
  }
}

template <class Condition>
bool until(Io& io, Received* out, Condition condition) {
  for (int i = 0; i < 500 && !condition(); ++i) take(io, out);
  return condition();
}

using Pair = std::tuple<BackendKind, BackendKind>;  // from, to

class Handover : public testing::TestWithParam<Pair> {
 protected:
  void SetUp() override {
    MadeBackend from = make_backend(std::get<0>(GetParam()), limits());
    if (from.io == nullptr) GTEST_SKIP() << from.error.text;
    old_ = std::move(from.io);
    MadeBackend to = make_backend(std::get<1>(GetParam()), limits());
    if (to.io == nullptr) GTEST_SKIP() << to.error.text;
    new_ = std::move(to.io);
    const uint8_t address[16] = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 127, 0, 0, 1};
    std::memcpy(&spec_.address.sin6_addr, address, sizeof address);
    ASSERT_EQ(old_->listen(spec_, &port_), IoStatus::kOk);
  }
  void pause() {
    old_->pause();
    ASSERT_TRUE(until(*old_, &before_, [&] {
      if (old_->paused()) return true;
      old_->pause();
      return false;
    }));
  }
  ListenSpec spec_;
  uint16_t port_ = 0;
  std::unique_ptr<Io> old_, new_;
  Received before_, after_;
};

TEST_P(Handover, EveryByteArrivesOnce) {
  constexpr int kClients = 8;
  int clients[kClients];
  for (int& c : clients) c = connect_to(port_);
  ASSERT_TRUE(until(*old_, &before_, [&] { return before_.accepted.size() == kClients; }));
  std::string sent;
  for (int round = 0; round < 50; ++round) {
    const std::string part = std::to_string(round) + ",";
    sent += part;
    for (const int c : clients) {
      ASSERT_EQ(::send(c, part.data(), part.size(), 0), static_cast<ssize_t>(part.size()));
    }
    if (round == 20) pause();
  }
  std::vector<int> descriptors(before_.accepted.size(), -1);
  if (!old_->descriptors_of(before_.accepted, descriptors)) {
    GTEST_SKIP() << "no IORING_OP_FIXED_FD_INSTALL: Linux 6.8";
  }
  for (size_t i = 0; i < descriptors.size(); ++i) {
    ASSERT_TRUE(new_->adopt(before_.accepted[i], 5, descriptors[i]));
  }
  // A client whom nobody has accepted: the listener itself goes over.
  const int late = connect_to(port_);
  ASSERT_TRUE(new_->adopt_listener(::dup(old_->listeners()[0]), spec_));
  old_.reset();
  new_->resume();
  for (const uint32_t slot : before_.accepted) new_->start_receive(slot, 5);
  ASSERT_TRUE(until(*new_, &after_, [&] {
    for (const uint32_t slot : before_.accepted) {
      if (before_.text[slot].size() + after_.text[slot].size() < sent.size()) return false;
    }
    return after_.accepted.size() == 1;
  }));
  for (const uint32_t slot : before_.accepted) {
    EXPECT_EQ(before_.text[slot] + after_.text[slot], sent);
  }
  EXPECT_EQ(after_.ended, 0u);
  // The other way too.
  const uint8_t word[] = "there";
  for (const uint32_t slot : before_.accepted) new_->send(slot, 5, word, sizeof word);
  EXPECT_TRUE(new_->finish_sends().empty());
  for (const int c : clients) {
    char text[16] = {};
    EXPECT_EQ(::recv(c, text, sizeof word, MSG_WAITALL), static_cast<ssize_t>(sizeof word));
    EXPECT_STREQ(text, "there");
    ::close(c);
  }
  ::close(late);
}

TEST_P(Handover, AfterAPauseItGoesOn) {
  const int client = connect_to(port_);
  ASSERT_TRUE(until(*old_, &before_, [&] { return before_.accepted.size() == 1; }));
  const uint32_t slot = before_.accepted[0];
  pause();
  ASSERT_EQ(::send(client, "one", 3, 0), 3);
  const int other = connect_to(port_);
  for (int i = 0; i < 3; ++i) take(*old_, &before_);
  EXPECT_EQ(before_.text[slot], "");
  EXPECT_EQ(before_.accepted.size(), 1u);
  old_->resume();
  ASSERT_TRUE(until(*old_, &before_,
                    [&] { return before_.text[slot] == "one" && before_.accepted.size() == 2; }));
  ::close(client);
  ASSERT_TRUE(until(*old_, &before_, [&] { return before_.ended == 1; }));
  ::close(other);
}

TEST_P(Handover, ASlotIsTakenOnce) {
  int ends[2];
  ASSERT_EQ(::socketpair(AF_UNIX, SOCK_STREAM, 0, ends), 0);
  EXPECT_TRUE(new_->adopt(3, 1, ::dup(ends[0])));
  EXPECT_FALSE(new_->adopt(3, 1, ::dup(ends[0])));
  EXPECT_FALSE(new_->adopt(64, 1, ::dup(ends[0])));
  ::close(ends[0]);
  ::close(ends[1]);
}

INSTANTIATE_TEST_SUITE_P(Backends, Handover,
                         testing::Values(Pair{BackendKind::kUring, BackendKind::kUring},
                                         Pair{BackendKind::kUring, BackendKind::kEpoll},
                                         Pair{BackendKind::kEpoll, BackendKind::kUring},
                                         Pair{BackendKind::kEpoll, BackendKind::kEpoll}),
                         [](const testing::TestParamInfo<Pair>& info) {
                           const auto name = [](BackendKind kind) {
                             return kind == BackendKind::kEpoll ? std::string("Epoll")
                                                                : std::string("Uring");
                           };
                           return name(std::get<0>(info.param)) + "To" +
                                  name(std::get<1>(info.param));
                         });

}  // namespace
}  // namespace tidegate::io
