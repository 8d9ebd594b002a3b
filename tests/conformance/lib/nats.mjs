// SPDX-License-Identifier: Apache-2.0
// nats-server on a free loopback port, and a client of its text protocol for tests
// (docs.nats.io, "client protocol"): publish, subscribe, request.
import { connect } from 'node:net';
import { Process, temporaryFolder } from './server.mjs';
import { within } from './wait.mjs';

// A port stays the same over restarts when it is given.
export async function startNats({ port = -1 } = {}) {
  const server = new Process('nats-server',
    ['--addr', '127.0.0.1', '--port', String(port), '--pid', `${temporaryFolder()}/pid`]);
  const match = await server.line(/Listening for client connections on 127\.0\.0\.1:(\d+)/);
  server.port = Number(match[1]);
  server.url = `nats://127.0.0.1:${server.port}`;
  await server.line(/Server is ready/);
  // It ends with 1 after SIGTERM, which is no fault here.
  const stop = server.stop.bind(server);
  server.stop = (signal = 'SIGKILL') => stop(signal);
  return server;
}

export class NatsClient {
  static async open(port) {
    const client = new NatsClient();
    client.socket = connect(port, '127.0.0.1');
    client.buffer = Buffer.alloc(0);
    client.handlers = new Map();
    client.pongs = [];
    client.sids = 0;
    client.socket.on('error', () => {});
    client.socket.on('data', (data) => client.#take(data));
    await within(new Promise((done, fail) => {
      client.socket.once('connect', done);
      client.socket.once('error', fail);
    }), 'the connection to NATS');
    client.socket.write('CONNECT {"verbose":false,"pedantic":false,"lang":"test","version":"1","headers":true,"no_responders":true}\r\n');
    await client.flush();
    return client;
  }
  // Resolves when the server has seen everything before.
  flush() {
    this.socket.write('PING\r\n');
    return within(new Promise((done) => this.pongs.push(done)), 'PONG of NATS');
  }
  publish(subject, data = '', reply = '') {
    const bytes = Buffer.from(data);
    this.socket.write(`PUB ${subject} ${reply ? `${reply} ` : ''}${bytes.length}\r\n`);
    this.socket.write(bytes);
    this.socket.write('\r\n');
  }
  // handler({subject, reply, data})
  subscribe(subject, handler, group = '') {
    this.sids += 1;
    this.handlers.set(String(this.sids), handler);
    this.socket.write(`SUB ${subject} ${group ? `${group} ` : ''}${this.sids}\r\n`);
  }
  close() { this.socket.destroy(); }

  #take(data) {
    this.buffer = Buffer.concat([this.buffer, data]);
    for (;;) {
      const end = this.buffer.indexOf('\r\n');
      if (end < 0) return;
      const words = this.buffer.subarray(0, end).toString().split(' ');
      const kind = words[0];
      if (kind === 'MSG' || kind === 'HMSG') {
        const total = Number(words.at(-1));
        const headers = kind === 'HMSG' ? Number(words.at(-2)) : 0;
        if (this.buffer.length < end + 2 + total + 2) return;
        const body = Buffer.from(this.buffer.subarray(end + 2 + headers, end + 2 + total));
        this.buffer = this.buffer.subarray(end + 2 + total + 2);
        const numbers = kind === 'HMSG' ? 2 : 1;
        const reply = words.length === 4 + numbers ? words[3] : '';
        this.handlers.get(words[2])?.({ subject: words[1], reply, data: body });
        continue;
      }
      this.buffer = this.buffer.subarray(end + 2);
      if (kind === 'PING') this.socket.write('PONG\r\n');
      if (kind === 'PONG') this.pongs.shift()?.();
    }
  }
}
