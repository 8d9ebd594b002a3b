// SPDX-License-Identifier: Apache-2.0
import type { Host, SocketFactory } from './host.js';
export interface NetworkConditions {
    /** One way, ms. */
    latencyMs: number;
    /** Up to so much more, ms. */
    jitterMs: number;
    /** Share of messages that are lost once, 0 to 1; each costs a retransmission. */
    loss: number;
    /** Bytes a second in each direction; 0: no limit. */
    bandwidth: number;
}
export declare const GOOD: NetworkConditions;
export declare const PRESETS: Readonly<Record<string, NetworkConditions>>;
/** One direction of a connection: when what is sent arrives. */
export declare class Lane {
    private readonly host;
    private readonly conditions;
    private freeAt;
    private lastAt;
    private sentAt;
    private readonly timers;
    private readonly waiting;
    constructor(host: Host, conditions: NetworkConditions);
    /** Of a message of so many bytes that is sent now. Never before the one before it. */
    arrival(bytes: number): number;
    pass(bytes: number, deliver: () => void): void;
    cancel(): void;
}
/** Sockets that behave as if the network were as `conditions` says. It may be changed at any time. */
export declare class NetworkSimulator {
    private readonly host;
    readonly conditions: NetworkConditions;
    private readonly open;
    constructor(host: Host, conditions?: Partial<NetworkConditions>);
    set(conditions: NetworkConditions): void;
    /** The network is gone for all connections that are open, without a close handshake. */
    drop(): void;
    wrap(factory: SocketFactory): SocketFactory;
    private make;
}
