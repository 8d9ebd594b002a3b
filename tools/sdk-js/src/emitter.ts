// SPDX-License-Identifier: Apache-2.0
// Typed events. A listener that throws does not stop the others; its error is reported to the host.

export class Emitter<Events extends object> {
  private readonly listeners = new Map<keyof Events, Set<(value: never) => void>>();

  /** Calls `listener` for each event; returns what ends that. */
  on<K extends keyof Events>(event: K, listener: (value: Events[K]) => void): () => void {
    let set = this.listeners.get(event);
    if (!set) this.listeners.set(event, set = new Set());
    set.add(listener as (value: never) => void);
    return () => { set.delete(listener as (value: never) => void); };
  }

  protected emit<K extends keyof Events>(event: K, value: Events[K]): void {
    const set = this.listeners.get(event);
    if (!set) return;
    for (const listener of [...set]) {
      try {
        (listener as (value: Events[K]) => void)(value);
      } catch (error) {
        reportError(error);
      }
    }
  }
}

function reportError(error: unknown): void {
  const host = globalThis as { reportError?: (error: unknown) => void };
  if (host.reportError) host.reportError(error);
  else queueMicrotask(() => { throw error; });
}
