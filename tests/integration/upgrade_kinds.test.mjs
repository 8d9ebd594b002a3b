// SPDX-License-Identifier: Apache-2.0
// Upgrades where connections or surroundings are special: TLS, the epoll backend, long polling, a store and a bus that
// gateways share. tests/integration/upgrade.test.mjs has the rest.
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { connect as connectTcp, createServer } from 'node:net';
import { connect as connectTls } from 'node:tls';
import { describe, test } from 'node:test';
import { Authority } from '../conformance/lib/certificates.mjs';
import { Client } from '../conformance/lib/client.mjs';
import { startNats } from '../conformance/lib/nats.mjs';
import { Type } from '../conformance/lib/proto.mjs';
import { Redis, noRedis } from '../conformance/lib/redis.mjs';
import { metrics, startServer, temporaryFolder } from '../conformance/lib/server.mjs';
import { TopicClient } from '../conformance/lib/topics.mjs';
import { finish, long, refusedUpgrade, upgrade } from '../conformance/lib/upgrade.mjs';
import { sleep, until, within } from '../conformance/lib/wait.mjs';

const folder = temporaryFolder();
const noNats = spawnSync('nats-server', ['--version']).status === 0 ? null : 'no nats-server here';

// Walk and ask until `stop()`; each heartbeat is answered once and in order, whatever process answers.
function keepBusy(t, clients) {
  let stopped = false;
  t.after(() => { stopped = true; });
  let beats = 0;
  const done = (async () => {
    for (let x = 0; !stopped; x += 0.05) {
      beats += 1;
      for (const [i, c] of clients.entries()) {
        c.move(Math.sin(x + i) * 5, 0, Math.cos(x + i) * 5);
        c.send(Type.HEARTBEAT, Buffer.from(String(beats)));
      }
      await sleep(15);
    }
  })();
  return async () => {
    stopped = true;
    await done;
    for (const c of clients) {
      await until(() => c.all(Type.PONG).length === beats || c.closed, `all answers, of ${beats}`, long);
      assert.deepEqual(c.all(Type.PONG).map((p) => Number(Buffer.from(p.payload).toString())),
        Array.from({ length: beats }, (_, i) => i + 1));
      assert.deepEqual(c.breaches, []);
      assert.deepEqual(c.all(Type.ERROR), []);
    }
  };
}

async function stateFlows(clients) {
  for (const c of clients) {
    await c.next(Type.MOVE_ACK, () => true, { from: c.messages.length, ms: long });
    await c.next(Type.CELL_FRAME, () => true, { from: c.messages.length, ms: long });
  }
}

// What a client says first.
async function clientHello(authority) {
  const listener = createServer();
  await new Promise((done) => { listener.listen(0, '127.0.0.1', done); });
  const heard = new Promise((done) => listener.once('connection', (socket) => socket.once('data', (data) => { socket.destroy(); done(data); })));
  const client = connectTls({ port: listener.address().port, host: '127.0.0.1', ca: authority.pem });
  client.on('error', () => {});
  const hello = await within(heard, 'a ClientHello');
  client.destroy();
  listener.close();
  return hello;
}

describe('upgrade', () => {
  test('TLS 1.2 and 1.3 connections stay, three times in a row, with every suite', async (t) => {
    const authority = new Authority(folder);
    const own = authority.issue(['127.0.0.1', 'localhost']);
    const server = await startServer({ listen: { websocket: '127.0.0.1:0', tls: '127.0.0.1:0', deflate: true }, tls: { certificates: [own.pair] } }, { folder });
    let pid = server.child.pid;
    const trust = { ca: authority.pem };
    const wss = { ...server, output: '', url: `wss://127.0.0.1:${server.tlsPort}/ws` };
    const kinds = ['TLS_AES_128_GCM_SHA256', 'TLS_AES_256_GCM_SHA384', 'TLS_CHACHA20_POLY1305_SHA256',
      'ECDHE-ECDSA-AES128-GCM-SHA256', 'ECDHE-ECDSA-AES256-GCM-SHA384', 'ECDHE-ECDSA-CHACHA20-POLY1305'];
    const clients = [];
    for (const ciphers of kinds) {
      const version = ciphers.startsWith('TLS_') ? 'TLSv1.3' : 'TLSv1.2';
      wss.socketOptions = { ...trust, ciphers, minVersion: version, maxVersion: version };
      clients.push(await Client.enter(wss, `with-${ciphers.toLowerCase().replaceAll('_', '-')}`,
        { hello: { state_encoding: 1 }, deflate: clients.length % 2 === 1 }));
    }
    clients.push(await Client.enter(server, 'without', { hello: { state_encoding: 1 } }));
    // The first half of a ClientHello there, the second half here.
    const hello = await clientHello(authority);
    const halved = connectTcp(server.tlsPort, '127.0.0.1');
    await within(new Promise((done) => halved.once('connect', done)), 'a socket');
    halved.write(hello.subarray(0, 40));
    const stop = keepBusy(t, clients);
    for (let round = 0; round < 3; round += 1) {
      await sleep(100);
      pid = await upgrade(server, pid);
      assert.deepEqual(clients.map((c) => c.closed), clients.map(() => null));
      await stateFlows(clients);
    }
    // The listener goes on as well.
    wss.socketOptions = trust;
    const late = await Client.enter(wss, 'late', { hello: { state_encoding: 1 } });
    const answer = within(new Promise((done) => halved.once('data', done)), 'a ServerHello');
    halved.write(hello.subarray(40));
    assert.deepEqual([...(await answer).subarray(0, 2)], [22, 3]);
    halved.destroy();
    await stop();
    const figures = await metrics(server);
    assert.equal(figures.sum('tidegate_upgrade_connections_closed_total'), 0);
    assert.equal(figures.sum('tidegate_tls_connections'), kinds.length + 1);
    for (const c of [...clients, late]) await c.leave();
    await finish(server, pid);
  });

  test('steering: how long samples shall wait comes along, and what came before moves nobody again', async () => {
    const server = await startServer({ world: { spawn_radius: 0 } }, { folder });
    const c = await Client.enter(server, 'steers', { hello: { state_encoding: 1 } });
    const walk = [127, 0, 0, 0, 0];  // direction, yaw, flags
    const stand = [0, 0, 0, 0, 0];
    const steer = (first, runs, wait = 0) => c.send(Type.PLAYER_STEER, {
      client_tick: first, samples: Buffer.from(runs.flatMap(([count, sample]) => [count, ...sample])), wait,
    });
    steer(1, [[4, walk], [1, stand]], 15);
    const last = await c.next(Type.MOVE_ACK, (m) => m.client_tick === 5, { ms: long });
    const heir = await upgrade(server, server.child.pid);
    steer(1, [[4, walk], [1, stand]]);
    c.send(Type.TIME_SYNC, { client_time: 1 });
    const { payload: now } = await c.next(Type.TIME_SYNC, () => true, { ms: long });
    steer(6, [[4, walk], [1, stand]]);
    const first = await c.next(Type.MOVE_ACK, (m) => m.client_tick > 5, { ms: long });
    assert.ok(first.payload.server_tick - now.server_tick >= 15, `${now.server_tick} to ${first.payload.server_tick}`);
    const end = await c.next(Type.MOVE_ACK, (m) => m.client_tick === 10, { ms: long });
    // Four steps each time, not twelve in all.
    const went = last.payload.position.x;
    assert.ok(went > 0 && Math.abs(end.payload.position.x - 2 * went) < 0.05, `${went}, then ${end.payload.position.x}`);
    assert.deepEqual(c.all(Type.ERROR), []);
    await finish(server, heir);
  });
  test('on epoll', async (t) => {
    const server = await startServer({ io: { backend: 'epoll' } }, { folder });
    let pid = server.child.pid;
    const clients = [];
    for (let i = 0; i < 8; i += 1) clients.push(await Client.enter(server, `polled-${i}`, { hello: { state_encoding: 1 } }));
    const stop = keepBusy(t, clients);
    for (let round = 0; round < 3; round += 1) {
      await sleep(100);
      pid = await upgrade(server, pid);
      assert.deepEqual(clients.map((c) => c.closed), clients.map(() => null));
      await stateFlows(clients);
    }
    await stop();
    for (const c of clients) await c.leave();
    await finish(server, pid);
  });

  test('long polling: the session goes on by its resume token, without a message lost or doubled', async () => {
    const server = await startServer({}, { folder });
    let pid = server.child.pid;
    const rights = ['subscribe:news.*', 'publish:news.*'];
    const writer = await TopicClient.open(server, 'writer', rights);
    writer.beginsAnew = true;
    const poller = await TopicClient.open(server, 'poller', rights, '', 0, { polling: {} });
    const { resume_token: token } = poller.all(Type.CONNECTION_ESTABLISHED)[0].payload;
    assert.equal((await poller.subscribe('news.a')).code, 0);
    assert.equal((await writer.publish('news.a', 'before')).code, 0);
    await poller.eventsOf('news.a', 1);
    pid = await upgrade(server, pid);
    await within(poller.ended, 'the end of the polling session', long);
    assert.equal((await writer.publish('news.a', 'meanwhile')).code, 0);
    const back = await TopicClient.open(server, 'poller', rights, `&resume=${token}`, poller.received, { polling: {} });
    const { payload } = await back.next(Type.RESUME_RESULT);
    assert.equal(payload.resumed, true, payload.reason);
    assert.equal((await writer.publish('news.a', 'behind')).code, 0);
    await back.eventsOf('news.a', 2);
    assert.deepEqual([...poller.spoken('news.a'), ...back.spoken('news.a')], ['before', 'meanwhile', 'behind']);
    assert.deepEqual([poller.breaches, back.breaches], [[], []]);
    assert.equal(writer.closed, null);
    assert.equal((await metrics(server)).sum('tidegate_upgrade_connections_closed_total', 'polling'), 1);
    await back.leave();
    await writer.leave();
    await finish(server, pid);
  });

  test('a store that gateways share: refused with the reason, nothing changes', { skip: noRedis ?? false }, async (t) => {
    const redis = await Redis.start();
    t.after(() => redis.stop());
    const server = await startServer({
      session: { store: 'redis', secret: 'a secret of more than thirty-two bytes for tokens' },
      redis: { addresses: [redis.address], timeout: '5s' },
    }, { folder });
    const client = await Client.enter(server, 'shared', { hello: { state_encoding: 1 } });
    const stop = keepBusy(t, [client]);
    assert.match(await refusedUpgrade(server, server.child.pid), /several gateways share: drain this one/);
    await stateFlows([client]);
    await stop();
    await client.leave();
    await server.stop();
  });

  test('a bus: refused with the reason, nothing changes', { skip: noNats ?? false }, async (t) => {
    const nats = await startNats();
    t.after(() => nats.stop());
    const server = await startServer({ bus: { servers: [nats.url], gateway: 'one' } }, { folder });
    const client = await Client.enter(server, 'local', { hello: { state_encoding: 1 } });
    const stop = keepBusy(t, [client]);
    assert.match(await refusedUpgrade(server, server.child.pid), /a gateway of several is known to the others/);
    await stateFlows([client]);
    await stop();
    await client.leave();
    await server.stop();
  });
});
