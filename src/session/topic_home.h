// SPDX-License-Identifier: Apache-2.0
// The topics whose names hash to this shard: offsets, the bounded history, and which shards have
// subscribers. It knows no connections and makes no frames: a message comes in as the bytes that
// every subscriber gets, and is kept as those.
//
// A topic is there from its first subscriber or message on. When the table is full, the one longest
// without subscribers makes room; its offsets begin at 1 again should it come back.
//
// Thread: shard. Owner: shard::Topics. Limits: TopicLimits; all memory at construction.
#pragma once

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <string_view>
#include <vector>

#include "base/bytes.h"
#include "base/time.h"
#include "mem/block_pool.h"
#include "mem/mapped_array.h"
#include "session/name_table.h"
#include "session/topic_rules.h"

namespace tidegate::session {

class TopicHome {
 public:
  static constexpr uint32_t kNone = UINT32_MAX;

  struct Figures {
    uint64_t next_offset = 0;
    uint64_t shards = 0;  // bit for each shard with subscribers
    uint32_t history_messages = 0;
    uint32_t history_bytes = 0;
  };

  // What this shard knows of a topic as one of several gateways (shard/topics_bus.cc).
  enum class Role : uint8_t {
    kHome,     // offsets are given here
    kOutside,  // another gateway is the home, and nobody here subscribes
    kAsked,    // the home was asked for its messages
    kRelay,    // they come, and are kept here as at the home
  };
  struct Relay {
    uint64_t waiting = 0;   // shards to be told when the messages come
    uint64_t home_key = 0;  // of the home gateway and its epoch; 0: never in a cluster
    uint32_t asked_ms = 0;  // when the home was asked last
    uint32_t said_ms = 0;   // when a message went to other gateways last
    Role role = Role::kHome;
    uint8_t pulling = 0;  // 1: what was missed is on its way
    uint8_t tails = 0;    // notes of the last offset that are still to be sent
    uint8_t taken = 0;    // 1: this became the home, and nobody has handed over the offset yet
  };

  // Offsets of a topic whose home was lost go on with the first one of an era that no other home
  // can have reached: the upper half counts losses (bus/membership.h), the lower half messages.
  static constexpr uint64_t first_of_era(uint64_t era) { return (era << 32) + 1; }
  static constexpr bool begins_era(uint64_t offset) { return (offset & UINT32_MAX) == 1; }

  explicit TopicHome(const TopicLimits& limits);

  uint32_t find(std::string_view name) const { return names_.find(name); }
  // The topic of this name, made when it is not there; kNone: no room.
  uint32_t open(std::string_view name);
  std::string_view name(uint32_t topic) const { return names_.name(topic); }

  // Both idempotent.
  void add_shard(uint32_t topic, uint32_t shard);
  void remove_shard(uint32_t topic, uint32_t shard);
  uint64_t shards(uint32_t topic) const { return topics_[topic].shards; }
  // Gateways with subscribers, by index.
  uint64_t gateways(uint32_t topic) const { return topics_[topic].gateways; }
  void set_gateways(uint32_t topic, uint64_t gateways);
  Relay& relay(uint32_t topic) { return topics_[topic].relay; }
  // Goes on from a higher offset: what is kept is forgotten, a history has no holes.
  void skip_to(uint32_t topic, uint64_t next_offset);
  // The same for offsets that no message ever has: what is kept stays.
  void leap_to(uint32_t topic, uint64_t next_offset);
  // Of the oldest message that is kept; the next one when there is none.
  uint64_t first_offset(uint32_t topic) const { return first_offset(topics_[topic]); }

  // The offset of the next message: its frame holds it, so it is asked before append().
  uint64_t next_offset(uint32_t topic) const { return topics_[topic].next_offset; }
  // Takes the offset and keeps the bytes as far as the bounds allow. `note`: kept beside them.
  void append(uint32_t topic, base::Bytes frame, uint32_t note, base::Instant now);

  struct Piece {
    uint64_t offset;
    uint32_t bytes;
    uint32_t note;
  };
  // A topic of another process: its history follows by append(), from `first_offset` on.
  // False: no room.
  [[nodiscard]] bool restore(std::string_view name, uint64_t first_offset);
  // Calls visit(offset, frame, note, time_s) for each kept message, oldest first; `frame` is valid
  // in it.
  template <class Visit>
  void for_each(uint32_t topic, std::vector<uint8_t>* scratch, Visit&& visit) {
    for (uint32_t b = topics_[topic].first; b != kNone; b = block(b).next_message) {
      const Block head = block(b);
      scratch->resize(head.bytes);
      uint32_t at = 0;
      for (uint32_t part = b; part != kNone && at < head.bytes; part = block(part).next_block) {
        const uint32_t n = std::min(kBlockData, head.bytes - at);
        std::memcpy(scratch->data() + at, blocks_.data(part) + sizeof(Block), n);
        at += n;
      }
      visit(head.offset, base::Bytes{*scratch}, head.note, head.time_s);
    }
  }
  // Copies the oldest kept message at or behind `from` into `out`; false when there is none, or
  // (bytes not 0) when it does not fit. Its offset is above `from` where history has ended.
  bool read(uint32_t topic, uint64_t from, base::Instant now, base::MutableBytes out, Piece* piece);

  // Calls mine(note, frame) for each kept message of the topic, oldest first; those for which it
  // answers true are emptied: they keep their offset and are read with no bytes. `scratch` holds a
  // message. Returns how many were.
  template <class Mine>
  uint32_t empty_if(uint32_t topic, base::MutableBytes scratch, Mine&& mine) {
    Topic& t = topics_[topic];
    uint32_t emptied = 0;
    for (uint32_t b = t.first; b != kNone; b = block(b).next_message) {
      const uint32_t bytes = block(b).bytes;
      if (bytes == 0 || bytes > scratch.size()) continue;
      copy_message(b, scratch.first(bytes));
      if (!mine(block(b).offset, block(b).note, base::Bytes{scratch.data(), bytes})) continue;
      empty_message(t, b);
      ++emptied;
    }
    return emptied;
  }

  // Lets go of what is too old in some topics at a time; call about once a tick.
  void expire(base::Instant now, uint32_t topics);

  Figures figures(uint32_t topic) const;
  bool used(uint32_t topic) const { return names_.used(topic); }
  uint32_t high_water() const { return names_.high_water(); }
  uint32_t count() const { return names_.count(); }
  uint64_t history_bytes() const { return uint64_t{blocks_.in_use()} * kBlockBytes; }
  void charge_to(mem::Account* account) { blocks_.charge_to(account, mem::Rank::kKept); }
  uint64_t memory_bytes() const {
    return names_.memory_bytes() + topics_.bytes() + blocks_.memory_bytes();
  }

 private:
  static constexpr uint32_t kBlockBytes = 256;
  struct Block {  // head of each block; all but next_block hold in a message's first block
    uint64_t offset;
    uint32_t next_block;
    uint32_t next_message;
    uint32_t bytes;
    uint32_t note;
    uint32_t time_s;
    uint32_t unused;
  };
  static constexpr uint32_t kBlockData = kBlockBytes - sizeof(Block);
  struct Topic {
    uint64_t next_offset;  // from 1
    uint64_t shards, gateways;
    Relay relay;
    uint32_t first, last;   // first blocks of the oldest and newest message; kNone: no history
    uint32_t count, bytes;  // of the history
    uint32_t older, newer;  // in the list of topics without subscribers
    uint32_t listed;        // 1: in the list
    uint32_t read_block;    // where the last read() ended, so that a replay does not start over
    uint64_t read_offset;   // offset of that message; 0: none
  };

  Block& block(uint32_t b) { return *reinterpret_cast<Block*>(blocks_.data(b)); }
  const Block& block(uint32_t b) const { return *reinterpret_cast<const Block*>(blocks_.data(b)); }
  uint64_t first_offset(const Topic& t) const {
    return t.count == 0 ? t.next_offset : block(t.first).offset;
  }
  void copy_message(uint32_t first, base::MutableBytes out);
  void empty_message(Topic& t, uint32_t first);
  void drop_oldest(Topic& t);
  void drop_old(Topic& t, base::Instant now);
  void list(uint32_t topic);
  void unlist(uint32_t topic);
  void forget(uint32_t topic);

  TopicLimits limits_;
  NameTable names_;
  mem::MappedArray<Topic> topics_;
  mem::BlockPool blocks_;
  uint32_t oldest_ = kNone, newest_ = kNone;  // list of topics without subscribers
  uint32_t expire_at_ = 0;
};

}  // namespace tidegate::session
