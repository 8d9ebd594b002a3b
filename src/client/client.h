// SPDX-License-Identifier: Apache-2.0
// A game client as a pure machine: bytes and time in, bytes and events out. The load tool and the
// simulation drive it; it opens no socket and knows no clock.
//
// Order: start() -> the upgrade request stands in outgoing(); on_bytes() for whatever arrives;
// after each call send outgoing() and say so with sent(). CLIENT_HELLO goes out by itself after the
// login.
//
// Thread: one. Owner: the driver. Limits: messages of kMessageBytesMax.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/bytes.h"
#include "base/prng.h"
#include "base/time.h"
#include "client/cell_report.h"
#include "client/world_picture.h"
#include "client/ws_stream.h"
#include "wire/envelope.h"
#include "wire/messages.h"

namespace tidegate::client {

inline constexpr uint32_t kMessageBytesMax = 1 << 20;

enum class ClientState : uint8_t {
  kIdle,
  kUpgrading,      // request sent
  kOpen,           // 101 came
  kAuthenticated,  // AUTHENTICATION_RESULT came
  kInWorld,        // first state came
  kClosed,
};

struct ClientConfig {
  std::string host = "localhost";
  std::string path = "/ws";
  std::string token;
  wire::StateEncoding encoding = wire::StateEncoding::kPacked;
  float view_distance = 0;            // metres, 0: the server's
  uint32_t max_bytes_per_second = 0;  // asked of the server; 0: its own choice
  // Between two checksums sent of cells that agree, one cell after the other; 0: none are sent.
  base::Duration report_interval = base::seconds(10);
  // False: state is counted, not decoded; the client's memory then does not grow with the world.
  bool keeps_picture = true;
  bool echo = false;  // plain WebSocket: no tidegate messages are spoken
};

class ClientEvents {
 public:
  virtual ~ClientEvents() = default;
  virtual void on_state(ClientState) {}
  virtual void on_move_ack(base::Instant, const wire::MoveAck&) {}
  virtual void on_entity_changed(base::Instant, std::string_view /*name*/, uint32_t /*flags*/) {}
  virtual void on_member_seen(base::Instant, const wire::CellImage::Member&, int16_t /*cell_x*/,
                              int16_t /*cell_z*/) {}
  virtual void on_error(const wire::ErrorNotification&) {}
  // A cell that flip_bit() spoiled agrees with the server again.
  virtual void on_cell_healed(base::Instant /*now*/, base::Instant /*flipped*/) {}
  // REPLY, and the types an embedder registered: 400 and above.
  virtual void on_custom(base::Instant, uint32_t /*type*/, base::Bytes /*payload*/) {}
  // A WORLD_STATE or ZONE_UPDATE, before it changes the picture.
  virtual void on_world_payload(base::Instant, uint32_t /*type*/, base::Bytes /*payload*/) {}
  // Plain messages in echo mode.
  virtual void on_message(base::Instant, base::Bytes) {}
};

class Client final : PictureEvents {
 public:
  Client(ClientConfig config, ClientEvents& events, uint64_t seed);
  Client(const Client&) = delete;  // views into the configuration
  Client& operator=(const Client&) = delete;

  void start();
  // Bytes from the socket; changed in place.
  void on_bytes(base::Instant now, base::MutableBytes bytes);
  // The socket is gone.
  void on_disconnected();

  base::Bytes outgoing() const { return stream_.outgoing(); }
  void sent(size_t bytes) { stream_.sent(bytes); }

  // In world only; false otherwise.
  bool send_move(const wire::PlayerMovement& move);
  void send_heartbeat(base::Bytes payload);
  // Sends a CELL_REPORT when one is due: a wrong image is noticed also where nothing moves. Call it
  // now and then; reports of frames that differ go out by themselves.
  void audit(base::Instant now);
  // Fault injection: spoils the picture of some cell. False: there is none.
  bool flip_bit(base::Instant now) { return picture_.flip_bit(now, prng_.next()); }
  // Any type; `sequence` not 0: with requires_ack. False when it is larger than a message may be.
  bool send_payload(uint32_t type, base::Bytes payload, uint64_t sequence = 0);
  void send_binary(base::Bytes payload) { stream_.send_binary(payload); }
  void close(uint16_t code) { stream_.send_close(code); }

  ClientState state() const { return state_; }
  uint16_t close_code() const { return stream_.close_code(); }  // 0: none came
  int http_status() const { return stream_.http_status(); }     // of a refused upgrade
  const std::string& problem() const { return problem_; }       // why it closed, for people
  const std::string& player_id() const { return player_id_; }
  uint32_t server_tick_rate() const { return tick_rate_; }
  const WorldPicture& picture() const { return picture_; }
  // Where the server last said the player stands: the last MOVE_ACK.
  const wire::Vector3& own_position() const { return own_position_; }
  bool has_own_position() const { return has_own_position_; }
  uint64_t messages_received() const { return messages_received_; }

 private:
  void on_entity_changed(std::string_view name, uint32_t flags) override;
  void on_member_seen(const wire::CellImage::Member& member, int16_t cell_x,
                      int16_t cell_z) override {
    events_.on_member_seen(now_, member, cell_x, cell_z);
  }
  void on_cell_differs(const wire::CellImage& image) override;
  void on_cell_healed(base::Instant flipped) override;
  void report(const wire::CellImage& image, Rows rows);
  void on_message(base::Instant now, base::MutableBytes message);
  void on_envelope(base::Instant now, const wire::Envelope& message);
  template <class Payload>
  void send(wire::MessageType type, const Payload& payload);
  void set_state(ClientState state);
  void fail(std::string problem);

  ClientConfig config_;
  ClientEvents& events_;
  base::Prng prng_;
  WorldPicture picture_;
  ClientState state_ = ClientState::kIdle;
  WsStream stream_;
  base::Instant now_{};
  std::string player_id_;
  std::string problem_;
  wire::Vector3 own_position_;
  bool has_own_position_ = false;
  uint32_t tick_rate_ = 0;
  uint64_t messages_received_ = 0;
  base::Instant next_audit_{};
  size_t audited_ = 0;  // counts through the cells
};

}  // namespace tidegate::client
