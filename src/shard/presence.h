// SPDX-License-Identifier: Apache-2.0
// Presence on a shard, both sides: what its own connections watch, and the users whose home it is
// (session/presence_home.h). A change goes from the connection's shard to the user's home, from
// there at most once a second to each shard with watchers, and from there into their output, of
// which presence takes at most presence.bytes_per_second.
//
// The home also knows where a user is connected: messages to a user go by it.
//
// Thread: shard. Owner: Shard. Limits: session::PresenceLimits.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "mailbox/bus_messages.h"
#include "mailbox/messages.h"
#include "mem/mapped_array.h"
#include "session/presence_home.h"
#include "session/topic_members.h"
#include "shard/router.h"
#include "tidegate/events.h"
#include "wire/event_messages.h"

namespace tidegate::shard {

class Presence {
 public:
  Presence(Shard& shard, const session::PresenceLimits& limits, uint32_t slots);

  // Routes of messages.cc.
  Handled on_status_change(uint32_t slot, const wire::Envelope& message);
  Handled on_update(uint32_t slot, const wire::Envelope& message);
  Handled on_subscribe(uint32_t slot, const wire::Envelope& message);

  // The connection has a session now; it ends.
  void on_open(uint32_t slot);
  void on_closed(uint32_t slot);

  bool on_mail(uint32_t from, mailbox::MessageType type, base::Bytes bytes);
  // To every connection of a user, wherever it is. False: the way to its home is full.
  bool send_to_user(std::string_view user, uint32_t type, base::Bytes payload);
  // At the user's home: visit(shard, connection) for each connection that messages reach.
  template <class Visit>
  void for_each_place(std::string_view user, Visit&& visit) const {
    const uint32_t row = home_.find(user);
    if (row == session::PresenceHome::kNone) return;
    for (uint32_t i = 0; i < home_.place_count(row); ++i) {
      const session::PresenceHome::Place& place = home_.place(row, i);
      visit(uint32_t{place.shard}, place.connection);
    }
  }
  // At the user's home: others than before may see it.
  void on_privacy_changed(std::string_view user);
  // Of an export (user_facts.cc), at the user's home; and nothing of what it chose is kept.
  void tell_facts(uint32_t request, std::string_view user);
  void forget(std::string_view user);
  // The connection's user has blocked `user`, or not any more.
  void on_blocked(uint32_t slot, std::string_view user);

  // With other gateways (presence_bus.cc).
  void on_view();
  void on_missed(uint64_t gateways) { missed_ |= gateways; }
  void on_bus_mail(const mailbox::BusMail& mail, base::Bytes tail);

  void turn();
  bool waiting() const { return home_.changes_waiting() || dirty_count_ != 0; }
  void update_gauges();
  uint64_t memory_bytes() const {
    return home_.memory_bytes() + watches_.memory_bytes() + shown_.bytes() + slots_.bytes() +
           dirty_.bytes();
  }

 private:
  friend class Handover;
  struct Shown {  // of a watched user, by row of watches_
    base::UnixMs last_seen;
    uint8_t status;
    uint8_t text_bytes;
    uint8_t
        restricted;  // 1: not all may see it; `request` of a watch is 1 when its watcher may not
    char text[session::kStatusTextBytesMax];
  };
  struct Slot {
    uint32_t waiting;    // users whose state is not known yet; then FRIEND_STATUS is due
    uint32_t allowance;  // bytes of updates that may be sent
    uint32_t at_ms;      // of the allowance
    uint8_t asked;       // 1: FRIEND_STATUS is due
    uint8_t dirty;       // 1: in dirty_
    uint8_t opened;      // 1: the home was told
    uint8_t unused;
  };

  uint32_t home_of(std::string_view user) const;
  wire::PresenceUpdate update_of(const session::Subscription& watch) const;
  void send_friend_status(uint32_t slot);
  // Sends as many changes as the allowance holds; false: some are left.
  bool send_changes(uint32_t slot);
  void mark_dirty(uint32_t slot);
  bool post_set(uint32_t slot, uint32_t status, const std::string_view* text);

  void on_come(uint32_t from, base::Bytes bytes);
  void on_go(uint32_t from, base::Bytes bytes);
  void on_set(uint32_t from, base::Bytes bytes);
  void on_watch(uint32_t from, base::Bytes bytes);
  void on_state(base::Bytes bytes);
  void on_changed(base::Bytes bytes);
  void on_send_to_user(base::Bytes bytes);
  void deliver_to_user(std::string_view user, uint32_t type, base::Bytes payload, uint64_t source);
  void watch_far(std::string_view user, bool on);
  bool post_own(uint64_t gateways, uint32_t user);
  void turn_far();
  void ask_far(uint32_t user);
  void tell(EventKind kind, uint32_t user, base::UnixMs unix_ms);
  void post_state(uint32_t to, std::string_view user, const session::PresenceHome::Shown& shown);

  Shard& shard_;
  std::string region_;
  session::PresenceLimits limits_;
  session::PresenceHome home_;
  session::TopicMembers watches_;  // "topics" are users, subscriptions are watches
  mem::MappedArray<Shown> shown_;
  mem::MappedArray<Slot> slots_;
  mem::MappedArray<uint32_t> dirty_;  // slots with changes to be sent
  uint32_t dirty_count_ = 0;
  base::Instant looked_{};
  uint32_t watched_at_ = 0;  // users whose watches other gateways were told of again
  base::Instant watched_{};  // when that began last for all of them
  uint64_t watch_to_ = mailbox::kAllGateways;
  uint64_t missed_ = 0;  // gateways that are to be told in between
};

}  // namespace tidegate::shard
