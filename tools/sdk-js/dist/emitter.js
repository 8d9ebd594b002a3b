// SPDX-License-Identifier: Apache-2.0
// Typed events. A listener that throws does not stop the others; its error is reported to the host.
export class Emitter {
    listeners = new Map();
    /** Calls `listener` for each event; returns what ends that. */
    on(event, listener) {
        let set = this.listeners.get(event);
        if (!set)
            this.listeners.set(event, set = new Set());
        set.add(listener);
        return () => { set.delete(listener); };
    }
    emit(event, value) {
        const set = this.listeners.get(event);
        if (!set)
            return;
        for (const listener of [...set]) {
            try {
                listener(value);
            }
            catch (error) {
                reportError(error);
            }
        }
    }
}
function reportError(error) {
    const host = globalThis;
    if (host.reportError)
        host.reportError(error);
    else
        queueMicrotask(() => { throw error; });
}
