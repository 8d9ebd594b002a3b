// SPDX-License-Identifier: Apache-2.0
// The desync alarm with real processes: a wrong checksum is counted, written down and healed; the load
// tool flips bits and every one of them is found.
import assert from 'node:assert/strict';
import { existsSync, readFileSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { describe, test } from 'node:test';
import { Client } from '../conformance/lib/client.mjs';
import { Type } from '../conformance/lib/proto.mjs';
import { Process, metrics, program, secret, startServer, temporaryFolder } from '../conformance/lib/server.mjs';
import { until, within } from '../conformance/lib/wait.mjs';

const folder = temporaryFolder();
const files = (directory) => (existsSync(directory) ? readdirSync(directory).filter((n) => n.endsWith('.json')) : []);

describe('the desync alarm', () => {
  test('a wrong checksum is counted, written down on both sides, and healed by one keyframe', async () => {
    const directory = join(folder, 'reports');
    const server = await startServer({ desync: { directory }, history: { duration: '5s', memory: '256MiB' } }, { folder });
    const client = await Client.enter(server, 'walker', { hello: { state_encoding: 1 } });
    const counted = async (name) => (await metrics(server)).sum(name);
    const cell = [...client.cells.cells.values()].find((c) => c.members.size === 1);
    const rows = client.cells.rows(cell);
    const right = client.cells.checksumOf(cell);
    const report = (checksum, members = new Uint8Array(0)) => client.send(Type.CELL_REPORT, {
      cell_x: cell.x, cell_z: cell.z, epoch: cell.epoch, frame: cell.frame, tick: cell.tick, checksum, members });

    report(right.toString());
    await until(async () => await counted('tidegate_cell_reports_agreed_total') === 1, 'the report that agrees');
    assert.equal(await counted('tidegate_desyncs_total'), 0);

    const before = client.cells.frames.keyframe;
    rows.writeInt32LE(rows.readInt32LE(8) ^ 64, 8);
    report((right ^ 1n).toString(), rows);
    await until(() => client.cells.frames.keyframe === before + 1, 'the keyframe');
    assert.equal(await counted('tidegate_desyncs_total'), 1);
    assert.equal(await counted('tidegate_cells_healed_total'), 1);
    await until(() => files(directory).length === 1, 'the file');
    const dump = JSON.parse(readFileSync(join(directory, files(directory)[0]), 'utf8'));
    assert.deepEqual(dump.cell, [cell.x, cell.z]);
    assert.equal(dump.differences.length, 1);
    assert.equal(dump.differences[0].server.x ^ 64, dump.differences[0].client.x);
    assert.equal(dump.server_rows_of_tick, 1);
    assert.match(server.output, /desync: a client's checksum of cell/);

    // Not for a cell out of view, and not what is malformed.
    client.send(Type.CELL_REPORT, { cell_x: 30, cell_z: 30, frame: 1, checksum: '5', expected: '6' });
    await until(async () => await counted('tidegate_cell_reports_unknown_total') === 1, 'the report of a far cell');
    client.send(Type.CELL_REPORT, { cell_x: cell.x, cell_z: cell.z, members: new Uint8Array(25) });
    assert.equal((await client.next(Type.ERROR)).payload.code, 4003);
    client.send(Type.CELL_REPORT, { cell_x: 70000 });
    assert.equal((await client.next(Type.ERROR)).payload.code, 4003);
    const plain = await Client.enter(server, 'plain');
    plain.send(Type.CELL_REPORT, { cell_x: cell.x, cell_z: cell.z });
    assert.equal((await plain.next(Type.ERROR)).payload.code, 4005);
    assert.equal(await counted('tidegate_desyncs_total'), 1);
    assert.deepEqual(client.cells.breaches, []);
    await server.stop();
  });

  test('bits flipped by the load tool are found and healed within a second', async () => {
    const directory = join(folder, 'flips');
    const server = await startServer({ desync: { directory, keep: 3 }, world: { spawn_radius: 60.0 } }, { folder });
    const json = join(folder, 'flips.json');
    const load = new Process(program('tidegate-load'), ['--url', server.url, '--secret', secret, '--bots', '24',
      '--area', '120', '--duration', '5s', '--flip-every', '0.1', '--json', json]);
    const { code } = await within(load.exited, 'the end of the load', 60_000);
    const result = JSON.parse(readFileSync(json, 'utf8'));
    assert.equal(code, 0, load.output);
    assert.ok(result.flips > 20, `${result.flips} flips`);
    assert.ok(result.flips_detected > 10 && result.flips_healed > 10, load.output);
    assert.equal(result.flips_late, 0);
    assert.equal(result.checksum_mismatches, 0);
    const after = await metrics(server);
    assert.ok(after.sum('tidegate_desyncs_total') >= result.flips_detected);
    assert.ok(after.sum('tidegate_desync_dumps_total') >= 1);
    assert.ok(files(directory).length <= 3);
    await server.stop();
  });

  test('without flipped bits the alarm is silent', async () => {
    const server = await startServer({ world: { spawn_radius: 60.0 } }, { folder });
    const load = new Process(program('tidegate-load'), ['--url', server.url, '--secret', secret, '--bots', '24',
      '--area', '120', '--duration', '3s', '--report-every', '0.1']);
    const { code } = await within(load.exited, 'the end of the load', 60_000);
    assert.equal(code, 0, load.output);
    const after = await metrics(server);
    assert.equal(after.sum('tidegate_desyncs_total'), 0);
    assert.ok(after.sum('tidegate_cell_reports_agreed_total') > 0);
    await server.stop();
  });
});
