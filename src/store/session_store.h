// SPDX-License-Identifier: Apache-2.0
// Where sessions are kept outside the process: one interface with two stores behind it, a file of
// this process (SQLite, session_store_sqlite.cc) and one that gateways share (Redis,
// session_store_redis.cc). Everything here blocks and runs on the writer's thread
// (session_keeper.h), loading on the host's before threads start.
// Thread: one at a time. Owner: SessionKeeper. Limits: the disk.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "base/bytes.h"
#include "mailbox/session_messages.h"

namespace tidegate::store {

using mailbox::StoredMessage;
using mailbox::StoredSession;

// One change with the bytes that belong to it.
struct SessionChange {
  mailbox::SessionRecord record;
  base::Bytes tail;
  uint32_t shard;
};

// What a shared store tells of players; for `shard`, the home of the player here.
struct StoreNews {
  enum class Kind : uint8_t {
    kClaim,      // the answer to a claim
    kTaken,      // another gateway has the session now
    kLetter,     // another gateway left a message for it
    kNoSession,  // a forwarded message found no session
  };
  Kind kind;
  uint32_t shard = 0;
  uint64_t session = 0;                  // kTaken
  uint32_t coming = 0;                   // kTaken, kClaim
  std::string player;                    // kTaken, kLetter
  mailbox::StoredLetter letter{};        // kLetter
  const SessionChange* asked = nullptr;  // kClaim: of the batch
  mailbox::SessionClaim status{};        // kClaim
  bool from_here = false;                // kClaim
  std::unique_ptr<StoredSession> state;  // kClaim
};

class SessionStore {
 public:
  static constexpr uint64_t kEffectsKept = 16 * 1024;
  virtual ~SessionStore() = default;

  // Whether other gateways use it too. Then sessions are claimed one by one as their players come,
  // none is loaded at start, and what is not there yet may be there later.
  virtual bool shared() const { return false; }

  // All sessions: those without a connection, left longest ago first, then the others. False with
  // text in `error`.
  virtual bool load_blocking(const std::function<void(StoredSession&&)>& visit,
                             std::string* error) = 0;
  // Origins of kAppend: the last kEffectsKept at least.
  virtual bool load_effects_blocking(std::vector<uint64_t>* origins, std::string* error) = 0;
  // All changes or none is what a file promises; a shared store may have done a part of them when
  // it fails. `news` grows by what was learnt on the way, in order.
  virtual bool write_blocking(std::span<const SessionChange> changes, std::vector<StoreNews>* news,
                              std::string* error) = 0;
  // What other gateways did meanwhile.
  virtual bool poll_blocking(std::vector<StoreNews>*, std::string*) { return true; }
  // A store that gateways share is back, perhaps without what it had: others come back to it a
  // little later, and have to say first which sessions they have.
  virtual bool settling() const { return false; }
  // A text kept under a name; empty when there is none. put: false on an error.
  virtual std::string get_blocking(const std::string& name) = 0;
  virtual bool put_blocking(const std::string& name, const std::string& value) = 0;
  // Why the last put_blocking() failed, when it is worth telling apart.
  virtual std::string why_not() const { return {}; }
};

// The embedded store: one file and its write-ahead log. A file that is damaged is put aside as
// <path>.damaged-<unix_s>, `note` says so, and a new one begins. Null with text in `error`: the
// file can be neither opened nor made.
[[nodiscard]] std::unique_ptr<SessionStore> open_embedded_store_blocking(const std::string& path,
                                                                         int64_t unix_s,
                                                                         std::string* note,
                                                                         std::string* error);

}  // namespace tidegate::store
