// SPDX-License-Identifier: Apache-2.0
// Whether the next try goes by WebSocket or by HTTP long polling (docs/sdk-spec.md, "Transport").
// Some networks and proxies let HTTP pass and nothing else; who is behind one must not try in vain
// each time, and must come back to the WebSocket when it is elsewhere.

export type Transport = 'websocket' | 'polling';
export type TransportPolicy = 'auto' | Transport;
/** How a try began: the 101 or its like came; the server itself said no; no connection stood at all; else. */
export type Opening = 'opened' | 'refused' | 'unreachable' | 'failed';

/** In a row, then polling is tried. */
export const FAILURES_MOST = 2;
/** Polling works: so long after the last try WebSocket is tried again, at the next reconnect. */
export const AGAIN_MS = 5 * 60 * 1000;
/** Statuses by which the server itself refuses a login, whatever it comes by. */
export const REFUSALS: readonly number[] = [401, 403, 408, 409, 429, 503];

export class TransportChoice {
  private polling = false;  // it worked last
  private failures = 0;
  private websocketAt = 0;  // last tried

  constructor(private readonly policy: TransportPolicy) {}

  /** For a try that begins now. */
  next(nowMs: number): Transport {
    if (this.policy !== 'auto') return this.policy;
    const byPolling = this.polling ? nowMs - this.websocketAt < AGAIN_MS : this.failures >= FAILURES_MOST;
    if (byPolling) return 'polling';
    this.websocketAt = nowMs;
    return 'websocket';
  }

  /** Once for each try. */
  began(by: Transport, how: Opening): void {
    if (by === 'websocket') {
      if (how === 'unreachable') return;
      this.failures = how === 'failed' ? this.failures + 1 : 0;
      if (how === 'opened') this.polling = false;
      return;
    }
    // Neither works: it is not the transport, so the better one is tried again.
    if (how === 'failed' || how === 'unreachable') this.forget();
    if (how === 'opened') this.polling = true;
    // It reaches the server; whether the other would was not seen, so they take turns.
    if (how === 'refused' && !this.polling) this.failures = FAILURES_MOST - 1;
  }

  /** Another network: nothing is known of it. */
  forget(): void {
    this.polling = false;
    this.failures = 0;
  }
}
