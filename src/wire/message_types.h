// SPDX-License-Identifier: Apache-2.0
// Numbers of protocol.md: message types and error codes, each in one table.
// Thread: any. Owner: none. Limits: none.
#pragma once

#include <cstdint>

// enumerator, number, name
#define TIDEGATE_MESSAGE_TYPES(X)                        \
  X(kHeartbeat, 1, "HEARTBEAT")                          \
  X(kPong, 2, "PONG")                                    \
  X(kAck, 3, "ACK")                                      \
  X(kError, 4, "ERROR")                                  \
  X(kConnectionEstablished, 5, "CONNECTION_ESTABLISHED") \
  X(kAuthenticationResult, 6, "AUTHENTICATION_RESULT")   \
  X(kResumeResult, 7, "RESUME_RESULT")                   \
  X(kDisconnect, 8, "DISCONNECT")                        \
  X(kClientHello, 9, "CLIENT_HELLO")                     \
  X(kSubscribe, 10, "SUBSCRIBE")                         \
  X(kUnsubscribe, 11, "UNSUBSCRIBE")                     \
  X(kPublish, 12, "PUBLISH")                             \
  X(kEvent, 13, "EVENT")                                 \
  X(kReply, 14, "REPLY")                                 \
  X(kTokenRefresh, 15, "TOKEN_REFRESH")                  \
  X(kTokenStatus, 16, "TOKEN_STATUS")                    \
  X(kPlayerMove, 100, "PLAYER_MOVE")                     \
  X(kPlayerAction, 101, "PLAYER_ACTION")                 \
  X(kPlayerState, 102, "PLAYER_STATE")                   \
  X(kPlayerStatusChange, 103, "PLAYER_STATUS_CHANGE")    \
  X(kMoveAck, 104, "MOVE_ACK")                           \
  X(kPlayerSteer, 105, "PLAYER_STEER")                   \
  X(kWorldState, 200, "WORLD_STATE")                     \
  X(kZoneUpdate, 201, "ZONE_UPDATE")                     \
  X(kTimeSync, 202, "TIME_SYNC")                         \
  X(kInterestUpdate, 203, "INTEREST_UPDATE")             \
  X(kCellFrame, 204, "CELL_FRAME")                       \
  X(kCellReport, 205, "CELL_REPORT")                     \
  X(kStateUpdate, 206, "STATE_UPDATE")                   \
  X(kStateChange, 207, "STATE_CHANGE")                   \
  X(kStateResult, 208, "STATE_RESULT")                   \
  X(kPresenceUpdate, 300, "PRESENCE_UPDATE")             \
  X(kFriendStatus, 301, "FRIEND_STATUS")                 \
  X(kPresenceSubscribe, 302, "PRESENCE_SUBSCRIBE")       \
  X(kSocialUpdate, 303, "SOCIAL_UPDATE")                 \
  X(kSocialList, 304, "SOCIAL_LIST")                     \
  X(kGroupRequest, 310, "GROUP_REQUEST")                 \
  X(kGroupEvent, 311, "GROUP_EVENT")                     \
  X(kGroupState, 312, "GROUP_STATE")                     \
  X(kCombatAction, 400, "COMBAT_ACTION")                 \
  X(kInventoryUpdate, 401, "INVENTORY_UPDATE")           \
  X(kQuestProgress, 402, "QUEST_PROGRESS")               \
  X(kChatMessage, 403, "CHAT_MESSAGE")                   \
  X(kTradeRequest, 404, "TRADE_REQUEST")                 \
  X(kPartyInvite, 405, "PARTY_INVITE")                   \
  X(kGuildEvent, 406, "GUILD_EVENT")

// enumerator, number, text
#define TIDEGATE_ERROR_CODES(X)                                 \
  X(kErrorMalformedFrame, 4000, "malformed frame")              \
  X(kErrorUnsupportedVersion, 4001, "unsupported version")      \
  X(kErrorMalformedMessage, 4002, "malformed message")          \
  X(kErrorInvalidPayload, 4003, "payload invalid for its type") \
  X(kErrorUnknownType, 4004, "unknown type")                    \
  X(kErrorNotPermitted, 4005, "not permitted")                  \
  X(kErrorRateLimited, 4006, "rate limited")                    \
  X(kErrorTooLarge, 4007, "too large")                          \
  X(kErrorHandlerTimeout, 4008, "handler timeout")              \
  X(kErrorHandlerFailed, 4009, "handler failed")                \
  X(kErrorSpeed, 4010, "speed violation")                       \
  X(kErrorBounds, 4011, "position out of bounds")               \
  X(kErrorTopic, 4012, "topic unknown or too many topics")      \
  X(kErrorSessionExpired, 4013, "session expired")              \
  X(kErrorResumeToken, 4014, "resume token invalid")            \
  X(kErrorReplaced, 4015, "replaced by another connection")     \
  X(kErrorDraining, 4016, "server draining")                    \
  X(kErrorDecompression, 4017, "decompression failed")

namespace tidegate::wire {

#define X(id, number, name) id = number,
enum class MessageType : uint32_t { TIDEGATE_MESSAGE_TYPES(X) };
enum ErrorCode : uint16_t { TIDEGATE_ERROR_CODES(X) };
#undef X

inline constexpr uint32_t kErrorCodeFirst = 4000;
inline constexpr uint32_t kErrorCodeCount = 18;

// nullptr for numbers that are not in the table.
const char* name_of_type(uint32_t type);
const char* text_of_error(uint32_t code);
// Position of a type in the table, for metrics; kTypeCount for numbers that are not in it.
uint32_t index_of_type(uint32_t type);
const char* name_of_type_index(uint32_t index);
extern const uint32_t kTypeCount;

}  // namespace tidegate::wire
