// SPDX-License-Identifier: Apache-2.0
import type { Vector3 } from './messages.js';
/** What the player wants during one step. */
export interface SteerSample {
    /** In 1/127 of the full speed. */
    direction: [number, number, number];
    /** In 1/256 of a turn. */
    yaw: number;
    flags: number;
}
export interface MoveInput {
    /** Metres a second. */
    velocity: Vector3;
    /** Radians about y. */
    yaw: number;
    flags: number;
    /** Seconds. */
    dt: number;
    /** Holds instead of the others when the player is steered (steering.ts). */
    sample?: SteerSample;
    /** Client tick, set by Prediction. */
    tick?: number;
}
