// SPDX-License-Identifier: Apache-2.0
// Homes of sessions on three gateways that share a store, all from one seed: clients drop and come
// back anywhere, gateways are killed, paused and started anew, the store is slow, goes away and
// comes back. What is checked: each message from client to client arrives once and in order,
// nothing that a client was told to be safe is forgotten, no session is lost, and at the end each
// session is on one gateway.
#include <gtest/gtest.h>

#include <map>
#include <optional>

#include "base/prng.h"
#include "mailbox/resume_nonce.h"
#include "shard/session_home.h"
#include "shared_store_model.h"

namespace tidegate::shard {
namespace {

using mailbox::MessageType;
using session::Resume;

constexpr uint32_t kGateways = 3;
constexpr uint32_t kClients = 5;

// The process of a gateway: its home shard is agent 0, connections are at agent 1.
struct Gateway final : mailbox::WakeSink {
  Gateway(SharedStore& store, uint64_t process) : keeper(store, process) {
    SessionConfig c;
    c.limit = 16;
    c.replay = {.messages = 4096, .bytes = 1 << 20, .pool_bytes = 4 << 20};
    c.stored = c.shared = true;
    home = std::make_unique<SessionHome>(c, 0, own, outbox, counters);
  }
  void wake_agent(mailbox::AgentId) override {}

  mailbox::Fabric fabric{{.shards = 2, .shard_ring_bytes = 1 << 20, .control_ring_bytes = 1 << 20}};
  mailbox::Mailbox own{fabric, 0}, connections{fabric, 1}, control{fabric, 2};
  Outbox outbox{own, 4 << 20};
  metrics::Counters counters;
  std::unique_ptr<SessionHome> home;
  KeeperModel keeper;
  bool paused = false;
};

struct Message {
  uint32_t from, to;
  uint64_t number;  // of those from `from`, over all receivers
};

class Client {
 public:
  std::string name;
  // Of the session, as the client knows it.
  uint64_t session = 0;
  uint32_t nonce = 0;
  uint64_t received = 0;
  // Of the connection.
  int gateway = -1;
  uint32_t slot = 0;
  bool in = false;
  uint32_t asked_nonce = 0;
  bool confirmed = false;  // it has sent something since it came in
  uint64_t delivered = 0;  // of what was written, to the gateway's handler
  // What it wrote; the first `safe` of them were acknowledged.
  std::vector<Message> written;
  uint64_t safe = 0;
  std::vector<Message> read;
};

class World {
 public:
  World(uint64_t seed, bool faults) : prng_(seed), faults_(faults) {
    for (uint32_t g = 0; g < kGateways; ++g) start(g);
    clients_.resize(kClients);
    for (uint32_t c = 0; c < kClients; ++c) clients_[c].name = "client" + std::to_string(c);
  }

  std::string run() {
    for (int step = 0; step < 3000 && problem_.empty(); ++step) {
      if (faults_) break_something();
      for (Client& c : clients_) {
        if (c.gateway < 0 && prng_.chance(0.1)) connect(c, pick_gateway());
        // At any moment, most often before it has sent anything.
        if (c.gateway >= 0 && prng_.chance(c.confirmed ? 0.01 : 0.1)) drop(c, prng_.chance(0.5));
        if (c.in && !c.confirmed && prng_.chance(0.2)) confirm(c);
        if (c.session != 0 && c.written.size() < 150 && prng_.chance(0.1)) write(c);
      }
      turn(prng_.chance(0.5));
    }
    // No more faults; everybody comes back and hears what is left.
    store_.away = false;
    for (auto& g : gateways_) g->paused = false;
    for (int step = 0; step < 4000 && problem_.empty(); ++step) {
      for (Client& c : clients_) {
        if (c.gateway < 0) connect(c, pick_gateway());
        if (c.in) confirm(c);
      }
      turn(true);
    }
    return problem_.empty() ? check() : problem_;
  }
  uint64_t takeovers = 0, letters = 0, kills = 0, outages = 0, resumes = 0;

 private:
  void fail(const std::string& what) {
    if (problem_.empty()) problem_ = what;
  }
  uint32_t pick_gateway() { return static_cast<uint32_t>(prng_.below(kGateways)); }
  void start(uint32_t g) {
    if (gateways_.size() <= g) gateways_.resize(g + 1);
    if (gateways_[g]) count(*gateways_[g]);
    gateways_[g] = std::make_unique<Gateway>(store_, ++processes_);
  }
  void count(const Gateway& g) {
    takeovers += g.counters.get(metrics::Counter::kSessionsTakenOver);
    letters += g.counters.get(metrics::Counter::kLettersForwarded);
  }

  void break_something() {
    // What was acknowledged while the store was away is only in memory: that it and a gateway go
    // away together is not survived, and not tried.
    const bool whole = !store_.away && store_.settle == 0;
    if (whole && prng_.chance(0.004)) {
      const uint32_t g = pick_gateway();
      ++kills;
      for (Client& c : clients_) {
        if (c.gateway == static_cast<int>(g)) lose(c);
      }
      start(g);
    }
    if (whole && prng_.chance(0.004)) gateways_[pick_gateway()]->paused = true;
    if (prng_.chance(0.02)) {
      for (auto& g : gateways_) g->paused = false;
    }
    // Nor that a gateway has not heard yet what it lost when the store goes away.
    bool heard = true;
    for (const auto& [process, news] : store_.news) {
      heard = heard && (news.empty() || process + kGateways <= processes_);
    }
    for (const auto& g : gateways_) heard = heard && !g->paused && g->keeper.posts() == 0;
    if (whole && heard && prng_.chance(0.004)) {
      store_.away = true;
      ++outages;
    } else if (store_.away && prng_.chance(0.02)) {
      store_.away = false;
      store_.settle = 200;
    }
    for (auto& g : gateways_) {
      if (!whole) g->paused = false;
    }
  }

  template <class M>
  std::vector<uint8_t> bytes_of(const M& message, std::string_view tail) {
    std::vector<uint8_t> bytes(sizeof message + tail.size());
    std::memcpy(bytes.data(), &message, sizeof message);
    if (!tail.empty()) std::memcpy(bytes.data() + sizeof message, tail.data(), tail.size());
    return bytes;
  }

  // From a connection's shard to the home, in order.
  template <class M>
  void to_home(uint32_t g, const M& message, std::string_view tail) {
    EXPECT_TRUE(gateways_[g]->connections.post(0, message, base::as_bytes(tail)));
  }

  void connect(Client& c, uint32_t g) {
    mailbox::SessionOpen open{};
    c.slot = ++slots_;
    c.gateway = static_cast<int>(g);
    c.in = c.confirmed = false;
    c.asked_nonce = c.session == 0 ? ++nonces_ : mailbox::nonce_after(c.nonce);
    open.connection = {c.slot, 1};
    open.connection_shard = 1;
    open.session = 1'000'000 + slots_;
    open.nonce = c.asked_nonce;
    open.since_ms = static_cast<uint32_t>(store_.step) + 1;
    open.player_bytes = static_cast<uint8_t>(c.name.size());
    if (c.session != 0) {
      open.resume = static_cast<uint8_t>(Resume::kResumed);
      open.resume_session = c.session;
      open.resume_nonce = c.nonce;
    }
    to_home(g, open, c.name);
  }
  // Its gateway is not there any more.
  void lose(Client& c) {
    c.gateway = -1;
    c.in = c.confirmed = false;
  }
  // The socket ends. `silent`: the gateway will find out much later.
  void drop(Client& c, bool silent) {
    const auto g = static_cast<uint32_t>(c.gateway);
    if (c.in && !silent) leave(c, g, c.slot);
    if (c.in && silent) dead_.push_back({c.name, c.session, c.slot, g, c.delivered});
    lose(c);
  }
  void leave(const Client& c, uint32_t g, uint32_t slot) {
    mailbox::SessionLeft left{};
    left.connection = {slot, 1};
    left.session = c.session;
    left.received = c.delivered;
    left.connection_shard = 1;
    to_home(g, left, c.name);
  }

  void write(Client& c) {
    const auto to = static_cast<uint32_t>(prng_.below(kClients));
    const auto row = store_.rows.find(clients_[to].name);
    // It was never there; or a login while the store was away began another one elsewhere.
    if (clients_[to].session == 0 || row == store_.rows.end() ||
        row->second.id != clients_[to].session) {
      return;
    }
    c.written.push_back({static_cast<uint32_t>(&c - clients_.data()), to, c.written.size() + 1});
    deliver_written(c);
  }
  // To its gateway's handler, which passes it on with acknowledgement.
  void deliver_written(Client& c) {
    while (c.confirmed && c.delivered < c.written.size()) {
      const Message& m = c.written[c.delivered++];
      mailbox::SessionSend send{};
      send.origin = (uint64_t{m.from} + 1) << 32 | m.number;
      send.message_type = 1000;
      const std::string& to = clients_[m.to].name;
      send.player_bytes = static_cast<uint32_t>(to.size());
      const auto g = static_cast<uint32_t>(c.gateway);
      to_home(g, send, to + std::string(reinterpret_cast<const char*>(&m), sizeof m));
      // The acknowledgement is asked for later, and in a message of its own.
      to_home(g, progress_of(c), c.name);
    }
  }

  mailbox::SessionProgress progress_of(const Client& c) {
    mailbox::SessionProgress progress{};
    progress.connection = {c.slot, 1};
    progress.connection_shard = 1;
    progress.session = c.session;
    progress.acked = c.received;
    progress.received = c.delivered;
    progress.confirmed = c.confirmed ? 1 : 0;
    return progress;
  }
  // Its first message: it has the token that it was given.
  void confirm(Client& c) {
    if (c.confirmed) return;
    c.confirmed = true;
    to_home(static_cast<uint32_t>(c.gateway), progress_of(c), c.name);
    deliver_written(c);
  }

  Client* holder(uint32_t g, base::ConnectionRef connection) {
    for (Client& c : clients_) {
      if (c.gateway == static_cast<int>(g) && c.slot == connection.slot) return &c;
    }
    return nullptr;
  }

  // What the home says to connections.
  void on_connection(uint32_t g, MessageType type, base::Bytes bytes) {
    base::Bytes tail;
    if (type == MessageType::kSessionOpened) {
      const auto opened = mailbox::read_message<mailbox::SessionOpened>(bytes, &tail);
      Client* c = holder(g, opened.connection);
      if (c == nullptr) {
        if (opened.session == 0) return;
        mailbox::SessionLeft left{};
        left.connection = opened.connection;
        left.session = opened.session;
        left.received = opened.received;
        left.connection_shard = 1;
        to_home(g, left, base::as_text(tail.first(opened.player_bytes)));
        return;
      }
      if (opened.session == 0) {
        if (opened.refused != 3) fail(c->name + " was refused");
        lose(*c);
        return;
      }
      on_opened(*c, opened);
    } else if (type == MessageType::kSessionDeliver) {
      const auto d = mailbox::read_message<mailbox::SessionDeliver>(bytes, &tail);
      Client* c = holder(g, d.connection);
      if (c == nullptr || c->session != d.session) return;
      Message m;
      std::memcpy(&m, tail.data(), sizeof m);
      if (d.sequence > c->received + 1) fail(c->name + " misses a message");
      if (d.sequence != c->received + 1) return;
      ++c->received;
      c->read.push_back(m);
      c->confirmed = true;
      to_home(g, progress_of(*c), c->name);
    } else if (type == MessageType::kSessionRelease) {
      const auto release = mailbox::read_message<mailbox::SessionRelease>(bytes, &tail);
      if (release.asks != 0) {
        if (holder(g, release.connection) == nullptr) return;
        base::Bytes rest;
        auto open = mailbox::read_message<mailbox::SessionOpen>(tail, &rest);
        open.sure = 1;
        to_home(g, open, base::as_text(rest));
        return;
      }
      std::erase_if(dead_, [&](const Dead& d) {
        if (d.gateway != g || d.slot != release.connection.slot) return false;
        Client gone;
        gone.name = d.name;
        gone.session = d.session;
        gone.delivered = d.delivered;
        leave(gone, g, d.slot);
        return true;
      });
      if (Client* c = holder(g, release.connection)) {
        leave(*c, g, c->slot);
        lose(*c);
      }
      if (release.open_bytes == 0) return;
      base::Bytes rest;
      const auto open = mailbox::read_message<mailbox::SessionOpen>(tail, &rest);
      to_home(g, open, base::as_text(rest));
    } else if (type == MessageType::kSessionClosed) {
      const auto closed = mailbox::read_message<mailbox::SessionClosed>(bytes);
      fail("a session was closed, reason " + std::to_string(closed.end));
    } else if (type == MessageType::kSessionSaved) {
      const auto saved = mailbox::read_message<mailbox::SessionSaved>(bytes);
      if (Client* c = holder(g, saved.connection)) c->safe = std::max(c->safe, saved.received);
    }
  }
  void on_opened(Client& c, const mailbox::SessionOpened& opened) {
    const bool resumed = opened.resume == static_cast<uint8_t>(Resume::kResumed);
    if (c.session != 0 && !resumed) {
      fail(c.name + " lost its session: " + session::name_of(static_cast<Resume>(opened.resume)));
    }
    if (resumed) ++resumes;
    if (resumed && opened.session != c.session) fail(c.name + " got another session");
    if (opened.received < c.safe) fail(c.name + " was told that more is safe than is");
    if (opened.received > c.written.size()) fail(c.name + " never wrote so much");
    if (opened.last_sent < c.received) fail(c.name + " knows more than was sent");
    c.session = opened.session;
    c.nonce = c.asked_nonce;
    c.in = true;
    c.safe = std::max(c.safe, opened.safe);
    c.delivered = opened.received;
  }

  void turn(bool busy) {
    ++store_.step;
    if (store_.settle > 0) --store_.settle;
    now_ = now_ + base::Duration{50'000};  // the journal's patience never ends
    for (uint32_t g = 0; g < kGateways; ++g) {
      Gateway& gateway = *gateways_[g];
      gateway.connections.publish_all(gateway);
      if (gateway.paused) continue;
      gateway.own.drain(64, [&](mailbox::AgentId, MessageType type, base::Bytes bytes) {
        to_shard(gateway, type, bytes);
      });
      for (size_t n = gateway.keeper.posts(); n != 0 && (busy || prng_.chance(0.7)); --n) {
        gateway.keeper.deliver(
            [&](MessageType type, std::vector<uint8_t> bytes) { to_shard(gateway, type, bytes); });
      }
      gateway.home->turn(now_, 1000);
      gateway.outbox.retry();
      gateway.own.publish_all(gateway);
      gateway.control.drain(1000, [&](mailbox::AgentId, MessageType type, base::Bytes bytes) {
        if (type == MessageType::kSessionRecord) gateway.keeper.on_record(bytes);
      });
      if (busy || prng_.chance(0.3)) gateway.keeper.step(prng_.below(20));
      gateway.connections.drain(1000, [&](mailbox::AgentId, MessageType type, base::Bytes bytes) {
        on_connection(g, type, bytes);
      });
    }
  }
  void to_shard(Gateway& gateway, MessageType type, base::Bytes bytes) {
    SessionHome& home = *gateway.home;
    switch (type) {
      case MessageType::kSessionOpen:
        return home.on_open(bytes, 1000);
      case MessageType::kSessionLeft:
        return home.on_left(bytes, now_, 1000);
      case MessageType::kSessionProgress:
        return home.on_progress(bytes, now_);
      case MessageType::kSessionSend:
        return home.on_send(bytes, now_);
      case MessageType::kSessionsStored:
        return home.on_stored(bytes);
      case MessageType::kSessionClaimed:
        return home.on_claimed(bytes, now_, 1000);
      case MessageType::kSessionTaken:
        return home.on_taken(bytes);
      case MessageType::kSessionLetter:
        return home.on_letter(bytes, now_);
      default:
        fail("not a message for a home");
    }
  }

  std::string check() {
    for (const auto& g : gateways_) count(*g);
    for (uint32_t c = 0; c < kClients; ++c) {
      const Client& client = clients_[c];
      if (!client.in) return client.name + " is not in at the end";
      if (client.safe != client.written.size()) return client.name + " waits for its letters";
      std::map<uint32_t, std::vector<uint64_t>> expected, got;
      for (const Client& from : clients_) {
        for (const Message& m : from.written) {
          if (m.to == c) expected[m.from].push_back(m.number);
        }
      }
      for (const Message& m : client.read) got[m.from].push_back(m.number);
      for (const auto& [from, numbers] : expected) {
        if (got[from] == numbers) continue;
        std::string text = client.name + " read of " + std::to_string(from) + ":";
        for (const uint64_t n : got[from]) text += " " + std::to_string(n);
        text += "; written:";
        for (const uint64_t n : numbers) text += " " + std::to_string(n);
        return text;
      }
      uint32_t homes = 0;
      for (const auto& g : gateways_) {
        for (uint32_t row = 0; row < g->home->table().high_water(); ++row) {
          homes += g->home->table().at(row).id == client.session ? 1 : 0;
        }
      }
      if (homes != 1) return client.name + " is on " + std::to_string(homes) + " gateways";
    }
    return {};
  }

  struct Dead {  // a connection whose gateway does not know yet that it is
    std::string name;
    uint64_t session;
    uint32_t slot, gateway;
    uint64_t delivered;
  };

  base::Prng prng_;
  bool faults_;
  SharedStore store_;
  std::vector<std::unique_ptr<Gateway>> gateways_;
  std::vector<Client> clients_;
  std::vector<Dead> dead_;
  uint64_t processes_ = 0;
  uint32_t slots_ = 0, nonces_ = 0;
  base::Instant now_{};
  std::string problem_;
};

TEST(SharedSessions, MoveBetweenGateways) {
  for (uint64_t seed = 1; seed <= 10; ++seed) {
    World world(seed, false);
    ASSERT_EQ(world.run(), "") << "seed " << seed;
    EXPECT_GT(world.takeovers, 20u);
    EXPECT_GT(world.letters, 100u);
  }
}

TEST(SharedSessions, SurviveKillsPausesAndAStoreThatGoesAway) {
  uint64_t kills = 0, outages = 0, resumes = 0;
  // 93: a message for a player who had just logged in anew elsewhere was put down to the session
  // before.
  for (uint64_t seed = 1; seed <= 100; ++seed) {
    World world(seed, true);
    ASSERT_EQ(world.run(), "") << "seed " << seed;
    kills += world.kills;
    outages += world.outages;
    resumes += world.resumes;
  }
  EXPECT_GT(kills, 500u);
  EXPECT_GT(outages, 100u);
  EXPECT_GT(resumes, 5000u);
}

}  // namespace
}  // namespace tidegate::shard
