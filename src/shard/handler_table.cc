// SPDX-License-Identifier: Apache-2.0
#include "shard/handler_table.h"

#include <algorithm>

namespace tidegate::shard {
namespace {

constexpr size_t kNameBytesMax = 32;

}  // namespace

bool is_label(std::string_view name) {
  return !name.empty() && name.size() <= kNameBytesMax &&
         std::all_of(name.begin(), name.end(), [](char c) {
           return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
                  c == '_' || c == '.' || c == '-';
         });
}

Status HandlerTable::add(HandlerEntry entry) {
  const std::string type = "message type " + std::to_string(entry.type);
  if (!may_register(entry.type)) {
    return {Code::kTypeReserved,
            {},
            type + " belongs to the protocol; register 101, 400 to 406, or 1000 and above"};
  }
  if (!is_label(entry.name)) {
    return {Code::kNameInvalid, {}, type + ": a name is 1 to 32 of [A-Za-z0-9_.-]"};
  }
  if (entry.priority > kPriorityMax) {
    return {Code::kOutOfRange,
            {},
            type + ": priority " + std::to_string(entry.priority) + " is above 10"};
  }
  if (entry.invoke == nullptr) return {Code::kMissing, {}, type + ": no function was given"};
  for (const auto& other : entries_) {
    if (other->type == entry.type) {
      return {Code::kTypeTaken, {}, type + " has the handler " + other->name + " already"};
    }
    if (other->name == entry.name) {
      return {
          Code::kNameTaken,
          {},
          type + ": the name " + entry.name + " is taken by type " + std::to_string(other->type)};
    }
  }
  if (entries_.size() == kHandlersMax) {
    return {Code::kFull, {}, type + ": the table of handlers is full"};
  }
  const auto at = std::lower_bound(by_type_.begin(), by_type_.end(), entry.type,
                                   [](const Sorted& s, uint32_t t) { return s.type < t; });
  by_type_.insert(at, {entry.type, count()});
  entries_.push_back(std::make_unique<HandlerEntry>(std::move(entry)));
  return {};
}

uint32_t HandlerTable::find(uint32_t type) const {
  const auto at = std::lower_bound(by_type_.begin(), by_type_.end(), type,
                                   [](const Sorted& s, uint32_t t) { return s.type < t; });
  return at != by_type_.end() && at->type == type ? at->index : kNone;
}

}  // namespace tidegate::shard
