// SPDX-License-Identifier: Apache-2.0
// The example program `letters` and players who write to each other through it with the SDK's
// connection. Each letter is numbered; what arrives must be 1, 2, 3, … of each sender.
import assert from 'node:assert/strict';
import WebSocket from 'ws';
import * as sdk from '../../../tools/sdk-js/dist/index.js';
import { adminToken, Process, program, secret } from './server.mjs';
import { tokenFor } from './tokens.mjs';
import { until } from './wait.mjs';

export const LETTER = 1000;
export const DELIVERY = 1001;
// Whatever a test that failed left running would keep the run alive.
const servers = new Set();
const writers = new Set();
export async function endAll() {
  for (const writer of writers) writer.leave();
  for (const server of servers) if (server.running) await server.stop('SIGKILL');
}

const encoder = new TextEncoder();
const decoder = new TextDecoder();

export async function startLetters(settings = {}, { port = 0 } = {}) {
  const all = {
    'auth.hs256_secret': secret, 'shards.count': 2, 'world.linger': '1s',
    'admin.listen': '127.0.0.1:0', 'admin.token': adminToken, ...settings,
  };
  const server = new Process(program('examples/letters'),
    [String(port), '0', ...Object.entries(all).map(([key, value]) => `${key}=${value}`)]);
  servers.add(server);
  const line = await server.line(/listening on 127\.0\.0\.1:(\d+), admin (\d+)/);
  server.port = Number(line[1]);
  server.url = `ws://127.0.0.1:${server.port}/ws`;
  server.adminUrl = `http://127.0.0.1:${Number(line[2])}`;
  return server;
}

export const letterTo = (name, text) => encoder.encode(`${name}\n${text}`);

export class Writer {
  // More servers: where it goes on when the one before is not there. Last, { request }: by long
  // polling, with this function.
  constructor(server, name, ...others) {
    const { request } = others.at(-1)?.request ? others.pop() : {};
    writers.add(this);
    this.endpoints = [server, ...others].map((s) => s.url);
    this.name = name;
    this.written = new Map();  // receiver -> how many
    this.read = new Map();  // sender -> the numbers, as they came
    this.resumes = [];
    this.errors = [];
    this.sockets = 0;
    this.connection = new sdk.Connection({
      now: () => performance.now(),
      wallClock: () => Date.now(),
      setTimer: (run, ms) => setTimeout(run, ms),
      clearTimer: (timer) => clearTimeout(timer),
      random: () => Math.random(),
      openSocket: (asked, protocols) => {
        // goTo() has the last word on which server it is.
        const url = this.target ? asked.replace(/^ws:\/\/[^/]+/, new URL(this.target).origin) : asked;
        const socket = new WebSocket(url, protocols, { perMessageDeflate: false });
        socket.addEventListener('error', () => {});
        this.socket = socket;
        this.sockets += 1;
        this.onSocket?.(socket);
        return socket;
      },
      openPolling: request && ((url, protocols) => {
        this.sockets += 1;
        return new sdk.PollSocket({
          now: () => performance.now(), setTimer: (run, ms) => setTimeout(run, ms), clearTimer: clearTimeout, request,
        }, url, protocols);
      }),
    }, {
      transport: request ? 'polling' : 'auto',
      endpoints: this.endpoints, token: () => tokenFor(name), backoff: { firstMs: 2, mostMs: 50, jitter: 0.25 },
      stableMs: 0,
    });
    this.connection.on('authenticated', () => {
      this.connection.send(sdk.MessageType.CLIENT_HELLO, sdk.ClientHello.encode({ stateEncoding: 1 }));
    });
    this.connection.on('resumed', (result) => this.resumes.push(result));
    this.connection.on('serverError', (error) => this.errors.push(error));
    this.connection.on('message', (m) => {
      if (m.type === sdk.MessageType.CELL_FRAME) this.connection.enterWorld();
      if (m.type !== DELIVERY) return;
      const [sender, number] = decoder.decode(m.payload).split('\n');
      if (!this.read.has(sender)) this.read.set(sender, []);
      this.read.get(sender).push(Number(number));
    });
  }
  get in() { return ['authenticated', 'inWorld'].includes(this.connection.state); }
  async enter() {
    this.connection.connect();
    await until(() => this.in, `${this.name} logged in`);
    return this;
  }
  write(to, padding = '') {
    const number = (this.written.get(to) ?? 0) + 1;
    const sequence = this.connection.sendReliable(LETTER, letterTo(to, `${number}\n${padding}`));
    if (sequence === undefined) return false;  // too much waits already
    this.written.set(to, number);
    return true;
  }
  // From now on it connects to that server only.
  goTo(server) { this.target = server.url.replace(/\/ws$/, ''); }
  // Ends the TCP connection without a word.
  drop() { this.socket.terminate(); }
  leave() { this.connection.disconnect(); }
}

// Everything that `from` wrote has come to `to`, each once and in order.
export async function arrived(from, to, ms) {
  const count = from.written.get(to.name) ?? 0;
  const list = () => to.read.get(from.name) ?? [];
  await until(() => list().length >= count, 'letters', ms).catch(() => {
    throw new Error(`${list().length} of ${count} letters from ${from.name} came to ${to.name}`);
  });
  assert.deepEqual(list(), Array.from({ length: count }, (_, i) => i + 1), `letters from ${from.name} to ${to.name}`);
}
