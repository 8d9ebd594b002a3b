// SPDX-License-Identifier: Apache-2.0
// Handlers of message types: an embedder's own code for what clients send. A type is 1000 and
// above (custom), 400 to 406 (gameplay) or 101 (PLAYER_ACTION); everything else below 1000 belongs
// to the protocol and is refused at registration. Types without a handler stay ERROR 4004.
//
// A handler runs on the shard that holds the connection, inside that shard's turn: everything else
// on the core waits for it. It must not block. What it returns becomes the answer of protocol.md;
// an exception that leaves it is answered like kFailed. A call longer than handlers.time_limit is
// answered with ERROR 4008, one longer than handlers.budget is counted.
//
// Thread: registration on the host's thread before start(); the function on any shard, on several
// at once, so what it shares between players needs its own protection. Owner: Server keeps a copy
// of the registration until it is destroyed. Limits: kHandlersMax types; kPeerBytesMax for what is
// sent to others, kReplyBytesMax for a reply.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <string>
#include <string_view>

#include "tidegate/export.h"

namespace tidegate {

inline constexpr uint32_t kHandlersMax = 256;
inline constexpr uint32_t kCustomTypeMin = 1000;
inline constexpr uint32_t kPlayerActionType = 101;
inline constexpr uint32_t kPriorityMax = 10;
inline constexpr size_t kReplyBytesMax = 56 * 1024;
inline constexpr size_t kPeerBytesMax = 12 * 1024;

// Borrowed bytes, valid for the call they are handed to.
struct Bytes {
  const void* data = nullptr;
  size_t size = 0;
  std::string_view text() const { return {static_cast<const char*>(data), size}; }
};
inline Bytes bytes_of(std::string_view text) { return {text.data(), text.size()}; }

// Metres; right-handed, y up.
struct Position {
  float x = 0, y = 0, z = 0;
};

// One message of a client, borrowed for the call.
struct Message {
  uint32_t type = 0;
  Bytes payload;          // as the client sent it, not checked
  uint64_t sequence = 0;  // of an acknowledged message; 0: the client did not ask
  uint32_t priority = 0;  // as the client said, 0 to 10
  int64_t timestamp = 0;  // the client's clock, Unix ms; not to be trusted
};

// What the client is told.
enum class Outcome : uint8_t {
  kOk = 0,        // nothing by itself; the handler has replied what it wanted to
  kInvalid,       // ERROR 4003, payload invalid for its type
  kNotPermitted,  // ERROR 4005
  kFailed,        // ERROR 4009; counted as the handler's failure, not as the client's
};

enum class SendResult : uint8_t {
  kOk = 0,    // on its way; not acknowledged, lost when the receiver leaves or is overloaded
  kClosed,    // the connection is closing
  kBadType,   // only 400 to 406 and 1000 and above may be sent
  kTooLarge,  // above kReplyBytesMax or kPeerBytesMax
  kBusy,      // the way to another shard is full; dropped and counted
  kRange,     // a code, name or radius that is none
};

struct Target;        // events.h
struct GroupCommand;  // groups.h
struct StateSpec;     // states.h
enum class StateScope : uint8_t;

// The call's view of the player and the ways to answer. Valid until the handler returns.
class Context {
 public:
  virtual std::string_view player_id() const noexcept = 0;
  virtual std::string_view user_id() const noexcept = 0;
  virtual std::string_view permissions() const noexcept = 0;  // separated by spaces
  virtual bool has_permission(std::string_view permission) const noexcept = 0;
  virtual uint32_t tick() const noexcept = 0;      // of the world, the last that ended
  virtual uint32_t shard() const noexcept = 0;     // 0-based number of this thread's shard
  virtual bool in_world() const noexcept = 0;      // false until the player's entity exists
  virtual Position position() const noexcept = 0;  // as of the last tick; zero before in_world()

  // A message back to this client, in order with what it gets otherwise.
  virtual SendResult reply(uint32_t type, Bytes payload) noexcept = 0;
  // REPLY (type 14) with the request's sequence; code 0 is success by convention.
  virtual SendResult answer(uint32_t code, std::string_view message) noexcept = 0;
  // To the player's connection, wherever it is. kOk does not say that the player is online.
  virtual SendResult send_to_player(std::string_view player_id, uint32_t type,
                                    Bytes payload) noexcept = 0;
  // To every other player within `radius` metres of this one (horizontal distance). Each shard
  // looks at all its players: about 1 us for each 1,000 of them.
  virtual SendResult send_to_nearby(float radius, uint32_t type, Bytes payload) noexcept = 0;
  // To a user, a place or everybody (events.h); who asked is not left out.
  virtual SendResult send(const Target& target, uint32_t type, Bytes payload) noexcept = 0;
  // A message of the server to a topic, as PUBLISH, without the need of a permission.
  virtual SendResult publish(std::string_view topic, Bytes data,
                             uint32_t event_type = 0) noexcept = 0;
  // A change of a group (groups.h), as a leader of it. kOk says that it is on its way.
  virtual SendResult group(const GroupCommand& command) noexcept = 0;
  // DISCONNECT to the client, then a close. `code`: 1000, 1001, 1008, 1011 to 1013, 3000 to 4999.
  virtual SendResult disconnect(uint16_t code, std::string_view reason) noexcept = 0;
  // How far the player sees from now on, metres, cut to world.view_distance.
  virtual SendResult set_view_distance(float metres) noexcept = 0;
  // State providers (world_hooks.h) are asked for this player's entity soon.
  virtual SendResult mark_state() noexcept = 0;
  // To the player's session, with acknowledgement: delivered once and in order, also when the
  // client is away just now and comes back within session.resume_window, as long as the session
  // lives (docs/sessions.md). kOk does not say that the player has a session. To this player
  // itself: player_id(). At most kPeerBytesMax.
  virtual SendResult send_acknowledged(std::string_view player_id, uint32_t type,
                                       Bytes payload) noexcept = 0;
  // Keyed state (states.h). kOk: on its way to its home, where it holds when it arrives.
  virtual SendResult set_state(const StateSpec& spec) noexcept = 0;
  virtual SendResult remove_state(StateScope scope, std::string_view key,
                                  std::string_view player = {}) noexcept = 0;

 protected:
  ~Context() = default;
};

using HandlerFunction = std::function<Outcome(Context&, const Message&)>;

struct Handler {
  uint32_t type = 0;
  std::string name;  // label of its metrics: 1 to 32 of [A-Za-z0-9_.-]
  HandlerFunction function;
  uint8_t priority = 5;   // 0 to 10, of what is sent with this type
  bool compress = false;  // whether payloads of this type are worth compressing (docs/events.md)
  // Whether a client's payload is one of this type; others are ERROR 4003 and the function is not
  // called. Empty: all are.
  std::function<bool(Bytes payload)> schema;
};

}  // namespace tidegate
