// SPDX-License-Identifier: Apache-2.0
#include "session/session.h"

#include <algorithm>

namespace tidegate::session {

const char* name_of(State state) {
  switch (state) {
    case State::kConnecting:
      return "connecting";
    case State::kAuthenticating:
      return "authenticating";
    case State::kAuthenticated:
      return "authenticated";
    case State::kConnected:
      return "connected";
    case State::kReconnecting:
      return "reconnecting";
    case State::kDisconnected:
      return "disconnected";
    case State::kCount:
      break;
  }
  return "?";
}

bool may_change(State from, State to) {
  if (to == State::kDisconnected) return from != State::kDisconnected;
  switch (from) {
    case State::kConnecting:
      return to == State::kAuthenticating;
    case State::kAuthenticating:
      return to == State::kAuthenticated;
    case State::kAuthenticated:
      return to == State::kConnected || to == State::kReconnecting;
    case State::kConnected:
      return to == State::kReconnecting;
    case State::kReconnecting:
      return to == State::kAuthenticating;
    case State::kDisconnected:
    case State::kCount:
      break;
  }
  return false;
}

InboundSequence::Verdict InboundSequence::accept(uint64_t sequence, base::Instant now) {
  if (sequence > received_ + 1 || sequence == 0) return Verdict::kGap;
  const bool known = sequence <= received_;
  if (hold_ && !known && asked_ == received_) save_at_ = now + kSaveDelay;
  if (!known) received_ = sequence;
  if (!hold_) safe_ = asked_ = received_;
  // What is not stored yet is acknowledged by confirm().
  if (!owed_ && sequence <= safe_) {
    owed_ = true;
    due_ = now + kAckDelay;
  }
  return known ? Verdict::kDuplicate : Verdict::kDeliver;
}

void InboundSequence::confirm(uint64_t sequence) {
  if (sequence <= safe_ || sequence > received_) return;
  safe_ = sequence;
  owed_ = true;
  due_ = {};  // it has waited long enough
}

bool RateLimit::take(uint32_t now_ms, uint32_t per_second, uint32_t burst) {
  const uint64_t full = std::min<uint64_t>(uint64_t{burst} * 1000, UINT32_MAX - 1);
  if (level_ == UINT32_MAX) {
    level_ = static_cast<uint32_t>(full);
    at_ms_ = now_ms;
  }
  // per_second messages a second are per_second thousandths a millisecond.
  const uint64_t gained = uint64_t{now_ms - at_ms_} * per_second;
  level_ = static_cast<uint32_t>(std::min<uint64_t>(full, level_ + gained));
  at_ms_ = now_ms;
  if (level_ < 1000) return false;
  level_ -= 1000;
  return true;
}

bool ViolationCounter::add(uint32_t now_ms, uint32_t per_minute) {
  if (count_ == 0 || now_ms - window_ms_ >= 60000) {
    window_ms_ = now_ms;
    count_ = 0;
  }
  ++count_;
  return count_ > per_minute;
}

}  // namespace tidegate::session
