// SPDX-License-Identifier: Apache-2.0
// Upgrades of a running server in tests: each makes a process that is no child of the test.
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { after } from 'node:test';
import { adminGet } from './server.mjs';
import { patience, until } from './wait.mjs';

export const long = patience * 6;
export const heirs = new Set();
after(() => {
  for (const pid of heirs) try { process.kill(pid, 'SIGKILL'); } catch { /* it has ended */ }
});

// One that has ended and that nobody waited for does not count.
export function alive(pid) {
  try {
    return !/^\d+ \(.*\) [ZX]/.test(readFileSync(`/proc/${pid}/stat`, 'utf8'));
  } catch {
    return false;
  }
}

// The process that serves after the upgrade.
export async function upgrade(server, pid) {
  const before = server.output.length;
  process.kill(pid, 'SIGUSR2');
  const match = await until(() => /upgrade: process (\d+) is being set up/.exec(server.output.slice(before)), 'a new process', long);
  const heir = Number(match[1]);
  heirs.add(heir);
  await until(() => /connections came over|this process goes on/.exec(server.output.slice(before)), 'the end of the upgrade', long);
  assert.doesNotMatch(server.output.slice(before), /this process goes on/);
  await until(() => !alive(pid) || !server.running, 'the end of the old process', long);
  // The admin port is the same; it comes a moment later.
  await until(() => adminGet(server, '/livez').then((r) => r.status === 200, () => false), 'the admin port', long);
  return heir;
}

// The old process goes on; what it says about that.
export async function refusedUpgrade(server, pid) {
  const before = server.output.length;
  process.kill(pid, 'SIGUSR2');
  await until(() => /this process goes on|connections came over/.exec(server.output.slice(before)), 'the refusal', long);
  assert.doesNotMatch(server.output.slice(before), /connections came over/);
  return server.output.slice(before);
}

export async function finish(server, pid) {
  process.kill(pid, 'SIGTERM');
  await until(() => !alive(pid), 'the end of the last process', long);
  heirs.delete(pid);
  const complaint = server.complaint();
  assert.equal(complaint, null);
}
