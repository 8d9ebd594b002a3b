// SPDX-License-Identifier: Apache-2.0
// Where sessions are kept outside the process: one interface, today one store behind it (SQLite,
// session_store_sqlite.cc). Everything here blocks and runs on the writer's thread
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

namespace tidegate::control {

struct StoredMessage {
  uint64_t sequence;
  uint32_t type;
  std::vector<uint8_t> payload;
};

// As it was when the server before this one ended.
struct StoredSession {
  uint64_t id = 0;
  std::string player;
  uint64_t received = 0;
  uint64_t acked = 0;
  uint32_t nonce = 0;
  uint32_t nonce_before = 0;
  uint32_t created_s = 0;
  uint32_t seen_s = 0;
  uint32_t resumed = 0;
  bool attached = false;                // a connection held it
  std::vector<StoredMessage> messages;  // in order, from acked + 1
};

// One change with the bytes that belong to it.
struct SessionChange {
  mailbox::SessionRecord record;
  base::Bytes tail;
  uint32_t shard;
};

class SessionStore {
 public:
  static constexpr uint64_t kEffectsKept = 16 * 1024;
  virtual ~SessionStore() = default;

  // All sessions: those without a connection, left longest ago first, then the others. False with text in `error`.
  virtual bool load_blocking(const std::function<void(StoredSession&&)>& visit,
                             std::string* error) = 0;
  // Origins of kAppend: the last kEffectsKept at least.
  virtual bool load_effects_blocking(std::vector<uint64_t>* origins, std::string* error) = 0;
  // All changes or none.
  virtual bool write_blocking(std::span<const SessionChange> changes, std::string* error) = 0;
  // A text kept under a name; empty when there is none. put: false on an error.
  virtual std::string get_blocking(const std::string& name) = 0;
  virtual bool put_blocking(const std::string& name, const std::string& value) = 0;
};

// The embedded store: one file and its write-ahead log. A file that is damaged is put aside as
// <path>.damaged-<unix_s>, `note` says so, and a new one begins. Null with text in `error`: the
// file can be neither opened nor made.
[[nodiscard]] std::unique_ptr<SessionStore> open_embedded_store_blocking(const std::string& path,
                                                                         int64_t unix_s,
                                                                         std::string* note,
                                                                         std::string* error);

}  // namespace tidegate::control
