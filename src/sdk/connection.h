// SPDX-License-Identifier: Apache-2.0
// The connection: one link at a time, its states, login, heartbeat, and coming back after a loss.
// docs/sdk-spec.md holds the states, the transitions and what each code does.
//
// Whatever belongs to an older try (a token that comes late, a timer) finds another number of the
// attempt and ends: nothing reconnects after disconnect(), and no two links speak at once. Nothing
// is told to the sink outside of turn().
//
// Thread: one. Owner: Client. Limits: those of Options.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "base/time.h"
#include "codec/payload_codec.h"
#include "sdk/backoff.h"
#include "sdk/link.h"
#include "sdk/outbox.h"
#include "sdk/poll_transport.h"
#include "sdk/statistics.h"
#include "wire/envelope.h"
#include "wire/messages.h"

namespace tidegate::sdk {

using State = tidegate_client_state;

struct ConnectionOptions {
  std::vector<Endpoint> endpoints;
  std::string token;
  bool ask_token = false;
  bool spread_endpoints = false;
  BackoffOptions backoff;
  base::Duration login_timeout = base::seconds(10);
  base::Duration heartbeat = base::seconds(5);
  base::Duration silence = base::seconds(15);
  base::Duration stable = base::seconds(5);
  uint32_t queue_messages = 1024;
  uint32_t queue_bytes = 256 * 1024;
  uint32_t send_buffer_bytes = 64 * 1024;
  uint32_t message_bytes = 1024 * 1024;
  TransportPolicy polling = TransportPolicy::kFallBack;
  // A receive that gives less than was asked for has given all: so do the built-in transports.
  bool short_is_all = false;
};

bool is_transition(State from, State to);

class ConnectionSink {
 public:
  virtual void on_state(State from, State to) = 0;
  virtual void on_lost(uint32_t code, std::string_view reason, int64_t retry_ms) = 0;
  virtual void on_token_wanted(uint32_t attempt) = 0;
  virtual void on_established(const wire::ConnectionEstablished& m) = 0;
  virtual void on_authenticated(const wire::AuthenticationResult& m) = 0;
  virtual void on_resumed(const wire::ResumeResult& m) = 0;
  // Every message that is none of the connection's own.
  virtual void on_message(const wire::Envelope& m) = 0;
  // All messages of one WebSocket message were told.
  virtual void on_message_end() = 0;
  virtual void on_round_trip(double ms) = 0;
  virtual void on_server_error(const wire::ErrorNotification& m) = 0;
  virtual void on_drained() = 0;
  virtual void on_expired(const Waiting& w, base::Bytes payload) = 0;

 protected:
  ~ConnectionSink() = default;
};

class Connection {
 public:
  // `polling`: what `transport` is a table of; null: it is WebSocket always.
  Connection(ConnectionOptions options, const tidegate_client_transport& transport,
             ConnectionSink& sink, PollTransport* polling = nullptr);

  void connect(base::Instant now);
  void disconnect(base::Instant now, std::string_view reason);
  void network_changed(base::Instant now);
  bool give_token(base::Instant now, uint32_t attempt, const char* token);
  // Everything that is due: bytes both ways, timers, what is told to the sink. Ends when `until` is
  // over and something was done.
  void turn(base::Instant until);
  // No further word to the sink, whatever the state; for destruction.
  void abandon();
  // The network breaks without a word.
  void drop();

  State state() const { return state_; }
  bool logged_in() const {
    return state_ == TIDEGATE_CLIENT_AUTHENTICATED || state_ == TIDEGATE_CLIENT_IN_WORLD;
  }
  // The own entity stands in the state that came.
  void enter_world(base::Instant now);
  // When turn() has something to do next, unless the link has bytes.
  base::Instant next_due(base::Instant now) const;
  bool wants_write() const { return link_.buffered() != 0; }

  tidegate_client_result send(base::Instant now, uint32_t type, base::Bytes payload);
  tidegate_client_result keep(base::Instant now, uint32_t type, base::Bytes payload, Keep keep,
                              uint8_t priority, uint32_t key, base::Duration ttl);
  // A whole frame that stands ready, of this type.
  void send_frame(base::Instant now, uint32_t type, base::Bytes frame);
  template <class Payload>
  tidegate_client_result send_message(base::Instant now, wire::MessageType type,
                                      const Payload& payload) {
    uint8_t bytes[512];
    wire::PbWriter writer(bytes);
    wire::encode(writer, payload);
    return send(now, static_cast<uint32_t>(type), writer.written());
  }

  const Outbox& outbox() const { return outbox_; }
  Link& link() { return link_; }
  const Link& link() const { return link_; }
  const Traffic& received() const { return received_; }
  const Traffic& sent() const { return sent_; }
  uint32_t reconnects() const { return reconnects_; }
  // What the try under way, or the connection that stands, goes by.
  Transport by() const { return by_; }

 private:
  struct Change {
    State from, to;
  };
  base::Instant now() const { return {transport_.now_ns(transport_.user)}; }
  void move(State to);
  void tell_changes();
  void release();
  void attempt(base::Instant now);
  void fail_begin(base::Instant now, std::string_view why);
  void open_link(base::Instant now, std::string_view token);
  void lose(base::Instant now, uint32_t code, std::string_view reason);
  void lose_refused(base::Instant now);
  void note_opening(Opening how);
  bool run_timers(base::Instant now);
  bool run_link(base::Instant now, base::Instant until);
  bool unpack(wire::Envelope* m);
  void take_message(base::Instant now, base::MutableBytes bytes);
  void take(base::Instant now, const wire::Envelope& m);
  bool write(base::Instant now, uint32_t type, base::Bytes payload, uint64_t sequence);
  void pump(base::Instant now);
  void beat(base::Instant now);
  void pong(base::Instant now, base::Bytes payload);

  ConnectionOptions options_;
  const tidegate_client_transport& transport_;
  ConnectionSink& sink_;
  PollTransport* polling_;
  TransportChoice choice_;
  Transport by_ = Transport::kWebSocket;
  bool opening_ = false;  // a try goes on that has not been judged
  Backoff backoff_;
  Outbox outbox_;
  Link link_;
  State state_ = TIDEGATE_CLIENT_CLOSED;
  std::vector<Change> changes_;  // not told yet; capacity taken once
  uint32_t attempt_ = 0;         // its number; another one ends whatever belongs to this one
  bool abandoned_ = false;
  std::string begin_failed_;     // why this try could not be begun
  bool resume_refused_ = false;  // an ERROR with the same news follows
  bool token_asked_ = false;     // and not given yet
  bool token_told_ = false;      // the sink was asked for this attempt's token
  bool dropped_ = false;
  bool blocked_ = false;          // somebody was told to wait
  bool sequences_known_ = false;  // acknowledged messages may go out
  bool resume_asked_ = false;
  uint32_t endpoint_ = 0;
  Endpoint detour_;
  bool has_detour_ = false;
  std::string resume_token_;
  bool has_farewell_ = false;
  uint32_t farewell_code_ = 0, farewell_retry_ms_ = 0;
  std::string farewell_reason_, farewell_url_;
  base::Instant retry_at_ = base::Instant::never();
  base::Instant login_until_ = base::Instant::never();
  base::Instant beat_at_ = base::Instant::never();
  base::Instant ack_at_ = base::Instant::never();
  base::Instant last_received_{}, world_since_{};
  base::Duration interval_ = base::seconds(5);
  uint32_t beat_ = 0;
  uint32_t beat_sent_ = 0;  // the beat that `beat_time_` is of; 0: answered or none
  base::Instant beat_time_{};
  std::vector<uint8_t> scratch_;  // a frame under way
  Traffic received_, sent_;
  uint32_t reconnects_ = 0;
  std::unique_ptr<codec::PayloadCodec> codec_;  // made with the first compressed message
};

}  // namespace tidegate::sdk
