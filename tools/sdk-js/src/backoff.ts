// SPDX-License-Identifier: Apache-2.0
// How long to wait before the next try: doubling from 1 s to 60 s, each by up to a quarter longer
// or shorter, so that a thousand clients of one lost server do not come back at once.

export interface BackoffOptions {
  firstMs: number;
  mostMs: number;
  /** 0.25: from three quarters to five quarters. */
  jitter: number;
}
export const defaultBackoff: BackoffOptions = { firstMs: 1000, mostMs: 60_000, jitter: 0.25 };

export class Backoff {
  private tries = 0;
  private advisedMs: number | undefined;

  constructor(private readonly random: () => number, private readonly options: BackoffOptions = defaultBackoff) {}

  get attempts(): number { return this.tries; }
  /** The server named a delay: the next wait is that one, and no shorter. */
  advise(ms: number): void { this.advisedMs = ms; }
  reset(): void { this.tries = 0; }
  next(): number {
    const { firstMs, mostMs, jitter } = this.options;
    const plain = Math.min(mostMs, firstMs * 2 ** Math.min(this.tries, 30));
    this.tries += 1;
    const spread = this.random() * 2 - 1;
    const advised = this.advisedMs;
    this.advisedMs = undefined;
    // A crowd that was told the same delay is spread too, but only to later.
    if (advised !== undefined) return advised * (1 + jitter * Math.abs(spread));
    return plain * (1 + jitter * spread);
  }
}
