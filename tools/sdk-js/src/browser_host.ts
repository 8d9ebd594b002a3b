// SPDX-License-Identifier: Apache-2.0
// The surroundings that a browser (or Node) gives the client.
import type { Host, Socket } from './host.js';
import { PollSocket, fetchRequest } from './polling.js';

const browser = {
  now: (): number => performance.now(),
  setTimer: (run: () => void, ms: number): unknown => setTimeout(run, ms),
  clearTimer: (timer: unknown): void => clearTimeout(timer as ReturnType<typeof setTimeout>),
};
export const browserHost = (): Host => ({
  ...browser,
  wallClock: () => Date.now(),
  random: () => Math.random(),
  openSocket: (url, protocols) => new WebSocket(url, protocols) as unknown as Socket,
  openPolling: (url, protocols) => new PollSocket({ ...browser, request: fetchRequest }, url, protocols),
});
