// SPDX-License-Identifier: Apache-2.0
// Payloads of groups and of a user's lists (social.proto) as plain structs, beside event_messages.h
// and by its rules. Thread: any. Owner: borrows. Limits: the caller's buffer.
#pragma once

#include <cstdint>
#include <string_view>

#include "base/bytes.h"
#include "wire/envelope.h"
#include "wire/pb.h"

namespace tidegate::wire {

struct GroupRequest {
  uint32_t operation = 0;
  std::string_view group;
  std::string_view user_id;
  uint32_t role = 0;
  uint32_t access = 0;
};

struct GroupEvent {
  std::string_view group;
  uint32_t change = 0;
  std::string_view user_id;
  std::string_view by_user;
  uint32_t role = 0;
  uint32_t access = 0;
  uint64_t version = 0;
  uint64_t offset = 0;
};

struct GroupMember {
  std::string_view user_id;
  uint32_t role = 0;
};

// Field numbers of GroupState and SocialList, which are written entry by entry.
inline constexpr uint32_t kGroupStateGroup = 1, kGroupStateAccess = 2, kGroupStateVersion = 3,
                          kGroupStateMembers = 4, kGroupStateInvited = 5, kGroupStateMore = 6;
inline constexpr uint32_t kSocialListSharing = 1, kSocialListFriends = 2, kSocialListBlocked = 3,
                          kSocialListShared = 4, kSocialListMore = 5;

bool decode(base::Bytes bytes, GroupRequest* out);
bool decode(base::Bytes bytes, GroupEvent* out);
void encode(PbWriter& out, const GroupRequest& m);
void encode(PbWriter& out, const GroupEvent& m);
void encode(PbWriter& out, const GroupMember& m);

// Calls visit(field, std::string_view) for each id of a SocialUpdate, by field number; `sharing`
// is set. False when the bytes are no such message.
template <class Visit>
bool decode_social_update(base::Bytes bytes, uint32_t* sharing, Visit&& visit) {
  PbReader in(bytes);
  while (in.next()) {
    if (in.field() == 1) {
      if (!in.is(WireType::kVarint)) return false;
      *sharing = static_cast<uint32_t>(in.varint());
    } else if (in.field() <= 7) {
      if (!in.is(WireType::kBytes) || !is_utf8(in.text())) return false;
      visit(in.field(), in.text());
    }
  }
  return !in.failed();
}

}  // namespace tidegate::wire
