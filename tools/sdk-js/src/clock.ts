// SPDX-License-Identifier: Apache-2.0
// The server's clock as the client knows it, from TIME_SYNC. Of the last samples the one with the
// shortest round trip has the smallest error, which is at most half that round trip.

const SAMPLES = 16;

interface Sample {
  rtt: number;
  /** Server's Unix ms minus the client's monotonic ms. */
  offset: number;
  tick: number;
  serverTime: number;
}

export class ClockSync {
  private samples: Sample[] = [];
  private readonly sent = new Map<number, number>();
  private best: Sample | undefined;
  /** Ticks a second. */
  tickRate = 60;
  /** Round trip, smoothed as TCP does it, and its mean deviation; ms. */
  rtt = 0;
  jitter = 0;
  /** The last round trip, ms. */
  lastRtt = 0;

  get synced(): boolean { return this.best !== undefined; }
  /** At most so far off, ms. */
  get errorMs(): number { return this.best ? this.best.rtt / 2 : Infinity; }
  /** Whole milliseconds that name one request. */
  request(now: number): number {
    let key = Math.round(now);
    while (this.sent.has(key)) key += 1;
    this.sent.set(key, now);
    // Answers that never came are forgotten.
    if (this.sent.size > SAMPLES) this.sent.delete(this.sent.keys().next().value!);
    return key;
  }
  /** An answer; one to no request of ours is ignored: false. */
  answer(clientTime: number, serverTime: number, serverTick: number, now: number): boolean {
    const sent = this.sent.get(clientTime);
    if (sent === undefined) return false;
    this.sent.delete(clientTime);
    const rtt = Math.max(0, now - sent);
    this.roundTrip(rtt);
    this.samples.push({ rtt, offset: serverTime - (sent + rtt / 2), tick: serverTick, serverTime });
    if (this.samples.length > SAMPLES) this.samples.shift();
    this.best = this.samples.reduce((a, b) => (b.rtt < a.rtt ? b : a));
    return true;
  }
  /** A round trip measured by other means, such as a heartbeat. */
  roundTrip(rtt: number): void {
    this.lastRtt = rtt;
    if (this.rtt === 0) {
      this.rtt = rtt;
      this.jitter = rtt / 2;
      return;
    }
    this.jitter += (Math.abs(rtt - this.rtt) - this.jitter) / 4;
    this.rtt += (rtt - this.rtt) / 8;
  }
  /** The server's Unix time at `now`; NaN before the first answer. */
  serverTime(now: number): number { return this.best ? now + this.best.offset : NaN; }
  /** The server's tick at `now`, with its fraction; NaN before the first answer. */
  serverTick(now: number): number {
    if (!this.best) return NaN;
    return this.best.tick + (this.serverTime(now) - this.best.serverTime) * this.tickRate / 1000;
  }
  reset(): void {
    this.samples = [];
    this.sent.clear();
    this.best = undefined;
    this.rtt = this.jitter = this.lastRtt = 0;
  }
}
