// SPDX-License-Identifier: Apache-2.0
// The client: a connection, the picture of the world, the time shown, the predicted self. It holds
// the parts together; each can be used alone.
import { browserHost } from './browser_host.js';
import { ClockSync } from './clock.js';
import { Connection } from './connection.js';
import { Emitter } from './emitter.js';
import { CellReport, ClientHello, Compression, Event, FriendStatus, GroupEvent, GroupRequest, GroupState, MessageType, MoveAck, PlayerAction, PlayerMovement, PlayerStateUpdate, PlayerStatusChange, PlayerSteer, PresenceSubscribe, PresenceUpdate, Publish, Reply, SocialList, SocialUpdate, StateChange, StateEncoding, StateOperation, StateResult, StateUpdate, Subscribe, TimeSync, Unsubscribe, } from './messages.js';
import { PlayoutClock, Track, defaultPlayout } from './playout.js';
import { Prediction, walk } from './prediction.js';
import { KeyedStates } from './states.js';
import { SteerLead } from './steer_lead.js';
import { Steering, encodeSteerRun, steerSample } from './steering.js';
import { WorldPicture, quaternionOf } from './world.js';
const SYNC_FIRST = 5;
const SYNC_UNJUDGED = 16; // as long as no states say what the network is like
const SYNC_FIRST_MS = 150;
const SYNC_LATER_MS = 1000;
const REPORT_MS = 10_000;
export class TidegateClient extends Emitter {
    connection;
    world = new WorldPicture();
    /** Keyed state that this client is shown. */
    states = new KeyedStates();
    clock = new ClockSync();
    playout;
    prediction;
    lead = new SteerLead();
    steering = new Steering();
    /** The own entity's id, once logged in. */
    playerId = '';
    /** Of ConnectionEstablished. */
    features = {};
    host;
    tracks = new Map();
    pose = { x: 0, y: 0, z: 0, yaw: 0 };
    firstState = true;
    stateCame = false;
    placed = false; // the prediction begins where the own entity stands
    lastAckTick = 0;
    lastRequest = 0;
    syncTimer;
    reportTimer;
    constructor(options) {
        super();
        this.host = options.host ?? browserHost();
        this.playout = new PlayoutClock({ ...defaultPlayout, ...options.playout });
        const walked = options.prediction?.step ?? walk;
        this.prediction = new Prediction({
            ...options.prediction,
            step: (at, input) => (input.sample ? this.steering.step(at, input) : walked(at, input)),
        });
        this.steering.limit = options.steerLimit;
        this.steering.lead = this.lead;
        this.connection = new Connection(this.host, options);
        const { connection, world } = this;
        connection.on('state', (change) => {
            if (change.to === 'reconnecting' || change.to === 'closed')
                this.stopTimers();
            this.emit('state', change);
        });
        connection.on('lost', (loss) => this.emit('lost', loss));
        connection.on('serverError', (error) => this.emit('serverError', error));
        connection.on('roundTrip', (ms) => this.clock.roundTrip(ms));
        connection.on('established', (established) => {
            this.features = established.features;
            const cellSize = Number(established.features['cell_size']);
            if (cellSize > 0)
                world.cellSize = cellSize;
            this.steering.speed = Number(established.features['steer_speed'] ?? 0);
            this.steering.stepTime = established.tickRate > 0 ? 1 / established.tickRate : 0;
            this.steering.reset();
            this.clock.reset();
            this.playout.reset();
            if (established.tickRate > 0) {
                this.clock.tickRate = established.tickRate;
                this.playout.tickMs = 1000 / established.tickRate;
            }
            this.lead.setServer(Number(established.features['steer_delay'] ?? 0), this.playout.tickMs);
        });
        connection.on('authenticated', (result) => {
            this.playerId = result.characterId || result.userId;
            this.firstState = true;
            this.states.forget(~0); // what is still there is told again
            connection.send(MessageType.CLIENT_HELLO, ClientHello.encode({
                clientVersion: 'tidegate-js/1',
                stateEncoding: options.encoding === 'protobuf' ? StateEncoding.PROTOBUF : StateEncoding.PACKED,
                viewDistance: options.viewDistance ?? 0,
                maxBytesPerSecond: options.maxBytesPerSecond ?? 0,
                compression: options.compression === false ? [] : [Compression.ZLIB],
            }));
            this.sync(0);
            const every = options.reportMs ?? REPORT_MS;
            // The first one at a time of its own, so that thousands of clients do not report together.
            if (every > 0)
                this.audit(every, every * this.host.random());
        });
        connection.on('message', (message) => this.take(message));
        connection.on('messageEnd', () => this.endMessage());
        this.states.on('changed', (state) => this.emit('stateChanged', state));
        this.states.on('removed', (state) => this.emit('stateRemoved', state));
        world.on('report', (report) => connection.send(MessageType.CELL_REPORT, CellReport.encode(report)));
        world.on('added', (entity) => {
            this.onState(entity);
            this.emit('entityAdded', entity);
        });
        world.on('changed', (entity) => {
            this.onState(entity);
            this.emit('entityChanged', entity);
        });
        world.on('removed', (entity) => {
            this.tracks.delete(entity.id);
            this.emit('entityRemoved', entity);
        });
    }
    get state() { return this.connection.state; }
    /** The own entity as the server shows it to everybody. */
    get self() { return this.world.entities.get(this.playerId); }
    connect() { this.connection.connect(); }
    disconnect(reason) { this.connection.disconnect(reason); }
    retryNow() { this.connection.retryNow(); }
    /** Moves the predicted self and tells the server. False when the player is not in the world. */
    move(input) {
        if (this.state !== 'inWorld' || !this.prediction.position)
            return false;
        const whole = { yaw: this.self?.yaw ?? 0, flags: 0, ...input };
        const { position, clientTick } = this.prediction.apply(whole);
        return this.connection.send(MessageType.PLAYER_MOVE, PlayerMovement.encode({
            position, rotation: quaternionOf(whole.yaw), velocity: whole.velocity, movementFlags: whole.flags, clientTick,
            clientTime: this.host.wallClock(),
        }));
    }
    /**
     * Tells the server where the player wants to go (a direction of length up to 1) for `dt` seconds: the server
     * moves it, at its own speed, and the predicted self goes the same way at once. Call it with every picture, also
     * while the player stands; not together with move(). False: not in the world, or a server without steering.
     */
    steer(direction, dt, yaw = this.self?.yaw ?? 0, flags = 0) {
        if (this.state !== 'inWorld' || !this.prediction.position || !this.steering.possible)
            return false;
        const sample = steerSample(direction, yaw, flags);
        const { count, firstTick } = this.steering.advance(sample, dt, this.prediction);
        return count === 0 || this.connection.send(MessageType.PLAYER_STEER, PlayerSteer.encode({ clientTick: firstTick, samples: encodeSteerRun(sample, count), wait: this.lead.tell() }));
    }
    /** Where to draw the own player at `now`; undefined while it is not in the world. */
    selfShown(now) {
        if (!this.prediction.position)
            return undefined;
        const at = this.prediction.shown(now);
        const ahead = this.steering.ahead();
        return { x: at.x - ahead.x, y: at.y - ahead.y, z: at.z - ahead.z };
    }
    /** Calls `each` with every entity but the own one and where to draw it at `now`. The pose is reused. */
    eachRemote(now, each) {
        const tick = this.playout.shownTick(now);
        const horizon = this.playout.horizon;
        for (const entity of this.world.entities.values()) {
            if (entity.id === this.playerId)
                continue;
            const track = this.tracks.get(entity.id);
            if (track && !Number.isNaN(tick))
                each(entity, track.sample(tick, this.pose, horizon));
        }
    }
    action(actionId, targetId = '', parameters = {}) {
        return this.connection.send(MessageType.PLAYER_ACTION, PlayerAction.encode({ actionId, targetId, parameters, clientTick: this.prediction.clientTick }));
    }
    /** The sequence that the answering `reply` names; undefined when too many requests wait. */
    subscribe(topic, replayFrom = 0) {
        return this.connection.sendReliable(MessageType.SUBSCRIBE, Subscribe.encode({ topic, replayFrom }));
    }
    unsubscribe(topic) {
        return this.connection.sendReliable(MessageType.UNSUBSCRIBE, Unsubscribe.encode({ topic }));
    }
    publish(topic, data, eventType = 0) {
        return this.connection.sendReliable(MessageType.PUBLISH, Publish.encode({ topic, data, eventType }));
    }
    /** 1 online, 2 away, 3 busy, 4 invisible; answered by a message of type PLAYER_STATUS_CHANGE. */
    setStatus(newStatus, reason = '') {
        return this.connection.send(MessageType.PLAYER_STATUS_CHANGE, PlayerStatusChange.encode({ newStatus, reason }));
    }
    /** The text beside the status, up to 128 bytes. */
    setStatusText(customStatus) {
        return this.connection.send(MessageType.PRESENCE_UPDATE, PresenceUpdate.encode({ customStatus }));
    }
    /** The list takes the place of the one before: `presence` for each of them now, then for each change. */
    watchPresence(userIds) {
        return this.connection.send(MessageType.PRESENCE_SUBSCRIBE, PresenceSubscribe.encode({ userIds }));
    }
    /**
     * Asks to set a keyed state; `stateResult` with the number returned says what came of it. With `baseVersion` the
     * change is refused when the state has another version by then. Undefined: there is no connection.
     */
    setState(scope, key, value, baseVersion = 0) {
        return this.changeState(scope, key, StateOperation.SET, value, baseVersion);
    }
    /** Asks to be its owner; the first one in the order of ticks is. */
    claimState(scope, key, value = new Uint8Array()) {
        return this.changeState(scope, key, StateOperation.CLAIM, value, 0);
    }
    releaseState(scope, key) {
        return this.changeState(scope, key, StateOperation.RELEASE, new Uint8Array(), 0);
    }
    changeState(scope, key, operation, value, baseVersion) {
        const request = ++this.lastRequest;
        const payload = StateChange.encode({ key, value, baseVersion, scope, operation, request });
        return this.connection.send(MessageType.STATE_CHANGE, payload) ? request : undefined;
    }
    /** A request about a group (GroupOperation), "<kind>.<name>"; the sequence that `reply` names. */
    group(operation, group, more = {}) {
        return this.connection.sendReliable(MessageType.GROUP_REQUEST, GroupRequest.encode({ ...more, operation, group }));
    }
    /** Friends, blocked users, with whom presence is shared; the sequence that `reply` names. */
    updateSocial(update) {
        return this.connection.sendReliable(MessageType.SOCIAL_UPDATE, SocialUpdate.encode(update));
    }
    stats() {
        const now = this.host.now();
        const { connection, world, clock, playout } = this;
        const prediction = this.prediction.stats(now);
        return {
            state: this.state, rttMs: clock.rtt, rttLastMs: clock.lastRtt, jitterMs: clock.jitter,
            bytesInPerSecond: connection.bytesIn.perSecond(now), bytesOutPerSecond: connection.bytesOut.perSecond(now),
            bytesIn: connection.bytesIn.total, bytesOut: connection.bytesOut.total,
            received: connection.received.figures(now), sent: connection.sent.figures(now),
            receivedByType: connection.received.byType(now), sentByType: connection.sent.byType(now),
            entities: world.entities.size, cells: world.cellCount, serverTick: world.tick,
            delayMs: playout.delayMs, delayTargetMs: playout.targetMs, starved: playout.starved, shownTick: playout.tickOfPicture,
            pendingInputs: prediction.pending, corrections: prediction.corrections, refusedMoves: prediction.refused,
            predictionErrorM: prediction.lastError, smoothingM: prediction.smoothing,
            reconnects: connection.reconnects, unacknowledged: connection.delivery.unacknowledged,
            world: { ...world.counters },
        };
    }
    take(message) {
        const { payload } = message;
        switch (message.type) {
            case MessageType.WORLD_STATE:
                this.beginState();
                this.world.applyWorldState(payload);
                break;
            case MessageType.ZONE_UPDATE:
                this.stateCame = true;
                this.world.applyZoneUpdate(payload);
                break;
            case MessageType.CELL_FRAME:
                this.beginState();
                this.world.applyCellFrames(payload);
                break;
            case MessageType.INTEREST_UPDATE:
                this.world.applyInterestUpdate(payload);
                break;
            case MessageType.MOVE_ACK: {
                const ack = MoveAck.decode(payload);
                this.lastAckTick = ack.serverTick;
                this.prediction.onAck(ack, this.host.now());
                this.lead.onBuffered(ack.buffered, this.host.now());
                this.emit('moveAck', ack);
                break;
            }
            case MessageType.TIME_SYNC: {
                const sync = TimeSync.decode(payload);
                const now = this.host.now();
                if (this.clock.answer(sync.clientTime, sync.serverTime, sync.serverTick, now))
                    this.lead.onRoundTrip(this.clock.lastRtt, 0, now);
                break;
            }
            case MessageType.STATE_UPDATE:
                this.states.apply(StateUpdate.decode(payload));
                break;
            case MessageType.STATE_RESULT: {
                const result = StateResult.decode(payload);
                if (result.current)
                    this.states.correct(result.current);
                this.emit('stateResult', result);
                break;
            }
            case MessageType.EVENT:
                this.emit('topicEvent', Event.decode(payload));
                break;
            case MessageType.REPLY:
                this.emit('reply', Reply.decode(payload));
                break;
            case MessageType.PRESENCE_UPDATE:
                this.emit('presence', PresenceUpdate.decode(payload));
                break;
            case MessageType.FRIEND_STATUS:
                for (const friend of FriendStatus.decode(payload).friends)
                    this.emit('presence', friend);
                break;
            case MessageType.GROUP_EVENT:
                this.emit('groupEvent', GroupEvent.decode(payload));
                break;
            case MessageType.GROUP_STATE:
                this.emit('groupState', GroupState.decode(payload));
                break;
            case MessageType.SOCIAL_LIST:
                this.emit('socialList', SocialList.decode(payload));
                break;
            case MessageType.PLAYER_STATE:
                this.emit('follow', PlayerStateUpdate.decode(payload));
                break;
            default: this.emit('message', message);
        }
    }
    // The picture of the session before stays until the first state of the new one.
    beginState() {
        this.stateCame = true;
        if (!this.firstState)
            return;
        this.firstState = false;
        this.world.clear();
        this.tracks.clear();
        this.placed = false;
    }
    endMessage() {
        if (!this.stateCame)
            return;
        this.stateCame = false;
        const now = this.host.now();
        if (this.playout.onTick(this.world.tick, now) && this.clock.errorMs < Infinity) {
            // The shortest round trip: what stalls add to the mean would hide them.
            this.lead.onNetwork(this.playout.states, this.playout.lateMs, this.playout.lateMostMs, 2 * this.clock.errorMs, now);
        }
        this.world.endMessage();
        // In the world is who has a place there: the own cell may come later than others.
        if (this.state === 'authenticated' && this.placed) {
            this.connection.enterWorld();
            this.emit('worldEntered', undefined);
        }
    }
    onState(entity) {
        if (entity.id === this.playerId) {
            if (!this.placed) {
                this.placed = true;
                this.lastAckTick = entity.tick;
                this.prediction.reset(entity);
            }
            else if (entity.tick > this.lastAckTick) {
                this.prediction.onServerPlace(entity, this.host.now());
            }
            return;
        }
        let track = this.tracks.get(entity.id);
        if (!track)
            this.tracks.set(entity.id, track = new Track());
        track.push(entity.tick, entity.x, entity.y, entity.z, entity.yaw);
    }
    // A few quick ones first, then at a calm pace.
    sync(done) {
        const now = this.host.now();
        this.connection.send(MessageType.TIME_SYNC, TimeSync.encode({ clientTime: this.clock.request(now) }));
        this.syncTimer = this.host.setTimer(() => this.sync(done + 1), done < (this.lead.judged ? SYNC_FIRST : SYNC_UNJUDGED) ? SYNC_FIRST_MS : SYNC_LATER_MS);
    }
    audit(every, wait) {
        this.reportTimer = this.host.setTimer(() => {
            const report = this.world.quietReport();
            if (report)
                this.connection.send(MessageType.CELL_REPORT, CellReport.encode(report));
            this.audit(every, every);
        }, wait);
    }
    stopTimers() {
        for (const timer of [this.syncTimer, this.reportTimer])
            if (timer !== undefined)
                this.host.clearTimer(timer);
        this.syncTimer = this.reportTimer = undefined;
    }
}
