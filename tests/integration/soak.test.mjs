// SPDX-License-Identifier: Apache-2.0
// The short form of soak.mjs: four waves of bots and churning clients; nothing is lost, left open or
// left charged. The hour is `node tests/integration/soak.mjs`.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { soak } from './soak.mjs';

test('waves of bots and of clients that come and go leave nothing behind', async () => {
  const { samples, problems, connections } = await soak({ minutes: 0, bots: 40, churners: 6, wave: 2, say() {} });
  // Memory under a sanitizer keeps what was freed for a while; the long form judges it.
  assert.deepEqual(problems.filter((p) => !p.startsWith('memory')), []);
  assert.ok(connections > 100, `${connections} connections`);
  for (const sample of samples) assert.ok(sample.charged <= samples[0].charged + (4 << 20), 'buffers stay charged');
});
