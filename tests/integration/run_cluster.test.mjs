// SPDX-License-Identifier: Apache-2.0
// `tools/run --cluster` as it is behind the build: gateways find each other, bots walk, all ends.
import assert from 'node:assert/strict';
import { join } from 'node:path';
import { test } from 'node:test';
import { Process, programs, root } from '../conformance/lib/server.mjs';
import { patience, within } from '../conformance/lib/wait.mjs';

test('three gateways with bots on each, and nothing left behind', async () => {
  const run = new Process('python3',
    [join(root, 'tools/run_cluster.py'), '--bots', '9', '--duration', '2s', '--member-timeout', '10s'],
    { env: { ...process.env, TIDEGATE_BIN: programs } });
  const end = await within(run.exited, 'the end of the run', patience * 12);
  assert.equal(end.code, 0, run.output);
  assert.match(run.output, /3 gateways are one cluster; 9 bots/);
  assert.equal(run.output.match(/: ok$/gm)?.length, 3, run.output);
  for (const [, port] of run.output.matchAll(/ws:\/\/127\.0\.0\.1:(\d+)/g)) {
    await assert.rejects(fetch(`http://127.0.0.1:${port}/`), 'the gateway has ended');
  }
});
