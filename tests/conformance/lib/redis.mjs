// SPDX-License-Identifier: Apache-2.0
// A redis-server of the test's own on a free loopback port, and a proxy in front of it that delays, cuts and
// comes back. tools/test unpacks the program where it is not installed.
import { spawnSync } from 'node:child_process';
import { connect, createServer } from 'node:net';
import { Process, temporaryFolder } from './server.mjs';
import { until, within } from './wait.mjs';

export async function freePort() {
  const server = createServer();
  await new Promise((done) => { server.listen(0, '127.0.0.1', done); });
  const { port } = server.address();
  await new Promise((done) => { server.close(done); });
  return port;
}

// null: it can be run; else why not.
export const noRedis = spawnSync('redis-server', ['--version']).status === 0 ? null : 'no redis-server here';

// Answers of RESP2, enough for what tests ask.
function parse(text) {
  if (!text.includes('\r\n')) return undefined;
  const line = text.slice(1, text.indexOf('\r\n'));
  switch (text[0]) {
    case '+': return line;
    case '-': throw new Error(line);
    case ':': return Number(line);
    case '$': {
      if (line === '-1') return null;
      const rest = text.slice(line.length + 3);
      return rest.length >= Number(line) + 2 ? rest.slice(0, Number(line)) : undefined;
    }
    default: throw new Error(`an answer that begins with ${text[0]}`);
  }
}

export class Redis {
  constructor(port, args) {
    this.port = port;
    this.args = args;
    this.folder = temporaryFolder();
  }
  static async start(args = []) {
    const redis = new Redis(await freePort(), args);
    await redis.start();
    return redis;
  }
  get address() { return `127.0.0.1:${this.port}`; }
  // Keeps what it had when it was stopped with SIGTERM and an append-only file was asked for.
  async start() {
    this.process = new Process('redis-server', ['--port', String(this.port), '--bind', '127.0.0.1', '--save', '',
      '--dir', this.folder, ...this.args]);
    await until(() => this.ask('PING'), 'redis-server');
  }
  async stop(signal = 'SIGTERM') { await this.process.stop(signal); }
  // One command; its answer is a text, a number or null.
  ask(...words) {
    return within(new Promise((done, fail) => {
      const socket = connect(this.port, '127.0.0.1');
      let text = '';
      socket.on('error', fail);
      socket.on('data', (chunk) => {
        text += chunk.toString('latin1');
        try {
          const answer = parse(text);
          if (answer === undefined) return;
          done(answer);
        } catch (error) {
          fail(error);
        }
        socket.destroy();
      });
      socket.write(`*${words.length}\r\n${words.map((w) => `$${Buffer.byteLength(w)}\r\n${w}\r\n`).join('')}`);
    }), words.join(' '));
  }
}

// Passes bytes on to `port` of loopback, `delay` ms late in each direction.
export class Proxy {
  static async start(port) {
    const proxy = new Proxy();
    proxy.delay = 0;
    proxy.open = true;
    proxy.sockets = new Set();
    proxy.server = createServer((inside) => {
      if (!proxy.open) return inside.destroy();
      const outside = connect(port, '127.0.0.1');
      for (const [from, to] of [[inside, outside], [outside, inside]]) {
        proxy.sockets.add(from);
        from.on('error', () => {});
        from.on('data', (chunk) => {
          if (proxy.delay === 0 && !from.late) { to.write(chunk); return; }
          // Bytes stay in order, also when the delay has just ended.
          const due = Math.max(Date.now() + proxy.delay, from.late ?? 0);
          from.late = due;
          setTimeout(() => { if (!to.destroyed) to.write(chunk); if (from.late === due) from.late = undefined; }, due - Date.now());
        });
        from.on('close', () => { proxy.sockets.delete(from); to.destroy(); });
      }
      return undefined;
    });
    await new Promise((done) => { proxy.server.listen(0, '127.0.0.1', done); });
    proxy.port = proxy.server.address().port;
    proxy.address = `127.0.0.1:${proxy.port}`;
    return proxy;
  }
  // No connection passes, and those that did are cut.
  cut() {
    this.open = false;
    for (const socket of this.sockets) socket.destroy();
  }
  mend() { this.open = true; }
  async stop() {
    this.cut();
    await new Promise((done) => { this.server.close(done); });
  }
}
