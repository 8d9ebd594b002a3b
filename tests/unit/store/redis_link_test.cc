// SPDX-License-Identifier: Apache-2.0
#include "store/redis_link.h"

#include <gtest/gtest.h>

#include "redis_server.h"

namespace tidegate::store {
namespace {

TEST(RedisSlot, IsThatOfTheClusterSpecification) {
  EXPECT_EQ(redis_slot("123456789"), 0x31c3u);  // the CRC's check value, below 16,384
  EXPECT_EQ(redis_slot("{user1000}.following"), redis_slot("{user1000}.followers"));
  EXPECT_EQ(redis_slot("foo{}{bar}"), redis_slot(std::string("foo{}{bar}")));
  EXPECT_NE(redis_slot("foo{}{bar}"), redis_slot("bar"));
  EXPECT_EQ(redis_slot("foo{{bar}}zap"), redis_slot("{bar"));
  EXPECT_EQ(redis_slot("foo{bar}{zap}"), redis_slot("bar"));
}

TEST(RedisLink, SaysWhyThereIsNoConnection) {
  std::string error;
  RedisOptions o;
  o.timeout = base::milliseconds(500);
  EXPECT_FALSE(RedisLink(o).connect(&error));
  EXPECT_EQ(error, "no address is given");
  o.addresses = {"nonsense"};
  EXPECT_FALSE(RedisLink(o).connect(&error));
  EXPECT_NE(error.find("host:port"), std::string::npos);
  o.addresses = {"127.0.0.1:" + std::to_string(free_port())};
  RedisLink link(o);
  EXPECT_FALSE(link.connect(&error));
  EXPECT_NE(error.find("refused"), std::string::npos) << error;
  const RedisCommand ping{"", {"PING"}};
  std::vector<RedisReply> replies;
  EXPECT_FALSE(link.run({&ping, 1}, &replies, &error));
  EXPECT_EQ(error, "not connected");
}

TEST(RedisLink, AsksInBatchesAndComesBackAfterARestart) {
  if (!RedisServer::installed()) GTEST_SKIP() << "no redis-server here";
  RedisServer server;
  RedisLink link(server.options());
  link.on_connect({{"SET", "greeting", "said"}});
  std::string error;
  ASSERT_TRUE(link.connect(&error)) << error;
  std::vector<RedisCommand> commands;
  for (int i = 0; i < 1000; ++i) commands.push_back({"n", {"INCR", "n"}});
  commands.push_back({"n", {"LPUSH", "n", "wrong type"}});
  commands.push_back({"g", {"GET", "greeting"}});
  commands.push_back({"x", {"GET", "nothing"}});
  std::vector<RedisReply> replies;
  ASSERT_TRUE(link.run(commands, &replies, &error)) << error;
  ASSERT_EQ(replies.size(), commands.size());
  for (int i = 0; i < 1000; ++i) ASSERT_EQ(replies[static_cast<size_t>(i)].number, i + 1);
  EXPECT_TRUE(replies[1000].error());
  EXPECT_EQ(replies[1001].text, "said");
  EXPECT_EQ(replies[1002].kind, RedisReply::Kind::kNil);
  server.stop();
  EXPECT_FALSE(link.run(commands, &replies, &error));
  EXPECT_FALSE(link.connected());
  EXPECT_FALSE(link.connect(&error));
  server.start();
  ASSERT_TRUE(link.connect(&error)) << error;
  EXPECT_TRUE(link.run(commands, &replies, &error)) << error;
}

TEST(RedisLink, GivesThePasswordAndChoosesTheDatabase) {
  if (!RedisServer::installed()) GTEST_SKIP() << "no redis-server here";
  const RedisServer server;
  ASSERT_EQ(server.ask({"CONFIG", "SET", "requirepass", "open sesame"}).text, "OK");
  RedisOptions o = server.options();
  std::string error;
  o.database = 3;
  EXPECT_FALSE(RedisLink(o).connect(&error));
  EXPECT_NE(error.find("NOAUTH"), std::string::npos) << error;
  o.password = "wrong";
  EXPECT_FALSE(RedisLink(o).connect(&error));
  EXPECT_NE(error.find("WRONGPASS"), std::string::npos) << error;
  o.password = "open sesame";
  RedisLink link(o);
  ASSERT_TRUE(link.connect(&error)) << error;
  const std::vector<RedisCommand> commands{{"k", {"SET", "k", "v"}}, {"k", {"CLIENT", "INFO"}}};
  std::vector<RedisReply> replies;
  ASSERT_TRUE(link.run(commands, &replies, &error)) << error;
  EXPECT_NE(replies[1].text.find(" db=3 "), std::string::npos) << replies[1].text;
}

}  // namespace
}  // namespace tidegate::store
