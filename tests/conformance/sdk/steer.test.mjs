// SPDX-License-Identifier: Apache-2.0
// Movement by input against a real server: the server moves the player by the SDK's samples, both come
// to the same place on a bad network too, and a server that takes no claims refuses them.
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import WebSocket from 'ws';
import * as sdk from '../../../tools/sdk-js/dist/index.js';
import { metres, startServer } from '../lib/server.mjs';
import { tokenFor } from '../lib/tokens.mjs';
import { sleep, until } from '../lib/wait.mjs';

let server;
before(async () => {
  server = await startServer({
    world: {
      tick_rate: 60, steer_speed: metres(6)[0], claims: false, bounds_min: metres(-40, -5, -40),
      bounds_max: metres(40, 5, 40),
    },
  });
});
after(() => server.stop());

const host = () => ({
  now: () => performance.now(),
  wallClock: () => Date.now(),
  setTimer: (run, ms) => setTimeout(run, ms),
  clearTimer: (timer) => clearTimeout(timer),
  random: () => Math.random(),
  openSocket: (url, protocols) => {
    const socket = new WebSocket(url, protocols, { perMessageDeflate: false });
    socket.addEventListener('error', () => {});
    return socket;
  },
});
async function enter(user, conditions) {
  const plain = host();
  const simulator = new sdk.NetworkSimulator(plain, conditions);
  const client = new sdk.TidegateClient({
    endpoints: [server.url], token: () => tokenFor(user),
    host: conditions ? { ...plain, openSocket: simulator.wrap(plain.openSocket) } : plain,
  });
  client.errors = [];
  client.connection.on('serverError', (error) => client.errors.push(error.code));
  client.connect();
  await until(() => client.state === 'inWorld' && client.prediction.position, `${user} in the world`);
  return client;
}
const distance = (a, b) => Math.hypot(a.x - b.x, a.y - b.y, a.z - b.z);

async function roam(client, seconds) {
  const begin = performance.now();
  let last = begin;
  let worst = 0;
  for (let now = begin; now - begin < seconds * 1000; now = performance.now()) {
    const angle = Math.floor((now - begin) / 400) * 0.9;
    client.steer({ x: Math.cos(angle), y: 0, z: Math.sin(angle) }, (now - last) / 1000, angle);
    last = now;
    worst = Math.max(worst, client.stats().predictionErrorM);
    await sleep(12);
  }
  await until(() => {
    client.steer({ x: 0, y: 0, z: 0 }, 1 / 60);
    return client.stats().pendingInputs === 0;
  }, 'all samples applied');
  return worst;
}

for (const [what, conditions] of [
  ['a good network', undefined],
  ['100 ms, 20 ms of jitter, 2 % of stalls', { latencyMs: 50, jitterMs: 20, loss: 0.02 }],
]) {
  test(`the server comes to where the client predicted: ${what}`, async () => {
    const client = await enter(`steer-${conditions ? 'bad' : 'good'}`, conditions);
    const from = { ...client.prediction.position };
    const worst = await roam(client, 3);
    assert.ok(worst < 1e-4, `the rule is the same to the step; MOVE_ACK has floats: ${worst}`);
    assert.equal(client.stats().corrections, 0);
    assert.ok(distance(from, client.prediction.position) > 0.5, 'it moved');
    await until(() => client.self && distance(client.self, client.prediction.position) < 0.021, 'shown to all where predicted');
    assert.deepEqual(client.errors, []);
    client.disconnect();
  });
}

test('the bounds of the world hold, and the client is told', async () => {
  const client = await enter('steer-bounds');
  let last = performance.now();
  await until(() => {
    const now = performance.now();
    client.steer({ x: 1, y: 0, z: 0 }, (now - last) / 1000);
    last = now;
    return client.prediction.confirmed.x > 39.9;
  }, 'the edge reached');
  await until(() => {
    client.steer({ x: 0, y: 0, z: 0 }, 1 / 60);
    return client.stats().pendingInputs === 0;
  }, 'all samples applied');
  assert.ok(client.prediction.position.x <= 40.01, `${client.prediction.position.x}`);
  client.disconnect();
});

test('a claim is refused where players move by input only', async () => {
  const client = await enter('steer-claim');
  client.move({ velocity: { x: 1, y: 0, z: 0 }, dt: 0.1 });
  await until(() => client.errors.length > 0, 'an answer');
  assert.deepEqual(client.errors, [4005]);
  client.disconnect();
});

test('samples that are none are ERROR 4003', async () => {
  const client = await enter('steer-malformed');
  client.connection.send(sdk.MessageType.PLAYER_STEER,
    sdk.PlayerSteer.encode({ clientTick: 1, samples: new Uint8Array([0, 1, 2, 3, 4, 0]) }));
  await until(() => client.errors.length > 0, 'an answer');
  assert.deepEqual(client.errors, [4003]);
  client.disconnect();
});
