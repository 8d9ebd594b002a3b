// SPDX-License-Identifier: Apache-2.0
// docs/sdk-spec.md as numbers: vectors.json holds what the SDK in C++ does (tests/unit/sdk), and the
// SDK in TypeScript must do the same, to the bit where no function of the mathematics library is in it.
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';
import * as sdk from '../../../tools/sdk-js/dist/index.js';
import { MessageType, VirtualHost } from '../lib/virtual.mjs';
import { TRANSITIONS } from '../../../tools/sdk-js/dist/connection.js';

const vectors = JSON.parse(readFileSync(new URL('vectors.json', import.meta.url), 'utf8'));
const nan = (v) => (Number.isNaN(v) ? null : v);
const at = (x, y, z) => ({ x, y, z });
const near = (a, b, what) => a.forEach((v, i) => assert.ok(Math.abs(v - b[i]) < 1e-9, `${what}: ${a} is not ${b}`));

test('backoff', () => {
  let random = 0;
  const backoff = new sdk.Backoff(() => random);
  vectors.backoff.forEach(([chance, advised, wait], i) => {
    if (chance === null) {
      backoff.reset();
      return;
    }
    if (advised !== null) backoff.advise(advised);
    random = chance;
    assert.equal(backoff.next(), wait, `row ${i}`);
  });
});

test('clock', () => {
  const clock = new sdk.ClockSync();
  vectors.clock.forEach(([asked, time, tick, answered, ...expected], i) => {
    clock.answer(clock.request(asked), time, tick, answered);
    assert.deepEqual([clock.serverTime(answered), clock.serverTick(answered), clock.rtt, clock.jitter], expected, `row ${i}`);
  });
});

test('playout delay of a recorded trace of arrivals', () => {
  const clock = new sdk.PlayoutClock();
  clock.tickMs = 1000 / 60;
  vectors.playout.forEach(([what, ...row], i) => {
    if (what === 0) clock.onTick(row[0], row[1]);
    else assert.deepEqual([nan(clock.shownTick(row[0])), clock.targetMs, clock.starved], row.slice(1), `row ${i}`);
  });
});

test('interpolation of one entity', () => {
  let track = new sdk.Track();
  const pose = at(0, 0, 0);
  vectors.track.forEach(([what, ...row], i) => {
    if (what === 2) track = new sdk.Track();
    if (what === 2) return;
    if (what === 0) {
      track.push(...row);
      return;
    }
    const [shown, gap, newest, ...expected] = row;
    const { x, y, z, yaw } = track.sample(shown, pose, { gap, newest: newest ?? Infinity, aheadMost: 15, settle: 6 });
    assert.deepEqual([x, y, z, yaw, track.ahead], expected, `row ${i}`);
  });
});

test('the simulator of bad networks', () => {
  let now = 0;
  let randoms = [];
  const lanes = new Map();
  vectors.simulator.forEach(([[latencyMs, jitterMs, loss, bandwidth], sent, bytes, chances, arrival], i) => {
    const conditions = { latencyMs, jitterMs, loss, bandwidth };
    const key = JSON.stringify(conditions);
    if (!lanes.has(key)) lanes.set(key, new sdk.Lane({ now: () => now, random: () => randoms.shift() }, conditions));
    now = sent;
    randoms = [...chances];
    assert.equal(lanes.get(key).arrival(bytes), arrival, `row ${i}`);
  });
});

test('steering', () => {
  const steering = new sdk.Steering();
  steering.speed = 1067;
  steering.stepTime = 1 / 60;
  const prediction = new sdk.Prediction({ step: (from, input) => steering.step(from, input) });
  prediction.reset(at(3, 0, -4));
  vectors.steering.forEach(([[x, z, yaw, flags, dt], count, first, place, ahead, bytes], i) => {
    const sample = sdk.steerSample(at(x, 0, z), yaw, flags);
    const made = steering.advance(sample, dt, prediction);
    assert.deepEqual([made.count, made.firstTick], [count, first], `row ${i}`);
    assert.deepEqual([prediction.position.x, prediction.position.z], place, `row ${i}`);
    assert.deepEqual([steering.ahead().x, steering.ahead().z], ahead, `row ${i}`);
    assert.deepEqual(count > 0 ? [...sdk.encodeSteerRun(sample, count)] : [], bytes, `row ${i}`);
  });
});

test('samples that should wait at the server', () => {
  const lead = new sdk.SteerLead();
  lead.setServer(21, 1000 / 60);
  vectors.lead.forEach(([[what, ...a], wanted, more, told], i) => {
    let made = 0;
    if (what === 0) lead.onNetwork(...a);
    else if (what === 1) lead.onBuffered(...a);
    else if (what === 2) made = lead.more(...a);
    else if (what === 3) lead.endStretch();
    else if (what === 5) {
      if (a[3] === 1) lead.setServer(21, 1000 / 60);
      lead.onRoundTrip(...a.slice(0, 3));
    }
    assert.deepEqual([lead.wantedTicks, made, what > 2 ? lead.tell() : 0], [wanted, more, told], `row ${i}`);
  });
});

test('prediction and replay', () => {
  const prediction = new sdk.Prediction();
  let now = 1000;
  vectors.prediction.forEach(([[what, ...a], position, pending, corrections, shown], i) => {
    if (what === 0) prediction.reset(at(...a));
    else if (what === 1) {
      prediction.apply({ velocity: at(a[0], a[1], a[2]), yaw: 0, flags: 0, dt: a[3] });
      now += 16;
    } else if (what === 2) {
      now = a[5];
      prediction.onAck({ clientTick: a[0], serverTick: 1, position: at(a[1], a[2], a[3]), velocity: at(0, 0, 0),
        corrected: a[4] === 1, reason: a[4] === 1 ? 4010 : 0 }, now);
    } else {
      now = a[3];
      prediction.onServerPlace(at(a[0], a[1], a[2]), now);
    }
    const { x, y, z } = prediction.position;
    assert.deepEqual([x, y, z], position, `row ${i}`);
    const stats = prediction.stats(now);
    assert.deepEqual([stats.pending, stats.corrections], [pending, corrections], `row ${i}`);
    const s = prediction.shown(now + 20);
    near([s.x, s.y, s.z], shown, `row ${i}`);
  });
});

test('sequences of acknowledged delivery', () => {
  const delivery = new sdk.Delivery();
  vectors.delivery.forEach(([what, n, sent], i) => {
    let out = [];
    if (what === 'keep') out = [delivery.keep(1000, new Uint8Array(1)).sequence];
    else if (what === 'ack') delivery.onAck(n);
    else out = (what === 'resume' ? delivery.resume(n) : delivery.restart()).map((m) => m.sequence);
    assert.deepEqual(out, sent, `row ${i}: ${what} ${n}`);
  });
});

test('states and transitions', () => {
  const pairs = Object.entries(TRANSITIONS).flatMap(([from, all]) => all.map((to) => `${from} ${to}`));
  assert.deepEqual(pairs.sort(), vectors.transitions.map((pair) => pair.join(' ')).sort());
});

test('what follows the end of a connection, by its codes', () => {
  vectors.codes.forEach(([code, farewell, state, next], i) => {
    const host = new VirtualHost();
    const connection = new sdk.Connection(host, { endpoints: ['ws://one/ws', 'ws://two/ws'] });
    let loss;
    connection.on('lost', (value) => { loss = value; });
    connection.connect();
    host.socket.open();
    host.socket.deliver([MessageType.CONNECTION_ESTABLISHED, sdk.ConnectionEstablished.encode({})],
      [MessageType.AUTHENTICATION_RESULT, sdk.AuthenticationResult.encode({ success: true, userId: 'me' })]);
    connection.enterWorld();
    if (farewell) {
      const [bye, retryAfterMs, reconnectUrl] = farewell;
      host.socket.deliver([MessageType.DISCONNECT, sdk.Disconnect.encode({ code: bye, retryAfterMs, reconnectUrl })]);
    }
    host.socket.end(code);
    const what = `row ${i}: ${code} after ${JSON.stringify(farewell)}`;
    assert.equal(connection.state, state, what);
    if (loss.retryMs !== undefined) {
      assert.ok(loss.retryMs >= (farewell?.[1] ?? 0), what);
      host.pass(loss.retryMs);
    }
    assert.equal(host.sockets.length > 1 ? host.socket.url.hostname : null, next, what);
  });
});

test('WebSocket or long polling', () => {
  const choice = new sdk.TransportChoice('auto');
  vectors.transport.forEach((row, i) => {
    if (row === null) {
      choice.forget();
      return;
    }
    const [now, by, how] = row;
    assert.equal(choice.next(now), by, `row ${i}`);
    choice.began(by, how);
  });
  for (const by of ['websocket', 'polling']) assert.equal(new sdk.TransportChoice(by).next(0), by);
});
