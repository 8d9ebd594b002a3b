// SPDX-License-Identifier: Apache-2.0
// HTTP long polling for the tests: plain requests, and a socket with the face of npm `ws` for
// Client. It is not the SDK's: `agent` says how connections are used, `cut` breaks answers.
import { EventEmitter } from 'node:events';
import http from 'node:http';
import https from 'node:https';
import { sleep } from './wait.mjs';

// One request; resolves with { status, headers, body }. `cut`: the socket is destroyed when so many
// bytes of the answer came, and the promise rejects. `tls`: by https to the server's other port.
export function ask(server, method, path, { body, headers = {}, agent, cut, signal, tls } = {}) {
  return new Promise((done, fail) => {
    const request = (tls ? https : http).request({
      host: '127.0.0.1', port: tls ? server.tlsPort : server.port, ...tls, method, path, agent: agent ?? false, signal,
      headers: { ...(body === undefined ? {} : { 'Content-Length': body.length }), ...headers },
    });
    request.on('error', fail);
    if (cut !== undefined) {
      request.on('socket', (socket) => {
        let came = 0;
        socket.prependListener('data', (chunk) => {
          came += chunk.length;
          if (came < cut) return;
          fail(new Error('the answer is cut'));  // also when the chunk holds all of it
          socket.destroy();
        });
      });
    }
    request.on('response', (response) => {
      const parts = [];
      response.on('data', (chunk) => parts.push(chunk));
      response.on('error', fail);
      response.on('end', () => done({ status: response.statusCode, headers: response.headers, body: Buffer.concat(parts) }));
      response.on('close', () => fail(new Error('the answer was cut')));
    });
    if (body !== undefined) request.write(body);
    request.end();
  });
}

export const json = (answer) => JSON.parse(answer.body.toString());

export async function openSession(server, token, query = '', options = {}) {
  const answer = await ask(server, 'POST', `/ws/poll?token=${token}${query}`, { body: Buffer.alloc(0), ...options });
  if (answer.status !== 200) throw new Error(`HTTP ${answer.status}: ${answer.body}`);
  return json(answer);
}

// `random`: a seeded generator; then a share of requests is cut somewhere. `fresh`: each request has
// a connection of its own, and so lands on any shard.
export class PollSocket extends EventEmitter {
  readyState = 0;
  received = 0;
  sequence = 0;
  cuts = 0;
  #queue = [];
  #posting = false;
  #gone = new AbortController();
  constructor(server, { token, query = '', text = false, random, fresh = false, tls }) {
    super();
    this.server = server;
    this.text = text;
    this.random = random;
    this.tls = tls;
    this.agent = fresh ? false : new (tls ? https : http).Agent({ keepAlive: true });
    this.#open(token, query);
  }

  async #open(token, query) {
    try {
      const protocol = this.text ? '&protocol=tidegate.v1.json' : '';
      this.session = await openSession(this.server, token, protocol + query, { tls: this.tls });
    } catch (error) {
      this.readyState = 3;
      this.emit('error', error);
      this.#end(1006, '');
      return;
    }
    this.readyState = 1;
    this.emit('open');
    this.#get();
  }

  #end(code, reason) {
    if (this.readyState === 4) return;
    this.readyState = 4;
    if (this.agent) this.agent.destroy();
    this.emit('close', code, Buffer.from(reason));
  }

  async #ask(method, query, body) {
    for (;;) {
      if (this.readyState > 2) return undefined;
      // The answer to a POST is short; what it stands for was taken all the same.
      const cut = this.random?.chance(0.3) ? this.random.below(body ? 60 : 600) : undefined;
      try {
        const answer = await ask(this.server, method, `/ws/poll/${this.session.id}${query}`,
          { body, agent: this.agent, cut, signal: this.#gone.signal, tls: this.tls });
        if (answer.status !== 503 && answer.status !== 429) return answer;
      } catch (error) {
        if (this.#gone.signal.aborted) return undefined;
        this.cuts += 1;
      }
      await sleep(5);
    }
  }

  async #get() {
    for (;;) {
      const answer = await this.#ask('GET', `?from=${this.received}`);
      if (!answer || this.readyState > 2) return;
      if (answer.status === 200) {
        this.received += answer.body.length;
        if (this.text) {
          for (const line of answer.body.toString().split('\n').slice(0, -1)) this.emit('message', Buffer.from(line), false);
        } else {
          this.emit('message', answer.body, true);
        }
      } else if (answer.status === 410) {
        this.#end(json(answer).code, json(answer).message);
      } else if (answer.status !== 204) {
        this.emit('error', new Error(`GET: HTTP ${answer.status} ${answer.body}`));
        this.#end(1006, '');
      }
    }
  }

  send(data) {
    this.#queue.push(Buffer.from(data));
    this.#post();
  }
  async #post() {
    if (this.#posting || this.readyState !== 1) return;
    this.#posting = true;
    while (this.#queue.length > 0) {
      this.sequence += 1;
      const answer = await this.#ask('POST', `?seq=${this.sequence}`, this.#queue.shift());
      if (!answer) break;
      if (answer.status !== 204 && answer.status !== 410) this.emit('error', new Error(`POST: HTTP ${answer.status} ${answer.body}`));
    }
    this.#posting = false;
  }

  async close() {
    if (this.readyState > 1) return;
    while (this.#posting) await sleep(1);
    this.readyState = 2;
    await this.#ask('DELETE', '');
    this.#end(1000, '');
  }
  // Nothing is heard of it any more.
  terminate() {
    this.#gone.abort();
    this.#end(1006, '');
  }
}
