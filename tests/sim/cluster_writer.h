// SPDX-License-Identifier: Apache-2.0
// A client of the cluster simulation that writes letters to others with acknowledgement and
// resumes its session wherever it comes in; and the store that the gateways share, which is slow,
// goes away and comes back.
// Thread: one. Owner: the simulation. Limits: none.
#pragma once

#include <memory>
#include <string>

#include "../unit/shard/shared_store_model.h"
#include "client/letters.h"
#include "io/sim_network.h"

namespace tidegate::sim {

class ClusterWriter final : public client::ClientEvents {
 public:
  ClusterWriter(uint32_t number, uint64_t seed)
      : prng_(seed), name_("w" + std::to_string(number)) {}

  void connect(io::SimNetwork& network, uint16_t port) {
    disconnect(network);
    client::ClientConfig config;
    config.token = name_;
    config.path = letters_.path();
    config.keeps_picture = false;
    client_ = std::make_unique<client::Client>(config, *this, prng_.next());
    client_->start();
    socket_ = network.connect(port);
  }
  void disconnect(io::SimNetwork& network) {
    if (socket_ != nullptr) network.release(socket_);
    socket_ = nullptr;
    letters_.pause();
  }
  bool connected() const { return socket_ != nullptr; }

  // False: the connection is over.
  bool turn(base::Instant now) {
    uint8_t buffer[8192];
    for (int i = 0; i < 64; ++i) {
      const uint32_t n = socket_->receive({buffer, sizeof buffer});
      if (n == 0) break;
      client_->on_bytes(now, {buffer, n});
    }
    const base::Bytes out = client_->outgoing();
    if (!out.empty()) client_->sent(socket_->send(out));
    return !socket_->closed() && client_->state() != client::ClientState::kClosed;
  }
  void write(const ClusterWriter& to) { letters_.write(*client_, to.name()); }
  void on_envelope(base::Instant, const wire::Envelope& m) override {
    letters_.on_envelope(*client_, m);
  }

  const std::string& name() const { return name_; }
  const client::Letters& letters() const { return letters_; }
  // Everything it wrote is safe, and everything written to it has come.
  bool settled(const std::vector<std::unique_ptr<ClusterWriter>>& all, std::string* missing) const {
    if (!connected() || !letters_.settled()) {
      *missing = name_ + " waits for its letters to be acknowledged";
      return false;
    }
    for (const auto& from : all) {
      const uint64_t written = from->letters().written_to(name_);
      const uint64_t read = letters_.read_from(from->name());
      if (read == written) continue;
      *missing = name_ + " has " + std::to_string(read) + " of " + std::to_string(written) +
                 " letters from " + from->name();
      return false;
    }
    return true;
  }

 private:
  base::Prng prng_;
  std::string name_;
  client::Letters letters_;
  std::unique_ptr<client::Client> client_;
  io::SimClientSocket* socket_ = nullptr;
};

// One gateway's way to the store: a keeper for each home shard, each with a number of its own, as
// a player's home shard is the same everywhere.
class StoreLink {
 public:
  // `slow`: turns in a row in which nothing is written, at most. `most`: changes in a turn.
  StoreLink(shard::SharedStore& store, uint32_t shards, uint64_t* processes, uint32_t slow,
            uint32_t most, uint64_t seed)
      : prng_(seed), slow_most_(slow + 1), most_(most) {
    for (uint32_t i = 0; i < shards; ++i) {
      numbers_.push_back(++*processes);
      keepers_.push_back(std::make_unique<shard::KeeperModel>(store, numbers_.back()));
    }
  }
  void on_record(uint32_t shard, base::Bytes bytes) { keepers_[shard]->on_record(bytes); }
  // Once a turn. A slow store writes nothing for a while.
  void turn(mailbox::Mailbox& mailbox, bool faults) {
    if (faults && prng_.chance(0.005)) slow_ = static_cast<uint32_t>(prng_.below(slow_most_));
    if (!faults) slow_ = 0;
    const bool idle = slow_ != 0;
    if (idle) --slow_;
    // What shards say is written in the order in which it came, as by one keeper: what a client's
    // message caused at one home comes before its acknowledgement at another.
    std::vector<size_t> counts(keepers_.size());
    for (uint64_t n = 1 + prng_.below(most_); n != 0; --n) {
      size_t first = SIZE_MAX;
      for (size_t i = 0; i < keepers_.size(); ++i) {
        if (counts[i] == keepers_[i]->waiting()) continue;
        if (first == SIZE_MAX ||
            keepers_[i]->arrival(counts[i]) < keepers_[first]->arrival(counts[first])) {
          first = i;
        }
      }
      if (first == SIZE_MAX) break;
      ++counts[first];
    }
    for (uint32_t i = 0; i < keepers_.size(); ++i) {
      if (!idle) keepers_[i]->step(counts[i]);
      for (size_t n = keepers_[i]->posts(); n != 0; --n) {
        keepers_[i]->deliver([&](mailbox::MessageType type, std::vector<uint8_t> bytes) {
          TG_ASSERT(mailbox.post_raw(i, static_cast<uint16_t>(type), bytes));
        });
      }
    }
  }
  // Nothing that the store has said is still unheard.
  bool heard(const shard::SharedStore& store) const {
    for (uint32_t i = 0; i < keepers_.size(); ++i) {
      const auto news = store.news.find(numbers_[i]);
      if (keepers_[i]->posts() != 0 || (news != store.news.end() && !news->second.empty())) {
        return false;
      }
    }
    return true;
  }

 private:
  base::Prng prng_;
  uint32_t slow_most_, most_;
  uint32_t slow_ = 0;
  std::vector<uint64_t> numbers_;
  std::vector<std::unique_ptr<shard::KeeperModel>> keepers_;
};

}  // namespace tidegate::sim
