// SPDX-License-Identifier: Apache-2.0
// A bad network, made inside the client: latency, jitter, loss, bandwidth, a cut. It stands around
// a socket, which is a TCP stream: nothing is lost or overtaken, so a lost packet shows as a stall
// of all that comes behind it, until it was sent again.
import type { Host, Socket, SocketFactory } from './host.js';

export interface NetworkConditions {
  /** One way, ms. */
  latencyMs: number;
  /** Up to so much more, ms. */
  jitterMs: number;
  /** Share of messages that are lost once, 0 to 1; each costs a retransmission. */
  loss: number;
  /** Bytes a second in each direction; 0: no limit. */
  bandwidth: number;
}
export const GOOD: NetworkConditions = { latencyMs: 0, jitterMs: 0, loss: 0, bandwidth: 0 };

export const PRESETS: Readonly<Record<string, NetworkConditions>> = {
  local: GOOD,
  fibre: { latencyMs: 10, jitterMs: 2, loss: 0, bandwidth: 0 },
  wifi: { latencyMs: 25, jitterMs: 20, loss: 0.005, bandwidth: 2_000_000 },
  mobile: { latencyMs: 60, jitterMs: 40, loss: 0.01, bandwidth: 500_000 },
  far: { latencyMs: 140, jitterMs: 10, loss: 0.002, bandwidth: 0 },
  train: { latencyMs: 120, jitterMs: 150, loss: 0.04, bandwidth: 120_000 },
};

/** Without packets behind it a lost one waits for the sender's timer: two round trips, and no less than this; ms. */
const TIMER_LEAST_MS = 200;
const LOSS_MOST = 0.9;

/** One direction of a connection: when what is sent arrives. */
export class Lane {
  private freeAt = 0;
  private lastAt = 0;
  private sentAt = 0;  // the last message
  private readonly timers = new Set<unknown>();
  // Timers are rounded and may fire out of order; each takes the oldest that waits.
  private readonly waiting: (() => void)[] = [];

  constructor(private readonly host: Host, private readonly conditions: NetworkConditions) {}

  /** Of a message of so many bytes that is sent now. Never before the one before it. */
  arrival(bytes: number): number {
    const { latencyMs, jitterMs, loss, bandwidth } = this.conditions;
    const now = this.host.now();
    let at = now;
    if (bandwidth > 0) {
      this.freeAt = Math.max(this.freeAt, now) + bytes * 1000 / bandwidth;
      at = this.freeAt;
    }
    at += latencyMs + this.host.random() * jitterMs;
    const lost = Math.min(loss, LOSS_MOST);
    if (lost > 0) {
      // The next one (as far behind as this one is behind the last) tells the sender a round trip
      // later; it gives late ones a quarter of that more.
      const roundTrip = 2 * latencyMs + jitterMs;
      const stall = Math.min(Math.max(TIMER_LEAST_MS, 2 * roundTrip), now - this.sentAt + 1.25 * roundTrip);
      this.sentAt = now;
      while (this.host.random() < lost) at += stall;
    }
    // In order: what comes behind a late one is as late.
    this.lastAt = Math.max(this.lastAt, at);
    return this.lastAt;
  }
  pass(bytes: number, deliver: () => void): void {
    const now = this.host.now();
    const at = this.arrival(bytes);
    if (at <= now && this.timers.size === 0) {
      deliver();
      return;
    }
    this.waiting.push(deliver);
    const timer = this.host.setTimer(() => {
      this.timers.delete(timer);
      this.waiting.shift()?.();
    }, at - now);
    this.timers.add(timer);
  }
  cancel(): void {
    for (const timer of this.timers) this.host.clearTimer(timer);
    this.timers.clear();
    this.waiting.length = 0;
  }
}

/** Sockets that behave as if the network were as `conditions` says. It may be changed at any time. */
export class NetworkSimulator {
  readonly conditions: NetworkConditions;
  private readonly open = new Set<() => void>();

  constructor(private readonly host: Host, conditions: Partial<NetworkConditions> = {}) {
    this.conditions = { ...GOOD, ...conditions };
  }

  set(conditions: NetworkConditions): void { Object.assign(this.conditions, conditions); }
  /** The network is gone for all connections that are open, without a close handshake. */
  drop(): void {
    for (const cut of [...this.open]) cut();
  }
  wrap(factory: SocketFactory): SocketFactory {
    return (url, protocols) => this.make(factory(url, protocols));
  }

  private make(inner: Socket): Socket {
    const out = new Lane(this.host, this.conditions);
    const back = new Lane(this.host, this.conditions);
    const outer: Socket = {
      binaryType: 'arraybuffer', onopen: null, onmessage: null, onclose: null, onerror: null,
      send: (data) => out.pass(data.length, () => { if (this.open.has(cut)) inner.send(data); }),
      close: (code, reason) => out.pass(0, () => inner.close(code, reason)),
    };
    const end = (code: number, reason: string): void => {
      if (!this.open.delete(cut)) return;
      out.cancel();
      back.cancel();
      outer.onclose?.({ code, reason });
    };
    const cut = (): void => {
      end(1006, 'the simulated network is gone');
      inner.close();
    };
    this.open.add(cut);
    inner.binaryType = 'arraybuffer';
    inner.onopen = (event) => back.pass(0, () => outer.onopen?.(event));
    inner.onerror = (event) => back.pass(0, () => outer.onerror?.(event));
    inner.onmessage = (event) => {
      const size = event.data instanceof ArrayBuffer ? event.data.byteLength : 0;
      back.pass(size, () => outer.onmessage?.(event));
    };
    inner.onclose = (event) => back.pass(0, () => end(event.code, event.reason));
    return outer;
  }
}
