// SPDX-License-Identifier: Apache-2.0
// The JSON-RPC 2.0 subprotocol: who gets it, requests, notifications, batches, every error, every
// message type, the state; and that both subprotocols do the same for every message type.
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, describe, test } from 'node:test';
import WebSocket from 'ws';
import { Client, distance } from './lib/client.mjs';
import { SUBPROTOCOL, methodOf, paramsOf, payloadOf } from './lib/jsonrpc.mjs';
import { Type, frame, nameOf } from './lib/proto.mjs';
import { metrics, root, startServer } from './lib/server.mjs';
import { tokenFor } from './lib/tokens.mjs';
import { until, within } from './lib/wait.mjs';

const server = await startServer({ limits: { violations_per_minute: 200 } });
const strict = await startServer({ limits: { violations_per_minute: 3, messages_per_second: 50, messages_burst: 40 } });
after(async () => { await server.stop(); await strict.stop(); });

let serial = 0;
const json = { protocols: [SUBPROTOCOL] };
const login = (options = {}, where = server) => Client.connect(where, `json-${serial += 1}`, { ...json, ...options });
const enter = (name = `json-${serial += 1}`, options = {}) => Client.enter(server, name, { ...json, ...options });
const raw = (client, value) => client.socket.send(typeof value === 'string' ? value : JSON.stringify(value));
// The only response that comes to a text: everything sent before it was answered.
async function answerTo(client, value) {
  const from = client.texts.length;
  raw(client, value);
  return until(() => client.texts.slice(from).map((t) => JSON.parse(t)).find((v) => v.method === undefined), `a response to ${JSON.stringify(value).slice(0, 100)}`);
}

describe('who gets it', () => {
  const chosen = async (protocols) => {
    const socket = new WebSocket(`${server.url}?token=${await tokenFor('choice')}`, protocols);
    await within(new Promise((done, fail) => { socket.once('open', done); socket.once('error', fail); }), 'the upgrade');
    socket.terminate();
    return socket.protocol;
  };
  test('a client that offers only it', async () => assert.equal(await chosen([SUBPROTOCOL]), SUBPROTOCOL));
  test('among unknown ones', async () => assert.equal(await chosen(['other', SUBPROTOCOL]), SUBPROTOCOL));
  test('with both offered, the server\'s order counts', async () => {
    assert.equal(await chosen([SUBPROTOCOL, 'tidegate.v1.proto']), 'tidegate.v1.proto');
  });
});

describe('the login', () => {
  test('connectionEstablished, authenticationResult, then worldState, each as a notification', async () => {
    const client = await enter();
    assert.deepEqual(client.messages.slice(0, 2).map((m) => m.name), ['CONNECTION_ESTABLISHED', 'AUTHENTICATION_RESULT']);
    const [established, result] = client.texts.map((t) => JSON.parse(t));
    assert.equal(established.method, 'connectionEstablished');
    assert.match(established.params.sessionId, /^[0-9a-f]{16}$/);
    assert.equal(typeof established.params.serverTime, 'string');  // 64 bits
    assert.equal(established.params.features.cell_size, '64');
    assert.equal(result.params.success, true);
    assert.equal(result.params.userId, client.user);
    assert.ok(client.me);
    assert.deepEqual(client.breaches, []);
    await client.leave();
  });
  test('state_encoding packed is refused and does not count as the hello', async () => {
    for (const stateEncoding of ['STATE_ENCODING_PACKED', 1]) {
      const client = await login({ hello: false });
      const { error } = await client.call('clientHello', { stateEncoding });
      assert.equal(error.code, -32602);
      assert.match(error.data.details, /packed/);
      assert.deepEqual((await client.call('clientHello', { clientVersion: 'a', viewDistance: 50, compression: [] })).result, {});
      await client.next(Type.WORLD_STATE);
      await client.leave();
    }
  });
  test('without a hello the state begins all the same', async () => {
    const client = await login({ hello: false });
    await client.next(Type.WORLD_STATE);
    await client.leave();
  });
});

describe('requests', () => {
  test('heartbeat and timeSync have results', async () => {
    const client = await login();
    assert.deepEqual((await client.call('heartbeat', { payload: 'aGk=' })).result, { payload: 'aGk=' });
    assert.deepEqual((await client.call('heartbeat')).result, {});
    const before = Date.now();
    const { result } = await client.call('timeSync', { clientTime: '123' });
    assert.equal(result.clientTime, '123');
    assert.ok(Number(result.serverTime) >= before - 1000);
    await client.leave();
  });
  test('playerMove is taken, and answered by a moveAck', async () => {
    const client = await enter();
    const response = await client.call('playerMove', { position: { x: 1, y: 0, z: 2 }, client_tick: 9 });
    assert.deepEqual(response.result, {});
    const { payload } = await client.next(Type.MOVE_ACK, (p) => p.client_tick === 9);
    assert.equal(payload.corrected, false);
    assert.ok(distance(payload.position, { x: 1, y: 0, z: 2 }) < 0.05);
    await client.leave();
  });
  test('a refused move is corrected', async () => {
    const client = await enter();
    await client.call('playerMove', { position: { x: 9000, y: 0, z: 0 }, clientTick: 1 });
    const { payload } = await client.next(Type.MOVE_ACK, (p) => p.corrected);
    assert.ok([4010, 4011].includes(payload.reason));
    await client.leave();
  });
  test('ids of every kind come back as they were', async () => {
    const client = await login();
    for (const id of [1, -7, 0, 1.5, '', 'a"b\\c\u20ac\n', null, 9007199254740991]) {
      const response = await answerTo(client, { jsonrpc: '2.0', id, method: 'ack' });
      assert.deepEqual(response, { jsonrpc: '2.0', id, result: {} });
    }
    await client.leave();
  });
  test('a notification is not answered', async () => {
    const client = await login();
    raw(client, { jsonrpc: '2.0', method: 'playerState', params: {} });
    raw(client, { jsonrpc: '2.0', method: 'ack' });
    await client.call('heartbeat');
    assert.deepEqual(client.responses.map((r) => r.id), ['call-1']);
    await client.leave();
  });
  test('disconnect ends the connection with 1000', async () => {
    const client = await login();
    raw(client, { jsonrpc: '2.0', id: 1, method: 'disconnect', params: { code: 1000, reason: 'done' } });
    assert.equal(await client.closeCode(), 1000);
  });
});

describe('acknowledged delivery', () => {
  test('seq is acknowledged, repeated ones are not delivered again, a gap is 4002', async () => {
    const client = await login();
    assert.ok((await client.call('heartbeat', { payload: 'YQ==', seq: 1 })).result);
    raw(client, { jsonrpc: '2.0', method: 'heartbeat', params: { payload: 'Yg==', seq: 2 } });
    // Either a notification `ack` or any message to us says it.
    const acked = (n) => until(() => client.texts.map((t) => JSON.parse(t)).some((m) => (m.params?.ack ?? m.result?.ack ?? 0) === n), `ack ${n}`);
    await acked(2);
    const pongs = client.all(Type.PONG).length;
    assert.deepEqual((await client.call('heartbeat', { payload: 'Yw==', seq: 2 })).result, {});  // nobody handled it
    assert.equal(client.all(Type.PONG).length, pongs);
    const { error } = await client.call('heartbeat', {}, { seq: 9 });  // beside params
    assert.equal(error.code, 4002);
    await client.leave();
  });
});

describe('errors of the specification', () => {
  const rows = [
    ['text that is no JSON', -32700, null, '{"jsonrpc": "2.0", "method": "foobar, "params": "bar", "baz]'],
    ['an empty message', -32700, null, ''],
    ['a batch that is no JSON', -32700, null, '[{"jsonrpc": "2.0", "method": "ack"},{"jsonrpc": "2.0", "method"]'],
    ['a bare NaN', -32700, null, '{"jsonrpc":"2.0","id":1,"method":"playerMove","params":{"position":{"x":NaN}}}'],
    ['a number', -32600, null, 1],
    ['an empty batch', -32600, null, []],
    ['a method that is no string', -32600, null, { jsonrpc: '2.0', method: 1, params: 'bar' }],
    ['another version', -32600, 3, { jsonrpc: '1.0', id: 3, method: 'ack' }],
    ['no version', -32600, 3, { id: 3, method: 'ack' }],
    ['an id that is an object', -32600, null, { jsonrpc: '2.0', id: {}, method: 'ack' }],
    ['params that are no object', -32600, 3, { jsonrpc: '2.0', id: 3, method: 'ack', params: 'x' }],
    ['a batch of 33', -32600, null, Array.from({ length: 33 }, () => ({ jsonrpc: '2.0', id: 1, method: 'ack' }))],
    ['17 arrays in each other', -32600, null, `${'['.repeat(17)}1${']'.repeat(17)}`],
    ['an unknown method', -32601, 'x', { jsonrpc: '2.0', id: 'x', method: 'foobar' }],
    ['a name of the binary protocol', -32601, 'x', { jsonrpc: '2.0', id: 'x', method: 'PLAYER_MOVE' }],
    ['params by position', -32602, 3, { jsonrpc: '2.0', id: 3, method: 'playerMove', params: [1, 2] }],
    ['an unknown field', -32602, 3, { jsonrpc: '2.0', id: 3, method: 'playerMove', params: { positon: {} } }],
    ['a value of another kind', -32602, 3, { jsonrpc: '2.0', id: 3, method: 'playerMove', params: { position: 'here' } }],
    ['a number that is too large', -32602, 3, { jsonrpc: '2.0', id: 3, method: 'playerMove', params: { clientTick: 2 ** 32 } }],
    ['a negative unsigned number', -32602, 3, { jsonrpc: '2.0', id: 3, method: 'playerMove', params: { clientTick: -1 } }],
    ['an unknown enum name', -32602, 3, { jsonrpc: '2.0', id: 3, method: 'clientHello', params: { stateEncoding: 'JSON' } }],
    ['what is no base64', -32602, 3, { jsonrpc: '2.0', id: 3, method: 'heartbeat', params: { payload: '!' } }],
    ['a float beyond a float', -32602, 3, { jsonrpc: '2.0', id: 3, method: 'playerMove', params: { position: { x: 1e40 } } }],
    ['NaN', -32602, 3, { jsonrpc: '2.0', id: 3, method: 'playerMove', params: { position: { x: 'NaN' } } }],
    ['Infinity', -32602, 3, { jsonrpc: '2.0', id: 3, method: 'playerMove', params: { velocity: { z: '-Infinity' } } }],
    ['a heartbeat of more than 125 bytes', -32602, 3, { jsonrpc: '2.0', id: 3, method: 'heartbeat', params: { payload: Buffer.alloc(126).toString('base64') } }],
    ['custom below 1000', -32602, 3, { jsonrpc: '2.0', id: 3, method: 'custom', params: { type: 100 } }],
    ['custom that nobody serves', 4004, 3, { jsonrpc: '2.0', id: 3, method: 'custom', params: { type: 1234, payload: 'aGk=' } }],
  ];
  for (const [what, code, id, message] of rows) {
    test(`${code} for ${what}`, async () => {
      const client = await enter();
      const { error, id: echoed, jsonrpc } = await answerTo(client, message);
      assert.equal(jsonrpc, '2.0');
      assert.equal(error.code, code, JSON.stringify(error));
      assert.equal(echoed, id);
      assert.ok(error.message.length > 0 && error.data.code >= 4000 && error.data.code <= 4017);
      assert.ok((await client.call('heartbeat')).result, 'the connection stays');
      await client.leave();
    });
  }
  test('a notification that is refused is told by a notification', async () => {
    const client = await login();
    raw(client, { jsonrpc: '2.0', method: 'foobar' });
    await client.error(4004);
    raw(client, { jsonrpc: '2.0', method: 'playerMove', params: { position: 1 } });
    const { payload } = await client.error(4003);
    assert.match(payload.details, /position/);
    assert.deepEqual(client.responses, []);
    await client.leave();
  });
  test('playerMove before the world is 4005', async () => {
    const client = await login({ hello: false });
    assert.equal((await client.call('playerMove', { position: { x: 0 } })).error.code, 4005);
    await client.leave();
  });
});

describe('limits', () => {
  test('a binary message: close 1003', async () => {
    const client = await login();
    client.sendBytes(frame(Type.HEARTBEAT, Buffer.from('x')));
    assert.equal(await client.closeCode(), 1003);
  });
  test('a message above 64 KiB: close 1009', async () => {
    const client = await login();
    raw(client, ' '.repeat(65 * 1024));
    assert.equal(await client.closeCode(), 1009);
  });
  test('a message of exactly 64 KiB is taken', async () => {
    const client = await login();
    const text = JSON.stringify({ jsonrpc: '2.0', id: 1, method: 'ack' });
    raw(client, ' '.repeat(64 * 1024 - text.length) + text);
    assert.deepEqual((await client.response(1)).result, {});
    await client.leave();
  });
  test('too many refusals: an error that says fatal, then close 1008', async () => {
    const client = await login({ hello: false }, strict);
    for (let i = 0; i < 8; i += 1) raw(client, '{');
    assert.equal(await client.closeCode(), 1008);
    assert.equal(client.responses.at(-1).error.data.fatal, true);
    assert.ok(client.responses.slice(0, -1).every((r) => r.error.code === -32700 && !r.error.data.fatal));
  });
  test('too many refusals in a batch: what was answered goes out before the close', async () => {
    const client = await login({ hello: false }, strict);
    raw(client, Array.from({ length: 10 }, (_, id) => ({ jsonrpc: '2.0', id, method: 'foobar' })));
    assert.equal(await client.closeCode(), 1008);
    assert.equal(client.responses.at(-1).error.data.fatal, true);
    assert.ok(client.responses.length >= 3);
  });
  test('more messages than the limit: 4006', async () => {
    const client = await login({ hello: false }, strict);
    for (let i = 0; i < 45; i += 1) raw(client, { jsonrpc: '2.0', id: i, method: 'ack' });
    await until(() => client.responses.find((r) => r.error?.code === 4006), 'a 4006');
    client.drop();
  });
});

describe('batches', () => {
  test('one array in one message, notifications without an entry', async () => {
    const client = await login();
    const answers = await answerTo(client, [
      { jsonrpc: '2.0', id: 'a', method: 'heartbeat', params: { payload: 'YQ==' } },
      { jsonrpc: '2.0', method: 'ack' },
      1,
      { jsonrpc: '2.0', id: 'b', method: 'timeSync' },
      { foo: 'boo' },
      { jsonrpc: '2.0', id: 'c', method: 'foobar' },
    ]);
    assert.ok(Array.isArray(answers));
    assert.deepEqual(answers.map((a) => [a.id, a.error?.code ?? 0]),
      [['a', 0], [null, -32600], ['b', 0], [null, -32600], ['c', -32601]]);
    assert.deepEqual(answers[0].result, { payload: 'YQ==' });
    await client.leave();
  });
  test('only notifications: no answer', async () => {
    const client = await login();
    raw(client, [{ jsonrpc: '2.0', method: 'ack' }, { jsonrpc: '2.0', method: 'ack' }]);
    await client.call('heartbeat');
    assert.equal(client.responses.length, 1);
    await client.leave();
  });
  test('twenty batches of 32', async () => {
    const client = await login();
    for (let i = 0; i < 20; i += 1) {
      const answers = await answerTo(client, Array.from({ length: 32 }, (_, n) => ({ jsonrpc: '2.0', id: n, method: 'heartbeat', params: { payload: 'AAAA'.repeat(40) } })));
      assert.deepEqual(answers.map((a) => a.id), Array.from({ length: 32 }, (_, n) => n));
      client.texts.length = 0;
    }
    await client.leave();
  });
});

describe('the state', () => {
  test('a JSON client and a binary one see each other and the same world', async () => {
    const one = await enter('json-sees');
    const two = await Client.enter(server, 'binary-sees');
    await one.seen('binary-sees');
    await two.seen('json-sees');
    for (let i = 1; i <= 10; i += 1) {
      one.move(i * 0.1, 0, 1);
      two.move(1, 0, i * 0.1);
      await new Promise((done) => { setTimeout(done, 60); });
    }
    const at = (e, p) => distance(e.position, p) < 0.05;
    await two.seen('json-sees', (e) => at(e, { x: 1, y: 0, z: 1 }));
    await one.seen('binary-sees', (e) => at(e, { x: 1, y: 0, z: 1 }));
    assert.deepEqual([...one.world.keys()].sort(), [...two.world.keys()].sort());
    await two.leave();
    assert.deepEqual(one.breaches, []);
    assert.deepEqual(two.breaches, []);
    await one.leave();
  });
  test('with permessage-deflate too', async () => {
    const one = await enter('json-deflates', { deflate: true });
    await one.seen('json-deflates');
    assert.ok((await one.call('timeSync')).result);
    assert.deepEqual(one.breaches, []);
    await one.leave();
  });
  test('a crowd: messages stay below the limit, nobody is missing', async () => {
    const crowd = await startServer({ world: { spawn_radius: 20 } });
    try {
      const others = await Promise.all(Array.from({ length: 260 }, (_, i) => Client.connect(crowd, `crowd-of-many-${i}`)));
      await Promise.all(others.map((c) => c.next(Type.WORLD_STATE)));
      const viewer = await Client.enter(crowd, 'json-in-a-crowd', json);
      await until(() => viewer.world.size === 261, 'everybody in view');
      assert.deepEqual(viewer.breaches, []);
      await viewer.leave();
      await Promise.all(others.map((c) => c.leave()));
    } finally {
      await crowd.stop();
    }
  });
});

// The same operations by a binary client and, as notifications, by a JSON one: what comes back must
// be the same messages in the same order with the same contents, once what is a matter of the moment
// is taken out.
describe('both subprotocols do the same', () => {
  const MOMENT = new Set(['server_time', 'server_tick', 'timestamp', 'tick', 'latency_ms', 'session_id', 'resume_token', 'details']);
  const still = (value) => Array.isArray(value) ? value.map(still)
    : value && typeof value === 'object' && !(value instanceof Uint8Array)
      ? Object.fromEntries(Object.entries(value).filter(([key]) => !MOMENT.has(key)).map(([key, v]) => [key, still(v)]))
      : value;
  const payloads = {
    HEARTBEAT: [undefined, Buffer.from('hi'), Buffer.alloc(126)],
    PONG: [Buffer.from('x')],
    ACK: [undefined],
    ERROR: [{ code: 4000 }],
    CONNECTION_ESTABLISHED: [{ session_id: 'x' }],
    AUTHENTICATION_RESULT: [{ success: true }],
    RESUME_RESULT: [{ resumed: true }],
    CLIENT_HELLO: [{ client_version: 'again' }, { view_distance: -1 }, { view_distance: NaN }, { state_encoding: 7 }],
    SUBSCRIBE: [{ topic: 'room.same' }, { topic: '' }, { topic: 'forbidden.topic' }],
    UNSUBSCRIBE: [{ topic: 'room.same' }, { topic: 'room.never' }],
    PUBLISH: [{ topic: 'room.quiet', data: Buffer.from('x'), event_type: 3 }, { topic: 'forbidden.topic' }],
    EVENT: [{ topic: 'room.x' }],
    REPLY: [{ code: 1 }],
    PLAYER_MOVE: [{ position: { x: NaN, y: 0, z: 0 } }, { velocity: { x: 0, y: Infinity, z: 0 } }],
    PLAYER_ACTION: [{ action_id: 'jump', parameters: { how: 'high' } }],
    PLAYER_STATE: [{ position: { x: 0, y: NaN, z: 0 } }],
    PLAYER_STATUS_CHANGE: [{ new_status: 2, reason: 'tea' }],
    MOVE_ACK: [{ client_tick: 1 }],
    PLAYER_STEER: [{ client_tick: 1, samples: Buffer.from([0]) }],
    WORLD_STATE: [{ tick: 1 }],
    ZONE_UPDATE: [{ zone_id: 'x' }],
    TIME_SYNC: [{ client_time: 77 }, undefined],
    INTEREST_UPDATE: [{ view_distance: 1 }],
    CELL_FRAME: [Buffer.from('x')],
    CELL_REPORT: [{ cell_x: -1, cell_z: 2, checksum: 1 }],
    TOKEN_REFRESH: [{ token: 'none' }],
    TOKEN_STATUS: [{ accepted: true }],
    STATE_UPDATE: [{ tick: 1, entries: [{ key: 'door' }] }],
    STATE_CHANGE: [{ key: 'door', value: Buffer.from('open'), base_version: 7, request: 3 }, { key: '' }, { key: 'a', scope: 9 }],
    STATE_RESULT: [{ request: 1, reason: 3 }],
    PRESENCE_UPDATE: [{ user_id: 'x', status: 1 }],
    FRIEND_STATUS: [{ friends: [] }],
    PRESENCE_SUBSCRIBE: [{ user_ids: ['a', 'b'] }],
    SOCIAL_UPDATE: [{ add_friends: ['somebody'] }],
    SOCIAL_LIST: [{ friends: ['x'] }],
    GROUP_REQUEST: [{ operation: 2, group: 'party.of-nobody' }, { operation: 1, group: 'nothing' }, { operation: 1, group: 'raid.x' },
      { operation: 0, group: 'party.x' }],
    GROUP_EVENT: [{ group: 'party.x' }],
    GROUP_STATE: [{ group: 'party.x' }],
  };
  const operations = Object.entries(payloads).flatMap(([name, list]) => list.map((payload) => [Type[name], payload]));
  for (const type of [400, 401, 402, 403, 404, 405, 406, 1000, 4_000_000_000]) operations.push([type, Buffer.from('opaque')]);

  // Everything that came between two marks, less what comes by itself.
  const BY_ITSELF = new Set([Type.ACK, Type.WORLD_STATE, Type.ZONE_UPDATE, Type.INTEREST_UPDATE, Type.EVENT,
    Type.PRESENCE_UPDATE, Type.FRIEND_STATUS, Type.PLAYER_STATUS_CHANGE, Type.SOCIAL_LIST, Type.STATE_RESULT, Type.TOKEN_STATUS]);
  let marks = 0;
  async function replies(client, type, payload) {
    const from = client.messages.length;
    client.send(type, payload);
    const mark = Buffer.from(`mark ${marks += 1}`);
    client.send(Type.HEARTBEAT, mark);
    await client.next(Type.PONG, (_, m) => m.raw.equals(mark));
    return client.messages.slice(from).filter((m) => !BY_ITSELF.has(m.type) && !(m.type === Type.PONG && m.raw.equals(mark)));
  }
  // What is answered by a REPLY may be answered from another shard, so that has to be waited for.
  const LATER = new Set([Type.SUBSCRIBE, Type.UNSUBSCRIBE, Type.PUBLISH, Type.GROUP_REQUEST, Type.SOCIAL_UPDATE]);
  async function verdict(client, type, payload) {
    const from = client.messages.length;
    client.send(type, payload);
    const answer = await until(() => client.messages.slice(from).find((m) => [Type.REPLY, Type.ERROR].includes(m.type)), `an answer to ${nameOf(type)}`);
    await replies(client, Type.ACK);  // an ERROR that follows a REPLY has come
    return answer;
  }
  const shown = (messages) => messages.map((m) => [m.name, m.payload instanceof Uint8Array ? m.raw.toString('hex') : still(m.payload)]);

  test('for every message type', async () => {
    assert.deepEqual(Object.keys(payloads).concat('DISCONNECT').sort(), Object.keys(Type).sort(), 'every type has its row');
    const binary = await Client.enter(server, 'same-binary');
    const text = await enter('same-text');
    for (const [type, payload] of operations) {
      if (LATER.has(type)) {
        const { payload: answer } = await verdict(binary, type, payload);
        const { error } = await text.call(methodOf(type), paramsOf(type, payload));
        assert.equal(error?.data.code ?? 0, answer.code, `${nameOf(type)} ${JSON.stringify(payload)}: ${JSON.stringify(error)}`);
        continue;
      }
      const one = shown(await replies(binary, type, payload));
      const two = shown(await replies(text, type, payload));
      // What was done gets a REPLY on the binary subprotocol; a JSON notification asked for none.
      const bothSay = one.filter(([name, p]) => !(name === 'REPLY' && p.code === 0));
      assert.deepEqual(two, bothSay, `${nameOf(type)} ${JSON.stringify(payload)}`);
      // As a request: the same code, or the same result.
      const response = await text.call(methodOf(type), paramsOf(type, payload));
      const refused = one.find(([name, p]) => name === 'ERROR' || (name === 'REPLY' && p.code !== 0));
      assert.equal(response.error?.data.code ?? 0, refused?.[1].code ?? 0, `${nameOf(type)}: ${JSON.stringify(response)}`);
      const answered = one.find(([name]) => ['PONG', 'TIME_SYNC'].includes(name));
      if (answered) {
        const { payload: result, raw: bytes } = payloadOf(Type[answered[0]], response.result);
        assert.deepEqual(result instanceof Uint8Array ? bytes.toString('hex') : still(result), answered[1]);
      }
    }
    assert.deepEqual(text.breaches, []);
    await binary.leave();
    await text.leave();
  });
  test('for moves', async () => {
    const pair = [await Client.enter(server, 'moves-binary'), await enter('moves-text')];
    const steps = [[0.3, 0, 0.2], [5000, 0, 0], [0.5, 0, 0.1], [1e9, 0, 0]];
    const seen = [[], []];
    for (const [x, y, z] of steps) {
      for (const [i, client] of pair.entries()) {
        const tick = client.move(x, y, z);
        const { payload } = await client.next(Type.MOVE_ACK, (p) => p.client_tick === tick);
        seen[i].push(still(payload));
      }
    }
    assert.deepEqual(seen[1], seen[0]);
    for (const client of pair) await client.leave();
  });
  test('the login and the first state', async () => {
    const pair = [await Client.enter(server, 'same-user'), null];
    await pair[0].leave();
    pair[1] = await enter('same-user');
    // Compressed payloads do not exist in JSON.
    const shape = (client) => client.messages.slice(0, 2).map((m) => {
      const { features, ...rest } = still(m.payload);
      if (features) delete features.compression;
      return [m.name, { ...rest, features }];
    });
    assert.deepEqual(shape(pair[1]), shape(pair[0]));
    assert.deepEqual(still(pair[1].me), still(pair[0].me ?? pair[1].me));
    await pair[1].leave();
  });
  test('DISCONNECT', async () => {
    for (const options of [{}, json]) {
      const client = await Client.connect(server, 'same-leaves', options);
      client.send(Type.DISCONNECT, { code: 1000, reason: 'bye' });
      assert.equal(await client.closeCode(), 1000);
    }
  });
});

describe('docs/protocol.md', () => {
  // Every example of the chapter: `→` is sent, `←` is what must come. "…" stands for what is not
  // compared.
  const text = readFileSync(join(root, 'docs/protocol.md'), 'utf8');
  const chapter = text.slice(text.indexOf('\n## JSON-RPC'), text.indexOf('\n## ', text.indexOf('\n## JSON-RPC') + 5));
  const examples = [...chapter.matchAll(/```jsonrpc\n([\s\S]*?)```/g)].map(([, body]) => body.trim().split('\n').map((line) => line.trim()));
  const matches = (want, got) => want === '…' || (Array.isArray(want) ? Array.isArray(got) && want.length === got.length && want.every((w, i) => matches(w, got[i]))
    : want && typeof want === 'object' ? got && typeof got === 'object' && Object.keys(want).every((k) => matches(want[k], got[k])) && Object.keys(got).every((k) => k in want)
      : want === got);
  test('has examples', () => assert.ok(examples.length >= 6, `${examples.length}`));
  for (const [i, lines] of examples.entries()) {
    test(`example ${i + 1}: ${lines[0].slice(0, 90)}`, async () => {
      const client = await login({ hello: false });
      await client.next(Type.AUTHENTICATION_RESULT);
      if (!lines.some((line) => line.includes('"clientHello"'))) {
        raw(client, { jsonrpc: '2.0', method: 'clientHello' });
        await client.next(Type.WORLD_STATE);
      }
      for (const line of lines) {
        if (line.startsWith('→')) raw(client, line.slice(1).trim());
        else if (line.startsWith('←')) {
          const want = JSON.parse(line.slice(1));
          await until(() => client.texts.some((t) => matches(want, JSON.parse(t))), `${line}; there came\n${client.texts.slice(-6).join('\n')}`);
        } else assert.fail(`neither → nor ←: ${line}`);
      }
      client.drop();
    });
  }
});

test('text messages are counted', async () => {
  const { sum } = await metrics(server);
  assert.ok(sum('tidegate_json_messages_total') > 100);
  assert.ok(sum('tidegate_json_bytes_total') > 10_000);
});
