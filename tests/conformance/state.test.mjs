// SPDX-License-Identifier: Apache-2.0
// The world as a protobuf client sees it: own entity, neighbours that enter, move and leave, moves
// that are accepted and refused, and the player that comes back.
import assert from 'node:assert/strict';
import { after, describe, test } from 'node:test';
import { Client, distance } from './lib/client.mjs';
import { Type } from './lib/proto.mjs';
import { Float, metres, startServer } from './lib/server.mjs';
import { sleep, until } from './lib/wait.mjs';

const STEP = 0.02;  // positions are whole steps of 2 cm
const server = await startServer({
  shards: { count: 2 },
  world: {
    tick_rate: 30, max_speed: new Float(100), view_distance: new Float(80), spawn: metres(0, 0, 0),
    bounds_min: metres(-400, -50, -400), bounds_max: metres(400, 50, 400), linger: '1s',
  },
});
after(() => server.stop());

let serial = 0;
const name = (prefix) => `${prefix}-${serial += 1}`;
const near = (a, b, limit = STEP) => distance(a, b) <= limit;
// Walks in steps that the speed limit allows, and waits until the server holds the place.
async function walk(client, to, { steps = 1, pause = 120 } = {}) {
  const from = client.lastPosition ?? client.me.position;
  let tick;
  for (let i = 1; i <= steps; i += 1) {
    const f = i / steps;
    tick = client.move(from.x + (to.x - from.x) * f, from.y + (to.y - from.y) * f, from.z + (to.z - from.z) * f);
    if (i < steps) await sleep(pause);
  }
  client.lastPosition = to;
  const ack = await client.next(Type.MOVE_ACK, (p) => p.client_tick >= tick);
  assert.equal(ack.payload.corrected, false, `refused with ${ack.payload.reason}`);
  return ack.payload;
}
async function done(...clients) {
  for (const client of clients) {
    await client.leave();
    assert.deepEqual(client.breaches, [], `${client.user} saw what the document forbids`);
  }
}

describe('entering', () => {
  test('the first WORLD_STATE contains the own entity at the spawn', async () => {
    const user = name('alone');
    const client = await Client.enter(server, user);
    const state = client.all(Type.WORLD_STATE)[0].payload;
    const self = state.players.find((p) => p.player_id === user);
    assert.ok(self, 'own entity in players');
    assert.ok(near(self.position, { x: 0, y: 0, z: 0 }));
    assert.ok(Math.abs(state.timestamp - Date.now()) < 10_000);
    assert.ok(state.tick > 0);
    await done(client);
  });
  test('state begins a second after the login when no CLIENT_HELLO comes', async () => {
    const client = await Client.connect(server, name('silent'), { hello: false });
    const login = await client.next(Type.AUTHENTICATION_RESULT);
    const state = await client.next(Type.WORLD_STATE);
    const waited = state.at - login.at;
    assert.ok(waited > 850 && waited < 2500, `it began after ${Math.round(waited)} ms`);
    await done(client);
  });
  test('with CLIENT_HELLO state begins at once', async () => {
    const client = await Client.connect(server, name('quick'));
    const login = await client.next(Type.AUTHENTICATION_RESULT);
    const state = await client.next(Type.WORLD_STATE);
    assert.ok(state.at - login.at < 800, `it began after ${Math.round(state.at - login.at)} ms`);
    await done(client);
  });
  test('there is one WORLD_STATE', async () => {
    const client = await Client.enter(server, name('once'));
    await walk(client, { x: 5, y: 0, z: 0 });
    await sleep(500);
    assert.equal(client.all(Type.WORLD_STATE).length, 1);
    await done(client);
  });
});

describe('neighbours', () => {
  test('who is there already stands in WORLD_STATE', async () => {
    const first = await Client.enter(server, name('first'));
    const second = await Client.enter(server, name('second'));
    await second.seen(first.user);
    assert.ok(near(second.world.get(first.user).position, { x: 0, y: 0, z: 0 }));
    await done(first, second);
  });

  test('a player enters: spawns and entered_view; moves: updates; leaves after linger: despawns and exited_view', async () => {
    const watcher = await Client.enter(server, name('watcher'));
    const other = await Client.enter(server, name('other'));
    const seen = await watcher.seen(other.user);
    assert.ok(seen.spawned, 'it came as a spawn');
    await until(() => watcher.entered.get(other.user) === 1, 'entered_view');

    for (const [x, z] of [[3, 0], [3, 4], [-7.5, 4.5], [-7.5, -20]]) {
      const ack = await walk(other, { x, y: 0, z });
      assert.ok(near(ack.position, { x, y: 0, z }), JSON.stringify(ack.position));
      await watcher.seen(other.user, (e) => near(e.position, { x, y: 0, z }));
    }
    assert.ok(watcher.world.get(other.user).updates >= 4);

    const left = performance.now();
    await other.leave();
    await watcher.gone(other.user);
    const lingered = performance.now() - left;
    assert.ok(lingered > 700, `gone after ${Math.round(lingered)} ms, linger is 1 s`);
    await until(() => watcher.exited.get(other.user) === 1, 'exited_view');
    assert.equal(watcher.entered.get(other.user), 1);
    await done(watcher);
    assert.deepEqual(other.breaches, []);
  });

  test('rotation, velocity and flags of a neighbour', async () => {
    const watcher = await Client.enter(server, name('watcher'));
    const other = await Client.enter(server, name('turning'));
    await watcher.seen(other.user);
    const half = Math.SQRT1_2;  // a quarter turn about y
    other.move(1, 0, 1, { rotation: { x: 0, y: half, z: 0, w: half }, velocity: { x: 2, y: 0, z: -3 }, movement_flags: 5 });
    const seen = await watcher.seen(other.user, (e) => near(e.position, { x: 1, y: 0, z: 1 }) && e.velocity?.x > 1.9);
    const angle = 2 * Math.atan2(seen.rotation.y, seen.rotation.w);
    assert.ok(Math.abs(angle - Math.PI / 2) < 0.03, `yaw ${angle}`);
    assert.ok(distance(seen.velocity, { x: 2, y: 0, z: -3 }) < 0.05, JSON.stringify(seen.velocity));
    await done(watcher, other);
  });

  test('a player who walks out of view leaves it and comes back into it', async () => {
    const watcher = await Client.enter(server, name('watcher'));
    const other = await Client.enter(server, name('walker'));
    await watcher.seen(other.user);
    await walk(other, { x: 360, y: 0, z: 0 }, { steps: 45 });
    await watcher.gone(other.user);
    await until(() => watcher.exited.get(other.user) === 1, 'exited_view');
    await other.gone(watcher.user);
    await walk(other, { x: 1, y: 0, z: 0 }, { steps: 45 });
    await watcher.seen(other.user, (e) => near(e.position, { x: 1, y: 0, z: 0 }));
    assert.equal(watcher.entered.get(other.user), 2);
    await other.seen(watcher.user);
    await done(watcher, other);
  });

  test('ten players walk across cell borders; everybody sees everybody in the right place', async () => {
    const clients = [];
    for (let i = 0; i < 10; i += 1) clients.push(await Client.enter(server, name('crowd')));
    const target = (i, round) => ({ x: ((i * 7 + round * 13) % 61) - 30, y: 0, z: ((i * 11 + round * 17) % 61) - 30 });
    for (let round = 0; round < 5; round += 1) {
      await Promise.all(clients.map((c, i) => walk(c, target(i, round), { steps: 10, pause: 100 })));
    }
    for (const client of clients) {
      for (const [i, other] of clients.entries()) {
        await client.seen(other.user, (e) => near(e.position, target(i, 4)));
      }
    }
    await done(...clients);
  });

  test('a message is at most 60 KiB and state comes about once a tick', async () => {
    const watcher = await Client.enter(server, name('watcher'));
    const other = await Client.enter(server, name('busy'));
    await watcher.seen(other.user);
    const before = watcher.messageCount;
    const began = performance.now();
    for (let i = 0; i < 60; i += 1) {
      other.move(i * 0.1, 0, 0);
      await sleep(16);
    }
    const ticks = (performance.now() - began) * 30 / 1000;
    assert.ok(watcher.messageCount - before <= ticks * 1.3 + 5, `${watcher.messageCount - before} messages in ${ticks} ticks`);
    await done(watcher, other);
  });
});

describe('MOVE_ACK', () => {
  test('names the highest client_tick, at most one a server tick, and always the last input', async () => {
    const client = await Client.enter(server, name('mover'));
    let tick;
    for (let i = 1; i <= 100; i += 1) tick = client.move(i * 0.02, 0, 0);
    await client.next(Type.MOVE_ACK, (p) => p.client_tick === tick);
    await sleep(200);
    const acks = client.all(Type.MOVE_ACK).map((m) => m.payload);
    for (let i = 1; i < acks.length; i += 1) {
      assert.ok(acks[i].client_tick >= acks[i - 1].client_tick, 'client_tick never falls');
      assert.ok(acks[i].server_tick > acks[i - 1].server_tick, 'one a server tick');
    }
    assert.equal(acks.at(-1).client_tick, tick);
    assert.ok(near(acks.at(-1).position, { x: 2, y: 0, z: 0 }), JSON.stringify(acks.at(-1).position));
    await done(client);
  });

  test('too fast: corrected with 4010, the old position holds', async () => {
    const watcher = await Client.enter(server, name('watcher'));
    const client = await Client.enter(server, name('cheater'));
    await watcher.seen(client.user);
    await walk(client, { x: 2, y: 0, z: 2 });
    const tick = client.move(300, 0, 300);
    const { payload } = await client.next(Type.MOVE_ACK, (p) => p.client_tick >= tick);
    assert.equal(payload.corrected, true);
    assert.equal(payload.reason, 4010);
    assert.ok(near(payload.position, { x: 2, y: 0, z: 2 }), JSON.stringify(payload.position));
    await sleep(200);
    assert.ok(near(watcher.world.get(client.user).position, { x: 2, y: 0, z: 2 }), 'nobody saw it elsewhere');
    await walk(client, { x: 3, y: 0, z: 2 });
    await done(client, watcher);
  });

  test('out of bounds: corrected with 4011, the old position holds', async () => {
    const client = await Client.enter(server, name('edge'));
    await walk(client, { x: 0, y: 48, z: 0 }, { steps: 10 });
    await sleep(300);
    const tick = client.move(0, 53, 0);
    const { payload } = await client.next(Type.MOVE_ACK, (p) => p.client_tick >= tick);
    assert.equal(payload.corrected, true);
    assert.equal(payload.reason, 4011);
    assert.ok(payload.position.y <= 50, JSON.stringify(payload.position));
    await done(client);
  });

  for (const [what, change] of Object.entries({
    'a position that is NaN': { position: { x: NaN, y: 0, z: 0 } },
    'an infinite position': { position: { x: 0, y: 0, z: Infinity } },
    'a velocity that is NaN': { velocity: { x: 0, y: NaN, z: 0 } },
    'an infinite velocity': { velocity: { x: -Infinity, y: 0, z: 0 } },
    'a rotation that is NaN': { rotation: { x: 0, y: 0, z: 0, w: NaN } },
  })) {
    test(`ERROR 4003 for ${what}`, async () => {
      const client = await Client.enter(server, name('nan'));
      client.move(0, 0, 0, change);
      const { payload } = await client.error(4003);
      assert.equal(payload.fatal, false);
      await walk(client, { x: 1, y: 0, z: 0 });
      await done(client);
    });
  }

  test('extreme numbers are refused or corrected, never accepted', async () => {
    const client = await Client.enter(server, name('extreme'));
    for (const value of [3.4e38, -3.4e38, 1e30, 2147483648, -2147483648]) {
      const tick = client.move(value, 0, 0);
      const { payload } = await client.next(Type.MOVE_ACK, (p) => p.client_tick >= tick);
      assert.equal(payload.corrected, true);
      assert.ok([4010, 4011].includes(payload.reason), `reason ${payload.reason}`);
    }
    await walk(client, { x: 1, y: 0, z: 0 });
    await done(client);
  });
});

describe('coming back', () => {
  test('a player who comes back within linger stands where it was', async () => {
    const user = name('returning');
    const client = await Client.enter(server, user);
    await walk(client, { x: 12, y: 1, z: -8 }, { steps: 3 });
    client.drop();
    await sleep(200);
    const again = await Client.enter(server, user);
    assert.ok(near(again.me.position, { x: 12, y: 1, z: -8 }), JSON.stringify(again.me.position));
    await done(again);
  });
  test('and also after its entity has left', async () => {
    const user = name('returning');
    const watcher = await Client.enter(server, name('watcher'));
    const client = await Client.enter(server, user);
    await walk(client, { x: -9, y: 0, z: 14 }, { steps: 3 });
    await watcher.seen(user);
    client.drop();
    await watcher.gone(user);
    const again = await Client.enter(server, user);
    assert.ok(near(again.me.position, { x: -9, y: 0, z: 14 }), JSON.stringify(again.me.position));
    await done(again, watcher);
  });
  test('a lost connection leaves the entity standing for linger', async () => {
    const watcher = await Client.enter(server, name('watcher'));
    const client = await Client.enter(server, name('lost'));
    await watcher.seen(client.user);
    client.drop();
    await sleep(400);
    assert.ok(watcher.world.has(client.user), 'it stands there still');
    await watcher.gone(client.user);
    await done(watcher);
  });
  test('a second connection of a player replaces the first with 4015', async () => {
    const user = name('twice');
    const first = await Client.enter(server, user);
    await walk(first, { x: 6, y: 0, z: 6 }, { steps: 2 });
    const second = await Client.enter(server, user);
    assert.equal(await first.closeCode(), 4015);
    assert.ok(near(second.me.position, { x: 6, y: 0, z: 6 }), JSON.stringify(second.me.position));
    await walk(second, { x: 7, y: 0, z: 6 });
    await done(second);
  });
  test('a watcher sees no change when a player reconnects within linger', async () => {
    const user = name('returning');
    const watcher = await Client.enter(server, name('watcher'));
    const client = await Client.enter(server, user);
    await watcher.seen(user);
    client.drop();
    await sleep(100);
    const again = await Client.enter(server, user);
    await sleep(1500);
    assert.ok(watcher.world.has(user));
    assert.equal(watcher.exited.get(user), undefined);
    await done(again, watcher);
  });
});

describe('the packed encoding', () => {
  const packed = { hello: { state_encoding: 1 } };

  test('state comes as CELL_FRAME with the own entity at the spawn, not as ZONE_UPDATE', async () => {
    const client = await Client.enter(server, name('packed'), packed);
    assert.ok(near(client.me.position, { x: 0, y: 0, z: 0 }));
    await walk(client, { x: 1, y: 0, z: 1 });
    await client.seen(client.user, (e) => near(e.position, { x: 1, y: 0, z: 1 }));
    assert.equal(client.all(Type.ZONE_UPDATE).length, 0);
    assert.equal(client.all(Type.WORLD_STATE).length, 0);
    await done(client);
  });
  test('a neighbour enters, moves, turns, leaves after linger', async () => {
    const watcher = await Client.enter(server, name('watcher'), packed);
    const other = await Client.enter(server, name('other'));
    await watcher.seen(other.user);
    for (const [x, y, z] of [[3, 0, 0], [3, 1.5, 4], [-7.5, 0, 4.5], [-7.5, -2, -20], [70, 0, -20]]) {
      await walk(other, { x, y, z }, { steps: 8 });
      await watcher.seen(other.user, (e) => near(e.position, { x, y, z }));
    }
    const half = Math.SQRT1_2;
    other.move(70, 0, -21, { rotation: { x: 0, y: half, z: 0, w: half } });
    await watcher.seen(other.user, (e) => near(e.position, { x: 70, y: 0, z: -21 }) && e.yaw === 64);
    await other.leave();
    await watcher.gone(other.user);
    assert.ok(watcher.cells.checked > 0, 'checksums were compared');
    await done(watcher);
  });
  test('a walk out of view and back', async () => {
    const watcher = await Client.enter(server, name('watcher'), packed);
    const other = await Client.enter(server, name('walker'), packed);
    await watcher.seen(other.user);
    await walk(other, { x: 0, y: 0, z: -360 }, { steps: 45 });
    await watcher.gone(other.user);
    await other.gone(watcher.user);
    await walk(other, { x: 0, y: 0, z: 2 }, { steps: 45 });
    await watcher.seen(other.user, (e) => near(e.position, { x: 0, y: 0, z: 2 }));
    await other.seen(watcher.user);
    assert.ok(other.cells.frames.drop > 0 && other.cells.frames.keyframe > 4, JSON.stringify(other.cells.frames));
    await done(watcher, other);
  });
  test('clients of both encodings have the same picture of a crowd', async () => {
    const clients = [];
    for (let i = 0; i < 8; i += 1) clients.push(await Client.enter(server, name('mixed'), i % 2 ? packed : {}));
    const target = (i, round) => ({ x: ((i * 19 + round * 31) % 121) - 60, y: (i + round) % 3, z: ((i * 23 + round * 37) % 121) - 60 });
    for (let round = 0; round < 4; round += 1) {
      await Promise.all(clients.map((c, i) => walk(c, target(i, round), { steps: 18, pause: 100 })));
    }
    // Everybody is brought together, so that all are in view of all.
    const place = (i) => ({ x: i * 1.5, y: 0, z: -i });
    await Promise.all(clients.map((c, i) => walk(c, place(i), { steps: 18, pause: 100 })));
    for (const client of clients) {
      for (const [i, other] of clients.entries()) await client.seen(other.user, (e) => near(e.position, place(i)));
    }
    for (const client of clients.filter((_, i) => i % 2)) assert.ok(client.cells.checked > 2);
    await done(...clients);
  });
  test('a keyframe opens every cell and a delta has a checksum now and then', async () => {
    const client = await Client.enter(server, name('long'), packed);
    for (let i = 1; i <= 150; i += 1) {
      client.move(0, 0, i * 0.1);
      await sleep(34);
    }
    const { frames, checked } = client.cells;
    assert.ok(frames.delta > 100, JSON.stringify(frames));
    assert.ok(checked > frames.keyframe, `${checked} checksums, ${frames.keyframe} keyframes`);
    await done(client);
  });
});
