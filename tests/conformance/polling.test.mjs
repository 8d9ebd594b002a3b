// SPDX-License-Identifier: Apache-2.0
// HTTP long polling: the same sessions, order, acknowledgements and refusals as by WebSocket.
import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { after, describe, test } from 'node:test';
import { promisify } from 'node:util';
import { Authority } from './lib/certificates.mjs';
import { Client } from './lib/client.mjs';
import * as sdk from '../../tools/sdk-js/dist/index.js';
import { Writer, arrived, endAll, startLetters } from './lib/letters.mjs';
import { ask, json, openSession } from './lib/polling.mjs';
import { Type, parseFrames } from './lib/proto.mjs';
import { adminGet, metrics, startServer, temporaryFolder } from './lib/server.mjs';
import { claims, sign, tokenFor } from './lib/tokens.mjs';
import { patience, seeded, sleep, until } from './lib/wait.mjs';

const run = promisify(execFile);
const folder = temporaryFolder();
const servers = [];
const start = async (changes) => {
  const server = await startServer(changes, { folder });
  servers.push(server);
  return server;
};
after(async () => {
  await endAll();
  for (const server of servers) if (server.running) await server.stop();
});

const server = await start({ shards: { count: 3 }, limits: { poll_sessions: 50, connects_per_ip: 0 } });
const kinds = {
  'over kept connections': {},
  'each request on any shard': { fresh: true },
  'with a third of the answers cut': { fresh: true, random: seeded(20261121) },
};

for (const [name, polling] of Object.entries(kinds)) {
  describe(name, () => {
    test('a player enters, moves, and sees who came by WebSocket', async () => {
      const ann = await Client.enter(server, `ann ${name}`, { polling });
      const bob = await Client.enter(server, `bob ${name}`);
      await ann.seen(bob.user);
      await bob.seen(ann.user);
      for (let i = 1; i <= 40; i += 1) {
        ann.move(0, 0, i / 10);
        bob.move(i / 10, 0, 0);
        await sleep(25);
      }
      await ann.seen(bob.user, (e) => Math.abs(e.position.x - 4) < 0.1);
      await bob.seen(ann.user, (e) => Math.abs(e.position.z - 4) < 0.1);
      await ann.next(Type.MOVE_ACK, (m) => m.client_tick === 40);
      const { connections } = JSON.parse((await adminGet(server, '/api/v1/connections?limit=100')).text);
      const row = (user) => connections.find((c) => c.player_id === user);
      assert.equal(row(ann.user).transport, 'polling');
      assert.equal(row(bob.user).transport, 'websocket');
      assert.match(row(ann.user).address, /^127\.0\.0\.1:/);
      assert.deepEqual(ann.all(Type.MOVE_ACK).filter((m) => m.payload.corrected), []);
      assert.deepEqual(ann.breaches, []);
      if (polling.random) assert.ok(ann.socket.cuts > 5, `${ann.socket.cuts} cuts`);
      await ann.leave();
      await bob.gone(ann.user, patience * 2);
      await bob.leave();
    });

    test('packed state is whole and its checksums agree', async () => {
      const ann = await Client.enter(server, `pam ${name}`, { polling, hello: { state_encoding: 1 } });
      const bob = await Client.enter(server, `pat ${name}`, { hello: { state_encoding: 1 } });
      await ann.seen(bob.user);
      for (let i = 1; i <= 30; i += 1) {
        bob.move(i / 10, 0, 0);
        await sleep(25);
      }
      await ann.seen(bob.user, (e) => Math.abs(e.position.x - 3) < 0.1);
      assert.deepEqual(ann.breaches, []);
      await ann.leave();
      await bob.leave();
    });

    test('acknowledged messages are taken once and in order', async () => {
      const ann = await Client.enter(server, `sue ${name}`, { polling });
      const topic = `room.${name.replaceAll(' ', '-')}`;
      ann.send(Type.SUBSCRIBE, { topic }, { sequence: 1, requires_ack: true });
      for (let i = 1; i <= 60; i += 1) {
        ann.send(Type.PUBLISH, { topic, data: Buffer.from([i]) }, { sequence: i + 1, requires_ack: true });
      }
      await until(() => ann.all(Type.EVENT).length >= 60, 'all events');
      assert.deepEqual(ann.all(Type.EVENT).map((m) => m.payload.data[0]), Array.from({ length: 60 }, (_, i) => i + 1));
      assert.deepEqual(ann.all(Type.EVENT).map((m) => Number(m.payload.offset)), Array.from({ length: 60 }, (_, i) => i + 1));
      await until(() => ann.messages.some((m) => Number(m.ack) === 61), 'the acknowledgement of all');
      assert.deepEqual(ann.breaches, []);
      await ann.leave();
    });

    test('JSON-RPC goes in lines', async () => {
      const ann = await Client.connect(server, `jo ${name}`, { polling, protocols: ['tidegate.v1.json'], hello: false });
      assert.deepEqual((await ann.call('heartbeat', { payload: 'aGk=' })).result, { payload: 'aGk=' });
      ann.hello();
      await ann.next(Type.WORLD_STATE);
      assert.equal((await ann.call('flyAway')).error.code, -32601);
      assert.deepEqual(ann.breaches, []);
      await ann.leave();
    });
  });
}

test('by https', async () => {
  const authority = new Authority(folder);
  const secure = await start({
    listen: { websocket: '127.0.0.1:0', tls: '127.0.0.1:0' },
    tls: { certificates: [authority.issue(['127.0.0.1', 'localhost']).pair] },
  });
  const ann = await Client.enter(secure, 'ann', { polling: { tls: { ca: authority.pem } } });
  const bob = await Client.enter(secure, 'bob', { polling: { tls: { ca: authority.pem }, fresh: true, random: seeded(3) } });
  for (let i = 1; i <= 20; i += 1) {
    bob.move(0, 0, i / 10);
    await sleep(25);
  }
  await ann.seen('bob', (e) => Math.abs(e.position.z - 2) < 0.1);
  assert.deepEqual([...ann.breaches, ...bob.breaches], []);
  await ann.leave();
  await bob.leave();
});

describe('sessions', () => {
  test('one that was by polling is resumed by WebSocket, and the other way round', async () => {
    const first = await Client.connect(server, 'rita', { polling: {} });
    const token = (await first.next(Type.CONNECTION_ESTABLISHED)).payload.resume_token;
    first.send(Type.PUBLISH, { topic: 'room.r', data: Buffer.from('x') }, { sequence: 1, requires_ack: true });
    await until(() => first.messages.some((m) => Number(m.ack) === 1), 'the acknowledgement');
    first.drop();
    const second = await Client.connect(server, 'rita', { query: `&resume=${encodeURIComponent(token)}` });
    const resumed = (await second.next(Type.RESUME_RESULT)).payload;
    assert.equal(resumed.resumed, true);
    assert.equal(Number(resumed.last_client_sequence), 1);
    const next = (await second.next(Type.CONNECTION_ESTABLISHED)).payload.resume_token;
    second.drop();
    const third = await Client.connect(server, 'rita', { polling: {}, query: `&resume=${encodeURIComponent(next)}` });
    assert.equal((await third.next(Type.RESUME_RESULT)).payload.resumed, true);
    await third.leave();
  });

  test('a second login replaces the one by polling, which is told', async () => {
    const first = await Client.enter(server, 'tom', { polling: {} });
    const second = await Client.enter(server, 'tom');
    assert.equal(await first.closeCode(), 4015);
    await first.error(4015);
    await second.leave();
  });

  test('one that nobody asks for any more ends as a silent one', async () => {
    const quick = await start({ heartbeat: { interval: '500ms', timeout: '1s' }, world: { linger: '100ms' } });
    const ann = await Client.enter(quick, 'ann', { polling: {} });
    await sleep(2500);  // it polls, so it lives, although it says nothing
    assert.equal(ann.closed, null);
    ann.drop();
    await until(async () => (await metrics(quick)).sum('tidegate_poll_sessions') === 0, 'no session', patience * 3);
    assert.equal((await metrics(quick)).sum('tidegate_connections_closed_total', 'heartbeat_timeout'), 1);
  });

  test('kicks and drains are told with their code', async () => {
    const other = await start({});
    const ann = await Client.enter(other, 'ann', { polling: {} });
    const bob = await Client.enter(other, 'bob', { polling: { fresh: true } });
    await adminGet(other, '/api/v1/kick?user=ann&reason=enough', { method: 'POST' });
    assert.equal(await ann.closeCode(), 1008);
    assert.equal(ann.closed.reason, 'enough');
    await adminGet(other, '/api/v1/drain', { method: 'POST' });
    assert.equal(await bob.closeCode(), 1001);
    await bob.next(Type.DISCONNECT, (m) => m.code === 4016);
  });
});

describe('refusals', () => {
  const post = (path, options) => ask(server, 'POST', path, { body: Buffer.alloc(0), ...options });
  test('have the status and code of an upgrade, and a body that a page may read', async () => {
    const origin = { headers: { Origin: 'https://game.example' } };
    let answer = await post('/ws/poll', origin);
    assert.equal(answer.status, 401);
    assert.equal(json(answer).error, 'no_token');
    assert.equal(answer.headers['access-control-allow-origin'], '*');
    assert.equal(answer.headers['www-authenticate'], 'Bearer');
    answer = await post(`/ws/poll?token=${await sign(claims('x', { exp: 1 }))}`);
    assert.equal(json(answer).error, 'token_expired');
    answer = await post('/ws/poll', { headers: { Authorization: `Bearer ${await tokenFor('x')}x` } });
    assert.equal(json(answer).error, 'bad_signature');
    answer = await ask(server, 'OPTIONS', '/ws/poll', origin);
    assert.equal(answer.status, 204);
    assert.match(answer.headers['access-control-allow-headers'], /Authorization/);
    assert.equal((await ask(server, 'GET', `/ws/poll/${'0'.repeat(40)}?from=0`)).status, 404);
    assert.equal((await ask(server, 'PUT', '/ws/poll')).status, 405);
    assert.equal((await ask(server, 'GET', '/ws/poll/7')).status, 404);
  });
  test('pages of other origins are denied', async () => {
    const strict = await start({ listen: { origins: ['https://game.example'] } });
    const token = await tokenFor('x');
    const from = (Origin) => ask(strict, 'POST', `/ws/poll?token=${token}`, { body: Buffer.alloc(0), headers: { Origin } });
    assert.equal((await from('https://evil.example')).status, 403);
    assert.equal((await from('https://game.example')).status, 200);
  });
  test('sessions have a limit, and none are served where it is 0', async () => {
    const none = await start({ shards: { count: 1 }, limits: { poll_sessions: 1 } });
    await openSession(none, await tokenFor('a'));
    await assert.rejects(openSession(none, await tokenFor('b')), /429.*too_many_connections/);
    const off = await start({ limits: { poll_sessions: 0 } });
    await assert.rejects(openSession(off, await tokenFor('a')), /HTTP 4/);
  });
});

describe('requests', () => {
  test('an answer that was lost comes again, byte for byte', async () => {
    const { id } = await openSession(server, await tokenFor('lena'));
    const path = `/ws/poll/${id}`;
    const first = await ask(server, 'GET', `${path}?from=0`);
    assert.equal(first.status, 200);
    const again = await ask(server, 'GET', `${path}?from=0`);
    assert.deepEqual(again.body.subarray(0, first.body.length), first.body);
    assert.deepEqual(parseFrames(first.body).map((m) => m.type).slice(0, 2), [Type.CONNECTION_ESTABLISHED, Type.AUTHENTICATION_RESULT]);
    const gap = await ask(server, 'POST', `${path}?seq=7`, { body: Buffer.alloc(0) });
    assert.equal(gap.status, 409);
    assert.equal(json(gap).expected, 1);
    assert.equal((await ask(server, 'DELETE', path)).status, 204);
    assert.equal((await ask(server, 'DELETE', path)).status, 404);
  });
  test('curl speaks it', async () => {
    const base = `http://127.0.0.1:${server.port}/ws/poll`;
    const token = await tokenFor('curl');
    const open = await run('curl', ['-sS', '-X', 'POST', '-H', `Authorization: Bearer ${token}`, `${base}?protocol=tidegate.v1.json`]);
    const { id, protocol } = JSON.parse(open.stdout);
    assert.equal(protocol, 'tidegate.v1.json');
    await run('curl', ['-sS', '-f', '--data-binary', '{"jsonrpc": "2.0", "id": 1, "method": "timeSync"}', `${base}/${id}?seq=1`]);
    let text = '';
    await until(async () => {
      text += (await run('curl', ['-sS', '-f', `${base}/${id}?from=${Buffer.byteLength(text)}`])).stdout;
      return text.includes('serverTick');
    }, 'the answer');
    for (const line of text.trim().split('\n')) JSON.parse(line);
    await run('curl', ['-sS', '-f', '-X', 'DELETE', `${base}/${id}`]);
  });
  test('fetch of this platform speaks it', async () => {
    const base = `http://127.0.0.1:${server.port}/ws/poll`;
    const { id } = await (await fetch(`${base}?token=${await tokenFor('fetch')}`, { method: 'POST' })).json();
    const answer = await fetch(`${base}/${id}?from=0`);
    const bytes = Buffer.from(await answer.arrayBuffer());
    assert.equal(parseFrames(bytes)[0].type, Type.CONNECTION_ESTABLISHED);
    assert.equal((await fetch(`${base}/${id}`, { method: 'DELETE' })).status, 204);
  });
});

describe('the SDK', () => {
  test('loses and doubles nothing while a third of its answers is lost', async () => {
    const letters = await startLetters();
    const random = seeded(7);
    let lost = 0;
    const request = async (method, url, body, ms) => {
      const opening = url.includes('token=');  // a try that fails, not a request that is repeated
      if (!opening && random.chance(0.1)) throw new Error('no connection');
      const answer = await sdk.fetchRequest(method, url, body, ms);
      if (!opening && random.chance(0.3)) {
        lost += 1;
        throw new Error('the answer was lost');
      }
      return answer;
    };
    const ann = await new Writer(letters, 'ann', { request }).enter();
    const bob = await new Writer(letters, 'bob').enter();
    for (let i = 0; i < 200; i += 1) {
      ann.write('bob', 'x'.repeat(random.below(300)));
      bob.write('ann', 'y'.repeat(random.below(300)));
      await sleep(5);
    }
    await arrived(ann, bob, patience * 6);
    await arrived(bob, ann, patience * 6);
    assert.equal(ann.connection.transport, 'polling');
    assert.equal(ann.sockets, 1, 'the session was never lost');
    assert.ok(lost > 3, `${lost} lost`);
    ann.leave();
    bob.leave();
    await letters.stop();
  });

  test('falls back when WebSocket is blocked', async () => {
    const { WebSocket } = globalThis;
    globalThis.WebSocket = class {
      constructor() { setTimeout(() => this.onclose?.({ code: 1006, reason: '' }), 1); }
      close() {}
    };
    const client = new sdk.TidegateClient({
      endpoints: [server.url], token: () => tokenFor('blocked'), backoff: { firstMs: 5, mostMs: 20, jitter: 0 },
    });
    try {
      client.connect();
      await until(() => client.connection.state === 'inWorld', 'the world');
      assert.equal(client.connection.transport, 'polling');
      await until(() => client.stats().rttMs > 0, 'a round trip');
    } finally {
      client.disconnect();
      globalThis.WebSocket = WebSocket;
    }
  });

  test('hears why a login is refused', async () => {
    const lost = [];
    const client = new sdk.TidegateClient({
      endpoints: [server.url], token: () => 'none', transport: 'polling', backoff: { firstMs: 5, mostMs: 20, jitter: 0 },
    });
    client.on('lost', (loss) => lost.push(loss));
    client.connect();
    await until(() => lost.length > 1, 'refusals');
    client.disconnect();
    assert.match(lost[0].reason, /401.*invalid_token/);
  });
});

test('nothing is left behind', async () => {
  await until(async () => {
    const all = await metrics(server);
    return all.sum('tidegate_poll_sessions') <= 1 && all.sum('tidegate_backlog_memory_used_bytes') === 0;
  }, 'no log', patience * 6);
  const all = await metrics(server);
  assert.ok(all.sum('tidegate_poll_forwarded_total') > 100, 'requests went to other shards');
  assert.ok(all.sum('tidegate_poll_repeats_total') > 0, 'POSTs came again');
  assert.ok(all.sum('tidegate_poll_refetched_bytes_total') > 0, 'answers were fetched again');
});
