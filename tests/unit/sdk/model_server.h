// SPDX-License-Identifier: Apache-2.0
// A network without sockets and a server without a world, for the client library's tests: virtual
// time, byte streams that can be cut at any byte, and the server's half of the login, of resume and
// of acknowledged delivery as docs/protocol.md has them.
// Thread: the test. Owner: values. Limits: one client.
#pragma once

#include <gtest/gtest.h>

#include <algorithm>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "../client/server_bytes.h"
#include "base/prng.h"
#include "base/time.h"
#include "tidegate/client.h"

namespace tidegate::sdk {

using client::ByteString;
using wire::MessageType;

// A stream's two ends: what the client sent and the server has not taken, and the other way.
struct Wire {
  ByteString up, down;
  std::string host;
  bool connected = true;  // what status() answers
  bool refused = false;
  bool cut = false;           // lost for both
  bool ended = false;         // the server's end is closed: the client reads to the end
  bool open = true;           // the client has not closed it
  size_t up_room = SIZE_MAX;  // bytes the "kernel" takes
  size_t up_total = 0, down_total = 0;
  size_t cut_up_at = SIZE_MAX, cut_down_at = SIZE_MAX;  // bytes after which it is cut
};

class VirtualNet {
 public:
  explicit VirtualNet(uint64_t seed = 1) : random_(seed) {}

  tidegate_client_transport table() {
    tidegate_client_transport t{};
    t.struct_size = sizeof t;
    t.user = this;
    t.open = [](void* u, const char* host, uint16_t, int32_t) -> void* {
      auto& net = *static_cast<VirtualNet*>(u);
      if (net.refuse_open) return nullptr;
      net.wires.push_back(std::make_unique<Wire>());
      net.wires.back()->host = host;
      if (net.on_open) net.on_open(*net.wires.back());
      return net.wires.back().get();
    };
    t.status = [](void*, void* link) -> int32_t {
      const Wire& w = *static_cast<Wire*>(link);
      return w.refused || w.cut ? -1 : w.connected ? 1 : 0;
    };
    t.send = [](void*, void* link, const void* data, size_t size) -> int64_t {
      Wire& w = *static_cast<Wire*>(link);
      if (w.cut || w.ended) return -1;
      size = std::min({size, w.up_room, w.cut_up_at - std::min(w.cut_up_at, w.up_total)});
      const auto* bytes = static_cast<const uint8_t*>(data);
      w.up.insert(w.up.end(), bytes, bytes + size);
      w.up_total += size;
      if (w.up_room != SIZE_MAX) w.up_room -= size;
      if (w.up_total >= w.cut_up_at) w.cut = true;
      return static_cast<int64_t>(size);
    };
    t.receive = [](void* u, void* link, void* data, size_t room) -> int64_t {
      Wire& w = *static_cast<Wire*>(link);
      if (w.cut && w.down.empty()) return -1;
      size_t size = std::min(room, w.down.size());
      // Streams come in pieces of any size.
      if (size > 1 && static_cast<VirtualNet*>(u)->fragment) {
        size = 1 + static_cast<VirtualNet*>(u)->random_.below(size);
      }
      size = std::min(size, w.cut_down_at - std::min(w.cut_down_at, w.down_total));
      std::copy_n(w.down.begin(), size, static_cast<uint8_t*>(data));
      w.down.erase(w.down.begin(), w.down.begin() + static_cast<std::ptrdiff_t>(size));
      w.down_total += size;
      if (w.down_total >= w.cut_down_at) {
        w.cut = true;
        w.down.clear();
      }
      if (size == 0 && (w.ended || w.cut)) return -1;
      return static_cast<int64_t>(size);
    };
    t.close = [](void*, void* link) { static_cast<Wire*>(link)->open = false; };
    t.now_ns = [](void* u) { return static_cast<VirtualNet*>(u)->now.ns; };
    t.unix_ms = [](void* u) {
      return 1'700'000'000'000 + static_cast<VirtualNet*>(u)->now.ns / 1'000'000;
    };
    t.random = [](void* u) { return static_cast<VirtualNet*>(u)->random_.next(); };
    return t;
  }

  Wire* wire() { return wires.empty() ? nullptr : wires.back().get(); }

  base::Instant now{1'000'000'000};
  std::vector<std::unique_ptr<Wire>> wires;
  std::function<void(Wire&)> on_open;
  bool refuse_open = false;
  bool fragment = false;

 private:
  base::Prng random_;
};

// The server's session with one player, over any number of connections.
class ModelServer {
 public:
  explicit ModelServer(VirtualNet& net) : net_(net) {}

  // Answers what came since the last turn.
  void turn() {
    Wire* const w = net_.wire();
    if (w == nullptr) return;
    if (w != wire_) {
      wire_ = w;
      request_.clear();
      in_.clear();
      upgraded_ = hello_ = false;
      receiver_ = {};
    }
    if (w->cut || w->ended) return;
    in_.insert(in_.end(), w->up.begin(), w->up.end());
    w->up.clear();
    if (!upgraded_ && !answer_upgrade()) return;
    size_t used = 0;
    while (!w->ended) {
      protocol::FrameView frame;
      if (protocol::parse_frame(base::MutableBytes(in_).subspan(used), protocol::Role::kServer,
                                1 << 20, frame) != protocol::ParseStatus::kFrame) {
        break;
      }
      used += frame.consumed;
      const protocol::Received got = receiver_.on_frame(frame);
      if (got.event == protocol::ReceiveEvent::kMessage) {
        on_message(frame.payload);
      } else if (got.event == protocol::ReceiveEvent::kClose) {
        closes.push_back(got.close_code);
        w->ended = true;
      }
    }
    in_.erase(in_.begin(), in_.begin() + static_cast<std::ptrdiff_t>(used));
  }

  void put(const ByteString& bytes) { client::append(wire_->down, bytes); }
  void send(const ByteString& frames) { put(client::ws_binary(frames)); }
  template <class Payload>
  void send(MessageType type, const Payload& payload) {
    send(client::frame_of(type, payload));
  }
  // With a sequence; kept until acknowledged, and sent again after a resume.
  void send_acknowledged(uint32_t type, const std::string& text) {
    kept_.push_back({next_out_++, type, text});
    if (upgraded_ && !wire_->cut && !wire_->ended) send(frame_of_kept(kept_.back()));
  }
  void close(uint16_t code) {
    ByteString out(protocol::kControlFrameMax);
    out.resize(protocol::write_close(out.data(), code, "said the server"));
    put(out);
    wire_->ended = true;
  }
  void world(const std::vector<wire::PlayerStateUpdate>& players) {
    send(client::frame_of(MessageType::kWorldState, base::Bytes(client::world_state(players))));
  }

  // What a test sets.
  int refuse_status = 0;  // answer of the upgrade instead of 101
  std::string refuse_fields;
  bool resumes = true;  // keeps the session over connections
  bool enters = true;   // sends a first state after CLIENT_HELLO
  bool greets = true;   // CONNECTION_ESTABLISHED comes
  bool logs_in = true;  // AUTHENTICATION_RESULT comes
  uint32_t heartbeat_ms = 0;
  std::string steer_speed;  // empty: players are not moved by steering
  std::string steer_delay;
  std::string player = "me";
  // What a test sees.
  std::vector<std::string> delivered;  // payloads with acknowledgement, once each
  std::vector<std::string> plain;      // of other custom messages
  std::vector<std::string> heads;      // upgrade requests
  std::vector<wire::PlayerMovement> moves;
  std::vector<uint32_t> waits;  // of each PLAYER_STEER
  std::vector<uint16_t> closes;
  std::map<uint32_t, uint32_t> types;
  std::vector<uint64_t> hello_acks;  // `ack` of each CLIENT_HELLO
  uint32_t gaps = 0, resumed = 0, logins = 0;
  bool answers_beats = true;

 private:
  struct Kept {
    uint64_t sequence;
    uint32_t type;
    std::string text;
  };

  ByteString frame_of_kept(const Kept& k) {
    wire::EnvelopeHead head{};
    head.type = static_cast<MessageType>(k.type);
    head.sequence = k.sequence;
    head.requires_ack = true;
    head.ack = last_in_;
    ByteString out(4096);
    wire::MessageWriter writer(out, head);
    writer.payload().raw(k.text.data(), k.text.size());
    out.resize(writer.finish());
    return out;
  }

  bool answer_upgrade() {
    const std::string text(in_.begin(), in_.end());
    const size_t end = text.find("\r\n\r\n");
    if (end == std::string::npos) return false;
    heads.push_back(text.substr(0, end));
    in_.erase(in_.begin(), in_.begin() + static_cast<std::ptrdiff_t>(end) + 4);
    if (refuse_status != 0) {
      put(client::bytes_of("HTTP/1.1 " + std::to_string(refuse_status) + " no\r\n" + refuse_fields +
                           "Content-Length: 2\r\n\r\n{}"));
      wire_->ended = true;
      return false;
    }
    upgraded_ = true;
    ++logins;
    put(client::switching_protocols(heads.back()));
    const size_t at = heads.back().find("resume=");
    const bool asked = at != std::string::npos;
    const bool known = asked && resumes && heads.back().compare(at + 7, token_.size(), token_) == 0;
    if (!known) {
      last_in_ = 0;
      next_out_ = 1;
      kept_.clear();
      // The same for the life of the session: a client that lost the connection before it heard of
      // a new one has only this.
      token_ = "resume-" + std::to_string(logins);
    }
    wire::ConnectionEstablished e;
    e.resume_token = token_;
    e.heartbeat_interval = heartbeat_ms;
    e.tick_rate = 60;
    e.cell_size = "64";
    e.steer_speed = steer_speed;
    e.steer_delay = steer_delay;
    if (!greets) return true;
    send(MessageType::kConnectionEstablished, e);
    if (!logs_in) return true;
    wire::AuthenticationResult a;
    a.success = true;
    a.user_id = player;
    send(MessageType::kAuthenticationResult, a);
    if (asked) {
      wire::ResumeResult r;
      r.resumed = known;
      r.last_client_sequence = last_in_;
      resumed += known;
      send(MessageType::kResumeResult, r);
      for (const Kept& k : kept_) send(frame_of_kept(k));
    }
    return true;
  }

  void on_message(base::MutableBytes bytes) {
    wire::FrameReader frames(bytes);
    base::Bytes payload;
    while (frames.next(&payload) == wire::FrameStatus::kFrame) {
      wire::Envelope m;
      if (!wire::decode_envelope(payload, &m)) continue;
      ++types[m.type];
      std::erase_if(kept_, [&m](const Kept& k) { return k.sequence <= m.ack; });
      if (m.requires_ack && m.sequence != 0) {
        on_sequence(m);
        continue;
      }
      switch (static_cast<MessageType>(m.type)) {
        case MessageType::kClientHello:
          hello_acks.push_back(m.ack);
          hello_ = true;
          if (enters) world({client::state_of(player)});
          break;
        case MessageType::kHeartbeat:
          if (answers_beats) send(client::frame_of(MessageType::kPong, m.payload));
          break;
        case MessageType::kTimeSync: {
          wire::TimeSync t;
          wire::decode(m.payload, &t);
          t.server_time = 1'800'000'000'000 + net_.now.ns / 1'000'000;
          t.server_tick = static_cast<uint32_t>(net_.now.ns / 16'666'667);
          send(MessageType::kTimeSync, t);
          break;
        }
        case MessageType::kPlayerMove: {
          wire::PlayerMovement move;
          wire::decode(m.payload, &move);
          moves.push_back(move);
          break;
        }
        case MessageType::kPlayerSteer: {
          wire::PlayerSteer steer;
          wire::decode(m.payload, &steer);
          waits.push_back(steer.wait);
          break;
        }
        default:
          if (m.type >= 1000) plain.emplace_back(base::as_text(m.payload));
          break;
      }
    }
  }

  void on_sequence(const wire::Envelope& m) {
    if (m.sequence == last_in_ + 1) {
      last_in_ = m.sequence;
      delivered.emplace_back(base::as_text(m.payload));
    } else if (m.sequence > last_in_) {
      ++gaps;
    }
    wire::EnvelopeHead head{};
    head.type = MessageType::kAck;
    head.ack = last_in_;
    ByteString out(256);
    wire::MessageWriter writer(out, head);
    out.resize(writer.finish());
    send(out);
  }

  VirtualNet& net_;
  Wire* wire_ = nullptr;
  std::string request_;
  ByteString in_;
  bool upgraded_ = false, hello_ = false;
  protocol::WsReceiver receiver_;
  std::string token_;
  uint64_t last_in_ = 0;
  uint64_t next_out_ = 1;
  std::vector<Kept> kept_;
};

// A client with the two, and what it told.
class Game {
 public:
  explicit Game(uint64_t seed = 1) : net(seed), server(net) { transport = net.table(); }
  ~Game() { tidegate_client_destroy(client); }

  void create(std::function<void(tidegate_client_config&)> change = {}) {
    tidegate_client_config config{};
    config.struct_size = sizeof config;
    static const char* const kEndpoints[] = {"ws://one/ws", "ws://two/ws"};
    config.endpoints = kEndpoints;
    config.endpoint_count = 1;
    config.protobuf = 1;
    config.transport = &transport;
    if (change) change(config);
    char problem[200] = "";
    if (tidegate_client_create(&config, &client, problem, sizeof problem) != TIDEGATE_CLIENT_OK) {
      ADD_FAILURE() << problem;
      return;
    }
    for (int32_t kind = 0; kind <= TIDEGATE_EVENT_STATE_RESULT; ++kind) {
      tidegate_client_listen(
          client, kind,
          [](void* user, tidegate_client*, const tidegate_client_event* e) {
            static_cast<Game*>(user)->on_event(*e);
          },
          this);
    }
  }
  void on_event(const tidegate_client_event& e) {
    ++counts[e.kind];
    if (e.kind == TIDEGATE_EVENT_STATE) {
      states.push_back(e.state);
      EXPECT_EQ(e.state_before, last_state);
      last_state = e.state;
    } else if (e.kind == TIDEGATE_EVENT_LOST) {
      lost_code = e.code;
      lost_text.assign(e.text.data, e.text.size);
      retry_ms = e.retry_ms;
    } else if (e.kind == TIDEGATE_EVENT_MESSAGE) {
      messages.emplace_back(static_cast<const char*>(e.payload.data), e.payload.size);
    }
    if (hook) hook(e);
  }
  // One step of `ms`: the client, the server, the client.
  bool step(int64_t ms = 10) {
    net.now = net.now + base::milliseconds(ms);
    for (int i = 0; i < 2; ++i) {
      if (client == nullptr) return false;
      if (tidegate_client_poll(client, 0) != TIDEGATE_CLIENT_OK) {
        client = nullptr;
        return false;
      }
      server.turn();
    }
    return true;
  }
  bool until(const std::function<bool()>& done, int64_t most_ms = 120'000, int64_t ms = 10) {
    for (int64_t t = 0; t < most_ms && !done(); t += ms) {
      if (!step(ms)) return done();
    }
    return done();
  }
  bool in(tidegate_client_state state) {
    return client != nullptr && tidegate_client_get_state(client) == state;
  }
  bool enter() {
    tidegate_client_connect(client);
    return until([this] { return in(TIDEGATE_CLIENT_IN_WORLD); }, 5000);
  }
  tidegate_client_result send(const std::string& text, tidegate_client_mode mode,
                              int32_t priority = 5, uint32_t ttl_ms = 0, uint32_t key = 0) {
    const tidegate_client_send_options o{sizeof o, mode, priority, ttl_ms, key};
    return tidegate_client_send(client, 1000, text.data(), text.size(), &o);
  }

  VirtualNet net;
  ModelServer server;
  tidegate_client_transport transport;
  tidegate_client* client = nullptr;
  std::function<void(const tidegate_client_event&)> hook;
  std::map<int32_t, int> counts;
  std::vector<int32_t> states;
  int32_t last_state = TIDEGATE_CLIENT_CLOSED;
  uint32_t lost_code = 0;
  std::string lost_text;
  int64_t retry_ms = 0;
  std::vector<std::string> messages;
};

}  // namespace tidegate::sdk
