// SPDX-License-Identifier: Apache-2.0
// The shared store where Redis is more than one server: a Cluster whose slots move, Sentinels whose
// master changes.
#include <gtest/gtest.h>

#include <cstring>
#include <deque>
#include <functional>

#include "redis_server.h"
#include "store/session_store_redis.h"

namespace tidegate::store {
namespace {

using mailbox::SessionChangeOp;
using mailbox::SessionClaim;
using mailbox::SessionRecord;

bool comes_true(const std::function<bool()>& what) {
  for (int i = 0; i < 1200; ++i) {
    if (what()) return true;
    ::poll(nullptr, 0, 50);
  }
  return false;
}

// Changes of one gateway, one batch each.
class Gateway {
 public:
  Gateway(const RedisOptions& options, const std::string& name)
      : store(options, {name, "test", base::seconds(100), base::seconds(0)}) {}
  bool write(SessionRecord r, const std::string& tail = {}) {
    news.clear();
    const SessionChange change{r, base::as_bytes(tail), 0};
    return store.write_blocking({&change, 1}, &news, &error);
  }
  bool put(uint64_t session, const std::string& player) {
    SessionRecord r{};
    r.op = SessionChangeOp::kPut;
    r.session = session;
    r.attached = 1;
    return write(r, player);
  }
  bool append(uint64_t session, uint64_t sequence, const std::string& text, uint64_t origin) {
    SessionRecord r{};
    r.op = SessionChangeOp::kAppend;
    r.session = session;
    r.sequence = sequence;
    r.origin = origin;
    r.fresh = 1;
    return write(r, text);
  }
  bool claim(const std::string& player) {
    mailbox::SessionOpen open{};
    open.player_bytes = static_cast<uint8_t>(player.size());
    SessionRecord r{};
    r.op = SessionChangeOp::kClaim;
    return write(r, std::string(reinterpret_cast<const char*>(&open), sizeof open) + player);
  }
  bool up() { return store.put_blocking("probe", "1"); }

  RedisStore store;
  std::vector<StoreNews> news;
  std::string error;
};

class ClusterNode {
 public:
  ClusterNode()
      : bus_(std::to_string(free_port())),
        server({"--cluster-enabled", "yes", "--cluster-port", bus_, "--cluster-node-timeout",
                "15000"}) {}
  std::string id() const { return server.ask({"CLUSTER", "MYID"}).text; }

 private:
  std::string bus_;

 public:
  RedisServer server;
  const std::string& bus() const { return bus_; }
};

TEST(RedisCluster, SessionsAreFoundOnAllNodesAndWhereSlotsMove) {
  if (!RedisServer::installed()) GTEST_SKIP() << "no redis-server here";
  ClusterNode one, two;
  ASSERT_EQ(one.server.ask({"CLUSTER", "ADDSLOTSRANGE", "0", "8191"}).text, "OK");
  ASSERT_EQ(two.server.ask({"CLUSTER", "ADDSLOTSRANGE", "8192", "16383"}).text, "OK");
  ASSERT_EQ(two.server.ask({"CLUSTER", "SET-CONFIG-EPOCH", "2"}).text, "OK");
  ASSERT_EQ(
      one.server.ask({"CLUSTER", "MEET", "127.0.0.1", std::to_string(two.server.port()), two.bus()})
          .text,
      "OK");
  ASSERT_TRUE(comes_true([&] {
    for (const ClusterNode* node : {&one, &two}) {
      const std::string info = node->server.ask({"CLUSTER", "INFO"}).text;
      if (info.find("cluster_state:ok") == std::string::npos ||
          info.find("cluster_slots_ok:16384") == std::string::npos) {
        return false;
      }
    }
    return true;
  }));
  RedisOptions options = one.server.options();
  options.cluster = true;
  Gateway a(options, "A");
  Gateway b(options, "B");
  ASSERT_TRUE(a.up()) << a.store.why_not();
  ASSERT_TRUE(b.up()) << b.store.why_not();
  std::string low, high;
  for (int i = 0; i < 100; ++i) {
    const std::string player = "player" + std::to_string(i);
    ASSERT_TRUE(a.claim(player)) << a.error;
    ASSERT_TRUE(a.put(1000 + static_cast<uint64_t>(i), player)) << a.error;
    (redis_slot(player) < 8192 ? low : high) = player;
  }
  ASSERT_FALSE(low.empty());
  ASSERT_FALSE(high.empty());
  EXPECT_GT(one.server.ask({"DBSIZE"}).number, 10);
  EXPECT_GT(two.server.ask({"DBSIZE"}).number, 10);
  for (const std::string& player : {low, high}) {
    ASSERT_TRUE(b.claim(player)) << b.error;
    ASSERT_EQ(b.news.size(), 1u);
    EXPECT_EQ(b.news[0].status, SessionClaim::kState);
  }
  // The scripts could not tell across slots; the gateway did.
  a.news.clear();
  ASSERT_TRUE(a.store.poll_blocking(&a.news, &a.error)) << a.error;
  EXPECT_EQ(a.news.size(), 2u);

  // A slot on its way: what is not there any more is asked for elsewhere.
  const std::string slot = std::to_string(redis_slot(low));
  ASSERT_EQ(two.server.ask({"CLUSTER", "SETSLOT", slot, "IMPORTING", one.id()}).text, "OK");
  ASSERT_EQ(one.server.ask({"CLUSTER", "SETSLOT", slot, "MIGRATING", two.id()}).text, "OK");
  // All of the slot's keys.
  std::vector<std::string> migrate = {
      "MIGRATE", "127.0.0.1", std::to_string(two.server.port()), "", "0", "5000", "KEYS"};
  for (const RedisReply& key : one.server.ask({"CLUSTER", "GETKEYSINSLOT", slot, "100"}).list) {
    migrate.push_back(key.text);
  }
  ASSERT_EQ(one.server.ask(migrate).text, "OK");
  // Redis does not run scripts of several keys in a slot that is on its way; it is asked again.
  EXPECT_FALSE(a.claim(low));
  EXPECT_NE(a.error.find("TRYAGAIN"), std::string::npos) << a.error;
  for (const ClusterNode* node : {&two, &one}) {
    ASSERT_EQ(node->server.ask({"CLUSTER", "SETSLOT", slot, "NODE", two.id()}).text, "OK");
  }
  ASSERT_TRUE(a.up()) << a.store.why_not();  // the answer ended its connection
  ASSERT_TRUE(a.claim(low)) << a.error;
  ASSERT_EQ(a.news.at(0).status, SessionClaim::kState);
  const uint64_t session = a.news[0].state->id;
  ASSERT_TRUE(a.append(session, 1, "one", 5)) << a.error;
  ASSERT_TRUE(a.append(session, 2, "two", 6)) << a.error;
  EXPECT_TRUE(a.news.empty());
  EXPECT_EQ(two.server.ask({"LLEN", "tidegate:{" + low + "}:m"}).number, 2);
}

TEST(RedisSentinel, TheNewMasterIsFollowed) {
  if (!RedisServer::installed()) GTEST_SKIP() << "no redis-server here";
  RedisServer master;
  RedisServer replica({"--replicaof", "127.0.0.1", std::to_string(master.port()),
                       "--repl-diskless-sync-delay", "0"});
  RedisServer sentinel({"--sentinel"}, "sentinel monitor tide 127.0.0.1 " +
                                           std::to_string(master.port()) +
                                           " 1\nsentinel down-after-milliseconds tide 1000\n"
                                           "sentinel failover-timeout tide 10000\n");
  ASSERT_TRUE(comes_true([&] {
    return replica.ask({"INFO", "replication"}).text.find("master_link_status:up") !=
           std::string::npos;
  }));
  RedisOptions options = sentinel.options();
  options.master = "nobody";
  std::string error;
  EXPECT_FALSE(RedisLink(options).connect(&error));
  EXPECT_NE(error.find("nobody"), std::string::npos) << error;
  options.master = "tide";
  Gateway a(options, "A");
  ASSERT_TRUE(a.up()) << a.store.why_not();
  ASSERT_TRUE(a.claim("ann")) << a.error;
  ASSERT_TRUE(a.put(1, "ann")) << a.error;
  ASSERT_TRUE(
      comes_true([&] { return replica.ask({"HGET", "tidegate:{ann}:s", "id"}).text == "1"; }));
  // It has to know the replica before it can make it the master.
  ASSERT_TRUE(comes_true([&] {
    const RedisReply replicas = sentinel.ask({"SENTINEL", "replicas", "tide"});
    return replicas.list.size() == 1;
  }));
  master.stop();
  EXPECT_FALSE(a.append(1, 1, "one", 5));
  ASSERT_TRUE(comes_true([&] { return a.up(); })) << a.store.why_not();
  ASSERT_TRUE(a.append(1, 1, "one", 5)) << a.error;
  EXPECT_EQ(replica.ask({"LLEN", "tidegate:{ann}:m"}).number, 1);
}

}  // namespace
}  // namespace tidegate::store
