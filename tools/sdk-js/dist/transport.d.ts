// SPDX-License-Identifier: Apache-2.0
export type Transport = 'websocket' | 'polling';
export type TransportPolicy = 'auto' | Transport;
/** How a try began: the 101 or its like came; the server itself said no; no connection stood at all; else. */
export type Opening = 'opened' | 'refused' | 'unreachable' | 'failed';
/** In a row, then polling is tried. */
export declare const FAILURES_MOST = 2;
/** Polling works: so long after the last try WebSocket is tried again, at the next reconnect. */
export declare const AGAIN_MS: number;
/** Statuses by which the server itself refuses a login, whatever it comes by. */
export declare const REFUSALS: readonly number[];
export declare class TransportChoice {
    private readonly policy;
    private polling;
    private failures;
    private websocketAt;
    constructor(policy: TransportPolicy);
    /** For a try that begins now. */
    next(nowMs: number): Transport;
    /** Once for each try. */
    began(by: Transport, how: Opening): void;
    /** Another network: nothing is known of it. */
    forget(): void;
}
