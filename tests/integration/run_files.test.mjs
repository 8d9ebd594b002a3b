// SPDX-License-Identifier: Apache-2.0
// The runner of these files itself: a file that never ends and a process left behind are killed,
// count as they should, and hold up nobody.
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';

const runner = fileURLToPath(new URL('../conformance/lib/run_files.mjs', import.meta.url));
const head = "import { test } from 'node:test';\nimport { spawn } from 'node:child_process';\n";

function run(files, seconds) {
  const folder = mkdtempSync(join(tmpdir(), 'tidegate-runner-'));
  try {
    const paths = Object.entries(files).map(([name, text]) => {
      const path = join(folder, `${name}.test.mjs`);
      writeFileSync(path, head + text);
      return path;
    });
    const results = join(folder, 'results.json');
    const { status, stdout } = spawnSync(process.execPath, [runner, ...paths], {
      encoding: 'utf8', env: { ...process.env, TIDEGATE_RESULTS: results, TIDEGATE_FILE_SECONDS: String(seconds) },
    });
    return { status, stdout, counts: JSON.parse(readFileSync(results, 'utf8')) };
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

const alive = (pid) => {
  try {
    return !/\) Z/.test(readFileSync(`/proc/${pid}/stat`, 'utf8'));
  } catch {
    return false;
  }
};

test('a file that does not end is killed with its processes and counts as a failure', () => {
  const { status, stdout, counts } = run({
    endless: "const child = spawn('sleep', ['1000']);\nconsole.log(`child ${child.pid}`);\ntest('waits', () => {});\n",
    good: "test('one', () => {});\ntest('two', () => {});\n",
  }, 10);
  assert.equal(status, 1);
  assert.deepEqual([counts.passed, counts.failed, counts.failures], [2, 1, ['endless.test.mjs']]);
  assert.match(stdout, /endless\.test\.mjs: has not ended after 10 s/);
  assert.ok(!alive(/child (\d+)/.exec(stdout)[1]));
});

test('a process left behind is killed and named', () => {
  const { status, stdout, counts } = run({
    leaves: "const child = spawn('sleep', ['1000'], { stdio: 'ignore' });\nchild.unref();\nconsole.log(`child ${child.pid}`);\ntest('one', () => {});\n",
  }, 120);
  assert.equal(status, 0);
  assert.deepEqual([counts.passed, counts.failed], [1, 0]);
  assert.match(stdout, /left processes behind.*\n.*sleep 1000/);
  assert.ok(!alive(/child (\d+)/.exec(stdout)[1]));
});

test('a file that ends before its tests have counts as a failure', () => {
  const { counts } = run({ early: "test('one', () => process.exit(0));\n" }, 120);
  assert.deepEqual([counts.passed, counts.failed, counts.failures], [0, 1, ['early.test.mjs']]);
});
