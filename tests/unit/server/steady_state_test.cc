// SPDX-License-Identifier: Apache-2.0
// Two whole shards over io_uring with walking clients, all on one thread, and a count of every
// allocation that happens inside a shard's turn: in the steady state there are none.
#include <arpa/inet.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <new>
#include <vector>

#include "client/client.h"
#include "io/uring_io.h"
#include "mailbox/mailboxes.h"
#include "mailbox/snapshot_record.h"
#include "shard/shard.h"
#include "wire/envelope.h"
#include "wire/event_messages.h"

namespace {
bool counting = false;
uint64_t allocations = 0;

void* count_and_allocate(std::size_t bytes, std::size_t alignment) {
  if (counting) ++allocations;
  void* p = alignment <= alignof(std::max_align_t)
                ? std::malloc(bytes)
                : std::aligned_alloc(alignment, (bytes + alignment - 1) / alignment * alignment);
  if (p == nullptr) std::abort();
  return p;
}
}  // namespace

[[gnu::noinline]] void* operator new(std::size_t n) { return count_and_allocate(n, 1); }
[[gnu::noinline]] void* operator new[](std::size_t n) { return count_and_allocate(n, 1); }
[[gnu::noinline]] void* operator new(std::size_t n, std::align_val_t a) {
  return count_and_allocate(n, static_cast<std::size_t>(a));
}
[[gnu::noinline]] void* operator new[](std::size_t n, std::align_val_t a) {
  return count_and_allocate(n, static_cast<std::size_t>(a));
}
[[gnu::noinline]] void* operator new(std::size_t n, const std::nothrow_t&) noexcept {
  return count_and_allocate(n, 1);
}
[[gnu::noinline]] void* operator new[](std::size_t n, const std::nothrow_t&) noexcept {
  return count_and_allocate(n, 1);
}
[[gnu::noinline]] void operator delete(void* p, const std::nothrow_t&) noexcept { std::free(p); }
[[gnu::noinline]] void operator delete[](void* p, const std::nothrow_t&) noexcept { std::free(p); }
[[gnu::noinline]] void operator delete(void* p) noexcept { std::free(p); }
[[gnu::noinline]] void operator delete[](void* p) noexcept { std::free(p); }
[[gnu::noinline]] void operator delete(void* p, std::size_t) noexcept { std::free(p); }
[[gnu::noinline]] void operator delete[](void* p, std::size_t) noexcept { std::free(p); }
[[gnu::noinline]] void operator delete(void* p, std::align_val_t) noexcept { std::free(p); }
[[gnu::noinline]] void operator delete[](void* p, std::align_val_t) noexcept { std::free(p); }
[[gnu::noinline]] void operator delete(void* p, std::size_t, std::align_val_t) noexcept {
  std::free(p);
}
[[gnu::noinline]] void operator delete[](void* p, std::size_t, std::align_val_t) noexcept {
  std::free(p);
}

namespace tidegate {
namespace {

constexpr uint32_t kShards = 2;
constexpr uint32_t kClients = 40;

class Walker final : public client::ClientEvents {
 public:
  Walker(uint32_t number, uint16_t port) : number_(number) {
    client::ClientConfig config;
    config.token = "walker" + std::to_string(number);
    config.encoding = number % 2 ? wire::StateEncoding::kPacked : wire::StateEncoding::kProtobuf;
    config.report_interval = base::milliseconds(100);
    client_ = std::make_unique<client::Client>(config, *this, number);
    fd_ = socket(AF_INET, SOCK_STREAM, 0);
    sockaddr_in to{};
    to.sin_family = AF_INET;
    to.sin_port = htons(port);
    to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    EXPECT_EQ(connect(fd_, reinterpret_cast<sockaddr*>(&to), sizeof to), 0);
    client_->start();
  }
  ~Walker() override { close(fd_); }

  void turn(base::Instant now) {
    uint8_t buffer[16384];
    for (;;) {
      const ssize_t n = recv(fd_, buffer, sizeof buffer, MSG_DONTWAIT);
      if (n <= 0) break;
      client_->on_bytes(now, {buffer, static_cast<size_t>(n)});
    }
    client_->audit(now);
    const base::Bytes out = client_->outgoing();
    if (out.empty()) return;
    const ssize_t n = send(fd_, out.data(), out.size(), MSG_DONTWAIT | MSG_NOSIGNAL);
    if (n > 0) client_->sent(static_cast<size_t>(n));
  }
  // Back and forth over cell and shard borders.
  void move() {
    wire::PlayerMovement m;
    m.client_tick = ++tick_;
    const int phase = static_cast<int>(tick_ % 800);
    const float way = static_cast<float>(phase < 400 ? phase : 800 - phase) * 0.15F;
    if (at_known_) {
      m.has_position = true;
      m.position = {at_.x + (number_ % 2 ? way : 0), at_.y, at_.z + (number_ % 2 ? 0 : way)};
    }
    client_->send_move(m);
  }
  void on_move_ack(base::Instant, const wire::MoveAck& ack) override {
    if (!at_known_) at_ = ack.position;
    at_known_ = true;
    ++acks_;
  }

  void flip(base::Instant now) { client_->flip_bit(now); }
  // For the handler below.
  void chat() {
    if (at_known_) client_->send_payload(1000, base::as_bytes("walker1"), ++chats_);
  }
  // Topics and presence; now and then it unsubscribes and asks for the history again.
  void talk() {
    if (!at_known_) return;
    const uint32_t turn = talks_++;
    const std::string topic = "room." + std::to_string(number_ % 4);
    uint8_t bytes[256];
    wire::PbWriter out(bytes);
    if (turn % 20 == 0) {
      wire::encode(out, wire::Subscribe{topic, turn == 0 ? 0u : 1u});
      client_->send_payload(10, out.written());
      for (int i = 1; i < 8; ++i) {
        if (i == 1) out = wire::PbWriter(bytes);
        out.text(1, "walker" + std::to_string((number_ + static_cast<uint32_t>(i)) % kClients));
      }
      client_->send_payload(302, out.written());
    } else if (turn % 20 == 19) {
      wire::encode(out, wire::Unsubscribe{topic});
      client_->send_payload(11, out.written());
    } else {
      wire::encode(out, wire::Publish{topic, base::as_bytes("what is said on this topic"), turn});
      client_->send_payload(12, out.written());
      out = wire::PbWriter(bytes);
      wire::encode(out, wire::PlayerStatusChange{{}, 0, 1 + turn % 4, {}});
      client_->send_payload(103, out.written());
    }
  }
  void on_custom(base::Instant, uint32_t type, base::Bytes) override {
    customs_ += type >= 1000;
    events_ += type == 13;
    presence_ += type == 300 || type == 301;
  }
  void on_envelope(base::Instant, const wire::Envelope& m) override {
    if (!m.requires_ack) return;
    EXPECT_EQ(m.sequence, acked_ + 1);
    wire::EnvelopeHead head{wire::MessageType::kAck};
    head.ack = acked_ = m.sequence;
    uint8_t buffer[64];
    wire::MessageWriter writer(buffer, head);
    client_->send_binary({buffer, writer.finish()});
  }
  uint64_t acked() const { return acked_; }
  uint64_t customs() const { return customs_; }
  uint64_t events() const { return events_; }
  uint64_t presence() const { return presence_; }

  const client::Client& client() const { return *client_; }
  uint64_t acks() const { return acks_; }

 private:
  uint32_t number_;
  std::unique_ptr<client::Client> client_;
  int fd_ = -1;
  wire::Vector3 at_;
  bool at_known_ = false;
  uint32_t tick_ = 0;
  uint64_t acks_ = 0;
  uint64_t customs_ = 0;
  uint64_t events_ = 0;
  uint64_t presence_ = 0;
  uint32_t talks_ = 0;
  uint64_t chats_ = 0;
  uint64_t acked_ = 0;
};

// Says everything a handler can say: back, to one player, to those around.
Outcome chatter(void*, Context& context, const Message& message) noexcept {
  context.reply(1000, message.payload);
  context.send_acknowledged(context.player_id(), 1003, message.payload);
  context.answer(0, "heard");
  context.send_to_player(message.payload.text(), 1001, message.payload);
  context.send_to_nearby(20, 1002, message.payload);
  return Outcome::kOk;
}

// Everything hooks and a state provider can do, for players and NPCs that come, walk and go.
struct Game {
  static Game& of(void* user) { return *static_cast<Game*>(user); }
  static shard::Guarded<bool> tick(void* user, World& world) noexcept {
    Game& game = of(user);
    char name[32];
    const uint32_t tick = world.tick();
    std::snprintf(name, sizeof name, "npc-%u-%u", world.shard(), tick);
    SpawnRequest request;
    request.id = name;
    request.tag = tick;
    for (int i = 0; i < 64 && !world.owns(request.position); ++i) {
      request.position.x = static_cast<float>(i % 8) * 32 - 128;
      request.position.z = static_cast<float>(i / 8) * 32 - 128;
    }
    game.spawned += world.spawn(request) == WorldResult::kOk;
    EntityView entity;
    for (uint32_t at = 0; world.next(&at, &entity);) {
      if (entity.kind != Kind::kNpc) continue;
      if (tick - static_cast<uint32_t>(entity.tag) > 60) {
        game.despawned += world.despawn(entity.ref) == WorldResult::kOk;
        continue;
      }
      Move to;
      to.position = {entity.position.x + 0.5F, 0, entity.position.z};
      to.has_position = true;
      world.move(entity.ref, to);
      world.mark_state(entity.ref);
    }
    return {true, false};
  }
  static shard::Guarded<uint16_t> input(void* user, const EntityView&, MoveInput& m) noexcept {
    m.flags ^= 1;
    return {static_cast<uint16_t>(++of(user).inputs % 50 == 0 ? 4500 : 0), false};
  }
  static shard::Guarded<bool> changed(void* user, const EntityView&, uint8_t) noexcept {
    ++of(user).changes;
    return {true, false};
  }
  static shard::Guarded<ViolationResponse> violation(void*, const Violation&) noexcept {
    return {ViolationResponse::kForgive, false};
  }
  static shard::Guarded<size_t> state(void* user, const EntityView& entity, StateRequest,
                                      uint8_t* out, size_t room) noexcept {
    ++of(user).states;
    if (room < sizeof entity.position) return {0, false};
    std::memcpy(out, &entity.position, sizeof entity.position);
    return {sizeof entity.position, false};
  }

  uint64_t spawned = 0, despawned = 0, inputs = 0, changes = 0, states = 0;
};

struct NoWakes final : mailbox::WakeSink {
  void wake_agent(mailbox::AgentId) override {}
};

TEST(SteadyState, ATurnAllocatesNothing) {
  mailbox::Fabric fabric(
      {.shards = kShards, .shard_ring_bytes = 1 << 18, .control_ring_bytes = 1 << 16});
  io::EventWaker control_waker;
  std::vector<std::unique_ptr<io::UringIo>> ios;
  std::vector<io::Waker*> wakers;
  io::ListenSpec listen;
  listen.address.sin6_family = AF_INET6;
  listen.address.sin6_addr.s6_addr[10] = listen.address.sin6_addr.s6_addr[11] = 0xff;
  listen.address.sin6_addr.s6_addr[12] = 127;
  listen.address.sin6_addr.s6_addr[15] = 1;
  uint16_t port = 0;
  for (uint32_t i = 0; i < kShards; ++i) {
    io::SetupError error;
    auto made = io::UringIo::make({.sockets = 256 + net::kRefusalRows,
                                   .buffers = 128,
                                   .buffer_bytes = 2048,
                                   .queue_entries = 256},
                                  &error);
    if (!made.ok()) GTEST_SKIP() << error.text;
    ios.push_back(std::move(made).value());
    ASSERT_EQ(ios.back()->listen(listen, &port), io::IoStatus::kOk);
    listen.address.sin6_port = htons(port);
    wakers.push_back(&ios.back()->waker());
  }
  wakers.push_back(&control_waker);
  constexpr std::string_view kSubprotocols[] = {"tidegate.v1.proto"};
  shard::ShardConfig config;
  config.count = kShards;
  config.server_version = "test";
  config.snapshots = true;
  config.world.history_ticks = 60;
  config.first_tick = ios[0]->now();
  config.world.spawn_radius = 150;
  config.world.cell_size = 32;  // so that 60 m of walking cross blocks of 2 x 2 cells
  config.world.view_distance = 64;
  config.world.shard_count = kShards;
  config.world.entities = 512;
  config.world.cells = 1024;
  config.endpoint.connections = 256;
  config.endpoint.receive_buffers = 128;
  config.endpoint.backlog_pool_bytes = 1 << 20;
  config.endpoint.rules.subprotocols = kSubprotocols;
  shard::HandlerTable handlers;
  shard::HandlerEntry entry;
  entry.type = 1000;
  entry.name = "chatter";
  entry.invoke = chatter;
  ASSERT_TRUE(handlers.add(entry));
  config.handlers = &handlers;
  Game game;
  shard::HookTable hooks;
  hooks.user = &game;
  hooks.tick = Game::tick;
  hooks.before_input = Game::input;
  hooks.after_state_change = Game::changed;
  hooks.violation = Game::violation;
  ASSERT_TRUE(hooks.add({"place", 5, true, Game::state, &game}));
  config.hooks = &hooks;
  config.world.custom_state = true;
  std::vector<std::unique_ptr<metrics::Counters>> counters;
  std::vector<std::unique_ptr<shard::Shard>> shards;
  for (uint32_t i = 0; i < kShards; ++i) {
    config.index = i;
    counters.push_back(std::make_unique<metrics::Counters>());
    shards.push_back(std::make_unique<shard::Shard>(config, *ios[i], fabric, wakers, *counters[i]));
  }
  mailbox::Mailbox control(fabric, fabric.control());
  NoWakes no_wakes;
  uint64_t snapshot_players = 0;
  uint32_t snapshots_ended = 0;
  std::vector<std::unique_ptr<Walker>> walkers;
  for (uint32_t i = 0; i < kClients; ++i) walkers.push_back(std::make_unique<Walker>(i, port));

  const auto round = [&](bool count) {
    for (auto& shard : shards) {
      counting = count;
      shard->turn(shard::Shard::Wait::kNo);
      counting = false;
    }
    control.drain(100, [&](mailbox::AgentId from, mailbox::MessageType type, base::Bytes bytes) {
      if (type == mailbox::MessageType::kSnapshotEnd) {
        const auto end = mailbox::read_message<mailbox::SnapshotEnd>(bytes);
        EXPECT_EQ(end.missed, 0u);
        ++snapshots_ended;
      }
      if (type == mailbox::MessageType::kSnapshotPiece) {
        base::Bytes records;
        mailbox::read_message<mailbox::SnapshotPiece>(bytes, &records);
        mailbox::SnapshotRecord record;
        std::string_view name;
        base::Bytes extra;
        while (mailbox::read_record(&records, &record, &name, &extra)) {
          snapshot_players += record.kind == 0;
          // NPCs come with the word of the game that made them.
          if (record.kind != 0) {
            EXPECT_EQ(extra.size(), sizeof(uint64_t));
          }
        }
        EXPECT_TRUE(records.empty());
      }
      if (type != mailbox::MessageType::kAuthRequest) return;
      base::Bytes token;
      const auto request = mailbox::read_message<mailbox::AuthRequest>(bytes, &token);
      mailbox::AuthResult result{};
      result.connection = request.connection;
      result.user_bytes = result.player_bytes = static_cast<uint16_t>(token.size());
      const std::string tail =
          std::string(base::as_text(token)) + std::string(base::as_text(token));
      ASSERT_TRUE(control.post(from, result, base::as_bytes(tail)));
    });
    control.publish_all(no_wakes);
    for (auto& walker : walkers) walker->turn(ios[0]->now());
  };
  const auto everybody_in = [&] {
    for (auto& walker : walkers) {
      if (walker->client().state() != client::ClientState::kInWorld) return false;
    }
    return true;
  };
  for (int i = 0; i < 200000 && !everybody_in(); ++i) round(false);
  ASSERT_TRUE(everybody_in());

  // The first seconds may still grow what clients cause to grow; then it is the steady state.
  uint32_t last_tick = 0;
  uint32_t steps = 0;
  const uint32_t warm_steps = 120;
  while (steps < 600) {
    round(steps >= warm_steps);
    if (shards[0]->current_tick() != last_tick) {
      last_tick = shards[0]->current_tick();
      ++steps;
      for (auto& walker : walkers) {
        walker->move();
        if (steps % 8 == 0) walker->chat();
        if (steps % 8 == 4) walker->talk();
      }
      // The desync alarm is part of the steady state.
      if (steps % 10 == 0) walkers[steps % kClients + 1]->flip(ios[0]->now());
      if (steps % 50 == 0) {
        const mailbox::SnapshotAt at{last_tick + 10};
        for (uint32_t i = 0; i < kShards; ++i) ASSERT_TRUE(control.post(i, at));
      }
    }
  }
  EXPECT_EQ(allocations, 0u);
  EXPECT_GE(snapshots_ended, 2 * 11 * 1u);
  EXPECT_EQ(snapshot_players, snapshots_ended / kShards * uint64_t{kClients})
      << "each player is in one shard's part of each snapshot";
  uint64_t handovers = 0;
  uint64_t desyncs = 0;
  uint64_t healed = 0;
  for (auto& c : counters) {
    handovers += c->get(metrics::Counter::kHandovers);
    desyncs += c->get(metrics::Counter::kDesyncs);
    healed += c->get(metrics::Counter::kCellsHealed);
  }
  // A frame of a layer heals what it refers to past; some flips are left for the alarm.
  EXPECT_GT(desyncs, 3u);
  EXPECT_GT(healed, 3u);
  EXPECT_GT(handovers, kClients / 2u) << "the walk crosses no border; it proves too little";
  EXPECT_GT(game.spawned, 400u);
  EXPECT_GT(game.despawned, 400u);
  EXPECT_GT(game.inputs, 10'000u);
  EXPECT_GT(game.changes, 10'000u);
  EXPECT_GT(game.states, 10'000u);
  for (auto& walker : walkers) {
    EXPECT_GT(walker->acks(), 300u);
    EXPECT_GT(walker->customs(), 40u);
    EXPECT_GT(walker->events(), 100u);
    EXPECT_GT(walker->presence(), 1u);
    EXPECT_GT(walker->acked(), 40u);
    const client::PictureCounters& c = walker->client().picture().counters();
    EXPECT_EQ(c.checksum_mismatches + c.chain_gaps + c.malformed + c.violations, 0u);
  }
}

}  // namespace
}  // namespace tidegate
