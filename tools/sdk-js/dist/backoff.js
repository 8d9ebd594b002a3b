// SPDX-License-Identifier: Apache-2.0
// How long to wait before the next try: doubling from 1 s to 60 s, each by up to a quarter longer
// or shorter, so that a thousand clients of one lost server do not come back at once.
export const defaultBackoff = { firstMs: 1000, mostMs: 60_000, jitter: 0.25 };
export class Backoff {
    random;
    options;
    tries = 0;
    advisedMs;
    constructor(random, options = defaultBackoff) {
        this.random = random;
        this.options = options;
    }
    get attempts() { return this.tries; }
    /** The server named a delay: the next wait is that one, and no shorter. */
    advise(ms) { this.advisedMs = ms; }
    reset() { this.tries = 0; }
    next() {
        const { firstMs, mostMs, jitter } = this.options;
        const plain = Math.min(mostMs, firstMs * 2 ** Math.min(this.tries, 30));
        this.tries += 1;
        const spread = this.random() * 2 - 1;
        const advised = this.advisedMs;
        this.advisedMs = undefined;
        // A crowd that was told the same delay is spread too, but only to later.
        if (advised !== undefined)
            return advised * (1 + jitter * Math.abs(spread));
        return plain * (1 + jitter * spread);
    }
}
