// SPDX-License-Identifier: Apache-2.0
// Endpoint: HTTP requests of long polling. An HTTP connection is kHead while it waits for a request
// and kDeciding until that is answered; its session may live here or on another shard.
#include <algorithm>
#include <cstring>

#include "net/endpoint.h"
#include "net/refusals.h"
#include "protocol/utf8.h"

namespace tidegate::net {

using base::Bytes;
using base::MutableBytes;
using metrics::Counter;
using protocol::PollKind;
using Kind = PollLetter::Kind;

namespace {

enum HttpFlag : uint8_t {
  kHttpClose = 1,   // the connection ends with the answer
  kHttpShared = 2,  // the request had an Origin
  kHttpHeld = 4,    // a GET: nothing came is an answer when its time is over
  kHttpKnown = 8,   // of the connection: a session was opened or asked for over it
};

constexpr base::Duration kIdle = base::seconds(60);    // of a connection between two requests
constexpr base::Duration kAnswer = base::seconds(15);  // for control or another shard to answer
constexpr uint32_t kFullRetryS = 5;

// Takes as long whatever differs.
bool same_secret(const uint8_t (&a)[16], const uint8_t (&b)[16]) {
  uint8_t differences = 0;
  for (int i = 0; i < 16; ++i) differences |= static_cast<uint8_t>(a[i] ^ b[i]);
  return differences == 0;
}

}  // namespace

size_t Endpoint::consume_poll(uint32_t slot, MutableBytes bytes, size_t head, size_t* need) {
  Hot& row = rows_[slot];
  Cold& cold = cold_[slot];
  protocol::PollRequest request;
  const protocol::UpgradeError error =
      protocol::parse_poll_request(bytes.first(head), config_.rules, request);
  if (error.status != 0) {
    refuse_upgrade(slot, error.status, error.code, error.message);
    return 0;
  }
  if (!check_edge(slot, request.upgrade)) return 0;
  if (request.body_bytes > post_bytes_max()) {
    refuse_upgrade(slot, 413, "body_too_large",
                   "the body is larger than limits.message_bytes or 63 KiB");
    return 0;
  }
  const size_t whole = head + request.body_bytes;
  if (bytes.size() < whole) {
    *need = whole;
    return 0;
  }
  if ((cold.edge & kEdgeHttp) == 0) {
    cold.edge |= kEdgeHttp;
    cold.http = {};
  }
  counters_.add(Counter::kPollRequests, 1);
  cold.http.flags =
      static_cast<uint8_t>((cold.http.flags & kHttpKnown) | (request.close ? kHttpClose : 0) |
                           (request.upgrade.origin.empty() ? 0 : kHttpShared));
  row.phase = Phase::kDeciding;
  schedule(slot, kAnswer);
  serve_request(slot, request, bytes.subspan(head, request.body_bytes));
  return whole;
}

void Endpoint::serve_request(uint32_t slot, const protocol::PollRequest& request,
                             MutableBytes body) {
  Cold& cold = cold_[slot];
  PollLetter letter;
  switch (request.kind) {
    case PollKind::kPreflight: {
      protocol::PollAnswerHead head = answer_head(slot, 204);
      head.preflight = true;
      uint8_t* at = reserve(protocol::kAnswerBytesMax);
      const size_t size = protocol::write_poll_head({at, protocol::kAnswerBytesMax}, head);
      commit(slot, static_cast<uint32_t>(size));
      end_request(slot);
      return;
    }
    case PollKind::kOpen:
      open_poll(slot, request);
      return;
    case PollKind::kPost:
      letter.kind = Kind::kPost;
      break;
    case PollKind::kDelete:
      letter.kind = Kind::kDelete;
      break;
    case PollKind::kGet: {
      letter.kind = Kind::kGet;
      cold.http.flags |= kHttpHeld;
      base::Duration hold = poll_hold();
      if (request.wait_ms != protocol::kPollWaitUnset) {
        hold = std::min(hold, base::milliseconds(std::max(request.wait_ms, 1u)));
      }
      schedule(slot, hold);
      break;
    }
  }
  letter.connection = ref(slot);
  letter.connection_shard = config_.poll.shard;
  letter.request = cold.http.request;
  letter.index = request.name.index;
  letter.number = request.number;
  std::memcpy(letter.secret, request.name.secret, sizeof letter.secret);
  if (request.name.shard == config_.poll.shard) {
    Bytes reason;
    const Kind kind = serve_letter(letter, body, &reason);
    if (kind == Kind::kGet) return;  // it waits
    letter.kind = kind;
    answer_request(slot, letter, reason);
    return;
  }
  if (request.name.shard >= config_.poll.shards) {
    letter.kind = Kind::kUnknown;
    answer_request(slot, letter, {});
    return;
  }
  counters_.add(Counter::kPollForwarded, 1);
  if (!handler_.on_poll_letter_out(request.name.shard, letter, body)) {
    answer_error(slot, 503, "overloaded", "the way to this session is full; send it again", 1);
  }
}

// --- opening ---

void Endpoint::open_poll(uint32_t http, const protocol::PollRequest& request) {
  PollSide& side = *poll_;
  uint32_t index = side.first_free;
  if (index != kNone) {
    side.first_free = side.rows[index].next_free;
  } else if (side.used < side.rows.size()) {
    index = side.used++;
  } else {
    counters_.add(metrics::Family::kAdmission, static_cast<uint32_t>(Admission::kFull));
    answer_error(http, 429, "too_many_connections", "no room for another session by long polling",
                 kFullRetryS);
    return;
  }
  const uint32_t slot = side.first + index;
  Hot& row = rows_[slot];
  TG_ASSERT(row.phase == Phase::kFree);
  const uint32_t generation = (row.generation + 1) & 0xffffff;
  row = Hot{};
  row.generation = generation == 0 ? 1 : generation;
  row.phase = Phase::kDeciding;
  row.subprotocol = request.upgrade.subprotocol;
  row.received_ms = now_ms_;
  Cold& cold = cold_[slot];
  cold = Cold{};
  cold.accepted_ms = now_ms_;
  cold.edge = kEdgePeerKnown;
  std::memcpy(cold.peer, cold_[http].peer, sizeof cold.peer);
  cold.peer_port = cold_[http].peer_port;
  PollRow& p = side.rows[index];
  p = PollRow{};
  p.waiter = ref(http);
  p.waiter_shard = config_.poll.shard;
  p.waiter_request = cold_[http].http.request;
  ++side.open;
  extras_ = true;
  counters_.set(metrics::Gauge::kPollSessions, side.open);
  schedule(slot, config_.handshake_timeout);
  if (!handler_.on_secret(p.secret)) {
    refuse_poll(slot, 503, "overloaded", "there is no randomness for a session", kFullRetryS);
    return;
  }
  if (!admit(slot)) return;
  row.flags |= kFlagAsked;
  if (handler_.on_upgrade(slot, request.upgrade) == UpgradeDecision::kAccept) accept_poll(slot);
}

void Endpoint::accept_poll(uint32_t slot) {
  Hot& row = rows_[slot];
  PollRow& p = poll_row(slot);
  const uint32_t http = waiting_request(p.waiter, p.waiter_request);
  p.waiter.slot = kNone;
  if (http == kNone) {  // nobody would ever know its name
    row.cause = CloseCause::kPeerLost;
    finish_close(slot);
    return;
  }
  cold_[http].http.flags |= kHttpKnown;
  const protocol::PollAnswerHead head = answer_head(http, 200);
  protocol::PollName name;
  name.shard = config_.poll.shard;
  name.index = slot - poll_->first;
  std::memcpy(name.secret, p.secret, sizeof p.secret);
  const std::string_view subprotocol =
      config_.rules.subprotocols.empty()
          ? std::string_view{}
          : config_.rules
                .subprotocols[row.subprotocol == protocol::kNoSubprotocol ? 0 : row.subprotocol];
  uint8_t* at = reserve(protocol::kAnswerBytesMax);
  const size_t size = protocol::write_poll_opened(
      {at, protocol::kAnswerBytesMax}, name, subprotocol,
      static_cast<uint32_t>(poll_hold().ns / 1'000'000), post_bytes_max(), head.shared, head.close);
  commit(http, static_cast<uint32_t>(size));
  end_request(http);
  row.phase = Phase::kOpen;
  cold_[slot].opened = {};
  p.answered_ms = now_ms_;
  schedule(slot, config_.heartbeat_interval);
  handler_.on_open(slot);
}

void Endpoint::refuse_poll(uint32_t slot, int status, std::string_view code,
                           std::string_view message, uint32_t retry_after_s) {
  Hot& row = rows_[slot];
  PollRow& p = poll_row(slot);
  const uint32_t http = waiting_request(p.waiter, p.waiter_request);
  p.waiter.slot = kNone;
  if (http != kNone) {
    if (status == 429) retry_after_s = std::max(retry_after_s, 1u);
    answer_error(http, status, code, message, retry_after_s);
  }
  if (row.cause != CloseCause::kHandshakeTimeout) row.cause = CloseCause::kRefused;
  row.close_code = static_cast<uint16_t>(status);
  finish_close(slot);
}

// --- requests to a session of this shard ---

// Returns the kind of the answer, or kGet: the request waits now.
Kind Endpoint::serve_letter(PollLetter& letter, MutableBytes body, Bytes* reason) {
  if (letter.index >= poll_->used) return Kind::kUnknown;
  const uint32_t slot = poll_->first + letter.index;
  PollRow& p = poll_->rows[letter.index];
  Hot& row = rows_[slot];
  if ((row.phase != Phase::kOpen && row.phase != Phase::kClosing) ||
      !same_secret(p.secret, letter.secret)) {
    return Kind::kUnknown;
  }
  row.received_ms = now_ms_;
  cold_[slot].bytes_in += body.size();
  switch (letter.kind) {
    case Kind::kPost:
      if (letter.number <= p.posted) {
        counters_.add(Counter::kPollRepeats, 1);
        return Kind::kNothing;
      }
      if (row.phase != Phase::kOpen) {
        letter.number = row.close_code;
        *reason = {reinterpret_cast<const uint8_t*>(p.reason), p.reason_bytes};
        return Kind::kClosed;
      }
      if (letter.number != p.posted + 1) {
        letter.number = p.posted + 1;
        return Kind::kGap;
      }
      p.posted = letter.number;
      deliver_posted(slot, body);
      return Kind::kNothing;
    case Kind::kDelete:
      if (row.phase == Phase::kOpen) {
        row.cause = CloseCause::kPeerClosed;
        row.close_code = 1000;
      }
      finish_close(slot);
      return Kind::kNothing;
    case Kind::kGet:
      break;
    default:
      return Kind::kUnknown;
  }
  if (letter.number < p.begin || letter.number > p.answered) {
    letter.number = p.begin;
    return Kind::kGap;
  }
  forget_log(slot, letter.number);
  if (p.waiter.valid()) {
    PollLetter replaced;
    replaced.connection = p.waiter;
    replaced.connection_shard = p.waiter_shard;
    replaced.request = p.waiter_request;
    replaced.kind = Kind::kReplaced;
    answer_letter(replaced, {});
  }
  p.waiter = letter.connection;
  p.waiter_shard = letter.connection_shard;
  p.waiter_request = letter.request;
  p.answered_ms = now_ms_;
  note_waiting(slot);
  if (p.end != p.begin || p.closed) make_ready(slot);
  return Kind::kGet;
}

void Endpoint::deliver_posted(uint32_t slot, MutableBytes body) {
  const Hot& row = rows_[slot];
  Cold& cold = cold_[slot];
  if (!row.receiver.takes_text_only()) {
    if (body.empty()) return;
    ++cold.messages_in;
    handler_.on_message(slot, protocol::Opcode::kBinary, body);
    return;
  }
  if (!protocol::is_valid_utf8(body)) {
    close(slot, 1007, "text that is not UTF-8", CloseCause::kProtocolError);
    return;
  }
  while (!body.empty() && row.phase == Phase::kOpen) {
    const void* const found = std::memchr(body.data(), '\n', body.size());
    const size_t size = found == nullptr
                            ? body.size()
                            : static_cast<size_t>(static_cast<const uint8_t*>(found) - body.data());
    if (size != 0) {
      ++cold.messages_in;
      handler_.on_message(slot, protocol::Opcode::kText, body.first(size));
    }
    body = body.subspan(std::min(size + 1, body.size()));
  }
}

// --- answers ---

void Endpoint::on_poll_letter(const PollLetter& letter, Bytes body) {
  if (poll_ == nullptr) return;
  if (letter.kind > Kind::kDelete) {  // an answer for a connection of ours
    const uint32_t slot = waiting_request(letter.connection, letter.request);
    if (slot != kNone) answer_request(slot, letter, body);
    return;
  }
  PollLetter answer = letter;
  Bytes reason;
  TG_ASSERT(body.size() <= poll_->scratch.size());
  const MutableBytes copy{poll_->scratch.data(), body.size()};  // handlers may write into it
  std::copy(body.begin(), body.end(), copy.begin());
  const Kind kind = serve_letter(answer, copy, &reason);
  if (kind == Kind::kGet) return;
  answer.kind = kind;
  answer_letter(answer, reason);
}

void Endpoint::answer_letter(const PollLetter& letter, Bytes body) {
  if (letter.connection_shard != config_.poll.shard) {
    // Not now means never: the request is answered with 503 when its time is over, and repeated.
    (void)handler_.on_poll_letter_out(letter.connection_shard, letter, body);
    return;
  }
  const uint32_t slot = waiting_request(letter.connection, letter.request);
  if (slot != kNone) answer_request(slot, letter, body);
}

// The row of an HTTP connection that still waits for the answer to this request, or kNone.
uint32_t Endpoint::waiting_request(base::ConnectionRef connection, uint32_t request) const {
  if (!connection.valid()) return kNone;
  const uint32_t slot = find(connection);
  if (slot == kNone || rows_[slot].phase != Phase::kDeciding) return kNone;
  const Cold& cold = cold_[slot];
  return (cold.edge & kEdgeHttp) != 0 && cold.http.request == request ? slot : kNone;
}

protocol::PollAnswerHead Endpoint::answer_head(uint32_t slot, int status) const {
  protocol::PollAnswerHead head;
  head.status = status;
  head.shared = (cold_[slot].http.flags & kHttpShared) != 0;
  head.close = (cold_[slot].http.flags & kHttpClose) != 0;
  return head;
}

uint8_t* Endpoint::begin_data(uint32_t slot, uint32_t size, bool text, uint32_t* head_bytes) {
  cold_[slot].http.flags |= kHttpKnown;
  protocol::PollAnswerHead head = answer_head(slot, 200);
  head.content_type = text ? "application/x-ndjson" : "application/octet-stream";
  head.body_bytes = size;
  expect_output(slot, size + static_cast<uint32_t>(protocol::kAnswerBytesMax));
  uint8_t* at = reserve(size + static_cast<uint32_t>(protocol::kAnswerBytesMax));
  *head_bytes =
      static_cast<uint32_t>(protocol::write_poll_head({at, protocol::kAnswerBytesMax}, head));
  return at + *head_bytes;
}

void Endpoint::answer_request(uint32_t slot, const PollLetter& letter, Bytes body) {
  if (letter.kind != Kind::kUnknown) cold_[slot].http.flags |= kHttpKnown;
  switch (letter.kind) {
    case Kind::kData: {
      uint32_t head = 0;
      uint8_t* at = begin_data(slot, static_cast<uint32_t>(body.size()), letter.text != 0, &head);
      std::memcpy(at, body.data(), body.size());
      commit(slot, head + static_cast<uint32_t>(body.size()));
      end_request(slot);
      return;
    }
    case Kind::kGap:
      answer_error(slot, 409, "sequence_gap",
                   "this number is not the next one; what is expected stands here", 0, "expected",
                   letter.number);
      return;
    case Kind::kReplaced:
      answer_error(slot, 409, "poll_replaced", "a newer GET of this session waits");
      return;
    case Kind::kClosed:
      answer_error(slot, 410, "session_closed", base::as_text(body), 0, "code", letter.number);
      return;
    case Kind::kUnknown:
      answer_error(slot, 404, "unknown_session",
                   "there is no such session, or not any more; open another one");
      return;
    default: {
      uint8_t* at = reserve(protocol::kAnswerBytesMax);
      const size_t size =
          protocol::write_poll_head({at, protocol::kAnswerBytesMax}, answer_head(slot, 204));
      commit(slot, static_cast<uint32_t>(size));
      end_request(slot);
    }
  }
}

void Endpoint::answer_error(uint32_t slot, int status, std::string_view code,
                            std::string_view message, uint32_t retry_after_s,
                            std::string_view extra_name, uint64_t extra) {
  protocol::PollAnswerHead head = answer_head(slot, status);
  head.retry_after_s = retry_after_s;
  uint8_t* at = reserve(protocol::kAnswerBytesMax);
  const size_t size = protocol::write_poll_error({at, protocol::kAnswerBytesMax}, head, code,
                                                 message, extra_name, extra);
  TG_ASSERT(size != 0);
  commit(slot, static_cast<uint32_t>(size));
  counters_.add(metrics::Family::kRefusals, refusal_index(code));
  end_request(slot);
}

// The answer is in the output: the connection is for the next request, or ends.
void Endpoint::end_request(uint32_t slot) {
  Hot& row = rows_[slot];
  if (row.phase != Phase::kDeciding) return;  // reserve() found that it does not read
  Cold::Http& http = cold_[slot].http;
  ++http.request;
  base::Duration idle = kIdle;
  if ((http.flags & kHttpKnown) == 0) {  // nobody lives longer without a token
    idle = config_.handshake_timeout - base::milliseconds(now_ms_ - cold_[slot].accepted_ms);
  }
  if ((http.flags & kHttpClose) != 0 || idle.ns <= 0) {
    row.cause = CloseCause::kHttpEnded;
    begin_close(slot);
    return;
  }
  row.phase = Phase::kHead;
  schedule(slot, idle);
  if (row.input != kNone && (row.flags & kFlagDispatching) == 0) consume(slot, {});
}

void Endpoint::on_http_timer(uint32_t slot) {
  Hot& row = rows_[slot];
  if (row.phase == Phase::kHead) {  // idle, or a request that was begun and not ended
    row.cause = CloseCause::kHttpEnded;
    finish_close(slot);
  } else if (cold_[slot].http.flags & kHttpHeld) {
    answer_request(slot, PollLetter{}, {});
  } else {
    answer_error(slot, 503, "overloaded", "there was no answer in time; send it again", 1);
  }
}

}  // namespace tidegate::net
