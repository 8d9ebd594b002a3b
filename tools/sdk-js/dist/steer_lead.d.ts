// SPDX-License-Identifier: Apache-2.0
export declare class SteerLead {
    private most;
    private tickMs;
    private wantedMs;
    private wantedAt;
    private said;
    private trips;
    private shortest;
    private longest;
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
    /** Whether states have said what the network is like. */
    get judged(): boolean;
    /**
     * A round trip of TIME_SYNC, before so many states came as say more: where nobody moves, none do. The answer came
     * within the last `unsureMs` of it; 0 where it is told when it comes.
     */
    onRoundTrip(ms: number, unsureMs: number, now: number): void;
    get wantedTicks(): number;
    /** From MOVE_ACK: samples that wait at the server. */
    onBuffered(waiting: number, now: number): void;
    /** What `dt` seconds of walking are taken for in addition. */
    more(dt: number): number;
    /** For the next PLAYER_STEER: ticks to wait; 0: nothing new. */
    tell(): number;
}
