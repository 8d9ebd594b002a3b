// SPDX-License-Identifier: Apache-2.0
import { Emitter } from './emitter.js';
import type { StateEntry, StateUpdate } from './messages.js';
export interface KeyedStateEvents {
    /** New, or another value, owner or version. */
    changed: StateEntry;
    /** Over, removed, or out of reach. */
    removed: StateEntry;
}
export declare class KeyedStates extends Emitter<KeyedStateEvents> {
    private readonly states;
    get(scope: number, key: string): StateEntry | undefined;
    all(): IterableIterator<StateEntry>;
    get size(): number;
    apply(update: StateUpdate): void;
    /** Of a correction: a place stays where it was. */
    correct(entry: StateEntry): void;
    /** Forgets the states of these scopes (bits). */
    forget(scopes: number): void;
    private put;
}
