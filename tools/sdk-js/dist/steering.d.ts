// SPDX-License-Identifier: Apache-2.0
import type { MoveInput, SteerSample } from './input.js';
import type { Vector3 } from './messages.js';
import type { Prediction } from './prediction.js';
import type { SteerLead } from './steer_lead.js';
/** The place instead of `to`, for walls and the like; the game's server must do the same. */
export type SteerLimit = (from: Vector3, to: Vector3) => Vector3;
/** A direction of length up to 1 and a yaw in radians. */
export declare function steerSample(direction: Vector3, yaw: number, flags: number): SteerSample;
/** Steps of position that the sample with this client tick moves; `speed` is the server's. */
export declare function steerSteps(sample: SteerSample, clientTick: number, speed: number): [number, number, number];
/** Runs of equal samples, as PLAYER_STEER carries them. */
export declare function encodeSteerRun(sample: SteerSample, count: number): Uint8Array;
export declare class Steering {
    limit: SteerLimit | undefined;
    positionStep: number;
    /** From CONNECTION_ESTABLISHED, 1/256 step a tick; 0: steering is not possible. */
    speed: number;
    /** Of one sample, seconds. */
    stepTime: number;
    /** Makes up for samples that should wait at the server. */
    lead: SteerLead | undefined;
    private time;
    private last;
    private before;
    get possible(): boolean;
    reset(): void;
    /** Applies what `dt` seconds of `sample` are; how many samples, and the first one's client tick. */
    advance(sample: SteerSample, dt: number, prediction: Prediction): {
        count: number;
        firstTick: number;
    };
    /** The rule, for Prediction. */
    step(at: Vector3, input: MoveInput): Vector3;
    /** What of the last step is still ahead at this moment: to be taken off the predicted place. */
    ahead(): Vector3;
}
