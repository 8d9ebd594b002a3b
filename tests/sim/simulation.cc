// SPDX-License-Identifier: Apache-2.0
#include "simulation.h"

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <cstring>
#include <unordered_map>

#include "crowd.h"
#include "letters.h"
#include "mailbox/balance_messages.h"
#include "mailbox/snapshot_record.h"
#include "plain_tokens.h"
#include "poll_lanes.h"
#include "session_book.h"

namespace tidegate::sim {
namespace {

using base::Instant;
using base::milliseconds;

constexpr uint16_t kPort = 7400;
constexpr uint32_t kOutboxLimit = 4 << 20;

// Answers every token with its own text as the user: who is who is not what is simulated here. It
// also asks for snapshots and looks at them: no entity is in one twice.
class Control {
 public:
  Control(mailbox::Fabric& fabric, const Plan& plan)
      : book(plan.shards, plan.seed, plan.faults), mailbox_(fabric, fabric.control()) {}

  SessionBook book;

  // One at a time; false while the last is not complete.
  bool ask_for_snapshot(uint32_t tick) {
    if (shards_left_ != 0) return false;
    names_.clear();
    ids_.clear();
    shards_left_ = mailbox_.shards();
    missed_ = false;
    tick_ = tick;
    for (mailbox::AgentId i = 0; i < mailbox_.shards(); ++i) {
      TG_ASSERT(mailbox_.post(i, mailbox::SnapshotAt{tick}));
    }
    return true;
  }
  void move_cell(mailbox::AgentId owner, world::CellKey cell, uint32_t to) {
    const mailbox::CellOrder order{cell.x, cell.z, static_cast<uint16_t>(to)};
    // A full ring: then this one stays.
    (void)mailbox_.post(owner, mailbox::MoveCells{1},
                        {reinterpret_cast<const uint8_t*>(&order), sizeof order});
  }
  uint64_t snapshots() const { return snapshots_; }
  const std::string& problem() const { return problem_; }
  // Of the last complete snapshot: entities by player.
  const std::unordered_map<std::string, world::Steps3>& last() const { return names_; }
  bool collecting() const { return shards_left_ != 0; }

  void turn(mailbox::WakeSink& wakes) {
    mailbox_.drain(1000,
                   [this](mailbox::AgentId from, mailbox::MessageType type, base::Bytes bytes) {
                     if (type == mailbox::MessageType::kSnapshotPiece) on_piece(bytes);
                     if (type == mailbox::MessageType::kSnapshotEnd) on_end(bytes);
                     if (type == mailbox::MessageType::kSessionRecord) book.on_record(from, bytes);
                     if (type != mailbox::MessageType::kAuthRequest) return;
                     const LoginAnswer answer = answer_login(bytes, ++sessions_, ++nonces_);
                     (void)mailbox_.post(from, answer.result, base::as_bytes(answer.tail));
                   });
    book.turn(mailbox_);
    mailbox_.publish_all(wakes);
  }

 private:
  void on_piece(base::Bytes bytes) {
    base::Bytes rest;
    const auto piece = mailbox::read_message<mailbox::SnapshotPiece>(bytes, &rest);
    if (piece.tick != tick_) problem_ = "a piece of another snapshot";
    uint32_t records = 0;
    while (!rest.empty()) {
      mailbox::SnapshotRecord record;
      std::string_view name;
      base::Bytes extra;
      TG_ASSERT(mailbox::read_record(&rest, &record, &name, &extra));
      ++records;
      if (record.source != mailbox::kSnapshotEntity) continue;
      const world::Steps3 at{record.position[0], record.position[1], record.position[2]};
      if (!names_.emplace(name, at).second || !ids_.emplace(record.id, 0).second) {
        problem_ = "entity " + std::string(name) + " is twice in a snapshot";
      }
    }
    if (records != piece.records) problem_ = "a snapshot piece has other records than it says";
  }
  void on_end(base::Bytes bytes) {
    missed_ = missed_ || mailbox::read_message<mailbox::SnapshotEnd>(bytes).missed != 0;
    if (--shards_left_ == 0 && !missed_) ++snapshots_;
  }

  mailbox::Mailbox mailbox_;
  uint32_t shards_left_ = 0;
  uint32_t tick_ = 0;
  bool missed_ = false;
  uint64_t snapshots_ = 0;
  std::unordered_map<std::string, world::Steps3> names_;
  std::unordered_map<uint32_t, int> ids_;
  std::string problem_;
  uint64_t sessions_ = 0;
  uint32_t nonces_ = 0;
};

struct NoWakes final : mailbox::WakeSink {
  void wake_agent(mailbox::AgentId) override {}
};

class Player final : public client::ClientEvents {
 public:
  Player(uint32_t number, const Plan& plan, uint64_t seed)
      : plan_(plan),
        prng_(seed),
        name_("p" + std::to_string(number)),
        packed_(number % 3 != 0),
        polls_(plan.faults && number % 5 == 4) {}

  void connect(io::SimNetwork& network) {
    disconnect(network);
    client::ClientConfig config;
    config.token = name_;
    config.path = letters_.path();
    config.encoding = packed_ ? wire::StateEncoding::kPacked : wire::StateEncoding::kProtobuf;
    // Fast enough that every cell in view is looked at in the quiet seconds at the end.
    config.report_interval = milliseconds(50);
    if (client_ != nullptr) note_flips();
    client_ = std::make_unique<client::Client>(config, *this, prng_.next());
    client_->start();
    if (polls_) {
      lanes_.start();
    } else {
      socket_ = network.connect(kPort);
    }
    connected_ = true;
    placed_ = false;
    tick_ = 0;
    problem_.clear();
  }
  void disconnect(io::SimNetwork& network) {
    if (socket_ != nullptr) network.release(socket_);
    socket_ = nullptr;
    lanes_.release(network);
    connected_ = false;
  }
  void leave(Instant now) {
    if (polls_ && connected_) lanes_.leave(now);
  }

  // Reads and writes what the network takes; false when the connection is over.
  bool turn(io::SimNetwork& network, bool cut) {
    const Instant now = network.now();
    if (polls_) {
      lanes_.turn(network, kPort, *client_, bytes_a_turn_ == 0 ? UINT32_MAX : bytes_a_turn_, prng_,
                  cut);
      client_->audit(now);
      check();
      return !lanes_.over() && client_->state() != client::ClientState::kClosed;
    }
    uint8_t buffer[8192];
    // A slow reader takes a few bytes a turn, the others all there is.
    for (int i = 0; i < (bytes_a_turn_ == 0 ? 64 : 1); ++i) {
      const uint32_t room = bytes_a_turn_ == 0 ? sizeof buffer : bytes_a_turn_;
      const uint32_t n = socket_->receive({buffer, room});
      if (n == 0) break;
      client_->on_bytes(now, {buffer, n});
    }
    client_->audit(now);
    const base::Bytes out = client_->outgoing();
    if (!out.empty()) client_->sent(socket_->send(out));
    check();
    return !socket_->closed() && client_->state() != client::ClientState::kClosed;
  }

  void move() {
    if (!placed_ || client_->state() != client::ClientState::kInWorld) return;
    wire::PlayerMovement m;
    m.client_tick = ++tick_;
    const float step = plan_.speed / static_cast<float>(plan_.move_rate);
    const float dx = target_.x - at_.x;
    const float dz = target_.z - at_.z;
    const float distance = std::sqrt(dx * dx + dz * dz);
    if (distance < step * 2)
      choose_target();
    else {
      at_.x += dx / distance * step;
      at_.z += dz / distance * step;
    }
    m.position = at_;
    m.has_position = true;
    m.movement_flags = static_cast<uint32_t>(prng_.below(3) == 0 ? prng_.below(1000) : 0);
    client_->send_move(m);
  }

  void on_envelope(Instant, const wire::Envelope& message) override {
    letters_.on_envelope(*client_, message);
    if (problem_.empty()) problem_ = letters_.problem;
  }
  void write(const Player& to) {
    if (client_ != nullptr) letters_.write(*client_, to.name());
  }
  const Letters& letters() const { return letters_; }

  // The first move only asks where the player stands.
  void on_state(client::ClientState state) override {
    if (state != client::ClientState::kInWorld) return;
    wire::PlayerMovement ask;
    ask.client_tick = ++tick_;
    client_->send_move(ask);
  }
  void on_move_ack(Instant, const wire::MoveAck& ack) override {
    if (!placed_ || ack.corrected) at_ = ack.position;
    if (!placed_) choose_target();
    placed_ = true;
  }
  void on_error(const wire::ErrorNotification& error) override {
    // A move may arrive between the loss of an entity and the word of it; nothing else is ours.
    if (error.code != wire::kErrorReplaced && error.code != wire::kErrorNotPermitted) {
      problem_ = "got ERROR " + std::to_string(error.code) + " " + std::string(error.details);
    }
  }

  const std::string& name() const { return name_; }
  bool connected() const { return connected_; }
  uint64_t cuts() const { return lanes_.cuts(); }
  bool in_world() const {
    return client_ != nullptr && client_->state() == client::ClientState::kInWorld;
  }
  bool packed() const { return packed_; }
  // A bit of its picture is spoiled; the alarm must find it.
  void flip(Instant now) {
    if (packed_ && in_world()) client_->flip_bit(now);
  }
  uint64_t flips_healed() const {
    return flips_healed_ + client_->picture().counters().flips_healed;
  }
  void set_slow(uint32_t bytes_a_turn) { bytes_a_turn_ = bytes_a_turn; }
  const client::WorldPicture& picture() const { return client_->picture(); }
  const std::string& problem() const { return problem_; }

 private:
  void choose_target() {
    const auto far = [this] { return static_cast<float>(prng_.unit() * 2 - 1) * plan_.area / 2; };
    target_ = {far(), at_.y, far()};
  }
  // Of a picture that is about to go.
  void note_flips() { flips_healed_ += client_->picture().counters().flips_healed; }
  void check() {
    const client::PictureCounters& c = client_->picture().counters();
    if (!problem_.empty()) return;
    if (c.checksum_mismatches != 0) problem_ = "a checksum differs";
    if (c.chain_gaps != 0) problem_ = "a delta came without its reference";
    if (c.malformed != 0) problem_ = "a state message is malformed";
    if (c.violations != 0) problem_ = "an entity entered twice, or an unknown one changed or left";
  }

  const Plan& plan_;
  base::Prng prng_;
  Letters letters_;
  std::string name_;
  bool packed_;
  uint32_t bytes_a_turn_ = 0;  // 0: reads all there is
  std::unique_ptr<client::Client> client_;
  bool polls_;
  bool connected_ = false;
  io::SimClientSocket* socket_ = nullptr;
  PollLanes lanes_;
  wire::Vector3 at_, target_;
  bool placed_ = false;
  uint32_t tick_ = 0;
  uint64_t flips_healed_ = 0;
  std::string problem_;
};

class Simulation {
 public:
  explicit Simulation(const Plan& plan)
      : plan_(plan),
        prng_(plan.seed),
        moves_(plan.seed + 1000),
        network_(plan.seed, network_config(plan)),
        fabric_({.shards = plan.shards,
                 .shard_ring_bytes = 256 * 1024,
                 .control_ring_bytes = 256 * 1024}),
        control_(fabric_, plan),
        crowd_(plan_) {
    shard::ShardConfig config;
    config.count = plan.shards;
    config.seed = plan.seed;
    config.server_version = "sim";
    config.snapshots = true;
    config.world.history_ticks = 60;
    config.first_tick = Instant{0} + milliseconds(20);
    config.world.spawn_radius = plan.area / 2;
    config.world.linger_ms = 1000;
    config.world.entities = 4096;
    config.world.cells = 1024;
    config.world.shard_count = plan.shards;
    config.world.moved_cells = 48;
    config.endpoint.connections = 1024;
    config.endpoint.receive_buffers = 64;
    config.endpoint.backlog_pool_bytes = 4 << 20;
    config.endpoint.big_inputs = 16;
    config.endpoint.rules.subprotocols = kSubprotocols;
    config.endpoint.poll.sessions = 256;
    config.endpoint.poll.shards = plan.shards;
    config.endpoint.poll.hold = milliseconds(700);
    config.messages_per_second = 200;
    add_letter_handler(handlers_);
    config.handlers = &handlers_;
    config.session.limit = 1024;
    config.session.stored = true;
    if (plan.npcs != 0) {
      config.hooks = crowd_.hooks();
      config.world.custom_state = true;
    }
    config.world.budget.queue_bytes = 48 * 1024;
    if (plan.seed % 3 == 0) {  // fewer than there are in view
      config.world.crowd_entities = 40;
      config.world.crowd_view_distance = 20.0F;
    }
    config.world.budget.stall_ms = 1500;
    for (uint32_t i = 0; i < plan.shards; ++i) {
      ios_.push_back(std::make_unique<io::SimIo>(
          network_,
          io::IoLimits{.sockets = 1024 + net::kRefusalRows, .buffers = 64, .buffer_bytes = 2048}));
      io::ListenSpec listen;
      listen.address.sin6_family = AF_INET6;
      listen.address.sin6_port = htons(kPort);
      uint16_t port = 0;
      TG_ASSERT(ios_.back()->listen(listen, &port) == io::IoStatus::kOk);
    }
    std::vector<io::Waker*> wakers;
    for (auto& io : ios_) wakers.push_back(&io->waker());
    wakers.push_back(&control_waker_);
    for (uint32_t i = 0; i < plan.shards; ++i) {
      config.index = i;
      config.endpoint.poll.shard = i;
      counters_.push_back(std::make_unique<metrics::Counters>());
      shards_.push_back(
          std::make_unique<shard::Shard>(config, *ios_[i], fabric_, wakers, *counters_.back()));
    }
    for (uint32_t i = 0; i < plan.clients; ++i) {
      players_.push_back(std::make_unique<Player>(i, plan_, prng_.next()));
    }
  }

  Outcome run() {
    const int64_t step_ms = 2;
    const int64_t walk_until = static_cast<int64_t>(plan_.seconds * 1000);
    const int64_t quiet_until = walk_until + 9000;  // budgets recover
    const double moves_per_step = plan_.move_rate * static_cast<double>(step_ms) / 1000;
    for (int64_t ms = 0; ms < quiet_until && outcome_.failure.empty(); ms += step_ms) {
      const bool walking = ms < walk_until;
      if (!walking && plan_.faults) calm();
      for (size_t i = 0; i < players_.size(); ++i) {
        Player& p = *players_[i];
        if (!p.connected()) {
          // Everybody comes in over the first second; who was cut off comes back soon.
          if (ms >= static_cast<int64_t>(i % 500) * 2 &&
              (!plan_.faults || prng_.chance(0.02) || !walking)) {
            if (ms > 1200) ++outcome_.reconnects;
            p.connect(network_);
          }
          continue;
        }
        if (walking && plan_.faults && prng_.chance(0.00005)) {
          p.disconnect(network_);
          continue;
        }
        if (walking && plan_.faults && prng_.chance(0.0005)) {
          // Down to 2 kB a second.
          p.set_slow(prng_.chance(0.3) ? 4u << prng_.below(10) : 0);
        }
        if (!walking) p.set_slow(0);
        if (walking && plan_.faults && prng_.chance(0.0002)) p.flip(network_.now());
        if (walking && plan_.faults && prng_.chance(0.004)) {
          const Player& to = *players_[prng_.below(players_.size())];
          if (to.letters().has_session()) p.write(to);
        }
        const bool phase = prng_.unit() < moves_per_step;
        // Without faults everybody begins at one time, so that the worlds can be compared.
        if (walking && phase && (plan_.faults || ms >= 2000)) p.move();
        if (!p.turn(network_, walking)) p.disconnect(network_);
        if (!p.problem().empty()) fail(p.name() + ": " + p.problem());
      }
      for (int round = 0; round < 3; ++round) {
        for (auto& shard : shards_) shard->turn(shard::Shard::Wait::kNo);
        control_.turn(no_wakes_);
      }
      if (walking && plan_.shards > 1 && moves_.chance(plan_.moves * 0.001 * step_ms)) move_cell();
      if (ms % 200 == 0) control_.ask_for_snapshot(shards_[0]->barrier().tick() + 3);
      if (!control_.problem().empty()) fail(control_.problem());
      if (!control_.book.problem.empty()) fail(control_.book.problem);
      check_running();
      network_.advance_to(Instant{0} + milliseconds(ms + step_ms));
    }
    if (outcome_.failure.empty()) check_quiet();
    summarise();
    if (plan_.shards > 1 && plan_.moves > 0 && outcome_.entities_moved < 20) {
      fail("hardly any cell changed its owner");
    }
    check_alarm();
    check_letters();
    if (outcome_.failure.empty()) check_orphans(quiet_until);
    return outcome_;
  }

 private:
  static io::SimConfig network_config(const Plan& plan) {
    io::SimConfig c;
    c.latency = milliseconds(5);
    if (!plan.faults) return c;
    c.jitter = milliseconds(10);
    c.chunk_bytes_max = 1400;
    c.window_bytes = 32 * 1024;
    c.stall_probability = 0.001;
    c.stall = milliseconds(200);
    c.reset_probability = 0.00002;
    c.starvation_probability = 0.01;
    return c;
  }
  void calm() {
    io::SimConfig& c = network_.config();
    c.reset_probability = 0;
    c.stall_probability = 0;
    control_.book.calm();
  }

  // Any cell that has entities, now and then one that has none or is on its way already.
  void move_cell() {
    const uint32_t from = static_cast<uint32_t>(moves_.below(plan_.shards));
    const world::WorldSlice& slice = shards_[from]->slice();
    const world::EntityTable& e = slice.entities();
    world::CellKey key{static_cast<int16_t>(moves_.between(-3, 3)),
                       static_cast<int16_t>(moves_.between(-3, 3))};
    if (e.high_water() != 0 && moves_.chance(0.9)) {
      const auto s = static_cast<world::EntitySlot>(moves_.below(e.high_water()));
      if (!e.live(s)) return;
      key = slice.scale().cell_of(e.image(s).position);
    }
    control_.move_cell(from, key, static_cast<uint32_t>(moves_.below(plan_.shards)));
  }

  void fail(const std::string& what) {
    if (!outcome_.failure.empty()) return;
    outcome_.failure = "at " + std::to_string(network_.now().ns / 1'000'000) + " ms: " + what;
  }

  void check_running() {
    for (size_t i = 0; i < shards_.size(); ++i) {
      if (counters_[i]->get(metrics::Gauge::kBacklogBytesMax) > config_backlog_) {
        fail("more waits for a client than the limit");
      }
      if (shards_[i]->outbox_waiting() > kOutboxLimit) {
        fail("shard " + std::to_string(i) + " has too much waiting in front of its rings");
      }
    }
    // Owners are compared when all shards stand between ticks.
    uint32_t tick = shards_[0]->barrier().tick();
    for (auto& shard : shards_) {
      if (shard->barrier().phase() != shard::TickBarrier::Phase::kIdle ||
          shard->barrier().tick() != tick) {
        return;
      }
    }
    if (tick == checked_tick_ || tick % 8 != 0) return;
    checked_tick_ = tick;
    for (auto& shard : shards_) {
      if (shard->slice().owners().moved() != shards_[0]->slice().owners().moved()) {
        fail("shards do not agree on who owns the cells");
      }
    }
    std::unordered_map<uint32_t, size_t> owners;
    std::unordered_map<std::string, size_t> names;
    for (size_t i = 0; i < shards_.size(); ++i) {
      const world::EntityTable& e = shards_[i]->slice().entities();
      for (uint32_t s = 0; s < e.high_water(); ++s) {
        if (!e.live(s)) continue;
        if (!owners.emplace(e.id(s).value, i).second) {
          fail("entity " + std::string(e.player_id(s)) + " has two owners");
        }
        if (!names.emplace(std::string(e.player_id(s)), i).second) {
          fail("player " + std::string(e.player_id(s)) + " has two entities");
        }
      }
    }
  }

  struct Truth {
    world::Steps3 position;
    uint32_t flags;
    uint8_t yaw;
    uint32_t id;
  };

  // The last snapshot was cut when nobody moved any more: it is the world as it stands.
  void check_snapshot(const std::unordered_map<std::string, Truth>& truth) {
    if (control_.snapshots() < 5) fail("hardly any snapshot was taken");
    if (control_.collecting()) return;
    for (const auto& [name, t] : truth) {
      const auto it = control_.last().find(name);
      if (it == control_.last().end() || it->second != t.position) {
        fail(name + " is not in the last snapshot, or elsewhere");
        return;
      }
    }
  }

  void check_quiet() {
    std::unordered_map<std::string, Truth> truth;
    const world::WorldScale& scale = shards_[0]->slice().scale();
    for (auto& shard : shards_) {
      const world::EntityTable& e = shard->slice().entities();
      for (uint32_t s = 0; s < e.high_water(); ++s) {
        if (!e.live(s)) continue;
        const world::Image& image = e.image(s);
        truth[std::string(e.player_id(s))] = {image.position, image.flags, image.yaw,
                                              e.id(s).value};
      }
    }
    check_snapshot(truth);
    std::unordered_map<uint32_t, std::vector<std::string>> by_cell;
    for (const auto& [name, t] : truth) by_cell[scale.cell_of(t.position).packed()].push_back(name);
    if (truth.size() != players_.size() + plan_.npcs) {
      fail(std::to_string(truth.size()) + " entities for " + std::to_string(players_.size()) +
           " players and " + std::to_string(plan_.npcs) + " NPCs");
      return;
    }
    if (crowd_.refused() != 0) fail("the world refused what its tick hook did");
    for (auto& p : players_) {
      if (!p->in_world()) {
        fail(p->name() + " is not in the world at the end");
        return;
      }
      if (p->packed())
        check_packed(*p, truth, by_cell, scale);
      else
        check_protobuf(*p, truth, scale);
      if (!outcome_.failure.empty()) return;
    }
  }

  void check_packed(const Player& p, const std::unordered_map<std::string, Truth>& truth,
                    const std::unordered_map<uint32_t, std::vector<std::string>>& by_cell,
                    const world::WorldScale& scale) {
    bool saw_itself = false;
    for (const auto& [key, image] : p.picture().cells()) {
      const auto there = by_cell.find(key);
      const size_t expected = there == by_cell.end() ? 0 : there->second.size();
      if (image.count() != expected) {
        fail(p.name() + " sees " + std::to_string(image.count()) + " in a cell of " +
             std::to_string(expected));
        return;
      }
      const world::CellKey cell = world::CellKey::from_packed(key);
      for (const wire::CellImage::Member& m : image.slots()) {
        if (!m.live) continue;
        saw_itself |= m.name == p.name();
        const auto t = truth.find(m.name);
        if (t == truth.end() || t->second.id != m.id ||
            t->second.position[0] != m.x + cell.x * scale.cell_steps ||
            t->second.position[1] != m.y ||
            t->second.position[2] != m.z + cell.z * scale.cell_steps ||
            t->second.flags != m.flags || t->second.yaw != m.yaw) {
          fail(p.name() + " sees " + m.name + " otherwise than it is");
          return;
        }
      }
    }
    if (!saw_itself) fail(p.name() + " does not see itself");
  }

  void check_protobuf(const Player& p, const std::unordered_map<std::string, Truth>& truth,
                      const world::WorldScale& scale) {
    const auto own = truth.find(p.name());
    for (const auto& [name, seen] : p.picture().entities()) {
      const auto t = truth.find(name);
      if (t == truth.end()) {
        fail(p.name() + " sees " + name + " that is gone");
        return;
      }
      const float x = static_cast<float>(t->second.position[0]) * scale.metres_per_step;
      const float z = static_cast<float>(t->second.position[2]) * scale.metres_per_step;
      if (std::abs(x - seen.position.x) > 0.001F || std::abs(z - seen.position.z) > 0.001F ||
          t->second.flags != seen.flags) {
        fail(p.name() + " sees " + name + " otherwise than it is");
        return;
      }
    }
    // Who is told that it sees less far sees that far all the same, but for cells at the edge.
    const float told = p.picture().view_distance();
    const double view = told > 0 ? std::min(99.0, std::max(0.0, told - 10.0)) : 99.0;
    for (const auto& [name, t] : truth) {
      const double dx = (t.position[0] - own->second.position[0]) * 0.02;
      const double dz = (t.position[2] - own->second.position[2]) * 0.02;
      if (dx * dx + dz * dz < view * view && p.picture().entities().count(name) == 0) {
        fail(p.name() + " does not see " + name + " at " +
             std::to_string(std::sqrt(dx * dx + dz * dz)) + " m");
        return;
      }
    }
  }

  // Spoiled pictures rang the alarm, and only they did.
  void check_alarm() {
    uint64_t desyncs = 0;
    uint64_t agreed = 0;
    for (auto& c : counters_) {
      desyncs += c->get(metrics::Counter::kDesyncs);
      agreed += c->get(metrics::Counter::kReportsAgreed);
    }
    if (!plan_.faults && desyncs != 0) fail("the alarm rang although nothing was spoiled");
    if (plan_.faults && outcome_.healed == 0) fail("no spoiled cell was healed");
    if (plan_.faults && outcome_.poll_cuts == 0) fail("no request of long polling was cut");
    if (plan_.faults && desyncs == 0) fail("the alarm never rang");
    if (agreed == 0) fail("no checksum of a client was held against its cell");
  }

  // Each letter came; that it came once and in order was seen when it came.
  void check_letters() {
    for (auto& from : players_) {
      if (!from->letters().settled()) fail(from->name() + " has letters that nobody acknowledged");
      for (auto& to : players_) {
        const uint64_t written = from->letters().written_to(to->name());
        const uint64_t read = to->letters().read_from(from->name());
        outcome_.letters += written;
        if (written != read) {
          fail(std::to_string(read) + " of " + std::to_string(written) + " letters came from " +
               from->name() + " to " + to->name());
        }
      }
      outcome_.resumes += from->letters().resumes;
    }
    for (uint32_t i = 0; i < shards_.size(); ++i) {
      shard::SessionHome& home = shards_[i]->sessions();
      const std::string wrong = control_.book.compare(i, home.table(), home.logs());
      if (!wrong.empty()) fail(wrong);
    }
    for (auto& shard : shards_) {
      if (shard->sessions().replay_messages() != 0) fail("a letter is still kept at the end");
    }
    if (plan_.faults && outcome_.resumes == 0) fail("no session was ever resumed");
  }

  void summarise() {
    for (auto& p : players_) {
      if (!p->in_world()) continue;
      outcome_.updates += p->picture().counters().updates;
      outcome_.checksums += p->picture().counters().checksums;
      outcome_.healed += p->flips_healed();
      outcome_.poll_cuts += p->cuts();
    }
    for (size_t i = 0; i < shards_.size(); ++i) {
      outcome_.state_hash += world_hash(shards_[i]->slice().entities());
      outcome_.left_out += counters_[i]->get(metrics::Counter::kFramesLeftOut);
      outcome_.slow_closed += counters_[i]->get(metrics::Counter::kSlowClosed);
      outcome_.overflows += counters_[i]->get(metrics::Counter::kBacklogOverflow);
      outcome_.handovers += counters_[i]->get(metrics::Counter::kHandovers);
      outcome_.cells_moved += counters_[i]->get(metrics::Counter::kCellsMoved);
      outcome_.entities_moved += counters_[i]->get(metrics::Counter::kCellEntitiesMoved);
      if (counters_[i]->get(metrics::Counter::kArrivalsRefused) != 0) fail("entities were lost");
    }
    outcome_.ticks = shards_[0]->current_tick();
    outcome_.trace_hash = network_.trace_hash();
  }

  // Order-free and without entity ids, which carry the number of the shard that gave them.
  static uint64_t world_hash(const world::EntityTable& e) {
    uint64_t sum = 0;
    for (uint32_t s = 0; s < e.high_water(); ++s) {
      if (!e.live(s)) continue;
      const world::Image& image = e.image(s);
      uint64_t h = world::hash_player_id(e.player_id(s));
      for (const uint64_t word : {static_cast<uint64_t>(static_cast<uint32_t>(image.position[0])),
                                  static_cast<uint64_t>(static_cast<uint32_t>(image.position[1])),
                                  static_cast<uint64_t>(static_cast<uint32_t>(image.position[2])),
                                  static_cast<uint64_t>(image.yaw) << 32 | image.flags,
                                  static_cast<uint64_t>(e.control(s).client_tick)}) {
        h = (h ^ word) * 0xbf58476d1ce4e5b9u;
        h ^= h >> 29;
      }
      sum += h;
    }
    return sum;
  }

  // Everybody leaves; after the linger the world and the tables are empty.
  void check_orphans(int64_t from_ms) {
    for (auto& p : players_) p->leave(network_.now());
    crowd_.end();
    for (int64_t ms = from_ms; ms < from_ms + 3500; ms += 2) {
      // Who polls has a moment to say goodbye.
      for (auto& p : players_) {
        if (!p->connected()) continue;
        if (ms >= from_ms + 1000) {
          p->disconnect(network_);
        } else {
          (void)p->turn(network_, false);
        }
      }
      for (int round = 0; round < 3; ++round) {
        for (auto& shard : shards_) shard->turn(shard::Shard::Wait::kNo);
      }
      network_.advance_to(Instant{0} + milliseconds(ms + 2));
    }
    for (size_t i = 0; i < shards_.size(); ++i) {
      const shard::Shard& s = *shards_[i];
      if (s.open_connections() != 0) fail("connections are left when everybody has gone");
      if (s.slice().entities().count() != 0) fail("entities are left when everybody has gone");
      if (s.interest().watched_cell_count() != 0) fail("cells are watched by nobody");
      if (ios_[i]->buffers_out() != 0) fail("receive buffers were not given back");
    }
  }

  static constexpr std::string_view kSubprotocols[] = {"tidegate.v1.proto"};

  const Plan plan_;
  base::Prng prng_;
  base::Prng moves_;
  io::SimNetwork network_;
  mailbox::Fabric fabric_;
  Control control_;
  Crowd crowd_;
  shard::HandlerTable handlers_;
  io::SimWaker control_waker_;
  NoWakes no_wakes_;
  std::vector<std::unique_ptr<io::SimIo>> ios_;
  std::vector<std::unique_ptr<metrics::Counters>> counters_;
  std::vector<std::unique_ptr<shard::Shard>> shards_;
  std::vector<std::unique_ptr<Player>> players_;
  Outcome outcome_;
  uint32_t checked_tick_ = 0;
  uint32_t config_backlog_ = shard::ShardConfig{}.endpoint.backlog_bytes;
};

}  // namespace

Outcome run(const Plan& plan) { return Simulation(plan).run(); }

}  // namespace tidegate::sim
