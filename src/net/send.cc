// SPDX-License-Identifier: Apache-2.0
// The sending half of Endpoint. Output of a turn is a chain of segments for each connection, in the
// turn's arena or shared; flush() makes one send of each chain.
#include <algorithm>
#include <cstring>
#include <utility>

#include "net/endpoint.h"

namespace tidegate::net {
namespace {

// Up to this many bytes a chain is copied together and sent as one buffer: copying 1 KiB costs less
// than the kernel's import of an iovec array.
constexpr uint32_t kCopyBytes = 1024;
constexpr uint32_t kHeaderMax = 10;  // server frames are not masked
// Text is so many times as long as the state it stands for, at most (measured: 2.2 to 3.4
// times; docs/performance.md).
constexpr uint32_t kTextGrowth = 5;

}  // namespace

uint8_t* Endpoint::reserve(uint32_t size) {
  if (turn_arena_.available() < size || segment_count_ + 1 >= segments_.size() ||
      dirty_count_ >= dirty_.size()) {
    flush();
  }
  return static_cast<uint8_t*>(turn_arena_.peek(size));
}

void Endpoint::commit(uint32_t slot, uint32_t size) {
  const uint8_t* data = static_cast<uint8_t*>(turn_arena_.take(size));
  Hot& row = rows_[slot];
  // Extend the last segment when it ends where this one begins.
  if (row.last_segment != kNone) {
    Segment& last = segments_[row.last_segment];
    if (last.data + last.size == data) {
      last.size += size;
      row.output_bytes += size;
      return;
    }
  }
  append_segment(slot, data, size);
}

void Endpoint::append_segment(uint32_t slot, const uint8_t* data, uint32_t size) {
  Hot& row = rows_[slot];
  const uint32_t index = segment_count_++;
  segments_[index] = {data, size, kNone};
  if (row.first_segment == kNone) {
    row.first_segment = index;
    dirty_[dirty_count_++] = slot;
  } else {
    segments_[row.last_segment].next = index;
  }
  row.last_segment = index;
  row.output_bytes += size;
}

uint8_t* Endpoint::reserve_message(uint32_t slot, uint32_t size) {
  if (!is_open(slot)) return nullptr;
  reserved_header_ = static_cast<uint32_t>(protocol::header_size(size));
  return reserve(size + kHeaderMax) + reserved_header_;
}

void Endpoint::commit_message(uint32_t slot, protocol::Opcode opcode, uint32_t size) {
  uint8_t* at = static_cast<uint8_t*>(turn_arena_.peek(size + kHeaderMax));
  const uint32_t header = static_cast<uint32_t>(protocol::header_size(size));
  // The promised size may have asked for a longer header; messages must stay back to back.
  if (header != reserved_header_) std::memmove(at + header, at + reserved_header_, size);
  if (has_special_output(slot) && commit_message_deflated(slot, opcode, at, header, size))
      [[unlikely]]
    return;
  protocol::write_header(at, opcode, true, size);
  commit(slot, header + size);
  ++cold_[slot].messages_out;
}

void Endpoint::send_message(uint32_t slot, protocol::Opcode opcode, base::Bytes payload) {
  if (!is_open(slot)) return;
  if (has_special_output(slot) && send_deflated(slot, opcode, payload)) [[unlikely]]
    return;
  const uint32_t size = static_cast<uint32_t>(payload.size());
  uint8_t* at = reserve(size + kHeaderMax);
  const size_t header = protocol::write_header(at, opcode, true, size);
  if (size != 0) std::memcpy(at + header, payload.data(), size);
  commit(slot, static_cast<uint32_t>(header) + size);
  ++cold_[slot].messages_out;
}

void Endpoint::send_gathered(uint32_t slot, protocol::Opcode opcode, base::Bytes own,
                             const iovec* parts, uint32_t count, uint32_t total) {
  if (!is_open(slot)) return;
  if (has_special_output(slot) && send_gathered_deflated(slot, opcode, own, parts, count, total))
      [[unlikely]] {
    return;
  }
  if (segment_count_ + count + 2 >= segments_.size()) flush();
  const uint32_t own_bytes = static_cast<uint32_t>(own.size());
  const bool copy = total <= kCopyBytes;
  uint8_t* at = reserve(kHeaderMax + (copy ? total : own_bytes));
  uint32_t used = static_cast<uint32_t>(protocol::write_header(at, opcode, true, total));
  if (own_bytes != 0) std::memcpy(at + used, own.data(), own_bytes);
  used += own_bytes;
  if (copy) {
    for (uint32_t i = 0; i < count; ++i) {
      std::memcpy(at + used, parts[i].iov_base, parts[i].iov_len);
      used += static_cast<uint32_t>(parts[i].iov_len);
    }
  }
  commit(slot, used);
  if (!copy) {
    for (uint32_t i = 0; i < count; ++i) {
      append_segment(slot, static_cast<const uint8_t*>(parts[i].iov_base),
                     static_cast<uint32_t>(parts[i].iov_len));
    }
  }
  ++cold_[slot].messages_out;
}

void Endpoint::expect_output(uint32_t slot, uint32_t bytes) {
  if (rows_[slot].backlog_bytes != 0) return;
  if (rows_[slot].receiver.takes_text_only()) bytes *= kTextGrowth;
  const uint32_t fits = config_.backlog_bytes / 4 * 3;  // with room for what comes behind it
  const uint32_t more = bytes > fits ? bytes - fits : 0;
  const auto kib = static_cast<uint16_t>(std::min((more + 1023) / 1024, 0xffffu));
  if (cold_[slot].burst_kib != kib) cold_[slot].burst_kib = kib;
}

void Endpoint::send_framed(uint32_t slot, const uint8_t* data, uint32_t size, uint32_t messages) {
  if (!is_open(slot)) return;
  if (has_special_output(slot) && send_framed_deflated(slot, data, size, messages)) [[unlikely]]
    return;
  cold_[slot].messages_out += messages;
  Hot& row = rows_[slot];
  if (row.last_segment != kNone) {  // several messages of a turn that lie one behind the other
    Segment& last = segments_[row.last_segment];
    if (last.data + last.size == data) {
      last.size += size;
      row.output_bytes += size;
      return;
    }
  }
  if (segment_count_ + 1 >= segments_.size() || dirty_count_ >= dirty_.size()) flush();
  append_segment(slot, data, size);
}

// --- output of connections that take text only ---

bool Endpoint::translated(uint32_t slot, protocol::Opcode opcode, base::Bytes own,
                          const iovec* parts, uint32_t count) {
  if (!rows_[slot].receiver.takes_text_only() || opcode != protocol::Opcode::kBinary) return false;
  handler_.on_translate(slot, own, parts, count);
  return true;
}

// Frames with their headers, as everybody else gets them.
bool Endpoint::translated_frames(uint32_t slot, const uint8_t* data, uint32_t size) {
  if (!rows_[slot].receiver.takes_text_only()) return false;
  while (size >= 2) {
    const uint8_t length = data[1] & 0x7f;
    const uint32_t header = length < 126 ? 2 : length == 126 ? 4 : 10;
    if (header > size) break;
    const uint64_t payload = length < 126    ? length
                             : length == 126 ? base::load_be16(data + 2)
                                             : base::load_be64(data + 2);
    if (payload > size - header) break;
    const base::Bytes bytes{data + header, static_cast<size_t>(payload)};
    const auto opcode = static_cast<protocol::Opcode>(data[0] & 0x0f);
    if (!translated(slot, opcode, bytes)) send_message(slot, opcode, bytes);
    data += header + payload;
    size -= header + static_cast<uint32_t>(payload);
  }
  return true;
}

void Endpoint::flush() {
  if (extras_) [[unlikely]]
    return flush_extras();
  send_dirty(0, dirty_count_);
  end_flush();
}

void Endpoint::flush_extras() {
  if (poll_ != nullptr) collect_polls();
  send_dirty(tls_ != nullptr ? seal_output() : 0, dirty_count_);
  end_flush();
  if (compression_ != nullptr) compression_->forget_pieces();
}

// One send for each of dirty_[begin..end).
void Endpoint::send_dirty(uint32_t begin, uint32_t end) {
  for (uint32_t i = begin; i < end; ++i) send_output(dirty_[i]);
  if (begin != end) {
    for (const io::ShortSend& shortage : io_.finish_sends()) on_short_send(shortage);
    while (long_count_ != 0) [[unlikely]]
      send_rest();
    // A connection's chain is needed until its short send is dealt with; now all are.
    for (uint32_t i = begin; i < end; ++i) {
      const uint32_t slot = dirty_[i];
      clear_output(slot);
      Hot& row = rows_[slot];
      if (row.phase == Phase::kClosing && row.backlog_bytes == 0 &&
          (row.flags & kFlagCloseAfter) != 0) {
        row.flags &= static_cast<uint8_t>(~kFlagCloseAfter);
        io_.shut_down_send(slot, row.generation);
      }
    }
  }
}

void Endpoint::end_flush() {
  dirty_count_ = 0;
  segment_count_ = 0;
  vector_count_ = 0;
  turn_arena_.reset();
  // Segments may point into receive buffers, so these go back last; the one whose messages made
  // this flush necessary is still being read.
  const uint32_t kept = parsing_ ? 1 : 0;
  for (uint32_t i = 0; i + kept < held_count_; ++i) io_.recycle(held_buffers_[i]);
  if (kept != 0) held_buffers_[0] = held_buffers_[held_count_ - 1];
  held_count_ = kept;
}

void Endpoint::clear_output(uint32_t slot) {
  Hot& row = rows_[slot];
  row.first_segment = kNone;
  row.last_segment = kNone;
  row.output_bytes = 0;
}

void Endpoint::send_output(uint32_t slot) {
  Hot& row = rows_[slot];
  if (row.first_segment == kNone || row.phase == Phase::kClosed || row.phase == Phase::kFree)
    return;
  if (row.backlog_bytes != 0) {  // order: behind what already waits
    keep_output(slot, 0);
    return;
  }
  counters_.add(metrics::Counter::kSends, 1);
  counters_.add(metrics::Counter::kBytesSent, row.output_bytes);
  cold_[slot].bytes_out += row.output_bytes;
  const Segment& first = segments_[row.first_segment];
  if (first.next == kNone) {
    io_.send(slot, row.generation, first.data, first.size);
    return;
  }
  const uint32_t begin = vector_count_;
  uint32_t bytes = 0;
  uint32_t s = row.first_segment;
  for (; s != kNone && vector_count_ - begin < kVectorsOfSend; s = segments_[s].next) {
    vectors_[vector_count_++] = {const_cast<uint8_t*>(segments_[s].data), segments_[s].size};
    bytes += segments_[s].size;
  }
  if (s != kNone) [[unlikely]]
    long_outputs_[long_count_++] = {slot, s, bytes};
  io_.send(slot, row.generation, &vectors_[begin], vector_count_ - begin, bytes);
}

// The next part of each output that one send could not take: those whose last part left whole.
// What a short send left over was kept with all that comes behind it.
void Endpoint::send_rest() {
  const uint32_t count = std::exchange(long_count_, 0);
  for (uint32_t i = 0; i < count; ++i) {
    const LongOutput rest = long_outputs_[i];
    Hot& row = rows_[rest.slot];
    if (row.phase == Phase::kClosed || row.phase == Phase::kFree || row.backlog_bytes != 0)
      continue;
    row.first_segment = rest.next;
    row.output_bytes -= rest.sent;
    cold_[rest.slot].bytes_out -= row.output_bytes;  // counted with the first part
    counters_.subtract(metrics::Counter::kBytesSent, row.output_bytes);
    send_output(rest.slot);
  }
  for (const io::ShortSend& shortage : io_.finish_sends()) on_short_send(shortage);
}

void Endpoint::on_short_send(const io::ShortSend& shortage) {
  Hot& row = rows_[shortage.slot];
  if (row.generation != shortage.generation) return;
  counters_.add(metrics::Counter::kSendsShort, 1);
  if (shortage.sent < 0 && shortage.sent != -EAGAIN) {
    row.cause = CloseCause::kPeerLost;
    finish_close(shortage.slot);
    return;
  }
  const uint32_t taken = shortage.sent > 0 ? static_cast<uint32_t>(shortage.sent) : 0;
  const uint32_t missing = row.output_bytes - taken;
  cold_[shortage.slot].bytes_out -= missing;
  counters_.subtract(metrics::Counter::kBytesSent, missing);
  keep_output(shortage.slot, taken);
}

void Endpoint::keep_output(uint32_t slot, uint32_t already_sent) {
  Hot& row = rows_[slot];
  const uint32_t most = config_.backlog_bytes + cold_[slot].burst_kib * 1024u;
  if (row.backlog_bytes + (row.output_bytes - already_sent) > most) {
    // The peer reads too slowly; its bytes are not kept and a close frame would not reach it.
    counters_.add(metrics::Counter::kBacklogOverflow, 1);
    row.cause = CloseCause::kSlowConsumer;
    row.close_code = 1013;
    finish_close(slot);
    return;
  }
  if (row.backlog_bytes == 0) cold_[slot].backlog_since_s = now_s_;
  for (uint32_t s = row.first_segment; s != kNone; s = segments_[s].next) {
    const Segment& segment = segments_[s];
    const uint32_t skip = std::min(already_sent, segment.size);
    already_sent -= skip;
    if (skip == segment.size) continue;
    if (!push_backlog(slot, segment.data + skip, segment.size - skip)) {
      row.cause = CloseCause::kOverloaded;
      row.close_code = 1013;
      finish_close(slot);
      return;
    }
  }
  if (row.backlog_bytes > backlog_bytes_max_) {
    backlog_bytes_max_ = row.backlog_bytes;
    counters_.set(metrics::Gauge::kBacklogBytesMax, backlog_bytes_max_);
  }
  if (row.backlog_bytes != 0 && (row.flags & kFlagWatching) == 0) {
    row.flags |= kFlagWatching;
    io_.watch_writable(slot, row.generation);
  }
}

bool Endpoint::push_backlog(uint32_t slot, const uint8_t* data, uint32_t size) {
  Hot& row = rows_[slot];
  Cold& cold = cold_[slot];
  const uint32_t block_bytes = backlog_blocks_.block_bytes();
  while (size != 0) {
    if (row.backlog == kNone || cold.backlog_tail_used == block_bytes) {
      const uint32_t block = backlog_blocks_.allocate();
      if (block == mem::BlockPool::kNone) return false;
      backlog_next_[block] = kNone;
      if (row.backlog == kNone) {
        row.backlog = block;
        cold.backlog_head_used = 0;
      } else {
        backlog_next_[cold.backlog_tail] = block;
      }
      cold.backlog_tail = block;
      cold.backlog_tail_used = 0;
    }
    const uint32_t n = std::min(size, block_bytes - cold.backlog_tail_used);
    std::memcpy(backlog_blocks_.data(cold.backlog_tail) + cold.backlog_tail_used, data, n);
    cold.backlog_tail_used = static_cast<uint16_t>(cold.backlog_tail_used + n);
    row.backlog_bytes += n;
    data += n;
    size -= n;
  }
  return true;
}

void Endpoint::drain_backlog(uint32_t slot) {
  Hot& row = rows_[slot];
  Cold& cold = cold_[slot];
  // One gathered send of the backlog's beginning; what is not taken stays.
  // Piece by piece: what the kernel has cannot be taken back, and says nothing of the reader.
  constexpr uint32_t kVectorsMax = 64;
  constexpr uint32_t kDrainBytes = 16 * 1024;
  iovec parts[kVectorsMax];
  uint32_t count = 0;
  uint32_t total = 0;
  for (uint32_t b = row.backlog; b != kNone && count < kVectorsMax && total < kDrainBytes;
       b = backlog_next_[b]) {
    const uint32_t from = b == row.backlog ? cold.backlog_head_used : 0;
    const uint32_t to =
        b == cold.backlog_tail ? cold.backlog_tail_used : backlog_blocks_.block_bytes();
    parts[count++] = {backlog_blocks_.data(b) + from, to - from};
    total += to - from;
  }
  if (total == 0) return;
  io_.send(slot, row.generation, parts, count, total);
  uint32_t taken = total;
  bool broken = false;
  for (const io::ShortSend& shortage : io_.finish_sends()) {
    if (shortage.slot != slot) continue;
    broken = shortage.sent < 0 && shortage.sent != -EAGAIN;
    taken = shortage.sent > 0 ? static_cast<uint32_t>(shortage.sent) : 0;
  }
  counters_.add(metrics::Counter::kSends, 1);
  counters_.add(metrics::Counter::kBytesSent, taken);
  cold.bytes_out += taken;
  if (broken) {
    row.cause = CloseCause::kPeerLost;
    finish_close(slot);
    return;
  }
  row.backlog_bytes -= taken;
  if (taken != 0) cold.backlog_since_s = now_s_;
  while (taken != 0) {
    const uint32_t block = row.backlog;
    const uint32_t end =
        block == cold.backlog_tail ? cold.backlog_tail_used : backlog_blocks_.block_bytes();
    const uint32_t n = std::min(taken, end - cold.backlog_head_used);
    cold.backlog_head_used = static_cast<uint16_t>(cold.backlog_head_used + n);
    taken -= n;
    if (cold.backlog_head_used == end) {
      row.backlog = block == cold.backlog_tail ? kNone : backlog_next_[block];
      cold.backlog_head_used = 0;
      backlog_blocks_.free(block);
    }
  }
  if (row.backlog_bytes != 0) {
    row.flags |= kFlagWatching;
    io_.watch_writable(slot, row.generation);
  } else if (row.flags & kFlagCloseAfter) {
    row.flags &= static_cast<uint8_t>(~kFlagCloseAfter);
    io_.shut_down_send(slot, row.generation);
  }
}

void Endpoint::free_backlog(uint32_t slot) {
  Hot& row = rows_[slot];
  const uint32_t tail = cold_[slot].backlog_tail;
  for (uint32_t b = row.backlog; b != kNone;) {
    const uint32_t next = b == tail ? kNone : backlog_next_[b];
    backlog_blocks_.free(b);
    b = next;
  }
  row.backlog = kNone;
  row.backlog_bytes = 0;
}

}  // namespace tidegate::net
