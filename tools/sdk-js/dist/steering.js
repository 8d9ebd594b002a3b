// SPDX-License-Identifier: Apache-2.0
// Own movement by input: time is cut into steps of the server's tick, each step's sample is applied
// to the predicted self by the rule the server uses and sent, so that both come to the same place.
// docs/sdk-spec.md, "Steering", is the contract; src/sdk/steering.h the same in C++.
const FULL = 127;
const DIVISOR = 256 * FULL;
const STEPS_MOST = 64;
// Half away from zero.
const round = (v) => Math.sign(v) * Math.floor(Math.abs(v) + 0.5);
const deflection = (v) => round(Math.min(1, Math.max(-1, v)) * FULL) + 0;
/** A direction of length up to 1 and a yaw in radians. */
export function steerSample(direction, yaw, flags) {
    const { x, y, z } = direction;
    const length = Math.sqrt(x * x + y * y + z * z);
    const scale = length > 1 ? 1 / length : 1;
    return {
        direction: [deflection(x * scale), deflection(y * scale), deflection(z * scale)],
        yaw: round(yaw * (128 / Math.PI)) & 255, flags: flags >>> 0,
    };
}
/** Steps of position that the sample with this client tick moves; `speed` is the server's. */
export function steerSteps(sample, clientTick, speed) {
    const [x, y, z] = sample.direction;
    const squares = x * x + y * y + z * z;
    const length = squares > FULL * FULL ? Math.ceil(Math.sqrt(squares)) : FULL;
    const phase = clientTick % DIVISOR;
    const axis = (d) => {
        const v = Math.trunc((d * FULL) / length) * speed;
        return Math.floor(((phase + 1) * v) / DIVISOR) - Math.floor((phase * v) / DIVISOR);
    };
    return [axis(x), axis(y), axis(z)];
}
/** Runs of equal samples, as PLAYER_STEER carries them. */
export function encodeSteerRun(sample, count) {
    const out = [];
    const varint = (v) => {
        let rest = v >>> 0;
        for (; rest >= 128; rest >>>= 7)
            out.push((rest & 127) | 128);
        out.push(rest);
    };
    varint(count);
    out.push(...sample.direction.map((d) => d & 255), sample.yaw);
    varint(sample.flags);
    return new Uint8Array(out);
}
const same = (a, b) => a.yaw === b.yaw && a.flags === b.flags &&
    a.direction.every((d, i) => d === b.direction[i]);
const still = ({ direction }) => direction.every((d) => d === 0);
const standing = () => ({ direction: [0, 0, 0], yaw: 0, flags: 0 });
const none = () => ({ x: 0, y: 0, z: 0 });
export class Steering {
    limit;
    positionStep = 0.02;
    /** From CONNECTION_ESTABLISHED, 1/256 step a tick; 0: steering is not possible. */
    speed = 0;
    /** Of one sample, seconds. */
    stepTime = 0;
    /** Makes up for samples that should wait at the server. */
    lead;
    time = 0; // not yet a whole step
    last = none();
    before = standing(); // set while the player stands
    get possible() { return this.speed > 0 && this.stepTime > 0; }
    reset() {
        this.time = 0;
        this.last = none();
        this.before = standing();
        this.lead?.endStretch();
    }
    /** Applies what `dt` seconds of `sample` are; how many samples, and the first one's client tick. */
    advance(sample, dt, prediction) {
        if (still(sample) && this.before && same(sample, this.before)) {
            this.time = 0;
            this.last = none();
            return { count: 0, firstTick: 0 };
        }
        const more = this.lead && !still(sample) ? this.lead.more(dt) : 0;
        this.time = Math.min(this.time + (dt + more), 0.25);
        let count = 0;
        let firstTick = 0;
        while (this.time >= this.stepTime && count < STEPS_MOST) {
            this.time -= this.stepTime;
            const from = prediction.position;
            const { position: to, clientTick } = prediction.apply({ velocity: none(), yaw: 0, flags: 0, dt: 0, sample });
            this.last = { x: to.x - from.x, y: to.y - from.y, z: to.z - from.z };
            if (count++ === 0)
                firstTick = clientTick;
            this.before = still(sample) ? sample : undefined;
            if (!this.before)
                continue;
            this.lead?.endStretch();
            break;
        }
        return { count, firstTick };
    }
    /** The rule, for Prediction. */
    step(at, input) {
        const moved = steerSteps(input.sample, input.tick, this.speed);
        const go = (from, steps) => (round(from / this.positionStep) + steps) * this.positionStep;
        const to = { x: go(at.x, moved[0]), y: go(at.y, moved[1]), z: go(at.z, moved[2]) };
        return this.limit ? this.limit(at, to) : to;
    }
    /** What of the last step is still ahead at this moment: to be taken off the predicted place. */
    ahead() {
        if (this.stepTime <= 0 || this.before)
            return none();
        const share = 1 - Math.min(1, this.time / this.stepTime);
        return { x: this.last.x * share, y: this.last.y * share, z: this.last.z * share };
    }
}
