// SPDX-License-Identifier: Apache-2.0
// The connection's side of sessions: it opens one with the home shard before the 101, transmits
// what the home shard keeps (session_home.h), tells what the client acknowledged, and lets go.
#include <algorithm>
#include <cstring>

#include "shard/shard.h"
#include "wire/envelope.h"

namespace tidegate::shard {

using mailbox::read_message;
using session::State;

void Shard::open_session(uint32_t slot, const mailbox::AuthResult& result, base::Bytes tokens) {
  mailbox::SessionOpen open{};
  open.connection = endpoint_.ref(slot);
  open.session = result.session;
  while (open.session == 0) open.session = prng_.next();
  open.resume_session = result.resume_session;
  open.nonce = result.nonce;
  open.resume_nonce = result.resume_nonce;
  open.connection_shard = static_cast<uint16_t>(config_.index);
  open.since_ms = static_cast<uint32_t>(result.asked_ns / 1'000'000);
  static_assert(static_cast<int>(session::Resume::kResumed) ==
                    static_cast<int>(mailbox::TokenVerdict::kGood) &&
                static_cast<int>(session::Resume::kTokenExpired) ==
                    static_cast<int>(mailbox::TokenVerdict::kExpired));
  open.resume = static_cast<uint8_t>(result.resume);
  const std::string_view name = player_id(slot);
  open.player_bytes = static_cast<uint8_t>(name.size());
  open.token_bytes[0] = result.token_bytes[0];
  open.token_bytes[1] = result.token_bytes[1];
  uint8_t tail[session::kPlayerBytesMax + 2 * session::kResumeBytesMax];
  TG_ASSERT(name.size() + tokens.size() <= sizeof tail);
  std::memcpy(tail, name.data(), name.size());
  if (!tokens.empty()) std::memcpy(tail + name.size(), tokens.data(), tokens.size());
  outbox_.post(world::home_of(name, config_.count).value, open,
               {tail, name.size() + tokens.size()});
}

void Shard::on_session_opened(base::Bytes bytes) {
  base::Bytes tail;
  const auto opened = read_message<mailbox::SessionOpened>(bytes, &tail);
  const uint32_t slot = endpoint_.find(opened.connection);
  const base::Bytes name = tail.first(opened.player_bytes);
  if (slot == net::kNone) {
    if (opened.session == 0) return;
    // It did not wait for the answer; nothing came or went.
    mailbox::SessionLeft left{};
    left.connection = opened.connection;
    left.session = opened.session;
    left.received = opened.received;
    left.connection_shard = static_cast<uint16_t>(config_.index);
    outbox_.post(world::home_of(base::as_text(name), config_.count).value, left, name);
    return;
  }
  if (opened.session == 0) {
    if (opened.refused == 1) {
      endpoint_.refuse_upgrade(slot, 409, "already_connected",
                               "this player is connected already, and session.second_login says "
                               "that the first connection stays");
    } else if (opened.refused == 3) {
      endpoint_.refuse_upgrade(slot, 503, "store_unavailable",
                               "the session store does not answer, and this session may be "
                               "another gateway's; try again");
    } else {
      endpoint_.refuse_upgrade(slot, 503, "overloaded", "no room for another session");
    }
    return;
  }
  Player& player = players_[slot];
  player.session = opened.session;
  player.inbound.begin_after(opened.received, opened.safe);
  if (config_.session.stored) player.inbound.hold();
  player.sent = opened.last_sent;
  player.acked = opened.last_sent - opened.replayed;
  player.replay_left = opened.replayed;
  if (opened.restored != 0) player.flags |= kRestored;
  players_end_ = std::max(players_end_, slot + 1);
  ++live_players_;
  set_state(slot, State::kAuthenticated);
  opened_ = opened;
  opened_token_ = base::as_text(tail.subspan(name.size()));
  endpoint_.accept_upgrade(slot);
  opened_token_ = {};
}

// The player came in over another connection, with this session or a new one.
void Shard::on_session_release(mailbox::AgentId from, base::Bytes bytes) {
  base::Bytes tail;
  const auto release = read_message<mailbox::SessionRelease>(bytes, &tail);
  const uint32_t slot = endpoint_.find(release.connection);
  if (release.asks != 0) {
    if (slot == net::kNone) return;
    base::Bytes rest;
    auto open = read_message<mailbox::SessionOpen>(tail, &rest);
    open.sure = 1;
    outbox_.post(from, open, rest);
    return;
  }
  if (slot != net::kNone && players_[slot].session == release.session) {
    send_error(slot, wire::kErrorReplaced, "the same player logged in again", true);
    endpoint_.close(slot, 4015, "replaced by another connection", net::CloseCause::kServerClosed);
  }
  if (release.open_bytes == 0) return;
  // Behind the SessionLeft that the close has posted, or an earlier one.
  base::Bytes rest;
  const auto open = read_message<mailbox::SessionOpen>(tail, &rest);
  outbox_.post(from, open, rest);
}

void Shard::on_session_closed(base::Bytes bytes) {
  const auto closed = read_message<mailbox::SessionClosed>(bytes);
  const uint32_t slot = endpoint_.find(closed.connection);
  if (slot == net::kNone || players_[slot].session != closed.session) return;
  const bool replay = closed.end == static_cast<uint32_t>(session::End::kReplay);
  end_session(slot, static_cast<session::End>(closed.end),
              replay ? "more was not acknowledged than session.replay_messages or "
                       "session.replay_bytes allow"
                     : "the server has ended the session");
}

// For good: the client is told, and its resume token is worth nothing any more.
void Shard::end_session(uint32_t slot, session::End why, std::string_view details) {
  Player& player = players_[slot];
  player.flags |= kSessionEnds;
  player.end = static_cast<uint8_t>(why);
  send_error(slot, wire::kErrorSessionExpired, details, true);
  const bool slow = why == session::End::kReplay || why == session::End::kMemory;
  endpoint_.close(slot, slow ? 1013 : 1008, "the session has ended",
                  slow ? net::CloseCause::kSlowConsumer : net::CloseCause::kServerClosed);
}

void Shard::leave_session(uint32_t slot) {
  const Player& player = players_[slot];
  const std::string_view name = player_id(slot);
  mailbox::SessionLeft left{};
  left.connection = endpoint_.ref(slot);
  left.session = player.session;
  left.received = player.inbound.received();
  left.ends = player.flags & kSessionEnds ? 1 : 0;
  left.end = player.end;
  left.connection_shard = static_cast<uint16_t>(config_.index);
  outbox_.post(world::home_of(name, config_.count).value, left, base::as_bytes(name));
}

void Shard::post_progress(uint32_t slot) {
  const Player& player = players_[slot];
  const std::string_view name = player_id(slot);
  mailbox::SessionProgress progress{};
  progress.connection = endpoint_.ref(slot);
  progress.connection_shard = static_cast<uint16_t>(config_.index);
  progress.session = player.session;
  progress.acked = player.acked;
  progress.received = player.inbound.received();
  progress.confirmed = player.flags & kConfirmed ? 1 : 0;
  outbox_.post(world::home_of(name, config_.count).value, progress, base::as_bytes(name));
}

// Cumulative: everything up to `ack` has arrived. False: the message is not to be looked at
// further.
bool Shard::take_client_ack(uint32_t slot, uint64_t ack) {
  Player& player = players_[slot];
  if (ack > player.sent) {
    if (player.flags & kRestored) {
      // The store was behind when the server before this one ended. Going on would give numbers a
      // second time, and the client would take new messages for old ones.
      end_session(slot, session::End::kDiverged, "the client has messages this server never sent");
      return false;
    }
    violation(slot, wire::kErrorMalformedMessage, "ack of a sequence that was not sent");
    return false;
  }
  player.acked = ack;
  post_progress(slot);
  return true;
}

void Shard::on_session_deliver(base::Bytes bytes) {
  base::Bytes payload;
  const auto deliver = read_message<mailbox::SessionDeliver>(bytes, &payload);
  const uint32_t slot = endpoint_.find(deliver.connection);
  if (slot == net::kNone || players_[slot].session != deliver.session) return;  // it is in the log
  players_[slot].sent = std::max(players_[slot].sent, deliver.sequence);
  (void)send_payload(slot, deliver.message_type, payload, deliver.sequence);
  if (players_[slot].replay_left != 0) count_replayed(slot);
}

// Missed messages come before the state.
void Shard::count_replayed(uint32_t slot) {
  Player& player = players_[slot];
  if (--player.replay_left != 0 || (player.flags & kLoginWaits) == 0) return;
  player.flags &= static_cast<uint16_t>(~kLoginWaits);
  begin_login(slot);
}

// What the client sent is stored: it may be acknowledged, at once.
void Shard::on_session_saved(base::Bytes bytes) {
  const auto saved = read_message<mailbox::SessionSaved>(bytes);
  const uint32_t slot = endpoint_.find(saved.connection);
  if (slot == net::kNone || players_[slot].session != saved.session) return;
  players_[slot].inbound.confirm(saved.received);
  if (players_[slot].inbound.ack_owed()) send_ack(slot);
}

// The same for the same effect of the same message of a client, should it come again; 0 outside.
uint64_t Shard::next_origin() {
  if (cause_ == nullptr) return 0;
  const uint64_t words[3] = {cause_session_, cause_->sequence, ++effects_};
  const uint64_t hash = world::hash_player_id({reinterpret_cast<const char*>(words), sizeof words});
  return hash == 0 ? 1 : hash;
}

SendResult Shard::send_acknowledged(uint32_t slot, uint32_t type, base::Bytes payload) {
  if (players_[slot].session == 0) return SendResult::kClosed;
  return post_acknowledged(player_id(slot), players_[slot].session, type, payload);
}

SendResult Shard::post_acknowledged(std::string_view player, uint64_t session, uint32_t type,
                                    base::Bytes payload) {
  if (payload.size() > session::ReplayLogs::kPayloadBytesMax) return SendResult::kTooLarge;
  if (player.empty() || player.size() > session::kPlayerBytesMax) return SendResult::kRange;
  if (outbox_.strained()) {
    counters_.add(metrics::Counter::kHandlerSendsDropped, 1);
    return SendResult::kBusy;
  }
  const mailbox::SessionSend send{session, next_origin(), type,
                                  static_cast<uint32_t>(player.size())};
  uint8_t tail[session::kPlayerBytesMax + session::ReplayLogs::kPayloadBytesMax];
  std::memcpy(tail, player.data(), player.size());
  if (!payload.empty()) std::memcpy(tail + player.size(), payload.data(), payload.size());
  outbox_.post(world::home_of(player, config_.count).value, send,
               {tail, player.size() + payload.size()});
  return SendResult::kOk;
}

}  // namespace tidegate::shard
