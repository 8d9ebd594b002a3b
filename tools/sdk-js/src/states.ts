// SPDX-License-Identifier: Apache-2.0
// The client's copy of keyed state (docs/protocol.md, "Keyed state"): what STATE_UPDATE and
// STATE_RESULT said last. The server says when a state ends; no time is kept here.
import { Emitter } from './emitter.js';
import type { StateEntry, StateUpdate } from './messages.js';

export interface KeyedStateEvents {
  /** New, or another value, owner or version. */
  changed: StateEntry;
  /** Over, removed, or out of reach. */
  removed: StateEntry;
}

const name = (scope: number, key: string): string => `${scope} ${key}`;

export class KeyedStates extends Emitter<KeyedStateEvents> {
  private readonly states = new Map<string, StateEntry>();

  get(scope: number, key: string): StateEntry | undefined { return this.states.get(name(scope, key)); }
  all(): IterableIterator<StateEntry> { return this.states.values(); }
  get size(): number { return this.states.size; }

  apply(update: StateUpdate): void {
    if (update.complete) this.forget(update.complete);
    for (const entry of update.entries) this.put(entry);
  }
  /** Of a correction: a place stays where it was. */
  correct(entry: StateEntry): void {
    this.put({ ...entry, position: entry.position ?? this.get(entry.scope, entry.key)?.position });
  }
  /** Forgets the states of these scopes (bits). */
  forget(scopes: number): void {
    for (const [at, state] of [...this.states]) {
      if (!(scopes & (1 << state.scope))) continue;
      this.states.delete(at);
      this.emit('removed', state);
    }
  }

  private put(entry: StateEntry): void {
    const at = name(entry.scope, entry.key);
    if (!entry.removed) {
      this.states.set(at, entry);
      this.emit('changed', entry);
      return;
    }
    const gone = this.states.get(at);
    if (!gone) return;
    this.states.delete(at);
    this.emit('removed', gone);
  }
}
