// SPDX-License-Identifier: Apache-2.0
// Endpoint: construction, the way of a connection from accept to its end, timers.
#include <algorithm>
#include <cerrno>
#include <cstring>

#include "net/endpoint.h"
#include "net/refusals.h"

namespace tidegate::net {
namespace {

constexpr uint32_t kTimerBytes = 24;
constexpr uint32_t kBacklogBlockBytes = 4096;
constexpr uint32_t kSegmentsPerTurn = 64 * 1024;
constexpr uint32_t kSharedBytes = 4 << 20;  // compressed pieces of one turn
// Behind an incomplete frame of the largest size may come a whole receive buffer.
constexpr uint32_t kInputSlack = 4096 + 64;

uint32_t rows_of(const EndpointConfig& config) {
  return config.connections + kRefusalRows + config.poll.sessions;
}

uint64_t wire_bytes(const EndpointConfig& config) {
  return config.deflate.enabled ? protocol::compressed_bytes_max(config.message_bytes)
                                : config.message_bytes;
}

}  // namespace

const char* name_of(CloseCause cause) {
  switch (cause) {
    case CloseCause::kPeerClosed:
      return "peer_closed";
    case CloseCause::kPeerLost:
      return "peer_lost";
    case CloseCause::kServerClosed:
      return "server_closed";
    case CloseCause::kRefused:
      return "refused";
    case CloseCause::kHandshakeTimeout:
      return "handshake_timeout";
    case CloseCause::kHeartbeatTimeout:
      return "heartbeat_timeout";
    case CloseCause::kProtocolError:
      return "protocol_error";
    case CloseCause::kTooBig:
      return "too_big";
    case CloseCause::kSlowConsumer:
      return "slow_consumer";
    case CloseCause::kOverloaded:
      return "overloaded";
    case CloseCause::kMessageTimeout:
      return "message_timeout";
    case CloseCause::kFlood:
      return "flood";
    case CloseCause::kKicked:
      return "kicked";
    case CloseCause::kTokenExpired:
      return "token_expired";
    case CloseCause::kTlsFailed:
      return "tls_failed";
    case CloseCause::kHttpEnded:
      return "http_ended";
    case CloseCause::kCount:
      break;
  }
  return "?";
}

Endpoint::Endpoint(const EndpointConfig& config, io::Io& io, ConnectionHandler& handler,
                   metrics::Counters& counters)
    : config_(config),
      io_(io),
      handler_(handler),
      counters_(counters),
      rows_(rows_of(config)),
      cold_(rows_of(config)),
      timers_(rows_of(config), base::milliseconds(16), io.now()),
      inputs_({config.connections + kRefusalRows, config.connections / 4 + 64,
               config.head_bytes + kInputSlack, config.big_inputs,
               static_cast<uint32_t>(wire_bytes(config)) + kInputSlack +
                   (config.poll.sessions != 0 ? config.head_bytes : 0)}),
      backlog_blocks_(config.backlog_pool_bytes / kBacklogBlockBytes, kBacklogBlockBytes),
      backlog_next_(config.backlog_pool_bytes / kBacklogBlockBytes),
      turn_arena_(config.turn_bytes),
      segments_(kSegmentsPerTurn),
      dirty_(rows_of(config)),
      vectors_(kSegmentsPerTurn),
      long_outputs_(kSegmentsPerTurn / kVectorsOfSend + 1),
      held_buffers_(config.receive_buffers),
      compressed_limit_(config.deflate.enabled ? wire_bytes(config) : 0),
      parked_(config.deflate.enabled ? config.receive_buffers + 2 * rows_.size() : 0) {
  TG_ASSERT(config.message_bytes + 256 < config.turn_bytes);
  config_.rules.deflate = nullptr;
  extras_ = config.deflate.enabled || config.tls.contexts != nullptr;
  if (config.tls.contexts != nullptr) {
    TG_ASSERT(config.turn_bytes >= 2 * tls::kEngineOutputBytes);
    tls_ = std::make_unique<TlsSide>(config.tls, static_cast<uint32_t>(rows_.size()),
                                     config.big_inputs, kInputSlack);
  }
  if (config.poll.sessions != 0) {
    TG_ASSERT(config.poll.sessions <= 0xffffff && config.poll.shard <= 0xff);
    TG_ASSERT(config.turn_bytes >= kPollAnswerBytes + 2 * protocol::kAnswerBytesMax);
    poll_ = std::make_unique<PollSide>(config.poll, config.connections + kRefusalRows);
  }
  inputs_.charge_to(config.account);
  backlog_blocks_.charge_to(config.account, mem::Rank::kBacklog);
  if (tls_ != nullptr) tls_->inputs.charge_to(config.account);
  if (!config.deflate.enabled) return;
  config_.rules.deflate = &config_.deflate.rules;
  compression_ = std::make_unique<Compression>(config.deflate, config.message_bytes, kSharedBytes);
  compression_->charge_to(config.account);
}

uint64_t Endpoint::memory_bytes() const {
  return rows_.bytes() + cold_.bytes() + rows_.size() * kTimerBytes + inputs_.memory_bytes() +
         backlog_blocks_.memory_bytes() + backlog_next_.bytes() + config_.turn_bytes +
         segments_.bytes() + dirty_.bytes() + vectors_.bytes() + held_buffers_.bytes() +
         parked_.bytes() + (compression_ ? compression_->memory_bytes() : 0) +
         (tls_ ? tls_->memory_bytes() : 0) + (poll_ ? poll_->memory_bytes() : 0);
}

void Endpoint::begin_turn(base::Instant now) {
  now_ = now;
  now_ms_ = static_cast<uint32_t>(now.ns / 1'000'000);
  now_s_ = static_cast<uint16_t>(now.ns / 1'000'000'000);
  if (extras_) [[unlikely]]
    begin_extras();
}

void Endpoint::begin_extras() {
  if (tls_ != nullptr) {
    tls_->steps = 0;
    tls_->spent = {};
  }
  if (compression_ != nullptr) {
    compression_->begin_turn();
    unpark();
  }
}

base::Instant Endpoint::next_deadline() const {
  if (extras_ && (parked_count_ != 0 || (tls_ != nullptr && tls_->queue_count != 0))) return now_;
  const base::Instant timer = timers_.next_deadline();
  // The way to another shard was full.
  if (poll_ != nullptr && poll_->ready_count != 0) {
    return std::min(timer, now_ + base::milliseconds(1));
  }
  return timer;
}

void Endpoint::on_completion(const io::Completion& c) {
  switch (c.event) {
    case io::Event::kAccepted:
      on_accepted(c);
      break;
    case io::Event::kReceived:
      on_received(c);
      break;
    case io::Event::kEnded:
      // Behind what of the same connection waits for its turn.
      if (parked_count_ != 0 && park(c)) break;
      on_ended(c);
      break;
    case io::Event::kWritable:
      if (matches(c)) {
        rows_[c.slot].flags &= static_cast<uint8_t>(~kFlagWatching);
        if (rows_[c.slot].phase != Phase::kClosed) drain_backlog(c.slot);
      }
      break;
    case io::Event::kPeerName:
      if (!matches(c)) break;
      if (c.result == 0) {
        std::memcpy(cold_[c.slot].peer, &c.peer->sin6_addr, 16);
        cold_[c.slot].peer_port = ntohs(c.peer->sin6_port);
      }
      on_peer_known(c.slot);
      break;
    case io::Event::kClosed:
      on_closed(c);
      break;
    case io::Event::kWoken:
      break;
  }
}

void Endpoint::on_accepted(const io::Completion& c) {
  if (c.result < 0 || c.slot >= rows_.size()) {  // io goes on by itself
    counters_.add(metrics::Counter::kAcceptErrors, 1);
    return;
  }
  counters_.add(metrics::Counter::kConnectionsAccepted, 1);
  Hot& row = rows_[c.slot];
  TG_ASSERT(row.phase == Phase::kFree);
  const uint32_t generation = (row.generation + 1) & 0xffffff;
  row = Hot{};
  row.generation = generation == 0 ? 1 : generation;
  row.phase = Phase::kHead;
  row.received_ms = now_ms_;
  cold_[c.slot] = Cold{};
  cold_[c.slot].accepted_ms = now_ms_;
  ++open_count_;
  slots_used_ = std::max(slots_used_, c.slot + 1);
  row.flags = kFlagReceiving;
  io_.start_receive(c.slot, row.generation);
  if (config_.edge.proxy_required) cold_[c.slot].edge = kEdgeAwaitsProxy;
  if (config_.query_peers) {
    io_.query_peer(c.slot, row.generation);
  } else {
    cold_[c.slot].edge |= kEdgePeerKnown;
  }
  schedule(c.slot, config_.handshake_timeout);
  if (tls_ != nullptr && (config_.tls.listeners >> c.buffer & 1) != 0) open_tls(c.slot);
  if (open_count_ > config_.connections) {
    counters_.add(metrics::Family::kAdmission, static_cast<uint32_t>(Admission::kFull));
    refuse_early(c.slot, 429, "too_many_connections", "the server is full; try again later", 5);
  } else if (config_.account != nullptr && config_.account->tight()) {
    counters_.add(metrics::Family::kAdmission, static_cast<uint32_t>(Admission::kMemory));
    refuse_early(c.slot, 503, "overloaded", "the memory for connections is in use", 5);
  }
}

void Endpoint::accept_upgrade(uint32_t slot) {
  Hot& row = rows_[slot];
  if (row.phase != Phase::kDeciding) return;
  if (is_poll(slot)) return accept_poll(slot);
  uint8_t* at = reserve(protocol::kAnswerBytesMax);
  const std::string_view subprotocol = row.subprotocol == protocol::kNoSubprotocol
                                           ? std::string_view{}
                                           : config_.rules.subprotocols[row.subprotocol];
  char key[protocol::kAcceptKeyChars];
  std::memcpy(key, cold_[slot].accept_key, sizeof key);
  cold_[slot].opened = {};
  char extensions[protocol::kExtensionAnswerChars];
  const size_t size =
      protocol::write_switching_protocols({at, protocol::kAnswerBytesMax}, {key, sizeof key},
                                          subprotocol, open_deflate(slot, extensions));
  commit(slot, static_cast<uint32_t>(size));
  row.phase = Phase::kOpen;
  schedule(slot, config_.heartbeat_interval);
  handler_.on_open(slot);
  // Frames that came right behind the head.
  if (row.input != kNone && (row.flags & kFlagDispatching) == 0) consume(slot, {});
}

void Endpoint::refuse_upgrade(uint32_t slot, int status, std::string_view code,
                              std::string_view message, uint32_t retry_after_s) {
  Hot& row = rows_[slot];
  if (row.phase != Phase::kHead && row.phase != Phase::kDeciding) return;
  if (is_poll(slot)) return refuse_poll(slot, status, code, message, retry_after_s);
  uint8_t* at = reserve(protocol::kAnswerBytesMax);
  const size_t size = protocol::write_refusal({at, protocol::kAnswerBytesMax}, status, code,
                                              message, retry_after_s);
  commit(slot, static_cast<uint32_t>(size));
  if (row.cause != CloseCause::kHandshakeTimeout) row.cause = CloseCause::kRefused;
  row.close_code = static_cast<uint16_t>(status);
  counters_.add(metrics::Family::kRefusals, refusal_index(code));
  begin_close(slot);
}

void Endpoint::on_ended(const io::Completion& c) {
  if (!matches(c)) return;
  Hot& row = rows_[c.slot];
  row.flags &= static_cast<uint8_t>(~kFlagReceiving);
  if (row.flags & kFlagTls) on_tls_ended(c.slot);
  // It may have ended its own half only: what it said in this turn is answered first.
  if (c.result == 0 && row.first_segment != kNone) flush();
  // Orderly or not, nothing more comes; a peer that half-closes without a close frame is lost.
  finish_close(c.slot);
}

void Endpoint::close(uint32_t slot, uint16_t code, std::string_view reason, CloseCause cause) {
  Hot& row = rows_[slot];
  if (row.phase != Phase::kOpen) return;
  uint8_t* at = reserve(protocol::kControlFrameMax);
  commit(slot, static_cast<uint32_t>(protocol::write_close(at, code, reason)));
  row.cause = cause;
  row.close_code = code;
  begin_close(slot);
}

void Endpoint::fail(uint32_t slot, uint16_t code, std::string_view reason, CloseCause cause) {
  if (cause == CloseCause::kProtocolError || cause == CloseCause::kTooBig) {
    counters_.add(metrics::Counter::kWsProtocolErrors, 1);
  }
  if (rows_[slot].phase == Phase::kOpen) {
    close(slot, code, reason, cause);
  } else if (rows_[slot].phase == Phase::kHead || rows_[slot].phase == Phase::kDeciding) {
    rows_[slot].cause = cause;
    finish_close(slot);
  }
}

void Endpoint::close_all(uint16_t code, std::string_view reason) {
  for (uint32_t slot = 0; slot < slots_used_; ++slot) {
    close(slot, code, reason, CloseCause::kServerClosed);
  }
  for (uint32_t i = 0; poll_ != nullptr && i < poll_->used; ++i) {
    close(poll_->first + i, code, reason, CloseCause::kServerClosed);
  }
}

// Our last bytes are in the output; behind them goes our end of the stream (flush), and the peer
// gets close_timeout to end its side.
void Endpoint::begin_close(uint32_t slot) {
  Hot& row = rows_[slot];
  row.phase = Phase::kClosing;
  row.flags |= kFlagCloseAfter;
  schedule(slot, config_.close_timeout);
  deliver_closed(slot);
}

// Ends the socket now; on_closed of io frees the row.
void Endpoint::finish_close(uint32_t slot) {
  Hot& row = rows_[slot];
  if (row.phase == Phase::kClosed || row.phase == Phase::kFree) return;
  row.phase = Phase::kClosed;
  timers_.cancel(slot);
  if (row.flags & kFlagTls) leave_queue(slot);
  deliver_closed(slot);
  free_backlog(slot);
  if (is_poll(slot)) return make_ready(slot);  // who waits is told, then the row is free
  io_.close(slot, row.generation);
}

void Endpoint::deliver_closed(uint32_t slot) {
  Hot& row = rows_[slot];
  if (row.flags & kFlagGone) return;
  row.flags |= kFlagGone;
  counters_.add(metrics::Family::kCloses, static_cast<uint32_t>(row.cause));
  if (row.flags & kFlagAsked) handler_.on_closed(slot, row.cause, row.close_code);
}

void Endpoint::on_closed(const io::Completion& c) {
  if (!matches(c)) return;
  Hot& row = rows_[c.slot];
  free_inputs(c.slot);
  free_backlog(c.slot);
  close_deflate(c.slot);
  leave_admission(c.slot);
  if (row.flags & kFlagTls) close_tls(c.slot);
  timers_.cancel(c.slot);
  row.phase = Phase::kFree;
  --open_count_;
}

void Endpoint::free_inputs(uint32_t slot) {
  Hot& row = rows_[slot];
  inputs_.free(row.input);
  inputs_.free(row.message);
  row.input = row.message = kNone;
  row.input_bytes = row.message_bytes = 0;
}

void Endpoint::schedule(uint32_t slot, base::Duration after) {
  timers_.cancel(slot);
  if (after.ns > 0) timers_.schedule(slot, now_ + after);
}

// What a peer may hold of ours without end unless somebody looks: buffers of a message that it does
// not finish, a backlog that it does not take although it talks. Looked at with the heartbeat.
bool Endpoint::end_stalled(uint32_t slot) {
  const Hot& row = rows_[slot];
  const Cold& cold = cold_[slot];
  const auto older = [this](uint16_t since_s, base::Duration limit) {
    return static_cast<uint16_t>(now_s_ - since_s) * int64_t{1'000'000'000} > limit.ns;
  };
  if (row.backlog_bytes != 0 && older(cold.backlog_since_s, config_.stall_timeout)) {
    counters_.add(metrics::Counter::kStallTimeouts, 1);
    rows_[slot].cause = CloseCause::kSlowConsumer;  // no close frame: it would not be read
    rows_[slot].close_code = 1013;
    finish_close(slot);
    return true;
  }
  if ((row.input != kNone && older(cold.input_since_s, config_.message_timeout)) ||
      (row.message != kNone && older(cold.opened.message_since_s, config_.message_timeout)) ||
      ((row.flags & kFlagTls) != 0 && tls_stalled(slot))) {
    counters_.add(metrics::Counter::kMessageTimeouts, 1);
    close(slot, 1008, "a message was begun and not ended in time", CloseCause::kMessageTimeout);
    return true;
  }
  return false;
}

void Endpoint::run_timers() {
  timers_.advance(now_, [this](uint32_t slot) { on_timer(slot); });
}

void Endpoint::on_timer(uint32_t slot) {
  Hot& row = rows_[slot];
  switch (row.phase) {
    case Phase::kHead:
    case Phase::kDeciding:
      if (cold_[slot].edge & kEdgeHttp) return on_http_timer(slot);
      if ((row.flags & kFlagTls) != 0 && on_tls_timer(slot)) break;
      counters_.add(metrics::Counter::kHandshakeTimeouts, 1);
      row.cause = CloseCause::kHandshakeTimeout;
      refuse_upgrade(slot, protocol::handshake_too_slow().status,
                     protocol::handshake_too_slow().code, protocol::handshake_too_slow().message);
      break;
    case Phase::kOpen: {
      if (end_stalled(slot)) break;
      const int64_t silent_ms = now_ms_ - row.received_ms;
      const int64_t interval_ms = config_.heartbeat_interval.ns / 1000000;
      const int64_t timeout_ms = config_.heartbeat_timeout.ns / 1000000;
      if (silent_ms >= timeout_ms) {
        counters_.add(metrics::Counter::kHeartbeatTimeouts, 1);
        close(slot, 1008, "heartbeat timeout: nothing came from this peer",
              CloseCause::kHeartbeatTimeout);
        break;
      }
      if (silent_ms >= interval_ms && is_poll(slot)) {  // it is for the client to ask
        schedule(slot, base::milliseconds(std::min(interval_ms, timeout_ms - silent_ms)));
      } else if (silent_ms >= interval_ms) {
        uint8_t stamp[8];
        base::store_le<int64_t>(stamp, now_.ns);
        send_message(slot, protocol::Opcode::kPing, {stamp, sizeof stamp});
        row.flags |= kFlagPinged;
        // A silent peer gets its next ping, or its last word, when that is due.
        schedule(slot, base::milliseconds(std::min(interval_ms, timeout_ms - silent_ms)));
      } else {
        schedule(slot, base::milliseconds(interval_ms - silent_ms));
      }
      break;
    }
    case Phase::kClosing:
      finish_close(slot);
      break;
    case Phase::kClosed:
    case Phase::kFree:
      break;
  }
}

uint32_t Endpoint::find(base::ConnectionRef ref) const {
  if (ref.slot >= rows_.size()) return kNone;
  const Hot& row = rows_[ref.slot];
  if (row.generation != ref.generation) return kNone;
  return row.phase == Phase::kOpen || row.phase == Phase::kDeciding ? ref.slot : kNone;
}

}  // namespace tidegate::net
