// SPDX-License-Identifier: Apache-2.0
// Another process takes over, several times in a row: no socket ends, no acknowledged message is lost or doubled, the
// pictures of the world agree with its checksums, and what cannot go is told so.
import assert from 'node:assert/strict';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, test } from 'node:test';
import { Client } from '../conformance/lib/client.mjs';
import { Type, frame } from '../conformance/lib/proto.mjs';
import { adminToken, metrics, startServer, temporaryFolder } from '../conformance/lib/server.mjs';
import { tokenFor } from '../conformance/lib/tokens.mjs';
import { TopicClient } from '../conformance/lib/topics.mjs';
import { alive, finish, heirs, long, upgrade } from '../conformance/lib/upgrade.mjs';
import { seeded, sleep, until, within } from '../conformance/lib/wait.mjs';

const folder = temporaryFolder();

// A second WORLD_STATE takes the place of the first (docs/protocol.md).
const expectState = (...clients) => { for (const client of clients) client.beginsAnew = true; };

describe('upgrade', () => {
  test('who stands in line for the world stands in it there too', async () => {
    const server = await startServer({ limits: { joins_per_second: 1 } }, { folder });
    const pid = server.child.pid;
    const line = [];
    for (let i = 0; i < 6; i += 1) line.push(await Client.connect(server, `in-line-${i}`, { hello: { state_encoding: 1 } }));
    await sleep(1500);  // nobody is waited for because of a CLIENT_HELLO any more
    const heir = await upgrade(server, pid);
    for (const client of line) {
      await client.next(Type.CELL_FRAME, () => true, { ms: long });
      assert.equal(client.closed, null);
      assert.deepEqual(client.all(Type.ERROR), []);
    }
    for (const client of line) await client.leave();
    await finish(server, heir);
  });

  test('five times in a row under moves, acknowledged messages and topics', async (t) => {
    const random = seeded(5);
    const server = await startServer({ world: { tick_rate: 20 }, listen: { deflate: true } }, { folder });
    let pid = server.child.pid;
    const movers = [];
    for (let i = 0; i < 12; i += 1) {
      movers.push(await Client.enter(server, `mover-${i}`, { hello: { state_encoding: 1 }, deflate: i < 3 }));
    }
    const topical = [];
    for (let i = 0; i < 3; i += 1) {
      const client = await TopicClient.open(server, `talker-${i}`, ['subscribe:talk.*', 'publish:talk.*']);
      assert.equal((await client.subscribe('talk.all')).code, 0);
      topical.push(client);
    }
    expectState(...topical);
    const everybody = [...movers, ...topical];
    let stop = false;
    t.after(() => { stop = true; });
    const walking = (async () => {
      let x = 0;
      while (!stop) {
        x += 0.05;
        movers.forEach((m, i) => m.move(Math.sin(x + i) * 5, 0, Math.cos(x + i) * 5));
        await sleep(10 + random.below(10));
      }
    })();
    // Heartbeats with a number: each is answered once, in order, whatever process answers.
    let beats = 0;
    const beating = (async () => {
      while (!stop) {
        beats += 1;
        const word = Buffer.from(String(beats));
        for (const m of movers) m.send(Type.HEARTBEAT, word);
        await sleep(5);
      }
    })();
    for (let round = 0; round < 5; round += 1) {
      await sleep(200);
      const ticks = movers.map((m) => m.messages.length);
      pid = await upgrade(server, pid);
      assert.deepEqual(everybody.filter((c) => c.closed !== null).map((c) => c.closed), []);
      // State flows again to everybody.
      for (const [i, m] of movers.entries()) {
        await m.next(Type.CELL_FRAME, () => true, { from: ticks[i], ms: long });
        await m.next(Type.MOVE_ACK, () => true, { from: m.messages.length, ms: long });
      }
    }
    stop = true;
    await Promise.all([walking, beating]);
    for (const m of movers) {
      await until(() => m.all(Type.PONG).length === beats, `all answers, of ${beats}`, long).catch(() => {});
      assert.deepEqual(m.all(Type.PONG).map((p) => Number(Buffer.from(p.payload).toString())),
        Array.from({ length: beats }, (_, i) => i + 1));
      assert.deepEqual(m.breaches, []);
      assert.deepEqual(m.all(Type.ERROR), []);
      assert.equal(m.world.size, 15);
    }
    const figures = await metrics(server);
    assert.equal(figures.sum('tidegate_upgrade_connections_total'), everybody.length);
    assert.equal(figures.sum('tidegate_upgrade_connections_closed_total'), 0);
    assert.equal(figures.sum('tidegate_players'), everybody.length);
    for (const c of everybody) await c.leave();
    await finish(server, pid);
  });

  test('acknowledged requests in flight, subscriptions with their offsets, a half sent frame', async () => {
    const server = await startServer({}, { folder });
    let pid = server.child.pid;
    const reader = await TopicClient.open(server, 'reader', ['subscribe:news.*', 'publish:news.*']);
    const writer = await TopicClient.open(server, 'writer', ['subscribe:news.*', 'publish:news.*']);
    const subscribed = await reader.subscribe('news.global');
    assert.equal(subscribed.code, 0);
    expectState(reader, writer);
    let published = 0;
    for (let round = 0; round < 3; round += 1) {
      // Half of a frame before, half behind.
      const whole = frame(Type.HEARTBEAT, Buffer.from(`halved ${round}`));
      const raw = writer.socket._socket;
      const masked = mask(whole);
      raw.write(masked.subarray(0, 5));
      await sleep(30);
      pid = await upgrade(server, pid);
      raw.write(masked.subarray(5));
      await writer.next(Type.PONG, (p) => Buffer.from(p).toString() === `halved ${round}`, { ms: long });
      for (let i = 0; i < 5; i += 1) {
        const answer = await writer.publish('news.global', `item ${published}`);
        if (answer.code === 0) published += 1;
      }
    }
    assert.equal(published, 15);
    await reader.eventsOf('news.global', 15);
    assert.deepEqual(reader.spoken('news.global'), Array.from({ length: 15 }, (_, i) => `item ${i}`));
    assert.deepEqual(reader.events('news.global').map((e) => Number(e.offset)), Array.from({ length: 15 }, (_, i) => i + 1));
    assert.deepEqual(reader.breaches, []);
    // A session without a connection came along: its token, its subscriptions.
    const established = reader.all(Type.CONNECTION_ESTABLISHED)[0].payload;
    reader.drop();
    pid = await upgrade(server, pid);
    assert.equal((await writer.publish('news.global', 'while away')).code, 0);
    const back = await TopicClient.open(server, 'reader', ['subscribe:news.*', 'publish:news.*'],
      `&resume=${established.resume_token}`, reader.received);
    const result = await back.next(Type.RESUME_RESULT);
    assert.equal(result.payload.resumed, true, result.payload.reason);
    await until(() => back.spoken('news.global').includes('while away'), 'what was said meanwhile', long);
    await back.leave();
    await writer.leave();
    await finish(server, pid);
  });

  test('protobuf and JSON clients go on, and see one another', async () => {
    const server = await startServer({}, { folder });
    let pid = server.child.pid;
    const plain = await Client.enter(server, 'plain');
    const json = await Client.connect(server, 'json', { protocols: ['tidegate.v1.json'] });
    await json.seen('plain');
    expectState(plain, json);
    pid = await upgrade(server, pid);
    await plain.seen('json', () => true, long);
    await json.seen('plain', () => true, long);
    const { x, y, z } = plain.me.position;
    const tick = plain.move(x + 0.2, y, z);
    await plain.next(Type.MOVE_ACK, (p) => p.client_tick === tick && !p.corrected, { ms: long });
    await json.seen('plain', (e) => Math.abs(e.position.x - (x + 0.2)) < 0.03, long);
    assert.equal((await json.call('heartbeat', { payload: 'aGk=' })).result.payload, 'aGk=');
    assert.deepEqual([plain.closed, json.closed], [null, null]);
    await plain.leave();
    await json.leave();
    await finish(server, pid);
  });

  test('what cannot go is told 1012 and resumes; who was refused stays refused', async () => {
    const server = await startServer({ listen: { deflate: true }, deflate: { server_context_takeover: true, contexts: 8 } }, { folder });
    let pid = server.child.pid;
    const stays = await Client.enter(server, 'stays');
    const held = await Client.enter(server, 'compressed', { deflate: true });
    const token = held.all(Type.CONNECTION_ESTABLISHED)[0].payload.resume_token;
    const revoked = await tokenFor('banned');  // a newer one would be good
    await within(fetch(`${server.adminUrl}/api/v1/revoke`, { method: 'POST', body: new URLSearchParams({ user: 'banned', for: '1h' }),
      headers: { authorization: `Bearer ${adminToken}` } }), 'revoke');
    expectState(stays);
    pid = await upgrade(server, pid);
    assert.equal(await held.closeCode(long), 1012);
    const [bye] = held.all(Type.DISCONNECT);
    assert.equal(bye.payload.code, 4016);
    assert.ok(bye.payload.retry_after_ms >= 1);
    assert.equal(stays.closed, null);
    const again = await Client.connect(server, 'compressed', { query: `&resume=${token}` });
    assert.equal((await again.next(Type.RESUME_RESULT)).payload.resumed, true);
    await assert.rejects(Client.connect(server, 'banned', { token: revoked }), /HTTP 401/);
    assert.equal((await metrics(server)).sum('tidegate_upgrade_connections_closed_total', 'compression'), 1);
    await again.leave();
    await stays.leave();
    await finish(server, pid);
  });

  test('sessions in a store: the new process takes the file, and what it writes outlives it', async () => {
    const session = { path: join(temporaryFolder(), 'sessions.db') };
    const server = await startServer({ session }, { folder });
    let pid = server.child.pid;
    const client = await TopicClient.open(server, 'kept', ['subscribe:news.*', 'publish:news.*']);
    expectState(client);
    const { resume_token: token, session_id: id } = client.all(Type.CONNECTION_ESTABLISHED)[0].payload;
    for (let round = 0; round < 2; round += 1) pid = await upgrade(server, pid);
    await until(async () => (await metrics(server)).sum('tidegate_session_changes_stored_total') > 0, 'the file in use', long);
    // Written after the upgrade: nobody else could know of it.
    assert.equal((await client.publish('news.a', 'x')).code, 0);
    const sequence = client.sequence;
    await until(() => client.messages.some((m) => m.ack >= sequence), 'the acknowledgement', long);
    process.kill(pid, 'SIGKILL');
    await until(() => !alive(pid), 'the end', long);
    heirs.delete(pid);
    const next = await startServer({ session }, { folder });
    const back = await Client.connect(next, 'kept', { query: `&resume=${token}` });
    const { payload } = await back.next(Type.RESUME_RESULT);
    assert.equal(payload.resumed, true, payload.reason);
    assert.equal(Number(payload.last_client_sequence), sequence);
    assert.equal(back.all(Type.CONNECTION_ESTABLISHED)[0].payload.session_id, id);
    await back.leave();
    await next.stop();
  });

  test('a new process that refuses, or dies, changes nothing', async () => {
    const server = await startServer({}, { folder });
    const client = await Client.enter(server, 'patient');
    const good = readFileSync(server.config, 'utf8');
    for (const bad of [`${good}\n[world]\ntick_rate = 31\n`, 'this is no TOML', good.replace('count = 2', 'count = 3')]) {
      const before = server.output.length;
      writeFileSync(server.config, bad);
      const answer = await fetch(`${server.adminUrl}/api/v1/upgrade`, { method: 'POST', headers: { authorization: `Bearer ${adminToken}` } });
      assert.equal(answer.status, 202);
      await until(() => /this process goes on/.test(server.output.slice(before)), 'the refusal', long);
      const tick = client.move(client.me.position.x, client.me.position.y, client.me.position.z);
      await client.next(Type.MOVE_ACK, (p) => p.client_tick === tick, { ms: long });
      assert.equal(client.closed, null);
    }
    assert.equal((await metrics(server)).sum('tidegate_upgrades_failed_total'), 3);
    writeFileSync(server.config, good);
    expectState(client);
    const pid = await upgrade(server, server.child.pid);
    await client.leave();
    await finish(server, pid);
  });
});

// A client's frame as it stands on the wire.
function mask(payload) {
  const key = Buffer.from([1, 2, 3, 4]);
  const head = payload.length < 126 ? Buffer.from([0x82, 0x80 | payload.length])
    : Buffer.from([0x82, 0x80 | 126, payload.length >> 8, payload.length & 255]);
  return Buffer.concat([head, key, Buffer.from(payload.map((b, i) => b ^ key[i % 4]))]);
}
