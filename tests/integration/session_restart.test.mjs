// SPDX-License-Identifier: Apache-2.0
// Sessions in the embedded store: the server is killed under letters that are on their way, comes
// back, and no letter is lost, doubled or out of order.
import assert from 'node:assert/strict';
import { readdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, describe, test } from 'node:test';
import { Client } from '../conformance/lib/client.mjs';
import { arrived, endAll, startLetters, Writer } from '../conformance/lib/letters.mjs';
import { Type } from '../conformance/lib/proto.mjs';
import { metrics, startServer, temporaryFolder } from '../conformance/lib/server.mjs';
import { patience, seeded, sleep, until } from '../conformance/lib/wait.mjs';

const long = patience * 6;

after(endAll);

describe('restart', () => {
  test('kill -9 five times under letters: each comes once and in order', async () => {
    const random = seeded(9);
    const settings = { 'session.path': join(temporaryFolder(), 'sessions.db') };
    let server = await startLetters(settings);
    const { port } = server;
    const ann = await new Writer(server, 'ann').enter();
    const bob = await new Writer(server, 'bob').enter();
    for (let kill = 0; kill < 5; kill += 1) {
      for (let i = 0; i < 100 + random.below(100); i += 1) {
        ann.write('bob', 'x'.repeat(random.below(200)));
        bob.write('ann');
        await sleep(random.below(4));
      }
      await server.stop('SIGKILL');
      // Written while nobody is there.
      for (let i = 0; i < 20; i += 1) ann.write('bob');
      server = await startLetters(settings, { port });
      await until(() => ann.in && bob.in, 'both back', long);
    }
    await arrived(ann, bob, long);
    await arrived(bob, ann, long);
    for (const writer of [ann, bob]) {
      assert.deepEqual(writer.resumes.filter((r) => !r.resumed), [], 'the session was never lost');
      assert.deepEqual(writer.errors, []);
      assert.ok(writer.resumes.length >= 5);
    }
    ann.leave();
    bob.leave();
    await until(async () => (await metrics(server)).sum('tidegate_sessions') === 0, 'no session left behind');
    await server.stop();
    server = await startLetters(settings, { port });
    assert.equal((await metrics(server)).sum('tidegate_sessions_restored_total'), 0, 'nor in the store');
    await server.stop();
  });

  test('letters for somebody who is away outlive an orderly stop and another number of shards', async () => {
    const settings = { 'session.path': join(temporaryFolder(), 'sessions.db') };
    let server = await startLetters({ ...settings, 'shards.count': 3 });
    const ann = await new Writer(server, 'ann').enter();
    const bob = await new Writer(server, 'bob').enter();
    const { port } = server;
    bob.drop();
    for (let i = 0; i < 30; i += 1) ann.write('bob');
    await until(() => ann.connection.delivery.unacknowledged === 0, 'all taken');
    await server.stop();
    server = await startLetters({ ...settings, 'shards.count': 1 }, { port });
    await arrived(ann, bob, long);
    await until(() => ann.in, 'ann back', long);
    ann.write('bob');
    await arrived(ann, bob, long);
    ann.leave();
    bob.leave();
    await server.stop();
  });

  test('a damaged store is put aside, and the server says so and serves', async () => {
    const folder = temporaryFolder();
    const path = join(folder, 'sessions.db');
    writeFileSync(path, 'this is no database'.repeat(1000));
    const server = await startServer({ session: { path } });
    assert.match(server.output, /damaged.*put aside/);
    assert.equal(readdirSync(folder).filter((name) => name.includes('.damaged-')).length, 1);
    const client = await Client.enter(server, 'ann');
    client.drop();
    await until(async () => (await metrics(server)).sum('tidegate_session_changes_stored_total') > 0, 'changes written');
    await server.stop();
  });

  test('what cannot be a store is refused with the key\'s name', async () => {
    await assert.rejects(startServer({ session: { path: '/nonexistent/folder/sessions.db' } }), /session\.path/);
    const path = join(temporaryFolder(), 'sessions.db');
    const first = await startServer({ session: { path } });
    await assert.rejects(startServer({ session: { path } }), /session\.path.*locked/);
    const client = await Client.enter(first, 'ann');
    assert.match((await client.next(Type.CONNECTION_ESTABLISHED)).payload.resume_token, /^.{40,96}$/);
    client.drop();
    await first.stop();
  });
});
