// SPDX-License-Identifier: Apache-2.0
// Which names topics may have and who may use them. Built in: `room.*` may be subscribed to and
// published by everybody, `user.<id>` subscribed to by that user. The rest is said by permissions
// of the token: `subscribe:<pattern>`, `publish:<pattern>`; a `*` in a pattern stands for any
// number of characters. Thread: any. Owner: none. Limits: kTopicNameBytesMax.
#pragma once

#include <cstdint>
#include <string_view>

#include "base/time.h"

namespace tidegate::session {

inline constexpr uint32_t kTopicNameBytesMax = 256;

// What every shard is given for topics; set from the configuration.
struct TopicLimits {
  uint32_t topics = 10'000;          // of a home shard, and that a shard's connections subscribe to
  uint32_t per_connection = 64;      // subscriptions of one connection
  uint32_t subscriptions = 100'000;  // of a shard
  uint32_t name_bytes = 128;         // at most kTopicNameBytesMax
  uint32_t payload_bytes = 16 * 1024;
  uint32_t history_messages = 100;  // of a topic
  uint32_t history_bytes = 64 * 1024;
  uint64_t history_memory = 16 << 20;  // of a shard
  base::Duration history_age = base::seconds(600);
  uint32_t parked = 4096;  // sessions without a connection whose subscriptions are kept
  base::Duration parked_age = base::seconds(24 * 3600);
  std::string_view durable;  // patterns separated by spaces; copied
};

enum class TopicName : uint8_t { kGood, kInvalid, kTooLong };
// A name has 1 to `bytes_max` bytes of UTF-8 without control characters and without `*`, which is
// for patterns only.
TopicName check_topic_name(std::string_view name, uint32_t bytes_max);

bool matches_pattern(std::string_view pattern, std::string_view name);
// Whether one of the patterns, separated by spaces, matches.
bool matches_any(std::string_view patterns, std::string_view name);

enum class TopicRight : uint8_t { kSubscribe, kPublish };
// `permissions`: of the token, separated by spaces.
bool may_use_topic(TopicRight right, std::string_view topic, std::string_view user,
                   std::string_view permissions);

}  // namespace tidegate::session
