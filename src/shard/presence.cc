// SPDX-License-Identifier: Apache-2.0
// The watchers' side of presence, and what clients say of themselves.
#include "shard/presence.h"

#include <algorithm>
#include <cstring>

#include "shard/shard.h"
#include "wire/envelope.h"

namespace tidegate::shard {

using mailbox::read_message;
using metrics::Counter;
using metrics::Gauge;
using session::Status;
using session::Subscription;
using session::SubscriptionState;
using session::TopicMembers;

namespace {

constexpr uint32_t kNone = TopicMembers::kNone;
constexpr uint32_t kReleasedPerTurn = 64;
constexpr uint32_t kListBytes = 12 << 10;  // of one FRIEND_STATUS
constexpr uint32_t kUpdateBytesMax = 64 + 128 + 64 + 64 + 64;
constexpr uint32_t kStatesPerLook = 2048;  // what a full ring makes us keep is bounded
constexpr base::Duration kLook = base::milliseconds(100);  // between two looks for what is due

session::TopicLimits watch_limits(const session::PresenceLimits& limits) {
  session::TopicLimits l;
  l.topics = limits.watches;
  l.per_connection = limits.watched;
  l.subscriptions = limits.watches;
  l.name_bytes = session::kUserIdBytesMax;
  return l;
}

}  // namespace

Presence::Presence(Shard& shard, const session::PresenceLimits& limits, uint32_t slots)
    : shard_(shard),
      region_(shard.config_.region),
      limits_(limits),
      home_(limits),
      watches_(watch_limits(limits), slots),
      shown_(limits.watches),
      slots_(slots),
      dirty_(slots) {}

uint32_t Presence::home_of(std::string_view user) const {
  return session::home_shard(user, shard_.config_.count);
}

void Presence::on_open(uint32_t slot) {
  const std::string_view user = shard_.identities_.view(shard_.players_[slot].identity).user;
  slots_[slot].opened = 1;
  shard_.outbox_.post(home_of(user),
                      mailbox::PresenceCome{shard_.endpoint_.ref(slot), shard_.io_.unix_ms()},
                      base::as_bytes(user));
}

void Presence::on_closed(uint32_t slot) {
  for (uint32_t w = watches_.first_of_slot(slot); w != kNone; w = watches_.first_of_slot(slot)) {
    watches_.remove(w);
  }
  if (slots_[slot].opened != 0) {
    const std::string_view user = shard_.identities_.view(shard_.players_[slot].identity).user;
    shard_.outbox_.post(home_of(user),
                        mailbox::PresenceGo{shard_.endpoint_.ref(slot), shard_.io_.unix_ms()},
                        base::as_bytes(user));
  }
  const uint8_t dirty = slots_[slot].dirty;  // its entry in dirty_ stays
  slots_[slot] = Slot{};
  slots_[slot].dirty = dirty;
}

// --- what a client says of itself ---

bool Presence::post_set(uint32_t slot, uint32_t status, const std::string_view* text) {
  if (shard_.outbox_.strained()) return false;
  const std::string_view user = shard_.identities_.view(shard_.players_[slot].identity).user;
  uint8_t tail[2 * session::kUserIdBytesMax + session::kStatusTextBytesMax];
  std::memcpy(tail, user.data(), user.size());
  size_t used = user.size();
  if (text != nullptr && !text->empty()) {
    std::memcpy(tail + used, text->data(), text->size());
    used += text->size();
  }
  mailbox::PresenceSet set{};
  set.connection = shard_.endpoint_.ref(slot);
  set.unix_ms = shard_.io_.unix_ms();
  set.status = static_cast<uint8_t>(status);
  set.has_text = text != nullptr ? 1 : 0;
  set.user_bytes = static_cast<uint16_t>(user.size());
  shard_.outbox_.post(home_of(user), set, {tail, used});
  return true;
}

Handled Presence::on_status_change(uint32_t slot, const wire::Envelope& message) {
  wire::PlayerStatusChange change;
  if (!wire::decode(message.payload, &change)) return Handled::kInvalid;
  const IdentityView who = shard_.identities_.view(shard_.players_[slot].identity);
  if (!change.player_id.empty() && change.player_id != who.player && change.player_id != who.user) {
    return Handled::kNotPermitted;
  }
  if (change.new_status == 0 || change.new_status > static_cast<uint32_t>(Status::kInvisible)) {
    return Handled::kInvalid;
  }
  if (post_set(slot, change.new_status, nullptr)) return Handled::kOk;
  shard_.send_error(slot, wire::kErrorRateLimited, "the way to another shard is full", false);
  return Handled::kAnswered;
}

Handled Presence::on_update(uint32_t slot, const wire::Envelope& message) {
  wire::PresenceUpdate update;
  if (!wire::decode(message.payload, &update)) return Handled::kInvalid;
  const IdentityView who = shard_.identities_.view(shard_.players_[slot].identity);
  if (!update.user_id.empty() && update.user_id != who.user) return Handled::kNotPermitted;
  if (update.status > static_cast<uint32_t>(Status::kInvisible)) return Handled::kInvalid;
  if (update.custom_status.size() > session::kStatusTextBytesMax) {
    shard_.violation(slot, wire::kErrorTooLarge, "custom_status has at most 128 bytes");
    return Handled::kAnswered;
  }
  if (post_set(slot, update.status, &update.custom_status)) return Handled::kOk;
  shard_.send_error(slot, wire::kErrorRateLimited, "the way to another shard is full", false);
  return Handled::kAnswered;
}

// The home took it: the client is told what it was and is.
void Presence::on_changed(base::Bytes bytes) {
  const auto changed = read_message<mailbox::PresenceChanged>(bytes);
  const uint32_t slot = shard_.endpoint_.find(changed.connection);
  if (slot == net::kNone || shard_.players_[slot].session == 0) return;
  wire::PlayerStatusChange out;
  out.player_id = shard_.player_id(slot);
  out.old_status = changed.old_status;
  out.new_status = changed.new_status;
  uint8_t room[128];
  wire::PbWriter writer(room);
  wire::encode(writer, out);
  shard_.send_payload(slot, static_cast<uint32_t>(wire::MessageType::kPlayerStatusChange),
                      writer.written());
}

// --- watching ---

Handled Presence::on_subscribe(uint32_t slot, const wire::Envelope& message) {
  uint32_t count = 0;
  bool long_id = false;
  const bool good = wire::decode_presence_subscribe(message.payload, [&](std::string_view user) {
    ++count;
    long_id |= user.empty() || user.size() > session::kUserIdBytesMax;
    return true;
  });
  if (!good || long_id) return Handled::kInvalid;
  if (count > limits_.watched) {
    shard_.violation(slot, wire::kErrorTopic, "more users than presence.watched");
    return Handled::kAnswered;
  }
  if (shard_.outbox_.strained()) {
    shard_.send_error(slot, wire::kErrorRateLimited, "the way to another shard is full", false);
    return Handled::kAnswered;
  }
  // The list takes the place of the one before. Who is in both is not asked for again.
  for (uint32_t w = watches_.first_of_slot(slot); w != kNone; w = watches_.at(w).next_of_slot) {
    watches_.at(w).replies = 0;
  }
  Slot& row = slots_[slot];
  bool full = false;
  wire::decode_presence_subscribe(message.payload, [&](std::string_view user) {
    const uint32_t known = watches_.find_topic(user);
    uint32_t w = known == kNone ? kNone : watches_.find(slot, known);
    if (w != kNone) {
      watches_.at(w).replies = 1;
      return true;
    }
    // Those that are to go give their room first when it is needed.
    for (uint32_t old = watches_.first_of_slot(slot);
         old != kNone && watches_.count_of_slot(slot) >= limits_.watched;) {
      const uint32_t next = watches_.at(old).next_of_slot;
      if (watches_.at(old).replies == 0) {
        if (watches_.at(old).state == SubscriptionState::kWaiting) --row.waiting;
        watches_.remove(old);
      }
      old = next;
    }
    w = watches_.add(slot, user);
    if (w == kNone) {
      full = true;
      return true;
    }
    Subscription& s = watches_.at(w);
    s.replies = 1;
    switch (watches_.state(s.topic)) {
      case TopicMembers::TopicState::kNew:
        watches_.set_state(s.topic, TopicMembers::TopicState::kAsked);
        shard_.outbox_.post(home_of(user), mailbox::PresenceWatch{1}, base::as_bytes(user));
        ++row.waiting;
        break;
      case TopicMembers::TopicState::kAsked:
        ++row.waiting;
        break;
      case TopicMembers::TopicState::kJoined:
        if (shown_[s.topic].restricted == 0) {
          s.state = SubscriptionState::kLive;
          break;
        }
        // Only the home knows to whom it is shown.
        shard_.outbox_.post(home_of(user), mailbox::PresenceWatch{1}, base::as_bytes(user));
        ++row.waiting;
        break;
    }
    return true;
  });
  for (uint32_t w = watches_.first_of_slot(slot); w != kNone;) {
    const uint32_t next = watches_.at(w).next_of_slot;
    if (watches_.at(w).replies == 0) {
      if (watches_.at(w).state == SubscriptionState::kWaiting) --row.waiting;
      watches_.remove(w);
    }
    w = next;
  }
  if (full) {
    shard_.send_error(slot, wire::kErrorTopic, "the server has no room to watch all of them",
                      false);
  }
  row.asked = 1;
  if (row.waiting == 0) send_friend_status(slot);
  return Handled::kOk;
}

// To who may not see a user, and of who was blocked, as if it had never been here.
wire::PresenceUpdate Presence::update_of(const Subscription& watch) const {
  const Shown& shown = shown_[watch.topic];
  wire::PresenceUpdate update;
  update.user_id = watches_.name(watch.topic);
  update.status = static_cast<uint32_t>(Status::kOffline);
  if (watch.request != 0) return update;
  if (shard_.social_.anybody_blocks() &&
      shard_.social_.hides(watch.slot, session::hash_name(update.user_id))) {
    return update;
  }
  update.status = shown.status;
  update.custom_status = {shown.text, shown.text_bytes};
  update.last_seen = shown.last_seen;
  if (shown.status != static_cast<uint8_t>(Status::kOffline)) {
    update.zone_id = shard_.config_.world.zone_id;
    update.region = region_;
  }
  return update;
}

// All that the connection watches, in as many messages as it takes; one at least.
void Presence::send_friend_status(uint32_t slot) {
  slots_[slot].asked = 0;
  uint8_t list[kListBytes + kUpdateBytesMax];
  wire::PbWriter out(list);
  const auto send = [&] {
    shard_.send_payload(slot, static_cast<uint32_t>(wire::MessageType::kFriendStatus),
                        out.written());
  };
  bool empty = true;
  for (uint32_t w = watches_.first_of_slot(slot); w != kNone; w = watches_.at(w).next_of_slot) {
    if (out.size() > kListBytes) {
      send();
      out = wire::PbWriter(list);
    }
    Subscription& s = watches_.at(w);
    s.pulling = 0;  // no change is owed beyond this
    const size_t entry = out.begin(1);
    wire::encode(out, update_of(s));
    out.end(entry);
    empty = false;
  }
  if (empty || out.size() != 0) send();
  TG_ASSERT(!out.overflow());
}

void Presence::mark_dirty(uint32_t slot) {
  if (slots_[slot].dirty != 0) return;
  slots_[slot].dirty = 1;
  dirty_[dirty_count_++] = slot;
}

bool Presence::send_changes(uint32_t slot) {
  if (shard_.holds_back(slot, 0)) return false;  // the newest state of each goes when there is room
  Slot& row = slots_[slot];
  const uint32_t now_ms = shard_.endpoint_.now_ms();
  const uint64_t earned = uint64_t{now_ms - row.at_ms} * limits_.bytes_per_second / 1000;
  row.allowance =
      static_cast<uint32_t>(std::min<uint64_t>(row.allowance + earned, limits_.bytes_per_second));
  if (earned != 0) row.at_ms = now_ms;
  for (uint32_t w = watches_.first_of_slot(slot); w != kNone; w = watches_.at(w).next_of_slot) {
    Subscription& s = watches_.at(w);
    if (s.pulling == 0 || s.state != SubscriptionState::kLive) continue;
    uint8_t room[kUpdateBytesMax];
    wire::PbWriter out(room);
    wire::encode(out, update_of(s));
    TG_ASSERT(!out.overflow());
    const uint32_t cost = static_cast<uint32_t>(out.size()) + 32;  // frame and envelope
    if (cost > row.allowance) return false;
    row.allowance -= cost;
    s.pulling = 0;
    shard_.send_payload(slot, static_cast<uint32_t>(wire::MessageType::kPresenceUpdate),
                        out.written());
    shard_.counters_.add(Counter::kPresenceUpdates, 1);
  }
  return true;
}

void Presence::on_state(base::Bytes bytes) {
  base::Bytes tail;
  const auto state = read_message<mailbox::PresenceState>(bytes, &tail);
  const std::string_view user = base::as_text(tail.first(state.user_bytes));
  const uint32_t topic = watches_.find_topic(user);
  if (topic == kNone) return;
  const base::Bytes text = tail.subspan(state.user_bytes, state.text_bytes);
  const base::Bytes audience = tail.subspan(size_t{state.user_bytes} + state.text_bytes);
  Shown& shown = shown_[topic];
  const bool changed = shown.last_seen != state.last_seen || shown.status != state.status ||
                       std::string_view{shown.text, shown.text_bytes} != base::as_text(text);
  shown.restricted = state.restricted != 0 ? 1 : 0;
  shown.last_seen = state.last_seen;
  shown.status = state.status;
  shown.text_bytes = static_cast<uint8_t>(text.size());
  if (!text.empty()) std::memcpy(shown.text, text.data(), text.size());
  const bool first = watches_.state(topic) == TopicMembers::TopicState::kAsked;
  watches_.set_state(topic, TopicMembers::TopicState::kJoined);
  watches_.for_each(topic, [&](uint32_t, Subscription& s) {
    Slot& row = slots_[s.slot];
    const bool was_hidden = s.request != 0;
    s.request = 0;
    if (state.restricted != 0) {
      const IdentityView who = shard_.identities_.view(shard_.players_[s.slot].identity);
      const uint64_t watcher = session::hash_name(who.user);
      bool named = false;
      for (size_t i = 0; i < state.audience && !named; ++i) {
        named = std::memcmp(audience.data() + i * sizeof watcher, &watcher, sizeof watcher) == 0;
      }
      // Oneself is always shown.
      if (who.user != user) s.request = named == (state.restricted == 1) ? 1 : 0;
    }
    const bool differs = was_hidden != (s.request != 0) || (changed && s.request == 0);
    if (s.state == SubscriptionState::kWaiting) {
      s.state = SubscriptionState::kLive;
      --row.waiting;
      if (row.asked != 0 && row.waiting == 0) send_friend_status(s.slot);
    } else if (!first && differs) {
      s.pulling = 1;
      mark_dirty(s.slot);
    }
  });
}

void Presence::on_blocked(uint32_t slot, std::string_view user) {
  const uint32_t topic = watches_.find_topic(user);
  const uint32_t w = topic == kNone ? kNone : watches_.find(slot, topic);
  if (w == kNone) return;
  watches_.at(w).pulling = 1;
  mark_dirty(slot);
}

void Presence::turn() {
  for (uint32_t i = 0; i < kReleasedPerTurn && !shard_.outbox_.strained(); ++i) {
    const uint32_t topic = watches_.empty_topic();
    if (topic == kNone) break;
    if (watches_.state(topic) == TopicMembers::TopicState::kJoined) {
      const std::string_view user = watches_.name(topic);
      shard_.outbox_.post(home_of(user), mailbox::PresenceWatch{0}, base::as_bytes(user));
    }
    watches_.erase_topic(topic);
  }
  if (shard_.now_ - looked_ < kLook) return;
  looked_ = shard_.now_;
  if (!shard_.outbox_.strained()) {
    home_.send_due(shard_.now_, kStatesPerLook, [&](uint32_t user) {
      const session::PresenceHome::Shown shown = home_.shown(user);
      for (uint64_t left = home_.watchers(user); left != 0; left &= left - 1) {
        post_state(static_cast<uint32_t>(__builtin_ctzll(left)), home_.name(user), shown);
      }
    });
  }
  if (!shard_.cluster_.alone()) turn_far();
  uint32_t kept = 0;
  for (uint32_t i = 0; i < dirty_count_; ++i) {
    const uint32_t slot = dirty_[i];
    if (shard_.endpoint_.is_open(slot) && !send_changes(slot)) {
      dirty_[kept++] = slot;
    } else {
      slots_[slot].dirty = 0;
    }
  }
  dirty_count_ = kept;
}

}  // namespace tidegate::shard
