// SPDX-License-Identifier: Apache-2.0
// The SDK's clock, interpolation, prediction and world picture, as arithmetic.
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import * as sdk from '../../../tools/sdk-js/dist/index.js';

const at = (x, y = 0, z = 0) => ({ x, y, z });
const near = (a, b, tolerance = 1e-6) => assert.ok(Math.abs(a - b) <= tolerance, `${a} is not ${b}`);
const step = (x, dt = 0.1) => ({ velocity: at(x), yaw: 0, flags: 0, dt });
const ack = (clientTick, x, changes = {}) =>
  ({ clientTick, serverTick: 1, position: at(x), velocity: at(0), corrected: false, reason: 0, ...changes });

describe('prediction', () => {
  test('moves at once, numbers inputs, forgets what is acknowledged', () => {
    const p = new sdk.Prediction();
    p.reset(at(5));
    for (let i = 1; i <= 4; i += 1) assert.equal(p.apply(step(10)).clientTick, i);
    near(p.position.x, 9);
    p.onAck(ack(3, 8), 0);
    assert.equal(p.stats(0).pending, 1);
    near(p.position.x, 9);
    assert.equal(p.stats(0).corrections, 0);
    near(p.confirmed.x, 8);
  });
  test('of an entity it keeps the place and nothing else', () => {
    const prediction = new sdk.Prediction();
    prediction.reset({ ...at(1, 2, 3), id: 'somebody', tick: 9 });
    assert.deepEqual([prediction.position, prediction.confirmed], [at(1, 2, 3), at(1, 2, 3)]);
    prediction.onServerPlace({ ...at(4), id: 'somebody' }, 0);
    assert.deepEqual([prediction.position, prediction.confirmed], [at(4), at(4)]);
  });
  test('the wire\'s rounding is no correction', () => {
    const p = new sdk.Prediction();
    p.reset(at(0));
    p.apply(step(1.234));
    p.onAck(ack(1, 0.12), 0);
    assert.equal(p.stats(0).corrections, 0);
    near(p.position.x, 0.1234);
  });
  test('a refused move: back to what holds, later inputs again, walked off smoothly', () => {
    const p = new sdk.Prediction({ smoothMs: 100 });
    p.reset(at(0));
    for (let i = 0; i < 5; i += 1) p.apply(step(10));
    p.onAck(ack(2, 0, { corrected: true, reason: 4010 }), 1000);
    near(p.position.x, 3);  // three inputs behind the refused one
    near(p.shown(1000).x, 5);  // nothing jumps
    const path = [0, 50, 100, 200, 400, 2000].map((ms) => p.shown(1000 + ms).x);
    for (let i = 1; i < path.length; i += 1) assert.ok(path[i] < path[i - 1]);
    near(path.at(-1), 3, 1e-6);
    const stats = p.stats(1000);
    assert.deepEqual([stats.refused, stats.corrections, stats.lastReason], [1, 1, 4010]);
    near(stats.lastError, 2);
  });
  test('a far correction is shown at once', () => {
    const p = new sdk.Prediction();
    p.reset(at(0));
    p.apply(step(1));
    p.onAck(ack(1, 500), 0);
    near(p.shown(0).x, 500);
  });
  test('client ticks wrap', () => {
    const p = new sdk.Prediction();
    p.reset(at(0));
    p.tick = 0xfffffffe;
    assert.equal(p.apply(step(1)).clientTick, 0xffffffff);
    assert.equal(p.apply(step(1)).clientTick, 0);
    p.onAck(ack(0xffffffff, 0.1), 0);
    assert.equal(p.stats(0).pending, 1);
  });
  test('a place that the server sets is taken, unless inputs are on their way', () => {
    const p = new sdk.Prediction();
    p.reset(at(0));
    p.apply(step(1));
    p.onServerPlace(at(3), 0);
    near(p.position.x, 0.1);
    p.onAck(ack(1, 0.1), 0);
    p.onServerPlace(at(3), 0);
    near(p.position.x, 3);
    near(p.shown(0).x, 0.1);
  });
  test('an own step function, such as one with walls', () => {
    const p = new sdk.Prediction({ step: (from, input) => ({ ...sdk.walk(from, input), x: Math.min(1, sdk.walk(from, input).x) }) });
    p.reset(at(0));
    for (let i = 0; i < 5; i += 1) p.apply(step(10));
    near(p.position.x, 1);
  });
});

describe('clock', () => {
  test('the sample with the shortest round trip counts', () => {
    const clock = new sdk.ClockSync();
    assert.ok(Number.isNaN(clock.serverTime(0)));
    // True offset 5000; the way back is slower by 60 ms in the first sample.
    let sent = clock.request(100);
    clock.answer(sent, 5120, 600, 200);
    sent = clock.request(300);
    clock.answer(sent, 5310, 612, 320);
    near(clock.serverTime(1000), 6000);
    near(clock.serverTick(310), 612);
    near(clock.serverTick(1310), 672);
    near(clock.errorMs, 10);
    sent = clock.request(400);
    clock.answer(sent, 9999, 1, 900);
    near(clock.serverTime(1000), 6000);
  });
  test('answers to nothing, or twice, are ignored', () => {
    const clock = new sdk.ClockSync();
    clock.answer(77, 1, 1, 100);
    assert.equal(clock.synced, false);
    const sent = clock.request(10);
    clock.answer(sent, 20, 1, 12);
    clock.answer(sent, 9000, 1, 14);
    near(clock.serverTime(12), 21);
  });
});

describe('interpolation', () => {
  const pose = { x: 0, y: 0, z: 0, yaw: 0 };
  test('between states, the short way round for yaw, standing outside them', () => {
    const track = new sdk.Track();
    track.push(10, 0, 0, 0, 3);
    track.push(14, 4, 2, -4, -3);
    assert.deepEqual({ ...track.sample(9, pose) }, { x: 0, y: 0, z: 0, yaw: 3 });
    const half = track.sample(12, pose);
    assert.deepEqual([half.x, half.y, half.z], [2, 1, -2]);
    near(Math.abs(half.yaw), Math.PI, 1e-9);
    assert.equal(track.sample(99, pose).x, 4);
  });
  test('who stood still begins to move when it did, not when last heard of', () => {
    const track = new sdk.Track();
    for (let t = 0; t <= 30; t += 3) track.push(t, t, 0, 0, 0);
    track.push(300, 31, 0, 0, 0);
    assert.equal(track.sample(200, pose).x, 30);
    assert.ok(track.sample(299, pose).x > 30);
  });
  for (const every of [2, 8]) {
    test(`one that is told of each ${every} ticks moves as steadily as the others`, () => {
      const clock = new sdk.PlayoutClock();
      const track = new sdk.Track();
      const steps = [];
      let before = NaN;
      for (let tick = 1; tick < 1200; tick += 1) {
        const now = 1000 + tick * clock.tickMs;
        clock.onTick(tick, now);
        if (tick % every === 0) track.push(tick, tick, 0, 0, 0);
        const { x } = track.sample(clock.shownTick(now), pose, clock.horizon);
        if (tick > 300) steps.push(x - before);
        before = x;
      }
      assert.ok(Math.min(...steps) > 0.9 && Math.max(...steps) < 1.1, `steps from ${Math.min(...steps)} to ${Math.max(...steps)}`);
    });
  }
  test('it never runs back when it is suddenly told of more rarely, or more often', () => {
    const track = new sdk.Track();
    let before = -Infinity;
    for (let tick = 1; tick < 600; tick += 1) {
      const every = tick < 200 || tick > 400 ? 1 : 8;
      if (tick % every === 0) track.push(tick, tick, 0, 0, 0);
      const { x } = track.sample(tick - 2, pose, { gap: 1, newest: tick, aheadMost: 15, settle: 6 });
      assert.ok(x >= before, `${before} then ${x}`);
      before = x;
    }
    near(before, 597, 0.1);  // and it is as early as the others again
  });
  const horizon = (newest) => ({ gap: 1, newest, aheadMost: 15, settle: 6 });
  const walker = () => {
    const track = new sdk.Track();
    for (let t = 0; t <= 100; t += 1) track.push(t, t / 10, 0, 0, 0);
    for (let shown = 90; shown <= 100; shown += 0.5) track.sample(shown, pose, horizon(100));
    return track;
  };
  test('where state is missing it goes on for a while; who is known to stand stands', () => {
    const track = walker();
    near(track.sample(105, pose, horizon(100)).x, 10.5, 1e-3);
    near(track.sample(180, pose, horizon(100)).x, 11.5, 1e-3);
    near(walker().sample(105, pose, horizon(101)).x, 10, 1e-3);
  });
  test('what was shown wrongly is walked off without a leap', () => {
    const track = walker();
    let before = track.sample(106, pose, horizon(100)).x;
    for (let t = 101; t <= 160; t += 1) track.push(t, 20 - t / 10, 0, 0, 0);
    for (let shown = 106.5; shown <= 150; shown += 0.5) {
      const { x } = track.sample(shown, pose, horizon(160));
      assert.ok(Math.abs(x - before) < 0.25, `${before} then ${x}`);
      before = x;
    }
    near(before, 5, 0.01);
  });
  test('at 100 ms round trip, 20 ms jitter and 2 % loss nobody freezes, at most 150 ms late', () => {
    let now = 0;
    let seed = 1;
    const random = () => { seed = (seed * 48271) % 2147483647; return seed / 2147483647; };
    const lane = new sdk.Lane({ now: () => now, random }, { latencyMs: 40, jitterMs: 20, loss: 0.02, bandwidth: 0 });
    const clock = new sdk.PlayoutClock();
    const track = new sdk.Track();
    const flying = [];
    const delays = [];
    let [tick, pictures, frozen, before] = [1, 0, 0, 0];
    for (let at = 100; pictures < 36_000; at += clock.tickMs) {
      for (; tick * clock.tickMs <= at; tick += 1) {
        now = tick * clock.tickMs;
        flying.push([lane.arrival(100), tick]);
      }
      for (; flying.length > 0 && flying[0][0] <= at; flying.shift()) {
        clock.onTick(flying[0][1], at);
        track.push(flying[0][1], flying[0][1] / 12, 0, 0, 0);
      }
      const shown = clock.shownTick(at);
      if (Number.isNaN(shown)) continue;
      const { x } = track.sample(shown, pose, clock.horizon);
      if (at > 5000) {
        pictures += 1;
        frozen += Math.abs(x - before) < 0.001 ? 1 : 0;
        delays.push(clock.delayMs);
      }
      before = x;
    }
    delays.sort((a, b) => a - b);
    assert.ok(frozen < pictures / 1000, `${frozen} of ${pictures}`);
    assert.ok(delays[Math.floor(delays.length * 0.99)] < 152, `${delays[Math.floor(delays.length * 0.99)]} ms`);
  });
  test('old states and more than it keeps', () => {
    const track = new sdk.Track();
    for (let t = 0; t < 100; t += 1) track.push(t, t, 0, 0, 0);
    track.push(50, -1, 0, 0, 0);
    track.push(99, 98.5, 0, 0, 0);
    assert.equal(track.sample(98.5, pose).x, 98.25);
    assert.equal(track.sample(0, pose).x, 60);  // the oldest kept
  });
  // Feeds 60 states a second whose lateness is `late(i)`, looks 60 times a second.
  function play(late, seconds, clock = new sdk.PlayoutClock()) {
    const arrivals = [];
    for (let i = 1; i <= seconds * 60; i += 1) arrivals.push([i, 1000 + i * clock.tickMs + late(i)]);
    for (let i = 1; i < arrivals.length; i += 1) arrivals[i][1] = Math.max(arrivals[i][1], arrivals[i - 1][1]);
    let next = 0;
    let before = -Infinity;
    const from = clock.starved;
    for (let now = 1100; now < 1000 + seconds * 1000; now += 16) {
      while (next < arrivals.length && arrivals[next][1] <= now) clock.onTick(...arrivals[next++]);
      const shown = clock.shownTick(now);
      assert.ok(!(shown < before), 'time never runs back');
      before = shown;
    }
    return { clock, starved: clock.starved - from };
  }
  test('on an even network the delay is small', () => {
    const { clock, starved } = play(() => 0, 20);
    assert.ok(clock.delayMs < 40, `${clock.delayMs}`);
    assert.equal(starved, 0);
  });
  test('on an uneven one it grows to cover nearly all of it', () => {
    let seed = 7;
    const { clock, starved } = play(() => { seed = (seed * 48271) % 2147483647; return (seed % 100) + 1; }, 30);
    assert.ok(clock.delayMs > 90 && clock.delayMs < 180, `${clock.delayMs}`);
    assert.ok(starved < 60, `${starved} pictures lacked state`);
  });
  test('and shrinks again when the network is even again', () => {
    const { clock } = play((i) => (i < 600 ? (i * 37) % 150 : 0), 40);
    assert.ok(clock.delayMs < 60, `${clock.delayMs}`);
  });
});

describe('world picture', () => {
  const state = (playerId, x, tick = 1) => ({ playerId, position: at(x), tick });
  function make() {
    const world = new sdk.WorldPicture();
    const log = [];
    for (const event of ['added', 'changed', 'removed']) world.on(event, (e) => log.push(`${event} ${e.id} ${e.x}`));
    return { world, log, take: () => { world.endMessage(); return log.splice(0); } };
  }
  test('WORLD_STATE, then spawns, updates and despawns', () => {
    const { world, take } = make();
    world.applyWorldState(sdk.WorldStateSnapshot.encode({ tick: 7, zoneId: 'main', players: [state('a', 1)], npcs: [state('n', 2)] }));
    assert.deepEqual(take(), ['added a 1', 'added n 2']);
    assert.equal(world.entities.get('n').kind, 1);
    world.applyZoneUpdate(sdk.ZoneUpdate.encode({
      spawns: [{ state: state('b', 3), kind: 2 }], despawns: ['n'],
      updates: [{ delta: { playerId: 'a', changedFields: 1, position: at(9), deltaTick: 8 } }, { delta: { playerId: '?', changedFields: 1 } }],
    }));
    assert.deepEqual(take(), ['removed n 2', 'added b 3', 'changed a 9']);
    assert.equal(world.counters.strays, 1);
    assert.equal(world.tick, 8);
    assert.equal(world.entities.get('a').tick, 8);
  });
  test('a WORLD_STATE within a session replaces what there is', () => {
    const { world, take } = make();
    world.applyWorldState(sdk.WorldStateSnapshot.encode({ players: [state('stays', 1), state('goes', 2)] }));
    take();
    world.applyWorldState(sdk.WorldStateSnapshot.encode({ players: [state('stays', 3), state('comes', 4)] }));
    assert.deepEqual(take(), ['removed goes 2', 'added comes 4', 'changed stays 3']);
    assert.deepEqual([...world.entities.keys()], ['stays', 'comes']);
  });
  test('clear tells that everybody went', () => {
    const { world, log, take } = make();
    world.applyWorldState(sdk.WorldStateSnapshot.encode({ players: [state('a', 1)] }));
    take();
    world.clear();
    assert.deepEqual(log, ['removed a 1']);
    assert.equal(world.entities.size, 0);
  });
  test('yaw and quaternions', () => {
    for (let yaw = -3.1; yaw < 3.1; yaw += 0.1) near(sdk.yawOf(sdk.quaternionOf(yaw)), yaw, 1e-12);
    near(sdk.yawOf({ x: 0, y: -Math.SQRT1_2, z: 0, w: -Math.SQRT1_2 }), Math.PI / 2, 1e-12);
  });
});
