// SPDX-License-Identifier: Apache-2.0
#include "session/topic_rules.h"

#include <algorithm>

namespace tidegate::session {
namespace {

constexpr std::string_view kRooms = "room.";
constexpr std::string_view kUsers = "user.";

// Calls visit(word) for each word until it answers true.
template <class Visit>
bool any_word(std::string_view words, Visit&& visit) {
  while (!words.empty()) {
    const size_t end = std::min(words.find(' '), words.size());
    if (end != 0 && visit(words.substr(0, end))) return true;
    words.remove_prefix(std::min(end + 1, words.size()));
  }
  return false;
}

}  // namespace

TopicName check_topic_name(std::string_view name, uint32_t bytes_max) {
  if (name.size() > bytes_max) return TopicName::kTooLong;
  const bool good = !name.empty() && std::all_of(name.begin(), name.end(), [](char c) {
    return static_cast<uint8_t>(c) >= 0x20 && c != 0x7f && c != '*';
  });
  return good ? TopicName::kGood : TopicName::kInvalid;
}

bool matches_pattern(std::string_view pattern, std::string_view name) {
  // Greedy with one place to go back to: the last star is enough.
  size_t p = 0;
  size_t n = 0;
  size_t star = std::string_view::npos;
  size_t taken = 0;
  while (n < name.size()) {
    if (p < pattern.size() && pattern[p] == '*') {
      star = p++;
      taken = n;
    } else if (p < pattern.size() && pattern[p] == name[n]) {
      ++p;
      ++n;
    } else if (star != std::string_view::npos) {
      p = star + 1;
      n = ++taken;
    } else {
      return false;
    }
  }
  while (p < pattern.size() && pattern[p] == '*') ++p;
  return p == pattern.size();
}

bool matches_any(std::string_view patterns, std::string_view name) {
  return any_word(patterns, [&](std::string_view p) { return matches_pattern(p, name); });
}

bool may_use_topic(TopicRight right, std::string_view topic, std::string_view user,
                   std::string_view permissions) {
  if (topic.starts_with(kRooms) && topic.size() > kRooms.size()) return true;
  const bool subscribe = right == TopicRight::kSubscribe;
  if (subscribe && topic.starts_with(kUsers) && topic.substr(kUsers.size()) == user) return true;
  const std::string_view prefix = subscribe ? "subscribe:" : "publish:";
  return any_word(permissions, [&](std::string_view permission) {
    return permission.starts_with(prefix) &&
           matches_pattern(permission.substr(prefix.size()), topic);
  });
}

}  // namespace tidegate::session
