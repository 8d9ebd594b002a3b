// SPDX-License-Identifier: Apache-2.0
// Interpolation of remote entities. The picture shown lies a little in the past, by a delay that
// covers how unevenly state arrives: the late end of the arrivals of the last seconds, plus one
// update. The delay follows slowly, by running the shown time a little faster or slower. When state
// does not come in time, an entity that moved goes on as it went, for a while; what that was off is
// walked off when state comes again.

const ARRIVALS = 256;
const BASE_WINDOW_MS = 10_000;
const SAMPLES = 40;
const SLOW_RATE = 0.25;  // of the shown time that is ahead of what can be known
const LAG_RATE = 0.25;  // how much slower or faster one entity may be shown while its lag changes

const SNAP_METRES = 8;  // further off it is shown at its place at once
const SETTLED = 0.001;
const AHEAD_MS = 250;  // nobody is shown further ahead of its newest state
const SETTLE_MS = 100;
const GOAL_MS = 150;  // of a delay above it, up to the next is left to extrapolation
const LEFT_TO_PACE_MS = 130;
const PACE_STATES = 3;

export interface PlayoutOptions {
  /** Bounds of the delay, ms. */
  leastMs: number;
  mostMs: number;
  /** Share of arrivals that must be in time. */
  percentile: number;
  /** How much faster or slower the shown time may run. */
  rate: number;
}
export const defaultPlayout: PlayoutOptions = { leastMs: 20, mostMs: 600, percentile: 0.95, rate: 0.08 };

/** Which tick is shown at a time. */
export class PlayoutClock {
  tickMs = 1000 / 60;
  private readonly late: number[] = [];
  private at = 0;
  private base = Infinity;
  private nextBase = Infinity;
  private baseSince = 0;
  private lastTick = 0;
  private gap = 1;
  private wanted = 100;
  private lateRank = 0;
  private lateMost = 0;
  private shown = NaN;
  private lastNow = 0;
  private lastArrival = 0;
  private measured = 0;
  /** Ticks shown were newer than the newest state: the delay was too short. */
  starved = 0;

  constructor(private readonly options: PlayoutOptions = defaultPlayout) {}

  get newestTick(): number { return this.lastTick; }
  /** Ticks between two states of the world, as they came of late; the delay covers so many. */
  get gapTicks(): number { return this.gap; }
  /** The delay aimed at, ms. */
  get targetMs(): number { return this.wanted; }
  /** The delay now, ms: from the arrival of the fastest state to its showing. */
  get delayMs(): number {
    return Number.isNaN(this.shown) ? this.wanted : this.lastNow - this.base - this.shown * this.tickMs;
  }
  /** How late the last state came, compared to the fastest one; ms. */
  get lastLateMs(): number { return this.late.length === 0 ? 0 : this.late[(this.at + ARRIVALS - 1) % ARRIVALS] ?? 0; }

  /** What the last shownTick() gave. */
  get tickOfPicture(): number { return this.shown; }
  /** For the tracks of this world. */
  get horizon(): Horizon {
    return { gap: this.gap, newest: this.lastTick, aheadMost: AHEAD_MS / this.tickMs, settle: SETTLE_MS / this.tickMs };
  }

  reset(): void {
    this.late.length = 0;
    this.at = 0;
    this.base = this.nextBase = Infinity;
    this.lastTick = 0;
    this.gap = 1;
    this.shown = NaN;
  }

  /** The last states that came: how many, and compared to the fastest how late most of them were, and the latest. */
  get states(): number { return this.late.length; }
  get lateMs(): number { return this.lateRank; }
  get lateMostMs(): number { return this.lateMost; }

  /** State of `tick` arrived. True: how late states come was measured anew. */
  onTick(tick: number, now: number): boolean {
    if (tick <= this.lastTick) return false;
    if (this.lastTick !== 0) this.gap += (Math.min(30, tick - this.lastTick) - this.gap) / 16;
    this.lastTick = tick;
    this.lastArrival = now;
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
    if (now - this.measured <= 100) return false;
    this.measured = now;
    this.measure();
    return true;
  }

  private measure(): void {
    const { leastMs, mostMs, percentile } = this.options;
    const sorted = [...this.late].sort((a, b) => a - b);
    const late = sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * percentile))] ?? 0;
    this.lateRank = late;
    this.lateMost = sorted[sorted.length - 1] ?? 0;
    let wanted = late + (this.gap + 0.5) * this.tickMs;
    // Between more delay and a little extrapolation, players prefer the latter.
    if (wanted > GOAL_MS) wanted = Math.max(GOAL_MS, wanted - LEFT_TO_PACE_MS);
    this.wanted = Math.min(mostMs, Math.max(leastMs, wanted));
  }

  /** The tick to show at `now`, with its fraction; NaN before the first state. Call it once a picture. */
  shownTick(now: number): number {
    if (this.base === Infinity) return NaN;
    const goal = (now - this.base - this.wanted) / this.tickMs;
    const step = (now - this.lastNow) / this.tickMs;
    const error = goal - (this.shown + step);
    const before = this.shown;
    if (Number.isNaN(this.shown) || Math.abs(error) * this.tickMs > 1000) this.shown = goal;
    else {
      const most = step * this.options.rate;
      this.shown += step + Math.max(-most, Math.min(most, error));
    }
    // A server that ticks more slowly than it says is not in a stall: who is ahead of its newest state
    // by more than has passed since that came goes on slowly.
    const known = this.lastTick + (now - this.lastArrival) / this.tickMs;
    if (this.shown > known) this.shown = Number.isNaN(before) ? known : Math.max(known, Math.min(this.shown, before + step * SLOW_RATE));
    this.lastNow = now;
    if (this.shown > this.lastTick + 0.5) this.starved += 1;
    return this.shown;
  }
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
const STEADY: Horizon = { gap: Infinity, newest: Infinity, aheadMost: 15, settle: 6 };

const shortWay = (turn: number): number =>
  turn > Math.PI ? turn - 2 * Math.PI : turn < -Math.PI ? turn + 2 * Math.PI : turn;

export interface Pose {
  x: number;
  y: number;
  z: number;
  yaw: number;
}

/** The last states of one entity. */
export class Track {
  private readonly ticks = new Float64Array(SAMPLES);
  private readonly poses = new Float64Array(SAMPLES * 4);
  private count = 0;
  private head = 0;  // of the newest
  private gap = 3;
  private lag = NaN;
  private lastShown = 0;
  private aheadTicks = 0;
  private settling = false;  // `off` is not zero
  private readonly last: Pose = { x: 0, y: 0, z: 0, yaw: 0 };  // sampled, `off` included
  private readonly off: Pose = { x: 0, y: 0, z: 0, yaw: 0 };  // what is shown less what is known, on its way to zero

  /** A state; one of the newest tick takes its place. */
  push(tick: number, x: number, y: number, z: number, yaw: number): void {
    const last = this.count === 0 ? -1 : this.ticks[this.head]!;
    if (tick < last) return;
    if (tick > last && this.count > 0) {
      const gap = tick - last;
      // It stood still for a while: it began to move one update ago, not when it was last heard of.
      if (gap > 4 * this.gap + 6) {
        const at = this.head * 4;
        this.put(tick - this.gap, this.poses[at]!, this.poses[at + 1]!, this.poses[at + 2]!, this.poses[at + 3]!);
      } else {
        this.gap += (gap - this.gap) / 8;
      }
    }
    if (tick === last) this.store(tick, x, y, z, yaw);
    else this.put(tick, x, y, z, yaw);
  }

  private put(tick: number, x: number, y: number, z: number, yaw: number): void {
    this.head = (this.head + 1) % SAMPLES;
    this.count = Math.min(SAMPLES, this.count + 1);
    this.store(tick, x, y, z, yaw);
  }
  private store(tick: number, x: number, y: number, z: number, yaw: number): void {
    this.ticks[this.head] = tick;
    const at = this.head * 4;
    this.poses[at] = x;
    this.poses[at + 1] = y;
    this.poses[at + 2] = z;
    this.poses[at + 3] = yaw;
  }

  /** Ticks that the last sample was ahead of the newest state. */
  get ahead(): number { return this.aheadTicks; }

  /**
   * Where it is at `shown`; before the first state it stands, behind the last one it goes on when the
   * world's state is missing too. Once a picture.
   */
  sample(shown: number, out: Pose, horizon: Horizon = STEADY): Pose {
    const aim = Math.max(0, this.gap - horizon.gap);
    const passed = Math.max(0, shown - this.lastShown);
    const most = passed * LAG_RATE;
    const before = this.lastShown - this.lag;
    const wasAhead = this.aheadTicks > 0;
    this.lag = Number.isNaN(this.lag) ? aim : this.lag + Math.max(-most, Math.min(most, aim - this.lag));
    this.lastShown = shown;
    const { off, last } = this;
    if (wasAhead) {
      // If more is known now, what was shown is off by so much.
      const known = this.at(before, out, horizon);
      off.x = last.x - known.x;
      off.y = last.y - known.y;
      off.z = last.z - known.z;
      off.yaw = shortWay(last.yaw - known.yaw);
      this.settling = Math.abs(off.x) + Math.abs(off.y) + Math.abs(off.z) < SNAP_METRES;
    }
    this.at(shown - this.lag, out, horizon);
    if (this.settling) {
      const left = horizon.settle / (horizon.settle + passed);
      off.x *= left;
      off.y *= left;
      off.z *= left;
      off.yaw *= left;
      out.x += off.x;
      out.y += off.y;
      out.z += off.z;
      out.yaw += off.yaw;
      this.settling = Math.abs(off.x) + Math.abs(off.y) + Math.abs(off.z) + Math.abs(off.yaw) > SETTLED;
    }
    last.x = out.x;
    last.y = out.y;
    last.z = out.z;
    last.yaw = out.yaw;
    return out;
  }

  // By state alone. An entity stands behind its newest state when the world has been heard of since
  // and would have named it.
  private at(tick: number, out: Pose, horizon: Horizon): Pose {
    let newer = this.head;
    let older = this.head;
    for (let i = 0; i < this.count; i += 1) {
      older = (this.head + SAMPLES - i) % SAMPLES;
      if (this.ticks[older]! <= tick) break;
      newer = older;
    }
    const p = this.poses;
    const b = newer * 4;
    const newest = this.ticks[this.head]!;
    this.aheadTicks = 0;
    if (older === this.head && this.count > 1 && tick > newest && horizon.newest - newest < this.gap - 0.25) {
      // Its pace over several states: places on the wire are steps.
      older = (this.head + SAMPLES - Math.min(this.count - 1, PACE_STATES)) % SAMPLES;
      const a = older * 4;
      this.aheadTicks = Math.min(tick - newest, horizon.aheadMost);
      const part = this.aheadTicks / (newest - this.ticks[older]!);
      out.x = p[b]! + (p[b]! - p[a]!) * part;
      out.y = p[b + 1]! + (p[b + 1]! - p[a + 1]!) * part;
      out.z = p[b + 2]! + (p[b + 2]! - p[a + 2]!) * part;
      out.yaw = p[b + 3]!;
      return out;
    }
    const a = older * 4;
    const span = this.ticks[newer]! - this.ticks[older]!;
    const part = span > 0 ? Math.max(0, Math.min(1, (tick - this.ticks[older]!) / span)) : 1;
    out.x = p[a]! + (p[b]! - p[a]!) * part;
    out.y = p[a + 1]! + (p[b + 1]! - p[a + 1]!) * part;
    out.z = p[a + 2]! + (p[b + 2]! - p[a + 2]!) * part;
    out.yaw = p[a + 3]! + shortWay(p[b + 3]! - p[a + 3]!) * part;
    return out;
  }
}
