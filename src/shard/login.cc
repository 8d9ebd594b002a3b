// SPDX-License-Identifier: Apache-2.0
// The way of a connection from the upgrade request to an entity in the world, and out again:
//   on_upgrade       token to control, answer later           state authenticating
//   on_auth_result   SessionOpen to the home shard, which answers SessionOpened (delivery.cc):
//                    101, CONNECTION_ESTABLISHED, AUTHENTICATION_RESULT    authenticated
//   CLIENT_HELLO or hello_wait -> begin_login -> JoinQueue -> home shard -> owner -> Moved
//   enter_world      interest begins; the next flush carries WORLD_STATE    connected
//   on_closed        Detach to the owner, Logout to the home shard
#include <cstdio>
#include <cstring>

#include "crypto/random.h"
#include "shard/shard.h"
#include "wire/envelope.h"
#include "wire/messages.h"

namespace tidegate::shard {

using mailbox::read_message;
using metrics::Counter;
using session::State;

net::UpgradeDecision Shard::on_upgrade(uint32_t slot, const protocol::UpgradeRequest& request) {
  Player& player = players_[slot];
  player = Player{};
  player.state = State::kConnecting;
  set_state(slot, State::kAuthenticating);
  if (draining_) {
    endpoint_.refuse_upgrade(slot, 503, "draining",
                             "this server is shutting down; connect to another one");
    return net::UpgradeDecision::kRefused;
  }
  if (outbox_.strained()) {
    endpoint_.refuse_upgrade(slot, 503, "overloaded", "too many logins at once; try again later");
    return net::UpgradeDecision::kRefused;
  }
  if (request.credential().empty()) {
    endpoint_.refuse_upgrade(slot, 401, "no_token",
                             "send a JWT as Authorization: Bearer, as ?token= or as the cookie "
                             "auth_token");
    return net::UpgradeDecision::kRefused;
  }
  if (!request.resume.empty()) player.flags |= kResumeAsked;
  counters_.add(Counter::kAuthRequests, 1);
  mailbox::AuthRequest ask{endpoint_.ref(slot), now_.ns, 0};
  const std::string_view token = request.credential();
  uint8_t tail[protocol::kHeadBytesMax + 64 * 1024];
  if (token.size() > sizeof tail) {
    endpoint_.refuse_upgrade(slot, 401, "invalid_token", "the token is too long");
    return net::UpgradeDecision::kRefused;
  }
  std::memcpy(tail, token.data(), token.size());
  // A resume token of ours is short; a longer one is none, and control will say so.
  const std::string_view resume = request.resume.substr(0, session::kResumeBytesMax + 1);
  ask.resume_bytes = static_cast<uint32_t>(resume.size());
  if (!resume.empty()) std::memcpy(tail + token.size(), resume.data(), resume.size());
  outbox_.post(mailbox_.control(), ask, {tail, token.size() + resume.size()});
  return net::UpgradeDecision::kLater;
}

void Shard::on_auth_result(base::Bytes bytes) {
  base::Bytes tail;
  const auto result = read_message<mailbox::AuthResult>(bytes, &tail);
  counters_.record(metrics::Timing::kAuth, now_ - base::Instant{result.asked_ns});
  const uint32_t slot = endpoint_.find(result.connection);
  if (slot == net::kNone) return;  // it did not wait
  const std::string_view text = base::as_text(tail);
  const std::string_view first = text.substr(0, result.user_bytes);
  const std::string_view second = text.substr(result.user_bytes, result.player_bytes);
  if (result.refresh != 0) {
    on_token_checked(slot, result, text);
    return;
  }
  if (result.http_status != 0) {
    endpoint_.refuse_upgrade(slot, result.http_status, first, second);
    return;
  }
  if (draining_) {
    endpoint_.refuse_upgrade(slot, 503, "draining",
                             "this server is shutting down; connect to another one");
    return;
  }
  Player& player = players_[slot];
  const size_t names = size_t{result.user_bytes} + result.player_bytes;
  player.identity = identities_.store({first, second, text.substr(names, result.rest_bytes)});
  if (player.identity == Identities::kNone) {
    endpoint_.refuse_upgrade(slot, 503, "overloaded", "no room for the claims of this token");
    return;
  }
  if (!admit_user(slot)) return;
  player.expires_at = result.expires_at;
  open_session(slot, result, tail.subspan(names + result.rest_bytes));
}

void Shard::on_open(uint32_t slot) {
  if (speaks_json(slot)) endpoint_.speak_text(slot);
  write_welcome(slot, opened_, opened_token_);
  presence_.on_open(slot);
  if (opened_.resume == static_cast<uint8_t>(session::Resume::kResumed)) topics_.on_resumed(slot);
  if (hello_count_ == hello_waits_.size()) pop_hello();  // a churn of logins: the oldest goes early
  const uint32_t at = (hello_head_ + hello_count_++) % hello_waits_.size();
  hello_waits_[at] = {endpoint_.ref(slot), now_ + config_.hello_wait};
}

void Shard::run_timers() {
  endpoint_.run_timers();
  send_due_acks();
  if (draining_) run_drain();
  end_expired();
  expire_calls();
  while (hello_count_ != 0 && hello_waits_[hello_head_].due <= now_) pop_hello();
  let_in();
}

void Shard::pop_hello() {
  const uint32_t slot = endpoint_.find(hello_waits_[hello_head_].connection);
  hello_head_ = (hello_head_ + 1) % static_cast<uint32_t>(hello_waits_.size());
  --hello_count_;
  if (slot != net::kNone) begin_login(slot);
}

void Shard::begin_login(uint32_t slot) {
  Player& player = players_[slot];
  if (player.session == 0 || (player.flags & kLoginPosted)) return;
  if (player.replay_left != 0) {
    player.flags |= kLoginWaits;  // missed messages first
    return;
  }
  if (player.flags & kJoinWaits) return;
  player.flags |= kJoinWaits;
  joins_.push(slot);
  let_in();
  if (player.flags & kJoinWaits) counters_.add(Counter::kJoinsPutOff, 1);
}

// Asks for the entities of those whose turn it is to enter the world.
void Shard::let_in() {
  for (uint32_t slot; (slot = joins_.take(now_)) != JoinQueue::kNone;) {
    Player& player = players_[slot];
    player.flags &= static_cast<uint16_t>(~kJoinWaits);
    player.flags |= kLoginPosted;
    const std::string_view name = player_id(slot);
    outbox_.post(world::home_of(name, config_.count).value,
                 mailbox::Login{endpoint_.ref(slot), connected_since(slot)}, base::as_bytes(name));
  }
}

// The home shard says that there is no room for the player.
void Shard::on_world_full(base::Bytes bytes) {
  const uint32_t slot = endpoint_.find(read_message<mailbox::WorldFull>(bytes).connection);
  if (slot == net::kNone) return;
  endpoint_.close(slot, 1013, "the world is full; try again later", net::CloseCause::kOverloaded);
}

// The player came in over another connection.
void Shard::on_replaced(base::Bytes bytes) {
  const auto replaced = read_message<mailbox::Replaced>(bytes);
  const uint32_t slot = endpoint_.find(replaced.connection);
  if (slot == net::kNone || players_[slot].session == 0) return;
  Player& player = players_[slot];
  if (replaced.far_since_ms == 0) {
    player.flags |= kReplacedFlag;
  } else {
    // Both gateways hear of the other's: the same one has to stay at both.
    const int64_t since = connected_since(slot);
    if (since > replaced.far_since_ms || (since == replaced.far_since_ms &&
                                          cluster_.id_of(cluster_.self()) > replaced.far_gateway)) {
      return;
    }
  }
  send_error(slot, wire::kErrorReplaced, "the same player logged in again", true);
  endpoint_.close(slot, 4015, "replaced by another connection", net::CloseCause::kServerClosed);
}

int64_t Shard::connected_since(uint32_t slot) {
  return io_.unix_ms() -
         static_cast<int64_t>(endpoint_.now_ms() - endpoint_.cold(slot).accepted_ms);
}

void Shard::enter_world(uint32_t slot) {
  Player& player = players_[slot];
  const world::Encoding encoding =
      player.flags & kPacked ? world::Encoding::kPacked : world::Encoding::kProtobuf;
  if (config_.hooks != nullptr && config_.hooks->interest_radius != nullptr) {
    player.view_distance = interest_radius(slot);
  }
  interest_.add(slot, encoding, player.view_distance, player.position, player.budget);
  states_.on_enter(slot);
  if (encoding == world::Encoding::kPacked) {
    set_state(slot, State::kConnected);
    if (environment_bytes_ != 0) send_environment(slot);
  }
}

void Shard::on_closed(uint32_t slot, net::CloseCause, uint16_t) {
  Player& player = players_[slot];
  leave_user(slot);
  if (player.flags & kJoinWaits) joins_.remove(slot);
  if (player.session != 0) {
    topics_.on_closed(slot);  // before leave_session(): what it parks is there first
    presence_.on_closed(slot);
    states_.on_closed(slot);
    social_.on_closed(slot);
    leave_world(slot);
    leave_session(slot);
    --live_players_;
  }
  identities_.free(player.identity);
  set_state(slot, State::kDisconnected);
  player = Player{};
}

bool Shard::on_secret(base::MutableBytes out) { return crypto::fill_random(out); }

bool Shard::on_poll_letter_out(uint32_t shard, const net::PollLetter& letter, base::Bytes body) {
  if (outbox_.strained()) return false;
  mailbox::PollPosted posted;
  static_assert(sizeof letter == sizeof posted.letter);
  std::memcpy(posted.letter, &letter, sizeof letter);
  outbox_.post(shard, posted, body);
  return true;
}

void Shard::on_poll_posted(base::Bytes bytes) {
  base::Bytes body;
  const auto posted = read_message<mailbox::PollPosted>(bytes, &body);
  net::PollLetter letter;
  std::memcpy(&letter, posted.letter, sizeof letter);
  endpoint_.on_poll_letter(letter, body);
}

void Shard::leave_world(uint32_t slot) {
  Player& player = players_[slot];
  if (interest_.watching(slot)) interest_.remove(slot);
  end_steering(slot);
  const base::ConnectionRef connection = endpoint_.ref(slot);
  if (player.entity.valid()) {
    mailbox::Detach detach{};
    detach.entity = player.entity;
    detach.connection = connection;
    detach.connection_shard = static_cast<uint16_t>(config_.index);
    outbox_.post(player.owner, detach);
  }
  if ((player.flags & kLoginPosted) && !(player.flags & kReplacedFlag)) {
    const std::string_view name = player_id(slot);
    outbox_.post(world::home_of(name, config_.count).value, mailbox::Logout{connection},
                 base::as_bytes(name));
  }
}

void Shard::set_state(uint32_t slot, State state) {
  Player& player = players_[slot];
  if (player.state == state) return;
  TG_ASSERT(session::may_change(player.state, state));
  counters_.add(metrics::Family::kStates, static_cast<uint32_t>(state));
  player.state = state;
}

}  // namespace tidegate::shard
