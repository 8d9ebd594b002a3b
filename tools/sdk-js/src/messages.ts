// SPDX-License-Identifier: Apache-2.0
// Every message, number and code of the protocol, once. A name is both the codec and the type of
// its value: `Vector3.decode(bytes)` gives a `Vector3`. Field names are the schema's in camel case.
// Units: metres, metres a second, right-handed, y up; times are Unix milliseconds.
import {
  bool, bytes, define, fixed64, float, i64, list, map, optional, sint32, sub, text, u32, u64, type Message, type Of,
} from './pb.js';

export const MessageType = {
  HEARTBEAT: 1, PONG: 2, ACK: 3, ERROR: 4, CONNECTION_ESTABLISHED: 5, AUTHENTICATION_RESULT: 6,
  RESUME_RESULT: 7, DISCONNECT: 8, CLIENT_HELLO: 9, SUBSCRIBE: 10, UNSUBSCRIBE: 11, PUBLISH: 12,
  EVENT: 13, REPLY: 14, TOKEN_REFRESH: 15, TOKEN_STATUS: 16,
  PLAYER_MOVE: 100, PLAYER_ACTION: 101, PLAYER_STATE: 102, PLAYER_STATUS_CHANGE: 103, MOVE_ACK: 104, PLAYER_STEER: 105,
  WORLD_STATE: 200, ZONE_UPDATE: 201, TIME_SYNC: 202, INTEREST_UPDATE: 203, CELL_FRAME: 204,
  CELL_REPORT: 205, STATE_UPDATE: 206, STATE_CHANGE: 207, STATE_RESULT: 208,
  PRESENCE_UPDATE: 300, FRIEND_STATUS: 301, PRESENCE_SUBSCRIBE: 302, SOCIAL_UPDATE: 303, SOCIAL_LIST: 304,
  GROUP_REQUEST: 310, GROUP_EVENT: 311, GROUP_STATE: 312,
  COMBAT_ACTION: 400, INVENTORY_UPDATE: 401, QUEST_PROGRESS: 402, CHAT_MESSAGE: 403,
  TRADE_REQUEST: 404, PARTY_INVITE: 405, GUILD_EVENT: 406,
} as const;
const NAMES = new Map<number, string>(Object.entries(MessageType).map(([name, n]) => [n, name]));
/** Name of a message type; the number as text when it is none of the protocol's. */
export const nameOfType = (type: number): string => NAMES.get(type) ?? String(type);

/** Codes of ERROR, of MOVE_ACK's reason and of DISCONNECT. */
export const ErrorCode = {
  MALFORMED_FRAME: 4000, UNSUPPORTED_VERSION: 4001, MALFORMED_MESSAGE: 4002, INVALID_PAYLOAD: 4003,
  UNKNOWN_TYPE: 4004, NOT_PERMITTED: 4005, RATE_LIMITED: 4006, TOO_LARGE: 4007, HANDLER_TIMEOUT: 4008,
  HANDLER_FAILED: 4009, SPEED: 4010, BOUNDS: 4011, TOPIC: 4012, SESSION_EXPIRED: 4013,
  RESUME_TOKEN: 4014, REPLACED: 4015, DRAINING: 4016, DECOMPRESSION: 4017,
} as const;
export const CloseCode = {
  NORMAL: 1000, GOING_AWAY: 1001, PROTOCOL_ERROR: 1002, WRONG_DATA: 1003, NOT_UTF8: 1007, POLICY: 1008,
  TOO_BIG: 1009, INTERNAL: 1011, TRY_LATER: 1013, REPLACED: 4015,
} as const;

export const StateEncoding = { PROTOBUF: 0, PACKED: 1 } as const;
export const Compression = { NONE: 0, ZLIB: 1, LZ4: 2, ZSTD: 3 } as const;
export const PlayerStatus = { UNKNOWN: 0, ONLINE: 1, AWAY: 2, BUSY: 3, INVISIBLE: 4, OFFLINE: 5 } as const;
export const StateScope = { ZONE: 0, PLACE: 1, SESSION: 2, VIEW: 3 } as const;
export const StateOperation = { SET: 0, CLAIM: 1, RELEASE: 2 } as const;
/** Why a STATE_CHANGE was refused. */
export const StateReason = {
  APPLIED: 0, UNKNOWN: 1, SERVER_ONLY: 2, STALE: 3, TAKEN: 4, NOT_OWNER: 5, TOO_FAR: 6, INVALID: 7, REFUSED: 8, BUSY: 9,
} as const;
export const GroupOperation = {
  CREATE: 1, JOIN: 2, LEAVE: 3, INVITE: 4, DECLINE: 5, KICK: 6, SET_ROLE: 7, SET_ACCESS: 8, DISBAND: 9, LIST: 10,
} as const;
export const GroupRole = { NONE: 0, MEMBER: 1, OFFICER: 2, LEADER: 3 } as const;
export const GroupAccess = { INVITED: 0, OPEN: 1 } as const;
export const GroupChange = {
  CREATED: 1, JOINED: 2, LEFT: 3, KICKED: 4, INVITED: 5, DECLINED: 6, ROLE: 7, ACCESS: 8, DISBANDED: 9,
} as const;
/** Who sees the own presence. */
export const Sharing = { UNCHANGED: 0, EVERYONE: 1, FRIENDS: 2, SELECTED: 3, NOBODY: 4 } as const;
/** Bits of PlayerStateDelta.changedFields. */
export const Changed = { POSITION: 1, ROTATION: 2, VELOCITY: 4, FLAGS: 8 } as const;

export const NetworkMessage = define('NetworkMessage', {
  version: u32(1), sequence: u64(2), timestamp: i64(3), sessionId: text(4), type: u32(5),
  payload: bytes(6), requiresAck: bool(7), priority: u32(8), ack: u64(9), compression: u32(10),
  rawSize: u32(11),
});
export type NetworkMessage = Of<typeof NetworkMessage>;

export const Vector3 = define('Vector3', { x: float(1), y: float(2), z: float(3) });
export type Vector3 = Of<typeof Vector3>;
export const Quaternion = define('Quaternion', { x: float(1), y: float(2), z: float(3), w: float(4) });
export type Quaternion = Of<typeof Quaternion>;

export const ConnectionEstablished = define('ConnectionEstablished', {
  sessionId: text(1), serverVersion: text(2), serverTime: i64(3), heartbeatInterval: u32(4),
  features: map(5), resumeToken: text(6), tickRate: u32(7), serverTick: u32(8),
});
export type ConnectionEstablished = Of<typeof ConnectionEstablished>;
export const AuthenticationResult = define('AuthenticationResult', {
  success: bool(1), userId: text(2), characterId: text(3), errorMessage: text(4),
  permissions: list(text(5)),
});
export type AuthenticationResult = Of<typeof AuthenticationResult>;
export const ErrorNotification = define('ErrorNotification', {
  code: u32(1), message: text(2), details: text(3), fatal: bool(4), requestId: text(5),
});
export type ErrorNotification = Of<typeof ErrorNotification>;
export const ResumeResult = define('ResumeResult', {
  resumed: bool(1), reason: text(2), replayed: u32(3), lastClientSequence: u64(4),
});
export type ResumeResult = Of<typeof ResumeResult>;
export const TokenRefresh = define('TokenRefresh', { token: text(1) });
export type TokenRefresh = Of<typeof TokenRefresh>;
export const TokenStatus = define('TokenStatus', {
  accepted: bool(1), expiresAt: i64(2), reason: text(3), permissions: list(text(4)),
});
export type TokenStatus = Of<typeof TokenStatus>;
export const Disconnect = define('Disconnect', {
  code: u32(1), reason: text(2), reconnectUrl: text(3), retryAfterMs: u32(4),
});
export type Disconnect = Of<typeof Disconnect>;
export const ClientHello = define('ClientHello', {
  clientVersion: text(1), stateEncoding: u32(2), viewDistance: float(3), compression: list(u32(4)),
  maxBytesPerSecond: u32(5), zstdDictionary: u32(6),
});
export type ClientHello = Of<typeof ClientHello>;
export const Subscribe = define('Subscribe', { topic: text(1), replayFrom: u64(2) });
export type Subscribe = Of<typeof Subscribe>;
export const Unsubscribe = define('Unsubscribe', { topic: text(1) });
export type Unsubscribe = Of<typeof Unsubscribe>;
export const Publish = define('Publish', { topic: text(1), data: bytes(2), eventType: u32(3) });
export type Publish = Of<typeof Publish>;
export const Event = define('Event', {
  topic: text(1), offset: u64(2), eventType: u32(3), version: u32(4), sourceUser: text(5),
  data: bytes(6), timestamp: i64(7),
});
export type Event = Of<typeof Event>;
export const Reply = define('Reply', { requestSequence: u64(1), code: u32(2), message: text(3) });
export type Reply = Of<typeof Reply>;
export const TimeSync = define('TimeSync', {
  serverTime: i64(1), serverTick: u32(2), clientTime: i64(3), latencyMs: u32(4),
});
export type TimeSync = Of<typeof TimeSync>;

export const PlayerMovement = define('PlayerMovement', {
  position: sub(1, Vector3), rotation: sub(2, Quaternion), velocity: sub(3, Vector3),
  movementFlags: u32(4), clientTick: u32(5), clientTime: i64(6),
});
export type PlayerMovement = Of<typeof PlayerMovement>;
export const PlayerSteer = define('PlayerSteer', { clientTick: u32(1), samples: bytes(2), wait: u32(3) });
export type PlayerSteer = Of<typeof PlayerSteer>;
export const PlayerAction = define('PlayerAction', {
  actionId: text(1), targetId: text(2), parameters: map(3), clientTick: u32(4),
});
export type PlayerAction = Of<typeof PlayerAction>;
export const PlayerStateUpdate = define('PlayerStateUpdate', {
  playerId: text(1), position: sub(2, Vector3), rotation: sub(3, Quaternion), velocity: sub(4, Vector3),
  stateFlags: u32(5), timestamp: i64(6), tick: u32(7),
});
export type PlayerStateUpdate = Of<typeof PlayerStateUpdate>;
export const PlayerStateDelta = define('PlayerStateDelta', {
  playerId: text(1), changedFields: u32(2), position: sub(3, Vector3), rotation: sub(4, Quaternion),
  velocity: sub(5, Vector3), stateFlags: optional(u32(6)), timestamp: i64(7), baseTick: u32(8),
  deltaTick: u32(9),
});
export type PlayerStateDelta = Of<typeof PlayerStateDelta>;
export const PlayerStatusChange = define('PlayerStatusChange', {
  playerId: text(1), oldStatus: u32(2), newStatus: u32(3), reason: text(4),
});
export type PlayerStatusChange = Of<typeof PlayerStatusChange>;
export const MoveAck = define('MoveAck', {
  clientTick: u32(1), serverTick: u32(2), position: sub(3, Vector3), velocity: sub(4, Vector3),
  corrected: bool(5), reason: u32(6), buffered: u32(7),
});
export type MoveAck = Of<typeof MoveAck>;

export const EnvironmentState = define('EnvironmentState', {
  timeOfDay: float(1), weather: text(2), properties: map(3),
});
export type EnvironmentState = Of<typeof EnvironmentState>;
export const WorldStateSnapshot = define('WorldStateSnapshot', {
  tick: u32(1), timestamp: i64(2), zoneId: text(3), players: list(sub(4, PlayerStateUpdate)),
  npcs: list(sub(5, PlayerStateUpdate)), objects: list(sub(6, PlayerStateUpdate)),
  environment: sub(7, EnvironmentState),
});
export type WorldStateSnapshot = Of<typeof WorldStateSnapshot>;
export const EntitySpawn = define('EntitySpawn', {
  state: sub(1, PlayerStateUpdate), kind: u32(2), custom: bytes(3),
});
export type EntitySpawn = Of<typeof EntitySpawn>;
export const EntityUpdate = define('EntityUpdate', { delta: sub(1, PlayerStateDelta), custom: bytes(2) });
export type EntityUpdate = Of<typeof EntityUpdate>;
export const ZoneUpdate = define('ZoneUpdate', {
  zoneId: text(1), spawns: list(sub(2, EntitySpawn)), despawns: list(text(3)),
  updates: list(sub(4, EntityUpdate)), environment: sub(5, EnvironmentState),
});
export type ZoneUpdate = Of<typeof ZoneUpdate>;
export const InterestUpdate = define('InterestUpdate', {
  enteredView: list(text(1)), exitedView: list(text(2)), viewDistance: float(3),
});
export type InterestUpdate = Of<typeof InterestUpdate>;

export const CellReport = define('CellReport', {
  cellX: sint32(1), cellZ: sint32(2), epoch: u32(3), frame: u32(4), tick: u32(5), checksum: fixed64(6),
  expected: fixed64(7), members: bytes(8),
});
export type CellReport = Of<typeof CellReport>;

export const PresenceUpdate = define('PresenceUpdate', {
  userId: text(1), status: u32(2), customStatus: text(3), lastSeen: i64(4), zoneId: text(5), region: text(6),
});
export type PresenceUpdate = Of<typeof PresenceUpdate>;
export const FriendStatus = define('FriendStatus', { friends: list(sub(1, PresenceUpdate)) });
export type FriendStatus = Of<typeof FriendStatus>;
export const PresenceSubscribe = define('PresenceSubscribe', { userIds: list(text(1)) });
export type PresenceSubscribe = Of<typeof PresenceSubscribe>;

export const StateEntry = define('StateEntry', {
  key: text(1), value: bytes(2), version: u64(3), scope: u32(4), owner: text(5), position: sub(6, Vector3),
  expiresInMs: u32(7), removed: bool(8),
});
export type StateEntry = Of<typeof StateEntry>;
export const StateUpdate = define('StateUpdate', { tick: u32(1), complete: u32(2), entries: list(sub(3, StateEntry)) });
export type StateUpdate = Of<typeof StateUpdate>;
export const StateChange = define('StateChange', {
  key: text(1), value: bytes(2), baseVersion: u64(3), scope: u32(4), operation: u32(5), request: u32(6),
});
export type StateChange = Of<typeof StateChange>;
export const StateResult = define('StateResult', {
  request: u32(1), key: text(2), scope: u32(3), reason: u32(4), version: u64(5), current: sub(6, StateEntry),
});
export type StateResult = Of<typeof StateResult>;
export const GroupRequest = define('GroupRequest', {
  operation: u32(1), group: text(2), userId: text(3), role: u32(4), access: u32(5),
});
export type GroupRequest = Of<typeof GroupRequest>;
export const GroupEvent = define('GroupEvent', {
  group: text(1), change: u32(2), userId: text(3), byUser: text(4), role: u32(5), access: u32(6), version: u64(7),
  offset: u64(8),
});
export type GroupEvent = Of<typeof GroupEvent>;
export const GroupMember = define('GroupMember', { userId: text(1), role: u32(2) });
export type GroupMember = Of<typeof GroupMember>;
export const GroupState = define('GroupState', {
  group: text(1), access: u32(2), version: u64(3), members: list(sub(4, GroupMember)), invited: list(text(5)),
  more: bool(6),
});
export type GroupState = Of<typeof GroupState>;
export const SocialUpdate = define('SocialUpdate', {
  sharing: u32(1), addFriends: list(text(2)), removeFriends: list(text(3)), block: list(text(4)),
  unblock: list(text(5)), shareWith: list(text(6)), unshare: list(text(7)),
});
export type SocialUpdate = Of<typeof SocialUpdate>;
export const SocialList = define('SocialList', {
  sharing: u32(1), friends: list(text(2)), blocked: list(text(3)), sharedWith: list(text(4)), more: bool(5),
});
export type SocialList = Of<typeof SocialList>;

/** All messages of the schema. */
export const MESSAGES: readonly Message<never>[] = [
  NetworkMessage, Vector3, Quaternion, ConnectionEstablished, AuthenticationResult, ErrorNotification,
  ResumeResult, TokenRefresh, TokenStatus, Disconnect, ClientHello, Subscribe, Unsubscribe, Publish, Event, Reply, TimeSync,
  PlayerMovement, PlayerSteer, PlayerAction, PlayerStateUpdate, PlayerStateDelta, PlayerStatusChange, MoveAck,
  EnvironmentState, WorldStateSnapshot, EntitySpawn, EntityUpdate, ZoneUpdate, InterestUpdate,
  CellReport, PresenceUpdate, FriendStatus, PresenceSubscribe, StateEntry, StateUpdate, StateChange, StateResult,
  GroupRequest, GroupEvent, GroupMember, GroupState, SocialUpdate, SocialList,
] as unknown as readonly Message<never>[];
