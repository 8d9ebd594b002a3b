// SPDX-License-Identifier: Apache-2.0
// How many samples of the own movement should wait at the server, so that a network that holds them
// up leaves no tick without one. docs/sdk-spec.md, "Steering", is the contract; src/sdk/steer_lead.h
// the same in C++.

const STATES_LEAST = 32;  // fewer say nothing of a network
const TRIPS_LEAST = 4;
const STALL_ROUND_TRIPS = 1.25;  // what one lost packet costs
const FADE_MS_PER_SECOND = 3;  // of what was seen once and not again
const LOOK_MS = 1000;
const PACE = 1 / 8;  // how much faster than time
const MARGIN = 2;  // ticks below the server's limit, where it takes two at a time

export class SteerLead {
  private most = 0;
  private tickMs = 1000 / 60;
  private wantedMs = 0;
  private wantedAt = 0;
  private said = false;  // states did what the network is like
  private trips = 0;  // round trips
  private shortest = 0;  // at the most
  private longest = 0;  // at the least
  private told = 0;
  private high = 0;  // most that waited in this second
  private since = 0;  // its begin; 0: none yet
  private quietUntil = 0;  // what was added shows later
  private owed = 0;  // ticks to be walked in addition

  /** From CONNECTION_ESTABLISHED: ticks that samples may wait at the most; 0: nothing is asked of the server. */
  setServer(ticksMost: number, tickMs: number): void {
    this.most = ticksMost > MARGIN ? ticksMost - MARGIN : 0;
    if (tickMs > 0) this.tickMs = tickMs;
    this.told = 0;
    this.trips = 0;
    this.endStretch();
  }
  /** The player stands, or a world begins: what waits at the server is not known. */
  endStretch(): void {
    this.high = this.since = this.quietUntil = this.owed = 0;
  }

  /** Of the last states that came: how many, how late the 95th of 100 and the latest one was; the round trip. */
  onNetwork(states: number, lateP95Ms: number, lateMostMs: number, rttMs: number, now: number): void {
    if (states < STATES_LEAST) return;
    let seen = lateMostMs;
    // Where stalls are that frequent, one comes within another before long.
    if (lateMostMs > rttMs && lateP95Ms > lateMostMs / 2) seen = 2 * lateMostMs;
    if (!this.said) {
      this.said = true;
      this.wantedAt = now;
      // An uneven network loses packets too, most likely: what the first one costs is known.
      if (lateP95Ms > this.tickMs / 2) seen = Math.max(seen, lateMostMs + STALL_ROUND_TRIPS * rttMs);
    }
    this.wantedMs = Math.max(seen, this.wantedMs - (now - this.wantedAt) * FADE_MS_PER_SECOND / 1000);
    this.wantedAt = now;
  }
  /** Whether states have said what the network is like. */
  get judged(): boolean { return this.said; }
  /**
   * A round trip of TIME_SYNC, before so many states came as say more: where nobody moves, none do. The answer came
   * within the last `unsureMs` of it; 0 where it is told when it comes.
   */
  onRoundTrip(ms: number, unsureMs: number, now: number): void {
    if (this.said) return;
    const least = ms - unsureMs;
    this.shortest = this.trips === 0 ? ms : Math.min(this.shortest, ms);
    this.longest = this.trips === 0 ? least : Math.max(this.longest, least);
    const late = this.longest - this.shortest;
    this.trips += 1;
    // As with the first states: who is uneven loses packets too.
    if (this.trips < TRIPS_LEAST || late <= this.tickMs / 2) return;
    this.wantedMs = Math.max(late + STALL_ROUND_TRIPS * this.shortest, this.wantedMs - (now - this.wantedAt) * FADE_MS_PER_SECOND / 1000);
    this.wantedAt = now;
  }
  get wantedTicks(): number { return Math.min(this.most, Math.ceil(this.wantedMs / this.tickMs)); }

  /** From MOVE_ACK: samples that wait at the server. */
  onBuffered(waiting: number, now: number): void {
    if (this.most === 0 || now < this.quietUntil) return;
    if (this.since === 0) this.since = now;
    this.high = Math.max(this.high, waiting);
    if (now - this.since < LOOK_MS) return;
    const wanted = this.wantedTicks;
    if (this.high < wanted) {
      this.owed = wanted - this.high;
      this.quietUntil = now + this.owed * this.tickMs / PACE + LOOK_MS;
    }
    this.high = 0;
    this.since = 0;
  }

  /** What `dt` seconds of walking are taken for in addition. */
  more(dt: number): number {
    if (this.owed <= 0) return 0;
    const more = Math.min(dt * PACE, this.owed * this.tickMs / 1000);
    this.owed = Math.max(0, this.owed - more * 1000 / this.tickMs);
    return more;
  }
  /** For the next PLAYER_STEER: ticks to wait; 0: nothing new. */
  tell(): number {
    const wanted = this.wantedTicks;
    if (wanted === this.told || wanted === 0) return 0;
    this.told = wanted;
    return wanted;
  }
}
