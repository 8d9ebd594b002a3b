// SPDX-License-Identifier: Apache-2.0
import type { MoveInput } from './input.js';
import type { MoveAck, Vector3 } from './messages.js';
/** The place after an input. It must give the same for the same arguments. */
export type StepFunction = (at: Vector3, input: MoveInput) => Vector3;
export declare const walk: StepFunction;
export interface PredictionOptions {
    step: StepFunction;
    /** Differences up to here come from the wire's 2 cm steps; metres. */
    tolerance: number;
    /** Time in which a difference shrinks to a third; ms. */
    smoothMs: number;
    /** Larger differences are shown at once; metres. */
    snap: number;
    /** Inputs kept; the oldest is given up. */
    pendingMost: number;
}
export declare const defaultPrediction: PredictionOptions;
export interface PredictionStats {
    pending: number;
    acks: number;
    /** Refused by the server. */
    refused: number;
    /** Acks whose place differed by more than the tolerance. */
    corrections: number;
    /** Of the last ack, metres. */
    lastError: number;
    /** What is still being walked off, metres. */
    smoothing: number;
    lastReason: number;
}
export declare class Prediction {
    private readonly options;
    private pending;
    private predicted;
    private held;
    private offset;
    private offsetAt;
    private tick;
    private readonly counts;
    constructor(options?: Partial<PredictionOptions>);
    /** Where the inputs so far lead; undefined before reset(). */
    get position(): Vector3 | undefined;
    /** Where the server says the player is, as of its last word. */
    get confirmed(): Vector3 | undefined;
    get clientTick(): number;
    /** Inputs not yet answered, oldest first. */
    get inputs(): readonly MoveInput[];
    /** Begins anew at a place: entry, or coming back. Client ticks go on rising. */
    reset(position: Vector3): void;
    /** Applies an input and returns what PLAYER_MOVE says of it. */
    apply(input: MoveInput): {
        position: Vector3;
        clientTick: number;
    };
    onAck(ack: MoveAck, now: number): void;
    /** The server put the player somewhere without being asked: taken when no input is on its way. */
    onServerPlace(position: Vector3, now: number): void;
    /** Where to draw the own player at `now`. */
    shown(now: number): Vector3;
    stats(now: number): PredictionStats;
}
