// SPDX-License-Identifier: Apache-2.0
// The SDK's connection manager with a virtual clock and sockets: states, coming back, generations.
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import * as sdk from '../../../tools/sdk-js/dist/index.js';
import { MessageType, VirtualHost, settle } from '../lib/virtual.mjs';

const established = (changes = {}) => [MessageType.CONNECTION_ESTABLISHED,
  sdk.ConnectionEstablished.encode({ sessionId: 's', heartbeatInterval: 15_000, tickRate: 60, ...changes })];
const welcome = [MessageType.AUTHENTICATION_RESULT, sdk.AuthenticationResult.encode({ success: true, userId: 'me' })];

function make(options = {}) {
  const host = new VirtualHost();
  const connection = new sdk.Connection(host, { endpoints: ['ws://one/ws'], ...options });
  const states = [];
  const losses = [];
  connection.on('state', ({ to }) => states.push(to));
  connection.on('lost', (loss) => losses.push(loss));
  const login = (changes) => {
    host.socket.open();
    host.socket.deliver(established(changes), welcome);
  };
  return { host, connection, states, losses, login };
}

describe('states', () => {
  test('from closed to inWorld and back, only over allowed transitions', () => {
    const { host, connection, states, login } = make();
    let before = 'closed';
    connection.on('state', ({ from, to }) => {
      assert.equal(from, before);
      assert.ok(sdk.TRANSITIONS[from].includes(to), `${from} to ${to}`);
      before = to;
    });
    connection.connect();
    assert.equal(host.socket.url.href, 'ws://one/ws');
    assert.deepEqual(host.socket.protocols, ['tidegate.v1.proto']);
    login();
    connection.enterWorld();
    connection.disconnect();
    assert.deepEqual(states, ['connecting', 'connected', 'authenticating', 'authenticated', 'inWorld', 'closed']);
    assert.equal(host.socket.ofType(MessageType.DISCONNECT).length, 1);
    assert.equal(host.socket.closed.code, 1000);
    assert.equal(host.pendingTimers, 0);
  });
  test('every state has followers that exist, and closed can be reached from each', () => {
    const names = Object.keys(sdk.TRANSITIONS);
    assert.deepEqual(names.sort(), ['authenticated', 'authenticating', 'closed', 'connected', 'connecting', 'inWorld', 'reconnecting']);
    for (const name of names) {
      for (const to of sdk.TRANSITIONS[name]) assert.ok(names.includes(to));
      if (name !== 'closed') assert.ok(sdk.TRANSITIONS[name].includes('closed'), name);
    }
  });
  test('nothing is sent before the login', () => {
    const { host, connection } = make();
    assert.equal(connection.send(MessageType.HEARTBEAT), false);
    connection.connect();
    host.socket.open();
    assert.equal(connection.send(MessageType.HEARTBEAT), false);
    assert.equal(host.socket.sent.length, 0);
  });
});

describe('coming back', () => {
  test('the wait doubles from 1 s to 60 s', () => {
    const { host, connection, losses } = make();
    connection.connect();
    for (let i = 0; i < 9; i += 1) {
      host.socket.end();
      host.pass(losses.at(-1).retryMs);
    }
    assert.deepEqual(losses.map((l) => l.retryMs), [1000, 2000, 4000, 8000, 16000, 32000, 60000, 60000, 60000]);
    assert.equal(host.sockets.length, 10);
  });
  test('with up to a quarter of jitter either way', () => {
    const seen = [];
    for (const chance of [0, 0.25, 0.75, 0.9999]) {
      seen.push(Math.round(new sdk.Backoff(() => chance).next()));
    }
    assert.deepEqual(seen, [750, 875, 1125, 1250]);
  });
  test('a delay that the server advises wins, and is never cut short', () => {
    const { host, connection, losses, login } = make();
    host.chance = () => 0.1;
    connection.connect();
    login();
    host.socket.deliver([MessageType.DISCONNECT, sdk.Disconnect.encode({ code: 4016, reason: 'drain', retryAfterMs: 30_000 })]);
    host.socket.end(1001);
    assert.ok(losses[0].retryMs >= 30_000 && losses[0].retryMs <= 37_500, `${losses[0].retryMs}`);
    assert.equal(losses[0].reason, 'drain');
    host.pass(29_999);
    assert.equal(host.sockets.length, 1);
    host.pass(8000);
    assert.equal(host.sockets.length, 2);
  });
  test('reconnect_url is tried next, then the endpoints again', () => {
    const { host, connection, losses, login } = make();
    connection.connect();
    login();
    host.socket.deliver([MessageType.DISCONNECT, sdk.Disconnect.encode({ code: 4016, reconnectUrl: 'ws://two/ws' })]);
    host.socket.end(1001);
    host.pass(losses.at(-1).retryMs);
    assert.equal(host.socket.url.host, 'two');
    host.socket.end();
    host.pass(losses.at(-1).retryMs);
    assert.equal(host.socket.url.host, 'one');
  });
  test('several endpoints take turns until one answers', () => {
    const { host, connection, losses } = make({ endpoints: ['ws://a/ws', 'ws://b/ws', 'ws://c/ws'] });
    connection.connect();
    for (let i = 0; i < 4; i += 1) {
      host.socket.end();
      host.pass(losses.at(-1).retryMs);
    }
    assert.deepEqual(host.sockets.map((s) => s.url.host), ['a', 'b', 'c', 'a', 'b']);
  });
  test('a connection that held makes the next wait short again; one that did not does not', () => {
    const { host, connection, losses, login } = make();
    connection.connect();
    for (const held of [0, 0, 6000, 0]) {
      login();
      connection.enterWorld();
      for (let t = 0; t < held; t += 1000) {
        host.pass(1000);
        host.socket.deliver([MessageType.PONG]);
      }
      host.socket.end();
      host.pass(losses.at(-1).retryMs);
    }
    assert.deepEqual(losses.map((l) => l.retryMs), [1000, 2000, 1000, 2000]);
  });
  test('4015 and a normal close end it', () => {
    for (const code of [4015, 1000]) {
      const { host, connection, losses, login } = make();
      connection.connect();
      login();
      host.socket.end(code);
      assert.equal(connection.state, 'closed');
      assert.equal(losses[0].retryMs, undefined);
      host.pass(200_000);
      assert.equal(host.sockets.length, 1);
    }
  });
  test('a login that takes too long, silence, text and garbage are losses', () => {
    for (const [what, act] of Object.entries({
      'no answer': ({ host }) => host.pass(10_001),
      silence: ({ host, login }) => { login(); host.pass(21_000); },
      text: ({ host }) => { host.socket.open(); host.socket.onmessage({ data: 'hello' }); },
      garbage: ({ host }) => { host.socket.open(); host.socket.raw([1, 2, 3]); },
      refusal: ({ host }) => {
        host.socket.open();
        host.socket.deliver(established(), [MessageType.AUTHENTICATION_RESULT, sdk.AuthenticationResult.encode({ errorMessage: 'no' })]);
      },
    })) {
      const made = make();
      made.connection.connect();
      act(made);
      assert.ok(made.states.includes('reconnecting'), what);
      assert.equal(made.losses.length, 1, what);
      assert.ok(made.host.sockets[0].closed, what);
    }
  });
});

describe('generations', () => {
  test('a token that comes after disconnect() opens nothing', async () => {
    let give;
    const { host, connection } = make({ token: () => new Promise((done) => { give = done; }) });
    connection.connect();
    connection.disconnect();
    give('late');
    await settle();
    assert.equal(host.sockets.length, 0);
    assert.equal(connection.state, 'closed');
  });
  test('the token of an older try is not used by a newer one', async () => {
    const gives = [];
    const { host, connection } = make({ token: () => new Promise((done) => { gives.push(done); }) });
    connection.connect();
    connection.disconnect();
    connection.connect();
    gives[0]('old');
    await settle();
    assert.equal(host.sockets.length, 0);
    gives[1]('new');
    await settle();
    assert.equal(host.sockets.length, 1);
    assert.equal(host.socket.url.searchParams.get('token'), 'new');
  });
  test('a socket that opens, speaks or closes late changes nothing', () => {
    const { host, connection, states } = make();
    connection.connect();
    const old = host.socket;
    connection.disconnect();
    old.open();
    old.deliver(established(), welcome);
    old.end(1006);
    host.pass(300_000);
    assert.deepEqual(states, ['connecting', 'closed']);
    assert.equal(host.sockets.length, 1);
    assert.ok(old.closed);
  });
  test('disconnect() while it waits to come back, and from within an event', () => {
    const { host, connection } = make();
    connection.connect();
    host.socket.end();
    assert.equal(connection.state, 'reconnecting');
    connection.disconnect();
    host.pass(300_000);
    assert.equal(host.sockets.length, 1);
    const other = make();
    other.connection.on('state', ({ to }) => { if (to === 'reconnecting') other.connection.disconnect(); });
    other.connection.connect();
    other.host.socket.end();
    other.host.pass(300_000);
    assert.equal(other.connection.state, 'closed');
    assert.equal(other.host.sockets.length, 1);
  });
  test('retryNow() cuts the wait short, once, and only while it waits', () => {
    const { host, connection, login } = make({ backoff: { firstMs: 30_000, mostMs: 60_000, jitter: 0 } });
    connection.retryNow();
    assert.equal(connection.state, 'closed');
    connection.connect();
    host.socket.end();
    host.pass(100);
    connection.retryNow();
    connection.retryNow();
    assert.equal(host.sockets.length, 2);
    login();
    connection.enterWorld();
    connection.retryNow();
    assert.equal(connection.state, 'inWorld');
    host.socket.end();
    connection.disconnect();
    connection.retryNow();
    host.pass(300_000);
    assert.equal(host.sockets.length, 2);
  });
  test('a message whose handler disconnects is the last thing told', () => {
    const { host, connection, login } = make();
    const told = [];
    connection.connect();
    login();
    connection.enterWorld();
    connection.on('messageEnd', () => told.push('end'));
    connection.on('message', ({ type }) => {
      told.push(type);
      connection.disconnect();
    });
    host.socket.deliver([MessageType.EVENT]);
    assert.deepEqual(told, [MessageType.EVENT]);
  });
  test('a token that fails is a loss, and asked for again', async () => {
    let asked = 0;
    const { host, connection, losses } = make({ token: () => { asked += 1; return Promise.reject(new Error('no network')); } });
    connection.connect();
    await settle();
    assert.match(losses[0].reason, /no network/);
    host.pass(1001);
    await settle();
    assert.equal(asked, 2);
    connection.disconnect();
  });
});

describe('messages', () => {
  test('HEARTBEAT is answered with the same bytes; our own measure the round trip', () => {
    const { host, connection, login } = make();
    const trips = [];
    connection.on('roundTrip', (ms) => trips.push(ms));
    connection.connect();
    login();
    host.socket.deliver([MessageType.HEARTBEAT, Uint8Array.from([5, 6, 7])]);
    assert.deepEqual([...host.socket.ofType(MessageType.PONG)[0].payload], [5, 6, 7]);
    host.pass(5000);
    const [beat] = host.socket.ofType(MessageType.HEARTBEAT);
    host.pass(40);
    host.socket.deliver([MessageType.PONG, beat.payload]);
    assert.deepEqual(trips, [40]);
  });
  test('what asks for acknowledgement is handled once, in order, and acknowledged', () => {
    const { host, connection, login } = make();
    const seen = [];
    connection.on('message', (m) => seen.push(m.sequence));
    connection.connect();
    login();
    const event = (sequence) => [MessageType.EVENT, new Uint8Array(0), { sequence, requiresAck: true }];
    host.socket.deliver(event(1), event(2), event(2), event(4), event(3));
    assert.deepEqual(seen, [1, 2, 3]);
    host.pass(60);
    assert.deepEqual(host.socket.ofType(MessageType.ACK).map((m) => m.ack), [3]);
  });
  test('what was not acknowledged is sent again after the next login, from 1 in a new session', () => {
    const { host, connection, losses, login } = make();
    connection.connect();
    login();
    for (const byte of [1, 2, 3]) connection.sendReliable(MessageType.PUBLISH, Uint8Array.from([byte]));
    host.socket.deliver([MessageType.ACK, undefined, { ack: 1 }]);
    host.socket.end();
    connection.sendReliable(MessageType.PUBLISH, Uint8Array.from([4]));
    host.pass(losses[0].retryMs);
    login();
    assert.deepEqual(host.socket.ofType(MessageType.PUBLISH).map((m) => [m.sequence, m.requiresAck, ...m.payload]),
      [[1, true, 2], [2, true, 3], [3, true, 4]]);
  });
  test('a resumed session goes on with its numbers', () => {
    const { host, connection, losses, login } = make();
    connection.connect();
    login({ resumeToken: 'r1' });
    for (const byte of [1, 2, 3]) connection.sendReliable(MessageType.PUBLISH, Uint8Array.from([byte]));
    host.socket.end();
    host.pass(losses[0].retryMs);
    assert.equal(host.socket.url.searchParams.get('resume'), 'r1');
    login({ resumeToken: 'r2' });
    assert.equal(host.socket.ofType(MessageType.PUBLISH).length, 0, 'it waits for RESUME_RESULT');
    host.socket.deliver([MessageType.RESUME_RESULT, sdk.ResumeResult.encode({ resumed: true, lastClientSequence: 2 })]);
    assert.deepEqual(host.socket.ofType(MessageType.PUBLISH).map((m) => [m.sequence, ...m.payload]), [[3, 3]]);
  });
  test('nothing of a session is said before it is known whether it goes on', () => {
    const { host, connection, losses, login } = make();
    connection.connect();
    login({ resumeToken: 'r1' });
    host.socket.deliver([MessageType.CHAT_MESSAGE, new Uint8Array(1), { sequence: 1, requiresAck: true }]);
    host.socket.end();
    host.pass(losses[0].retryMs);
    login({ resumeToken: 'r2' });
    connection.send(MessageType.CHAT_MESSAGE);
    connection.sendReliable(MessageType.PUBLISH, Uint8Array.from([7]));
    assert.deepEqual(host.socket.ofType(MessageType.CHAT_MESSAGE).map((m) => m.ack), [0], 'an acknowledgement of another session');
    assert.equal(host.socket.ofType(MessageType.PUBLISH).length, 0);
    host.socket.deliver([MessageType.RESUME_RESULT, sdk.ResumeResult.encode({ resumed: true, lastClientSequence: 0 })]);
    assert.deepEqual(host.socket.ofType(MessageType.PUBLISH).map((m) => [m.sequence, m.ack]), [[1, 1]]);
  });
});

describe('the network simulator', () => {
  function simulated(conditions) {
    const host = new VirtualHost();
    const simulator = new sdk.NetworkSimulator(host, conditions);
    const socket = simulator.wrap(host.openSocket)('ws://x/ws', []);
    const got = [];
    socket.onmessage = ({ data }) => got.push([host.time, new Uint8Array(data)[0]]);
    const closes = [];
    socket.onclose = ({ code }) => closes.push([host.time, code]);
    return { host, simulator, socket, got, closes };
  }
  test('latency, each way', () => {
    const { host, socket, got } = simulated({ latencyMs: 50 });
    host.socket.raw([1]);
    socket.send(sdk.encodeFrame(MessageType.ACK, new Uint8Array(0)));
    host.pass(49);
    assert.equal(got.length + host.socket.sent.length, 0);
    host.pass(1);
    assert.deepEqual([got, host.socket.sent.length], [[[1050, 1]], 1]);
  });
  test('jitter and loss never change the order; a loss stalls what is behind it', () => {
    const { host, got } = simulated({ latencyMs: 20, jitterMs: 100, loss: 0.1 });
    let seed = 1;
    host.chance = () => { seed = (seed * 48271) % 2147483647; return seed / 2147483647; };
    for (let i = 0; i < 200; i += 1) {
      host.socket.raw([i]);
      host.pass(16);
    }
    host.pass(5000);
    assert.deepEqual(got.map(([, n]) => n), Array.from({ length: 200 }, (_, i) => i));
    const times = got.map(([at]) => at);
    assert.ok(Math.max(...times.map((t, i) => t - (1000 + 16 * i))) > 200, 'no stall was seen');
  });
  test('bandwidth', () => {
    const { host, got } = simulated({ bandwidth: 1000 });
    host.socket.raw(new Array(500).fill(1));
    host.socket.raw(new Array(500).fill(2));
    host.pass(2000);
    assert.deepEqual(got, [[1500, 1], [2000, 2]]);
  });
  test('a cut ends it at once and drops what is under way', () => {
    const { host, simulator, got, closes } = simulated({ latencyMs: 50 });
    host.socket.raw([1]);
    simulator.drop();
    host.pass(1000);
    assert.deepEqual(got, []);
    assert.deepEqual(closes, [[1000, 1006]]);
    assert.ok(host.socket.closed);
  });
});
