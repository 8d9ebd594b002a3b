// SPDX-License-Identifier: Apache-2.0
// The short form of attack.mjs: a few hundred hostile connections of every kind beside honest bots.
// Each kind ends with its reason, the bots lose nothing, buffers stay inside their budget and are
// given back. No time is judged here.
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { attackerBuilt, complaints, config, expected, limits, reasons, runLoad, startAttack } from '../conformance/lib/attack.mjs';
import { metrics, startServer, temporaryFolder } from '../conformance/lib/server.mjs';
import { sleep, until } from '../conformance/lib/wait.mjs';

const folder = temporaryFolder();
const budget = 48 * 1024 * 1024;
let server;
before(async () => {
  assert.ok(attackerBuilt(), 'tidegate-attack is not built');
  server = await startServer({
    ...config,
    // A busy machine lets players wait as well, and slows down a flood.
    limits: {
      ...limits, memory: '48MiB', handshake_timeout: '15s', message_timeout: '15s', connects_per_ip: 1, connects_per_ip_burst: 4,
      violations_per_minute: 20,
    },
    heartbeat: { interval: '2s', timeout: '15s' }, world: { npcs: 0 },
  }, { folder });
});
after(() => server.stop());

test('every kind of attack ends with its reason, and the players notice nothing', async () => {
  const attack = startAttack(server, { connections: 256, seconds: 150, untilEnded: 12, nice: 0, kinds: Object.keys(expected) });
  let watching = true;
  let charged = 0;
  const watch = (async () => {
    while (watching) {
      charged = Math.max(charged, (await metrics(server)).sum('tidegate_memory_charged_bytes'));
      await sleep(500);
    }
  })();
  let load, report;
  try {
    load = await runLoad(server, folder, { bots: 40, seconds: 8 });
    report = await attack.report();
  } finally {
    watching = false;
    await watch;
  }
  assert.deepEqual(complaints(report), []);
  assert.equal(Object.keys(report.kinds).length, Object.keys(expected).length);
  assert.equal(load.lost, 0);
  assert.equal(load.refused, 0);
  assert.equal(load.checksum_mismatches, 0);
  assert.equal(load.chain_gaps, 0);
  assert.equal(load.in_world, 40);
  assert.ok(charged <= budget, `${charged} bytes were charged`);
  const counted = await reasons(server);
  for (const reason of ['handshake_timeout', 'message_timeout', 'heartbeat_timeout', 'flood', 'too_big', 'protocol_error']) {
    assert.ok(counted[`connections_closed:${reason}`] > 0, `${reason}: ${JSON.stringify(counted)}`);
  }
  for (const code of ['invalid_token', 'bad_signature']) {
    if (counted[`upgrades_refused:${code}`] > 0) counted.token = true;
  }
  assert.ok(counted.token, JSON.stringify(counted));
  assert.ok(counted['admission_refused:connects_per_ip'] > 0, JSON.stringify(counted));
});

test('nothing is kept of them', async () => {
  await until(async () => (await metrics(server)).sum('tidegate_connections_open') === 0, 'the end of all connections', 90_000);
  await until(async () => (await metrics(server)).sum('tidegate_input_memory_used_bytes') === 0, 'no buffer in use', 30_000);
});
