// SPDX-License-Identifier: Apache-2.0
// Own movement without waiting for the server. Each input moves the predicted self at once and is
// kept until MOVE_ACK names it; then what the server holds is taken as the start and the inputs
// behind it are applied again. A difference is not shown as a jump: the shown self walks it off.
export const walk = (at, { velocity, dt }) => ({
    x: at.x + velocity.x * dt, y: at.y + velocity.y * dt, z: at.z + velocity.z * dt,
});
export const defaultPrediction = {
    step: walk, tolerance: 0.04, smoothMs: 80, snap: 8, pendingMost: 256,
};
const length = (v) => Math.hypot(v.x, v.y, v.z);
// What is handed in may be a whole entity.
const placeOf = ({ x, y, z }) => ({ x, y, z });
const minus = (a, b) => ({ x: a.x - b.x, y: a.y - b.y, z: a.z - b.z });
export class Prediction {
    options;
    pending = [];
    predicted;
    held;
    offset = { x: 0, y: 0, z: 0 };
    offsetAt = 0;
    tick = 0;
    counts = { acks: 0, refused: 0, corrections: 0, lastError: 0, lastReason: 0 };
    constructor(options = {}) {
        this.options = { ...defaultPrediction, ...options };
    }
    /** Where the inputs so far lead; undefined before reset(). */
    get position() { return this.predicted; }
    /** Where the server says the player is, as of its last word. */
    get confirmed() { return this.held; }
    get clientTick() { return this.tick; }
    /** Inputs not yet answered, oldest first. */
    get inputs() { return this.pending.map((p) => p.input); }
    /** Begins anew at a place: entry, or coming back. Client ticks go on rising. */
    reset(position) {
        this.pending = [];
        this.predicted = placeOf(position);
        this.held = placeOf(position);
        this.offset = { x: 0, y: 0, z: 0 };
    }
    /** Applies an input and returns what PLAYER_MOVE says of it. */
    apply(input) {
        if (!this.predicted)
            throw new Error('no place to move from: the player is not in the world');
        this.tick = (this.tick + 1) >>> 0;
        const numbered = { ...input, tick: this.tick };
        this.predicted = this.options.step(this.predicted, numbered);
        this.pending.push({ tick: this.tick, input: numbered });
        if (this.pending.length > this.options.pendingMost)
            this.pending.shift();
        return { position: this.predicted, clientTick: this.tick };
    }
    onAck(ack, now) {
        if (!ack.position)
            return;
        this.counts.acks += 1;
        this.held = ack.position;
        if (!this.predicted) {
            this.predicted = { ...ack.position };
            return;
        }
        this.pending = this.pending.filter((p) => ((p.tick - ack.clientTick) | 0) > 0);
        let again = ack.position;
        for (const { input } of this.pending)
            again = this.options.step(again, input);
        const error = minus(this.predicted, again);
        const size = length(error);
        this.counts.lastError = size;
        if (ack.corrected) {
            this.counts.refused += 1;
            this.counts.lastReason = ack.reason;
        }
        if (size <= this.options.tolerance)
            return;
        this.counts.corrections += 1;
        const shown = this.shown(now);
        this.predicted = again;
        const offset = minus(shown, again);
        this.offset = length(offset) > this.options.snap ? { x: 0, y: 0, z: 0 } : offset;
        this.offsetAt = now;
    }
    /** The server put the player somewhere without being asked: taken when no input is on its way. */
    onServerPlace(position, now) {
        this.held = placeOf(position);
        if (!this.predicted || this.pending.length > 0)
            return;
        const shown = this.shown(now);
        if (length(minus(this.predicted, position)) <= this.options.tolerance)
            return;
        this.predicted = placeOf(position);
        const offset = minus(shown, position);
        this.offset = length(offset) > this.options.snap ? { x: 0, y: 0, z: 0 } : offset;
        this.offsetAt = now;
    }
    /** Where to draw the own player at `now`. */
    shown(now) {
        const at = this.predicted ?? { x: 0, y: 0, z: 0 };
        const share = Math.exp(-Math.max(0, now - this.offsetAt) / this.options.smoothMs);
        return { x: at.x + this.offset.x * share, y: at.y + this.offset.y * share, z: at.z + this.offset.z * share };
    }
    stats(now) {
        const share = Math.exp(-Math.max(0, now - this.offsetAt) / this.options.smoothMs);
        return { ...this.counts, pending: this.pending.length, smoothing: length(this.offset) * share };
    }
}
