// SPDX-License-Identifier: Apache-2.0
#include "wire/schema.h"

#include <algorithm>

namespace tidegate::wire {
namespace {

using enum FieldKind;

constexpr FieldSchema field(uint32_t number, FieldKind kind, std::string_view name,
                            FieldLabel label = FieldLabel::kPlain) {
  return {number, kind, label, name, JsonName(name)};
}
constexpr FieldSchema list(uint32_t number, FieldKind kind, std::string_view name) {
  return field(number, kind, name, FieldLabel::kRepeated);
}
constexpr FieldSchema field(uint32_t number, const EnumSchema& e, std::string_view name,
                            FieldLabel label = FieldLabel::kPlain) {
  return {number, kEnum, label, name, JsonName(name), nullptr, &e};
}
constexpr FieldSchema list(uint32_t number, const EnumSchema& e, std::string_view name) {
  return field(number, e, name, FieldLabel::kRepeated);
}
constexpr FieldSchema field(uint32_t number, const MessageSchema& m, std::string_view name,
                            FieldLabel label = FieldLabel::kPlain) {
  return {number, kMessage, label, name, JsonName(name), &m, nullptr};
}
constexpr FieldSchema list(uint32_t number, const MessageSchema& m, std::string_view name) {
  return field(number, m, name, FieldLabel::kRepeated);
}

// --- enums ---

constexpr EnumValue kCompressionValues[] = {{0, "COMPRESSION_NONE"},
                                            {1, "COMPRESSION_ZLIB"},
                                            {2, "COMPRESSION_LZ4"},
                                            {3, "COMPRESSION_ZSTD"}};
constexpr EnumSchema kCompression{"Compression", kCompressionValues};
constexpr EnumValue kStateEncodingValues[] = {{0, "STATE_ENCODING_PROTOBUF"},
                                              {1, "STATE_ENCODING_PACKED"}};
constexpr EnumSchema kStateEncoding{"StateEncoding", kStateEncodingValues};
constexpr EnumValue kPlayerStatusValues[] = {
    {0, "PLAYER_STATUS_UNKNOWN"}, {1, "PLAYER_STATUS_ONLINE"},    {2, "PLAYER_STATUS_AWAY"},
    {3, "PLAYER_STATUS_BUSY"},    {4, "PLAYER_STATUS_INVISIBLE"}, {5, "PLAYER_STATUS_OFFLINE"}};
constexpr EnumSchema kPlayerStatus{"PlayerStatus", kPlayerStatusValues};
constexpr EnumValue kStateScopeValues[] = {{0, "STATE_SCOPE_ZONE"},
                                           {1, "STATE_SCOPE_PLACE"},
                                           {2, "STATE_SCOPE_SESSION"},
                                           {3, "STATE_SCOPE_VIEW"}};
constexpr EnumSchema kStateScope{"StateScope", kStateScopeValues};
constexpr EnumValue kStateOperationValues[] = {
    {0, "STATE_OPERATION_SET"}, {1, "STATE_OPERATION_CLAIM"}, {2, "STATE_OPERATION_RELEASE"}};
constexpr EnumSchema kStateOperation{"StateOperation", kStateOperationValues};
constexpr EnumValue kStateReasonValues[] = {
    {0, "STATE_REASON_APPLIED"}, {1, "STATE_REASON_UNKNOWN"}, {2, "STATE_REASON_SERVER_ONLY"},
    {3, "STATE_REASON_STALE"},   {4, "STATE_REASON_TAKEN"},   {5, "STATE_REASON_NOT_OWNER"},
    {6, "STATE_REASON_TOO_FAR"}, {7, "STATE_REASON_INVALID"}, {8, "STATE_REASON_REFUSED"},
    {9, "STATE_REASON_BUSY"}};
constexpr EnumSchema kStateReason{"StateReason", kStateReasonValues};
constexpr EnumValue kGroupOperationValues[] = {
    {0, "GROUP_OPERATION_UNSPECIFIED"}, {1, "GROUP_OPERATION_CREATE"},
    {2, "GROUP_OPERATION_JOIN"},        {3, "GROUP_OPERATION_LEAVE"},
    {4, "GROUP_OPERATION_INVITE"},      {5, "GROUP_OPERATION_DECLINE"},
    {6, "GROUP_OPERATION_KICK"},        {7, "GROUP_OPERATION_SET_ROLE"},
    {8, "GROUP_OPERATION_SET_ACCESS"},  {9, "GROUP_OPERATION_DISBAND"},
    {10, "GROUP_OPERATION_LIST"}};
constexpr EnumSchema kGroupOperation{"GroupOperation", kGroupOperationValues};
constexpr EnumValue kGroupRoleValues[] = {{0, "GROUP_ROLE_NONE"},
                                          {1, "GROUP_ROLE_MEMBER"},
                                          {2, "GROUP_ROLE_OFFICER"},
                                          {3, "GROUP_ROLE_LEADER"}};
constexpr EnumSchema kGroupRole{"GroupRole", kGroupRoleValues};
constexpr EnumValue kGroupAccessValues[] = {{0, "GROUP_ACCESS_INVITED"}, {1, "GROUP_ACCESS_OPEN"}};
constexpr EnumSchema kGroupAccess{"GroupAccess", kGroupAccessValues};
constexpr EnumValue kGroupChangeValues[] = {
    {0, "GROUP_CHANGE_UNSPECIFIED"}, {1, "GROUP_CHANGE_CREATED"}, {2, "GROUP_CHANGE_JOINED"},
    {3, "GROUP_CHANGE_LEFT"},        {4, "GROUP_CHANGE_KICKED"},  {5, "GROUP_CHANGE_INVITED"},
    {6, "GROUP_CHANGE_DECLINED"},    {7, "GROUP_CHANGE_ROLE"},    {8, "GROUP_CHANGE_ACCESS"},
    {9, "GROUP_CHANGE_DISBANDED"}};
constexpr EnumSchema kGroupChange{"GroupChange", kGroupChangeValues};
constexpr EnumValue kSharingValues[] = {{0, "SHARING_UNCHANGED"},
                                        {1, "SHARING_EVERYONE"},
                                        {2, "SHARING_FRIENDS"},
                                        {3, "SHARING_SELECTED"},
                                        {4, "SHARING_NOBODY"}};
constexpr EnumSchema kSharing{"Sharing", kSharingValues};
constexpr const EnumSchema* kEnums[] = {
    &kCompression, &kStateEncoding, &kPlayerStatus, &kGroupOperation, &kGroupRole,  &kGroupAccess,
    &kGroupChange, &kSharing,       &kStateScope,   &kStateOperation, &kStateReason};

// --- session.proto ---

constexpr FieldSchema kConnectionEstablishedFields[] = {
    field(1, kString, "session_id"), field(2, kString, "server_version"),
    field(3, kInt64, "server_time"), field(4, kUint32, "heartbeat_interval"),
    field(5, kTextMap, "features"),  field(6, kString, "resume_token"),
    field(7, kUint32, "tick_rate"),  field(8, kUint32, "server_tick"),
};
constexpr MessageSchema kConnectionEstablished{"ConnectionEstablished",
                                               kConnectionEstablishedFields};

constexpr FieldSchema kAuthenticationResultFields[] = {
    field(1, kBool, "success"),        field(2, kString, "user_id"),
    field(3, kString, "character_id"), field(4, kString, "error_message"),
    list(5, kString, "permissions"),
};
constexpr MessageSchema kAuthenticationResult{"AuthenticationResult", kAuthenticationResultFields};

constexpr FieldSchema kErrorNotificationFields[] = {
    field(1, kUint32, "code"), field(2, kString, "message"),    field(3, kString, "details"),
    field(4, kBool, "fatal"),  field(5, kString, "request_id"),
};
constexpr MessageSchema kErrorNotification{"ErrorNotification", kErrorNotificationFields};

constexpr FieldSchema kResumeResultFields[] = {
    field(1, kBool, "resumed"),
    field(2, kString, "reason"),
    field(3, kUint32, "replayed"),
    field(4, kUint64, "last_client_sequence"),
};
constexpr MessageSchema kResumeResult{"ResumeResult", kResumeResultFields};

constexpr FieldSchema kTokenRefreshFields[] = {field(1, kString, "token")};
constexpr MessageSchema kTokenRefresh{"TokenRefresh", kTokenRefreshFields};

constexpr FieldSchema kTokenStatusFields[] = {
    field(1, kBool, "accepted"),
    field(2, kInt64, "expires_at"),
    field(3, kString, "reason"),
    list(4, kString, "permissions"),
};
constexpr MessageSchema kTokenStatus{"TokenStatus", kTokenStatusFields};

constexpr FieldSchema kDisconnectFields[] = {
    field(1, kUint32, "code"),
    field(2, kString, "reason"),
    field(3, kString, "reconnect_url"),
    field(4, kUint32, "retry_after_ms"),
};
constexpr MessageSchema kDisconnect{"Disconnect", kDisconnectFields};

constexpr FieldSchema kClientHelloFields[] = {
    field(1, kString, "client_version"),       field(2, kStateEncoding, "state_encoding"),
    field(3, kFloat, "view_distance"),         list(4, kCompression, "compression"),
    field(5, kUint32, "max_bytes_per_second"), field(6, kUint32, "zstd_dictionary"),
};
constexpr MessageSchema kClientHello{"ClientHello", kClientHelloFields};

constexpr FieldSchema kTimeSyncFields[] = {
    field(1, kInt64, "server_time"),
    field(2, kUint32, "server_tick"),
    field(3, kInt64, "client_time"),
    field(4, kUint32, "latency_ms"),
};
constexpr MessageSchema kTimeSync{"TimeSync", kTimeSyncFields};

constexpr FieldSchema kSubscribeFields[] = {
    field(1, kString, "topic"),
    field(2, kUint64, "replay_from"),
};
constexpr MessageSchema kSubscribe{"Subscribe", kSubscribeFields};

constexpr FieldSchema kUnsubscribeFields[] = {field(1, kString, "topic")};
constexpr MessageSchema kUnsubscribe{"Unsubscribe", kUnsubscribeFields};

constexpr FieldSchema kPublishFields[] = {
    field(1, kString, "topic"),
    field(2, kBytes, "data"),
    field(3, kUint32, "event_type"),
};
constexpr MessageSchema kPublish{"Publish", kPublishFields};

constexpr FieldSchema kEventFields[] = {
    field(1, kString, "topic"),       field(2, kUint64, "offset"),
    field(3, kUint32, "event_type"),  field(4, kUint32, "version"),
    field(5, kString, "source_user"), field(6, kBytes, "data"),
    field(7, kInt64, "timestamp"),
};
constexpr MessageSchema kEvent{"Event", kEventFields};

constexpr FieldSchema kReplyFields[] = {
    field(1, kUint64, "request_sequence"),
    field(2, kUint32, "code"),
    field(3, kString, "message"),
};
constexpr MessageSchema kReply{"Reply", kReplyFields};

// --- presence.proto ---

constexpr FieldSchema kPlayerStatusChangeFields[] = {
    field(1, kString, "player_id"),
    field(2, kPlayerStatus, "old_status"),
    field(3, kPlayerStatus, "new_status"),
    field(4, kString, "reason"),
};
constexpr MessageSchema kPlayerStatusChange{"PlayerStatusChange", kPlayerStatusChangeFields};

constexpr FieldSchema kPresenceUpdateFields[] = {
    field(1, kString, "user_id"),       field(2, kPlayerStatus, "status"),
    field(3, kString, "custom_status"), field(4, kInt64, "last_seen"),
    field(5, kString, "zone_id"),       field(6, kString, "region"),
};
constexpr MessageSchema kPresenceUpdate{"PresenceUpdate", kPresenceUpdateFields};

constexpr FieldSchema kFriendStatusFields[] = {list(1, kPresenceUpdate, "friends")};
constexpr MessageSchema kFriendStatus{"FriendStatus", kFriendStatusFields};

constexpr FieldSchema kPresenceSubscribeFields[] = {list(1, kString, "user_ids")};
constexpr MessageSchema kPresenceSubscribe{"PresenceSubscribe", kPresenceSubscribeFields};

// --- social.proto ---

constexpr FieldSchema kGroupRequestFields[] = {
    field(1, kGroupOperation, "operation"), field(2, kString, "group"),
    field(3, kString, "user_id"),           field(4, kGroupRole, "role"),
    field(5, kGroupAccess, "access"),
};
constexpr MessageSchema kGroupRequest{"GroupRequest", kGroupRequestFields};

constexpr FieldSchema kGroupEventFields[] = {
    field(1, kString, "group"),   field(2, kGroupChange, "change"),
    field(3, kString, "user_id"), field(4, kString, "by_user"),
    field(5, kGroupRole, "role"), field(6, kGroupAccess, "access"),
    field(7, kUint64, "version"), field(8, kUint64, "offset"),
};
constexpr MessageSchema kGroupEvent{"GroupEvent", kGroupEventFields};

constexpr FieldSchema kGroupMemberFields[] = {field(1, kString, "user_id"),
                                              field(2, kGroupRole, "role")};
constexpr MessageSchema kGroupMember{"GroupMember", kGroupMemberFields};

constexpr FieldSchema kGroupStateFields[] = {
    field(1, kString, "group"),   field(2, kGroupAccess, "access"),
    field(3, kUint64, "version"), list(4, kGroupMember, "members"),
    list(5, kString, "invited"),  field(6, kBool, "more"),
};
constexpr MessageSchema kGroupState{"GroupState", kGroupStateFields};

constexpr FieldSchema kSocialUpdateFields[] = {
    field(1, kSharing, "sharing"),      list(2, kString, "add_friends"),
    list(3, kString, "remove_friends"), list(4, kString, "block"),
    list(5, kString, "unblock"),        list(6, kString, "share_with"),
    list(7, kString, "unshare"),
};
constexpr MessageSchema kSocialUpdate{"SocialUpdate", kSocialUpdateFields};

constexpr FieldSchema kSocialListFields[] = {
    field(1, kSharing, "sharing"),   list(2, kString, "friends"), list(3, kString, "blocked"),
    list(4, kString, "shared_with"), field(5, kBool, "more"),
};
constexpr MessageSchema kSocialList{"SocialList", kSocialListFields};

// --- world.proto ---

constexpr FieldSchema kVector3Fields[] = {field(1, kFloat, "x"), field(2, kFloat, "y"),
                                          field(3, kFloat, "z")};
constexpr MessageSchema kVector3{"Vector3", kVector3Fields};
constexpr FieldSchema kQuaternionFields[] = {field(1, kFloat, "x"), field(2, kFloat, "y"),
                                             field(3, kFloat, "z"), field(4, kFloat, "w")};
constexpr MessageSchema kQuaternion{"Quaternion", kQuaternionFields};

constexpr FieldSchema kPlayerMovementFields[] = {
    field(1, kVector3, "position"),   field(2, kQuaternion, "rotation"),
    field(3, kVector3, "velocity"),   field(4, kUint32, "movement_flags"),
    field(5, kUint32, "client_tick"), field(6, kInt64, "client_time"),
};
constexpr MessageSchema kPlayerMovement{"PlayerMovement", kPlayerMovementFields};

constexpr FieldSchema kPlayerSteerFields[] = {
    field(1, kUint32, "client_tick"), field(2, kBytes, "samples"), field(3, kUint32, "wait")};
constexpr MessageSchema kPlayerSteer{"PlayerSteer", kPlayerSteerFields};

constexpr FieldSchema kMoveAckFields[] = {
    field(1, kUint32, "client_tick"), field(2, kUint32, "server_tick"),
    field(3, kVector3, "position"),   field(4, kVector3, "velocity"),
    field(5, kBool, "corrected"),     field(6, kUint32, "reason"),
    field(7, kUint32, "buffered"),
};
constexpr MessageSchema kMoveAck{"MoveAck", kMoveAckFields};

constexpr FieldSchema kPlayerActionFields[] = {
    field(1, kString, "action_id"),
    field(2, kString, "target_id"),
    field(3, kTextMap, "parameters"),
    field(4, kUint32, "client_tick"),
};
constexpr MessageSchema kPlayerAction{"PlayerAction", kPlayerActionFields};

constexpr FieldSchema kPlayerStateUpdateFields[] = {
    field(1, kString, "player_id"),    field(2, kVector3, "position"),
    field(3, kQuaternion, "rotation"), field(4, kVector3, "velocity"),
    field(5, kUint32, "state_flags"),  field(6, kInt64, "timestamp"),
    field(7, kUint32, "tick"),
};
constexpr MessageSchema kPlayerStateUpdate{"PlayerStateUpdate", kPlayerStateUpdateFields};

constexpr FieldSchema kPlayerStateDeltaFields[] = {
    field(1, kString, "player_id"),
    field(2, kUint32, "changed_fields"),
    field(3, kVector3, "position", FieldLabel::kOptional),
    field(4, kQuaternion, "rotation", FieldLabel::kOptional),
    field(5, kVector3, "velocity", FieldLabel::kOptional),
    field(6, kUint32, "state_flags", FieldLabel::kOptional),
    field(7, kInt64, "timestamp"),
    field(8, kUint32, "base_tick"),
    field(9, kUint32, "delta_tick"),
};
constexpr MessageSchema kPlayerStateDelta{"PlayerStateDelta", kPlayerStateDeltaFields};

constexpr FieldSchema kEnvironmentStateFields[] = {
    field(1, kFloat, "time_of_day"),
    field(2, kString, "weather"),
    field(3, kTextMap, "properties"),
};
constexpr MessageSchema kEnvironmentState{"EnvironmentState", kEnvironmentStateFields};

constexpr FieldSchema kWorldStateSnapshotFields[] = {
    field(1, kUint32, "tick"),
    field(2, kInt64, "timestamp"),
    field(3, kString, "zone_id"),
    list(4, kPlayerStateUpdate, "players"),
    list(5, kPlayerStateUpdate, "npcs"),
    list(6, kPlayerStateUpdate, "objects"),
    field(7, kEnvironmentState, "environment"),
};
constexpr MessageSchema kWorldStateSnapshot{"WorldStateSnapshot", kWorldStateSnapshotFields};

constexpr FieldSchema kEntitySpawnFields[] = {
    field(1, kPlayerStateUpdate, "state"),
    field(2, kUint32, "kind"),
    field(3, kBytes, "custom"),
};
constexpr MessageSchema kEntitySpawn{"EntitySpawn", kEntitySpawnFields};

constexpr FieldSchema kEntityUpdateFields[] = {
    field(1, kPlayerStateDelta, "delta"),
    field(2, kBytes, "custom"),
};
constexpr MessageSchema kEntityUpdate{"EntityUpdate", kEntityUpdateFields};

constexpr FieldSchema kZoneUpdateFields[] = {
    field(1, kString, "zone_id"),
    list(2, kEntitySpawn, "spawns"),
    list(3, kString, "despawns"),
    list(4, kEntityUpdate, "updates"),
    field(5, kEnvironmentState, "environment"),
};
constexpr MessageSchema kZoneUpdate{"ZoneUpdate", kZoneUpdateFields};

constexpr FieldSchema kInterestUpdateFields[] = {
    list(1, kString, "entered_view"),
    list(2, kString, "exited_view"),
    field(3, kFloat, "view_distance"),
};
constexpr MessageSchema kInterestUpdate{"InterestUpdate", kInterestUpdateFields};

constexpr FieldSchema kCellReportFields[] = {
    field(1, kSint32, "cell_x"),    field(2, kSint32, "cell_z"), field(3, kUint32, "epoch"),
    field(4, kUint32, "frame"),     field(5, kUint32, "tick"),   field(6, kFixed64, "checksum"),
    field(7, kFixed64, "expected"), field(8, kBytes, "members"),
};
constexpr MessageSchema kCellReport{"CellReport", kCellReportFields};

// --- state.proto ---

constexpr FieldSchema kStateEntryFields[] = {
    field(1, kString, "key"),           field(2, kBytes, "value"),  field(3, kUint64, "version"),
    field(4, kStateScope, "scope"),     field(5, kString, "owner"), field(6, kVector3, "position"),
    field(7, kUint32, "expires_in_ms"), field(8, kBool, "removed"),
};
constexpr MessageSchema kStateEntry{"StateEntry", kStateEntryFields};

constexpr FieldSchema kStateUpdateFields[] = {
    field(1, kUint32, "tick"),
    field(2, kUint32, "complete"),
    list(3, kStateEntry, "entries"),
};
constexpr MessageSchema kStateUpdate{"StateUpdate", kStateUpdateFields};

constexpr FieldSchema kStateChangeFields[] = {
    field(1, kString, "key"),
    field(2, kBytes, "value"),
    field(3, kUint64, "base_version"),
    field(4, kStateScope, "scope"),
    field(5, kStateOperation, "operation"),
    field(6, kUint32, "request"),
};
constexpr MessageSchema kStateChange{"StateChange", kStateChangeFields};

constexpr FieldSchema kStateResultFields[] = {
    field(1, kUint32, "request"),   field(2, kString, "key"),
    field(3, kStateScope, "scope"), field(4, kStateReason, "reason"),
    field(5, kUint64, "version"),   field(6, kStateEntry, "current"),
};
constexpr MessageSchema kStateResult{"StateResult", kStateResultFields};

constexpr const MessageSchema* kMessages[] = {
    &kConnectionEstablished,
    &kAuthenticationResult,
    &kErrorNotification,
    &kResumeResult,
    &kTokenRefresh,
    &kTokenStatus,
    &kDisconnect,
    &kClientHello,
    &kTimeSync,
    &kSubscribe,
    &kUnsubscribe,
    &kPublish,
    &kEvent,
    &kReply,
    &kPlayerStatusChange,
    &kPresenceUpdate,
    &kFriendStatus,
    &kPresenceSubscribe,
    &kGroupRequest,
    &kGroupEvent,
    &kGroupMember,
    &kGroupState,
    &kSocialUpdate,
    &kSocialList,
    &kVector3,
    &kQuaternion,
    &kPlayerMovement,
    &kPlayerSteer,
    &kMoveAck,
    &kPlayerAction,
    &kPlayerStateUpdate,
    &kPlayerStateDelta,
    &kEnvironmentState,
    &kWorldStateSnapshot,
    &kEntitySpawn,
    &kEntityUpdate,
    &kZoneUpdate,
    &kInterestUpdate,
    &kCellReport,
    &kStateEntry,
    &kStateUpdate,
    &kStateChange,
    &kStateResult,
};

// --- payloads of the message types ---

struct Payload {
  MessageType type;
  const MessageSchema* message = nullptr;
  uint32_t answer = 0;
};
constexpr uint32_t answered_by(MessageType type) { return static_cast<uint32_t>(type); }

// A type that is not here carries opaque bytes and is not answered.
constexpr Payload kPayloads[] = {
    {MessageType::kHeartbeat, nullptr, answered_by(MessageType::kPong)},
    {MessageType::kError, &kErrorNotification},
    {MessageType::kConnectionEstablished, &kConnectionEstablished},
    {MessageType::kAuthenticationResult, &kAuthenticationResult},
    {MessageType::kResumeResult, &kResumeResult},
    {MessageType::kTokenRefresh, &kTokenRefresh},
    {MessageType::kTokenStatus, &kTokenStatus},
    {MessageType::kDisconnect, &kDisconnect},
    {MessageType::kClientHello, &kClientHello},
    {MessageType::kSubscribe, &kSubscribe, answered_by(MessageType::kReply)},
    {MessageType::kUnsubscribe, &kUnsubscribe, answered_by(MessageType::kReply)},
    {MessageType::kPublish, &kPublish, answered_by(MessageType::kReply)},
    {MessageType::kEvent, &kEvent},
    {MessageType::kReply, &kReply},
    {MessageType::kPlayerMove, &kPlayerMovement},
    {MessageType::kPlayerSteer, &kPlayerSteer},
    {MessageType::kPlayerAction, &kPlayerAction},
    {MessageType::kPlayerState, &kPlayerStateUpdate},
    {MessageType::kPlayerStatusChange, &kPlayerStatusChange},
    {MessageType::kMoveAck, &kMoveAck},
    {MessageType::kWorldState, &kWorldStateSnapshot},
    {MessageType::kZoneUpdate, &kZoneUpdate},
    {MessageType::kTimeSync, &kTimeSync, answered_by(MessageType::kTimeSync)},
    {MessageType::kInterestUpdate, &kInterestUpdate},
    {MessageType::kCellReport, &kCellReport},
    {MessageType::kStateUpdate, &kStateUpdate},
    {MessageType::kStateChange, &kStateChange},
    {MessageType::kStateResult, &kStateResult},
    {MessageType::kPresenceUpdate, &kPresenceUpdate},
    {MessageType::kFriendStatus, &kFriendStatus},
    {MessageType::kPresenceSubscribe, &kPresenceSubscribe},
    {MessageType::kSocialUpdate, &kSocialUpdate, answered_by(MessageType::kReply)},
    {MessageType::kSocialList, &kSocialList},
    {MessageType::kGroupRequest, &kGroupRequest, answered_by(MessageType::kReply)},
    {MessageType::kGroupEvent, &kGroupEvent},
    {MessageType::kGroupState, &kGroupState},
};

constexpr PayloadSchema row(MessageType type, std::string_view name) {
  for (const Payload& p : kPayloads) {
    if (p.type == type) return {type, p.message, p.answer, JsonName(name)};
  }
  return {type, nullptr, 0, JsonName(name)};
}

#define X(id, number, name) row(MessageType::id, name),
constexpr PayloadSchema kRows[] = {TIDEGATE_MESSAGE_TYPES(X)};
#undef X

constexpr bool tables_are_sound() {
  for (const MessageSchema* m : kMessages) {
    uint32_t last = 0;
    if (m->fields.size() > kFieldsMax) return false;
    for (const FieldSchema& f : m->fields) {
      if (f.number <= last) return false;
      last = f.number;
    }
  }
  uint32_t last = 0;
  for (const PayloadSchema& r : kRows) {
    if (static_cast<uint32_t>(r.type) <= last) return false;  // found by bisection
    last = static_cast<uint32_t>(r.type);
  }
  return true;
}
static_assert(tables_are_sound());

}  // namespace

std::string_view EnumSchema::name_of(int32_t number) const {
  for (const EnumValue& v : values) {
    if (v.number == number) return v.name;
  }
  return {};
}

bool EnumSchema::number_of(std::string_view wanted, int32_t* out) const {
  for (const EnumValue& v : values) {
    if (v.name == wanted) {
      *out = v.number;
      return true;
    }
  }
  return false;
}

uint32_t MessageSchema::index_of(uint32_t number) const {
  // Numbers have no holes in nearly every message.
  if (number - 1 < fields.size() && fields[number - 1].number == number) return number - 1;
  for (uint32_t i = 0; i < fields.size(); ++i) {
    if (fields[i].number == number) return i;
  }
  return kFieldsMax;
}

const FieldSchema* MessageSchema::find(std::string_view wanted) const {
  for (const FieldSchema& f : fields) {
    if (f.json.text() == wanted || f.name == wanted) return &f;
  }
  return nullptr;
}

const PayloadSchema* payload_of_type(uint32_t type) {
  const auto* const at = std::lower_bound(
      std::begin(kRows), std::end(kRows), type,
      [](const PayloadSchema& r, uint32_t t) { return static_cast<uint32_t>(r.type) < t; });
  return at != std::end(kRows) && static_cast<uint32_t>(at->type) == type ? at : nullptr;
}

const PayloadSchema* payload_of_method(std::string_view method) {
  for (const PayloadSchema& r : kRows) {
    if (r.method.text() == method) return &r;
  }
  return nullptr;
}

std::span<const PayloadSchema> payload_schemas() { return kRows; }
std::span<const MessageSchema* const> message_schemas() { return kMessages; }
std::span<const EnumSchema* const> enum_schemas() { return kEnums; }

}  // namespace tidegate::wire
