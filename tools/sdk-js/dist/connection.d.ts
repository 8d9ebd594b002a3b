// SPDX-License-Identifier: Apache-2.0
import { type BackoffOptions } from './backoff.js';
import { Delivery } from './delivery.js';
import { Emitter } from './emitter.js';
import { type EnvelopeHead } from './frame.js';
import type { Host } from './host.js';
import { AuthenticationResult, ConnectionEstablished, ErrorNotification, ResumeResult, type NetworkMessage } from './messages.js';
import { Rate, Traffic } from './statistics.js';
import { type Transport, type TransportPolicy } from './transport.js';
export type ConnectionState = 'closed' | 'connecting' | 'connected' | 'authenticating' | 'authenticated' | 'inWorld' | 'reconnecting';
/** From a state to those that may follow it. */
export declare const TRANSITIONS: Readonly<Record<ConnectionState, readonly ConnectionState[]>>;
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
export declare const defaultConnection: Omit<ConnectionOptions, 'endpoints'>;
export interface Loss {
    /** Close code; 1006 when there was none. */
    code: number;
    reason: string;
    /** Until the next try, ms; undefined: there will be none. */
    retryMs: number | undefined;
}
export interface ConnectionEvents {
    state: {
        from: ConnectionState;
        to: ConnectionState;
    };
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
export declare class Connection extends Emitter<ConnectionEvents> {
    private readonly host;
    readonly received: Traffic;
    readonly sent: Traffic;
    /** Bytes of WebSocket messages. */
    readonly bytesIn: Rate;
    readonly bytesOut: Rate;
    readonly delivery: Delivery;
    reconnects: number;
    private readonly options;
    private readonly backoff;
    private readonly choice;
    private by;
    private opening;
    private current;
    private generation;
    private socket;
    private retryTimer;
    private readonly timers;
    private endpoint;
    private detour;
    private resumeToken;
    private resumeAsked;
    private sessionKnown;
    private farewell;
    private resumeRefused;
    private refreshing;
    private lastReceived;
    private worldSince;
    private ackTimer;
    private beat;
    private interval;
    private readonly beats;
    constructor(host: Host, options: Partial<ConnectionOptions> & {
        endpoints: readonly string[];
    });
    get state(): ConnectionState;
    /** What the try under way, or the connection that stands, goes by. */
    get transport(): Transport;
    /** Begins to connect, and to reconnect until disconnect(). Nothing when it has begun already. */
    connect(): void;
    /** While it waits to come back: tries at once, such as when the network is another one. */
    retryNow(): void;
    /** Ends the connection and all tries. */
    disconnect(reason?: string): void;
    /** Sends at once; false when nobody is logged in. */
    send(type: number, payload?: Uint8Array, head?: EnvelopeHead): boolean;
    /** Sends with acknowledgement: now or after the next login, and again until the server has it. */
    sendReliable(type: number, payload?: Uint8Array): number | undefined;
    /** The first state came. */
    enterWorld(): void;
    private move;
    private timer;
    private release;
    private attempt;
    private openSocket;
    private judge;
    private lose;
    private receive;
    private owe;
    private take;
    private refreshToken;
    private sendAgain;
    private heartbeat;
    private pong;
}
