// SPDX-License-Identifier: Apache-2.0
// A client of the cluster simulation: subscribes to some topics, publishes to them, watches
// friends, and looks at the order of what it is given. Thread: one. Owner: the simulation. Limits:
// none.
#pragma once

#include <cstdint>
#include <cstdio>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "client/client.h"
#include "io/sim_network.h"
#include "wire/event_messages.h"

namespace tidegate::sim {

// What is known of all clients together.
struct TopicBook {
  bool one_home = false;  // no partitions: an offset is given once
  std::map<std::pair<std::string, uint64_t>, std::string> said;
  uint64_t delivered = 0;
  uint64_t hash = 0;
};

class ClusterClient final : public client::ClientEvents {
 public:
  ClusterClient(uint32_t number, uint64_t seed, TopicBook& book)
      : number_(number), prng_(seed), book_(book), name_("c" + std::to_string(number)) {}

  std::vector<std::string> topics;   // that it subscribes to
  std::vector<std::string> friends;  // that it watches

  void connect(io::SimNetwork& network, uint16_t port) {
    disconnect(network);
    client::ClientConfig config;
    config.token = name_;
    config.keeps_picture = false;
    client_ = std::make_unique<client::Client>(config, *this, prng_.next());
    client_->start();
    socket_ = network.connect(port);
    ++connection_;
    asked_ = false;
    sequence_ = acked_ = 0;
    if (!book_.one_home) last_.clear();  // each side of a partition has offsets of its own
    heard_.clear();
    shown_.clear();
    waiting_.clear();
  }
  void disconnect(io::SimNetwork& network) {
    if (socket_ != nullptr) network.release(socket_);
    socket_ = nullptr;
  }
  bool connected() const { return socket_ != nullptr; }
  bool ready() const { return connected() && asked_ && waiting_.empty(); }
  std::string waits_for() const {
    if (!connected()) return "a connection";
    if (!asked_) return "its login";
    std::string text = "answers to";
    for (const auto& [sequence, what] : waiting_) text += " " + what;
    return text;
  }
  const std::string& name() const { return name_; }
  const std::string& problem() const { return problem_; }

  // False: the connection is over.
  bool turn(base::Instant now) {
    uint8_t buffer[8192];
    for (int i = 0; i < 64; ++i) {
      const uint32_t n = socket_->receive({buffer, sizeof buffer});
      if (n == 0) break;
      client_->on_bytes(now, {buffer, n});
    }
    if (!asked_ && client_->state() >= client::ClientState::kAuthenticated &&
        client_->state() != client::ClientState::kClosed) {
      ask();
    }
    const base::Bytes out = client_->outgoing();
    if (!out.empty()) client_->sent(socket_->send(out));
    return !socket_->closed() && client_->state() != client::ClientState::kClosed;
  }

  void publish(const std::string& topic, std::string_view text = {}) {
    uint8_t room[256];
    wire::PbWriter out(room);
    std::string data = name_ + ' ' + std::to_string(connection_) + ' ' + std::to_string(++count_);
    if (!text.empty()) (data += ' ') += text;
    wire::encode(out, wire::Publish{topic, base::as_bytes(data), 1});
    send(wire::MessageType::kPublish, out.written(), "PUBLISH " + topic);
    ++published;
  }
  // What came with this word, by topic, in order.
  const std::map<std::string, std::vector<std::string>>& heard() const { return heard_; }
  bool shows_online(const std::string& who) const {
    const auto it = shown_.find(who);
    return it != shown_.end() && it->second == 1;
  }
  size_t unanswered() const { return waiting_.size(); }

  uint64_t published = 0, refused = 0;

  void on_envelope(base::Instant, const wire::Envelope& m) override {
    if (m.requires_ack && m.sequence > acked_) {
      acked_ = m.sequence;
      wire::EnvelopeHead head{wire::MessageType::kAck};
      head.ack = acked_;
      uint8_t room[64];
      wire::MessageWriter writer(room, head);
      if (const uint32_t size = writer.finish(); size != 0) client_->send_binary({room, size});
    }
    switch (static_cast<wire::MessageType>(m.type)) {
      case wire::MessageType::kEvent:
        on_event(m.payload);
        break;
      case wire::MessageType::kReply: {
        wire::Reply reply;
        if (!wire::decode(m.payload, &reply)) problem_ = "a REPLY that is none";
        if (waiting_.erase(reply.request_sequence) == 0) problem_ = "a REPLY to nothing";
        refused += reply.code != 0 ? 1 : 0;
        break;
      }
      case wire::MessageType::kPresenceUpdate:
        on_shown(m.payload);
        break;
      case wire::MessageType::kFriendStatus: {
        wire::PbReader list(m.payload);
        while (list.next()) {
          if (list.field() == 1 && list.is(wire::WireType::kBytes)) on_shown(list.bytes());
        }
        break;
      }
      default:
        break;
    }
  }

 private:
  void note(const std::string& problem) {
    if (problem_.empty()) problem_ = problem;  // the first one tells most
  }
  void send(wire::MessageType type, base::Bytes payload, std::string what) {
    waiting_[++sequence_] = std::move(what);
    if (!client_->send_payload(static_cast<uint32_t>(type), payload, sequence_)) {
      problem_ = "a message does not fit";
    }
  }
  void ask() {
    asked_ = true;
    for (const std::string& topic : topics) {
      uint8_t room[128];
      wire::PbWriter out(room);
      // Where it ended, at whatever gateway that was.
      const auto had = last_.find(topic);
      wire::encode(out, wire::Subscribe{topic, had == last_.end() ? 0 : had->second.offset + 1});
      send(wire::MessageType::kSubscribe, out.written(), "SUBSCRIBE " + topic);
    }
    uint8_t room[512];
    wire::PbWriter out(room);
    for (const std::string& f : friends) out.text(1, f);
    client_->send_payload(static_cast<uint32_t>(wire::MessageType::kPresenceSubscribe),
                          out.written());
  }
  void on_shown(base::Bytes bytes) {
    wire::PresenceUpdate update;
    if (!wire::decode(bytes, &update)) problem_ = "a PRESENCE_UPDATE that is none";
    shown_[std::string(update.user_id)] = update.status;
  }
  void on_event(base::Bytes payload) {
    wire::Event event;
    if (!wire::decode(payload, &event)) {
      problem_ = "an EVENT that is none";
      return;
    }
    const std::string topic(event.topic);
    const std::string data(base::as_text(event.data));
    uint64_t& offset = last_[topic].offset;
    if (event.offset <= offset) {
      note(topic + " offset " + std::to_string(event.offset) + " behind " + std::to_string(offset) +
           " from " + data);
    }
    offset = event.offset;
    ++book_.delivered;
    for (const char c : data) book_.hash = (book_.hash ^ static_cast<uint8_t>(c)) * 0x100000001b3u;
    book_.hash ^= event.offset + number_;
    unsigned from = 0;
    unsigned connection = 0;
    unsigned count = 0;
    if (std::sscanf(data.c_str(), "c%u %u %u", &from, &connection, &count) != 3) {
      problem_ = "an EVENT that nobody published: " + data;
      return;
    }
    if (book_.one_home) {
      unsigned& before = last_[topic].counts[{from, connection}];
      if (count <= before) note(topic + ": " + data + " behind " + std::to_string(before));
      before = count;
      const auto [it, fresh] = book_.said.emplace(std::pair{topic, event.offset}, data);
      if (!fresh && it->second != data) {
        note(topic + " offset " + std::to_string(event.offset) + " is both '" + it->second +
             "' and '" + data + "'");
      }
    }
    if (data.ends_with(" final")) heard_[topic].push_back(data);
  }

  struct Last {
    uint64_t offset = 0;
    std::map<std::pair<unsigned, unsigned>, unsigned> counts;
  };
  uint32_t number_;
  base::Prng prng_;
  TopicBook& book_;
  std::string name_;
  std::unique_ptr<client::Client> client_;
  io::SimClientSocket* socket_ = nullptr;
  uint32_t connection_ = 0, count_ = 0;
  bool asked_ = false;
  uint64_t sequence_ = 0, acked_ = 0;
  std::map<uint64_t, std::string> waiting_;  // what it asked, by sequence
  std::map<std::string, Last> last_;
  std::map<std::string, std::vector<std::string>> heard_;
  std::map<std::string, uint32_t> shown_;
  std::string problem_;
};

}  // namespace tidegate::sim
