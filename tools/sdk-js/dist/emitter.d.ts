// SPDX-License-Identifier: Apache-2.0
export declare class Emitter<Events extends object> {
    private readonly listeners;
    /** Calls `listener` for each event; returns what ends that. */
    on<K extends keyof Events>(event: K, listener: (value: Events[K]) => void): () => void;
    protected emit<K extends keyof Events>(event: K, value: Events[K]): void;
}
