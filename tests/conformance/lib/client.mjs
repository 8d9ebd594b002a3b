// SPDX-License-Identifier: Apache-2.0
// A client of the protocol over npm `ws`, of either subprotocol. It keeps every message in order and a picture of the
// world, and notes whatever the document forbids (`breaches`).
import WebSocket from 'ws';
import { Cells } from './cells.mjs';
import { SUBPROTOCOL, parseText, toText } from './jsonrpc.mjs';
import { PollSocket } from './polling.mjs';
import { Type, frame, nameOf, parseFrames } from './proto.mjs';
import { tokenFor } from './tokens.mjs';
import { until, within } from './wait.mjs';

export class Client {
  constructor(socket) {
    this.socket = socket;
    this.messages = [];
    this.responses = [];  // of the JSON subprotocol
    this.texts = [];
    this.sizes = [];
    this.breaches = [];
    this.closed = null;
    this.world = new Map();
    this.cells = new Cells();
    this.entered = new Map();
    this.exited = new Map();
    this.tick = 0;
    this.messageCount = 0;
    this.ended = new Promise((done) => {
      socket.on('close', (code, reason) => {
        this.closed = { code, reason: reason.toString() };
        done(this.closed);
      });
    });
    socket.on('error', (error) => { this.error = error; });
    socket.on('message', (data, isBinary) => this.#take(data, isBinary));
  }

  // Logs in as `user` and returns when the socket is open. `hello` false: none is sent.
  static async connect(server, user, { token, hello = {}, query = '', protocols = ['tidegate.v1.proto'], deflate = false, localAddress, polling } = {}) {
    const credential = token ?? await tokenFor(user);
    const socket = polling ? new PollSocket(server, { token: credential, query, text: protocols[0] === SUBPROTOCOL, ...polling }) : new WebSocket(`${server.url}?token=${credential}${query}`, protocols, { perMessageDeflate: deflate, localAddress, ...server.socketOptions });
    const client = new Client(socket);
    client.text = protocols[0] === SUBPROTOCOL;
    client.user = user;
    client.deflate = deflate;
    await within(new Promise((done, fail) => {
      socket.once('open', done);
      socket.once('error', fail);
      socket.once('unexpected-response', (_, response) => fail(new Error(`HTTP ${response.statusCode}`)));
    }), 'the upgrade');
    if (hello) client.hello(hello);
    return client;
  }

  // Logs in and waits for the first state; the own entity stands in it.
  static async enter(server, user, options = {}) {
    const client = await Client.connect(server, user, options);
    await client.next(options.hello?.state_encoding === 1 ? Type.CELL_FRAME : Type.WORLD_STATE);
    await client.seen(user);
    return client;
  }

  hello(changes = {}) { this.send(Type.CLIENT_HELLO, { client_version: 'conformance', state_encoding: 0, ...changes }); }
  send(type, payload, envelope) {
    this.socket.send(this.text ? toText(type, payload, envelope) : frame(type, payload, envelope));
  }
  sendBytes(bytes) { this.socket.send(bytes); }

  #clientTick = 0;
  // PLAYER_MOVE to a position; returns its client_tick.
  move(x, y, z, changes = {}) {
    this.#clientTick += 1;
    this.send(Type.PLAYER_MOVE, {
      position: { x, y, z }, rotation: { x: 0, y: 0, z: 0, w: 1 }, velocity: { x: 0, y: 0, z: 0 },
      client_tick: this.#clientTick, client_time: Date.now(), ...changes,
    });
    return changes.client_tick ?? this.#clientTick;
  }

  // The first message (from `from` on) of a type for which `accept` holds.
  async next(type, accept = () => true, { from = 0, ms } = {}) {
    const find = () => this.messages.slice(from).find((m) => m.type === type && accept(m.payload, m));
    return within((async () => {
      for (;;) {
        const found = find();
        if (found) return found;
        if (this.closed) throw new Error(`closed with ${JSON.stringify(this.closed)} before ${nameOf(type)}`);
        await new Promise((done) => setTimeout(done, 5));
      }
    })(), `${nameOf(type)}; there came ${this.#summary()}`, ms);
  }

  #calls = 0;
  // A request of the JSON subprotocol; resolves with its response.
  async call(method, params, more = {}) {
    this.#calls += 1;
    const id = `call-${this.#calls}`;
    this.socket.send(JSON.stringify({ jsonrpc: '2.0', id, method, ...(params === undefined ? {} : { params }), ...more }));
    return this.response(id);
  }
  response(id, ms) {
    return until(() => {
      const found = this.responses.find((r) => r.id === id);
      if (!found && this.closed) throw new Error(`closed with ${JSON.stringify(this.closed)}`);
      return found;
    }, `the response to ${JSON.stringify(id)}`, ms);
  }

  #summary() {
    const counts = {};
    for (const m of this.messages) counts[m.name] = (counts[m.name] ?? 0) + 1;
    return JSON.stringify(counts);
  }

  all(type) { return this.messages.filter((m) => m.type === type); }
  error(code, options) { return this.next(Type.ERROR, (p) => p.code === code, options); }
  closeCode(ms) { return within(this.ended, 'the close', ms).then((c) => c.code); }
  // The entity with this id, once it is in view and `accept`s.
  seen(id, accept = () => true, ms) {
    return until(() => this.world.has(id) && accept(this.world.get(id)) && this.world.get(id), `${id} in view`, ms);
  }
  gone(id, ms) { return until(() => !this.world.has(id), `${id} out of view`, ms); }
  get me() { return this.world.get(this.user); }

  async leave() {
    if (this.closed) return;
    this.socket.close(1000);
    await within(this.ended, 'the close handshake');
  }
  // Ends the TCP connection without a close frame.
  drop() { this.socket.terminate(); }

  #breach(text) { if (this.breaches.length < 50) this.breaches.push(text); }

  #take(data, isBinary) {
    if (isBinary === Boolean(this.text)) return this.#breach(`a ${isBinary ? 'binary' : 'text'} message`);
    this.messageCount += 1;
    this.sizes.push(data.length);
    // An answer to a GET holds what came since the one before.
    if (data.length > 60 * 1024 && !(this.socket instanceof PollSocket)) this.#breach(`a message of ${data.length} bytes`);
    let messages;
    try {
      if (this.text) {
        this.texts.push(data.toString());
        const parsed = parseText(data.toString());
        messages = parsed.messages;
        this.responses.push(...parsed.responses);
      } else {
        messages = parseFrames(data);
      }
    } catch (error) {
      return this.#breach(error.message);
    }
    for (const m of messages) {
      m.at = performance.now();
      this.messages.push(m);
      if (m.type !== Type.CONNECTION_ESTABLISHED && m.session_id !== '') {
        this.#breach(`${m.name} carries a session_id`);
      }
      if (m.type === Type.WORLD_STATE) this.#onWorldState(m.payload);
      if (m.type === Type.ZONE_UPDATE) this.#onZoneUpdate(m.payload);
      if (m.type === Type.INTEREST_UPDATE) {
        for (const id of m.payload.entered_view) this.entered.set(id, (this.entered.get(id) ?? 0) + 1);
        for (const id of m.payload.exited_view) this.exited.set(id, (this.exited.get(id) ?? 0) + 1);
      }
    }
    const frames = messages.filter((m) => m.type === Type.CELL_FRAME).map((m) => m.raw);
    if (frames.length > 0) {
      this.cells.take(frames);
      for (const text of this.cells.breaches.splice(0)) this.#breach(text);
      this.world = new Map([...this.cells.entities()].map(([name, e]) => [name, { player_id: name, position: e, ...e }]));
    }
  }

  #onWorldState(state) {
    if (this.beginsAnew) this.world.clear();  // after an upgrade of the server
    if (this.world.size !== 0) this.#breach('a second WORLD_STATE');
    this.tick = state.tick;
    for (const entity of [...state.players, ...state.npcs, ...state.objects]) {
      if (this.world.has(entity.player_id)) this.#breach(`${entity.player_id} twice in WORLD_STATE`);
      this.world.set(entity.player_id, { ...entity });
    }
  }

  #onZoneUpdate(update) {
    for (const { state } of update.spawns) {
      if (this.world.has(state.player_id)) this.#breach(`spawn of ${state.player_id}, who is in view`);
      this.world.set(state.player_id, { ...state, spawned: true });
    }
    for (const { delta } of update.updates) {
      const entity = this.world.get(delta.player_id);
      if (!entity) {
        this.#breach(`update of ${delta.player_id}, who is not in view`);
        continue;
      }
      if (delta.changed_fields & 1) entity.position = delta.position;
      if (delta.changed_fields & 2) entity.rotation = delta.rotation;
      if (delta.changed_fields & 4) entity.velocity = delta.velocity;
      if (delta.changed_fields & 8) entity.state_flags = delta.state_flags;
      if (delta.changed_fields & ~15) this.#breach(`changed_fields ${delta.changed_fields}`);
      if (entity.lastTick !== undefined && delta.delta_tick !== 0 && delta.delta_tick < entity.lastTick) {
        this.#breach(`tick of ${delta.player_id} went from ${entity.lastTick} to ${delta.delta_tick}`);
      }
      entity.lastTick = delta.delta_tick;
      entity.updates = (entity.updates ?? 0) + 1;
    }
    for (const id of update.despawns) {
      if (!this.world.delete(id)) this.#breach(`despawn of ${id}, who is not in view`);
    }
  }
}

export const distance = (a, b) => Math.hypot(a.x - b.x, a.y - b.y, a.z - b.z);
