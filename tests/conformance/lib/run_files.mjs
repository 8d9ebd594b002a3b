// SPDX-License-Identifier: Apache-2.0
// node run_files.mjs FILE…: runs each test file as a process group of its own, so that neither a
// file that never ends nor a process that it left behind can hold up the rest. Environment:
//   TIDEGATE_RESULTS       where the counts go, as JSON
//   TIDEGATE_FILE_SECONDS  how long one file may take (600); then its group is killed and counts as
//                          one failure
//   TIDEGATE_FILES_AT_ONCE files side by side (2)
import { spawn, execFileSync } from 'node:child_process';
import { mkdtempSync, openSync, closeSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { basename, dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

const limitSeconds = Number(process.env.TIDEGATE_FILE_SECONDS ?? 600);
const atOnce = Number(process.env.TIDEGATE_FILES_AT_ONCE ?? 2);
const reporter = join(dirname(fileURLToPath(import.meta.url)), 'reporter.mjs');
const folder = mkdtempSync(join(tmpdir(), 'tidegate-real-'));
const running = new Set();  // process groups
const total = { passed: 0, failed: 0, skipped: 0, failures: [] };

function processesOf(group) {
  return execFileSync('ps', ['-ww', '-eo', 'pgid=,pid=,stat=,etime=,wchan:20=,args='], { encoding: 'utf8' })
    .split('\n').filter((line) => parseInt(line, 10) === group && !/ Z/.test(line)).join('\n');
}

function killGroup(group) {
  try {
    process.kill(-group, 'SIGKILL');
  } catch (error) {
    if (error.code !== 'ESRCH') throw error;
  }
}

function runFile(file) {
  return new Promise((resolve) => {
    const name = basename(file);
    const results = join(folder, `${name}.json`);
    const log = join(folder, `${name}.log`);
    const output = openSync(log, 'w');
    const began = Date.now();
    const env = { ...process.env, TIDEGATE_RESULTS: results };
    delete env.NODE_TEST_CONTEXT;  // set when this runs below node --test
    const child = spawn(process.execPath,
      ['--test-reporter', reporter, '--test-reporter-destination', 'stdout', file],
      { detached: true, stdio: ['ignore', output, output], env });
    closeSync(output);
    running.add(child.pid);
    let late = '';
    const timer = setTimeout(() => {
      late = `not ok  ${name}: has not ended after ${limitSeconds} s; its processes were:\n${processesOf(child.pid)}`;
      killGroup(child.pid);
    }, limitSeconds * 1000);
    child.on('exit', (code, signal) => {
      clearTimeout(timer);
      const left = late ? '' : processesOf(child.pid);
      killGroup(child.pid);
      running.delete(child.pid);
      let counts;
      try {
        counts = JSON.parse(readFileSync(results, 'utf8'));
      } catch {
        counts = { passed: 0, failed: 0, skipped: 0, failures: [] };
        late ||= `not ok  ${name}: ended with ${signal ?? code} before its tests had`;
      }
      if (late) {
        counts.failed += 1;
        counts.failures.push(name);
      }
      for (const key of ['passed', 'failed', 'skipped']) total[key] += counts[key];
      total.failures.push(...counts.failures);
      process.stdout.write(`== ${file}, ${Math.round((Date.now() - began) / 1000)} s\n` +
        readFileSync(log, 'utf8') + (late ? `${late}\n` : '') +
        (left ? `note: ${name} left processes behind, which were killed:\n${left}\n` : ''));
      resolve();
    });
  });
}

for (const signal of ['SIGTERM', 'SIGINT', 'SIGHUP']) {
  process.on(signal, () => {
    for (const group of running) killGroup(group);
    process.exit(1);
  });
}

const waiting = process.argv.slice(2);
await Promise.all(Array.from({ length: atOnce }, async () => {
  while (waiting.length > 0) await runFile(waiting.shift());
}));
rmSync(folder, { recursive: true, force: true });
if (process.env.TIDEGATE_RESULTS) writeFileSync(process.env.TIDEGATE_RESULTS, JSON.stringify(total));
console.log(`${total.passed} passed, ${total.failed} failed, ${total.skipped} skipped`);
for (const name of total.failures) console.log(`not ok  ${name}`);
process.exitCode = total.failed ? 1 : 0;
