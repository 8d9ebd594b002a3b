// SPDX-License-Identifier: Apache-2.0
#include "shared_world.h"

#include <algorithm>
#include <cmath>
#include <map>
#include <memory>
#include <vector>

#include "bus/bus_service.h"
#include "client/client.h"
#include "io/sim_io.h"
#include "lossy_bus.h"
#include "mailbox/mailboxes.h"
#include "shard/shard.h"

namespace tidegate::sim {
namespace {

using base::Instant;
using base::milliseconds;
using metrics::Counter;

constexpr uint16_t kPort = 7600;
constexpr std::string_view kSubprotocols[] = {"tidegate.v1.proto"};
constexpr float kHalf = 140.0F;   // metres: players walk on a square of twice that
constexpr uint32_t kCall = 1001;  // a type of the game: the payload goes to all within 60 m

struct NoWakes final : mailbox::WakeSink {
  void wake_agent(mailbox::AgentId) override {}
};

// Whoever calls is heard by all near it.
Outcome on_call(void*, Context& context, const Message& message) noexcept {
  Target target;
  target.kind = Target::Kind::kRadius;
  target.radius = 60;
  target.position = context.position();
  (void)context.send(target, kCall, message.payload);
  return {};
}

const shard::HandlerTable& handlers() {
  static const shard::HandlerTable* const table = [] {
    auto* t = new shard::HandlerTable;
    shard::HandlerEntry entry;
    entry.type = kCall;
    entry.name = "call";
    entry.invoke = on_call;
    (void)t->add(std::move(entry));
    return t;
  }();
  return *table;
}

// What a gateway's tick hook keeps: a guard stands at each post, made by who owns the place, and
// waves while there is no calm. Two of one name, from both sides of a partition, become one.
constexpr int kPosts = 8;
struct Guards {
  const bool* calm = nullptr;
};
Position post_of(int k) { return {static_cast<float>(k - 4) * 35 + 10, 0, 20}; }

shard::Guarded<bool> keep_guards(void* user, World& world) noexcept {
  auto& guards = *static_cast<Guards*>(user);
  struct Seen {
    uint32_t count = 0, lowest = UINT32_MAX, own = 0, flags = 0;
  } seen[kPosts];
  uint32_t cursor = 0;
  EntityView e;
  while (world.next(&cursor, &e)) {
    if (e.kind != Kind::kNpc) continue;
    Seen& s = seen[static_cast<size_t>(e.id.back() - '0')];
    ++s.count;
    s.lowest = std::min(s.lowest, e.ref.id);
    if (!e.remote) {
      s.own = e.ref.id;
      s.flags = e.flags;
    }
  }
  for (int k = 0; k < kPosts; ++k) {
    const Seen& s = seen[k];
    const std::string name = "guard" + std::to_string(k);
    if (s.count == 0) {
      SpawnRequest request;
      request.id = name;
      request.position = post_of(k);
      request.tag = static_cast<uint64_t>(k) + 100;
      if (world.owns(request.position)) (void)world.spawn(request);
    } else if (s.own != 0 && s.own != s.lowest) {
      (void)world.despawn({s.own});
    } else if (s.own != 0 && !*guards.calm && world.tick() % 30 == 0) {
      Move wave;
      wave.flags = s.flags + 1;
      wave.has_flags = true;
      (void)world.move({s.own}, wave);
    }
  }
  return {true, false};
}

class Gateway final : bus::ShardPort {
 public:
  Gateway(uint32_t number, uint64_t epoch, const WorldPlan& plan, io::SimNetwork& network,
          LossyBus& bus, const bool* calm)
      : network_(network),
        fabric_({.shards = plan.shards}),
        mailbox_(fabric_, fabric_.control()),
        port_(bus.attach(number)) {
    bus::BusConfig config;
    config.gateway = "g" + std::to_string(number);
    config.epoch = epoch;
    config.shards = plan.shards;
    config.player_home = [](std::string_view player, uint32_t count) -> uint32_t {
      return world::home_of(player, count).value;
    };
    service_ = std::make_unique<bus::BusService>(config, *port_);
    shard::ShardConfig shard;
    shard.count = plan.shards;
    shard.seed = plan.seed * 4096 + epoch;
    shard.server_version = "sim";
    shard.first_tick = network.now() + milliseconds(20);
    shard.world.entities = 256;
    shard.world.cells = 512;
    shard.world.linger_ms = plan.faults ? 600 : 10'000;
    shard.world.spawn_radius = 100;
    shard.world.shard_count = plan.shards;
    shard.realm.on = true;
    shard.realm.number = number + 1;
    shard.handlers = &handlers();
    guards.calm = calm;
    hooks_.user = &guards;
    hooks_.tick = keep_guards;
    shard.hooks = &hooks_;
    shard.endpoint.connections = 128;
    shard.endpoint.receive_buffers = 64;
    shard.endpoint.backlog_pool_bytes = 4 << 20;
    shard.endpoint.big_inputs = 8;
    shard.endpoint.rules.subprotocols = kSubprotocols;
    shard.session.limit = 512;
    shard.presence.users = 256;
    for (uint32_t i = 0; i < plan.shards; ++i) {
      ios_.push_back(std::make_unique<io::SimIo>(
          network,
          io::IoLimits{.sockets = 128 + net::kRefusalRows, .buffers = 64, .buffer_bytes = 2048}));
      io::ListenSpec listen;
      listen.address.sin6_family = AF_INET6;
      listen.address.sin6_port = htons(static_cast<uint16_t>(kPort + number));
      uint16_t bound = 0;
      TG_ASSERT(ios_.back()->listen(listen, &bound) == io::IoStatus::kOk);
    }
    std::vector<io::Waker*> wakers;
    for (auto& io : ios_) wakers.push_back(&io->waker());
    wakers.push_back(&control_waker_);
    for (uint32_t i = 0; i < plan.shards; ++i) {
      shard.index = i;
      counters.push_back(std::make_unique<metrics::Counters>());
      shards.push_back(
          std::make_unique<shard::Shard>(shard, *ios_[i], fabric_, wakers, *counters.back()));
    }
  }

  void turn() {
    for (int round = 0; round < 3; ++round) {
      for (auto& shard : shards) shard->turn(shard::Shard::Wait::kNo);
      service_->turn(network_.now(), network_.unix_ms(), *this);
      mailbox_.drain(1000, [this](mailbox::AgentId from, mailbox::MessageType type,
                                  base::Bytes bytes) { on_mail(from, type, bytes); });
      mailbox_.publish_all(no_wakes_);
    }
  }
  bool post(uint32_t shard, mailbox::MessageType type, base::Bytes bytes) override {
    return mailbox_.post_raw(shard, static_cast<uint16_t>(type), bytes);
  }
  LossyBus::Port& port() { return *port_; }
  bool settled(uint32_t members) const {
    return service_->membership().stage() == bus::Membership::Stage::kSettled &&
           service_->membership().members().size() == members;
  }
  uint64_t count(Counter c) const {
    uint64_t sum = 0;
    for (const auto& each : counters) sum += each->get(c);
    return sum;
  }

  Guards guards;
  std::vector<std::unique_ptr<metrics::Counters>> counters;
  std::vector<std::unique_ptr<shard::Shard>> shards;

 private:
  void on_mail(mailbox::AgentId from, mailbox::MessageType type, base::Bytes bytes) {
    base::Bytes tail;
    if (type == mailbox::MessageType::kBusMail) {
      const auto mail = mailbox::read_message<mailbox::BusMail>(bytes, &tail);
      service_->on_mail(from, mail, tail);
    }
    if (type != mailbox::MessageType::kAuthRequest) return;
    // Every token is taken, and is the user's name.
    const auto request = mailbox::read_message<mailbox::AuthRequest>(bytes, &tail);
    mailbox::AuthResult result{};
    result.connection = request.connection;
    result.asked_ns = request.asked_ns;
    result.user_bytes = result.player_bytes = static_cast<uint16_t>(tail.size());
    result.session = ++sessions_;
    result.nonce = 1;
    result.token_bytes[0] = 1;
    std::string names(base::as_text(tail));
    names += names;
    names += 'r';
    (void)mailbox_.post(from, result, base::as_bytes(names));
  }

  shard::HookTable hooks_;
  io::SimNetwork& network_;
  mailbox::Fabric fabric_;
  mailbox::Mailbox mailbox_;
  std::unique_ptr<LossyBus::Port> port_;
  std::unique_ptr<bus::BusService> service_;
  std::vector<std::unique_ptr<io::SimIo>> ios_;
  io::SimWaker control_waker_;
  NoWakes no_wakes_;
  uint64_t sessions_ = 0;
};

class Walker final : public client::ClientEvents {
 public:
  Walker(uint32_t number, uint64_t seed) : prng_(seed), name_("p" + std::to_string(number)) {}

  void connect(io::SimNetwork& network, uint32_t gateway) {
    disconnect(network);
    client::ClientConfig config;
    config.token = name_;
    client_ = std::make_unique<client::Client>(config, *this, prng_.next());
    client_->start();
    socket_ = network.connect(static_cast<uint16_t>(kPort + gateway));
    gateway_ = gateway;
    tick_ = 0;
    placed_ = false;
  }
  void disconnect(io::SimNetwork& network) {
    if (socket_ != nullptr) network.release(socket_);
    socket_ = nullptr;
  }
  bool connected() const { return socket_ != nullptr; }
  bool placed() const { return connected() && placed_; }
  uint32_t gateway() const { return gateway_; }
  const std::string& name() const { return name_; }
  const wire::Vector3& at() const { return at_; }
  std::map<std::string, uint32_t> heard;  // calls, by who called

  // False: the connection is over.
  bool turn(Instant now) {
    uint8_t buffer[8192];
    for (int i = 0; i < 64; ++i) {
      const uint32_t n = socket_->receive({buffer, sizeof buffer});
      if (n == 0) break;
      client_->on_bytes(now, {buffer, n});
    }
    client_->audit(now);
    const base::Bytes out = client_->outgoing();
    if (!out.empty()) client_->sent(socket_->send(out));
    return !socket_->closed() && client_->state() != client::ClientState::kClosed;
  }
  // Every 50 ms.
  void walk() {
    if (!placed_ || client_->state() != client::ClientState::kInWorld) return;
    const float dx = target_.x - at_.x;
    const float dz = target_.z - at_.z;
    const float distance = std::sqrt(dx * dx + dz * dz);
    constexpr float kStep = 0.25F;
    if (distance < 1) {
      target_.x = static_cast<float>(prng_.unit() * 2 - 1) * kHalf;
      target_.z = static_cast<float>(prng_.unit() * 2 - 1) * kHalf;
    } else {
      at_.x += dx / distance * kStep;
      at_.z += dz / distance * kStep;
    }
    wire::PlayerMovement m;
    m.client_tick = ++tick_;
    m.position = at_;
    m.has_position = true;
    m.movement_flags = static_cast<uint32_t>(prng_.below(8));
    client_->send_move(m);
  }
  void call() {
    if (client_->state() == client::ClientState::kInWorld) {
      client_->send_payload(kCall, base::as_bytes(name_));
    }
  }

  void on_state(client::ClientState state) override {
    if (state != client::ClientState::kInWorld) return;
    wire::PlayerMovement ask;  // only asks where it stands
    ask.client_tick = ++tick_;
    client_->send_move(ask);
  }
  void on_move_ack(Instant, const wire::MoveAck& ack) override {
    if (!placed_ || ack.corrected) at_ = ack.position;
    if (!placed_) target_ = at_;
    placed_ = true;
  }
  void on_custom(Instant, uint32_t type, base::Bytes payload) override {
    if (type == kCall) ++heard[std::string(base::as_text(payload))];
  }

 private:
  base::Prng prng_;
  std::string name_;
  std::unique_ptr<client::Client> client_;
  io::SimClientSocket* socket_ = nullptr;
  uint32_t gateway_ = 0, tick_ = 0;
  bool placed_ = false;
  wire::Vector3 at_, target_;
};

class Run {
 public:
  explicit Run(const WorldPlan& plan)
      : plan_(plan),
        prng_(plan.seed),
        network_(plan.seed, io::SimConfig{.latency = milliseconds(3)}),
        bus_(plan.gateways, plan.seed * 7 + 1) {
    for (uint32_t i = 0; i < plan.gateways; ++i) start(i);
    for (uint32_t i = 0; i < plan.players; ++i) {
      walkers_.push_back(std::make_unique<Walker>(i, prng_.next()));
    }
  }

  WorldOutcome run() {
    // Gateways find each other first: who comes before may be somebody twice for a moment.
    wait("the gateways to find each other", [this] { return agreed(); });
    const int64_t calm_at = ms() + static_cast<int64_t>(plan_.seconds * 1000);
    while (ms() < calm_at && good()) {
      if (plan_.faults) faults();
      step(true);
      if (!plan_.faults) check_ids();
    }
    bus_.loss = 0;
    calm_ = true;
    for (uint32_t i = 0; i < plan_.gateways; ++i) {
      for (uint32_t k = 0; k < i; ++k) bus_.cut(i, k, false);
      if (gateways_[i] == nullptr) start(i);
      gateways_[i]->port().set_connected(true);
    }
    wait("agreement", [this] { return agreed(); });
    wait("all players", [this] {
      return std::all_of(walkers_.begin(), walkers_.end(),
                         [](const auto& w) { return w->placed(); });
    });
    wait("one world", [this] { return one_world(); });
    const int64_t said = ms();
    for (auto& w : walkers_) w->heard.clear();
    for (auto& w : walkers_) w->call();
    wait("calls", [this] { return calls_heard(); });
    while (good() && ms() < said + 300) step(false);
    if (good() && !calls_heard()) fail("calls" + missing_);
    for (const auto& g : gateways_) {
      if (good() && g->count(Counter::kDesyncs) != 0) fail("a client's picture was wrong");
    }
    summarise();
    return outcome_;
  }

 private:
  struct Seen {
    uint32_t id;
    world::Steps3 position;
    uint32_t flags;
    uint32_t owner;
  };
  using Picture = std::map<std::string, Seen>;

  int64_t ms() const { return network_.now().ns / 1'000'000; }
  bool good() const { return outcome_.failure.empty(); }
  void fail(const std::string& what) {
    if (good()) outcome_.failure = "at " + std::to_string(ms()) + " ms: " + what;
  }
  void start(uint32_t i) {
    if (gateways_.size() <= i) gateways_.resize(i + 1);
    gateways_[i] = std::make_unique<Gateway>(i, ++epochs_ * 1000, plan_, network_, bus_, &calm_);
  }
  void end(uint32_t i) {
    add(*gateways_[i]);
    bus_.detach(i);
    gateways_[i].reset();
  }
  void add(const Gateway& g) {
    outcome_.states += g.count(Counter::kRealmStatesSent);
    outcome_.wholes += g.count(Counter::kRealmWholesSent);
    outcome_.taken += g.count(Counter::kRealmTaken);
    outcome_.yielded += g.count(Counter::kRealmYielded);
    outcome_.expired += g.count(Counter::kRealmExpired);
    outcome_.timeouts += g.count(Counter::kRealmClaimTimeouts);
  }
  void faults() {
    if (prng_.chance(0.0008)) {
      const auto i = static_cast<uint32_t>(prng_.below(plan_.gateways));
      if (gateways_[i] != nullptr) {
        ++outcome_.crashes;
        end(i);
        back_at_[i] = ms() + prng_.between(20, 3000);
      }
    }
    for (auto& [i, at] : back_at_) {
      if (gateways_[i] == nullptr && ms() >= at) start(i);
    }
    if (prng_.chance(0.02)) bus_.loss = prng_.chance(0.5) ? 0.1 : 0;
    if (prng_.chance(0.001)) {
      const auto a = static_cast<uint32_t>(prng_.below(plan_.gateways));
      const auto b = static_cast<uint32_t>(prng_.below(plan_.gateways));
      if (a != b) {
        ++outcome_.cuts;
        bus_.cut(a, b, prng_.chance(0.5));
      }
    }
    if (prng_.chance(0.001)) {
      const auto i = static_cast<uint32_t>(prng_.below(plan_.gateways));
      if (gateways_[i] != nullptr) {
        ++outcome_.cuts;
        gateways_[i]->port().set_connected(prng_.chance(0.5));
      }
    }
  }

  void step(bool walking) {
    ++steps_;
    for (auto& w : walkers_) {
      if (!w->connected()) {
        const auto g = static_cast<uint32_t>(prng_.below(plan_.gateways));
        if (gateways_[g] != nullptr && prng_.chance(0.02)) w->connect(network_, g);
        continue;
      }
      if (walking && w->placed() && prng_.chance(0.0006)) {
        ++outcome_.hops;
        w->disconnect(network_);
        continue;
      }
      if (walking && steps_ % 25 == 0) w->walk();
      if (!w->turn(network_.now())) w->disconnect(network_);
    }
    bus_.set_now(network_.now());
    for (auto& g : gateways_) {
      if (g != nullptr) g->turn();
    }
    network_.advance_to(network_.now() + milliseconds(2));
  }
  template <class Done>
  void wait(const char* what, Done&& done) {
    const int64_t until = ms() + 25'000;
    while (good() && !done()) {
      if (ms() > until) fail(std::string("waited in vain for ") + what + missing_);
      step(false);
    }
  }
  bool agreed() const {
    return std::all_of(gateways_.begin(), gateways_.end(),
                       [&](const auto& g) { return g != nullptr && g->settled(plan_.gateways); });
  }
  // What a gateway's cells hold. False: one name or id twice.
  bool picture_of(uint32_t i, Picture* all, Picture* own) {
    std::map<uint32_t, std::string> ids;
    for (const auto& shard : gateways_[i]->shards) {
      const world::EntityTable& entities = shard->slice().entities();
      for (world::EntitySlot s = 0; s < entities.high_water(); ++s) {
        if (!entities.live(s)) continue;
        const std::string name(entities.player_id(s));
        const Seen seen{entities.id(s).value, entities.image(s).position, entities.image(s).flags,
                        i};
        if (!all->emplace(name, seen).second || !ids.emplace(seen.id, name).second) {
          missing_ = ": " + name + " is twice at g" + std::to_string(i);
          return false;
        }
        if ((entities.membership(s).state & world::kRemote) == 0) own->emplace(name, seen);
      }
    }
    return true;
  }
  bool one_world() {
    std::vector<Picture> all(plan_.gateways);
    Picture owned;
    for (uint32_t i = 0; i < plan_.gateways; ++i) {
      Picture own;
      if (!picture_of(i, &all[i], &own)) return false;
      for (const auto& [name, seen] : own) {
        const auto [it, fresh] = owned.emplace(name, seen);
        if (fresh) continue;
        missing_ = ": " + name + " is owned by g" + std::to_string(i) + " and g" +
                   std::to_string(it->second.owner);
        return false;
      }
    }
    for (const auto& w : walkers_) {
      if (!w->placed()) {
        missing_ = ": " + w->name() + " is not in the world";
        return false;
      }
      const auto it = owned.find(w->name());
      if (it != owned.end() && it->second.owner == w->gateway()) continue;
      missing_ = ": " + w->name() + " is at g" + std::to_string(w->gateway()) + ", which " +
                 (it == owned.end() ? "nobody" : "g" + std::to_string(it->second.owner)) + " owns";
      return false;
    }
    for (int k = 0; k < kPosts; ++k) {
      if (owned.contains("guard" + std::to_string(k))) continue;
      missing_ = ": guard" + std::to_string(k) + " is not there";
      return false;
    }
    for (uint32_t i = 0; i < plan_.gateways; ++i) {
      if (all[i].size() != owned.size()) {
        missing_ = ": g" + std::to_string(i) + " has " + std::to_string(all[i].size()) +
                   " entities of " + std::to_string(owned.size());
        return false;
      }
      for (const auto& [name, seen] : owned) {
        const auto it = all[i].find(name);
        if (it != all[i].end() && it->second.id == seen.id && it->second.flags == seen.flags &&
            it->second.position == seen.position) {
          continue;
        }
        missing_ = ": g" + std::to_string(i) + " sees " + name + " otherwise than g" +
                   std::to_string(seen.owner);
        return false;
      }
    }
    missing_.clear();
    return true;
  }
  // Nobody's entity gets another id, nor at any moment a second owner, and no gateway has one
  // twice.
  void check_ids() {
    Picture owned;
    for (uint32_t i = 0; i < plan_.gateways; ++i) {
      Picture all;
      Picture own;
      if (!picture_of(i, &all, &own)) fail("entities" + missing_);
      for (const auto& [name, seen] : own) {
        if (!name.starts_with("guard") && !owned.emplace(name, seen).second) {
          fail(name + " is owned by g" + std::to_string(owned[name].owner) + " and g" +
               std::to_string(i));
        }
        if (name.starts_with("guard")) continue;  // made twice when gateways just met
        const auto [it, fresh] = ids_.emplace(name, seen.id);
        if (!fresh && it->second != seen.id) {
          fail(name + " had entity " + std::to_string(it->second) + " and has " +
               std::to_string(seen.id) + " at g" + std::to_string(i));
        }
      }
    }
  }
  // Who is nearer than 55 m to a caller heard it, who is farther than 65 m did not.
  bool calls_heard() {
    for (const auto& from : walkers_) {
      for (const auto& to : walkers_) {
        const float dx = from->at().x - to->at().x;
        const float dz = from->at().z - to->at().z;
        const float distance = std::sqrt(dx * dx + dz * dz);
        const auto it = to->heard.find(from->name());
        const uint32_t times = it == to->heard.end() ? 0 : it->second;
        if ((distance < 55 && times != 1) || (distance > 65 && times != 0)) {
          missing_ = ": " + to->name() + " heard " + from->name() + ' ' + std::to_string(times) +
                     " times at " + std::to_string(distance) + " m";
          return false;
        }
      }
    }
    missing_.clear();
    return true;
  }
  void summarise() {
    for (const auto& g : gateways_) {
      if (g != nullptr) add(*g);
    }
    Picture all;
    Picture own;
    if (gateways_[0] != nullptr && picture_of(0, &all, &own)) {
      for (const auto& [name, seen] : all) {
        for (const char c : name) outcome_.hash = (outcome_.hash ^ static_cast<uint8_t>(c)) * 31;
        outcome_.hash = (outcome_.hash ^ seen.id) * 0x100000001b3u;
        for (const int32_t v : seen.position) {
          outcome_.hash = (outcome_.hash ^ static_cast<uint32_t>(v)) * 0x100000001b3u;
        }
      }
    }
    outcome_.lost = bus_.lost;
  }

  const WorldPlan plan_;
  base::Prng prng_;
  io::SimNetwork network_;
  LossyBus bus_;
  std::vector<std::unique_ptr<Gateway>> gateways_;
  std::vector<std::unique_ptr<Walker>> walkers_;
  std::map<uint32_t, int64_t> back_at_;
  std::map<std::string, uint32_t> ids_;
  bool calm_ = false;
  uint64_t epochs_ = 0, steps_ = 0;
  std::string missing_;
  WorldOutcome outcome_;
};

}  // namespace

WorldOutcome run(const WorldPlan& plan) { return Run(plan).run(); }

}  // namespace tidegate::sim
