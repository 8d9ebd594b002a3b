// SPDX-License-Identifier: Apache-2.0
// Events of a server inside of a game, on two shards and their threads: messages of the game to
// topics, users, places and everybody, event handlers that come, go and fail, the topic policy, and
// the same through the C API.
#include "tidegate/events.h"

#include <gtest/gtest.h>

#include <map>
#include <mutex>
#include <stdexcept>
#include <thread>

#include "live_server.h"
#include "tidegate/tidegate.h"
#include "wire/event_messages.h"

namespace tidegate::embed_test {
namespace {

constexpr uint32_t kEventType = 13;
constexpr uint32_t kReplyType = 14;

template <class M>
std::string encoded(const M& m) {
  uint8_t bytes[1024];
  wire::PbWriter out(bytes);
  wire::encode(out, m);
  return std::string(base::as_text(out.written()));
}

class Events : public LiveServer {
 protected:
  std::unique_ptr<LiveClient> join(const std::string& user, std::vector<std::string> can = {}) {
    auto client = std::make_unique<LiveClient>(server->port(), user, std::move(can));
    EXPECT_TRUE(client->enter());
    return client;
  }
  // The code of the REPLY.
  static uint32_t subscribe(LiveClient& client, const std::string& topic) {
    client.send(10, encoded(wire::Subscribe{topic, 0}));
    return reply(client);
  }
  static uint32_t publish(LiveClient& client, const std::string& topic, std::string_view text) {
    client.send(12, encoded(wire::Publish{topic, base::as_bytes(text), 5}));
    return reply(client);
  }
  static uint32_t reply(LiveClient& client) {
    const Received got = client.next(kReplyType);
    wire::Reply answer;
    EXPECT_EQ(got.type, kReplyType);
    EXPECT_TRUE(wire::decode(base::as_bytes(got.payload), &answer));
    return answer.code;
  }
  // "offset source text" of the next EVENT.
  static std::string event(LiveClient& client) {
    const Received got = client.next(kEventType);
    wire::Event e;
    if (got.type != kEventType || !wire::decode(base::as_bytes(got.payload), &e)) return "none";
    return std::to_string(e.offset) + ' ' + std::string(e.source_user) + ' ' +
           std::string(base::as_text(e.data));
  }
  bool comes(const std::function<bool()>& done) {
    const base::Instant end = now() + base::seconds(20);
    while (!done() && now() < end) ::poll(nullptr, 0, 5);
    return done();
  }
};

TEST_F(Events, TheGamePublishesAndSendsFromItsOwnThreads) {
  make({{"world.max_speed", "300"}, {"world.cell_size", "16"}, {"world.view_distance", "32"}});
  EXPECT_EQ(server->publish("room.x", bytes_of("x")), SendResult::kClosed);
  EXPECT_EQ(server->broadcast(1000, {}), SendResult::kClosed);
  start();
  EXPECT_EQ(server->publish("room.*", bytes_of("x")), SendResult::kRange);
  EXPECT_EQ(server->publish("room.\xff", bytes_of("x")), SendResult::kRange);
  EXPECT_EQ(server->publish("room.x", bytes_of(std::string(kPeerBytesMax + 1, 'x'))),
            SendResult::kTooLarge);
  EXPECT_EQ(server->broadcast(300, {}), SendResult::kBadType);
  EXPECT_EQ(server->send_to_user("", 1000, {}), SendResult::kRange);
  EXPECT_EQ(server->send(Target::zone("elsewhere"), 1000, {}), SendResult::kRange);
  EXPECT_EQ(server->send_to_radius({0, 0, 0}, -1, 1000, {}), SendResult::kRange);
  std::vector<std::unique_ptr<LiveClient>> clients;
  for (int i = 0; i < 6; ++i) {
    clients.push_back(join("p" + std::to_string(i)));
    // Two at each of 0, 40 and 80 m.
    ASSERT_TRUE(clients.back()->move_to(static_cast<float>(i % 3) * 40, 0, 0));
    ASSERT_EQ(subscribe(*clients.back(), "room.news"), 0u);
  }
  std::thread other([&] {
    for (int i = 0; i < 50; ++i) {
      EXPECT_EQ(server->publish("room.news", bytes_of("n" + std::to_string(i)), 9),
                SendResult::kOk);
    }
  });
  other.join();
  for (auto& client : clients) {
    for (int i = 0; i < 50; ++i) {
      ASSERT_EQ(event(*client), std::to_string(i + 1) + "  n" + std::to_string(i));
    }
  }
  EXPECT_EQ(server->send_to_user("p3", 1000, bytes_of("you")), SendResult::kOk);
  EXPECT_EQ(clients[3]->next(1000).payload, "you");
  EXPECT_EQ(server->send(Target::player("p4"), 1000, bytes_of("too")), SendResult::kOk);
  EXPECT_EQ(clients[4]->next(1000).payload, "too");
  EXPECT_EQ(server->send_to_radius({40, 7, 1}, 10, 1001, bytes_of("near")), SendResult::kOk);
  EXPECT_EQ(server->send(Target::cell({85, 0, 3}), 1002, bytes_of("cell")), SendResult::kOk);
  EXPECT_EQ(server->send(Target::zone("main"), 1003, bytes_of("zone")), SendResult::kOk);
  EXPECT_EQ(server->broadcast(1004, bytes_of("all")), SendResult::kOk);
  for (size_t i = 0; i < clients.size(); ++i) {
    LiveClient& client = *clients[i];
    if (i % 3 == 1) {
      EXPECT_EQ(client.next(1001).payload, "near") << i;
    }
    if (i % 3 == 2) {
      EXPECT_EQ(client.next(1002).payload, "cell") << i;
    }
    EXPECT_EQ(client.next(1003).payload, "zone") << i;
    EXPECT_EQ(client.next(1004).payload, "all") << i;
    // Order of one sender holds, so what was not meant for it would be here by now.
    EXPECT_TRUE(client.received.empty()) << i << ' ' << client.received.front().type;
  }
}

TEST_F(Events, AHandlerPublishesAndSends) {
  add(1000, "relay", [](Context& c, const Message& m) {
    EXPECT_EQ(c.publish("", m.payload), SendResult::kRange);
    EXPECT_EQ(c.send(Target::everyone(), 20, m.payload), SendResult::kBadType);
    EXPECT_EQ(c.publish("system.log", m.payload, 3), SendResult::kOk);
    EXPECT_EQ(c.send(Target::user("bob"), 1001, m.payload), SendResult::kOk);
    EXPECT_EQ(c.send(Target::everyone(), 1002, m.payload), SendResult::kOk);
    return Outcome::kOk;
  });
  start();
  const auto ann = join("ann");
  const auto bob = join("bob", {"subscribe:system.*"});
  ASSERT_EQ(subscribe(*bob, "system.log"), 0u);
  ann->send(1000, "hey");
  EXPECT_EQ(event(*bob), "1  hey");
  EXPECT_EQ(bob->next(1001).payload, "hey");
  EXPECT_EQ(bob->next(1002).payload, "hey");
  EXPECT_EQ(ann->next(1002).payload, "hey");
  EXPECT_TRUE(ann->received.empty());
}

TEST_F(Events, EventHandlersByPriorityFailingOnesStopNobody) {
  std::mutex mutex;
  std::vector<std::string> calls;
  const auto note = [&](const char* who, const ServerEvent& e) {
    const std::lock_guard lock(mutex);
    calls.push_back(std::string(who) + ':' + std::string(e.name) + ':' + std::to_string(e.offset) +
                    ':' + std::string(e.data.text()));
    return true;
  };
  const auto on = [&](const char* name, uint8_t priority, std::string pattern,
                      std::function<bool(const ServerEvent&)> handle,
                      std::function<bool(const ServerEvent&)> can = nullptr) {
    EventHandler handler;
    handler.name = name;
    handler.priority = priority;
    handler.kinds = static_cast<uint8_t>(EventKind::kTopicMessage);
    handler.pattern = std::move(pattern);
    handler.can_handle = std::move(can);
    handler.handle = std::move(handle);
    return server->on_event(std::move(handler));
  };
  ASSERT_TRUE(on("low", 1, "*", [&](const ServerEvent& e) { return note("low", e); }));
  ASSERT_TRUE(
      on("throws", 9, "*", [](const ServerEvent&) -> bool { throw std::runtime_error("x"); }));
  ASSERT_TRUE(on("fails", 8, "*", [](const ServerEvent&) { return false; }));
  ASSERT_TRUE(on("high", 10, "room.a*", [&](const ServerEvent& e) { return note("high", e); }));
  ASSERT_TRUE(on(
      "picky", 5, "room.*", [&](const ServerEvent& e) { return note("picky", e); },
      [](const ServerEvent& e) { return e.data.text() == "2"; }));
  EXPECT_EQ(on("low", 1, "*", [](const ServerEvent&) { return true; }).code(), Code::kNameTaken);
  EXPECT_EQ(on("", 1, "*", [](const ServerEvent&) { return true; }).code(), Code::kNameInvalid);
  EXPECT_EQ(on("x", 11, "*", [](const ServerEvent&) { return true; }).code(), Code::kOutOfRange);
  EXPECT_EQ(on("x", 1, "", [](const ServerEvent&) { return true; }).code(), Code::kOutOfRange);
  EXPECT_EQ(on("x", 1, "*", nullptr).code(), Code::kMissing);
  start();
  const auto ann = join("ann");
  EXPECT_EQ(publish(*ann, "room.ab", "1"), 0u);
  EXPECT_EQ(publish(*ann, "room.b", "2"), 0u);
  EXPECT_EQ(publish(*ann, "room.ab", "3"), 0u);
  {
    const std::lock_guard lock(mutex);
    EXPECT_EQ(calls,
              (std::vector<std::string>{"high:room.ab:1:1", "low:room.ab:1:1", "picky:room.b:1:2",
                                        "low:room.b:1:2", "high:room.ab:2:3", "low:room.ab:2:3"}));
  }
  EXPECT_EQ(count("tidegate_event_handler_failures_total"), 6u);
  EXPECT_EQ(errors_logged, 1);  // the thrower, once
  // At run time, from the host's thread: gone means not called any more.
  EXPECT_EQ(server->remove_event_handler("nobody").code(), Code::kMissing);
  ASSERT_TRUE(server->remove_event_handler("low"));
  ASSERT_TRUE(on("late", 3, "room.ab", [&](const ServerEvent& e) { return note("late", e); }));
  // And out of a handler, itself.
  ASSERT_TRUE(on("once", 2, "*", [&](const ServerEvent& e) {
    EXPECT_TRUE(server->remove_event_handler("once"));
    return note("once", e);
  }));
  {
    const std::lock_guard lock(mutex);
    calls.clear();
  }
  EXPECT_EQ(publish(*ann, "room.ab", "4"), 0u);
  EXPECT_EQ(publish(*ann, "room.ab", "5"), 0u);
  const std::lock_guard lock(mutex);
  EXPECT_EQ(calls,
            (std::vector<std::string>{"high:room.ab:3:4", "late:room.ab:3:4", "once:room.ab:3:4",
                                      "high:room.ab:4:5", "late:room.ab:4:5"}));
}

TEST_F(Events, HandlersComeAndGoWhileShardsCallThem) {
  start();
  std::atomic<uint64_t> calls{0};
  std::atomic<bool> alive{false};
  std::atomic<uint32_t> after_removal{0};
  const auto ann = join("ann");
  const auto bob = join("bob");
  std::atomic<bool> stop{false};
  std::thread registrar([&] {
    for (int i = 0; i < 200; ++i) {
      alive = true;
      EventHandler handler;
      handler.name = "churn";
      handler.handle = [&](const ServerEvent&) {
        if (!alive) ++after_removal;
        ++calls;
        return true;
      };
      EXPECT_TRUE(server->on_event(std::move(handler)));
      ::poll(nullptr, 0, 1);
      EXPECT_TRUE(server->remove_event_handler("churn"));
      alive = false;
    }
    stop = true;
  });
  while (!stop) {
    publish(*ann, "room.churn-1", "x");
    publish(*bob, "room.churn-2", "y");
  }
  registrar.join();
  EXPECT_EQ(after_removal, 0u);
  EXPECT_GT(calls, 0u);
}

TEST_F(Events, UsersComeChangeAndGo) {
  std::mutex mutex;
  std::map<std::string, std::vector<std::string>> seen;
  EventHandler handler;
  handler.name = "users";
  handler.kinds = kAllEventKinds & ~static_cast<uint8_t>(EventKind::kTopicMessage);
  handler.handle = [&](const ServerEvent& e) {
    const std::lock_guard lock(mutex);
    seen[std::string(e.name)].push_back(std::to_string(static_cast<int>(e.kind)) + ' ' +
                                        std::to_string(static_cast<int>(e.status)) + ' ' +
                                        std::string(e.data.text()));
    return true;
  };
  ASSERT_TRUE(server->on_event(handler));
  start();
  {
    const auto ann = join("ann");
    ann->send(103, encoded(wire::PlayerStatusChange{{}, 0, 4, {}}));
    EXPECT_EQ(ann->next(103).type, 103u);
    ann->send(300, encoded(wire::PresenceUpdate{{}, 3, "afk", 0, {}, {}}));
    EXPECT_EQ(ann->next(103).type, 103u);
  }
  const auto of = [&](const char* who) {
    const std::lock_guard lock(mutex);
    return seen[who];
  };
  EXPECT_TRUE(comes([&] { return of("ann").size() >= 4; }));
  EXPECT_EQ(of("ann"), (std::vector<std::string>{"2 1 ", "8 4 ", "8 3 afk", "4 5 afk"}));
}

TEST_F(Events, ThePolicyMayPermitWhatRulesDoNot) {
  ASSERT_TRUE(server->topic_policy([](const TopicRequest& r) {
    if (r.topic == "guild.bad") throw std::runtime_error("no");
    return r.topic == "guild." + std::string(r.user_id) && !r.publish;
  }));
  EXPECT_EQ(server->topic_policy([](const TopicRequest&) { return true; }).code(),
            Code::kNameTaken);
  start();
  const auto ann = join("ann");
  EXPECT_EQ(subscribe(*ann, "guild.ann"), 0u);
  EXPECT_EQ(subscribe(*ann, "guild.bob"), 4005u);
  EXPECT_EQ(subscribe(*ann, "guild.bad"), 4005u);
  EXPECT_EQ(publish(*ann, "guild.ann", "x"), 4005u);
  EXPECT_EQ(server->publish("guild.ann", bytes_of("hello")), SendResult::kOk);
  EXPECT_EQ(event(*ann), "1  hello");
}

TEST_F(Events, TheCApiDoesTheSame) {
  auto* c = reinterpret_cast<tidegate_server*>(server.get());
  tidegate_error error{};
  error.struct_size = sizeof error;
  std::atomic<int> called{0};
  tidegate_event_handler handler{};
  handler.struct_size = sizeof handler;
  handler.name = "c";
  handler.pattern = "room.*";
  handler.priority = 5;
  handler.kinds = TIDEGATE_TOPIC_MESSAGE;
  handler.user = &called;
  handler.can_handle = [](void*, const tidegate_event* e) -> int32_t { return e->offset != 2; };
  handler.handle = [](void* user, const tidegate_event* e) -> int32_t {
    EXPECT_EQ(e->struct_size, sizeof *e);
    EXPECT_EQ(std::string(e->name.data, e->name.size), "room.c");
    ++*static_cast<std::atomic<int>*>(user);
    return 1;  // a failure
  };
  ASSERT_EQ(tidegate_server_on_event(c, &handler, &error), TIDEGATE_OK) << error.text;
  EXPECT_EQ(tidegate_server_on_event(c, &handler, &error), TIDEGATE_NAME_TAKEN);
  handler.kinds = 99;
  handler.name = "d";
  EXPECT_EQ(tidegate_server_on_event(c, &handler, &error), TIDEGATE_OUT_OF_RANGE);
  const auto policy = [](void*, tidegate_text topic, tidegate_text, tidegate_text,
                         int32_t publish) -> int32_t { return topic.size == 5 && publish == 0; };
  ASSERT_EQ(tidegate_server_topic_policy(c, nullptr, policy, &error), TIDEGATE_OK);
  EXPECT_EQ(tidegate_server_topic_policy(c, nullptr, nullptr, &error), TIDEGATE_NAME_TAKEN);
  const auto text = [](std::string_view t) { return tidegate_text{t.data(), t.size()}; };
  const auto bytes = [](std::string_view t) { return tidegate_bytes{t.data(), t.size()}; };
  EXPECT_EQ(tidegate_server_publish(c, text("room.c"), bytes("x"), 1), TIDEGATE_SEND_CLOSED);
  start();
  const auto ann = join("ann");
  EXPECT_EQ(subscribe(*ann, "five."), 0u);
  EXPECT_EQ(subscribe(*ann, "sixes."), 4005u);
  ASSERT_EQ(subscribe(*ann, "room.c"), 0u);
  for (int i = 0; i < 3; ++i) {
    EXPECT_EQ(tidegate_server_publish(c, text("room.c"), bytes("x"), 1), TIDEGATE_SENT);
  }
  for (int i = 1; i <= 3; ++i) EXPECT_EQ(event(*ann), std::to_string(i) + "  x");
  EXPECT_EQ(called, 2);
  EXPECT_EQ(count("tidegate_event_handler_failures_total"), 2u);
  tidegate_target target{};
  target.struct_size = sizeof target;
  target.kind = TIDEGATE_TO_USER;
  target.id = text("ann");
  EXPECT_EQ(tidegate_server_send(c, &target, 1000, bytes("hi")), TIDEGATE_SENT);
  EXPECT_EQ(ann->next(1000).payload, "hi");
  target.kind = 9;
  EXPECT_EQ(tidegate_server_send(c, &target, 1000, bytes("hi")), TIDEGATE_SEND_RANGE);
  EXPECT_EQ(tidegate_server_remove_event_handler(c, "c", &error), TIDEGATE_OK);
  EXPECT_EQ(tidegate_server_remove_event_handler(c, "c", &error), TIDEGATE_MISSING);
}

}  // namespace
}  // namespace tidegate::embed_test
