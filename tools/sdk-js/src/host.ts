// SPDX-License-Identifier: Apache-2.0
// What the client needs of its surroundings: a clock, timers, chance, sockets. browser_host.ts has a
// browser's; tests hand in their own.

/** The part of a browser's WebSocket that is used. */
export interface Socket {
  binaryType: string;
  onopen: ((event: never) => void) | null;
  onmessage: ((event: { data: unknown }) => void) | null;
  /** `status`: of a refusal by HTTP, where the platform shows it. */
  onclose: ((event: { code: number; reason: string; status?: number }) => void) | null;
  onerror: ((event: never) => void) | null;
  send(data: Uint8Array): void;
  close(code?: number, reason?: string): void;
}
export type SocketFactory = (url: string, protocols: string[]) => Socket;

export interface Host {
  /** Milliseconds, monotonic. */
  now(): number;
  /** Unix milliseconds. */
  wallClock(): number;
  setTimer(run: () => void, ms: number): unknown;
  clearTimer(timer: unknown): void;
  /** 0 to 1. */
  random(): number;
  openSocket: SocketFactory;
  /** The same by HTTP long polling, for where WebSocket is blocked; undefined: there is none. */
  openPolling?: SocketFactory;
}
