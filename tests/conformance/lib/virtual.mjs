// SPDX-License-Identifier: Apache-2.0
// A host for the browser SDK without time and network: a clock that is moved by hand, sockets whose
// other end is the test.
import { MessageType, encodeFrame, parseFrames } from '../../../tools/sdk-js/dist/index.js';

export class VirtualSocket {
  binaryType = 'blob';
  onopen = null;
  onmessage = null;
  onclose = null;
  onerror = null;
  sent = [];
  closed = null;
  constructor(url, protocols) {
    this.url = new URL(url);
    this.protocols = protocols;
  }
  send(data) { this.sent.push(...parseFrames(data).map((m) => ({ ...m, payload: m.payload.slice() }))); }
  close(code = 1005, reason = '') { this.closed ??= { code, reason }; }

  // From the server's end.
  open() { this.onopen?.({}); }
  deliver(...messages) {
    const frames = messages.map(([type, payload, head]) => Buffer.from(encodeFrame(type, payload ?? new Uint8Array(0), head)));
    const all = Buffer.concat(frames);
    this.onmessage?.({ data: all.buffer.slice(all.byteOffset, all.byteOffset + all.length) });
  }
  raw(bytes) { this.onmessage?.({ data: Uint8Array.from(bytes).buffer }); }
  end(code = 1006, reason = '') { this.onclose?.({ code, reason }); }
  ofType(type) { return this.sent.filter((m) => m.type === type); }
}

export class VirtualHost {
  time = 1000;
  sockets = [];
  chance = () => 0.5;
  #timers = new Set();
  #next = 0;
  now() { return this.time; }
  wallClock() { return 1_700_000_000_000 + Math.round(this.time); }
  random() { return this.chance(); }
  setTimer(run, ms) {
    const timer = { at: this.time + Math.max(0, ms), run, order: this.#next };
    this.#next += 1;
    this.#timers.add(timer);
    return timer;
  }
  clearTimer(timer) { this.#timers.delete(timer); }
  get pendingTimers() { return this.#timers.size; }
  openSocket = (url, protocols) => {
    const socket = new VirtualSocket(url, protocols);
    this.sockets.push(socket);
    return socket;
  };
  get socket() { return this.sockets.at(-1); }
  // Moves the clock and runs what is due, in order.
  pass(ms) {
    const end = this.time + ms;
    for (;;) {
      const due = [...this.#timers].filter((t) => t.at <= end).sort((a, b) => a.at - b.at || a.order - b.order)[0];
      if (!due) break;
      this.#timers.delete(due);
      this.time = Math.max(this.time, due.at);
      due.run();
    }
    this.time = end;
  }
}

// Lets promises that are settled run their continuations.
export const settle = () => new Promise((done) => { setImmediate(done); });

export { MessageType };
