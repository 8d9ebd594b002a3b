// SPDX-License-Identifier: Apache-2.0
// The part of Endpoint that only TLS connections run: records in, handshakes a few at a time, the
// turn's output into records. Plain bytes take the same way as on other connections: consume() on
// one side, the chain of segments on the other, which is replaced by its sealed form just before
// it is sent. Backlog and its limits therefore count sealed bytes.
#include <algorithm>
#include <cstdio>
#include <cstring>

#include "base/log.h"
#include "net/endpoint.h"

namespace tidegate::net {

using base::Bytes;
using base::MutableBytes;
using metrics::Counter;
using tls::Failure;

namespace {
constexpr uint32_t kCloseNotifyMax = 64;
}

// --- life ---

void Endpoint::open_tls(uint32_t slot) {
  tls_->rows[slot] = TlsRow{};
  rows_[slot].flags |= kFlagTls;
}

void Endpoint::close_tls(uint32_t slot) {
  TlsRow& t = tls_->rows[slot];
  leave_queue(slot);
  if (t.counted) set_tls_open(tls_->open - 1);
  tls_->inputs.free(t.input);
  if (t.charged) config_.account->release(kTlsSessionBytes);
  t = TlsRow{};
}

void Endpoint::set_tls_open(uint32_t count) {
  tls_->open = count;
  counters_.set(metrics::Gauge::kTlsConnections, count);
}

// It is over for the peer's bytes; ours are what stands in the output already (an alert).
void Endpoint::fail_tls(uint32_t slot, Failure failure, const char* reason) {
  Hot& row = rows_[slot];
  TlsRow& t = tls_->rows[slot];
  char text[160];
  base::log(base::LogLevel::kDebug, base::format_into(text, "tls: connection %u: %s (%s)", slot,
                                                      tls::name_of(failure), reason));
  counters_.add(metrics::Family::kTlsFailures, static_cast<uint32_t>(failure));
  t.over = true;
  leave_queue(slot);
  if (row.phase == Phase::kClosing || row.phase == Phase::kClosed) return;
  row.cause = failure == Failure::kTimeout ? CloseCause::kHandshakeTimeout : CloseCause::kTlsFailed;
  if (t.first_sealed == kNone) {
    finish_close(slot);
  } else {
    begin_close(slot);
  }
}

// True: the timer was about a handshake and is dealt with.
bool Endpoint::on_tls_timer(uint32_t slot) {
  const TlsRow& t = tls_->rows[slot];
  if (t.session.established()) return false;
  if (t.queued) {  // the peer waits for us, not we for it
    schedule(slot, config_.handshake_timeout);
    return true;
  }
  counters_.add(Counter::kHandshakeTimeouts, 1);
  fail_tls(slot, Failure::kTimeout);
  return true;
}

void Endpoint::on_tls_ended(uint32_t slot) {
  const TlsRow& t = tls_->rows[slot];
  if (!t.session.established() && !t.over && (t.begun || t.queued)) {
    counters_.add(metrics::Family::kTlsFailures, static_cast<uint32_t>(Failure::kPeerLost));
  }
}

bool Endpoint::tls_stalled(uint32_t slot) const {
  const TlsRow& t = tls_->rows[slot];
  return t.input != kNone &&
         static_cast<uint16_t>(now_s_ - t.input_since_s) * int64_t{1'000'000'000} >
             config_.message_timeout.ns;
}

// --- the queue of handshakes ---

void Endpoint::join_queue(uint32_t slot) {
  TlsRow& t = tls_->rows[slot];
  if (t.queued) return;
  t.queued = true;
  t.next = kNone;
  t.previous = tls_->queue_last;
  (t.previous == kNone ? tls_->queue_first : tls_->rows[t.previous].next) = slot;
  tls_->queue_last = slot;
  ++tls_->queue_count;
}

void Endpoint::leave_queue(uint32_t slot) {
  TlsRow& t = tls_->rows[slot];
  if (!t.queued) return;
  t.queued = false;
  (t.previous == kNone ? tls_->queue_first : tls_->rows[t.previous].next) = t.next;
  (t.next == kNone ? tls_->queue_last : tls_->rows[t.next].previous) = t.previous;
  --tls_->queue_count;
}

void Endpoint::run_handshakes(base::Instant until) {
  if (tls_ == nullptr || tls_->queue_count == 0) return;
  // One in each turn, whatever else there is to do; others while they fit.
  for (bool first = true; tls_->queue_count != 0; first = false) {
    if (!first && (!tls_->may_step() || until < io_.now() + tls_->step_time)) break;
    const uint32_t slot = tls_->queue_first;
    leave_queue(slot);
    TlsRow& t = tls_->rows[slot];
    if (t.input == kNone || rows_[slot].phase == Phase::kClosed) continue;
    // It waited for us; now its own time begins.
    schedule(slot, config_.handshake_timeout);
    const MutableBytes bytes{tls_->inputs.data(t.input), t.input_bytes};
    step_handshake(slot, bytes, tls::cut_records(bytes));
  }
  if (tls_->queue_count != 0) counters_.add(Counter::kTlsTurnsFull, 1);
}

void Endpoint::step_handshake(uint32_t slot, MutableBytes bytes, const tls::Records& cut) {
  TlsRow& t = tls_->rows[slot];
  const base::Instant begin = io_.now();
  tls_->engine.set_now(begin);
  if (!t.session) {
    mem::Account* const account = config_.account;
    if (account != nullptr && !account->charge(kTlsSessionBytes, mem::Rank::kInput)) {
      fail_tls(slot, Failure::kOverloaded);
      return;
    }
    t.charged = account != nullptr;
    const tls::ServerContext* const context = config_.tls.contexts->get();
    if (context == nullptr || !t.session.accept(*context, tls_->engine)) {
      fail_tls(slot, Failure::kOverloaded);
      return;
    }
  }
  t.begun = true;
  open_records(slot, bytes, cut);
  const base::Duration took = io_.now() - begin;
  ++tls_->steps;
  tls_->spent = tls_->spent + took;
  tls_->step_time = (tls_->step_time * 7 + took) / 8;
  counters_.record(metrics::Timing::kTlsHandshake, took);
}

// --- receiving ---

void Endpoint::take_received_tls(const io::Completion& c) {
  held_buffers_[held_count_++] = c.buffer;
  if (!matches(c)) return;
  Hot& row = rows_[c.slot];
  if (row.phase == Phase::kClosed) return;
  row.received_ms = now_ms_;
  row.flags &= static_cast<uint8_t>(~kFlagPinged);
  const uint32_t size = static_cast<uint32_t>(c.result);
  cold_[c.slot].bytes_in += size;
  counters_.add(Counter::kBytesReceived, size);
  parsing_ = true;
  consume_tls(c.slot, {c.data, size});
  parsing_ = false;
  if (held_count_ == held_buffers_.size()) flush();
}

void Endpoint::consume_tls(uint32_t slot, MutableBytes bytes) {
  TlsRow& t = tls_->rows[slot];
  if (t.over || rows_[slot].phase == Phase::kClosing) return;
  if (t.input != kNone) {
    const uint32_t whole = t.input_bytes + static_cast<uint32_t>(bytes.size());
    t.input = tls_->inputs.grow(t.input, t.input_bytes, whole);
    if (t.input == kNone) return fail_tls(slot, Failure::kOverloaded);
    std::memcpy(tls_->inputs.data(t.input) + t.input_bytes, bytes.data(), bytes.size());
    t.input_bytes = whole;
    bytes = {tls_->inputs.data(t.input), whole};
  }
  const tls::Records cut = tls::cut_records(bytes);
  if (t.session.established()) [[likely]] {
    open_records(slot, bytes, cut);
  } else if (cut.not_tls && cut.whole == 0) {
    fail_tls(slot, t.begun ? Failure::kBadRecord : Failure::kNotTls);
  } else if (cut.whole == 0) {
    keep_records(slot, bytes, cut.need);
  } else if (t.begun && tls_->may_step()) {
    // What follows the first message is cheap, and there is no more of it than first messages done.
    leave_queue(slot);
    step_handshake(slot, bytes, cut);
  } else {
    if (keep_records(slot, bytes, 0)) join_queue(slot);
  }
}

// `bytes` lie in a receive buffer, or are the row's own input; they end as its input or as nothing.
void Endpoint::open_records(uint32_t slot, MutableBytes bytes, const tls::Records& cut) {
  Hot& row = rows_[slot];
  TlsRow& t = tls_->rows[slot];
  const MutableBytes whole = bytes.first(cut.whole);
  if (!whole.empty()) {
    // What it has to say must not be overtaken by output that is sealed in an early flush: room
    // first.
    const size_t room = t.session.output_bytes_max();
    reserve(static_cast<uint32_t>(room));
    if (row.phase == Phase::kClosed) return;  // it was a slow consumer
    const tls::Received received = t.session.receive(tls_->engine, whole);
    append_sealed(slot, tls_->engine.output());
    if (t.sealed_bytes > TlsSide::kOwnBytesMax) {
      t.first_sealed = t.last_sealed = kNone;
      t.sealed_bytes = 0;
      return fail_tls(slot, Failure::kBadMessage, "it makes us answer without end");
    }
    if (received.just_established) {
      t.counted = true;
      set_tls_open(tls_->open + 1);
      counters_.add(Counter::kTlsHandshakes, 1);
      if (t.session.resumed()) counters_.add(Counter::kTlsResumed, 1);
    }
    if (received.plain_bytes != 0) {
      consume(slot, whole.first(received.plain_bytes));
      if (row.phase == Phase::kClosed) return;
    } else if (row.phase == Phase::kOpen && received.status == tls::Status::kOk &&
               !count_extra_frame(slot)) {
      return;  // key updates and empty records in a row
    }
    if (received.status == tls::Status::kFailed) {
      return fail_tls(slot, received.failure, received.reason);
    }
    if (received.status == tls::Status::kClosed) {
      t.over = true;
      if (row.phase == Phase::kClosing) return;
      reserve(0);
      if (row.phase == Phase::kClosed) return;
      row.cause = CloseCause::kPeerLost;  // without a close frame
      mark_dirty(slot);                   // for our close_notify
      begin_close(slot);
      return;
    }
  }
  if (cut.broken || cut.not_tls) return fail_tls(slot, Failure::kBadRecord);
  if (row.phase == Phase::kClosing) return;  // what follows means nothing
  keep_records(slot, bytes.subspan(cut.whole), cut.need);
}

// The rest of what was received becomes the row's input. False: the connection ends.
bool Endpoint::keep_records(uint32_t slot, Bytes rest, size_t need) {
  TlsRow& t = tls_->rows[slot];
  const uint32_t size = static_cast<uint32_t>(rest.size());
  if (rest.empty()) {
    tls_->inputs.free(t.input);
    t.input = kNone;
    t.input_bytes = 0;
    return true;
  }
  if (t.input == kNone || size != t.input_bytes) t.input_since_s = now_s_;
  if (t.input == kNone) {
    t.input = tls_->inputs.grow(kNone, 0, static_cast<uint32_t>(std::max(need, rest.size())));
    if (t.input != kNone) std::memcpy(tls_->inputs.data(t.input), rest.data(), size);
  } else if (rest.data() != tls_->inputs.data(t.input)) {
    std::memmove(tls_->inputs.data(t.input), rest.data(), size);
  }
  t.input_bytes = size;
  if (t.input != kNone && need > tls_->inputs.capacity(t.input)) {
    t.input = tls_->inputs.grow(t.input, size, static_cast<uint32_t>(need));
  }
  if (t.input != kNone) return true;
  t.input_bytes = 0;
  fail_tls(slot, Failure::kOverloaded);
  return false;
}

// --- sending ---

// An empty segment: the connection is looked at in the next flush.
void Endpoint::mark_dirty(uint32_t slot) {
  if (rows_[slot].first_segment != kNone) return;
  append_segment(slot, static_cast<uint8_t*>(turn_arena_.peek(0)), 0);
}

// Records that the session itself made; there is room for them in the arena (reserve).
void Endpoint::append_sealed(uint32_t slot, Bytes records) {
  if (records.empty()) return;
  TlsRow& t = tls_->rows[slot];
  mark_dirty(slot);
  auto* at = static_cast<uint8_t*>(turn_arena_.take(records.size()));
  std::memcpy(at, records.data(), records.size());
  const uint32_t index = segment_count_++;
  segments_[index] = {at, static_cast<uint32_t>(records.size()), kNone};
  (t.first_sealed == kNone ? t.first_sealed : segments_[t.last_sealed].next) = index;
  t.last_sealed = index;
  t.sealed_bytes += static_cast<uint32_t>(records.size());
}

// Everything of TLS connections into records. Returns the first of dirty_ that is still to be sent:
// when the memory for sealed bytes was full, those before it are gone already.
uint32_t Endpoint::seal_output() {
  tls_->sealed.reset();
  uint32_t from = 0;
  for (uint32_t i = 0; i < dirty_count_; ++i) {
    const uint32_t slot = dirty_[i];
    const Hot& row = rows_[slot];
    if ((row.flags & kFlagTls) == 0 || row.first_segment == kNone) continue;
    if (row.phase == Phase::kClosed || row.phase == Phase::kFree) continue;
    const uint64_t records = row.output_bytes / tls::kRecordPlainMax + 2;
    const uint64_t most = row.output_bytes + records * tls::kRecordExpansionMax +
                          tls_->rows[slot].sealed_bytes + tls::kSealRoom + kCloseNotifyMax;
    if (most > tls_->sealed.available() && tls_->sealed.used() != 0) {
      send_dirty(from, i);
      from = i;
      tls_->sealed.reset();
    }
    seal_connection(slot, i);
  }
  return from;
}

// The connection's chain becomes one segment of records.
void Endpoint::seal_connection(uint32_t slot, uint32_t dirty_index) {
  Hot& row = rows_[slot];
  TlsRow& t = tls_->rows[slot];
  const uint32_t first = row.first_segment;
  uint32_t begin = static_cast<uint32_t>(tls_->sealed.used());
  bool good = true;

  // What is sealed so far as the connection's output.
  const auto finish = [&] {
    const uint32_t size = static_cast<uint32_t>(tls_->sealed.used()) - begin;
    segments_[first] = {static_cast<uint8_t*>(tls_->sealed.peek(0)) - size, size, kNone};
    row.first_segment = size == 0 ? kNone : first;
    row.last_segment = row.first_segment;
    row.output_bytes = size;
  };
  const auto put = [&](Bytes plain) {
    if (tls_->sealed.available() < plain.size() + tls::kSealRoom) {
      // More than the memory holds: send what there is and go on. It closes behind the last piece.
      finish();
      const uint8_t closes = row.flags & kFlagCloseAfter;
      row.flags &= static_cast<uint8_t>(~kFlagCloseAfter);
      send_dirty(dirty_index, dirty_index + 1);
      row.flags |= closes;
      tls_->sealed.reset();
      begin = 0;
      if (row.phase == Phase::kClosed) good = false;
    }
    if (!good) return;
    const size_t room = tls_->sealed.available();
    auto* out = static_cast<uint8_t*>(tls_->sealed.peek(0));
    const size_t size = t.session.seal(tls_->engine, plain, {out, room});
    if (size == 0) good = false;
    tls_->sealed.take(size);
  };

  for (uint32_t s = t.first_sealed; s != kNone; s = segments_[s].next) {
    std::memcpy(tls_->sealed.take(segments_[s].size), segments_[s].data, segments_[s].size);
  }
  t.first_sealed = t.last_sealed = kNone;
  t.sealed_bytes = 0;
  if (t.session.established()) {  // not after a failure
    uint32_t gathered = 0;
    uint32_t next = kNone;
    for (uint32_t s = first; s != kNone && good; s = next) {
      const Segment segment = segments_[s];  // finish() writes over the first one
      next = segment.next;
      Bytes rest{segment.data, segment.size};
      while (!rest.empty() && good) {
        const size_t most = tls::kRecordPlainMax - gathered;
        // Straight from where it lies when it is a record of its own.
        if (gathered == 0 && (next == kNone || rest.size() >= most)) {
          put(rest.first(std::min(rest.size(), most)));
          rest = rest.subspan(std::min(rest.size(), most));
          continue;
        }
        const size_t n = std::min(rest.size(), most);
        std::memcpy(tls_->gather.data() + gathered, rest.data(), n);
        gathered += static_cast<uint32_t>(n);
        rest = rest.subspan(n);
        if (gathered == tls::kRecordPlainMax) {
          put({tls_->gather.data(), gathered});
          gathered = 0;
        }
      }
    }
    if (gathered != 0 && good) put({tls_->gather.data(), gathered});
    if (good && row.phase == Phase::kClosing && (row.flags & kFlagCloseAfter) != 0) {
      // Its few bytes always fit: a full memory was emptied for the last record.
      auto* out = static_cast<uint8_t*>(tls_->sealed.peek(0));
      tls_->sealed.take(t.session.shut_down(tls_->engine, {out, tls_->sealed.available()}));
    }
  }
  if (row.phase == Phase::kClosed) return;
  finish();
  if (!good) fail_tls(slot, Failure::kOther);
}

}  // namespace tidegate::net
