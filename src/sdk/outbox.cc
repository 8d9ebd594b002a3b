// SPDX-License-Identifier: Apache-2.0
#include "sdk/outbox.h"

#include <algorithm>
#include <cstring>

namespace tidegate::sdk {

Outbox::Outbox(uint32_t messages_max, uint32_t bytes_max)
    : messages_max_(messages_max), bytes_max_(bytes_max) {
  entries_.reserve(messages_max);
  data_.reserve(bytes_max);
}

bool Outbox::add(uint32_t type, base::Bytes payload, Keep keep, uint8_t priority, uint32_t key,
                 base::Instant expires) {
  if (keep == Keep::kLatest) {
    for (size_t i = 0; i < entries_.size(); ++i) {
      Waiting& w = entries_[i];
      if (w.keep != Keep::kLatest || w.type != type || w.key != key) continue;
      if (live_bytes_ - w.size + payload.size() > bytes_max_) return false;
      remove(i);
      break;
    }
  }
  if (entries_.size() >= messages_max_ || payload.size() > bytes_max_ - live_bytes_) return false;
  if (data_.size() + payload.size() > bytes_max_) compact();
  Waiting w;
  w.type = type;
  w.key = key;
  w.order = ++orders_;
  w.expires = expires;
  w.offset = static_cast<uint32_t>(data_.size());
  w.size = static_cast<uint32_t>(payload.size());
  w.priority = priority;
  w.keep = keep;
  data_.insert(data_.end(), payload.begin(), payload.end());
  live_bytes_ += w.size;
  entries_.push_back(w);
  return true;
}

void Outbox::remove(size_t index) {
  live_bytes_ -= entries_[index].size;
  entries_[index] = entries_.back();
  entries_.pop_back();
  if (entries_.empty()) data_.clear();
}

// Moves the payloads together. Their order in memory is that of arrival, so each moves down only.
void Outbox::compact() {
  std::sort(entries_.begin(), entries_.end(),
            [](const Waiting& a, const Waiting& b) { return a.offset < b.offset; });
  uint32_t at = 0;
  for (Waiting& w : entries_) {
    std::memmove(data_.data() + at, data_.data() + w.offset, w.size);
    w.offset = at;
    at += w.size;
  }
  data_.resize(at);
}

const Waiting* Outbox::next(bool acknowledged) {
  // What has a sequence comes first and in its order: the server takes no gap.
  const Waiting* best = nullptr;
  for (const Waiting& w : entries_) {
    if (w.on_wire || (w.keep == Keep::kAcknowledged && !acknowledged)) continue;
    if (best == nullptr) {
      best = &w;
    } else if (w.sequence != 0 || best->sequence != 0) {
      if (w.sequence != 0 && (best->sequence == 0 || w.sequence < best->sequence)) best = &w;
    } else if (w.priority > best->priority ||
               (w.priority == best->priority && w.order < best->order)) {
      best = &w;
    }
  }
  return best;
}

uint64_t Outbox::sequence_of(const Waiting& w) const {
  if (w.keep != Keep::kAcknowledged) return 0;
  return w.sequence != 0 ? w.sequence : next_out_;
}

void Outbox::sent(const Waiting& w) {
  const auto index = static_cast<size_t>(&w - entries_.data());
  if (w.keep != Keep::kAcknowledged) {
    remove(index);
    return;
  }
  Waiting& mine = entries_[index];
  if (mine.sequence == 0) mine.sequence = next_out_++;
  mine.on_wire = true;
}

bool Outbox::waits(uint64_t order) const {
  return std::any_of(entries_.begin(), entries_.end(),
                     [order](const Waiting& w) { return w.order == order && !w.on_wire; });
}

const Waiting* Outbox::expire(base::Instant now) {
  for (size_t i = 0; i < entries_.size(); ++i) {
    if (entries_[i].sequence != 0 || entries_[i].expires > now) continue;
    gone_ = entries_[i];
    ++expired_;
    // The payload's bytes stay where they are until something is added.
    live_bytes_ -= gone_.size;
    entries_[i] = entries_.back();
    entries_.pop_back();
    return &gone_;
  }
  return nullptr;
}

base::Instant Outbox::next_expiry() const {
  base::Instant next = base::Instant::never();
  for (const Waiting& w : entries_) {
    if (w.sequence == 0) next = std::min(next, w.expires);
  }
  return next;
}

void Outbox::on_ack(uint64_t sequence) {
  for (size_t i = 0; i < entries_.size();) {
    if (entries_[i].sequence != 0 && entries_[i].sequence <= sequence) {
      remove(i);
    } else {
      ++i;
    }
  }
}

void Outbox::disconnected() {
  for (Waiting& w : entries_) w.on_wire = false;
}

void Outbox::resume(uint64_t last_client_sequence) {
  on_ack(last_client_sequence);
  disconnected();
}

void Outbox::restart(base::Instant now) {
  last_in_ = 0;
  owed_ = false;
  disconnected();
  // Without a sequence its time may be over; the caller takes those out with expire().
  std::sort(entries_.begin(), entries_.end(),
            [](const Waiting& a, const Waiting& b) { return a.sequence < b.sequence; });
  next_out_ = 1;
  for (Waiting& w : entries_) {
    if (w.sequence == 0) continue;
    w.sequence = w.expires <= now ? 0 : next_out_++;
  }
}

void Outbox::clear() {
  entries_.clear();
  data_.clear();
  live_bytes_ = 0;
  next_out_ = 1;
  last_in_ = 0;
  owed_ = false;
}

uint32_t Outbox::unacknowledged() const {
  return static_cast<uint32_t>(
      std::count_if(entries_.begin(), entries_.end(),
                    [](const Waiting& w) { return w.keep == Keep::kAcknowledged; }));
}

bool Outbox::accept(uint64_t sequence, bool requires_ack) {
  if (!requires_ack || sequence == 0) return true;
  owed_ = true;
  if (sequence <= last_in_) {
    ++duplicates_;
    return false;
  }
  if (sequence != last_in_ + 1) {
    ++gaps_;
    return false;
  }
  last_in_ = sequence;
  return true;
}

}  // namespace tidegate::sdk
