// SPDX-License-Identifier: Apache-2.0
import { ClockSync } from './clock.js';
import { Connection, type ConnectionEvents, type ConnectionOptions, type ConnectionState, type Loss } from './connection.js';
import { Emitter } from './emitter.js';
import type { Host } from './host.js';
import type { MoveInput } from './input.js';
import { Event, GroupEvent, GroupRequest, GroupState, MoveAck, PlayerStateUpdate, PresenceUpdate, Reply, SocialList, SocialUpdate, StateResult, type ErrorNotification, type NetworkMessage, type StateEntry, type Vector3 } from './messages.js';
import { PlayoutClock, type PlayoutOptions, type Pose } from './playout.js';
import { Prediction, type PredictionOptions } from './prediction.js';
import { KeyedStates } from './states.js';
import type { ChannelFigures } from './statistics.js';
import { type SteerLimit } from './steering.js';
import { WorldPicture, type Entity, type WorldCounters } from './world.js';
export interface ClientOptions extends Partial<ConnectionOptions> {
    endpoints: readonly string[];
    encoding?: 'packed' | 'protobuf';
    /** Metres; 0: the server's own. */
    viewDistance?: number;
    maxBytesPerSecond?: number;
    /** Whether large payloads may come compressed (zlib); true when left out. */
    compression?: boolean;
    /** Between two checksums sent of packed cells in which nothing moves; 0: none are sent; ms. */
    reportMs?: number;
    prediction?: Partial<PredictionOptions>;
    /** Of steer(): the place instead of where the rule leads; the game's server must decide the same. */
    steerLimit?: SteerLimit;
    playout?: Partial<PlayoutOptions>;
    host?: Host;
}
export interface ClientEvents {
    state: ConnectionEvents['state'];
    lost: Loss;
    serverError: ErrorNotification;
    entityAdded: Entity;
    entityChanged: Entity;
    entityRemoved: Entity;
    /** A world that begins anew: after the login, and after each one that followed a loss. */
    worldEntered: undefined;
    moveAck: MoveAck;
    topicEvent: Event;
    reply: Reply;
    presence: PresenceUpdate;
    stateChanged: StateEntry;
    stateRemoved: StateEntry;
    /** What came of a change that this client asked for; `states` has what holds already. */
    stateResult: StateResult;
    /** A change of a group of the own user's, or an invitation. */
    groupEvent: GroupEvent;
    /** Who is in a group: after joining it, after each login, and when asked for. */
    groupState: GroupState;
    /** The own friends, blocked users and with whom presence is shared. */
    socialList: SocialList;
    /** Where a member of the own party is that the world does not show at full rate. */
    follow: PlayerStateUpdate;
    /** Messages this client has no own event for: custom types, gameplay. */
    message: NetworkMessage;
}
export interface ClientStats {
    state: ConnectionState;
    /** Smoothed, and the last one. */
    rttMs: number;
    rttLastMs: number;
    jitterMs: number;
    /** Bytes a second in WebSocket messages. */
    bytesInPerSecond: number;
    bytesOutPerSecond: number;
    bytesIn: number;
    bytesOut: number;
    received: ChannelFigures;
    sent: ChannelFigures;
    receivedByType: Map<number, ChannelFigures>;
    sentByType: Map<number, ChannelFigures>;
    entities: number;
    cells: number;
    serverTick: number;
    /** Interpolation: delay now, delay aimed at, pictures that lacked state. */
    delayMs: number;
    delayTargetMs: number;
    starved: number;
    /** The server's tick in the last picture: when a shot was aimed; NaN before the first state. */
    shownTick: number;
    pendingInputs: number;
    corrections: number;
    refusedMoves: number;
    predictionErrorM: number;
    smoothingM: number;
    reconnects: number;
    unacknowledged: number;
    world: WorldCounters;
}
export declare class TidegateClient extends Emitter<ClientEvents> {
    readonly connection: Connection;
    readonly world: WorldPicture;
    /** Keyed state that this client is shown. */
    readonly states: KeyedStates;
    readonly clock: ClockSync;
    readonly playout: PlayoutClock;
    readonly prediction: Prediction;
    private readonly lead;
    private readonly steering;
    /** The own entity's id, once logged in. */
    playerId: string;
    /** Of ConnectionEstablished. */
    features: Readonly<Record<string, string>>;
    private readonly host;
    private readonly tracks;
    private readonly pose;
    private firstState;
    private stateCame;
    private placed;
    private lastAckTick;
    private lastRequest;
    private syncTimer;
    private reportTimer;
    constructor(options: ClientOptions);
    get state(): ConnectionState;
    /** The own entity as the server shows it to everybody. */
    get self(): Entity | undefined;
    connect(): void;
    disconnect(reason?: string): void;
    retryNow(): void;
    /** Moves the predicted self and tells the server. False when the player is not in the world. */
    move(input: Partial<MoveInput> & {
        velocity: Vector3;
        dt: number;
    }): boolean;
    /**
     * Tells the server where the player wants to go (a direction of length up to 1) for `dt` seconds: the server
     * moves it, at its own speed, and the predicted self goes the same way at once. Call it with every picture, also
     * while the player stands; not together with move(). False: not in the world, or a server without steering.
     */
    steer(direction: Vector3, dt: number, yaw?: number, flags?: number): boolean;
    /** Where to draw the own player at `now`; undefined while it is not in the world. */
    selfShown(now: number): Vector3 | undefined;
    /** Calls `each` with every entity but the own one and where to draw it at `now`. The pose is reused. */
    eachRemote(now: number, each: (entity: Entity, pose: Readonly<Pose>) => void): void;
    action(actionId: string, targetId?: string, parameters?: Record<string, string>): boolean;
    /** The sequence that the answering `reply` names; undefined when too many requests wait. */
    subscribe(topic: string, replayFrom?: number): number | undefined;
    unsubscribe(topic: string): number | undefined;
    publish(topic: string, data: Uint8Array, eventType?: number): number | undefined;
    /** 1 online, 2 away, 3 busy, 4 invisible; answered by a message of type PLAYER_STATUS_CHANGE. */
    setStatus(newStatus: number, reason?: string): boolean;
    /** The text beside the status, up to 128 bytes. */
    setStatusText(customStatus: string): boolean;
    /** The list takes the place of the one before: `presence` for each of them now, then for each change. */
    watchPresence(userIds: string[]): boolean;
    /**
     * Asks to set a keyed state; `stateResult` with the number returned says what came of it. With `baseVersion` the
     * change is refused when the state has another version by then. Undefined: there is no connection.
     */
    setState(scope: number, key: string, value: Uint8Array, baseVersion?: number): number | undefined;
    /** Asks to be its owner; the first one in the order of ticks is. */
    claimState(scope: number, key: string, value?: Uint8Array): number | undefined;
    releaseState(scope: number, key: string): number | undefined;
    private changeState;
    /** A request about a group (GroupOperation), "<kind>.<name>"; the sequence that `reply` names. */
    group(operation: number, group: string, more?: Partial<GroupRequest>): number | undefined;
    /** Friends, blocked users, with whom presence is shared; the sequence that `reply` names. */
    updateSocial(update: Partial<SocialUpdate>): number | undefined;
    stats(): ClientStats;
    private take;
    private beginState;
    private endMessage;
    private onState;
    private sync;
    private audit;
    private stopTimers;
}
