// SPDX-License-Identifier: Apache-2.0
// The client's copy of keyed state (docs/protocol.md, "Keyed state"): what STATE_UPDATE and
// STATE_RESULT said last. The server says when a state ends; no time is kept here.
import { Emitter } from './emitter.js';
const name = (scope, key) => `${scope} ${key}`;
export class KeyedStates extends Emitter {
    states = new Map();
    get(scope, key) { return this.states.get(name(scope, key)); }
    all() { return this.states.values(); }
    get size() { return this.states.size; }
    apply(update) {
        if (update.complete)
            this.forget(update.complete);
        for (const entry of update.entries)
            this.put(entry);
    }
    /** Of a correction: a place stays where it was. */
    correct(entry) {
        this.put({ ...entry, position: entry.position ?? this.get(entry.scope, entry.key)?.position });
    }
    /** Forgets the states of these scopes (bits). */
    forget(scopes) {
        for (const [at, state] of [...this.states]) {
            if (!(scopes & (1 << state.scope)))
                continue;
            this.states.delete(at);
            this.emit('removed', state);
        }
    }
    put(entry) {
        const at = name(entry.scope, entry.key);
        if (!entry.removed) {
            this.states.set(at, entry);
            this.emit('changed', entry);
            return;
        }
        const gone = this.states.get(at);
        if (!gone)
            return;
        this.states.delete(at);
        this.emit('removed', gone);
    }
}
