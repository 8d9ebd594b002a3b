// SPDX-License-Identifier: Apache-2.0
// The admin port: health, metrics, connections, its token.
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { after, test } from 'node:test';
import { Client } from './lib/client.mjs';
import { adminGet, metrics, startServer } from './lib/server.mjs';
import { Type } from './lib/proto.mjs';
import { until } from './lib/wait.mjs';

const server = await startServer();
after(() => server.stop());

test('/livez and /readyz are 200', async () => {
  for (const path of ['/livez', '/readyz']) assert.equal((await adminGet(server, path)).status, 200, path);
});

test('/api/v1/connections needs the token', async () => {
  for (const token of [null, '', 'wrong', 'conformance-admin-toke', 'conformance-admin-token2']) {
    assert.equal((await adminGet(server, '/api/v1/connections', { token })).status, 401, `token ${token}`);
  }
  assert.equal((await adminGet(server, '/api/v1/connections')).status, 200);
});

test('/api/v1/connections names who is connected', async () => {
  const client = await Client.enter(server, 'listed-user');
  const answer = await until(async () => {
    const found = await adminGet(server, '/api/v1/connections');
    return found.text.includes('listed-user') && found;
  }, 'the user in the list');
  assert.match(answer.type, /^application\/json/);
  JSON.parse(answer.text);
  await client.leave();
  await until(async () => !(await adminGet(server, '/api/v1/connections')).text.includes('listed-user'), 'the user gone');
});

test('/metrics is what promtool expects', async (t) => {
  const { status, type, text } = await adminGet(server, '/metrics');
  assert.equal(status, 200);
  assert.match(type, /^text\/plain/);
  const check = spawnSync('promtool', ['check', 'metrics'], { input: text });
  if (check.error?.code === 'ENOENT') return t.skip('promtool is not there');
  assert.equal(check.status, 0, `${check.stdout}${check.stderr}`);
});

test('counters follow what happens', async () => {
  const before = await metrics(server);
  const client = await Client.enter(server, 'counted');
  client.send(999, Buffer.alloc(0));
  await client.error(4004);
  const during = await until(async () => {
    const now = await metrics(server);
    return now.sum('tidegate_connections_open') === 1 && now.sum('tidegate_entities') >= 1 && now;
  }, 'one open connection');
  const moved = (name, label) => during.sum(name, label) - before.sum(name, label);
  assert.equal(moved('tidegate_connections_accepted_total'), 1);
  assert.equal(moved('tidegate_auth_accepted_total'), 1);
  assert.equal(moved('tidegate_errors_sent_total', '4004'), 1);
  assert.equal(moved('tidegate_violations_total'), 1);
  assert.ok(moved('tidegate_bytes_received_total') > 0);
  assert.ok(moved('tidegate_bytes_sent_total') > 0);
  assert.ok(moved('tidegate_ticks_total') > 0);
  await client.leave();
  await until(async () => (await metrics(server)).sum('tidegate_connections_open') === 0, 'no open connection');
});

test('an unknown path is 404, another method is refused', async () => {
  assert.equal((await adminGet(server, '/nothing')).status, 404);
  assert.equal((await adminGet(server, '/api/v1/nothing')).status, 404);
  assert.ok([404, 405].includes((await adminGet(server, '/metrics', { method: 'DELETE' })).status));
});

test('the admin port does not speak WebSocket and the other one serves no metrics', async () => {
  const answer = await fetch(`http://127.0.0.1:${server.port}/metrics`);
  assert.ok([400, 404, 426].includes(answer.status), `${answer.status}`);
});

test('ticks go on while nobody is there', async () => {
  const first = (await metrics(server)).sum('tidegate_ticks_total');
  await until(async () => (await metrics(server)).sum('tidegate_ticks_total') > first, 'another tick');
});

test('a client of each encoding counts as a player', async () => {
  const one = await Client.enter(server, 'p1');
  const two = await Client.connect(server, 'p2', { hello: { state_encoding: 1 } });
  await two.next(Type.CELL_FRAME);
  await until(async () => (await metrics(server)).sum('tidegate_players') === 2, 'two players');
  await one.leave();
  await two.leave();
});
