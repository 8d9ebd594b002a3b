// SPDX-License-Identifier: Apache-2.0
import { type Message, type Of } from './pb.js';
export declare const MessageType: {
    readonly HEARTBEAT: 1;
    readonly PONG: 2;
    readonly ACK: 3;
    readonly ERROR: 4;
    readonly CONNECTION_ESTABLISHED: 5;
    readonly AUTHENTICATION_RESULT: 6;
    readonly RESUME_RESULT: 7;
    readonly DISCONNECT: 8;
    readonly CLIENT_HELLO: 9;
    readonly SUBSCRIBE: 10;
    readonly UNSUBSCRIBE: 11;
    readonly PUBLISH: 12;
    readonly EVENT: 13;
    readonly REPLY: 14;
    readonly TOKEN_REFRESH: 15;
    readonly TOKEN_STATUS: 16;
    readonly PLAYER_MOVE: 100;
    readonly PLAYER_ACTION: 101;
    readonly PLAYER_STATE: 102;
    readonly PLAYER_STATUS_CHANGE: 103;
    readonly MOVE_ACK: 104;
    readonly PLAYER_STEER: 105;
    readonly WORLD_STATE: 200;
    readonly ZONE_UPDATE: 201;
    readonly TIME_SYNC: 202;
    readonly INTEREST_UPDATE: 203;
    readonly CELL_FRAME: 204;
    readonly CELL_REPORT: 205;
    readonly STATE_UPDATE: 206;
    readonly STATE_CHANGE: 207;
    readonly STATE_RESULT: 208;
    readonly PRESENCE_UPDATE: 300;
    readonly FRIEND_STATUS: 301;
    readonly PRESENCE_SUBSCRIBE: 302;
    readonly SOCIAL_UPDATE: 303;
    readonly SOCIAL_LIST: 304;
    readonly GROUP_REQUEST: 310;
    readonly GROUP_EVENT: 311;
    readonly GROUP_STATE: 312;
    readonly COMBAT_ACTION: 400;
    readonly INVENTORY_UPDATE: 401;
    readonly QUEST_PROGRESS: 402;
    readonly CHAT_MESSAGE: 403;
    readonly TRADE_REQUEST: 404;
    readonly PARTY_INVITE: 405;
    readonly GUILD_EVENT: 406;
};
/** Name of a message type; the number as text when it is none of the protocol's. */
export declare const nameOfType: (type: number) => string;
/** Codes of ERROR, of MOVE_ACK's reason and of DISCONNECT. */
export declare const ErrorCode: {
    readonly MALFORMED_FRAME: 4000;
    readonly UNSUPPORTED_VERSION: 4001;
    readonly MALFORMED_MESSAGE: 4002;
    readonly INVALID_PAYLOAD: 4003;
    readonly UNKNOWN_TYPE: 4004;
    readonly NOT_PERMITTED: 4005;
    readonly RATE_LIMITED: 4006;
    readonly TOO_LARGE: 4007;
    readonly HANDLER_TIMEOUT: 4008;
    readonly HANDLER_FAILED: 4009;
    readonly SPEED: 4010;
    readonly BOUNDS: 4011;
    readonly TOPIC: 4012;
    readonly SESSION_EXPIRED: 4013;
    readonly RESUME_TOKEN: 4014;
    readonly REPLACED: 4015;
    readonly DRAINING: 4016;
    readonly DECOMPRESSION: 4017;
};
export declare const CloseCode: {
    readonly NORMAL: 1000;
    readonly GOING_AWAY: 1001;
    readonly PROTOCOL_ERROR: 1002;
    readonly WRONG_DATA: 1003;
    readonly NOT_UTF8: 1007;
    readonly POLICY: 1008;
    readonly TOO_BIG: 1009;
    readonly INTERNAL: 1011;
    readonly TRY_LATER: 1013;
    readonly REPLACED: 4015;
};
export declare const StateEncoding: {
    readonly PROTOBUF: 0;
    readonly PACKED: 1;
};
export declare const Compression: {
    readonly NONE: 0;
    readonly ZLIB: 1;
    readonly LZ4: 2;
    readonly ZSTD: 3;
};
export declare const PlayerStatus: {
    readonly UNKNOWN: 0;
    readonly ONLINE: 1;
    readonly AWAY: 2;
    readonly BUSY: 3;
    readonly INVISIBLE: 4;
    readonly OFFLINE: 5;
};
export declare const StateScope: {
    readonly ZONE: 0;
    readonly PLACE: 1;
    readonly SESSION: 2;
    readonly VIEW: 3;
};
export declare const StateOperation: {
    readonly SET: 0;
    readonly CLAIM: 1;
    readonly RELEASE: 2;
};
/** Why a STATE_CHANGE was refused. */
export declare const StateReason: {
    readonly APPLIED: 0;
    readonly UNKNOWN: 1;
    readonly SERVER_ONLY: 2;
    readonly STALE: 3;
    readonly TAKEN: 4;
    readonly NOT_OWNER: 5;
    readonly TOO_FAR: 6;
    readonly INVALID: 7;
    readonly REFUSED: 8;
    readonly BUSY: 9;
};
export declare const GroupOperation: {
    readonly CREATE: 1;
    readonly JOIN: 2;
    readonly LEAVE: 3;
    readonly INVITE: 4;
    readonly DECLINE: 5;
    readonly KICK: 6;
    readonly SET_ROLE: 7;
    readonly SET_ACCESS: 8;
    readonly DISBAND: 9;
    readonly LIST: 10;
};
export declare const GroupRole: {
    readonly NONE: 0;
    readonly MEMBER: 1;
    readonly OFFICER: 2;
    readonly LEADER: 3;
};
export declare const GroupAccess: {
    readonly INVITED: 0;
    readonly OPEN: 1;
};
export declare const GroupChange: {
    readonly CREATED: 1;
    readonly JOINED: 2;
    readonly LEFT: 3;
    readonly KICKED: 4;
    readonly INVITED: 5;
    readonly DECLINED: 6;
    readonly ROLE: 7;
    readonly ACCESS: 8;
    readonly DISBANDED: 9;
};
/** Who sees the own presence. */
export declare const Sharing: {
    readonly UNCHANGED: 0;
    readonly EVERYONE: 1;
    readonly FRIENDS: 2;
    readonly SELECTED: 3;
    readonly NOBODY: 4;
};
/** Bits of PlayerStateDelta.changedFields. */
export declare const Changed: {
    readonly POSITION: 1;
    readonly ROTATION: 2;
    readonly VELOCITY: 4;
    readonly FLAGS: 8;
};
export declare const NetworkMessage: Message<{
    version: number;
    sequence: number;
    timestamp: number;
    sessionId: string;
    type: number;
    payload: Uint8Array<ArrayBufferLike>;
    requiresAck: boolean;
    priority: number;
    ack: number;
    compression: number;
    rawSize: number;
}>;
export type NetworkMessage = Of<typeof NetworkMessage>;
export declare const Vector3: Message<{
    x: number;
    y: number;
    z: number;
}>;
export type Vector3 = Of<typeof Vector3>;
export declare const Quaternion: Message<{
    x: number;
    y: number;
    z: number;
    w: number;
}>;
export type Quaternion = Of<typeof Quaternion>;
export declare const ConnectionEstablished: Message<{
    sessionId: string;
    serverVersion: string;
    serverTime: number;
    heartbeatInterval: number;
    features: Record<string, string>;
    resumeToken: string;
    tickRate: number;
    serverTick: number;
}>;
export type ConnectionEstablished = Of<typeof ConnectionEstablished>;
export declare const AuthenticationResult: Message<{
    success: boolean;
    userId: string;
    characterId: string;
    errorMessage: string;
    permissions: string[];
}>;
export type AuthenticationResult = Of<typeof AuthenticationResult>;
export declare const ErrorNotification: Message<{
    code: number;
    message: string;
    details: string;
    fatal: boolean;
    requestId: string;
}>;
export type ErrorNotification = Of<typeof ErrorNotification>;
export declare const ResumeResult: Message<{
    resumed: boolean;
    reason: string;
    replayed: number;
    lastClientSequence: number;
}>;
export type ResumeResult = Of<typeof ResumeResult>;
export declare const TokenRefresh: Message<{
    token: string;
}>;
export type TokenRefresh = Of<typeof TokenRefresh>;
export declare const TokenStatus: Message<{
    accepted: boolean;
    expiresAt: number;
    reason: string;
    permissions: string[];
}>;
export type TokenStatus = Of<typeof TokenStatus>;
export declare const Disconnect: Message<{
    code: number;
    reason: string;
    reconnectUrl: string;
    retryAfterMs: number;
}>;
export type Disconnect = Of<typeof Disconnect>;
export declare const ClientHello: Message<{
    clientVersion: string;
    stateEncoding: number;
    viewDistance: number;
    compression: number[];
    maxBytesPerSecond: number;
    zstdDictionary: number;
}>;
export type ClientHello = Of<typeof ClientHello>;
export declare const Subscribe: Message<{
    topic: string;
    replayFrom: number;
}>;
export type Subscribe = Of<typeof Subscribe>;
export declare const Unsubscribe: Message<{
    topic: string;
}>;
export type Unsubscribe = Of<typeof Unsubscribe>;
export declare const Publish: Message<{
    topic: string;
    data: Uint8Array<ArrayBufferLike>;
    eventType: number;
}>;
export type Publish = Of<typeof Publish>;
export declare const Event: Message<{
    topic: string;
    offset: number;
    eventType: number;
    version: number;
    sourceUser: string;
    data: Uint8Array<ArrayBufferLike>;
    timestamp: number;
}>;
export type Event = Of<typeof Event>;
export declare const Reply: Message<{
    requestSequence: number;
    code: number;
    message: string;
}>;
export type Reply = Of<typeof Reply>;
export declare const TimeSync: Message<{
    serverTime: number;
    serverTick: number;
    clientTime: number;
    latencyMs: number;
}>;
export type TimeSync = Of<typeof TimeSync>;
export declare const PlayerMovement: Message<{
    position: {
        x: number;
        y: number;
        z: number;
    } | undefined;
    rotation: {
        x: number;
        y: number;
        z: number;
        w: number;
    } | undefined;
    velocity: {
        x: number;
        y: number;
        z: number;
    } | undefined;
    movementFlags: number;
    clientTick: number;
    clientTime: number;
}>;
export type PlayerMovement = Of<typeof PlayerMovement>;
export declare const PlayerSteer: Message<{
    clientTick: number;
    samples: Uint8Array<ArrayBufferLike>;
    wait: number;
}>;
export type PlayerSteer = Of<typeof PlayerSteer>;
export declare const PlayerAction: Message<{
    actionId: string;
    targetId: string;
    parameters: Record<string, string>;
    clientTick: number;
}>;
export type PlayerAction = Of<typeof PlayerAction>;
export declare const PlayerStateUpdate: Message<{
    playerId: string;
    position: {
        x: number;
        y: number;
        z: number;
    } | undefined;
    rotation: {
        x: number;
        y: number;
        z: number;
        w: number;
    } | undefined;
    velocity: {
        x: number;
        y: number;
        z: number;
    } | undefined;
    stateFlags: number;
    timestamp: number;
    tick: number;
}>;
export type PlayerStateUpdate = Of<typeof PlayerStateUpdate>;
export declare const PlayerStateDelta: Message<{
    playerId: string;
    changedFields: number;
    position: {
        x: number;
        y: number;
        z: number;
    } | undefined;
    rotation: {
        x: number;
        y: number;
        z: number;
        w: number;
    } | undefined;
    velocity: {
        x: number;
        y: number;
        z: number;
    } | undefined;
    stateFlags: number | undefined;
    timestamp: number;
    baseTick: number;
    deltaTick: number;
}>;
export type PlayerStateDelta = Of<typeof PlayerStateDelta>;
export declare const PlayerStatusChange: Message<{
    playerId: string;
    oldStatus: number;
    newStatus: number;
    reason: string;
}>;
export type PlayerStatusChange = Of<typeof PlayerStatusChange>;
export declare const MoveAck: Message<{
    clientTick: number;
    serverTick: number;
    position: {
        x: number;
        y: number;
        z: number;
    } | undefined;
    velocity: {
        x: number;
        y: number;
        z: number;
    } | undefined;
    corrected: boolean;
    reason: number;
    buffered: number;
}>;
export type MoveAck = Of<typeof MoveAck>;
export declare const EnvironmentState: Message<{
    timeOfDay: number;
    weather: string;
    properties: Record<string, string>;
}>;
export type EnvironmentState = Of<typeof EnvironmentState>;
export declare const WorldStateSnapshot: Message<{
    tick: number;
    timestamp: number;
    zoneId: string;
    players: {
        playerId: string;
        position: {
            x: number;
            y: number;
            z: number;
        } | undefined;
        rotation: {
            x: number;
            y: number;
            z: number;
            w: number;
        } | undefined;
        velocity: {
            x: number;
            y: number;
            z: number;
        } | undefined;
        stateFlags: number;
        timestamp: number;
        tick: number;
    }[];
    npcs: {
        playerId: string;
        position: {
            x: number;
            y: number;
            z: number;
        } | undefined;
        rotation: {
            x: number;
            y: number;
            z: number;
            w: number;
        } | undefined;
        velocity: {
            x: number;
            y: number;
            z: number;
        } | undefined;
        stateFlags: number;
        timestamp: number;
        tick: number;
    }[];
    objects: {
        playerId: string;
        position: {
            x: number;
            y: number;
            z: number;
        } | undefined;
        rotation: {
            x: number;
            y: number;
            z: number;
            w: number;
        } | undefined;
        velocity: {
            x: number;
            y: number;
            z: number;
        } | undefined;
        stateFlags: number;
        timestamp: number;
        tick: number;
    }[];
    environment: {
        timeOfDay: number;
        weather: string;
        properties: Record<string, string>;
    } | undefined;
}>;
export type WorldStateSnapshot = Of<typeof WorldStateSnapshot>;
export declare const EntitySpawn: Message<{
    state: {
        playerId: string;
        position: {
            x: number;
            y: number;
            z: number;
        } | undefined;
        rotation: {
            x: number;
            y: number;
            z: number;
            w: number;
        } | undefined;
        velocity: {
            x: number;
            y: number;
            z: number;
        } | undefined;
        stateFlags: number;
        timestamp: number;
        tick: number;
    } | undefined;
    kind: number;
    custom: Uint8Array<ArrayBufferLike>;
}>;
export type EntitySpawn = Of<typeof EntitySpawn>;
export declare const EntityUpdate: Message<{
    delta: {
        playerId: string;
        changedFields: number;
        position: {
            x: number;
            y: number;
            z: number;
        } | undefined;
        rotation: {
            x: number;
            y: number;
            z: number;
            w: number;
        } | undefined;
        velocity: {
            x: number;
            y: number;
            z: number;
        } | undefined;
        stateFlags: number | undefined;
        timestamp: number;
        baseTick: number;
        deltaTick: number;
    } | undefined;
    custom: Uint8Array<ArrayBufferLike>;
}>;
export type EntityUpdate = Of<typeof EntityUpdate>;
export declare const ZoneUpdate: Message<{
    zoneId: string;
    spawns: {
        state: {
            playerId: string;
            position: {
                x: number;
                y: number;
                z: number;
            } | undefined;
            rotation: {
                x: number;
                y: number;
                z: number;
                w: number;
            } | undefined;
            velocity: {
                x: number;
                y: number;
                z: number;
            } | undefined;
            stateFlags: number;
            timestamp: number;
            tick: number;
        } | undefined;
        kind: number;
        custom: Uint8Array<ArrayBufferLike>;
    }[];
    despawns: string[];
    updates: {
        delta: {
            playerId: string;
            changedFields: number;
            position: {
                x: number;
                y: number;
                z: number;
            } | undefined;
            rotation: {
                x: number;
                y: number;
                z: number;
                w: number;
            } | undefined;
            velocity: {
                x: number;
                y: number;
                z: number;
            } | undefined;
            stateFlags: number | undefined;
            timestamp: number;
            baseTick: number;
            deltaTick: number;
        } | undefined;
        custom: Uint8Array<ArrayBufferLike>;
    }[];
    environment: {
        timeOfDay: number;
        weather: string;
        properties: Record<string, string>;
    } | undefined;
}>;
export type ZoneUpdate = Of<typeof ZoneUpdate>;
export declare const InterestUpdate: Message<{
    enteredView: string[];
    exitedView: string[];
    viewDistance: number;
}>;
export type InterestUpdate = Of<typeof InterestUpdate>;
export declare const CellReport: Message<{
    cellX: number;
    cellZ: number;
    epoch: number;
    frame: number;
    tick: number;
    checksum: bigint;
    expected: bigint;
    members: Uint8Array<ArrayBufferLike>;
}>;
export type CellReport = Of<typeof CellReport>;
export declare const PresenceUpdate: Message<{
    userId: string;
    status: number;
    customStatus: string;
    lastSeen: number;
    zoneId: string;
    region: string;
}>;
export type PresenceUpdate = Of<typeof PresenceUpdate>;
export declare const FriendStatus: Message<{
    friends: {
        userId: string;
        status: number;
        customStatus: string;
        lastSeen: number;
        zoneId: string;
        region: string;
    }[];
}>;
export type FriendStatus = Of<typeof FriendStatus>;
export declare const PresenceSubscribe: Message<{
    userIds: string[];
}>;
export type PresenceSubscribe = Of<typeof PresenceSubscribe>;
export declare const StateEntry: Message<{
    key: string;
    value: Uint8Array<ArrayBufferLike>;
    version: number;
    scope: number;
    owner: string;
    position: {
        x: number;
        y: number;
        z: number;
    } | undefined;
    expiresInMs: number;
    removed: boolean;
}>;
export type StateEntry = Of<typeof StateEntry>;
export declare const StateUpdate: Message<{
    tick: number;
    complete: number;
    entries: {
        key: string;
        value: Uint8Array<ArrayBufferLike>;
        version: number;
        scope: number;
        owner: string;
        position: {
            x: number;
            y: number;
            z: number;
        } | undefined;
        expiresInMs: number;
        removed: boolean;
    }[];
}>;
export type StateUpdate = Of<typeof StateUpdate>;
export declare const StateChange: Message<{
    key: string;
    value: Uint8Array<ArrayBufferLike>;
    baseVersion: number;
    scope: number;
    operation: number;
    request: number;
}>;
export type StateChange = Of<typeof StateChange>;
export declare const StateResult: Message<{
    request: number;
    key: string;
    scope: number;
    reason: number;
    version: number;
    current: {
        key: string;
        value: Uint8Array<ArrayBufferLike>;
        version: number;
        scope: number;
        owner: string;
        position: {
            x: number;
            y: number;
            z: number;
        } | undefined;
        expiresInMs: number;
        removed: boolean;
    } | undefined;
}>;
export type StateResult = Of<typeof StateResult>;
export declare const GroupRequest: Message<{
    operation: number;
    group: string;
    userId: string;
    role: number;
    access: number;
}>;
export type GroupRequest = Of<typeof GroupRequest>;
export declare const GroupEvent: Message<{
    group: string;
    change: number;
    userId: string;
    byUser: string;
    role: number;
    access: number;
    version: number;
    offset: number;
}>;
export type GroupEvent = Of<typeof GroupEvent>;
export declare const GroupMember: Message<{
    userId: string;
    role: number;
}>;
export type GroupMember = Of<typeof GroupMember>;
export declare const GroupState: Message<{
    group: string;
    access: number;
    version: number;
    members: {
        userId: string;
        role: number;
    }[];
    invited: string[];
    more: boolean;
}>;
export type GroupState = Of<typeof GroupState>;
export declare const SocialUpdate: Message<{
    sharing: number;
    addFriends: string[];
    removeFriends: string[];
    block: string[];
    unblock: string[];
    shareWith: string[];
    unshare: string[];
}>;
export type SocialUpdate = Of<typeof SocialUpdate>;
export declare const SocialList: Message<{
    sharing: number;
    friends: string[];
    blocked: string[];
    sharedWith: string[];
    more: boolean;
}>;
export type SocialList = Of<typeof SocialList>;
/** All messages of the schema. */
export declare const MESSAGES: readonly Message<never>[];
