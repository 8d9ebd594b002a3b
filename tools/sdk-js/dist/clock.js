// SPDX-License-Identifier: Apache-2.0
// The server's clock as the client knows it, from TIME_SYNC. Of the last samples the one with the
// shortest round trip has the smallest error, which is at most half that round trip.
const SAMPLES = 16;
export class ClockSync {
    samples = [];
    sent = new Map();
    best;
    /** Ticks a second. */
    tickRate = 60;
    /** Round trip, smoothed as TCP does it, and its mean deviation; ms. */
    rtt = 0;
    jitter = 0;
    /** The last round trip, ms. */
    lastRtt = 0;
    get synced() { return this.best !== undefined; }
    /** At most so far off, ms. */
    get errorMs() { return this.best ? this.best.rtt / 2 : Infinity; }
    /** Whole milliseconds that name one request. */
    request(now) {
        let key = Math.round(now);
        while (this.sent.has(key))
            key += 1;
        this.sent.set(key, now);
        // Answers that never came are forgotten.
        if (this.sent.size > SAMPLES)
            this.sent.delete(this.sent.keys().next().value);
        return key;
    }
    /** An answer; one to no request of ours is ignored: false. */
    answer(clientTime, serverTime, serverTick, now) {
        const sent = this.sent.get(clientTime);
        if (sent === undefined)
            return false;
        this.sent.delete(clientTime);
        const rtt = Math.max(0, now - sent);
        this.roundTrip(rtt);
        this.samples.push({ rtt, offset: serverTime - (sent + rtt / 2), tick: serverTick, serverTime });
        if (this.samples.length > SAMPLES)
            this.samples.shift();
        this.best = this.samples.reduce((a, b) => (b.rtt < a.rtt ? b : a));
        return true;
    }
    /** A round trip measured by other means, such as a heartbeat. */
    roundTrip(rtt) {
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
    serverTime(now) { return this.best ? now + this.best.offset : NaN; }
    /** The server's tick at `now`, with its fraction; NaN before the first answer. */
    serverTick(now) {
        if (!this.best)
            return NaN;
        return this.best.tick + (this.serverTime(now) - this.best.serverTime) * this.tickRate / 1000;
    }
    reset() {
        this.samples = [];
        this.sent.clear();
        this.best = undefined;
        this.rtt = this.jitter = this.lastRtt = 0;
    }
}
