// SPDX-License-Identifier: Apache-2.0
export declare class SteerLead {
    private most;
    private tickMs;
    private wantedMs;
    private wantedAt;
    private judged;
    private told;
    private high;
    private since;
    private quietUntil;
    private owed;
    /** From CONNECTION_ESTABLISHED: ticks that samples may wait at the most; 0: nothing is asked of the server. */
    setServer(ticksMost: number, tickMs: number): void;
    /** The player stands, or a world begins: what waits at the server is not known. */
    endStretch(): void;
    /** Of the last states that came: how many, how late the 95th of 100 and the latest one was; the round trip. */
    onNetwork(states: number, lateP95Ms: number, lateMostMs: number, rttMs: number, now: number): void;
    get wantedTicks(): number;
    /** From MOVE_ACK: samples that wait at the server. */
    onBuffered(waiting: number, now: number): void;
    /** What `dt` seconds of walking are taken for in addition. */
    more(dt: number): number;
    /** For the next PLAYER_STEER: ticks to wait; 0: nothing new. */
    tell(): number;
}
