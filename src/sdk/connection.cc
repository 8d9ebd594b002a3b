// SPDX-License-Identifier: Apache-2.0
#include "sdk/connection.h"

#include <algorithm>
#include <cmath>

#include "base/assert.h"

namespace tidegate::sdk {

using client::StreamEvent;
using wire::MessageType;

namespace {

constexpr base::Duration kAckDelay = base::milliseconds(50);
constexpr uint32_t kCloseNormal = 1000;
constexpr uint32_t kCloseProtocol = 1002;
constexpr uint32_t kCloseNone = 1006;
constexpr uint32_t kClosePolicy = 1008;
constexpr uint32_t kHttpUnauthorized = 401;
constexpr size_t kEnvelopeRoom = 128;
constexpr size_t kFrameRoom = 16;  // WebSocket header and mask

uint32_t bit(State s) { return 1u << s; }

}  // namespace

bool is_transition(State from, State to) {
  const uint32_t ends = bit(TIDEGATE_CLIENT_RECONNECTING) | bit(TIDEGATE_CLIENT_CLOSED);
  switch (from) {
    case TIDEGATE_CLIENT_CLOSED:
      return to == TIDEGATE_CLIENT_CONNECTING;
    case TIDEGATE_CLIENT_CONNECTING:
      return (bit(to) & (ends | bit(TIDEGATE_CLIENT_CONNECTED))) != 0;
    case TIDEGATE_CLIENT_CONNECTED:
      return (bit(to) & (ends | bit(TIDEGATE_CLIENT_AUTHENTICATING))) != 0;
    case TIDEGATE_CLIENT_AUTHENTICATING:
      return (bit(to) & (ends | bit(TIDEGATE_CLIENT_AUTHENTICATED))) != 0;
    case TIDEGATE_CLIENT_AUTHENTICATED:
      return (bit(to) & (ends | bit(TIDEGATE_CLIENT_IN_WORLD))) != 0;
    case TIDEGATE_CLIENT_IN_WORLD:
      return (bit(to) & ends) != 0;
    case TIDEGATE_CLIENT_RECONNECTING:
      return to == TIDEGATE_CLIENT_CONNECTING || to == TIDEGATE_CLIENT_CLOSED;
  }
  return false;
}

Connection::Connection(ConnectionOptions options, const tidegate_client_transport& transport,
                       ConnectionSink& sink, PollTransport* polling)
    : options_(std::move(options)),
      transport_(transport),
      sink_(sink),
      polling_(polling),
      choice_(polling != nullptr ? options_.polling : TransportPolicy::kWebSocketOnly),
      backoff_(options_.backoff),
      outbox_(options_.queue_messages, options_.queue_bytes),
      link_(transport, transport.random(transport.user), options_.message_bytes,
            options_.send_buffer_bytes, options_.short_is_all),
      scratch_(std::min<size_t>(options_.send_buffer_bytes, wire::kMessageBytesIn)) {
  changes_.reserve(16);
  if (options_.spread_endpoints) {
    endpoint_ = static_cast<uint32_t>(transport.random(transport.user) % options_.endpoints.size());
  }
}

void Connection::move(State to) {
  TG_ASSERT(is_transition(state_, to));
  // What nobody heard of need not be told: open and closed again between two turns.
  if (!changes_.empty() && changes_.back().from == to && changes_.back().to == state_) {
    changes_.pop_back();
  } else {
    changes_.push_back({state_, to});
  }
  state_ = to;
}

void Connection::tell_changes() {
  while (!changes_.empty() && !abandoned_) {
    const Change change = changes_.front();
    changes_.erase(changes_.begin());
    sink_.on_state(change.from, change.to);
  }
}

void Connection::connect(base::Instant now) {
  if (state_ != TIDEGATE_CLIENT_CLOSED) return;
  backoff_.reset();
  attempt(now);
}

void Connection::disconnect(base::Instant now, std::string_view reason) {
  if (state_ == TIDEGATE_CLIENT_CLOSED) return;
  if (logged_in()) {
    wire::Disconnect m;
    m.code = kCloseNormal;
    m.reason = reason.substr(0, 256);
    send_message(now, MessageType::kDisconnect, m);
  }
  if (link_.is_open() && !link_.stream().upgrading()) link_.send_close(now, kCloseNormal);
  release();
  resume_token_.clear();
  move(TIDEGATE_CLIENT_CLOSED);
}

void Connection::network_changed(base::Instant now) {
  choice_.forget();
  if (state_ == TIDEGATE_CLIENT_RECONNECTING) {
    retry_at_ = now;
  } else if (logged_in()) {
    // An answer within two seconds, or the link counts as dead.
    beat_at_ = now;
    last_received_ = std::min(last_received_, now + base::seconds(2) - options_.silence);
  }
}

void Connection::abandon() {
  abandoned_ = true;
  release();
  changes_.clear();
  state_ = TIDEGATE_CLIENT_CLOSED;
}

void Connection::drop() { dropped_ = link_.is_open(); }

// Lets go of the link and everything that waits.
void Connection::release() {
  ++attempt_;
  link_.close();
  outbox_.disconnected();
  retry_at_ = login_until_ = beat_at_ = ack_at_ = base::Instant::never();
  resume_refused_ = false;
  token_asked_ = token_told_ = dropped_ = sequences_known_ = has_farewell_ = false;
  opening_ = false;
  farewell_code_ = farewell_retry_ms_ = 0;
  begin_failed_.clear();
  beat_sent_ = 0;
}

void Connection::attempt(base::Instant now) {
  release();
  move(TIDEGATE_CLIENT_CONNECTING);
  login_until_ = now + options_.login_timeout;
  if (options_.ask_token) {
    token_asked_ = true;
  } else {
    open_link(now, options_.token);
  }
}

bool Connection::give_token(base::Instant now, uint32_t attempt, const char* token) {
  if (!token_asked_ || attempt != attempt_) return false;
  token_asked_ = false;
  if (logged_in()) {
    if (token == nullptr) return true;  // the connection ends when the token does
    wire::TokenRefresh refresh;
    refresh.token = token;
    std::vector<uint8_t> bytes(refresh.token.size() + kFrameRoom);
    wire::PbWriter writer(bytes);
    wire::encode(writer, refresh);
    return send(now, static_cast<uint32_t>(MessageType::kTokenRefresh), writer.written()) ==
           TIDEGATE_CLIENT_OK;
  }
  if (token == nullptr) {
    fail_begin(now, "there is no token");
  } else {
    open_link(now, token);
  }
  return true;
}

void Connection::open_link(base::Instant now, std::string_view token) {
  const Endpoint& to =
      has_detour_ ? detour_ : options_.endpoints[endpoint_ % options_.endpoints.size()];
  resume_asked_ = !resume_token_.empty();
  last_received_ = now;
  by_ = choice_.next(now.ns / 1'000'000);
  if (polling_ != nullptr) polling_->use(by_);
  opening_ = true;
  if (link_.open(to, resume_token_, token)) return;
  const std::string_view said = link_.problem();
  fail_begin(now, said.empty() ? "no connection could be begun" : said);
}

// Told in the next turn, because nothing is told outside of one.
void Connection::fail_begin(base::Instant now, std::string_view why) {
  login_until_ = now;
  begin_failed_ = why;
}

void Connection::note_opening(Opening how) {
  if (!opening_) return;
  opening_ = false;
  choice_.began(by_, how);
}

void Connection::lose(base::Instant now, uint32_t code, std::string_view reason) {
  constexpr uint32_t kByTheServer[] = {401, 403, 408, 409, 429, 503};
  const bool refused =
      std::find(std::begin(kByTheServer), std::end(kByTheServer), code) != std::end(kByTheServer);
  note_opening(refused                 ? Opening::kRefused
               : link_.was_connected() ? Opening::kFailed
                                       : Opening::kUnreachable);
  const bool was_in_world = state_ == TIDEGATE_CLIENT_IN_WORLD;
  const bool stable = was_in_world && now - world_since_ >= options_.stable;
  const bool advised = has_farewell_ && (farewell_retry_ms_ != 0 || !farewell_url_.empty());
  const bool ended =
      code == wire::kErrorReplaced || (has_farewell_ && farewell_code_ == wire::kErrorReplaced) ||
      (code == kCloseNormal && !advised) || (code == kHttpUnauthorized && !options_.ask_token);
  const std::string why(has_farewell_ && !farewell_reason_.empty() ? farewell_reason_
                                                                   : std::string(reason));
  if (stable) backoff_.reset();
  if (has_farewell_ && farewell_retry_ms_ != 0) backoff_.advise(farewell_retry_ms_);
  const bool asked = has_farewell_ && !farewell_url_.empty();
  has_detour_ = asked && parse_endpoint(farewell_url_, &detour_);
  release();
  if (ended) {
    move(TIDEGATE_CLIENT_CLOSED);
    tell_changes();
    if (!abandoned_) sink_.on_lost(code, why, -1);
    return;
  }
  // A server that worked until now is tried first again.
  if (!was_in_world && !asked) ++endpoint_;
  const double random = static_cast<double>(transport_.random(transport_.user) >> 11) * 0x1.0p-53;
  const double retry_ms = backoff_.next(random);
  move(TIDEGATE_CLIENT_RECONNECTING);
  const uint32_t attempt = attempt_;
  retry_at_ = now + base::nanoseconds(static_cast<int64_t>(retry_ms * 1e6));
  tell_changes();
  if (!abandoned_ && attempt == attempt_) {
    sink_.on_lost(code, why, static_cast<int64_t>(std::floor(retry_ms + 0.5)));
  }
}

void Connection::lose_refused(base::Instant now) {
  const client::WsStream& stream = link_.stream();
  if (stream.close_code() != 0) {
    lose(now, stream.close_code() == protocol::kCloseNone ? kCloseNormal : stream.close_code(),
         stream.problem());
    return;
  }
  if (stream.retry_after_s() != 0) {
    backoff_.advise(static_cast<double>(stream.retry_after_s()) * 1000);
  }
  const bool refused = stream.http_status() != 0 && stream.http_status() != 101;
  lose(now, refused ? static_cast<uint32_t>(stream.http_status()) : kCloseProtocol,
       std::string(stream.problem()));
}

void Connection::turn(base::Instant until) {
  for (;;) {
    const base::Instant at = now();
    tell_changes();
    if (abandoned_) return;
    bool more = run_timers(at);
    if (abandoned_) return;
    more |= link_.is_open() && run_link(at, until);
    if (abandoned_) return;
    if (logged_in()) pump(at);
    if (abandoned_) return;
    if (changes_.empty() && (!more || now() >= until)) return;
  }
}

// True when something was done that may have made more to do.
bool Connection::run_timers(base::Instant at) {
  const uint32_t attempt = attempt_;
  while (const Waiting* gone = outbox_.expire(at)) {
    sink_.on_expired(*gone, outbox_.payload(*gone));
    if (abandoned_) return false;
  }
  if (token_asked_ && !token_told_) {
    token_told_ = true;
    sink_.on_token_wanted(attempt_);
    return true;
  }
  if (attempt != attempt_) return true;
  if (retry_at_ <= at) {
    ++reconnects_;
    this->attempt(at);
    return true;
  }
  if (dropped_) {
    lose(at, kCloseNone, "the network is gone");
    return true;
  }
  if (login_until_ <= at) {
    lose(at, kCloseNone,
         !begin_failed_.empty() ? std::string(begin_failed_) : "the login took too long");
    return true;
  }
  if (beat_at_ <= at) beat(at);
  if (attempt != attempt_) return true;
  if (ack_at_ <= at) {
    ack_at_ = base::Instant::never();
    if (outbox_.ack_owed()) send(at, static_cast<uint32_t>(MessageType::kAck), {});
  }
  if (blocked_ && link_.buffered() <= options_.send_buffer_bytes / 2 &&
      outbox_.bytes() <= options_.queue_bytes / 2 &&
      outbox_.count() <= options_.queue_messages / 2) {
    blocked_ = false;
    sink_.on_drained();
  }
  return false;
}

// True when there may be more.
bool Connection::run_link(base::Instant at, base::Instant until) {
  const uint32_t attempt = attempt_;
  if (link_.turn(at) == Link::Status::kLost) {
    const client::WsStream& stream = link_.stream();
    const bool refused = stream.upgrading() && stream.http_status() != 0;
    const std::string said(link_.problem());
    lose(at, refused ? static_cast<uint32_t>(stream.http_status()) : kCloseNone,
         !said.empty()        ? said
         : stream.upgrading() ? "no connection"
                              : "the connection was lost");
    return true;
  }
  for (StreamEvent event; (event = link_.next()) != StreamEvent::kNone;) {
    last_received_ = at;
    if (event == StreamEvent::kMessage) {
      take_message(at, link_.message());
    } else if (event == StreamEvent::kOpen) {
      note_opening(Opening::kOpened);
      move(TIDEGATE_CLIENT_CONNECTED);
      tell_changes();
    } else {
      link_.flush(at);
      lose_refused(at);
      return true;
    }
    if (abandoned_ || attempt != attempt_) return true;
    if (until != base::Instant::never() && now() >= until) break;
  }
  link_.settle();
  return link_.more();
}

// Methods that CLIENT_HELLO offered; the sizes are checked.
bool Connection::unpack(wire::Envelope* m) {
  if (m->compression >= codec::kMethodsEnd) return false;
  if (codec_ == nullptr) codec_ = std::make_unique<codec::PayloadCodec>(codec::CodecConfig{});
  m->payload = codec_->unpack(static_cast<codec::Method>(m->compression), m->payload, m->raw_size);
  return !m->payload.empty();
}

void Connection::take_message(base::Instant at, base::MutableBytes bytes) {
  const uint32_t attempt = attempt_;
  wire::FrameReader frames(bytes);
  base::Bytes payload;
  for (;;) {
    const wire::FrameStatus status = frames.next(&payload);
    if (status == wire::FrameStatus::kEnd) break;
    wire::Envelope m;
    if (status != wire::FrameStatus::kFrame || !wire::decode_envelope(payload, &m) ||
        (m.compression != 0 && !unpack(&m))) {
      link_.send_close(at, kCloseProtocol);
      lose(at, kCloseProtocol, "the server sent something that is no tidegate message");
      return;
    }
    received_.add(m.type, m.payload.size());
    if (m.ack != 0) outbox_.on_ack(m.ack);
    const bool wanted = outbox_.accept(m.sequence, m.requires_ack);
    if (outbox_.ack_owed()) ack_at_ = std::min(ack_at_, at + kAckDelay);
    if (wanted) take(at, m);
    if (abandoned_ || attempt != attempt_) return;
  }
  sink_.on_message_end();
}

void Connection::take(base::Instant at, const wire::Envelope& m) {
  switch (static_cast<MessageType>(m.type)) {
    case MessageType::kConnectionEstablished: {
      wire::ConnectionEstablished e;
      if (!wire::decode(m.payload, &e)) break;
      resume_token_ = e.resume_token;
      interval_ = options_.heartbeat;
      if (e.heartbeat_interval != 0) {
        interval_ = std::min(interval_, base::milliseconds(e.heartbeat_interval));
      }
      if (state_ == TIDEGATE_CLIENT_CONNECTED) move(TIDEGATE_CLIENT_AUTHENTICATING);
      tell_changes();
      if (!abandoned_) sink_.on_established(e);
      return;
    }
    case MessageType::kAuthenticationResult: {
      wire::AuthenticationResult r;
      if (!wire::decode(m.payload, &r)) break;
      if (!r.success) {
        lose(at, kClosePolicy, r.error_message.empty() ? "the login was refused" : r.error_message);
        return;
      }
      if (state_ != TIDEGATE_CLIENT_AUTHENTICATING) break;
      move(TIDEGATE_CLIENT_AUTHENTICATED);
      has_detour_ = false;
      // The login is done; from here on silence is what counts.
      login_until_ = base::Instant::never();
      beat_at_ = at + interval_;
      const uint32_t attempt = attempt_;
      if (!resume_asked_) {
        outbox_.restart(at);
        sequences_known_ = true;
      }
      sink_.on_authenticated(r);
      if (!abandoned_ && attempt == attempt_) tell_changes();
      return;
    }
    case MessageType::kResumeResult: {
      wire::ResumeResult r;
      if (!wire::decode(m.payload, &r)) break;
      if (r.resumed) {
        outbox_.resume(r.last_client_sequence);
      } else {
        outbox_.restart(at);
      }
      sequences_known_ = true;
      resume_refused_ = !r.resumed;
      sink_.on_resumed(r);
      return;
    }
    case MessageType::kHeartbeat:
      send(at, static_cast<uint32_t>(MessageType::kPong), m.payload);
      return;
    case MessageType::kPong:
      pong(at, m.payload);
      return;
    case MessageType::kAck:
      return;
    case MessageType::kDisconnect: {
      wire::Disconnect d;
      if (!wire::decode(m.payload, &d)) break;
      has_farewell_ = true;
      farewell_code_ = d.code;
      farewell_retry_ms_ = d.retry_after_ms;
      farewell_reason_ = d.reason;
      farewell_url_ = d.reconnect_url;
      return;
    }
    case MessageType::kError: {
      wire::ErrorNotification e;
      if (!wire::decode(m.payload, &e)) break;
      if (!e.fatal && resume_refused_ &&
          (e.code == wire::kErrorSessionExpired || e.code == wire::kErrorResumeToken)) {
        resume_refused_ = false;  // RESUME_RESULT in numbers
      } else if (!e.fatal && e.code == wire::kErrorSessionExpired && options_.ask_token &&
                 logged_in()) {
        // The token will expire: a newer one goes on this connection.
        token_asked_ = true;
        token_told_ = false;
      }
      sink_.on_server_error(e);
      return;
    }
    default:
      sink_.on_message(m);
      return;
  }
  link_.send_close(at, kCloseProtocol);
  lose(at, kCloseProtocol, "a message of the server is malformed or out of place");
}

void Connection::enter_world(base::Instant at) {
  if (state_ != TIDEGATE_CLIENT_AUTHENTICATED) return;
  world_since_ = at;
  move(TIDEGATE_CLIENT_IN_WORLD);
  tell_changes();
}

// ---- sending

bool Connection::write(base::Instant at, uint32_t type, base::Bytes payload, uint64_t sequence) {
  wire::EnvelopeHead head{};
  head.type = static_cast<MessageType>(type);
  head.timestamp = transport_.unix_ms(transport_.user);
  head.sequence = sequence;
  head.requires_ack = sequence != 0;
  // Of the session of before, until it is known that it goes on.
  head.ack = sequences_known_ ? outbox_.ack_out() : 0;
  wire::MessageWriter writer(scratch_, head);
  writer.payload().raw(payload.data(), payload.size());
  const uint32_t size = writer.finish();
  if (size == 0) return false;
  if (sequences_known_) {
    outbox_.ack_sent();
    ack_at_ = base::Instant::never();
  }
  sent_.add(type, payload.size());
  link_.send(at, {scratch_.data(), size});
  return true;
}

tidegate_client_result Connection::send(base::Instant at, uint32_t type, base::Bytes payload) {
  if (!logged_in()) return TIDEGATE_CLIENT_DROPPED;
  if (payload.size() + kEnvelopeRoom > scratch_.size()) return TIDEGATE_CLIENT_INVALID;
  if (!link_.has_room(payload.size() + kEnvelopeRoom + kFrameRoom)) {
    blocked_ = true;
    return TIDEGATE_CLIENT_WOULD_BLOCK;
  }
  return write(at, type, payload, 0) ? TIDEGATE_CLIENT_OK : TIDEGATE_CLIENT_INVALID;
}

tidegate_client_result Connection::keep(base::Instant at, uint32_t type, base::Bytes payload,
                                        Keep keep, uint8_t priority, uint32_t key,
                                        base::Duration ttl) {
  if (payload.size() + kEnvelopeRoom > scratch_.size() || payload.size() > options_.queue_bytes) {
    return TIDEGATE_CLIENT_INVALID;
  }
  const base::Instant expires = ttl.ns == 0 ? base::Instant::never() : at + ttl;
  if (!outbox_.add(type, payload, keep, priority, key, expires)) {
    blocked_ = true;
    return TIDEGATE_CLIENT_WOULD_BLOCK;
  }
  if (!logged_in()) return TIDEGATE_CLIENT_QUEUED;
  const uint64_t order = outbox_.last_order();
  pump(at);
  return outbox_.waits(order) ? TIDEGATE_CLIENT_QUEUED : TIDEGATE_CLIENT_OK;
}

void Connection::pump(base::Instant at) {
  while (const Waiting* w = outbox_.next(sequences_known_)) {
    if (!link_.has_room(w->size + kEnvelopeRoom + kFrameRoom)) return;
    if (!write(at, w->type, outbox_.payload(*w), outbox_.sequence_of(*w))) return;
    outbox_.sent(*w);
  }
}

void Connection::send_frame(base::Instant at, uint32_t type, base::Bytes frame) {
  if (!logged_in() || !link_.has_room(frame.size() + kFrameRoom)) return;
  sent_.add(type, frame.size());
  link_.send(at, frame);
}

// ---- heartbeat

void Connection::beat(base::Instant at) {
  if (at - last_received_ > options_.silence) {
    lose(at, kCloseNone, "the server is silent");
    return;
  }
  beat_sent_ = ++beat_ != 0 ? beat_ : ++beat_;
  beat_time_ = at;
  uint8_t payload[4];
  base::store_be32(payload, beat_sent_);
  send(at, static_cast<uint32_t>(MessageType::kHeartbeat), payload);
  beat_at_ = std::min(at + interval_, last_received_ + options_.silence + base::milliseconds(1));
}

void Connection::pong(base::Instant at, base::Bytes payload) {
  if (payload.size() != 4 || beat_sent_ == 0 || base::load_be32(payload.data()) != beat_sent_) {
    return;
  }
  beat_sent_ = 0;
  sink_.on_round_trip(static_cast<double>((at - beat_time_).ns) / 1e6);
}

base::Instant Connection::next_due(base::Instant at) const {
  if (!changes_.empty() || (token_asked_ && !token_told_) || dropped_ || link_.more()) return at;
  base::Instant due = std::min(
      {retry_at_, login_until_, beat_at_, ack_at_, link_.next_due(), outbox_.next_expiry()});
  return due;
}

}  // namespace tidegate::sdk
