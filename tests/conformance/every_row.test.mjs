// SPDX-License-Identifier: Apache-2.0
// Every message type of proto/ and every error code of docs/protocol.md goes over the wire here, in its direction,
// on both subprotocols. What flowed is written down at the sockets and compared with the tables: a row that nothing
// showed fails, and so does an exception that is none.
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { Client } from './lib/client.mjs';
import { startGateway } from './lib/cluster.mjs';
import { SUBPROTOCOL, methodOf, paramsOf } from './lib/jsonrpc.mjs';
import { NatsClient, startNats } from './lib/nats.mjs';
import { Type, frame, nameOf, withHeader } from './lib/proto.mjs';
import { Process, program, root, startServer } from './lib/server.mjs';
import { sign, claims, tokenFor } from './lib/tokens.mjs';
import { patience, until } from './lib/wait.mjs';

const long = patience * 4;
const PROTO = 'tidegate.v1.proto';
const both = [PROTO, SUBPROTOCOL];

// --- the tables ---

const envelope = readFileSync(join(root, 'proto/tidegate/v1/envelope.proto'), 'utf8');
const enumeration = envelope.slice(envelope.indexOf('enum MessageType'), envelope.indexOf('\n}', envelope.indexOf('enum MessageType')));
const types = [...enumeration.matchAll(/^ {2}([A-Z_]+) = (\d+);(?: *\/\/ (both|client|server): )?/gm)]
  .map(([, name, number, from]) => ({ name, number: Number(number), from: from ?? 'client' }))
  .filter(({ number }) => number !== 0);
const document = readFileSync(join(root, 'docs/protocol.md'), 'utf8');
const chapter = (title) => document.slice(document.indexOf(`\n## ${title}\n`)).split(/\n## /)[1];
// code → whether JSON clients see it.
const errors = new Map([...chapter('Error codes').matchAll(/^\| (\d{4}) \| (yes|no) \|/gm)].map(([, code, json]) => [Number(code), json === 'yes']));

// --- what flowed ---

const sent = new Set(), received = new Set(), refused = new Set();
const row = (what, protocol) => `${what} on ${protocol}`;
function watch(client) {
  const protocol = client.text ? SUBPROTOCOL : PROTO;
  client.look = () => {
    for (const m of client.messages) {
      received.add(row(m.name, protocol));
      if ([Type.ERROR, Type.DISCONNECT, Type.REPLY].includes(m.type)) refused.add(row(m.payload.code, protocol));
      if (m.type === Type.MOVE_ACK) refused.add(row(m.payload.reason, protocol));
    }
    for (const { error } of client.responses) if (error) refused.add(row(error.data?.code ?? error.code, protocol));
  };
  clients.push(client);
  return client;
}
const clients = [];
const send = (client, type, payload, more) => {
  sent.add(row(nameOf(type), client.text ? SUBPROTOCOL : PROTO));
  client.send(type, payload, more);
};

// --- clients ---

let serial = 0;
const someone = () => `row-${serial += 1}`;
const options = (protocol) => ({ protocols: [protocol] });
const connect = async (where, protocol, user = someone(), more = {}) => {
  const client = watch(await Client.connect(where, user, { ...options(protocol), hello: false, ...more }));
  if (more.hello !== false) send(client, Type.CLIENT_HELLO, { client_version: 'rows', state_encoding: 0, ...more.state });
  await client.next(Type.AUTHENTICATION_RESULT, undefined, { ms: long });
  return client;
};
const enter = async (where, protocol, user = someone(), more = {}) => {
  const client = await connect(where, protocol, user, more);
  await client.next(more.state ? Type.CELL_FRAME : Type.WORLD_STATE, undefined, { ms: long });
  return client;
};
const later = { ms: long };
// The code that a request is refused with.
async function refusal(client, type, payload, code) {
  const from = client.messages.length;
  if (client.text) {
    sent.add(row(nameOf(type), SUBPROTOCOL));
    const response = await client.call(methodOf(type), paramsOf(type, payload));
    assert.equal(response.error?.data.code, code, JSON.stringify(response));
  } else {
    send(client, type, payload);
    await client.next(Type.ERROR, (p) => p.code === code, { from, ms: long });
  }
}

let server, small, draining, nats, bus, gateway;
before(async () => {
  [server, small, draining, nats] = await Promise.all([
    startServer({ limits: { violations_per_minute: 1000 }, topics: { name_bytes: 100 }, groups: { kinds: 'party:4' } }),
    startServer({ limits: { messages_per_second: 20, messages_burst: 20, violations_per_minute: 1000 } }),
    startServer(), startNats()]);
  gateway = await startGateway(nats, 'rows', { bus: { services: ['1400-1409'], service_timeout: '700ms' } });
  bus = await NatsClient.open(nats.port);
  bus.subscribe('tidegate.main.in.1402', () => {});
  bus.subscribe('tidegate.main.in.1403', ({ reply }) => bus.publish(reply, 'what?'));
  await bus.flush();
});
after(async () => {
  for (const client of clients) client.drop();
  bus?.close();
  for (const each of [server, small, gateway, nats]) await each?.stop();
  if (draining?.running) await draining.stop('SIGKILL');
});

describe('messages', () => {
  for (const protocol of both) {
    test(`of a session: ${protocol}`, async () => {
      const client = await enter(server, protocol);
      send(client, Type.HEARTBEAT, Buffer.from('a'));
      await client.next(Type.PONG, undefined, later);
      send(client, Type.PONG, Buffer.from('b'));
      send(client, Type.TIME_SYNC, { client_time: 5 });
      await client.next(Type.TIME_SYNC, undefined, later);
      send(client, Type.HEARTBEAT, undefined, { sequence: 1, requires_ack: true });
      await until(() => client.messages.some((m) => Number(m.ack) === 1), 'the acknowledgement', long);
      send(client, Type.ACK);
      send(client, Type.TOKEN_REFRESH, { token: await tokenFor(client.user) });
      await client.next(Type.TOKEN_STATUS, (p) => p.accepted, later);
      send(client, Type.DISCONNECT, { code: 1000, reason: 'done' });
      assert.equal(await client.closeCode(long), 1000);
    });

    test(`of a resume: ${protocol}`, async () => {
      const first = await enter(server, protocol);
      const { payload } = await first.next(Type.CONNECTION_ESTABLISHED);
      first.drop();
      const second = await connect(server, protocol, first.user, { query: `&resume=${payload.resume_token}` });
      assert.ok((await second.next(Type.RESUME_RESULT, undefined, later)).payload.resumed);
      await second.leave();
    });

    test(`of topics: ${protocol}`, async () => {
      const client = await enter(server, protocol);
      send(client, Type.SUBSCRIBE, { topic: 'room.rows' });
      send(client, Type.PUBLISH, { topic: 'room.rows', data: Buffer.from('x') });
      await client.next(Type.EVENT, undefined, later);
      send(client, Type.UNSUBSCRIBE, { topic: 'room.rows' });
      if (protocol === PROTO) await client.next(Type.REPLY, undefined, later);
      await client.leave();
    });

    test(`of the world: ${protocol}`, async () => {
      const [one, two] = [await enter(server, protocol), await enter(server, protocol)];
      await one.next(Type.ZONE_UPDATE, undefined, later);
      await one.next(Type.INTEREST_UPDATE, undefined, later);
      const { x, y, z } = (await two.seen(two.user, undefined, long)).position;
      sent.add(row('PLAYER_MOVE', protocol));
      const tick = two.move(x + 0.2, y, z);
      await two.next(Type.MOVE_ACK, (p) => p.client_tick === tick, later);
      send(two, Type.PLAYER_STATE, { state_flags: 1 });
      send(two, Type.PLAYER_STEER, { client_tick: 100, samples: Buffer.from([1, 127, 0, 0, 0, 0]) });
      await two.next(Type.MOVE_ACK, (p) => p.client_tick === 100, later);
      await one.leave();
      await two.leave();
    });

    test(`of presence: ${protocol}`, async () => {
      const [one, two] = [await enter(server, protocol), await enter(server, protocol)];
      send(one, Type.PRESENCE_SUBSCRIBE, { user_ids: [two.user] });
      await one.next(Type.FRIEND_STATUS, undefined, later);
      send(two, Type.PLAYER_STATUS_CHANGE, { new_status: 2 });
      await two.next(Type.PLAYER_STATUS_CHANGE, undefined, later);
      send(two, Type.PRESENCE_UPDATE, { custom_status: 'tea' });
      await one.next(Type.PRESENCE_UPDATE, undefined, later);
      await one.leave();
      await two.leave();
    });

    test(`of groups and lists: ${protocol}`, async () => {
      const client = await enter(server, protocol);
      send(client, Type.GROUP_REQUEST, { operation: 1, group: 'party.' });
      await client.next(Type.GROUP_STATE, undefined, later);
      await client.next(Type.GROUP_EVENT, undefined, later);
      send(client, Type.SOCIAL_UPDATE, { add_friends: ['somebody'] });
      await client.next(Type.SOCIAL_LIST, undefined, later);
      await client.leave();
    });

    test(`for a game: ${protocol}`, async () => {
      const client = await enter(server, protocol);
      send(client, Type.PLAYER_ACTION, { action_id: 'jump' });
      for (const { name, number } of types.filter(({ number: n }) => n >= 400)) {
        sent.add(row(name, protocol));
        await refusal(client, number, Buffer.from('x'), 4004);
      }
      await client.leave();
    });
  }

  test('packed state, and its reports', async () => {
    const client = await enter(server, PROTO, someone(), { state: { state_encoding: 1 } });
    const [[, cell]] = client.cells.cells;
    send(client, Type.CELL_REPORT, { cell_x: cell.x, cell_z: cell.z, frame: 0, checksum: '5', expected: '6' });
    await client.leave();
    // A JSON client has no packed state to report of.
    const text = await enter(server, SUBPROTOCOL);
    await refusal(text, Type.CELL_REPORT, { cell_x: 1, cell_z: 1 }, 4005);
    await text.leave();
  });

  // States are a game's: the example has some.
  test('keyed state', async () => {
    const port = await new Promise((done) => {
      const probe = createServer().listen(0, '127.0.0.1', () => { const { port: p } = probe.address(); probe.close(() => done(p)); });
    });
    const game = new Process(program('examples/chests'), [String(port)]);
    try {
      const where = { url: `ws://127.0.0.1:${port}/ws` };
      for (const protocol of both) {
        const user = someone();
        const token = await sign(claims(user), 'only an example: thirty-two bytes or more');
        const client = await until(() => enter(where, protocol, user, { token }).catch((error) => {
          if (!game.running) throw error;
        }), 'a connection to the game', long);
        await client.next(Type.STATE_UPDATE, undefined, later);
        send(client, Type.STATE_CHANGE, { key: 'nothing', request: 3 });
        await client.next(Type.STATE_RESULT, (p) => Number(p.request) === 3, later);
        await client.leave();
      }
    } finally {
      await game.stop('SIGKILL');
    }
  });
});

describe('error codes', () => {
  test('of frames, on the binary subprotocol', async () => {
    const heartbeat = frame(Type.HEARTBEAT, Buffer.alloc(1));
    for (const [code, bytes] of [[4000, withHeader(heartbeat.subarray(8), { magic: 1 })], [4001, withHeader(heartbeat.subarray(8), { version: 2 })]]) {
      const client = await connect(server, PROTO);
      client.sendBytes(bytes);
      await client.error(code, later);
      assert.equal(await client.closeCode(long), 1002);
    }
    const client = await connect(server, PROTO);
    client.sendBytes(withHeader(Buffer.from([0xff, 0xff])));
    await client.error(4002, later);
    send(client, Type.PUBLISH, Buffer.from('no zlib'), { compression: 1, raw_size: 100 });
    await client.error(4017, later);
    await client.leave();
  });

  for (const protocol of both) {
    test(`of requests: ${protocol}`, async () => {
      const client = await enter(server, protocol);
      if (protocol === SUBPROTOCOL) {
        client.socket.send('{');
        await until(() => client.responses.some((r) => r.error?.data?.code === 4002), '4002', long);
      }
      await refusal(client, Type.SUBSCRIBE, { topic: '' }, 4003);
      await refusal(client, 1234, Buffer.from('x'), 4004);
      await refusal(client, Type.PUBLISH, { topic: 'user.another' }, 4005);
      await refusal(client, Type.SUBSCRIBE, { topic: `room.${'x'.repeat(100)}` }, 4007);
      await refusal(client, Type.UNSUBSCRIBE, { topic: 'room.never' }, 4012);
      await client.leave();
    });

    test(`of limits: ${protocol}`, async () => {
      const client = await enter(small, protocol);
      for (let i = 0; i < 60; i += 1) {
        if (client.text) client.socket.send(JSON.stringify({ jsonrpc: '2.0', id: `flood-${i}`, method: 'ack' }));
        else send(client, Type.ACK);
      }
      await until(() => client.responses.some((r) => r.error?.code === 4006) || client.all(Type.ERROR).some((m) => m.payload.code === 4006), '4006', long);
      client.drop();
    });

    test(`of services: ${protocol}`, async () => {
      const client = await enter(gateway, protocol);
      await refusal(client, 1402, Buffer.from('x'), 4008);
      await refusal(client, 1403, Buffer.from('x'), 4009);
      await client.leave();
    });

    test(`of moves: ${protocol}`, async () => {
      const client = await enter(server, protocol);
      const { x, y, z } = (await client.seen(client.user, undefined, long)).position;
      let tick = client.move(x > 0 ? x - 900 : x + 900, y, z);
      const fast = await client.next(Type.MOVE_ACK, (p) => p.client_tick === tick, later);
      assert.equal(fast.payload.reason, 4010);
      tick = client.move(1e7, y, z);
      const out = await client.next(Type.MOVE_ACK, (p) => p.client_tick === tick, later);
      assert.equal(out.payload.reason, 4011);
      await client.leave();
    });

    test(`of sessions: ${protocol}`, async () => {
      const first = await enter(server, protocol);
      const { resume_token: token } = (await first.next(Type.CONNECTION_ESTABLISHED)).payload;
      const other = await connect(server, protocol, someone(), { query: `&resume=${token}` });
      await other.error(4014, later);
      await other.leave();
      send(first, Type.DISCONNECT, { code: 1000, reason: 'for good' });
      await first.closeCode(long);
      const again = await connect(server, protocol, first.user, { query: `&resume=${token}` });
      await again.error(4013, later);
      const instead = await connect(server, protocol, first.user);
      await again.error(4015, later);
      assert.equal(await again.closeCode(long), 4015);
      await instead.leave();
    });
  }

  test('of a drain', async () => {
    const left = [];
    for (const protocol of both) left.push(await enter(draining, protocol));
    await draining.stop();
    for (const client of left) {
      assert.equal(await client.closeCode(long), 1001);
      assert.equal((await client.next(Type.DISCONNECT)).payload.code, 4016);
    }
  });
});

describe('every row', () => {
  // What the tables allow and nobody does.
  const NEVER = new Map([
    [row('CELL_FRAME', SUBPROTOCOL), 'packed state is binary'],
    [row('REPLY', SUBPROTOCOL), 'is the response to the request'],
    ...both.flatMap((protocol) => [
      [row('HEARTBEAT', protocol), 'the server sends pings of WebSocket'],
      [row('PLAYER_STATE', protocol), 'state goes in WORLD_STATE and ZONE_UPDATE'],
    ]),
  ]);
  const missing = (rows, seen, never = new Map()) => rows.filter((r) => !seen.has(r) && !never.has(r));
  const look = () => { for (const client of clients) client.look(); };

  test('the tables were read', () => {
    assert.deepEqual(types.map(({ name }) => name).filter((name) => Type[name] !== undefined).sort(), Object.keys(Type).sort());
    assert.ok(types.filter(({ number }) => number >= 400).length === 7);
    assert.deepEqual([...errors.keys()], Array.from({ length: 18 }, (_, i) => 4000 + i));
  });
  test('a type that clients send was sent', () => {
    assert.deepEqual(missing(types.filter(({ from }) => from !== 'server').flatMap(({ name }) => both.map((p) => row(name, p))), sent), []);
  });
  test('a type that the server sends came', () => {
    look();
    const rows = types.filter(({ from, number }) => from !== 'client' && number < 400).flatMap(({ name }) => both.map((p) => row(name, p)));
    assert.deepEqual(missing(rows, received, NEVER), []);
    assert.deepEqual([...NEVER.keys()].filter((r) => received.has(r)), [], 'the exceptions are some');
  });
  test('an error code came', () => {
    look();
    const rows = [...errors].flatMap(([code, json]) => [row(code, PROTO), ...(json ? [row(code, SUBPROTOCOL)] : [])]);
    assert.deepEqual(missing(rows, refused), []);
    assert.deepEqual([...errors].filter(([code, json]) => !json && refused.has(row(code, SUBPROTOCOL))), [], 'those that JSON clients do not see');
  });
});
