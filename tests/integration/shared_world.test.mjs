// SPDX-License-Identifier: Apache-2.0
// Three gateways on one NATS server with one world: players see each other wherever they are connected, keep their
// entity when they move to another gateway, and vanish with a gateway that dies.
import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { Client } from '../conformance/lib/client.mjs';
import { startGateway, together } from '../conformance/lib/cluster.mjs';
import { startNats } from '../conformance/lib/nats.mjs';
import { adminGet, metrics } from '../conformance/lib/server.mjs';
import { patience, sleep, until } from '../conformance/lib/wait.mjs';

const long = patience * 6;
const names = ['north', 'east', 'south'];
const settings = (number) => ({ world: { shared: true, gateway_number: number, linger: '500ms' } });
const start = (name) => startGateway(nats, name, settings(names.indexOf(name) + 1));
const sum = async (gateway, name) => (await metrics(gateway)).sum(name);
const one = (gateways) => until(async () => {
  for (const gateway of gateways) if (await sum(gateway, 'tidegate_world_peers') !== gateways.length - 1) return false;
  return true;
}, 'one world', long);

let nats;
let gateways;
before(async () => {
  nats = await startNats();
  gateways = await Promise.all(names.map(start));
  await together(gateways, long);
  await one(gateways);
});
after(async () => {
  for (const gateway of gateways ?? []) await gateway.stop();
  await nats?.stop();
});

let count = 0;
const user = (what) => `${what}-${++count}`;
const packed = { hello: { state_encoding: 1 } };
const at = (client, who, x, z) => client.seen(who, (e) => Math.abs(e.position.x - x) < 0.05 && Math.abs(e.position.z - z) < 0.05, long);
// Walks there at a pace that the server takes, and waits until the client sees itself there.
async function walk(client, x, z) {
  const from = { x: client.me.position.x, z: client.me.position.z };
  const steps = Math.max(1, Math.ceil(Math.hypot(x - from.x, z - from.z) / 0.5));
  for (let i = 1; i <= steps; i += 1) {
    client.move(from.x + ((x - from.x) * i) / steps, 0, from.z + ((z - from.z) * i) / steps);
    await sleep(50);
  }
  await at(client, client.user, x, z);
}
async function leave(...clients) {
  for (const client of clients) {
    await client.leave();
    assert.deepEqual(client.breaches, []);
  }
}

describe('one world', () => {
  test('players of three gateways see each other come, walk and go, in both encodings', async () => {
    const clients = [await Client.enter(gateways[0], user('ann')), await Client.enter(gateways[1], user('bob'), packed),
      await Client.enter(gateways[2], user('eve'), packed)];
    for (const a of clients) for (const b of clients) await a.seen(b.user, undefined, long);
    await walk(clients[1], 3, -2);
    for (const c of clients) await at(c, clients[1].user, 3, -2);
    // Over the border of a cell, which may be one of shards too.
    await walk(clients[2], -2, -3);
    for (const c of clients) await at(c, clients[2].user, -2, -3);
    const late = await Client.enter(gateways[0], user('late'));
    for (const c of clients) await late.seen(c.user, undefined, long);
    await leave(clients[1]);
    for (const c of [clients[0], clients[2], late]) await c.gone(clients[1].user, long);
    await leave(clients[0], clients[2], late);
  });

  test('who goes to another gateway stays the same entity, where it stood', async () => {
    const watcher = await Client.enter(gateways[0], user('watcher'), packed);
    const who = user('roamer');
    let client = await Client.enter(gateways[1], who, packed);
    await watcher.seen(who, undefined, long);
    await walk(client, 4, 3);
    const { id } = await at(watcher, who, 4, 3);
    let missing = 0;
    const look = setInterval(() => { missing += watcher.world.has(who) ? 0 : 1; }, 5);
    try {
      for (const [gateway, x] of [[2, 5], [1, 6], [0, 7], [2, 8]]) {
        const next = await Client.enter(gateways[gateway], who, packed);
        assert.equal(await client.closeCode(long), 4015);
        client = next;
        assert.ok(Math.abs(client.me.position.x - (x - 1)) < 0.05, `it stands at ${client.me.position.x}, not at ${x - 1}`);
        await walk(client, x, 3);
        assert.equal((await at(watcher, who, x, 3)).id, id, 'the same entity');
        assert.equal(client.me.id, id);
      }
      assert.equal(missing, 0, 'it was there all the time');
    } finally {
      clearInterval(look);
    }
    await leave(client);
    await watcher.gone(who, long);
    // It comes back where it left, also at a gateway where it was not.
    client = await Client.enter(gateways[1], who, packed);
    assert.ok(Math.abs(client.me.position.x - 8) < 0.05, `it stands at ${client.me.position.x}`);
    await leave(client, watcher);
  });

  test('population counts each entity once', async () => {
    const clients = await Promise.all(gateways.map((g) => Client.enter(g, user('one'))));
    for (const a of clients) for (const b of clients) await a.seen(b.user, undefined, long);
    await until(async () => {
      const view = JSON.parse((await adminGet(gateways[1], '/api/v1/cluster')).text);
      return view.sum.entities === 3;
    }, 'three entities in the cluster', long);
    for (const gateway of gateways) assert.equal(await sum(gateway, 'tidegate_world_refused_total'), 0);
    await leave(...clients);
  });
});

describe('faults', () => {
  test('a gateway is killed: its players vanish elsewhere, come back at another one, and are seen', async () => {
    const [watcher, other] = [await Client.enter(gateways[0], user('watcher'), packed), await Client.enter(gateways[2], user('other'))];
    const [first, second] = [await Client.enter(gateways[1], user('lost'), packed), await Client.enter(gateways[1], user('gone'), packed)];
    await walk(first, 5, 5);
    for (const c of [watcher, other]) await at(c, first.user, 5, 5);
    for (const c of [watcher, other]) await c.seen(second.user, undefined, long);
    await gateways[1].stop('SIGKILL');
    // One comes back at once: nobody waits for a gateway that does not answer.
    const back = await Client.enter(gateways[0], first.user, packed);
    assert.ok(Math.abs(back.me.position.x - 5) < 0.05, `it stands at ${back.me.position.x}`);
    await walk(back, 7, 5);
    for (const c of [watcher, other]) await at(c, first.user, 7, 5);
    // The other one only when it is gone everywhere.
    for (const c of [watcher, other]) await c.gone(second.user, long);
    for (const c of [watcher, other]) await at(c, first.user, 7, 5);
    const late = await Client.enter(gateways[2], second.user, packed);
    for (const c of [watcher, other]) await c.seen(second.user, undefined, long);
    gateways[1] = await start('east');
    await together(gateways, long);
    await one(gateways);
    const newcomer = await Client.enter(gateways[1], user('new'), packed);
    for (const who of [first.user, second.user, watcher.user, other.user]) await newcomer.seen(who, undefined, long);
    await leave(watcher, other, back, late, newcomer);
  });

  test('NATS goes: each gateway is a world of its own, and afterwards they are one again', async () => {
    const clients = await Promise.all(gateways.map((g) => Client.enter(g, user('alone'))));
    for (const a of clients) for (const b of clients) await a.seen(b.user, undefined, long);
    await nats.stop();
    for (const a of clients) for (const b of clients) if (a !== b) await a.gone(b.user, long);
    for (const client of clients) await walk(client, 2, 2);
    nats = await startNats({ port: nats.port });
    for (const a of clients) for (const b of clients) await at(a, b.user, 2, 2);
    await leave(...clients);
  });
});
