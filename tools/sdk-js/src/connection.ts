// SPDX-License-Identifier: Apache-2.0
// The connection: one socket at a time, its states, login, heartbeat, and coming back after a loss.
//
// Each try has a generation number. Whatever belongs to an older one (a token that comes late, a
// socket that opens late, a timer) finds another number and ends: nothing reconnects after
// disconnect(), and no two sockets speak at once.
import { Backoff, defaultBackoff, type BackoffOptions } from './backoff.js';
import { Delivery } from './delivery.js';
import { Emitter } from './emitter.js';
import { inflate } from './inflate.js';
import { encodeFrame, parseFrames, type EnvelopeHead } from './frame.js';
import type { Host, Socket } from './host.js';
import {
  Compression,
  AuthenticationResult, CloseCode, ConnectionEstablished, Disconnect, ErrorCode, ErrorNotification, MessageType,
  ResumeResult, TokenRefresh, type NetworkMessage,
} from './messages.js';
import { WireError } from './pb.js';
import { Rate, Traffic } from './statistics.js';
import { REFUSALS, TransportChoice, type Opening, type Transport, type TransportPolicy } from './transport.js';

export type ConnectionState =
  'closed' | 'connecting' | 'connected' | 'authenticating' | 'authenticated' | 'inWorld' | 'reconnecting';

/** From a state to those that may follow it. */
export const TRANSITIONS: Readonly<Record<ConnectionState, readonly ConnectionState[]>> = {
  closed: ['connecting'],
  connecting: ['connected', 'reconnecting', 'closed'],
  connected: ['authenticating', 'reconnecting', 'closed'],
  authenticating: ['authenticated', 'reconnecting', 'closed'],
  authenticated: ['inWorld', 'reconnecting', 'closed'],
  inWorld: ['reconnecting', 'closed'],
  reconnecting: ['connecting', 'closed'],
};

export interface ConnectionOptions {
  /** WebSocket URLs, in order of preference; the next one is tried when one fails. */
  endpoints: readonly string[];
  /** Asked before every try; undefined: no token is sent. */
  token?: (() => string | undefined | Promise<string | undefined>) | undefined;
  backoff: BackoffOptions;
  /** From the beginning of a try to the end of the login, ms. */
  loginTimeoutMs: number;
  /** Pause between HEARTBEATs; the server's own interval when that is shorter; ms. */
  heartbeatMs: number;
  /** Silence after which the connection counts as lost, ms. */
  silenceMs: number;
  /** A connection that held so long makes the next wait a short one again, ms. */
  stableMs: number;
  /** `auto`: HTTP long polling when WebSocket is blocked. */
  transport: TransportPolicy;
}
export const defaultConnection: Omit<ConnectionOptions, 'endpoints'> = {
  backoff: defaultBackoff, loginTimeoutMs: 10_000, heartbeatMs: 5000, silenceMs: 15_000, stableMs: 5000,
  transport: 'auto',
};

export interface Loss {
  /** Close code; 1006 when there was none. */
  code: number;
  reason: string;
  /** Until the next try, ms; undefined: there will be none. */
  retryMs: number | undefined;
}

export interface ConnectionEvents {
  state: { from: ConnectionState; to: ConnectionState };
  established: ConnectionEstablished;
  authenticated: AuthenticationResult;
  /** Whether the session of before goes on. */
  resumed: ResumeResult;
  /** Every message that is none of the connection's own. */
  message: NetworkMessage;
  /** All messages of one WebSocket message were told. */
  messageEnd: undefined;
  roundTrip: number;
  serverError: ErrorNotification;
  lost: Loss;
}

/** How long an acknowledgement may wait for a message to ride on, ms. */
const ACK_DELAY_MS = 50;
const RAW_BYTES_MAX = 1 << 20;  // of a compressed payload
const EMPTY = new Uint8Array(0);

export class Connection extends Emitter<ConnectionEvents> {
  readonly received = new Traffic();
  readonly sent = new Traffic();
  /** Bytes of WebSocket messages. */
  readonly bytesIn = new Rate();
  readonly bytesOut = new Rate();
  readonly delivery = new Delivery();
  reconnects = 0;

  private readonly options: ConnectionOptions;
  private readonly backoff: Backoff;
  private readonly choice: TransportChoice;
  private by: Transport = 'websocket';
  private opening = false;  // a try goes on that has not been judged
  private current: ConnectionState = 'closed';
  private generation = 0;
  private socket: Socket | undefined;
  private retryTimer: unknown;
  private readonly timers = new Set<unknown>();
  private endpoint = 0;
  private detour: string | undefined;
  private resumeToken = '';
  private resumeAsked = false;
  private sessionKnown = false;  // whether the session of before goes on, or which one began
  private farewell: Disconnect | undefined;
  private resumeRefused = false;  // an ERROR with the same news follows
  private refreshing = false;  // the provider was asked for a newer token
  private lastReceived = 0;
  private worldSince = 0;
  private ackTimer: unknown;
  private beat = 0;
  private interval = 0;  // between heartbeats, ms
  private readonly beats = new Map<number, number>();

  constructor(private readonly host: Host, options: Partial<ConnectionOptions> & { endpoints: readonly string[] }) {
    super();
    if (options.endpoints.length === 0) throw new Error('no endpoint to connect to');
    this.options = { ...defaultConnection, ...options };
    this.backoff = new Backoff(() => host.random(), this.options.backoff);
    this.choice = new TransportChoice(host.openPolling ? this.options.transport : 'websocket');
  }

  get state(): ConnectionState { return this.current; }
  /** What the try under way, or the connection that stands, goes by. */
  get transport(): Transport { return this.by; }

  /** Begins to connect, and to reconnect until disconnect(). Nothing when it has begun already. */
  connect(): void {
    if (this.current !== 'closed') return;
    this.backoff.reset();
    this.attempt();
  }

  /** While it waits to come back: tries at once, such as when the network is another one. */
  retryNow(): void {
    this.choice.forget();
    if (this.current !== 'reconnecting' || this.retryTimer === undefined) return;
    this.reconnects += 1;
    this.attempt();
  }

  /** Ends the connection and all tries. */
  disconnect(reason = 'client leaves'): void {
    const { socket } = this;
    if (socket && (this.current === 'authenticated' || this.current === 'inWorld')) {
      this.send(MessageType.DISCONNECT, Disconnect.encode({ code: CloseCode.NORMAL, reason }));
    }
    this.release();
    socket?.close(CloseCode.NORMAL, reason);
    this.resumeToken = '';
    if (this.current !== 'closed') this.move('closed');
  }

  /** Sends at once; false when nobody is logged in. */
  send(type: number, payload: Uint8Array = EMPTY, head: EnvelopeHead = {}): boolean {
    if (!this.socket || (this.current !== 'authenticated' && this.current !== 'inWorld')) return false;
    const ack = this.sessionKnown ? this.delivery.ackOut : 0;
    const data = encodeFrame(type, payload, {
      timestamp: this.host.wallClock(), ...(ack > 0 ? { ack } : {}), ...head,
    });
    if (this.sessionKnown) this.delivery.ackSent();
    const now = this.host.now();
    this.sent.add(type, payload.length, now);
    this.bytesOut.add(data.length, now);
    this.socket.send(data);
    return true;
  }

  /** Sends with acknowledgement: now or after the next login, and again until the server has it. */
  sendReliable(type: number, payload: Uint8Array = EMPTY): number | undefined {
    const kept = this.delivery.keep(type, payload);
    // Before that it may be sent again, under another number.
    if (kept && this.sessionKnown) this.send(type, payload, { sequence: kept.sequence, requiresAck: true });
    return kept?.sequence;
  }

  /** The first state came. */
  enterWorld(): void {
    if (this.current !== 'authenticated') return;
    this.worldSince = this.host.now();
    this.move('inWorld');
  }

  private move(to: ConnectionState): void {
    const from = this.current;
    if (!TRANSITIONS[from].includes(to)) throw new Error(`connection: ${from} to ${to} is no transition`);
    this.current = to;
    this.emit('state', { from, to });
  }

  private timer(generation: number, run: () => void, ms: number): void {
    const timer = this.host.setTimer(() => {
      this.timers.delete(timer);
      if (generation === this.generation) run();
    }, ms);
    this.timers.add(timer);
  }

  // Lets go of the socket and everything that waits.
  private release(): void {
    this.generation += 1;
    for (const timer of this.timers) this.host.clearTimer(timer);
    this.timers.clear();
    if (this.retryTimer !== undefined) this.host.clearTimer(this.retryTimer);
    if (this.ackTimer !== undefined) this.host.clearTimer(this.ackTimer);
    this.retryTimer = this.ackTimer = undefined;
    this.socket = undefined;
    this.opening = false;
    this.sessionKnown = this.resumeRefused = this.refreshing = false;
    this.farewell = undefined;
    this.beats.clear();
  }

  private attempt(): void {
    this.release();
    const generation = this.generation;
    this.move('connecting');
    if (generation !== this.generation) return;  // a listener said disconnect()
    this.timer(generation, () => this.lose(generation, 1006, 'the login took too long'), this.options.loginTimeoutMs);
    const open = (token: string | undefined): void => {
      if (generation !== this.generation) return;
      try {
        this.openSocket(generation, token);
      } catch (error) {
        this.lose(generation, 1006, `no socket: ${String(error)}`);
      }
    };
    const failed = (error: unknown): void => this.lose(generation, 1006, `no token: ${String(error)}`);
    try {
      const token = this.options.token?.();
      if (token instanceof Promise) token.then(open, failed);
      else open(token);
    } catch (error) {
      failed(error);
    }
  }

  private openSocket(generation: number, token: string | undefined): void {
    const { endpoints } = this.options;
    const url = new URL(this.detour ?? endpoints[this.endpoint % endpoints.length]!);
    if (token !== undefined && token !== '') url.searchParams.set('token', token);
    this.resumeAsked = this.resumeToken !== '';
    if (this.resumeAsked) url.searchParams.set('resume', this.resumeToken);
    this.by = this.choice.next(this.host.now());
    this.opening = true;
    const { host } = this;
    const socket = (this.by === 'polling' ? host.openPolling! : host.openSocket)(url.href, ['tidegate.v1.proto']);
    socket.binaryType = 'arraybuffer';
    this.socket = socket;
    const mine = (): boolean => generation === this.generation;
    socket.onopen = () => {
      if (!mine()) {
        socket.close(CloseCode.NORMAL);
        return;
      }
      this.judge('opened');
      this.move('connected');
    };
    socket.onmessage = ({ data }) => { if (mine()) this.receive(generation, data); };
    socket.onclose = ({ code, reason, status }) => {
      if (mine() && status !== undefined && REFUSALS.includes(status)) this.judge('refused');
      this.lose(generation, code, reason);
    };
    socket.onerror = () => undefined;  // a close follows
  }

  private judge(how: Opening): void {
    if (this.opening) this.choice.began(this.by, how);
    this.opening = false;
  }

  private lose(generation: number, code: number, reason: string): void {
    if (generation !== this.generation) return;
    this.judge('failed');
    const { socket, farewell } = this;
    const wasInWorld = this.current === 'inWorld';
    const stable = wasInWorld && this.host.now() - this.worldSince >= this.options.stableMs;
    this.release();
    // Its own close comes late and finds another generation.
    socket?.close();
    const ended = code === CloseCode.REPLACED || farewell?.code === ErrorCode.REPLACED
      || (code === CloseCode.NORMAL && !farewell?.retryAfterMs && !farewell?.reconnectUrl);
    const why = farewell?.reason || reason;
    if (ended) {
      this.emit('lost', { code, reason: why, retryMs: undefined });
      if (this.current !== 'closed') this.move('closed');
      return;
    }
    if (stable) this.backoff.reset();
    if (farewell?.retryAfterMs) this.backoff.advise(farewell.retryAfterMs);
    const asked = farewell?.reconnectUrl;
    this.detour = asked && /^wss?:\/\//.test(asked) ? asked : undefined;
    // A server that worked until now is tried first again.
    if (!wasInWorld && !asked) this.endpoint += 1;
    const retryMs = this.backoff.next();
    const next = this.generation;
    this.move('reconnecting');
    if (next !== this.generation) return;
    this.retryTimer = this.host.setTimer(() => {
      if (next !== this.generation) return;
      this.reconnects += 1;
      this.attempt();
    }, retryMs);
    this.emit('lost', { code, reason: why, retryMs });
  }

  private receive(generation: number, data: unknown): void {
    const now = this.host.now();
    this.lastReceived = now;
    if (!(data instanceof ArrayBuffer)) {
      this.socket?.close(CloseCode.NORMAL);
      this.lose(generation, CloseCode.WRONG_DATA, 'a text message');
      return;
    }
    this.bytesIn.add(data.byteLength, now);
    try {
      for (const message of parseFrames(new Uint8Array(data))) {
        if (generation !== this.generation) return;
        this.received.add(message.type, message.payload.length, now);
        this.delivery.onAck(message.ack);
        if (message.compression !== 0) {
          if (message.compression !== Compression.ZLIB) throw new WireError('a compression that was not offered', 4017);
          if (message.rawSize > RAW_BYTES_MAX) throw new WireError('a compressed message that is too large', 4017);
          message.payload = inflate(message.payload, message.rawSize);
        }
        const wanted = this.delivery.accept(message.sequence, message.requiresAck);
        if (this.delivery.ackOwed) this.owe(generation);
        if (wanted) this.take(generation, message, now);
      }
    } catch (error) {
      if (!(error instanceof WireError)) throw error;
      this.lose(generation, CloseCode.PROTOCOL_ERROR, error.message);
      return;
    }
    if (generation === this.generation) this.emit('messageEnd', undefined);
  }

  private owe(generation: number): void {
    if (this.ackTimer !== undefined) return;
    this.ackTimer = this.host.setTimer(() => {
      this.ackTimer = undefined;
      if (generation === this.generation && this.delivery.ackOwed) this.send(MessageType.ACK);
    }, ACK_DELAY_MS);
  }

  private take(generation: number, message: NetworkMessage, now: number): void {
    const { payload } = message;
    switch (message.type) {
      case MessageType.CONNECTION_ESTABLISHED: {
        const established = ConnectionEstablished.decode(payload);
        this.resumeToken = established.resumeToken;
        if (this.current === 'connected') this.move('authenticating');
        this.emit('established', established);
        const { heartbeatMs } = this.options;
        this.interval = Math.min(heartbeatMs, established.heartbeatInterval || heartbeatMs);
        break;
      }
      case MessageType.AUTHENTICATION_RESULT: {
        const result = AuthenticationResult.decode(payload);
        if (!result.success) {
          this.lose(generation, CloseCode.POLICY, result.errorMessage || 'the login was refused');
          break;
        }
        if (this.current !== 'authenticating') throw new WireError('AUTHENTICATION_RESULT out of place');
        this.move('authenticated');
        this.detour = undefined;
        // The login is done; from here on silence is what counts.
        for (const timer of this.timers) this.host.clearTimer(timer);
        this.timers.clear();
        this.heartbeat(generation);
        if (!this.resumeAsked) {
          this.sessionKnown = true;
          this.sendAgain(this.delivery.restart());
        }
        this.emit('authenticated', result);
        break;
      }
      case MessageType.RESUME_RESULT: {
        const result = ResumeResult.decode(payload);
        this.sessionKnown = true;
        this.resumeRefused = !result.resumed;
        this.sendAgain(result.resumed ? this.delivery.resume(result.lastClientSequence) : this.delivery.restart());
        this.emit('resumed', result);
        break;
      }
      case MessageType.HEARTBEAT: this.send(MessageType.PONG, payload); break;
      case MessageType.PONG: this.pong(payload, now); break;
      case MessageType.ACK: break;
      case MessageType.DISCONNECT: this.farewell = Disconnect.decode(payload); break;
      case MessageType.ERROR: {
        const error = ErrorNotification.decode(payload);
        const told = this.resumeRefused && (error.code === ErrorCode.SESSION_EXPIRED || error.code === ErrorCode.RESUME_TOKEN);
        if (told && !error.fatal) this.resumeRefused = false;  // RESUME_RESULT in numbers
        else if (!error.fatal && error.code === ErrorCode.SESSION_EXPIRED) this.refreshToken(generation);
        this.emit('serverError', error);
        break;
      }
      default: this.emit('message', message);
    }
  }

  // The token will expire: a newer one goes on this connection. Without one the connection ends with the token.
  private refreshToken(generation: number): void {
    const { token } = this.options;
    if (!token || this.refreshing) return;
    this.refreshing = true;
    const send = (fresh: string | undefined): void => {
      if (generation !== this.generation) return;
      this.refreshing = false;
      if (fresh) this.send(MessageType.TOKEN_REFRESH, TokenRefresh.encode({ token: fresh }));
    };
    const failed = (): void => send(undefined);
    try {
      const fresh = token();
      if (fresh instanceof Promise) fresh.then(send, failed);
      else send(fresh);
    } catch {
      failed();
    }
  }

  private sendAgain(messages: readonly { sequence: number; type: number; payload: Uint8Array }[]): void {
    for (const m of messages) this.send(m.type, m.payload, { sequence: m.sequence, requiresAck: true });
  }

  private heartbeat(generation: number): void {
    this.timer(generation, () => {
      const now = this.host.now();
      if (now - this.lastReceived > this.options.silenceMs) {
        this.lose(generation, 1006, 'the server is silent');
        return;
      }
      this.beat = (this.beat + 1) >>> 0;
      this.beats.set(this.beat, now);
      const payload = new Uint8Array(4);
      new DataView(payload.buffer).setUint32(0, this.beat);
      this.send(MessageType.HEARTBEAT, payload);
      this.heartbeat(generation);
    }, this.interval);
  }
  private pong(payload: Uint8Array, now: number): void {
    if (payload.length !== 4) return;
    const beat = new DataView(payload.buffer, payload.byteOffset).getUint32(0);
    const sent = this.beats.get(beat);
    if (sent === undefined) return;
    this.beats.clear();
    this.emit('roundTrip', now - sent);
  }
}
