// SPDX-License-Identifier: Apache-2.0
// The browser SDK against a real server: login, both encodings, own movement and corrections,
// interpolation, a bad network, a restart of the server.
import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import WebSocket from 'ws';
import * as sdk from '../../../tools/sdk-js/dist/index.js';
import { Client } from '../lib/client.mjs';
import { metres, startServer } from '../lib/server.mjs';
import { tokenFor } from '../lib/tokens.mjs';
import { sleep, until } from '../lib/wait.mjs';

let server;
const settings = {
  world: {
    tick_rate: 60, cell_size: metres(32)[0], view_distance: metres(100)[0], max_speed: metres(60)[0],
    bounds_min: metres(-400, -50, -400), bounds_max: metres(400, 50, 400), linger: '1s',
  },
};
before(async () => { server = await startServer(settings); });
after(() => server.stop());

let count = 0;
const name = (what) => `sdk-${what}-${++count}`;
const host = (simulator) => ({
  now: () => performance.now(),
  wallClock: () => Date.now(),
  setTimer: (run, ms) => setTimeout(run, ms),
  clearTimer: (timer) => clearTimeout(timer),
  random: () => Math.random(),
  openSocket: (url, protocols) => {
    const socket = new WebSocket(url, protocols, { perMessageDeflate: false });
    // An upgrade that is refused is an error and a close, as in a browser.
    socket.addEventListener('error', () => {});
    return socket;
  },
  ...simulator,
});

async function enter(user, options = {}) {
  const client = new sdk.TidegateClient({
    endpoints: [server.url], token: () => tokenFor(user), host: host(), ...options,
  });
  client.problems = [];
  client.connection.on('lost', (loss) => client.problems.push(loss));
  client.connection.on('serverError', (error) => client.problems.push(error));
  client.world.on('desync', (what) => client.problems.push(what));
  client.connect();
  await until(() => client.state === 'inWorld' && client.prediction.position, `${user} in the world`);
  return client;
}
function leave(...clients) {
  for (const client of clients) {
    client.disconnect();
    assert.deepEqual(client.problems, []);
    assert.equal(client.world.counters.strays, 0);
    assert.equal(client.world.counters.checksumMismatches, 0);
    assert.equal(client.world.counters.malformed, 0);
  }
}
const distance = (a, b) => Math.hypot(a.x - b.x, a.y - b.y, a.z - b.z);
// Walks for a time with 30 inputs a second.
async function walk(client, vx, vz, seconds) {
  for (let i = 0; i < seconds * 30; i += 1) {
    client.move({ velocity: { x: vx, y: 0, z: vz }, yaw: Math.atan2(vx, vz), dt: 1 / 30 });
    await sleep(1000 / 30);
  }
}
const settled = (client) => until(() => client.stats().pendingInputs === 0, 'all inputs acknowledged');

for (const encoding of ['packed', 'protobuf']) {
  describe(encoding, () => {
    test('enters, walks, is seen where it predicts itself; the other is added, changed, removed', async () => {
      const user = name('walker');
      const watcher = await enter(name('watcher'), { encoding });
      const log = { entityAdded: 0, entityChanged: 0, entityRemoved: 0 };
      for (const event of Object.keys(log)) watcher.on(event, (e) => { if (e.id === user) log[event] += 1; });
      const walker = await enter(user, { encoding });
      assert.equal(walker.playerId, user);
      await until(() => watcher.world.entities.has(user), 'the walker in view');
      await walk(walker, 5, -3, 1);
      await settled(walker);
      assert.ok(distance(walker.prediction.position, { x: 5, y: 0, z: -3 }) < 0.1, JSON.stringify(walker.prediction.position));
      await until(() => distance(watcher.world.entities.get(user), walker.prediction.position) < 0.05, 'the walker at its place');
      await until(() => distance(walker.self, walker.prediction.position) < 0.05, 'the own entity at its place');
      assert.equal(walker.stats().corrections, 0);
      assert.equal(log.entityAdded, 1);
      assert.ok(log.entityChanged >= 10, `${log.entityChanged}`);
      walker.disconnect();
      await until(() => !watcher.world.entities.has(user), 'the walker gone after linger');
      assert.equal(log.entityRemoved, 1);
      leave(walker, watcher);
    });

    test('interpolation moves steadily between states', async () => {
      const watcher = await enter(name('watcher'), { encoding });
      const walker = await enter(name('walker'), { encoding });
      await until(() => watcher.world.entities.has(walker.playerId), 'the walker in view');
      const walking = walk(walker, 6, 0, 2);
      const seen = [];
      const end = performance.now() + 2000;
      while (performance.now() < end) {
        watcher.eachRemote(performance.now(), (entity, pose) => { if (entity.id === walker.playerId) seen.push(pose.x); });
        await sleep(10);
      }
      await walking;
      const steps = seen.slice(1).map((x, i) => x - seen[i]);
      assert.ok(steps.every((s) => s >= -1e-6), 'it never runs back');
      assert.ok(Math.max(...steps) < 2, `the longest step is ${Math.max(...steps)} m`);
      assert.ok(seen.at(-1) > 5, `it was shown as far as ${seen.at(-1)}`);
      leave(walker, watcher);
    });

    test('across cell borders and out of view and back', async () => {
      const watcher = await enter(name('watcher'), { encoding });
      const walker = await enter(name('walker'), { encoding });
      await until(() => watcher.world.entities.has(walker.playerId), 'the walker in view');
      await walk(walker, 0, 55, 3.4);
      await until(() => !watcher.world.entities.has(walker.playerId), 'the walker out of view');
      await walk(walker, 0, -55, 3.4);
      await until(() => watcher.world.entities.has(walker.playerId), 'the walker in view again');
      await settled(walker);
      await until(() => distance(watcher.world.entities.get(walker.playerId), walker.prediction.position) < 0.05, 'at its place');
      if (encoding === 'packed') {
        assert.ok(walker.world.counters.drops > 0 && walker.world.counters.checksums > 5, JSON.stringify(walker.world.counters));
      }
      leave(walker, watcher);
    });
  });
}

test('both encodings show the same world as a client written from the document', async () => {
  const clients = [];
  for (const encoding of ['packed', 'protobuf', 'packed', 'protobuf']) clients.push(await enter(name('crowd'), { encoding }));
  const reference = await Client.enter(server, name('reference'));
  await Promise.all(clients.map((c, i) => walk(c, 8 - 5 * i, 3 * i - 6, 1.5)));
  await Promise.all(clients.map(settled));
  for (const a of clients) {
    for (const b of clients) {
      await until(() => reference.world.has(b.playerId)
        && distance(reference.world.get(b.playerId).position, b.prediction.position) < 0.05, 'the reference');
      await until(() => distance(a.world.entities.get(b.playerId), b.prediction.position) < 0.05, `${b.playerId} at its place`);
    }
  }
  await reference.leave();
  leave(...clients);
});

test('a wrong picture of a cell heals, also where nothing moves', async () => {
  const other = await enter(name('other'));
  const watcher = await enter(name('spoiled'), { reportMs: 100 });
  await until(() => watcher.world.entities.has(other.playerId), 'the other in view');
  const { Col } = sdk;
  // One bit of what the picture holds of the other; true when it is right again.
  const spoil = () => {
    const cell = () => watcher.world.held.get(other.playerId).cell;
    const value = () => cell().image.rows[cell().image.names.indexOf(other.playerId) * Col.WIDTH + Col.Y];
    const { rows, names } = cell().image;
    rows[names.indexOf(other.playerId) * Col.WIDTH + Col.Y] ^= 64;
    return () => value() === 0;
  };
  await until(async () => {
    const { frames } = watcher.world.counters;
    await sleep(700);  // of a cell that changes, a checksum comes each half second
    return watcher.world.entities.size === 2 && frames === watcher.world.counters.frames;
  }, 'a world of two who stand');
  await until(spoil(), 'a quiet cell healed');
  assert.equal(watcher.world.counters.checksumMismatches, 0);
  const healed = spoil();
  await walk(other, 3, 0, 1);
  await until(() => watcher.world.counters.checksumMismatches > 0, 'a frame whose checksum differs');
  await until(healed, 'a cell in motion healed');
  const { checksumMismatches } = watcher.world.counters;
  const checked = watcher.world.counters.checksums;
  await walk(other, -3, 0, 2);
  assert.ok(watcher.world.counters.checksums > checked);
  assert.equal(watcher.world.counters.checksumMismatches, checksumMismatches);
  assert.ok(watcher.problems.every((problem) => problem.cause === 'checksum'), JSON.stringify(watcher.problems));
  watcher.disconnect();
  leave(other);
});

test('too fast: refused, and walked back smoothly', async () => {
  const client = await enter(name('fast'));
  const acks = [];
  client.on('moveAck', (ack) => acks.push(ack));
  client.move({ velocity: { x: 300, y: 0, z: 0 }, dt: 1 });
  await until(() => client.stats().refusedMoves > 0, 'the refusal');
  assert.equal(acks.find((a) => a.corrected).reason, sdk.ErrorCode.SPEED);
  assert.ok(distance(client.prediction.position, { x: 0, y: 0, z: 0 }) < 0.05);
  await walk(client, 5, 0, 0.5);
  await settled(client);
  assert.ok(distance(client.self, client.prediction.position) < 0.5);
  leave(client);
});

test('clock and round trip', async () => {
  const client = await enter(name('clock'));
  await until(() => client.clock.synced, 'TIME_SYNC');
  assert.ok(Math.abs(client.clock.serverTime(performance.now()) - Date.now()) <= client.clock.errorMs + 5);
  const first = client.clock.serverTick(performance.now());
  await until(() => client.clock.serverTick(performance.now()) > first + 30, 'half a second of ticks');
  assert.ok(client.clock.rtt > 0);
  leave(client);
});

test('a bad network: everything arrives, later', async () => {
  const plain = host();
  const simulator = new sdk.NetworkSimulator(plain, { latencyMs: 80, jitterMs: 60, loss: 0.02 });
  const client = await enter(name('train'), { host: host({ openSocket: simulator.wrap(plain.openSocket) }) });
  await walk(client, 4, 4, 2);
  assert.ok(client.stats().pendingInputs > 2, 'inputs are on their way');
  await settled(client);
  assert.ok(distance(client.prediction.position, { x: 8, y: 0, z: 8 }) < 0.1, JSON.stringify(client.prediction.position));
  await until(() => client.clock.rtt > 150, 'the round trip');
  leave(client);
});

test('a cut: it comes back by itself as the same player, where it was', async () => {
  const plain = host();
  const simulator = new sdk.NetworkSimulator(plain);
  const client = await enter(name('cut'), {
    host: host({ openSocket: simulator.wrap(plain.openSocket) }), backoff: { firstMs: 50, mostMs: 200, jitter: 0.25 },
  });
  const id = client.playerId;
  await walk(client, 6, 0, 1);
  await settled(client);
  simulator.drop();
  assert.equal(client.state, 'reconnecting');
  await until(() => client.state === 'inWorld', 'it is back');
  assert.equal(client.playerId, id);
  assert.ok(distance(client.prediction.position, { x: 6, y: 0, z: 0 }) < 0.1, JSON.stringify(client.prediction.position));
  assert.equal(client.stats().reconnects, 1);
  client.problems.length = 0;
  leave(client);
});

test('a server that goes away and comes back', async () => {
  const first = await startServer(settings);
  const client = new sdk.TidegateClient({
    endpoints: [first.url], token: () => tokenFor('restart'), host: host(), backoff: { firstMs: 50, mostMs: 200, jitter: 0.25 },
  });
  client.connect();
  await until(() => client.state === 'inWorld', 'in the world');
  const { port } = first;
  await first.stop();
  await until(() => client.state === 'reconnecting' || client.state === 'connecting', 'the loss');
  const second = await startServer({ ...settings, listen: { websocket: `127.0.0.1:${port}` } });
  await until(() => client.state === 'inWorld', 'it is back');
  assert.equal(client.playerId, 'restart');
  await until(() => client.world.entities.size === 1, 'itself in view');  // cells begin at an anchor
  client.disconnect();
  await second.stop();
});

test('a token that is refused is asked for again', async () => {
  let asked = 0;
  const client = new sdk.TidegateClient({
    endpoints: [server.url], host: host(), backoff: { firstMs: 20, mostMs: 40, jitter: 0 },
    token: () => { asked += 1; return asked < 3 ? 'nonsense' : tokenFor('third-time'); },
  });
  client.connect();
  await until(() => client.state === 'inWorld', 'in the world');
  assert.equal(asked, 3);
  client.disconnect();
});
