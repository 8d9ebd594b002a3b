// SPDX-License-Identifier: Apache-2.0
// Interpolation of remote entities. The picture shown lies a little in the past, by a delay that
// covers how unevenly state arrives: the late end of the arrivals of the last seconds, plus one
// update. The delay follows slowly, by running the shown time a little faster or slower.
const ARRIVALS = 256;
const BASE_WINDOW_MS = 10_000;
const SAMPLES = 24;
const LAG_RATE = 0.25; // how much slower or faster one entity may be shown while its lag changes
export const defaultPlayout = { leastMs: 20, mostMs: 600, percentile: 0.97, rate: 0.08 };
/** Which tick is shown at a time. */
export class PlayoutClock {
    options;
    tickMs = 1000 / 60;
    late = [];
    at = 0;
    base = Infinity;
    nextBase = Infinity;
    baseSince = 0;
    lastTick = 0;
    gap = 1;
    wanted = 100;
    shown = NaN;
    lastNow = 0;
    measured = 0;
    /** Ticks shown were newer than the newest state: the delay was too short. */
    starved = 0;
    constructor(options = defaultPlayout) {
        this.options = options;
    }
    get newestTick() { return this.lastTick; }
    /** Ticks between two states of the world, as they came of late; the delay covers so many. */
    get gapTicks() { return this.gap; }
    /** The delay aimed at, ms. */
    get targetMs() { return this.wanted; }
    /** The delay now, ms: from the arrival of the fastest state to its showing. */
    get delayMs() {
        return Number.isNaN(this.shown) ? this.wanted : this.lastNow - this.base - this.shown * this.tickMs;
    }
    /** How late the last state came, compared to the fastest one; ms. */
    get lastLateMs() { return this.late.length === 0 ? 0 : this.late[(this.at + ARRIVALS - 1) % ARRIVALS] ?? 0; }
    reset() {
        this.late.length = 0;
        this.at = 0;
        this.base = this.nextBase = Infinity;
        this.lastTick = 0;
        this.gap = 1;
        this.shown = NaN;
    }
    /** State of `tick` arrived. */
    onTick(tick, now) {
        if (tick <= this.lastTick)
            return;
        if (this.lastTick !== 0)
            this.gap += (Math.min(30, tick - this.lastTick) - this.gap) / 16;
        this.lastTick = tick;
        const when = now - tick * this.tickMs;
        if (now - this.baseSince > BASE_WINDOW_MS) {
            this.base = this.nextBase;
            this.nextBase = when;
            this.baseSince = now;
        }
        this.nextBase = Math.min(this.nextBase, when);
        if (this.base === Infinity) {
            this.base = when;
            this.baseSince = now;
        }
        this.base = Math.min(this.base, when);
        this.late[this.at] = when - this.base;
        this.at = (this.at + 1) % ARRIVALS;
        if (now - this.measured > 100) {
            this.measured = now;
            this.measure();
        }
    }
    measure() {
        const { leastMs, mostMs, percentile } = this.options;
        const sorted = [...this.late].sort((a, b) => a - b);
        const late = sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * percentile))] ?? 0;
        this.wanted = Math.min(mostMs, Math.max(leastMs, late + (this.gap + 0.5) * this.tickMs));
    }
    /** The tick to show at `now`, with its fraction; NaN before the first state. Call it once a picture. */
    shownTick(now) {
        if (this.base === Infinity)
            return NaN;
        const goal = (now - this.base - this.wanted) / this.tickMs;
        const step = (now - this.lastNow) / this.tickMs;
        const error = goal - (this.shown + step);
        if (Number.isNaN(this.shown) || Math.abs(error) * this.tickMs > 1000)
            this.shown = goal;
        else {
            const most = step * this.options.rate;
            this.shown += step + Math.max(-most, Math.min(most, error));
        }
        this.lastNow = now;
        if (this.shown > this.lastTick + 0.5)
            this.starved += 1;
        return this.shown;
    }
}
/** The last states of one entity. */
export class Track {
    ticks = new Float64Array(SAMPLES);
    poses = new Float64Array(SAMPLES * 4);
    count = 0;
    head = 0; // of the newest
    gap = 3;
    lag = NaN;
    lastShown = 0;
    /** A state; one of the newest tick takes its place. */
    push(tick, x, y, z, yaw) {
        const last = this.count === 0 ? -1 : this.ticks[this.head];
        if (tick < last)
            return;
        if (tick > last && this.count > 0) {
            const gap = tick - last;
            // It stood still for a while: it began to move one update ago, not when it was last heard of.
            if (gap > 4 * this.gap + 6) {
                const at = this.head * 4;
                this.put(tick - this.gap, this.poses[at], this.poses[at + 1], this.poses[at + 2], this.poses[at + 3]);
            }
            else {
                this.gap += (gap - this.gap) / 8;
            }
        }
        if (tick === last)
            this.store(tick, x, y, z, yaw);
        else
            this.put(tick, x, y, z, yaw);
    }
    put(tick, x, y, z, yaw) {
        this.head = (this.head + 1) % SAMPLES;
        this.count = Math.min(SAMPLES, this.count + 1);
        this.store(tick, x, y, z, yaw);
    }
    store(tick, x, y, z, yaw) {
        this.ticks[this.head] = tick;
        const at = this.head * 4;
        this.poses[at] = x;
        this.poses[at + 1] = y;
        this.poses[at + 2] = z;
        this.poses[at + 3] = yaw;
    }
    /**
     * Where it is at `shown`; before the first state and behind the last it stands. One that is told of
     * less often than the world, each `worldGap` ticks, is shown so much later, or it would stand and jump.
     */
    sample(shown, out, worldGap = Infinity) {
        const aim = Math.max(0, this.gap - worldGap);
        const most = Math.max(0, shown - this.lastShown) * LAG_RATE;
        this.lag = Number.isNaN(this.lag) ? aim : this.lag + Math.max(-most, Math.min(most, aim - this.lag));
        this.lastShown = shown;
        const tick = shown - this.lag;
        let newer = this.head;
        let older = this.head;
        for (let i = 0; i < this.count; i += 1) {
            older = (this.head + SAMPLES - i) % SAMPLES;
            if (this.ticks[older] <= tick)
                break;
            newer = older;
        }
        const a = older * 4;
        const b = newer * 4;
        const span = this.ticks[newer] - this.ticks[older];
        const part = span > 0 ? Math.max(0, Math.min(1, (tick - this.ticks[older]) / span)) : 1;
        const p = this.poses;
        out.x = p[a] + (p[b] - p[a]) * part;
        out.y = p[a + 1] + (p[b + 1] - p[a + 1]) * part;
        out.z = p[a + 2] + (p[b + 2] - p[a + 2]) * part;
        let turn = p[b + 3] - p[a + 3];
        if (turn > Math.PI)
            turn -= 2 * Math.PI;
        else if (turn < -Math.PI)
            turn += 2 * Math.PI;
        out.yaw = p[a + 3] + turn * part;
        return out;
    }
}
