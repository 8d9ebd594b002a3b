// SPDX-License-Identifier: Apache-2.0
export declare class ClockSync {
    private samples;
    private readonly sent;
    private best;
    /** Ticks a second. */
    tickRate: number;
    /** Round trip, smoothed as TCP does it, and its mean deviation; ms. */
    rtt: number;
    jitter: number;
    /** The last round trip, ms. */
    lastRtt: number;
    get synced(): boolean;
    /** At most so far off, ms. */
    get errorMs(): number;
    /** Whole milliseconds that name one request. */
    request(now: number): number;
    /** An answer; one to no request of ours is ignored: false. */
    answer(clientTime: number, serverTime: number, serverTick: number, now: number): boolean;
    /** A round trip measured by other means, such as a heartbeat. */
    roundTrip(rtt: number): void;
    /** The server's Unix time at `now`; NaN before the first answer. */
    serverTime(now: number): number;
    /** The server's tick at `now`, with its fraction; NaN before the first answer. */
    serverTick(now: number): number;
    reset(): void;
}
