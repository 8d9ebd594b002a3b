// SPDX-License-Identifier: Apache-2.0
export interface PlayoutOptions {
    /** Bounds of the delay, ms. */
    leastMs: number;
    mostMs: number;
    /** Share of arrivals that must be in time. */
    percentile: number;
    /** How much faster or slower the shown time may run. */
    rate: number;
}
export declare const defaultPlayout: PlayoutOptions;
/** Which tick is shown at a time. */
export declare class PlayoutClock {
    private readonly options;
    tickMs: number;
    private readonly late;
    private at;
    private base;
    private nextBase;
    private baseSince;
    private lastTick;
    private gap;
    private wanted;
    private lateRank;
    private lateMost;
    private shown;
    private lastNow;
    private lastArrival;
    private measured;
    /** Ticks shown were newer than the newest state: the delay was too short. */
    starved: number;
    constructor(options?: PlayoutOptions);
    get newestTick(): number;
    /** Ticks between two states of the world, as they came of late; the delay covers so many. */
    get gapTicks(): number;
    /** The delay aimed at, ms. */
    get targetMs(): number;
    /** The delay now, ms: from the arrival of the fastest state to its showing. */
    get delayMs(): number;
    /** How late the last state came, compared to the fastest one; ms. */
    get lastLateMs(): number;
    /** What the last shownTick() gave. */
    get tickOfPicture(): number;
    /** For the tracks of this world. */
    get horizon(): Horizon;
    reset(): void;
    /** The last states that came: how many, and compared to the fastest how late most of them were, and the latest. */
    get states(): number;
    get lateMs(): number;
    get lateMostMs(): number;
    /** State of `tick` arrived. True: how late states come was measured anew. */
    onTick(tick: number, now: number): boolean;
    private measure;
    /** The tick to show at `now`, with its fraction; NaN before the first state. Call it once a picture. */
    shownTick(now: number): number;
}
/** What a track has to know of the world to tell an entity that stands from one that is not told of. */
export interface Horizon {
    /** Ticks between two states of the world: one that is told of less often is shown so much later, or it would stand and jump. */
    gap: number;
    /** The newest state of the world. Infinite: there is always one, so nothing is extrapolated. */
    newest: number;
    /** Ticks that an entity may be shown ahead of its newest state. */
    aheadMost: number;
    /** What was shown wrongly shrinks by settle / (settle + 1) in a tick. */
    settle: number;
}
export interface Pose {
    x: number;
    y: number;
    z: number;
    yaw: number;
}
/** The last states of one entity. */
export declare class Track {
    private readonly ticks;
    private readonly poses;
    private count;
    private head;
    private gap;
    private lag;
    private lastShown;
    private aheadTicks;
    private settling;
    private readonly last;
    private readonly off;
    /** A state; one of the newest tick takes its place. */
    push(tick: number, x: number, y: number, z: number, yaw: number): void;
    private put;
    private store;
    /** Ticks that the last sample was ahead of the newest state. */
    get ahead(): number;
    /**
     * Where it is at `shown`; before the first state it stands, behind the last one it goes on when the
     * world's state is missing too. Once a picture.
     */
    sample(shown: number, out: Pose, horizon?: Horizon): Pose;
    private at;
}
