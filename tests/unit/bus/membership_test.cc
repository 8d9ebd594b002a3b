// SPDX-License-Identifier: Apache-2.0
// Several membership machines over a faulty net in virtual time: they agree on who is there, and no
// one is settled before all that was said under the view before has come.
#include "bus/membership.h"

#include <gtest/gtest.h>

#include <deque>
#include <memory>

#include "base/prng.h"
#include "bus/rendezvous.h"

namespace tidegate::bus {
namespace {

using base::Instant;
using base::milliseconds;

struct Packet {
  int from;
  uint64_t epoch;
  int kind;  // 0 heartbeat, else a Mark
  uint64_t view, era;
  bool fresh;
  Instant due;
};

class Net {
 public:
  struct Node {
    std::string name;
    std::unique_ptr<Membership> machine;
    bool alive = true;
    bool paused = false;
    Instant next_beat{};
    uint32_t phase_due = 0;  // shards answer a turn later
    uint64_t phase_view = 0;
    int settled = 0;
    Instant settled_at{};
  };

  explicit Net(int count, uint64_t seed = 1) : prng_(seed), links_(size_t(count) * count) {
    for (int i = 0; i < count; ++i) {
      nodes_.push_back({"gateway-" + std::to_string(i), nullptr, true, false, {}, 0, 0, 0, {}});
      start(i, 100);
    }
    cut_.assign(links_.size(), false);
  }
  void start(int i, uint64_t epoch) {
    nodes_[size_t(i)].machine =
        std::make_unique<Membership>(MembershipConfig{}, nodes_[size_t(i)].name, epoch);
    nodes_[size_t(i)].alive = true;
  }
  Node& node(int i) { return nodes_[size_t(i)]; }
  int count() const { return static_cast<int>(nodes_.size()); }
  void cut(int a, int b, bool cut) {
    cut_[size_t(a * count() + b)] = cut_[size_t(b * count() + a)] = cut;
  }
  Instant now() const { return now_; }

  void run(base::Duration time) {
    for (const Instant end = now_ + time; now_ < end; now_ = now_ + milliseconds(10)) step();
  }
  bool agree() {
    uint64_t view = 0;
    for (Node& n : nodes_) {
      if (!n.alive) continue;
      if (view == 0) view = n.machine->view();
      if (n.machine->view() != view || n.machine->stage() != Membership::Stage::kSettled) {
        return false;
      }
    }
    return true;
  }

 private:
  void send(int from, int to, int kind, uint64_t view) {
    if (cut_[size_t(from * count() + to)]) return;
    auto& link = links_[size_t(from * count() + to)];
    const Instant after = link.empty() ? now_ : std::max(now_, link.back().due);
    const Membership& m = *node(from).machine;
    link.push_back({from, m.self().epoch, kind, view, kind == 1 ? m.flush_era() : m.era(),
                    m.self().fresh, after + milliseconds(prng_.between(0, 30))});
  }
  void send_all(int from, int kind, uint64_t view) {
    for (int to = 0; to < count(); ++to) {
      if (to != from) send(from, to, kind, view);
    }
  }
  void step() {
    for (int to = 0; to < count(); ++to) {
      Node& n = node(to);
      if (!n.alive || n.paused) continue;
      for (int from = 0; from < count(); ++from) {
        auto& link = links_[size_t(from * count() + to)];
        while (!link.empty() && link.front().due <= now_) {
          const Packet p = link.front();
          link.pop_front();
          if (!n.machine->on_heard(node(from).name, p.epoch, now_, p.fresh)) continue;
          if (p.kind == 0) {
            n.machine->on_era(p.era);
          } else {
            n.machine->on_mark(hash_text(node(from).name), static_cast<Mark>(p.kind), p.view,
                               p.era);
          }
        }
      }
      if (n.phase_due != 0) n.machine->on_shards_done(n.phase_view, n.phase_due);
      n.phase_due = 0;
      n.machine->turn(now_);
      if (n.machine->take_view_changed()) {
        send_all(to, 0, 0);
        n.phase_due = 1;
        n.phase_view = n.machine->view();
      }
      Mark mark;
      while (n.machine->take_mark(&mark)) send_all(to, static_cast<int>(mark), n.machine->view());
      if (n.machine->take_phase2()) {
        n.phase_due = 2;
        n.phase_view = n.machine->view();
      }
      if (n.machine->take_settled()) {
        ++n.settled;
        n.settled_at = now_;
      }
      if (now_ >= n.next_beat) {
        send_all(to, 0, 0);
        n.next_beat = now_ + milliseconds(200);
      }
    }
  }

  base::Prng prng_;
  std::vector<Node> nodes_;
  std::vector<std::deque<Packet>> links_;
  std::vector<bool> cut_;
  Instant now_{1'000'000'000};
};

TEST(Membership, AloneIsSettledWhenOthersCouldHaveBeenHeard) {
  Net net(1);
  net.run(milliseconds(900));
  EXPECT_FALSE(net.agree());
  net.run(milliseconds(200));
  EXPECT_TRUE(net.agree());
  EXPECT_EQ(net.node(0).machine->members().size(), 1U);
}

TEST(Membership, ThreeFindEachOtherAndAgreeWithoutTheTimeOut) {
  Net net(3);
  net.run(milliseconds(1200));
  ASSERT_TRUE(net.agree());
  for (int i = 0; i < 3; ++i) {
    EXPECT_EQ(net.node(i).machine->members().size(), 3U);
    EXPECT_EQ(net.node(i).machine->unsettled(), 0U);
  }
}

TEST(Membership, WhoIsSilentIsDroppedAndComesBackWithAnotherView) {
  Net net(3);
  net.run(milliseconds(1200));
  const uint64_t before = net.node(0).machine->view();
  net.node(2).alive = false;
  net.run(base::seconds(3));
  ASSERT_TRUE(net.agree());
  EXPECT_EQ(net.node(0).machine->members().size(), 2U);
  net.start(2, 200);  // a new process: a higher epoch
  net.run(base::seconds(2));
  ASSERT_TRUE(net.agree());
  EXPECT_EQ(net.node(0).machine->members().size(), 3U);
  EXPECT_NE(net.node(0).machine->view(), before);
}

TEST(Membership, WhoWasStoppedSaysThatItMayHaveMissedSomething) {
  Net net(3);
  net.run(milliseconds(1200));
  net.node(1).paused = true;
  net.run(base::seconds(4));
  net.node(1).paused = false;
  net.run(base::seconds(3));
  ASSERT_TRUE(net.agree());
  EXPECT_EQ(net.node(0).machine->members().size(), 3U);
  EXPECT_GT(net.node(1).machine->self().epoch, 100U);
}

TEST(Membership, TheEraRisesWithEachLossAndNotWithWhoComes) {
  Net net(3);
  net.run(milliseconds(1200));
  for (int i = 0; i < 3; ++i) EXPECT_EQ(net.node(i).machine->view_era(), 0U);
  net.node(2).alive = false;
  net.run(base::seconds(3));
  const uint64_t first = net.node(0).machine->view_era();
  EXPECT_GT(first, 0U);
  EXPECT_EQ(net.node(1).machine->view_era(), first);
  net.start(2, 200);
  net.run(base::seconds(2));
  ASSERT_TRUE(net.agree());
  EXPECT_EQ(net.node(2).machine->view_era(), first) << "it learns it";
  net.start(1, 200);  // another process before its silence was noticed
  net.run(base::seconds(2));
  ASSERT_TRUE(net.agree());
  const uint64_t second = net.node(0).machine->view_era();
  EXPECT_GT(second, first);
  EXPECT_EQ(net.node(1).machine->view_era(), second);
  net.node(0).machine->on_era(Membership::kEraMax + 1);
  EXPECT_EQ(net.node(0).machine->era(), second) << "no gateway says that";
}

// sim-cluster --seed 1622: it gave an offset that the lost one had given.
TEST(Membership, WhoComesBeforeALossIsNoticedDoesNotUseTheErasOfWhoIsLost) {
  Net net(3);
  net.run(milliseconds(1200));
  net.node(1).alive = false;
  net.run(base::seconds(3));
  ASSERT_TRUE(net.agree());
  uint64_t used = net.node(0).machine->view_era();
  net.node(0).alive = false;
  net.start(1, 200);
  const int settled = net.node(1).settled;
  net.run(milliseconds(1300));  // node 2 still counts on node 0
  ASSERT_EQ(net.node(2).machine->members().size(), 3U);
  ASSERT_GT(net.node(1).settled, settled) << "without the others";
  EXPECT_GT(net.node(1).machine->view_era(), used);
  used = net.node(1).machine->view_era();
  net.run(base::seconds(2));
  EXPECT_GT(net.node(2).machine->view_era(), used);
}

// sim-cluster --writers 15 --seed 1104: two that had just started settled between themselves in the
// first era before they heard of the third, which knew offsets of it.
TEST(Membership, NewcomersDoNotSettleAmongThemselvesBeforeOthersCouldBeHeard) {
  Net net(3);
  net.run(milliseconds(1200));
  net.cut(0, 1, true);  // what it says to them is on its way for long
  net.cut(2, 1, true);
  net.run(milliseconds(100));
  net.node(0).alive = net.node(2).alive = false;
  net.run(base::seconds(3));
  const uint64_t used = net.node(1).machine->view_era();
  ASSERT_GT(used, 0U);
  net.start(0, 200);
  net.start(2, 200);
  const int settled = net.node(0).settled;
  net.run(milliseconds(300));
  ASSERT_EQ(net.node(0).machine->members().size(), 2U);
  EXPECT_EQ(net.node(0).settled, settled);
  net.cut(0, 1, false);
  net.cut(2, 1, false);
  net.run(milliseconds(500));
  ASSERT_TRUE(net.agree());
  EXPECT_GE(net.node(0).machine->view_era(), used);
  EXPECT_FALSE(net.node(0).machine->self().fresh);
}

// Whatever any gateway used in a view that it settled, who is left after a loss is above it.
TEST(Membership, SeedsOfLossesNeverUseAnEraTwice) {
  for (uint64_t seed = 1; seed <= 60; ++seed) {
    base::Prng prng(seed);
    Net net(4, seed);
    net.run(milliseconds(1200));
    ASSERT_TRUE(net.agree()) << seed;
    uint64_t epoch = 1000;
    uint64_t used = 0;
    for (int round = 0; round < 8; ++round) {
      const int gone = static_cast<int>(prng.below(4));
      if (!net.node(gone).alive) {
        net.start(gone, epoch += 1000);
        net.run(base::seconds(2));
        continue;
      }
      used = std::max(used, net.node(gone).machine->view_era());
      net.node(gone).alive = false;
      int left = 0;
      for (int i = 0; i < 4; ++i) left += net.node(i).alive ? 1 : 0;
      if (left == 0) break;
      net.run(base::seconds(3));
      ASSERT_TRUE(net.agree()) << seed;
      for (int i = 0; i < 4; ++i) {
        if (!net.node(i).alive) continue;
        EXPECT_GT(net.node(i).machine->view_era(), used) << "seed " << seed;
      }
    }
  }
}

// One of two saw the other go and come with the same epoch: it has forgotten what that one told it.
TEST(Membership, AOneSidedBreakMakesTheEpochRise) {
  Net net(2);
  net.run(milliseconds(1200));
  Membership& a = *net.node(0).machine;
  const uint64_t epoch = a.self().epoch;
  a.turn(net.now() + milliseconds(1));
  for (int i = 1; i <= 20; ++i) a.turn(net.now() + milliseconds(100 * i));
  EXPECT_EQ(a.members().size(), 1U);
  EXPECT_TRUE(
      a.on_heard("gateway-1", net.node(1).machine->self().epoch, net.now() + milliseconds(2100)));
  EXPECT_GT(a.self().epoch, epoch);
}

TEST(Membership, AnEarlierLifeIsNotListenedTo) {
  Membership m({}, "a", 1);
  EXPECT_TRUE(m.on_heard("b", 5, {1}));
  EXPECT_FALSE(m.on_heard("b", 4, {2}));
  EXPECT_FALSE(m.on_heard("a", 9, {2})) << "that is ourselves";
}

TEST(Membership, TheIndexOfAGatewayStays) {
  Membership m({}, "a", 1);
  EXPECT_TRUE(m.on_heard("b", 1, {1}));
  EXPECT_TRUE(m.on_heard("c", 1, {1}));
  const uint32_t c = m.index_of(hash_text("c"));
  m.on_leave(hash_text("b"));
  m.on_leave(hash_text("c"));
  EXPECT_TRUE(m.on_heard("c", 2, {2}));
  EXPECT_EQ(m.find(hash_text("c"))->index, c);
}

TEST(Membership, SeedsOfCrashesPausesAndPartitionsEndInAgreement) {
  for (uint64_t seed = 1; seed <= 60; ++seed) {
    base::Prng prng(seed);
    Net net(4, seed);
    uint64_t epoch = 1000;
    for (int event = 0; event < 12; ++event) {
      const int i = static_cast<int>(prng.below(4));
      const int j = static_cast<int>(prng.below(4));
      switch (prng.below(4)) {
        case 0:
          net.node(i).alive = !net.node(i).alive;
          if (net.node(i).alive) net.start(i, epoch += 1000);
          break;
        case 1:
          net.node(i).paused = !net.node(i).paused;
          break;
        case 2:
          if (i != j) net.cut(i, j, true);
          break;
        default:
          if (i != j) net.cut(i, j, false);
          break;
      }
      net.run(milliseconds(prng.between(10, 2500)));
    }
    size_t alive = 0;
    for (int i = 0; i < 4; ++i) {
      net.node(i).paused = false;
      for (int j = 0; j < i; ++j) net.cut(i, j, false);
      alive += net.node(i).alive ? 1 : 0;
    }
    net.run(base::seconds(5));
    EXPECT_TRUE(net.agree()) << "seed " << seed;
    for (int i = 0; i < 4; ++i) {
      if (net.node(i).alive) {
        EXPECT_EQ(net.node(i).machine->members().size(), alive) << "seed " << seed;
      }
    }
  }
}

}  // namespace
}  // namespace tidegate::bus
