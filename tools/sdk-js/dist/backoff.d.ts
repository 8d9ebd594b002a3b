// SPDX-License-Identifier: Apache-2.0
export interface BackoffOptions {
    firstMs: number;
    mostMs: number;
    /** 0.25: from three quarters to five quarters. */
    jitter: number;
}
export declare const defaultBackoff: BackoffOptions;
export declare class Backoff {
    private readonly random;
    private readonly options;
    private tries;
    private advisedMs;
    constructor(random: () => number, options?: BackoffOptions);
    get attempts(): number;
    /** The server named a delay: the next wait is that one, and no shorter. */
    advise(ms: number): void;
    reset(): void;
    next(): number;
}
