// SPDX-License-Identifier: Apache-2.0
// World snapshots with real processes: killed and started again, damaged files, a folder that
// cannot be written.
import assert from 'node:assert/strict';
import { mkdirSync, readFileSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, test } from 'node:test';
import { Client } from '../conformance/lib/client.mjs';
import { Type } from '../conformance/lib/proto.mjs';
import { adminGet, metres, metrics, startServer, temporaryFolder } from '../conformance/lib/server.mjs';
import { until } from '../conformance/lib/wait.mjs';

const folder = temporaryFolder();
let folders = 0;
function freshDirectory() {
  folders += 1;
  return join(folder, `snapshots-${folders}`);
}
const settings = (directory, changes = {}) => ({
  snapshots: { directory, interval: '300ms', keep: 3 },
  world: { linger: '300ms', spawn: metres(10, 0, 10) },
  ...changes,
});
const start = (directory, changes) => startServer(settings(directory, changes), { folder });
const written = async (server) => (await metrics(server)).sum('tidegate_snapshots_written_total');
// Two more than now: the second was asked for after this call.
async function anotherSnapshot(server) {
  const before = await written(server);
  await until(async () => await written(server) >= before + 2, 'two more snapshots');
}
async function walk(client, x, z) {
  const tick = client.move(x, 0, z);
  const { payload } = await client.next(Type.MOVE_ACK, (p) => p.client_tick >= tick);
  assert.equal(payload.corrected ?? false, false);
}
function near(position, x, z) {
  assert.ok(Math.abs(position.x - x) < 0.02 && Math.abs(position.z - z) < 0.02,
    `it stands at ${position.x}, ${position.z} and not at ${x}, ${z}`);
}
const files = (directory) => readdirSync(directory).filter((n) => n.endsWith('.tgs')).sort();
const newest = (directory) => join(directory, files(directory).at(-1));

describe('snapshots', () => {
  test('after kill -9 everybody stands where it stood', async () => {
    const directory = freshDirectory();
    const first = await start(directory);
    const present = await Client.enter(first, 'present');
    const absent = await Client.enter(first, 'absent');
    await walk(present, 13, 11);
    await walk(absent, 8, 12);
    await absent.leave();
    await present.gone('absent');  // its entity has lingered and left
    await anotherSnapshot(first);
    await first.stop('SIGKILL');

    // Another number of shards: homes and owners are others.
    const second = await start(directory, { shards: { count: 3 } });
    const back = await Client.enter(second, 'present');
    near(back.me.position, 13, 11);
    near((await Client.enter(second, 'absent')).me.position, 8, 12);
    near((await Client.enter(second, 'new')).me.position, 10, 10);
    const { text } = await adminGet(second, '/api/v1/snapshots');
    const list = JSON.parse(text);
    assert.ok(list.recovered_from.endsWith('.tgs'));
    assert.ok(list.files.length >= 1 && list.files.length <= 3);
    assert.ok(list.files.every((f) => f.good && f.same_world && f.bytes > 72));
    await second.stop('SIGKILL');

    // And once more, from what the second one has written of those who were not in it.
    const third = await start(directory);
    near((await Client.enter(third, 'absent')).me.position, 8, 12);
    await third.stop();
  });

  test('an orderly stop writes the last state', async () => {
    const directory = freshDirectory();
    const first = await start(directory, { snapshots: { directory, interval: '1h' } });
    const client = await Client.enter(first, 'walker');
    await walk(client, 12, 13);
    await first.stop();
    assert.equal(files(directory).length, 1);
    const second = await start(directory);
    near((await Client.enter(second, 'walker')).me.position, 12, 13);
    await second.stop();
  });

  test('a damaged newest file is refused by name, the one before it is used', async () => {
    const directory = freshDirectory();
    const first = await start(directory);
    const client = await Client.enter(first, 'walker');
    await walk(client, 9, 14);
    await anotherSnapshot(first);
    await anotherSnapshot(first);
    await first.stop('SIGKILL');
    const [, before, last] = files(directory);
    const bytes = readFileSync(join(directory, last));
    bytes[bytes.length - 5] ^= 16;
    writeFileSync(join(directory, last), bytes);
    const second = await start(directory);
    assert.match(second.output, new RegExp(`refused .*${last}.*checksum`));
    assert.match(second.output, new RegExp(`came back from ${before}`));
    assert.equal((await metrics(second)).sum('tidegate_snapshots_refused_total'), 1);
    near((await Client.enter(second, 'walker')).me.position, 9, 14);
    await second.stop();
  });

  test('nothing but damaged files: the world begins anew and the server runs', async () => {
    const directory = freshDirectory();
    mkdirSync(directory);
    writeFileSync(join(directory, 'snapshot-000000000007.tgs'), 'not at all');
    const server = await start(directory);
    assert.match(server.output, /refused .*snapshot-000000000007\.tgs: it is not a snapshot/);
    near((await Client.enter(server, 'walker')).me.position, 10, 10);
    await until(() => files(directory).includes('snapshot-000000000008.tgs'), 'the next number');
    await server.stop();
  });

  test('smaller bounds: positions are moved inside, and it says so', async () => {
    const directory = freshDirectory();
    const first = await start(directory);
    const client = await Client.enter(first, 'walker');
    await walk(client, 14, 10);
    await first.stop();
    const second = await start(directory, {
      world: { linger: '300ms', spawn: metres(10, 0, 10), bounds_max: metres(12, 512, 2048) },
    });
    assert.match(second.output, /outside today's bounds/);
    near((await Client.enter(second, 'walker')).me.position, 12, 10);
    await second.stop();
  });

  test('a folder that cannot be written: counted, logged with a remedy, and the game goes on', async () => {
    const directory = freshDirectory();
    writeFileSync(directory, 'a file in the way');
    const server = await start(directory);
    await until(async () => (await metrics(server)).sum('tidegate_snapshot_failures_total') >= 3, 'failures');
    assert.match(server.output, /snapshots\.directory/);
    assert.ok(server.output.match(/cannot use/g).length <= 2, `one line while it stays so:\n${server.output}`);
    const client = await Client.enter(server, 'walker');
    await walk(client, 11, 11);
    // Mended while it runs.
    rmSync(directory);
    await until(async () => await written(server) >= 1, 'a snapshot');
    assert.ok(newest(directory));
    await server.stop();
  });
});
