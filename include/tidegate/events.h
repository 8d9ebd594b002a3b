// SPDX-License-Identifier: Apache-2.0
// Events of a server that runs inside of a game: messages to topics, users, places or everybody
// (Server and Context have the calls), and handlers of the game's own for what happens: messages of
// topics, users that come, go or change their status.
//
// A handler runs on the home shard of the topic or user, inside of that shard's turn, and must not
// block. All handlers whose kinds, pattern and can_handle fit are called, higher priority first, in
// order of registration among equals; one that fails or throws is counted
// (tidegate_event_handler_failures_total) and does not stop those behind it. Registering and
// unregistering is possible at any time.
//
// Thread: registration on any host thread, the functions on any shard, on several at once. Owner:
// Server keeps copies until it is destroyed. Limits: kEventHandlersMax at a time; kPeerBytesMax for
// what is sent.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <string>
#include <string_view>

#include "tidegate/handlers.h"

namespace tidegate {

inline constexpr size_t kEventHandlersMax = 64;
inline constexpr size_t kTopicBytesMax = 256;  // topics.name_bytes may be less

// Values of PlayerStatus on the wire.
enum class UserStatus : uint8_t { kOnline = 1, kAway = 2, kBusy = 3, kInvisible = 4, kOffline = 5 };

enum class EventKind : uint8_t {
  kTopicMessage = 1,   // published, offset given; before its subscribers have it
  kUserOnline = 2,     // the first connection of a user
  kUserOffline = 4,    // the last one ended
  kUserStatus = 8,     // the user chose another status or text
  kGroupChanged = 16,  // a group: event_type is a GroupEventKind, source_user who did it, data whom
};
inline constexpr uint8_t kAllEventKinds = 31;

// Views are valid for the call.
struct ServerEvent {
  EventKind kind = EventKind::kTopicMessage;
  std::string_view name;  // the topic, the user's id, or the group
  uint64_t offset = 0;    // topics
  uint32_t event_type = 0;
  std::string_view source_user;              // who published; empty: the server
  Bytes data;                                // of the message, or the user's custom status
  int64_t timestamp = 0;                     // Unix ms
  UserStatus status = UserStatus::kOffline;  // users: as chosen, so invisible is told
  uint32_t shard = 0;                        // 0-based number of this thread's shard
};

struct EventHandler {
  std::string name;                // 1 to 32 of [A-Za-z0-9_.-], not used by another one
  uint8_t priority = 5;            // 0 to 10
  uint8_t kinds = kAllEventKinds;  // EventKind bits
  std::string pattern = "*";       // of topics and user ids; `*`: any number of characters
  std::function<bool(const ServerEvent& event)> can_handle;  // empty: always
  std::function<bool(const ServerEvent& event)> handle;      // false: it failed
};

// What a client wants with a topic that the rules and its token do not give it.
struct TopicRequest {
  std::string_view topic;
  std::string_view user_id;
  std::string_view permissions;  // separated by spaces
  bool publish = false;          // else subscribe
};
// True: permitted. On the client's shard, in its turn; throws: not permitted.
using TopicPolicy = std::function<bool(const TopicRequest& request)>;

// Where a message goes besides to one player; see Server::send and Context::send.
struct Target {
  enum class Kind : uint8_t {
    kUser,      // every connection of the user `id`
    kPlayer,    // the session that plays the player `id`
    kRadius,    // players within `radius` metres (horizontal) of `position`
    kCell,      // players in the cell of the grid in which `position` lies
    kZone,      // players of the zone `id` (world.zone)
    kEveryone,  // every session
    kGroup,     // members of the group `id` (groups.h)
  };
  Kind kind = Kind::kEveryone;
  std::string_view id;
  Position position;
  float radius = 0;

  static Target user(std::string_view id) { return {Kind::kUser, id, {}, 0}; }
  static Target player(std::string_view id) { return {Kind::kPlayer, id, {}, 0}; }
  static Target within(Position position, float radius) {
    return {Kind::kRadius, {}, position, radius};
  }
  static Target cell(Position position) { return {Kind::kCell, {}, position, 0}; }
  static Target zone(std::string_view id) { return {Kind::kZone, id, {}, 0}; }
  static Target everyone() { return {}; }
  static Target group(std::string_view id) { return {Kind::kGroup, id, {}, 0}; }
};

}  // namespace tidegate
