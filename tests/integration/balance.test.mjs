// SPDX-License-Identifier: Apache-2.0
// Ownership of cells moves between the shards of a real process: everybody walks into the slice of one
// shard, and the shards share the place out among them while all stay connected and see the right world.
import assert from 'node:assert/strict';
import { after, describe, test } from 'node:test';
import { Client } from '../conformance/lib/client.mjs';
import { Type } from '../conformance/lib/proto.mjs';
import { adminGet, metres, metrics, startServer, temporaryFolder } from '../conformance/lib/server.mjs';
import { until } from '../conformance/lib/wait.mjs';

const folder = temporaryFolder();
const bots = 16;
const servers = [];
async function start(changes) {
  servers.push(await startServer({ shards: { count: 2 }, ...changes }, { folder }));
  return servers.at(-1);
}
after(() => Promise.all(servers.map((server) => server.stop())));

// Cells 2 and 3 of both axes are one block, which belongs to one shard by the rule.
const corner = 128;
const inPlace = (cell) => cell.x >= 2 && cell.x <= 3 && cell.z >= 2 && cell.z <= 3;
const cells = async (server) => JSON.parse((await adminGet(server, '/api/v1/cells')).text);

// Goes to a place of its own, four of them in each cell, and about it from then on.
class Walker {
  constructor(client, number) {
    this.client = client;
    this.angle = number;
    this.home = { x: corner + 16 + (number % 4) * 32, z: corner + 16 + Math.floor(number / 4) * 32 };
    this.at = { x: client.me.position.x, z: client.me.position.z };
  }
  step() {
    this.angle += 0.3;
    const dx = this.home.x + Math.cos(this.angle) - this.at.x;
    const dz = this.home.z + Math.sin(this.angle) - this.at.z;
    const part = Math.min(1, 2 / Math.hypot(dx, dz));
    this.at = { x: this.at.x + dx * part, z: this.at.z + dz * part };
    this.client.move(this.at.x, 0, this.at.z);
  }
  get there() { return Math.hypot(this.at.x - this.home.x, this.at.z - this.home.z) < 3; }
  get answers() { return this.client.all(Type.MOVE_ACK).length; }
}

describe('cells change their shard', () => {
  test('a crowd in the slice of one shard is shared out, and nobody notices', async () => {
    const server = await start({
      world: { max_speed: metres(200)[0], spawn: metres(0, 0, 0), spawn_radius: metres(40)[0], tick_rate: 30 },
      balance: { interval: '200ms', patience: 2, min_work: '0s', hold: '3s' },
    });
    const clients = await Promise.all(Array.from({ length: bots }, (_, i) =>
      Client.enter(server, `bot-${i}`, { hello: { state_encoding: i % 4 === 0 ? 0 : 1 } })));
    const walkers = clients.map((client, i) => new Walker(client, i));
    const timer = setInterval(() => walkers.forEach((w) => w.step()), 40);
    try {
      await until(() => walkers.every((w) => w.there), 'all to be in the place', 60_000);
      await until(async () => {
        const of = [0, 0];
        for (const cell of (await cells(server)).cells.filter(inPlace)) of[cell.shard] += cell.entities;
        return of[0] + of[1] === bots && Math.min(...of) >= bots / 4;
      }, 'both shards to own a part of the crowd', 120_000);
      // They go on: everybody is answered by the owners of now.
      const before = walkers.map((w) => w.answers);
      await until(() => walkers.every((w, i) => w.answers > before[i] + 10), 'answers to moves', 60_000);
    } finally {
      clearInterval(timer);
    }
    for (const { client } of walkers) {
      assert.equal(client.closed, null);
      assert.deepEqual(client.breaches, []);
      assert.deepEqual(client.all(Type.MOVE_ACK).filter((m) => m.payload.corrected).map((m) => m.payload), []);
    }
    const counted = await metrics(server);
    assert.ok(counted.sum('tidegate_cells_ordered_total') >= 1);
    assert.ok(counted.sum('tidegate_cells_moved_total') >= 1);
    // Others may have walked into a cell that had moved before.
    assert.ok(counted.sum('tidegate_cell_entities_moved_total') >= 1);
    assert.equal(counted.sum('tidegate_desyncs_total'), 0);
    assert.equal(counted.sum('tidegate_arrivals_refused_total'), 0);
    // Read shard by shard: in the middle of a move one may count them and the other too.
    await until(async () => (await metrics(server)).sum('tidegate_entities') === bots, 'everybody counted once');
    assert.match(server.output, /balance: cell -?\d+,-?\d+ with \d+ entities goes from shard \d to \d/);
  });

  test('with balance.on = false cells stay where the rule puts them', async () => {
    const server = await start({ balance: { on: false } });
    await Client.enter(server, 'alone');
    assert.deepEqual(await cells(server), { shards: [], cells: [] });
    assert.equal((await metrics(server)).sum('tidegate_cells_moved_total'), 0);
  });
});
