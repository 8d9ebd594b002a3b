// SPDX-License-Identifier: Apache-2.0
#include "cluster.h"

#include <algorithm>
#include <cstring>

#include "bus/bus_service.h"
#include "cluster_client.h"
#include "cluster_writer.h"
#include "io/sim_io.h"
#include "letters.h"
#include "lossy_bus.h"
#include "mailbox/mailboxes.h"
#include "plain_tokens.h"
#include "shard/shard.h"

namespace tidegate::sim {
namespace {

using base::Instant;
using base::milliseconds;

constexpr uint16_t kPort = 7400;
constexpr uint32_t kOutboxLimit = 4 << 20;
constexpr int kSettleSteps = 200;  // after an outage nothing is taken over
constexpr std::string_view kSubprotocols[] = {"tidegate.v1.proto"};

struct NoWakes final : mailbox::WakeSink {
  void wake_agent(mailbox::AgentId) override {}
};

// What outlives processes: the store, and numbers that are given once.
struct Shared {
  shard::SharedStore store;
  shard::HandlerTable handlers;
  uint64_t processes = 0, sessions = 0;
  uint32_t nonces = 0;
  bool faults = true;
};

// One process: shards, control with the bus and the way to the store.
class Gateway final : bus::ShardPort {
 public:
  Gateway(uint32_t number, uint64_t epoch, const ClusterPlan& plan, io::SimNetwork& network,
          LossyBus& bus, Shared& shared)
      : network_(network),
        shared_(shared),
        store_(shared.store, plan.shards, &shared.processes, plan.slow_turns,
               std::max(80u, 2 * plan.clients), plan.seed * 1000 + epoch),
        fabric_(
            {.shards = plan.shards, .shard_ring_bytes = 1 << 20, .control_ring_bytes = 1 << 20}),
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
    shard.seed = plan.seed * 64 + number;
    shard.server_version = "sim";
    shard.first_tick = network.now() + milliseconds(20);
    shard.world.entities = 512;
    shard.world.cells = 1024;
    shard.world.linger_ms = 500;
    shard.world.shard_count = plan.shards;
    shard.endpoint.connections = 256;
    shard.endpoint.receive_buffers = 64;
    shard.endpoint.backlog_pool_bytes = 4 << 20;
    shard.endpoint.big_inputs = 8;
    shard.endpoint.rules.subprotocols = kSubprotocols;
    shard.session.limit = 1024;
    shard.session.stored = shard.session.shared = plan.writers != 0;
    shard.handlers = &shared.handlers;
    shard.topics.topics = 256;
    shard.topics.subscriptions = 1024;
    shard.presence.users = 512;
    shard.presence.watches = 2048;
    shard.presence.offline_delay = milliseconds(300);
    for (uint32_t i = 0; i < plan.shards; ++i) {
      ios_.push_back(std::make_unique<io::SimIo>(
          network,
          io::IoLimits{.sockets = 256 + net::kRefusalRows, .buffers = 64, .buffer_bytes = 2048}));
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
      if (round == 0) store_.turn(mailbox_, shared_.faults);
      mailbox_.publish_all(no_wakes_);
    }
  }
  bool heard() const { return store_.heard(shared_.store); }
  bool post(uint32_t shard, mailbox::MessageType type, base::Bytes bytes) override {
    return mailbox_.post_raw(shard, static_cast<uint16_t>(type), bytes);
  }
  LossyBus::Port& port() { return *port_; }
  const bus::BusService& service() const { return *service_; }
  bool settled() const {
    return service_->membership().stage() == bus::Membership::Stage::kSettled;
  }

  std::vector<std::unique_ptr<metrics::Counters>> counters;
  std::vector<std::unique_ptr<shard::Shard>> shards;
  uint64_t count(metrics::Counter c) const {
    uint64_t sum = 0;
    for (const auto& each : counters) sum += each->get(c);
    return sum;
  }

 private:
  void on_mail(mailbox::AgentId from, mailbox::MessageType type, base::Bytes bytes) {
    base::Bytes tail;
    if (type == mailbox::MessageType::kBusMail) {
      const auto mail = mailbox::read_message<mailbox::BusMail>(bytes, &tail);
      service_->on_mail(from, mail, tail);
    }
    if (type == mailbox::MessageType::kSessionRecord) store_.on_record(from, bytes);
    if (type != mailbox::MessageType::kAuthRequest) return;
    const LoginAnswer answer = answer_login(bytes, ++shared_.sessions, ++shared_.nonces);
    (void)mailbox_.post(from, answer.result, base::as_bytes(answer.tail));
  }

  io::SimNetwork& network_;
  Shared& shared_;
  StoreLink store_;
  mailbox::Fabric fabric_;
  mailbox::Mailbox mailbox_;
  std::unique_ptr<LossyBus::Port> port_;
  std::unique_ptr<bus::BusService> service_;
  std::vector<std::unique_ptr<io::SimIo>> ios_;
  io::SimWaker control_waker_;
  NoWakes no_wakes_;
};

class Run {
 public:
  explicit Run(const ClusterPlan& plan)
      : plan_(plan),
        prng_(plan.seed),
        network_(plan.seed, io::SimConfig{.latency = milliseconds(3)}),
        bus_(plan.gateways, plan.seed * 7 + 1) {
    book_.one_home = !plan.partitions;
    add_letter_handler(shared_.handlers);
    for (uint32_t i = 0; i < plan.writers; ++i) {
      writers_.push_back(std::make_unique<ClusterWriter>(i, prng_.next()));
    }
    for (uint32_t i = 0; i < plan.gateways; ++i) start(i);
    for (uint32_t i = 0; i < plan.clients; ++i) {
      auto client = std::make_unique<ClusterClient>(i, prng_.next(), book_);
      for (int t = 0; t < 3; ++t) {
        const std::string topic = "room." + std::to_string(prng_.below(plan.topics));
        if (std::find(client->topics.begin(), client->topics.end(), topic) ==
            client->topics.end()) {
          client->topics.push_back(topic);
        }
        client->friends.push_back("c" + std::to_string(prng_.below(plan.clients)));
      }
      clients_.push_back(std::move(client));
    }
  }

  ClusterOutcome run() {
    const int64_t calm_at = static_cast<int64_t>(plan_.seconds * 1000) + 2000;
    while (ms() < calm_at && good()) {
      if (ms() > 1500) faults();
      step(true);
    }
    const int64_t faults_end = ms();
    calm();
    // Found again, subscribed again.
    wait("agreement", [this] { return agreed() && all_ready(); });
    const int64_t agreed_ms = ms();
    // Offline delays, and PRESENCE_UPDATEs within their budget.
    wait("friends as they are", [this] { return friends_right(); });
    outcome_.presence_ms = ms() - agreed_ms;
    outcome_.calm_ms = ms() - faults_end;
    wait("all letters", [this] { return letters_read(); });
    if (good() && plan_.writers != 0) check_sessions();
    for (auto& client : clients_) {
      if (!good()) break;
      for (const std::string& topic : client->topics) client->publish(topic, "final");
    }
    wait("all that was published last", [this] { return finals_heard(); });
    if (good()) check_finals();
    summarise();
    return outcome_;
  }

 private:
  int64_t ms() const { return network_.now().ns / 1'000'000; }
  bool good() const { return outcome_.failure.empty(); }
  void fail(const std::string& what) {
    if (good()) outcome_.failure = "at " + std::to_string(ms()) + " ms: " + what;
  }
  void start(uint32_t i) {
    if (gateways_.size() <= i) gateways_.resize(i + 1);
    gateways_[i] = std::make_unique<Gateway>(i, ++epochs_ * 1000, plan_, network_, bus_, shared_);
  }
  void end(uint32_t i) {
    add(*gateways_[i]);
    bus_.detach(i);
    gateways_[i].reset();
  }
  void add(const Gateway& g) {
    outcome_.held += g.count(metrics::Counter::kBusPublishesHeld);
    outcome_.repairs += g.count(metrics::Counter::kBusTopicRepairs);
    outcome_.holes += g.count(metrics::Counter::kBusTopicHoles);
    outcome_.views += g.service().figures().views;
    outcome_.overruns += g.count(metrics::Counter::kSessionJournalOverruns);
    outcome_.late += g.count(metrics::Counter::kSessionStoreLate);
    outcome_.taken_over += g.count(metrics::Counter::kSessionsTakenOver);
  }

  // What the topics' offsets were lives as long as some gateway does.
  bool remembered_without(uint32_t i) const {
    for (uint32_t k = 0; k < plan_.gateways; ++k) {
      if (k != i && gateways_[k] != nullptr && gateways_[k]->settled()) return true;
    }
    return false;
  }

  void faults() {
    shared_.faults = true;
    shard::SharedStore& store = shared_.store;
    // What was acknowledged while the store was away is only in memory: that it and a gateway go
    // away together is not survived, and not tried.
    const bool whole = !store.away && store.settle == 0;
    if (store.away && prng_.chance(0.01)) {
      store.away = false;
      store.settle = kSettleSteps;
    } else if (whole && prng_.chance(0.0006) && heard()) {
      store.away = true;
      ++outcome_.outages;
    }
    if (whole && prng_.chance(0.0008)) {
      const auto i = static_cast<uint32_t>(prng_.below(plan_.gateways));
      if (gateways_[i] != nullptr && (plan_.partitions || remembered_without(i))) {
        ++outcome_.crashes;
        end(i);
        back_at_[i] = ms() + prng_.between(20, 3000);
      }
    }
    for (auto& [i, at] : back_at_) {
      if (gateways_[i] == nullptr && ms() >= at) start(i);
    }
    if (!plan_.partitions) return;
    if (prng_.chance(0.02)) bus_.loss = prng_.chance(0.5) ? 0.05 : 0;
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
  // Nor that a gateway has not heard yet what it lost when the store goes away.
  bool heard() const {
    return std::all_of(gateways_.begin(), gateways_.end(),
                       [](const auto& g) { return g == nullptr || g->heard(); });
  }
  void calm() {
    shared_.faults = false;
    shared_.store.away = false;
    bus_.loss = 0;
    for (uint32_t i = 0; i < plan_.gateways; ++i) {
      for (uint32_t k = 0; k < i; ++k) bus_.cut(i, k, false);
      if (gateways_[i] == nullptr) start(i);
      gateways_[i]->port().set_connected(true);
    }
  }

  void step(bool walking) {
    for (auto& client : clients_) {
      if (!client->connected()) {
        const auto g = static_cast<uint32_t>(prng_.below(plan_.gateways));
        if (gateways_[g] != nullptr && prng_.chance(0.02)) {
          client->connect(network_, static_cast<uint16_t>(kPort + g));
        }
        continue;
      }
      if (walking && prng_.chance(0.0002)) {
        client->disconnect(network_);
        continue;
      }
      if (walking && client->ready() && prng_.chance(0.01)) {
        client->publish(client->topics[prng_.below(client->topics.size())]);
      }
      if (!client->turn(network_.now())) client->disconnect(network_);
      if (!client->problem().empty()) fail(client->name() + ": " + client->problem());
    }
    step_writers(walking);
    ++shared_.store.step;
    if (shared_.store.settle > 0) --shared_.store.settle;
    bus_.set_now(network_.now());
    for (uint32_t i = 0; i < plan_.gateways; ++i) {
      if (gateways_[i] == nullptr) continue;
      gateways_[i]->turn();
      for (auto& shard : gateways_[i]->shards) {
        if (shard->outbox_waiting() > kOutboxLimit) fail("too much waits in front of rings");
      }
      if (gateways_[i]->service().figures().backlog_bytes > bus::BusService::kBacklogBytes * 3) {
        fail("too much waits in the bus");
      }
    }
    network_.advance_to(network_.now() + milliseconds(2));
  }

  void step_writers(bool walking) {
    for (auto& writer : writers_) {
      if (!writer->connected()) {
        const auto g = static_cast<uint32_t>(prng_.below(plan_.gateways));
        if (gateways_[g] != nullptr && prng_.chance(std::min(0.02 * plan_.drops, 0.4))) {
          writer->connect(network_, static_cast<uint16_t>(kPort + g));
        }
        continue;
      }
      if (walking && prng_.chance(0.0005 * plan_.drops)) {  // in the middle of a login, too
        writer->disconnect(network_);
        continue;
      }
      if (walking && prng_.chance(0.02)) {
        const ClusterWriter& to = *writers_[prng_.below(writers_.size())];
        if (stored(to) && writer->letters().has_session()) writer->write(to);
      }
      if (!writer->turn(network_.now())) writer->disconnect(network_);
      const std::string& problem = writer->letters().problem;
      if (!problem.empty()) fail(writer->name() + ": " + problem);
    }
  }
  // The session that it knows of, and no other: a login while the store is away begins another one.
  bool stored(const ClusterWriter& writer) const {
    const auto row = shared_.store.rows.find(writer.name());
    return writer.letters().has_session() && row != shared_.store.rows.end() &&
           row->second.id == session_in(writer.letters().token());
  }
  bool letters_read() {
    missing_.clear();
    return std::all_of(writers_.begin(), writers_.end(),
                       [this](const auto& writer) { return writer->settled(writers_, &missing_); });
  }
  // Each player has one session, at one gateway.
  void check_sessions() {
    std::map<std::string, uint32_t> homes;
    for (const auto& g : gateways_) {
      for (auto& shard : g->shards) {
        const session::SessionTable& table = shard->sessions().table();
        for (uint32_t row = 0; row < table.high_water(); ++row) {
          if (table.at(row).id != 0) ++homes[std::string(table.player(row))];
        }
      }
    }
    for (const auto& [player, count] : homes) {
      if (count != 1) fail(player + " has " + std::to_string(count) + " sessions");
    }
    if (homes.size() != clients_.size() + writers_.size()) {
      fail(std::to_string(homes.size()) + " players have sessions");
    }
  }

  template <class Done>
  void wait(const char* what, Done&& done) {
    const int64_t until = ms() + 20'000;
    while (good() && !done()) {
      if (ms() > until) fail(std::string("waited in vain for ") + what + missing_);
      step(false);
    }
  }
  bool agreed() {
    missing_ = ": gateways see different members";
    const uint64_t view = gateways_[0]->service().membership().view();
    return std::all_of(gateways_.begin(), gateways_.end(), [&](const auto& g) {
      return g->settled() && g->service().membership().view() == view;
    });
  }
  bool all_ready() {
    for (const auto& client : clients_) {
      if (client->ready()) continue;
      missing_ = ": " + client->name() + " waits for " + client->waits_for();
      return false;
    }
    missing_.clear();
    return true;
  }
  bool friends_right() {
    for (const auto& client : clients_) {
      for (const std::string& f : client->friends) {
        if (client->shows_online(f)) continue;
        missing_ = ": " + client->name() + " does not see " + f;
        return false;
      }
    }
    missing_.clear();
    return true;
  }
  bool finals_heard() {
    std::map<std::string, size_t> subscribers;
    for (const auto& client : clients_) {
      for (const std::string& topic : client->topics) ++subscribers[topic];
    }
    for (const auto& client : clients_) {
      for (const std::string& topic : client->topics) {
        const auto it = client->heard().find(topic);
        const size_t have = it == client->heard().end() ? 0 : it->second.size();
        if (have >= subscribers[topic] && client->unanswered() == 0) continue;
        missing_ = ": " + client->name() + " has " + std::to_string(have) + " of " +
                   std::to_string(subscribers[topic]) + " of " + topic;
        return false;
      }
    }
    missing_.clear();
    return true;
  }
  void check_finals() {
    std::map<std::string, std::pair<std::string, std::vector<std::string>>> first;
    for (const auto& client : clients_) {
      for (const auto& [topic, heard] : client->heard()) {
        const auto [it, fresh] = first.emplace(topic, std::pair{client->name(), heard});
        if (!fresh && it->second.second != heard) {
          fail(client->name() + " and " + it->second.first + " heard " + topic +
               " in different orders");
        }
      }
    }
  }
  void summarise() {
    for (const auto& g : gateways_) {
      if (g != nullptr) add(*g);
    }
    for (const auto& client : clients_) {
      outcome_.published += client->published;
      outcome_.refused += client->refused;
      outcome_.unanswered += client->unanswered();
    }
    for (const auto& writer : writers_) {
      outcome_.letters += writer->letters().written_in_all();
      outcome_.resumes += writer->letters().resumes;
    }
    outcome_.delivered = book_.delivered;
    outcome_.lost = bus_.lost;
    outcome_.hash = book_.hash;
  }

  const ClusterPlan plan_;
  base::Prng prng_;
  io::SimNetwork network_;
  LossyBus bus_;
  TopicBook book_;
  Shared shared_;
  std::vector<std::unique_ptr<Gateway>> gateways_;
  std::vector<std::unique_ptr<ClusterClient>> clients_;
  std::vector<std::unique_ptr<ClusterWriter>> writers_;
  std::map<uint32_t, int64_t> back_at_;
  uint64_t epochs_ = 0;
  std::string missing_;
  ClusterOutcome outcome_;
};

}  // namespace

ClusterOutcome run(const ClusterPlan& plan) { return Run(plan).run(); }

}  // namespace tidegate::sim
