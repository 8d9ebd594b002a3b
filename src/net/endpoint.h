// SPDX-License-Identifier: Apache-2.0
// All WebSocket connections of one shard, and those of long polling: from accept through the HTTP
// upgrade to messages both ways, close handshakes, heartbeats and limits. It turns io completions
// into calls of a ConnectionHandler and the handler's output into at most one send for each
// connection and turn. It knows nothing of sessions, tokens or the world.
//
// A turn: on_completions(), anything else the owner does (which may append output), run_timers(),
// run_handshakes(), flush(). Received bytes are unmasked and handed out in place; output is
// gathered in one arena that lives for the turn, shared bytes are referenced; what a socket does
// not take is copied into a bounded backlog of its own.
//
// Thread: shard. Owner: Shard or the echo server. Limits: EndpointConfig; memory at construction.
#pragma once

#include <sys/uio.h>

#include <algorithm>
#include <array>
#include <cstdint>
#include <memory>
#include <string_view>
#include <vector>

#include "base/bytes.h"
#include "base/time.h"
#include "handover/records.h"
#include "io/io.h"
#include "io/timer_wheel.h"
#include "mem/arena.h"
#include "mem/block_pool.h"
#include "metrics/metrics.h"
#include "net/buffers.h"
#include "net/compression.h"
#include "net/connection.h"
#include "net/edge.h"
#include "net/poll_side.h"
#include "net/tls_side.h"
#include "protocol/http_poll.h"
#include "protocol/http_upgrade.h"
#include "protocol/ws.h"

namespace tidegate::net {

// Rows beyond the connection limit, for sockets that are only told so.
inline constexpr uint32_t kRefusalRows = 64;

struct EndpointConfig {
  uint32_t connections = 1024;         // rows; further sockets are refused with 429
  uint32_t message_bytes = 64 * 1024;  // larger closes with 1009
  uint32_t head_bytes = 8 * 1024;      // larger is answered with 431
  uint32_t backlog_bytes = 64 * 1024;  // per connection; more closes with 1013
  uint32_t backlog_pool_bytes = 16 << 20;
  uint32_t turn_bytes = 256 << 10;  // output made in one turn before it is sent early: stays in L2
  uint32_t big_inputs = 256;        // connections that may be in the middle of a big message
  base::Duration handshake_timeout = base::seconds(10);   // whole head and decision
  base::Duration heartbeat_interval = base::seconds(15);  // ping after this much silence; 0: none
  base::Duration heartbeat_timeout = base::seconds(40);   // silence that ends a connection
  base::Duration close_timeout = base::seconds(2);        // for the peer's half of a close
  base::Duration message_timeout = base::seconds(30);     // from its first byte to its last
  base::Duration stall_timeout = base::seconds(30);       // a backlog of which nothing is taken
  uint32_t extra_frames_per_second = 50'000;  // pings, pongs, fragments; more closes with 1008
  uint32_t receive_buffers = 1024;            // of the Io; so many may be held in a turn
  bool query_peers = true;                    // ask io for peer addresses
  protocol::UpgradeRules rules;               // path and subprotocols; views outlive the endpoint
  EdgeRules edge;                             // trust, limits of addresses, origins
  AdmissionTables* admission = nullptr;       // null: addresses are not counted
  mem::Account* account = nullptr;            // what buffers are charged to; null: nothing
  CompressionConfig deflate;                  // permessage-deflate; rules.deflate is set from it
  TlsConfig tls;
  PollConfig poll;  // HTTP long polling
};

// What a handler says to an upgrade request.
enum class UpgradeDecision : uint8_t {
  kAccept,   // 101 now
  kLater,    // the handler calls accept_upgrade or refuse_upgrade in a later turn
  kRefused,  // the handler has called refuse_upgrade
};

class ConnectionHandler {
 public:
  virtual ~ConnectionHandler() = default;
  // `request` is borrowed for the call.
  virtual UpgradeDecision on_upgrade(uint32_t slot, const protocol::UpgradeRequest& request) = 0;
  // The 101 is in the output; messages may follow.
  virtual void on_open(uint32_t slot) = 0;
  // One whole message, unmasked, borrowed and writable for the call.
  virtual void on_message(uint32_t slot, protocol::Opcode opcode, base::MutableBytes payload) = 0;
  // A binary message for a connection of text (Endpoint::speak_text), whole or in parts, borrowed
  // for the call: send_message() it as text.
  virtual void on_translate(uint32_t, base::Bytes, const iovec*, uint32_t) {}
  // Last call for this connection; only after on_upgrade was called for it.
  virtual void on_closed(uint32_t slot, CloseCause cause, uint16_t code) = 0;

  // --- long polling; an endpoint whose config has no sessions asks for none of it ---
  // Bytes that nobody can guess; false: there are none.
  virtual bool on_secret(base::MutableBytes) { return false; }
  // A request or an answer to the endpoint of another shard, its on_poll_letter(). False: not now.
  virtual bool on_poll_letter_out(uint32_t, const PollLetter&, base::Bytes) { return false; }
};

class Endpoint {
 public:
  Endpoint(const EndpointConfig& config, io::Io& io, ConnectionHandler& handler,
           metrics::Counters& counters);

  // --- the turn ---
  void begin_turn(base::Instant now);
  void on_completion(const io::Completion& completion);
  void run_timers();
  // TLS handshakes that wait, as many as their budget allows and `until` leaves time for.
  void run_handshakes(base::Instant until);
  // Sends everything appended since the last flush and returns receive buffers to io.
  void flush();
  base::Instant next_deadline() const;
  // Output of poll sessions to who waits for it. Before what it posts is published, and flush().
  void run_polls() {
    if (poll_ != nullptr && poll_->open != 0) serve_polls();
  }
  // From the handler of another shard's endpoint.
  void on_poll_letter(const PollLetter& letter, base::Bytes body);

  // --- output; slot must be open (or deciding, for the upgrade calls) ---
  // From now on binary output of this connection goes to the handler's on_translate() instead,
  // whichever of the functions below it came by. For on_open().
  void speak_text(uint32_t slot) { rows_[slot].receiver.take_text_only(); }
  void accept_upgrade(uint32_t slot);
  void refuse_upgrade(uint32_t slot, int status, std::string_view code, std::string_view message,
                      uint32_t retry_after_s = 0);
  // Room for a message payload of up to `size` bytes; write it, then commit_message. Null when
  // the connection is no longer open; the turn's arena never runs out (it is sent early instead).
  uint8_t* reserve_message(uint32_t slot, uint32_t size);
  void commit_message(uint32_t slot, protocol::Opcode opcode, uint32_t size);
  void send_message(uint32_t slot, protocol::Opcode opcode, base::Bytes payload);
  // One message made of own bytes followed by shared parts (in that order). The parts stay
  // valid until flush() returns. `total` is the sum of all sizes.
  void send_gathered(uint32_t slot, protocol::Opcode opcode, base::Bytes own, const iovec* parts,
                     uint32_t count, uint32_t total);
  // What this turn appends is so much and belongs together, such as the first image of a crowd: an
  // empty backlog takes it whole, also above backlog_bytes. Before the first of it is appended.
  void expect_output(uint32_t slot, uint32_t bytes);
  // Shared bytes that already carry a WebSocket header.
  void send_framed(uint32_t slot, const uint8_t* data, uint32_t size, uint32_t messages);

  // Sends a close frame and ends the connection when the peer answers or the time is over.
  void close(uint32_t slot, uint16_t code, std::string_view reason, CloseCause cause);
  // Closes everything, spreading nothing: used by drain.
  void close_all(uint16_t code, std::string_view reason);

  // From now on; of timers that run, from their next turn.
  void set_limits(const LiveLimits& limits);

  // --- hand-over to another process (handover.cc) ---
  // Whether the connection can go there; `why` not.
  bool movable(uint32_t slot, handover::CannotMove* why) const;
  // What it is at this moment; texts and bytes are borrowed from this object and `scratch`. Between
  // turns, with nothing of the output unsent.
  handover::Connection save(uint32_t slot, std::vector<uint8_t>* scratch);
  // Before the first turn; its socket is in io already. False: it does not fit here.
  [[nodiscard]] bool restore(const handover::Connection& from);
  // A TLS connection's keys and records: behind save() and restore(). `heir_takes`: before
  // movable().
  void let_tls_move(bool heir_takes);
  void save_tls(uint32_t slot, handover::Writer& out);
  [[nodiscard]] bool restore_tls(const handover::Tls& from);
  // In the first turn, for each that was restored.
  void begin_restored(uint32_t slot);
  // Bytes that were received and wait for a later turn.
  bool has_parked() const { return parked_count_ != 0; }

  // --- looking at it ---
  bool is_open(uint32_t slot) const {
    return slot < rows_.size() && rows_[slot].phase == Phase::kOpen;
  }
  const Hot& hot(uint32_t slot) const { return rows_[slot]; }
  const Cold& cold(uint32_t slot) const { return cold_[slot]; }
  base::ConnectionRef ref(uint32_t slot) const { return {slot, rows_[slot].generation}; }
  // The slot when the ref is still the same connection and it is open or deciding, else kNone.
  uint32_t find(base::ConnectionRef ref) const;
  uint32_t open_count() const { return open_count_; }
  uint32_t slots() const { return static_cast<uint32_t>(rows_.size()); }
  // One past the highest slot that was ever in use: the end of a walk over connections.
  uint32_t slots_used() const { return slots_used_; }
  // For walks to beyond slots_used(): the last row before the next that may be in use. Poll
  // sessions have the highest rows.
  uint32_t skip_unused(uint32_t slot) const {
    return poll_ != nullptr && slot >= slots_used_ && slot < poll_->first ? poll_->first - 1 : slot;
  }
  bool is_poll(uint32_t slot) const { return poll_ != nullptr && slot >= poll_->first; }
  // Since a byte of what waits was taken; 0: nothing waits.
  uint32_t backlog_age_s(uint32_t slot) const {
    if (rows_[slot].backlog_bytes == 0) return 0;
    return static_cast<uint16_t>(now_s_ - cold_[slot].backlog_since_s);
  }
  uint32_t poll_sessions() const { return poll_ == nullptr ? 0 : poll_->open; }
  base::Instant now() const { return now_; }
  uint32_t now_ms() const { return now_ms_; }
  // What all backlogs together can still take.
  uint64_t backlog_room() const {
    return uint64_t{backlog_blocks_.count() - backlog_blocks_.in_use()} *
           backlog_blocks_.block_bytes();
  }
  uint64_t memory_bytes() const;
  uint64_t backlog_bytes_in_use() const {
    return uint64_t{backlog_blocks_.in_use()} * backlog_blocks_.block_bytes();
  }
  uint64_t input_bytes_in_use() const { return inputs_.bytes_in_use(); }

 private:
  // receive.cc
  void on_accepted(const io::Completion& c);
  void on_received(const io::Completion& c);
  void on_received_extras(const io::Completion& c);
  void take_received(const io::Completion& c);
  void take_any(const io::Completion& c);
  void consume(uint32_t slot, base::MutableBytes bytes);
  size_t consume_head(uint32_t slot, base::MutableBytes bytes, size_t* need);
  size_t consume_frames(uint32_t slot, base::MutableBytes bytes, size_t* need);
  void on_other_frame(uint32_t slot, const protocol::FrameView& frame,
                      const protocol::Received& received);
  void fail_frame(uint32_t slot, protocol::ParseStatus status);
  bool count_extra_frame(uint32_t slot);
  void fail(uint32_t slot, uint16_t code, std::string_view reason, CloseCause cause);

  // edge.cc
  void on_peer_known(uint32_t slot);
  void read_proxy_header(uint32_t slot, base::MutableBytes bytes);
  void refuse_proxy_header(uint32_t slot, std::string_view message);
  void refuse_early(uint32_t slot, int status, std::string_view code, std::string_view message,
                    uint32_t retry_after_s = 0);
  void feed(uint32_t slot, base::MutableBytes bytes);
  bool admit(uint32_t slot);
  void leave_admission(uint32_t slot);
  bool check_edge(uint32_t slot, const protocol::UpgradeRequest& request);

  // deflate.cc; the senders answer false when the message is to go as it is; they are asked for
  // every connection whose output is special, and also look after those that take text only
  std::string_view open_deflate(uint32_t slot, char (&text)[protocol::kExtensionAnswerChars]);
  void close_deflate(uint32_t slot);
  void deliver_compressed(uint32_t slot, base::Bytes message);
  bool park(const io::Completion& c);
  void unpark();
  void park_rest(uint32_t slot);
  bool send_deflated(uint32_t slot, protocol::Opcode opcode, base::Bytes payload);
  bool commit_message_deflated(uint32_t slot, protocol::Opcode opcode, uint8_t* at, uint32_t header,
                               uint32_t size);
  bool send_gathered_deflated(uint32_t slot, protocol::Opcode opcode, base::Bytes own,
                              const iovec* parts, uint32_t count, uint32_t total);
  bool send_pieces(uint32_t slot, protocol::Opcode opcode, base::Bytes own, const iovec* parts,
                   uint32_t count, uint32_t total);
  bool send_framed_deflated(uint32_t slot, const uint8_t* data, uint32_t size, uint32_t messages);
  void commit_deflated(uint32_t slot, uint32_t size, uint64_t saved);
  bool speaks_deflate(uint32_t slot) const { return rows_[slot].receiver.speaks_deflate(); }
  bool has_special_output(uint32_t slot) const { return rows_[slot].receiver.has_special_output(); }
  bool translated(uint32_t slot, protocol::Opcode opcode, base::Bytes own,
                  const iovec* parts = nullptr, uint32_t count = 0);
  bool translated_frames(uint32_t slot, const uint8_t* data, uint32_t size);

  // tls.cc
  void open_tls(uint32_t slot);
  void close_tls(uint32_t slot);
  bool tls_movable(uint32_t slot) const;
  void begin_restored_tls(uint32_t slot);
  void set_tls_open(uint32_t count);
  void fail_tls(uint32_t slot, tls::Failure failure, const char* reason = "");
  bool on_tls_timer(uint32_t slot);
  void on_tls_ended(uint32_t slot);
  bool tls_stalled(uint32_t slot) const;
  void join_queue(uint32_t slot);
  void leave_queue(uint32_t slot);
  void step_handshake(uint32_t slot, base::MutableBytes bytes, const tls::Records& cut);
  void take_received_tls(const io::Completion& c);
  void consume_tls(uint32_t slot, base::MutableBytes bytes);
  void open_records(uint32_t slot, base::MutableBytes bytes, const tls::Records& cut);
  bool keep_records(uint32_t slot, base::Bytes rest, size_t need);
  void mark_dirty(uint32_t slot);
  void append_sealed(uint32_t slot, base::Bytes records);
  uint32_t seal_output();
  void seal_connection(uint32_t slot, uint32_t dirty_index);

  // poll.cc: requests
  // A GET that waits is no sign of life, the next one is.
  base::Duration poll_hold() const {
    return std::min(config_.poll.hold, config_.heartbeat_timeout / 2);
  }
  uint32_t post_bytes_max() const { return std::min(config_.message_bytes, kPollAnswerBytes); }
  size_t consume_poll(uint32_t slot, base::MutableBytes bytes, size_t head, size_t* need);
  void serve_request(uint32_t slot, const protocol::PollRequest& request, base::MutableBytes body);
  void open_poll(uint32_t slot, const protocol::PollRequest& request);
  void accept_poll(uint32_t slot);
  void refuse_poll(uint32_t slot, int status, std::string_view code, std::string_view message,
                   uint32_t retry_after_s);
  PollLetter::Kind serve_letter(PollLetter& letter, base::MutableBytes body, base::Bytes* reason);
  void deliver_posted(uint32_t slot, base::MutableBytes body);
  void answer_letter(const PollLetter& letter, base::Bytes body);
  void answer_request(uint32_t slot, const PollLetter& letter, base::Bytes body);
  uint8_t* begin_data(uint32_t slot, uint32_t size, bool text, uint32_t* head_bytes);
  void answer_error(uint32_t slot, int status, std::string_view code, std::string_view message,
                    uint32_t retry_after_s = 0, std::string_view extra_name = {},
                    uint64_t extra = 0);
  protocol::PollAnswerHead answer_head(uint32_t slot, int status) const;
  void end_request(uint32_t slot);
  void on_http_timer(uint32_t slot);
  uint32_t waiting_request(base::ConnectionRef connection, uint32_t request) const;

  // poll_log.cc: sessions
  void collect_polls();
  void log_output(uint32_t slot);
  bool log_message(uint32_t slot, protocol::Opcode opcode, uint32_t size, uint32_t* segment,
                   uint32_t* at);
  void serve_polls();
  bool serve_waiter(uint32_t slot);
  void forget_log(uint32_t slot, uint64_t before);
  uint32_t cut_log(uint32_t slot);
  void copy_log(uint32_t slot, uint32_t from, base::MutableBytes out);
  void note_waiting(uint32_t slot);
  void note_answered(uint32_t slot, uint32_t size);
  void make_ready(uint32_t slot);
  void free_poll(uint32_t slot);
  PollRow& poll_row(uint32_t slot) { return poll_->rows[slot - poll_->first]; }

  // send.cc
  void flush_extras();
  void send_dirty(uint32_t begin, uint32_t end);
  void end_flush();
  uint8_t* reserve(uint32_t size);
  void commit(uint32_t slot, uint32_t size);
  void append_segment(uint32_t slot, const uint8_t* data, uint32_t size);
  void send_output(uint32_t slot);
  void send_rest();
  void on_short_send(const io::ShortSend& shortage);
  bool push_backlog(uint32_t slot, const uint8_t* data, uint32_t size);
  void keep_output(uint32_t slot, uint32_t already_sent);
  void drain_backlog(uint32_t slot);
  void free_backlog(uint32_t slot);
  void clear_output(uint32_t slot);

  // lifecycle.cc
  void begin_extras();
  void on_ended(const io::Completion& c);
  void on_closed(const io::Completion& c);
  void begin_close(uint32_t slot);
  void finish_close(uint32_t slot);
  void deliver_closed(uint32_t slot);
  void on_timer(uint32_t slot);
  bool end_stalled(uint32_t slot);
  void schedule(uint32_t slot, base::Duration after);
  void free_inputs(uint32_t slot);
  bool matches(const io::Completion& c) const {
    return c.slot < rows_.size() && rows_[c.slot].generation == c.generation &&
           rows_[c.slot].phase != Phase::kFree;
  }

  struct Segment {
    const uint8_t* data;
    uint32_t size;
    uint32_t next;
  };

  EndpointConfig config_;
  io::Io& io_;
  ConnectionHandler& handler_;
  metrics::Counters& counters_;
  base::Instant now_{};
  uint32_t now_ms_ = 0;
  uint16_t now_s_ = 0;  // not out of now_ms_, whose wrap is no multiple of a second
  uint32_t open_count_ = 0;
  uint32_t slots_used_ = 0;
  uint32_t backlog_bytes_max_ = 0;  // that any connection had

  mem::MappedArray<Hot> rows_;
  mem::MappedArray<Cold> cold_;
  io::TimerWheel timers_;
  InputBuffers inputs_;
  mem::BlockPool backlog_blocks_;
  mem::MappedArray<uint32_t> backlog_next_;

  mem::Arena turn_arena_;
  uint32_t reserved_header_ = 0;
  mem::MappedArray<Segment> segments_;
  uint32_t segment_count_ = 0;
  mem::MappedArray<uint32_t> dirty_;
  uint32_t dirty_count_ = 0;
  mem::MappedArray<iovec> vectors_;
  // Outputs of more segments than one send takes (IOV_MAX), whose rest follows.
  static constexpr uint32_t kVectorsOfSend = 1024;
  struct LongOutput {
    uint32_t slot, next, sent;
  };
  mem::MappedArray<LongOutput> long_outputs_;
  uint32_t long_count_ = 0;
  uint32_t vector_count_ = 0;
  mem::MappedArray<uint16_t> held_buffers_;
  uint32_t held_count_ = 0;
  bool parsing_ = false;  // the last held buffer is being read

  bool extras_ = false;           // compression_ or tls_ is there, or a poll session is open
  std::unique_ptr<TlsSide> tls_;  // null: no listener speaks TLS
  std::unique_ptr<Compression> compression_;  // null: permessage-deflate is off
  std::unique_ptr<PollSide> poll_;            // null: no long polling
  uint64_t compressed_limit_;                 // of a compressed payload; 0: off
  // What waits for the next turn, oldest first; kWoken stands for bytes in the row's own input.
  mem::MappedArray<io::Completion> parked_;
  uint32_t parked_first_ = 0;
  uint32_t parked_count_ = 0;
};

}  // namespace tidegate::net
