// SPDX-License-Identifier: Apache-2.0
// Groups of a server inside of a game: the game makes them and sends to them, hears of changes,
// decides about clients' requests; what handlers send for a client does not reach who blocks it;
// payloads are held against a handler's schema. Also through the C API.
#include "tidegate/groups.h"

#include <gtest/gtest.h>

#include <mutex>

#include "live_server.h"
#include "tidegate/tidegate.h"
#include "wire/event_messages.h"
#include "wire/social_messages.h"

namespace tidegate::embed_test {
namespace {

constexpr uint32_t kReplyType = 14;
constexpr uint32_t kSocialUpdateType = 303;
constexpr uint32_t kGroupRequestType = 310;
constexpr uint32_t kGroupEventType = 311;
constexpr uint32_t kGroupStateType = 312;

class Groups : public LiveServer {
 protected:
  std::unique_ptr<LiveClient> join(const std::string& user) {
    auto client = std::make_unique<LiveClient>(server->port(), user);
    EXPECT_TRUE(client->enter());
    return client;
  }
  static uint32_t reply(LiveClient& client) {
    const Received got = client.next(kReplyType);
    wire::Reply answer;
    EXPECT_TRUE(got.type == kReplyType && wire::decode(base::as_bytes(got.payload), &answer));
    return answer.code;
  }
  static uint32_t ask(LiveClient& client, GroupAction action, std::string_view group,
                      std::string_view user = {}) {
    uint8_t bytes[512];
    wire::PbWriter out(bytes);
    wire::encode(out, wire::GroupRequest{static_cast<uint32_t>(action), group, user, 0, 0});
    client.send(kGroupRequestType, std::string(base::as_text(out.written())));
    return reply(client);
  }
  // "change user by" of the next GROUP_EVENT.
  static std::string event(LiveClient& client) {
    const Received got = client.next(kGroupEventType);
    wire::GroupEvent e;
    if (got.type != kGroupEventType || !wire::decode(base::as_bytes(got.payload), &e))
      return "none";
    return std::to_string(e.change) + ' ' + std::string(e.user_id) + ' ' + std::string(e.by_user);
  }
};

TEST_F(Groups, TheGameMakesGroupsAndSendsToTheirMembers) {
  make({{"groups.kinds", "raid:10"}});
  std::mutex mutex;
  std::vector<std::string> heard;
  const auto hear = [&](const ServerEvent& e) {
    const std::lock_guard lock(mutex);
    heard.push_back(std::to_string(e.event_type) + ' ' + std::string(e.name) + ' ' +
                    std::string(e.data.text()));
    return true;
  };
  EventHandler handler;
  handler.name = "groups";
  handler.kinds = static_cast<uint8_t>(EventKind::kGroupChanged);
  handler.handle = hear;
  ASSERT_TRUE(server->on_event(std::move(handler)));
  const auto stop = stop_at_end();
  EXPECT_EQ(server->group({GroupAction::kCreate, "raid.one", "ann"}), SendResult::kClosed);
  start();
  EXPECT_EQ(server->group({GroupAction::kCreate, "raid", "ann"}), SendResult::kRange);
  EXPECT_EQ(server->group({GroupAction::kCreate, "raid.*", "ann"}), SendResult::kRange);
  const auto ann = join("ann");
  const auto bob = join("bob");
  const auto cat = join("cat");
  EXPECT_EQ(server->group({GroupAction::kCreate, "raid.one", "ann"}), SendResult::kOk);
  EXPECT_EQ(server->group({GroupAction::kJoin, "raid.one", "bob"}), SendResult::kOk);
  EXPECT_EQ(ann->next(kGroupStateType).type, kGroupStateType);
  EXPECT_EQ(bob->next(kGroupStateType).type, kGroupStateType);
  EXPECT_EQ(server->send(Target::group("raid.one"), 1000, bytes_of("gather")), SendResult::kOk);
  EXPECT_EQ(server->broadcast(1001, bytes_of("all")), SendResult::kOk);
  EXPECT_EQ(ann->next(1000).payload, "gather");
  EXPECT_EQ(bob->next(1000).payload, "gather");
  EXPECT_EQ(cat->next(1001).payload, "all");
  for (const Received& r : cat->received) EXPECT_NE(r.type, 1000u);
  // The leader, as the game says, is kicked by the game alone.
  EXPECT_EQ(ask(*bob, GroupAction::kKick, "raid.one", "ann"), 4005u);
  EXPECT_EQ(server->group({GroupAction::kKick, "raid.one", "ann"}), SendResult::kOk);
  std::string told;
  while ((told = event(*bob)) != "none" && told != "4 ann ") {
  }
  EXPECT_EQ(told, "4 ann ");
  EXPECT_EQ(event(*bob), "7 bob ");  // leads now
  const std::lock_guard lock(mutex);
  EXPECT_EQ(heard, (std::vector<std::string>{"1 raid.one ann", "2 raid.one bob", "4 raid.one ann",
                                             "7 raid.one bob"}));
}

TEST_F(Groups, APolicyDecidesBeforeTheRules) {
  make({{"groups.kinds", "raid:10"}, {"groups.create", ""}});
  const auto policy = [](const GroupQuestion& q) {
    if (q.user_id == "eve") throw std::runtime_error("who is that");
    if (q.user_id == "boss") return GroupVerdict::kPermit;
    return q.group == "raid.closed" ? GroupVerdict::kRefuse : GroupVerdict::kRules;
  };
  ASSERT_TRUE(server->group_policy(policy));
  EXPECT_FALSE(server->group_policy(policy));
  start();
  EXPECT_FALSE(server->group_policy(policy));
  const auto boss = join("boss");
  const auto ann = join("ann");
  const auto eve = join("eve");
  EXPECT_EQ(ask(*ann, GroupAction::kCreate, "raid.a"), 4005u);
  EXPECT_EQ(ask(*boss, GroupAction::kCreate, "raid.a"), 0u);
  EXPECT_EQ(ask(*boss, GroupAction::kCreate, "raid.closed"), 0u);
  EXPECT_EQ(ask(*boss, GroupAction::kInvite, "raid.closed", "ann"), 0u);
  EXPECT_EQ(ask(*ann, GroupAction::kJoin, "raid.closed"), 4005u);
  EXPECT_EQ(ask(*eve, GroupAction::kJoin, "raid.a"), 4005u);
}

TEST_F(Groups, WhatAHandlerSendsForABlockedUserStaysHere) {
  make({});
  add(1000, "say", [](Context& c, const Message& m) {
    EXPECT_EQ(c.send_to_player("ann", 1001, m.payload), SendResult::kOk);
    EXPECT_EQ(c.send(Target::everyone(), 1002, m.payload), SendResult::kOk);
    EXPECT_EQ(c.send(Target::user("ann"), 1003, m.payload), SendResult::kOk);
    EXPECT_EQ(c.send_to_nearby(1000, 1004, m.payload), SendResult::kOk);
    return Outcome::kOk;
  });
  const auto stop = stop_at_end();
  start();
  const auto ann = join("ann");
  const auto bob = join("bob");
  const auto cat = join("cat");
  uint8_t bytes[64];
  wire::PbWriter block(bytes);
  block.text(4, "bob");
  ann->send(kSocialUpdateType, std::string(base::as_text(block.written())));
  ASSERT_EQ(reply(*ann), 0u);
  bob->send(1000, "from bob");
  EXPECT_EQ(bob->next(1002).payload, "from bob");
  EXPECT_EQ(cat->next(1002).payload, "from bob");
  cat->send(1000, "from cat");
  for (const uint32_t type : {1001u, 1002u, 1003u, 1004u}) {
    EXPECT_EQ(ann->next(type).payload, "from cat") << type;
  }
  EXPECT_GE(count("tidegate_messages_blocked_total"), 4u);
  // The game itself is nobody's user.
  EXPECT_EQ(server->send_to_user("ann", 1005, bytes_of("the game")), SendResult::kOk);
  EXPECT_EQ(ann->next(1005).payload, "the game");
}

TEST_F(Groups, APayloadThatIsNotOfItsTypeDoesNotReachTheHandler) {
  make({});
  std::atomic<int> calls = 0;
  Handler handler;
  handler.type = 1234;
  handler.name = "strict";
  handler.function = [&](Context& c, const Message&) {
    ++calls;
    c.answer(0, "taken");
    return Outcome::kOk;
  };
  handler.schema = [](Bytes payload) {
    if (payload.text() == "throw") throw std::runtime_error("no schema");
    return payload.size == 4;
  };
  ASSERT_TRUE(server->handle(std::move(handler)));
  const auto stop = stop_at_end();
  start();
  const auto ann = join("ann");
  ann->send(1234, "12345");
  EXPECT_TRUE(ann->until([&] { return !ann->errors.empty(); }));
  EXPECT_EQ(ann->errors.front(), 4003u);
  ann->send(1234, "1234");
  EXPECT_EQ(reply(*ann), 0u);
  EXPECT_EQ(calls, 1);
}

TEST_F(Groups, TheSameInC) {
  make({{"groups.kinds", "raid:10"}});
  start();
  auto* c = reinterpret_cast<tidegate_server*>(server.get());
  const auto text = [](const char* t) { return tidegate_text{t, std::strlen(t)}; };
  const auto ann = join("ann");
  tidegate_group_command command{sizeof command, 1, 0, 1, text("raid.c"), text("ann")};
  EXPECT_EQ(tidegate_server_group(c, &command), TIDEGATE_SENT);
  EXPECT_EQ(ann->next(kGroupStateType).type, kGroupStateType);
  command.action = 10;
  EXPECT_EQ(tidegate_server_group(c, &command), TIDEGATE_SEND_RANGE);
  tidegate_target target{sizeof target, TIDEGATE_TO_GROUP, 0, text("raid.c"), {}};
  EXPECT_EQ(tidegate_server_send(c, &target, 1000, {reinterpret_cast<const uint8_t*>("hi"), 2}),
            TIDEGATE_SENT);
  EXPECT_EQ(ann->next(1000).payload, "hi");
}

}  // namespace
}  // namespace tidegate::embed_test
