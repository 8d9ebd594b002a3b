// SPDX-License-Identifier: Apache-2.0
// Endpoint: what poll sessions have to say. Instead of a socket a log in blocks of the backlog
// takes the turn's output, without WebSocket headers: frames of tidegate stand one behind the
// other, JSON in lines.
#include <algorithm>
#include <cstring>

#include "net/endpoint.h"

namespace tidegate::net {

using base::Bytes;
using base::MutableBytes;
using Kind = PollLetter::Kind;

namespace {

// The next GET is on its way that long without anything being said about the client's speed. More
// than a quarter of limits.backlog_bytes is told at once.
constexpr uint32_t kPauseMs = 500;
constexpr base::Duration kCloseTime = base::seconds(10);  // to come and hear that it is over
constexpr uint32_t kFrameHead = 8;                        // of tidegate: magic, version, length

}  // namespace

// Takes poll sessions out of the list of those with output.
void Endpoint::collect_polls() {
  uint32_t kept = 0;
  for (uint32_t i = 0; i < dirty_count_; ++i) {
    const uint32_t slot = dirty_[i];
    if (slot < poll_->first) {
      dirty_[kept++] = slot;
      continue;
    }
    log_output(slot);
    clear_output(slot);
  }
  dirty_count_ = kept;
}

void Endpoint::log_output(uint32_t slot) {
  Hot& row = rows_[slot];
  PollRow& p = poll_row(slot);
  if (row.phase == Phase::kClosed || row.phase == Phase::kFree) return;
  uint32_t s = row.first_segment;
  uint32_t at = 0;
  while (s != kNone) {
    const Segment& segment = segments_[s];
    if (at == segment.size) {
      s = segment.next;
      at = 0;
      continue;
    }
    // A header lies whole in the segment where it begins.
    const uint8_t* const head = segment.data + at;
    const uint8_t length = head[1] & 0x7f;
    const uint32_t size = length < 126    ? length
                          : length == 126 ? base::load_be16(head + 2)
                                          : static_cast<uint32_t>(base::load_be64(head + 2));
    at += length < 126 ? 2 : length == 126 ? 4 : 10;
    TG_ASSERT(at <= segment.size);
    if (!log_message(slot, static_cast<protocol::Opcode>(head[0] & 0x0f), size, &s, &at)) return;
  }
  note_waiting(slot);
  if (p.waiter.valid()) make_ready(slot);
}

// Moves (segment, at) over the payload. False: the session ended here.
bool Endpoint::log_message(uint32_t slot, protocol::Opcode opcode, uint32_t size, uint32_t* segment,
                           uint32_t* at) {
  Hot& row = rows_[slot];
  PollRow& p = poll_row(slot);
  const bool data = opcode == protocol::Opcode::kBinary || opcode == protocol::Opcode::kText;
  const uint32_t logged = size + (opcode == protocol::Opcode::kText ? 1 : 0);
  if (data) {
    const uint64_t most = config_.backlog_bytes + cold_[slot].burst_kib * 1024u;
    if (p.end - p.answered + logged > most || logged > kPollAnswerBytes) {
      counters_.add(metrics::Counter::kBacklogOverflow, 1);
      row.cause = CloseCause::kSlowConsumer;
      row.close_code = 1013;
      finish_close(slot);
      return false;
    }
  }
  uint8_t closing[125];
  uint32_t copied = 0;
  bool room = true;
  for (uint32_t left = size; left != 0;) {
    const Segment& from = segments_[*segment];
    const uint32_t n = std::min(left, from.size - *at);
    if (n == 0) {
      *segment = from.next;
      *at = 0;
      TG_ASSERT(*segment != kNone);
      continue;
    }
    if (data) {
      room = room && push_backlog(slot, from.data + *at, n);
    } else if (opcode == protocol::Opcode::kClose) {
      std::memcpy(closing + copied, from.data + *at, n);
      copied += n;
    }
    *at += n;
    left -= n;
  }
  if (data) {
    const uint8_t line_end = '\n';
    if (opcode == protocol::Opcode::kText) room = room && push_backlog(slot, &line_end, 1);
    p.end += logged;
  } else if (opcode == protocol::Opcode::kClose) {
    p.closed = true;
    p.close_code = copied >= 2 ? base::load_be16(closing) : 1000;
    p.reason_bytes =
        static_cast<uint8_t>(std::min<uint32_t>(copied >= 2 ? copied - 2 : 0, sizeof p.reason));
    std::memcpy(p.reason, closing + 2, p.reason_bytes);
    schedule(slot, kCloseTime);
  }
  if (!room) {
    row.cause = CloseCause::kOverloaded;
    row.close_code = 1013;
    finish_close(slot);
  }
  return room;
}

// What the world may know of what waits: nothing while the client does as it should.
void Endpoint::note_waiting(uint32_t slot) {
  Hot& row = rows_[slot];
  PollRow& p = poll_row(slot);
  const auto waiting = static_cast<uint32_t>(p.end - p.answered);
  const bool fine = waiting <= config_.backlog_bytes / 4 && now_ms_ - p.answered_ms < kPauseMs;
  const uint32_t told = fine ? 0 : waiting;
  if (p.waiting_told == 0 && told != 0) cold_[slot].backlog_since_s = now_s_;
  row.backlog_bytes = p.waiting_told = told;
  if (told > backlog_bytes_max_) {
    backlog_bytes_max_ = told;
    counters_.set(metrics::Gauge::kBacklogBytesMax, told);
  }
}

// The client has everything before this number.
void Endpoint::forget_log(uint32_t slot, uint64_t before) {
  Hot& row = rows_[slot];
  Cold& cold = cold_[slot];
  PollRow& p = poll_row(slot);
  auto left = static_cast<uint32_t>(before - p.begin);
  p.begin = before;
  while (left != 0) {
    const uint32_t block = row.backlog;
    const uint32_t end =
        block == cold.backlog_tail ? cold.backlog_tail_used : backlog_blocks_.block_bytes();
    const uint32_t n = std::min(left, end - cold.backlog_head_used);
    cold.backlog_head_used = static_cast<uint16_t>(cold.backlog_head_used + n);
    left -= n;
    if (cold.backlog_head_used == end) {
      row.backlog = block == cold.backlog_tail ? kNone : backlog_next_[block];
      cold.backlog_head_used = 0;
      backlog_blocks_.free(block);
    }
  }
}

// Copies log bytes [from, from + out.size()), counted from the log's beginning.
void Endpoint::copy_log(uint32_t slot, uint32_t from, MutableBytes out) {
  const Hot& row = rows_[slot];
  const Cold& cold = cold_[slot];
  uint32_t used = cold.backlog_head_used;
  for (uint32_t b = row.backlog; !out.empty(); b = backlog_next_[b], used = 0) {
    const uint32_t end =
        b == cold.backlog_tail ? cold.backlog_tail_used : backlog_blocks_.block_bytes();
    const uint32_t have = end - used;
    if (from >= have) {
      from -= have;
      continue;
    }
    const auto n = static_cast<uint32_t>(std::min<size_t>(out.size(), have - from));
    std::memcpy(out.data(), backlog_blocks_.data(b) + used + from, n);
    out = out.subspan(n);
    from = 0;
  }
}

// How much of the log's beginning one answer takes: whole messages.
uint32_t Endpoint::cut_log(uint32_t slot) {
  const PollRow& p = poll_row(slot);
  const auto all = static_cast<uint32_t>(p.end - p.begin);
  if (all <= kPollAnswerBytes) return all;
  uint32_t end = 0;
  if (rows_[slot].receiver.takes_text_only()) {
    copy_log(slot, 0, {poll_->scratch.data(), kPollAnswerBytes});
    end = kPollAnswerBytes;
    while (end != 0 && poll_->scratch[end - 1] != '\n') --end;
  } else {
    while (end + kFrameHead <= all) {
      uint8_t head[kFrameHead];
      copy_log(slot, end, head);
      const uint64_t next = uint64_t{end} + kFrameHead + base::load_be32(head + 4);
      if (next > kPollAnswerBytes) break;
      end = static_cast<uint32_t>(next);
    }
  }
  return end != 0 ? end : kPollAnswerBytes;
}

void Endpoint::make_ready(uint32_t slot) {
  PollRow& p = poll_row(slot);
  if (p.ready) return;
  p.ready = true;
  poll_->ready[poll_->ready_list][poll_->ready_count++] = slot;
}

void Endpoint::serve_polls() {
  PollSide& side = *poll_;
  collect_polls();
  const uint32_t count = side.ready_count;
  if (count == 0) return;
  const mem::MappedArray<uint32_t>& list = side.ready[side.ready_list];
  side.ready_list ^= 1;
  side.ready_count = 0;
  for (uint32_t i = 0; i < count; ++i) {
    poll_row(list[i]).ready = false;
    if (!serve_waiter(list[i])) make_ready(list[i]);
  }
}

// False: the way to the waiter's shard is full.
bool Endpoint::serve_waiter(uint32_t slot) {
  Hot& row = rows_[slot];
  PollRow& p = poll_row(slot);
  PollLetter letter;
  letter.connection = p.waiter;
  letter.connection_shard = p.waiter_shard;
  letter.request = p.waiter_request;
  const bool gone = row.phase == Phase::kClosed;
  if (gone || (p.closed && p.begin == p.end)) {
    if (p.waiter.valid()) {
      letter.kind = Kind::kClosed;
      letter.number = row.close_code;
      p.waiter.slot = kNone;
      answer_letter(letter, {reinterpret_cast<const uint8_t*>(p.reason), p.reason_bytes});
    }
    if (gone) free_poll(slot);
    return true;
  }
  if (!p.waiter.valid() || p.begin == p.end) return true;
  const bool text = row.receiver.takes_text_only();
  const uint32_t size = cut_log(slot);
  if (p.waiter_shard == config_.poll.shard) {
    const uint32_t http = waiting_request(p.waiter, p.waiter_request);
    if (http == kNone) {
      p.waiter.slot = kNone;
      return true;
    }
    uint32_t head = 0;
    uint8_t* at = begin_data(http, size, text, &head);
    // An early flush found that more waits for it than may: it is ready again, as one that ended.
    if (row.phase == Phase::kClosed) return true;
    p.waiter.slot = kNone;
    copy_log(slot, 0, {at, size});
    note_answered(slot, size);
    commit(http, head + size);
    end_request(http);
    return true;
  }
  letter.kind = Kind::kData;
  letter.text = text ? 1 : 0;
  const MutableBytes copy{poll_->scratch.data(), size};
  copy_log(slot, 0, copy);
  if (!handler_.on_poll_letter_out(p.waiter_shard, letter, copy)) return false;
  counters_.add(metrics::Counter::kPollForwarded, 1);
  p.waiter.slot = kNone;
  note_answered(slot, size);
  return true;
}

void Endpoint::note_answered(uint32_t slot, uint32_t size) {
  PollRow& p = poll_row(slot);
  const uint64_t to = p.begin + size;
  const uint64_t fresh = to > p.answered ? to - p.answered : 0;
  cold_[slot].bytes_out += fresh;
  cold_[slot].backlog_since_s = now_s_;
  counters_.add(metrics::Counter::kPollRefetchedBytes, size - fresh);
  p.answered += fresh;
  p.answered_ms = now_ms_;
  note_waiting(slot);
}

void Endpoint::free_poll(uint32_t slot) {
  PollRow& p = poll_row(slot);
  leave_admission(slot);
  free_backlog(slot);
  timers_.cancel(slot);
  rows_[slot].phase = Phase::kFree;
  p.next_free = poll_->first_free;
  poll_->first_free = slot - poll_->first;
  --poll_->open;
  if (poll_->open == 0) extras_ = compression_ != nullptr || tls_ != nullptr;
  counters_.set(metrics::Gauge::kPollSessions, poll_->open);
}

}  // namespace tidegate::net
