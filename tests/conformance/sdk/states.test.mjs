// SPDX-License-Identifier: Apache-2.0
// Keyed state in the browser SDK: what updates and corrections do to the copy, and a change asked of
// a real server, which has no such state.
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import WebSocket from 'ws';
import * as sdk from '../../../tools/sdk-js/dist/index.js';
import { startServer } from '../lib/server.mjs';
import { tokenFor } from '../lib/tokens.mjs';
import { until } from '../lib/wait.mjs';

const { ZONE, PLACE, SESSION } = sdk.StateScope;
const bytes = (text) => new TextEncoder().encode(text);
const textOf = (data) => new TextDecoder().decode(data);
// As it comes from the wire.
const update = (message) => sdk.StateUpdate.decode(sdk.StateUpdate.encode(message));

function watched() {
  const states = new sdk.KeyedStates();
  const told = [];
  states.on('changed', (s) => told.push(`+${s.key}=${textOf(s.value)}`));
  states.on('removed', (s) => told.push(`-${s.key}`));
  return { states, told, take: () => told.splice(0) };
}

describe('the copy of keyed state', () => {
  test('entries are set, replaced and removed by scope and key', () => {
    const { states, take } = watched();
    states.apply(update({ tick: 1, entries: [
      { key: 'a', scope: ZONE, value: bytes('1'), version: 256 },
      { key: 'a', scope: PLACE, value: bytes('2'), version: 300, position: { x: 1, y: 2, z: 3 } },
    ] }));
    assert.deepEqual(take(), ['+a=1', '+a=2']);
    assert.equal(textOf(states.get(ZONE, 'a').value), '1');
    assert.equal(states.get(PLACE, 'a').position.z, 3);
    states.apply(update({ entries: [{ key: 'a', scope: ZONE, value: bytes('3'), version: 257 }] }));
    states.apply(update({ entries: [{ key: 'a', scope: PLACE, removed: true }, { key: 'b', scope: ZONE, removed: true }] }));
    assert.deepEqual(take(), ['+a=3', '-a']);
    assert.equal(states.size, 1);
    assert.equal(states.get(ZONE, 'a').version, 257);
  });

  test('complete forgets what is not told again, of its scopes only', () => {
    const { states, take } = watched();
    states.apply(update({ entries: ['a', 'b'].map((key) => ({ key, scope: ZONE })) }));
    states.apply(update({ entries: [{ key: 'c', scope: SESSION }] }));
    take();
    states.apply(update({ complete: 3, entries: [{ key: 'b', scope: ZONE, value: bytes('x') }] }));
    assert.deepEqual(take(), ['-a', '-b', '+b=x']);
    states.apply(update({ complete: 3 }));
    assert.deepEqual(take(), ['-b']);
    assert.equal(states.size, 1);
  });

  test('a correction replaces the value and leaves the place', () => {
    const { states } = watched();
    states.apply(update({ entries: [{ key: 'a', scope: PLACE, value: bytes('mine'), position: { x: 5, y: 0, z: 0 } }] }));
    const result = sdk.StateResult.decode(sdk.StateResult.encode({
      request: 7, key: 'a', scope: PLACE, reason: sdk.StateReason.TAKEN, version: 9,
      current: { key: 'a', scope: PLACE, value: bytes('theirs'), owner: 'bob', version: 9 },
    }));
    states.correct(result.current);
    assert.equal(textOf(states.get(PLACE, 'a').value), 'theirs');
    assert.equal(states.get(PLACE, 'a').owner, 'bob');
    assert.equal(states.get(PLACE, 'a').position.x, 5);
  });
});

test('a change of a state that is not there is answered with its reason', async () => {
  const server = await startServer({});
  const client = new sdk.TidegateClient({
    endpoints: [server.url],
    token: () => tokenFor('sdk-states'),
    host: {
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
    },
  });
  try {
    const results = [];
    client.on('stateResult', (result) => results.push(result));
    client.connect();
    await until(() => client.state === 'inWorld');
    const set = client.setState(ZONE, 'door', bytes('open'));
    const claim = client.claimState(SESSION, 'door');
    await until(() => results.length === 2);
    assert.deepEqual(results.map((r) => r.request).sort(), [set, claim]);
    for (const r of results) {
      assert.equal(r.reason, sdk.StateReason.UNKNOWN);
      assert.equal(r.key, 'door');
      assert.equal(r.current, undefined);
    }
  } finally {
    client.disconnect();
    await server.stop();
  }
});
