// SPDX-License-Identifier: Apache-2.0
// Two gateways that keep their sessions in one Redis: players come back on the other one, also when theirs was
// killed or paused, and no letter is lost, doubled or out of order; Redis away, slow, emptied, full.
import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { Client } from '../conformance/lib/client.mjs';
import { arrived, endAll, startLetters, Writer } from '../conformance/lib/letters.mjs';
import { Type } from '../conformance/lib/proto.mjs';
import { noRedis, Proxy, Redis } from '../conformance/lib/redis.mjs';
import { adminGet, metrics, startServer } from '../conformance/lib/server.mjs';
import { patience, seeded, sleep, until } from '../conformance/lib/wait.mjs';

const long = patience * 6;
const secret = 'the key of resume tokens of both gateways';
const settings = (redis, more = {}) => ({
  'session.store': 'redis', 'session.secret': secret, 'redis.addresses': `["${redis.address}"]`, 'redis.timeout': '5s', ...more,
});
const sum = async (server, name, label) => (await metrics(server)).sum(name, label);
const up = (server) => until(async () => await sum(server, 'tidegate_session_store_up', 'control') === 1, 'the store', long);
const allTaken = (...writers) => until(() => writers.every((w) => w.connection.delivery.unacknowledged === 0), 'all taken', long);
const lost = (writer) => writer.resumes.filter((r) => !r.resumed);

after(endAll);

describe('two gateways and one Redis', { skip: noRedis ?? false }, () => {
  let redis;
  before(async () => { redis = await Redis.start(); });
  after(() => redis?.stop());

  test('players change gateways all the time; each letter comes once and in order', async () => {
    const random = seeded(4);
    const servers = [await startLetters(settings(redis)), await startLetters(settings(redis))];
    const ann = await new Writer(servers[0], 'ann').enter();
    const bob = await new Writer(servers[1], 'bob').enter();
    const taken = async () => await sum(servers[0], 'tidegate_sessions_taken_over_total') +
      await sum(servers[1], 'tidegate_sessions_taken_over_total');
    // A move that is cut short before the login takes nothing over; how many are is a matter of how busy the machine is.
    for (let i = 0; i < 40 || (i < 1000 && await taken() < 10); i += 1) {
      for (const [from, to] of [[ann, bob], [bob, ann]]) {
        for (let n = random.below(5); n > 0; n -= 1) from.write(to.name, 'x'.repeat(random.below(300)));
      }
      if (random.chance(0.7)) await sleep(random.below(30));
      const mover = random.pick([ann, bob]);
      mover.goTo(random.pick(servers));
      mover.drop();
      if (random.chance(0.8)) await until(() => mover.in, 'the login', long);
    }
    await until(() => ann.in && bob.in, 'both in', long);
    await arrived(ann, bob, long);
    await arrived(bob, ann, long);
    await allTaken(ann, bob);
    for (const writer of [ann, bob]) {
      assert.deepEqual(lost(writer), [], 'the session was never lost');
      assert.deepEqual(writer.errors.filter((e) => e.code !== 4015), []);
    }
    assert.ok(await taken() >= 10, `${await taken()} take-overs`);
    assert.equal(await sum(servers[0], 'tidegate_sessions_created_total') + await sum(servers[1], 'tidegate_sessions_created_total'), 2);
    ann.leave();
    bob.leave();
    await until(async () => await redis.ask('EXISTS', 'tidegate:{ann}:s', 'tidegate:{bob}:s') === 0, 'no session left behind', long);
    for (const server of servers) await server.stop();
  });

  test('kill -9 of one gateway: its players go on at the other', async () => {
    const first = await startLetters(settings(redis));
    const second = await startLetters(settings(redis));
    const ann = await new Writer(first, 'ann', second).enter();
    const bob = await new Writer(first, 'bob', second).enter();
    const eve = await new Writer(second, 'eve', first).enter();
    const pairs = [[ann, bob], [bob, eve], [eve, ann]];
    for (let i = 0; i < 100; i += 1) {
      for (const [from, to] of pairs) from.write(to.name);
      if (i === 50) await first.stop('SIGKILL');
      await sleep(2);
    }
    await until(() => ann.in && bob.in && eve.in, 'all in', long);
    for (const [from, to] of pairs) await arrived(from, to, long);
    await allTaken(ann, bob, eve);
    for (const writer of [ann, bob, eve]) {
      assert.deepEqual(lost(writer), [], 'the session was never lost');
      assert.deepEqual(writer.errors, []);
    }
    assert.ok(await sum(second, 'tidegate_sessions_taken_over_total') >= 2);
    for (const writer of [ann, bob, eve]) writer.leave();
    await second.stop();
  });

  test('a gateway that was paused finds that its sessions were taken, and closes their sockets with 4015', async () => {
    const first = await startLetters(settings(redis));
    const second = await startLetters(settings(redis));
    const ann = await Client.connect(first, 'ann');
    const { resume_token: token, session_id: session } = (await ann.next(Type.CONNECTION_ESTABLISHED)).payload;
    await ann.next(Type.WORLD_STATE);
    const bob = await new Writer(first, 'bob', second).enter();
    for (let i = 0; i < 10; i += 1) bob.write('ann');
    await allTaken(bob);
    first.child.kill('SIGSTOP');
    // Left for the paused one: it may not write them any more when it wakes.
    const again = await Client.connect(second, 'ann', { query: `&resume=${encodeURIComponent(token)}` });
    const { payload: outcome } = await again.next(Type.RESUME_RESULT, undefined, { ms: long });
    assert.equal(outcome.resumed, true, outcome.reason);
    assert.equal((await again.next(Type.CONNECTION_ESTABLISHED)).payload.session_id, session);
    await again.next(Type.WORLD_STATE, undefined, { ms: long });
    assert.deepEqual(again.messages.filter((m) => m.sequence > 0n).map((m) => Number(m.sequence)),
      Array.from({ length: 10 }, (_, i) => i + 1));
    assert.equal(ann.closed, null);
    first.child.kill('SIGCONT');
    assert.equal(await ann.closeCode(long), 4015);
    assert.equal(await sum(first, 'tidegate_sessions_ended_total', 'taken'), 1);
    assert.equal(again.closed, null);
    bob.write('ann');
    await until(() => again.messages.filter((m) => m.sequence > 0n).length === 11, 'a letter by way of the store', long);
    assert.ok(await sum(first, 'tidegate_letters_forwarded_total') >= 1);
    await again.leave();
    bob.leave();
    await first.stop();
    await second.stop();
  });

  for (const policy of ['replace', 'refuse']) {
    test(`a second login on the other gateway, with session.second_login = ${policy}`, async () => {
      const more = { session: { store: 'redis', secret, second_login: policy }, redis: { addresses: [redis.address], timeout: '5s' } };
      const servers = [await startServer(more), await startServer(more)];
      await Promise.all(servers.map(up));
      const user = `again-${policy}`;
      const first = await Client.enter(servers[0], user);
      if (policy === 'refuse') {
        await until(async () => await sum(servers[0], 'tidegate_session_changes_stored_total') > 1, 'the session stored');
        await assert.rejects(Client.connect(servers[1], user), /HTTP 409/);
        assert.equal(first.closed, null);
        await first.leave();
        await until(() => Client.enter(servers[1], user).then((c) => c.leave()).then(() => true), 'free again', long);
      } else {
        const second = await Client.enter(servers[1], user);
        assert.equal(await first.closeCode(long), 4015);
        assert.equal(second.closed, null);
        await second.leave();
      }
      for (const server of servers) await server.stop();
    });
  }
});

describe('Redis in trouble', { skip: noRedis ?? false }, () => {
  test('away at the start, in the middle, emptied and full: play goes on, and no letter is lost', async () => {
    const redis = await Redis.start();
    const proxy = await Proxy.start(redis.port);
    proxy.cut();
    const servers = [await startLetters(settings(proxy)), await startLetters(settings(proxy))];
    const ready = JSON.parse((await adminGet(servers[0], '/readyz')).text);
    assert.equal(ready.ok, true);
    assert.match(ready.degraded, /session store/);
    const ann = await new Writer(servers[0], 'ann').enter();
    const bob = await new Writer(servers[0], 'bob').enter();
    const exchange = async () => {
      for (let i = 0; i < 20; i += 1) { ann.write('bob'); bob.write('ann'); }
      await arrived(ann, bob, long);
      await arrived(bob, ann, long);
    };
    await exchange();
    ann.drop();
    await until(() => ann.in && ann.resumes.length > 0, 'resumed here without the store', long);
    const view = async (server) => JSON.parse((await adminGet(server, '/api/v1/store')).text);
    assert.equal((await view(servers[0])).up, false);

    proxy.mend();
    await Promise.all(servers.map(up));
    assert.deepEqual(await view(servers[0]), { kind: 'redis', shared: true, up: true, waiting_bytes: (await view(servers[0])).waiting_bytes });
    await until(async () => await redis.ask('HEXISTS', 'tidegate:{bob}:s', 'id') === 1, 'bob said anew', long);
    await exchange();
    bob.goTo(servers[1]);
    bob.drop();
    await until(() => bob.in && bob.resumes.length > 0, 'bob on the other gateway', long);
    await exchange();

    // Away again while both are on different gateways; what they write waits.
    proxy.cut();
    for (let i = 0; i < 20; i += 1) { ann.write('bob'); bob.write('ann'); }
    await allTaken(ann, bob);
    // His session may be elsewhere by now, for all this gateway knows: he is to try again.
    bob.goTo(servers[0]);
    bob.drop();
    await until(async () => await sum(servers[0], 'tidegate_session_store_up', 'control') === 0, 'the failure seen', long);
    proxy.mend();
    await arrived(ann, bob, long);
    await arrived(bob, ann, long);

    await Promise.all(servers.map(up));
    await exchange();
    await redis.ask('FLUSHALL');
    for (let i = 0; i < 20; i += 1) { ann.write('bob'); bob.write('ann'); }
    await until(async () => await redis.ask('EXISTS', 'tidegate:{ann}:s', 'tidegate:{bob}:s') === 2, 'all said anew', long);
    await exchange();

    await redis.ask('CONFIG', 'SET', 'maxmemory', '1mb');
    await exchange();
    assert.equal(await sum(servers[0], 'tidegate_session_store_up', 'control'), 0);
    await redis.ask('CONFIG', 'SET', 'maxmemory', '0');
    await Promise.all(servers.map(up));
    await exchange();
    for (const writer of [ann, bob]) {
      assert.deepEqual(lost(writer), [], 'the session was never lost');
      assert.deepEqual(writer.errors.filter((e) => e.code !== 4015), []);
      writer.leave();
    }
    for (const server of servers) await server.stop();
    await proxy.stop();
    await redis.stop();
  });

  // What had gone out before it was stored was unknown to the other gateway: ERROR 4013.
  test('slow for one gateway: who leaves it in the middle loses nothing, nor who is on it when it is killed', async () => {
    const redis = await Redis.start();
    const proxy = await Proxy.start(redis.port);
    const slow = await startLetters(settings(proxy));
    const other = await startLetters(settings(redis));
    await up(slow);
    const ann = await new Writer(slow, 'ann', other).enter();
    const bob = await new Writer(slow, 'bob', other).enter();
    const writers = [ann, bob];
    proxy.delay = 300;
    for (let round = 0; round < 6; round += 1) {
      for (let i = 0; i < 20; i += 1) {
        ann.write('bob');
        bob.write('ann');
        await sleep(10);
      }
      if (round === 5) await slow.stop('SIGKILL');
      const mover = writers[round % 2];
      mover.goTo(round === 5 || round % 4 < 2 ? other : slow);
      mover.drop();
      if (round === 5) writers[0].goTo(other);
      await until(() => ann.in && bob.in, 'both in', long);
    }
    await arrived(ann, bob, long);
    await arrived(bob, ann, long);
    await allTaken(ann, bob);
    for (const writer of writers) {
      assert.deepEqual(lost(writer), [], 'the session was never lost');
      assert.deepEqual(writer.errors.filter((e) => e.code !== 4015), []);
      writer.leave();
    }
    assert.equal(await sum(other, 'tidegate_session_store_late_total'), 0);
    await other.stop();
    await proxy.stop();
    await redis.stop();
  });

  test('a configuration that cannot work is refused with the key\'s name', async () => {
    const refused = (sections, pattern) => assert.rejects(startServer(sections), pattern);
    await refused({ session: { store: 'redis', secret } }, /redis\.addresses/);
    await refused({ session: { store: 'redis' }, redis: { addresses: ['127.0.0.1:1'] } }, /session\.secret/);
    await refused({ session: { store: 'redis', secret }, redis: { addresses: ['127.0.0.1:1'], cluster: true, sentinel_master: 'x' } }, /redis\.cluster/);
    await refused({ session: { store: 'redis', secret }, redis: { addresses: ['127.0.0.1:1'], password_file: '/nonexistent' } }, /redis\.password_file/);
    await refused({ session: { store: 'post' } }, /session\.store/);
  });
});
