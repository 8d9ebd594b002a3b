// SPDX-License-Identifier: Apache-2.0
// The presence of the users whose ids hash to this shard: how many connections a user has and
// where, the status it chose, what others are shown of it, and which shards have watchers. Changes
// are coalesced: what is shown of a user goes out at once after a quiet second, else at the end of
// it, and not at all when it is what was sent last. That the last connection ended is told
// offline_delay later: who comes back meanwhile was never gone.
//
//   shown    online, away, busy: as chosen while there is a connection
//            offline: no connection, or invisible was chosen; with the time it was last seen so
//
// A status of invisible outlives the connection, away and busy do not. Users without connections
// and watchers are kept until room is needed, the longest unseen goes first.
//
// Thread: shard. Owner: shard::Presence. Limits: PresenceLimits; all memory at construction.
#pragma once

#include <cstdint>
#include <string_view>

#include "base/ids.h"
#include "base/time.h"
#include "mem/mapped_array.h"
#include "session/name_table.h"

namespace tidegate::session {

inline constexpr uint32_t kUserIdBytesMax = 64;
inline constexpr uint32_t kStatusTextBytesMax = 128;
inline constexpr uint32_t kUserConnectionsMax = 8;  // of one user that messages to it reach

// Values of PlayerStatus (protocol.md).
enum class Status : uint8_t {
  kUnknown = 0,
  kOnline = 1,
  kAway = 2,
  kBusy = 3,
  kInvisible = 4,
  kOffline = 5
};

struct PresenceLimits {
  uint32_t users = 20'000;           // of a home shard, those who are watched and offline included
  uint32_t watched = 200;            // by one connection
  uint32_t watches = 100'000;        // of a shard's connections together
  uint32_t bytes_per_second = 1000;  // of updates to one connection
  base::Duration offline_delay = base::seconds(2);  // without a connection before others are told
  base::Duration interval = base::seconds(1);       // between two updates about one user
};

class PresenceHome {
 public:
  static constexpr uint32_t kNone = UINT32_MAX;

  struct Shown {
    Status status = Status::kOffline;
    base::UnixMs last_seen = 0;  // 0: never, as far as is known
    std::string_view text;
  };
  struct Place {
    uint16_t shard;
    base::ConnectionRef connection;
  };
  struct Population {
    uint32_t users = 0;      // with a connection
    uint32_t shown[6] = {};  // of those, by shown status
  };

  explicit PresenceHome(const PresenceLimits& limits);

  uint32_t find(std::string_view user) const { return names_.find(user); }
  std::string_view name(uint32_t user) const { return names_.name(user); }

  // A connection of the user comes. kNone: no room, its presence is not known.
  uint32_t come(std::string_view user, Place place, base::UnixMs now);
  void go(std::string_view user, Place place, base::UnixMs now);
  // What a connection of the user chose. kUnknown: the status stays; no text: the text stays.
  // Returns the status before.
  Status set(uint32_t user, Status status, const std::string_view* text, base::UnixMs now);
  Status chosen(uint32_t user) const { return users_[user].chosen; }
  std::string_view text(uint32_t user) const {
    return {texts_.data() + size_t{user} * kStatusTextBytesMax, users_[user].text_bytes};
  }

  // A shard has watchers, or none any more. kNone: no room.
  uint32_t watch(std::string_view user, uint32_t shard);
  void unwatch(std::string_view user, uint32_t shard);

  Shown shown(uint32_t user) const;
  uint64_t watchers(uint32_t user) const { return users_[user].watchers; }
  uint32_t connection_count(uint32_t user) const { return users_[user].connections; }
  // Those that are known, at most kUserConnectionsMax.
  uint32_t place_count(uint32_t user) const { return users_[user].place_count; }
  const Place& place(uint32_t user, uint32_t i) const {
    return places_[size_t{i} * limits_.users + user];
  }

  // --- with other gateways, whose users are watched here and that watch users of ours ---

  // What a gateway says of a user: only of its own connections, and whoever is invisible as such.
  struct Far {
    base::UnixMs last_seen = 0;
    base::UnixMs chosen_ms = 0;  // when the status or text was chosen; 0: never
    Status chosen = Status::kOnline;
    bool connected = false;
    std::string_view text;
  };
  // What this gateway says.
  Far own(uint32_t user) const;
  bool knows(uint32_t user) const {
    return users_[user].connections != 0 || users_[user].seen != 0;
  }
  // A gateway watches. kNone: no room.
  uint32_t watch_from(std::string_view user, uint32_t gateway);
  void unwatch_from(std::string_view user, uint32_t gateway);
  uint64_t gateways(uint32_t user) const { return links_[user].gateways; }
  // A gateway says something new of the user.
  void set_far(uint32_t user, uint32_t gateway, const Far& far, base::UnixMs now);
  // Nobody here watches the user any more: what others said is forgotten.
  void forget_far(uint32_t user, base::UnixMs now);
  // Gateways outside of `kept` are gone, with what they said and watched.
  void keep_gateways(uint64_t kept, base::UnixMs now);
  // What is shown of the user may change in a moment: not told before then.
  void hold(uint32_t user, base::Instant now, base::Duration time);
  // Calls send(user) for users whose own state is to go to gateways; false from it: not now.
  template <class Send>
  void send_far(base::Instant now, uint32_t most, Send&& send) {
    for (uint32_t i = 0; i < far_changed_count_ && most != 0;) {
      const uint32_t user = far_changed_[i];
      if (links_[user].hold_ns > now.ns) {
        ++i;
        continue;
      }
      if (links_[user].gateways != 0 && !send(user)) return;
      --most;
      links_[user].queued = 0;
      far_changed_[i] = far_changed_[--far_changed_count_];
    }
  }

  // Calls send(user) for users whose shown state is to go to its watchers' shards, at most `most`.
  template <class Send>
  void send_due(base::Instant now, uint32_t most, Send&& send) {
    for (uint32_t i = 0; i < changed_count_ && most != 0;) {
      const uint32_t user = changed_[i];
      User& u = users_[user];
      // Who was told to be gone and is not is shown at once: that it goes is told late enough.
      const bool back = u.sent == Status::kOffline && status_of(u) != Status::kOffline;
      if (!back && u.sent_at_ns != 0 && now.ns - u.sent_at_ns < limits_.interval.ns) {
        ++i;
        continue;
      }
      if (links_[user].hold_ns > now.ns) {
        ++i;
        continue;
      }
      if (!present(u) && differs(u) && waits(u, now)) {
        ++i;
        continue;
      }
      changed_[i] = changed_[--changed_count_];
      u.queued = 0;
      if (!differs(u)) continue;
      mark_sent(u, now);
      --most;
      send(user);
    }
  }
  // The state that goes to a shard that begins to watch counts as sent when it is the only one.
  void note_first(uint32_t user, base::Instant now);
  // Status, text and the time it was last seen are as of a user who was never here; who is
  // connected is shown as online.
  void forget(std::string_view user);
  // What is shown goes to all watchers' shards once more, with the changes that are due.
  void resend(uint32_t user);
  // A user as another process had it: its connections come by restore_place().
  struct Saved {
    Status chosen = Status::kOnline;
    std::string_view text;
    base::UnixMs seen = 0;
    uint64_t watchers = 0;
    uint16_t connections = 0;
    bool pending = false;  // what is shown was not sent to the watchers yet
  };
  Saved save(uint32_t user) const;
  bool restore(std::string_view user, const Saved& saved, base::Instant now);  // false: no room
  void restore_place(std::string_view user, Place place);
  bool used(uint32_t user) const { return names_.used(user); }
  uint32_t high_water() const { return names_.high_water(); }

  bool changes_waiting() const { return changed_count_ != 0 || far_changed_count_ != 0; }

  const Population& population() const { return population_; }
  uint32_t count() const { return names_.count(); }
  uint64_t memory_bytes() const {
    return names_.memory_bytes() + users_.bytes() + places_.bytes() + texts_.bytes() +
           changed_.bytes() + links_.bytes() + far_.bytes() + far_texts_.bytes() +
           far_changed_.bytes();
  }

 private:
  struct User {
    uint64_t watchers;   // bit for each shard
    base::UnixMs seen;   // shown while offline
    int64_t sent_at_ns;  // 0: never
    int64_t gone_ns;     // noticed without a connection; 0: not yet
    uint32_t version;    // of the text
    uint32_t sent_version;
    uint32_t older, newer;  // in the list of those that may make room
    uint16_t connections;
    uint8_t place_count;
    uint8_t text_bytes;
    Status chosen;
    Status sent;
    uint8_t queued;  // 1: in changed_
    uint8_t listed;
  };
  static_assert(sizeof(User) <= 64, "a row for each user, beside its name");

  // Of a user, apart from the rows: zero, and untouched, while this gateway is alone.
  struct Link {
    uint64_t gateways;       // that watch
    base::UnixMs chosen_ms;  // of the own status
    int64_t hold_ns;         // nothing is told before
    uint32_t first;          // row of far_, + 1
    uint32_t queued;         // 1: in far_changed_
  };
  struct FarRow {
    base::UnixMs last_seen, chosen_ms;
    uint32_t user;
    uint32_t next;  // of the user, or of the free ones; + 1
    uint8_t gateway;
    Status chosen;
    uint8_t connected;
    uint8_t text_bytes;
  };
  const FarRow* chooser(uint32_t user) const;
  bool present(const User& u) const;
  uint32_t row_of(const User& u) const { return static_cast<uint32_t>(&u - users_.data()); }
  void note_own(uint32_t user);
  void free_far(uint32_t user, uint32_t row);

  Place& at(uint32_t user, uint32_t i) { return places_[size_t{i} * limits_.users + user]; }
  uint32_t open(std::string_view user);
  Status status_of(const User& u) const;
  bool differs(const User& u) const;
  bool waits(User& u, base::Instant now) const;  // the connection may come back
  void mark_sent(User& u, base::Instant now);
  // Around each change: takes the user out of the counts, and puts it back and queues it.
  void begin_change(const User& u);
  void end_change(uint32_t user, Status before, base::UnixMs now);
  void relist(uint32_t user);

  PresenceLimits limits_;
  NameTable names_;
  mem::MappedArray<User> users_;
  // Apart from the rows, so that most users touch no page for them: the first place of all users,
  // then the second of all, ...; a text for each.
  mem::MappedArray<Place> places_;
  mem::MappedArray<char> texts_;
  mem::MappedArray<uint32_t> changed_;
  mem::MappedArray<Link> links_;
  mem::MappedArray<FarRow> far_;
  mem::MappedArray<char> far_texts_;
  mem::MappedArray<uint32_t> far_changed_;
  uint32_t far_used_ = 0, far_free_ = 0, far_changed_count_ = 0;  // far_free_: row + 1
  uint32_t changed_count_ = 0;
  uint32_t oldest_ = kNone, newest_ = kNone;
  Population population_;
};

}  // namespace tidegate::session
