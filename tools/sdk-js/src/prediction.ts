// SPDX-License-Identifier: Apache-2.0
// Own movement without waiting for the server. Each input moves the predicted self at once and is
// kept until MOVE_ACK names it; then what the server holds is taken as the start and the inputs
// behind it are applied again. A difference is not shown as a jump: the shown self walks it off.

import type { MoveInput } from './input.js';
import type { MoveAck, Vector3 } from './messages.js';

/** The place after an input. It must give the same for the same arguments. */
export type StepFunction = (at: Vector3, input: MoveInput) => Vector3;

export const walk: StepFunction = (at, { velocity, dt }) => ({
  x: at.x + velocity.x * dt, y: at.y + velocity.y * dt, z: at.z + velocity.z * dt,
});

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
export const defaultPrediction: PredictionOptions = {
  step: walk, tolerance: 0.04, smoothMs: 80, snap: 8, pendingMost: 256,
};

interface Pending {
  tick: number;
  input: MoveInput;
}

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

const length = (v: Vector3): number => Math.hypot(v.x, v.y, v.z);
// What is handed in may be a whole entity.
const placeOf = ({ x, y, z }: Vector3): Vector3 => ({ x, y, z });
const minus = (a: Vector3, b: Vector3): Vector3 => ({ x: a.x - b.x, y: a.y - b.y, z: a.z - b.z });

export class Prediction {
  private readonly options: PredictionOptions;
  private pending: Pending[] = [];
  private predicted: Vector3 | undefined;
  private held: Vector3 | undefined;
  private offset: Vector3 = { x: 0, y: 0, z: 0 };
  private offsetAt = 0;
  private tick = 0;
  private readonly counts = { acks: 0, refused: 0, corrections: 0, lastError: 0, lastReason: 0 };

  constructor(options: Partial<PredictionOptions> = {}) {
    this.options = { ...defaultPrediction, ...options };
  }

  /** Where the inputs so far lead; undefined before reset(). */
  get position(): Vector3 | undefined { return this.predicted; }
  /** Where the server says the player is, as of its last word. */
  get confirmed(): Vector3 | undefined { return this.held; }
  get clientTick(): number { return this.tick; }
  /** Inputs not yet answered, oldest first. */
  get inputs(): readonly MoveInput[] { return this.pending.map((p) => p.input); }

  /** Begins anew at a place: entry, or coming back. Client ticks go on rising. */
  reset(position: Vector3): void {
    this.pending = [];
    this.predicted = placeOf(position);
    this.held = placeOf(position);
    this.offset = { x: 0, y: 0, z: 0 };
  }

  /** Applies an input and returns what PLAYER_MOVE says of it. */
  apply(input: MoveInput): { position: Vector3; clientTick: number } {
    if (!this.predicted) throw new Error('no place to move from: the player is not in the world');
    this.tick = (this.tick + 1) >>> 0;
    const numbered = { ...input, tick: this.tick };
    this.predicted = this.options.step(this.predicted, numbered);
    this.pending.push({ tick: this.tick, input: numbered });
    if (this.pending.length > this.options.pendingMost) this.pending.shift();
    return { position: this.predicted, clientTick: this.tick };
  }

  onAck(ack: MoveAck, now: number): void {
    if (!ack.position) return;
    this.counts.acks += 1;
    this.held = ack.position;
    if (!this.predicted) {
      this.predicted = { ...ack.position };
      return;
    }
    this.pending = this.pending.filter((p) => ((p.tick - ack.clientTick) | 0) > 0);
    let again = ack.position;
    for (const { input } of this.pending) again = this.options.step(again, input);
    const error = minus(this.predicted, again);
    const size = length(error);
    this.counts.lastError = size;
    if (ack.corrected) {
      this.counts.refused += 1;
      this.counts.lastReason = ack.reason;
    }
    if (size <= this.options.tolerance) return;
    this.counts.corrections += 1;
    const shown = this.shown(now);
    this.predicted = again;
    const offset = minus(shown, again);
    this.offset = length(offset) > this.options.snap ? { x: 0, y: 0, z: 0 } : offset;
    this.offsetAt = now;
  }

  /** The server put the player somewhere without being asked: taken when no input is on its way. */
  onServerPlace(position: Vector3, now: number): void {
    this.held = placeOf(position);
    if (!this.predicted || this.pending.length > 0) return;
    const shown = this.shown(now);
    if (length(minus(this.predicted, position)) <= this.options.tolerance) return;
    this.predicted = placeOf(position);
    const offset = minus(shown, position);
    this.offset = length(offset) > this.options.snap ? { x: 0, y: 0, z: 0 } : offset;
    this.offsetAt = now;
  }

  /** Where to draw the own player at `now`. */
  shown(now: number): Vector3 {
    const at = this.predicted ?? { x: 0, y: 0, z: 0 };
    const share = Math.exp(-Math.max(0, now - this.offsetAt) / this.options.smoothMs);
    return { x: at.x + this.offset.x * share, y: at.y + this.offset.y * share, z: at.z + this.offset.z * share };
  }

  stats(now: number): PredictionStats {
    const share = Math.exp(-Math.max(0, now - this.offsetAt) / this.options.smoothMs);
    return { ...this.counts, pending: this.pending.length, smoothing: length(this.offset) * share };
  }
}
