// SPDX-License-Identifier: Apache-2.0
#include "session/group_rules.h"

#include <algorithm>
#include <charconv>

#include "session/topic_rules.h"

namespace tidegate::session {
namespace {

// Calls visit(word) for each word between spaces until it answers true.
template <class Visit>
bool any_word(std::string_view text, Visit&& visit) {
  while (!text.empty()) {
    const size_t end = std::min(text.find(' '), text.size());
    if (end != 0 && visit(text.substr(0, end))) return true;
    text.remove_prefix(std::min(end + 1, text.size()));
  }
  return false;
}

// "party:8" as its two parts; false: it is not in this form.
bool read_kind(std::string_view word, std::string_view* kind, uint32_t* members) {
  const size_t colon = word.find(':');
  if (colon == 0 || colon == std::string_view::npos) return false;
  *kind = word.substr(0, colon);
  const char* const end = word.data() + word.size();
  const auto [at, error] = std::from_chars(word.data() + colon + 1, end, *members);
  return error == std::errc{} && at == end && *members >= 1 && *members <= kGroupMembersMax &&
         std::all_of(kind->begin(), kind->end(), [](char c) {
           return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '_' || c == '-';
         });
}

}  // namespace

std::string_view kind_of_group(std::string_view name) {
  const size_t dot = name.find('.');
  return dot == std::string_view::npos ? std::string_view{} : name.substr(0, dot);
}

uint32_t group_members_max(std::string_view kinds, std::string_view name) {
  const std::string_view wanted = kind_of_group(name);
  uint32_t members = 0;
  const bool found = !wanted.empty() && any_word(kinds, [&](std::string_view word) {
    std::string_view kind;
    return read_kind(word, &kind, &members) && kind == wanted;
  });
  return found ? members : 0;
}

bool check_group_kinds(std::string_view kinds) {
  return !any_word(kinds, [](std::string_view word) {
    std::string_view kind;
    uint32_t members = 0;
    return !read_kind(word, &kind, &members);
  });
}

bool is_focus_group(std::string_view focus_kinds, std::string_view name) {
  const std::string_view kind = kind_of_group(name);
  return !kind.empty() &&
         any_word(focus_kinds, [&](std::string_view word) { return word == kind; });
}

bool check_group_name(std::string_view name, uint32_t bytes_max) {
  const std::string_view kind = kind_of_group(name);
  return !kind.empty() && kind.size() + 1 < name.size() &&
         check_topic_name(name, bytes_max) == TopicName::kGood;
}

bool moderates_group(std::string_view name, std::string_view permissions) {
  constexpr std::string_view kPrefix = "group:";
  return any_word(permissions, [&](std::string_view word) {
    return word.starts_with(kPrefix) && matches_pattern(word.substr(kPrefix.size()), name);
  });
}

}  // namespace tidegate::session
