// SPDX-License-Identifier: Apache-2.0
// Whole servers while the system refuses: no io_uring, system calls that fail or give less than
// there is, no memory at the start. tests/faults has the library and the filter for it.
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { existsSync, mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, test } from 'node:test';
import { runLoad } from '../conformance/lib/attack.mjs';
import { Client } from '../conformance/lib/client.mjs';
import { Process, adminGet, metrics, program, programs, startServer, temporaryFolder, writeConfig } from '../conformance/lib/server.mjs';
import { until, within } from '../conformance/lib/wait.mjs';

const folder = temporaryFolder();
const library = join(programs, 'tests/faults/libtidegate-faults.so');
const deny = join(programs, 'tests/faults/tidegate-deny');
assert.ok(existsSync(library) && existsSync(deny), 'tests/faults is not built');

// The library is not the sanitizer's, and comes in front of it.
const preload = (rules) => ({
  LD_PRELOAD: library, TIDEGATE_FAULTS: rules,
  ASAN_OPTIONS: `${process.env.ASAN_OPTIONS ?? ''}:verify_asan_link_order=0:alloc_dealloc_mismatch=0`,
});

// `tidegate` under a filter that refuses these calls.
async function startDenied(rules, changes = {}) {
  const config = writeConfig(folder, changes);
  const server = new Process(deny, [rules, '--', program('tidegate'), 'serve', '--config', config]);
  const websocket = await server.line(/websocket listening on (\S+):(\d+)/);
  server.port = Number(websocket[2]);
  server.url = `ws://127.0.0.1:${server.port}/ws`;
  server.adminUrl = `http://127.0.0.1:${/admin listening on \S+:(\d+)/.exec(server.output)[1]}`;
  return server;
}

describe('io_uring is refused', () => {
  for (const error of ['EPERM', 'ENOSYS']) {
    test(`with ${error}: epoll serves, and says so everywhere`, async () => {
      const server = await startDenied(`io_uring_setup=${error}`);
      assert.match(server.output, /warning: io: io_uring is refused, epoll serves in its place/);
      const ready = JSON.parse((await adminGet(server, '/readyz')).text);
      assert.equal(ready.ok, true);
      assert.match(ready.note, /io_uring is refused/);
      assert.equal((await metrics(server)).sum('tidegate_io_epoll'), 2);
      const client = await Client.enter(server, `refused-${error}`);
      assert.deepEqual(client.breaches, []);
      await client.leave();
      await server.stop();
    });
  }
  test('and io.backend asks for it: an error with its remedy, and no start', async () => {
    const config = writeConfig(folder, { io: { backend: 'io_uring' } });
    const child = new Process(deny, ['io_uring_setup=EPERM', '--', program('tidegate'), 'serve', '--config', config]);
    const { code } = await within(child.exited, 'the end', 60_000);
    assert.equal(code, 1, child.output);
    assert.match(child.output, /io_uring is forbidden here.*seccomp/s);
  });
  test('doctor names it, and that epoll would serve', async () => {
    const child = new Process(deny, ['io_uring_setup=EPERM,io_uring_enter=EPERM,io_uring_register=EPERM', '--', program('tidegate'), 'doctor', '--config', writeConfig(folder)]);
    const { code } = await within(child.exited, 'the end', 60_000);
    assert.equal(code, 1);
    assert.match(child.output, /FAIL {2}seccomp: .*a filter is in force, and io_uring does not work/);
    assert.match(child.output, /warn {2}io backend: epoll will serve/);
  });
  test('doctor knows a container by its files, and names the profile', async () => {
    const machine = join(folder, 'container');
    mkdirSync(join(machine, 'proc/self'), { recursive: true });
    writeFileSync(join(machine, '.dockerenv'), '');
    writeFileSync(join(machine, 'proc/self/status'), 'Name:\ttidegate\nSeccomp:\t2\n');
    const child = new Process(deny, ['io_uring_setup=EPERM', '--', program('tidegate'), 'doctor', '--root', machine, '--config', writeConfig(folder)]);
    await within(child.exited, 'the end', 60_000);
    assert.match(child.output, /FAIL {2}seccomp: in a Docker container, a filter is in force/);
    assert.match(child.output, /remedy: .*tools\/seccomp\/tidegate\.json/);
  });
});

test('the whole server on epoll by configuration', async () => {
  const server = await startServer({ io: { backend: 'epoll' } }, { folder });
  assert.match(server.output, /warning: io: io\.backend is epoll/);
  const load = await runLoad(server, folder, { bots: 30, seconds: 4 });
  assert.ok(load.ok, JSON.stringify(load));
  await server.stop();
});

describe('system calls fail under load', () => {
  const rules = {
    'short reads and writes': 'seed=11,report=1,recv.short=40,sendmsg.short=40',
    'no memory, interruptions': 'seed=12,report=1,recv.ENOMEM=5,recv.ENOBUFS=5,recv.EINTR=10,sendmsg.ENOBUFS=10,sendmsg.ENOMEM=10,sendmsg.EINTR=10,sendmsg.EAGAIN=5',
    'accepts without descriptors or memory': 'seed=13,report=1,accept4.EMFILE=20,accept4.ENFILE=10,accept4.ENOMEM=10,accept4.ECONNABORTED=10',
  };
  for (const [what, rule] of Object.entries(rules)) {
    test(`${what}: the server counts, survives, and nobody loses anything`, async () => {
      const server = await startServer({ io: { backend: 'epoll' } }, { folder, env: preload(rule) });
      const load = await runLoad(server, folder, { bots: 30, seconds: 5 });
      assert.ok(load.ok, JSON.stringify(load));
      assert.ok(load.moves_acked > 0);
      const counted = await metrics(server);
      if (rule.includes('sendmsg')) assert.ok(counted.sum('tidegate_sends_short_total') > 0);
      if (rule.includes('ENOBUFS')) assert.ok(counted.sum('tidegate_memory_pauses_total') > 0);
      if (rule.includes('EMFILE')) assert.ok(counted.sum('tidegate_accept_errors_total') > 0);
      await until(async () => (await metrics(server)).sum('tidegate_connections_open') === 0, 'the end of the bots', 60_000);
      await server.stop();
      assert.match(server.output, /faults: recv/, 'the faults were not there');
    });
  }
});

// The n-th operator new, or mapping, after the program has begun fails: it says so and ends with an
// error, whichever it is. TIDEGATE_EVERY_ALLOCATION=1 tries every one until the start succeeds.
describe('no memory at the start', () => {
  // Resolves with 'up' once it listens, or with its end.
  const attempt = (rule) => new Promise((done) => {
    const config = writeConfig(folder, { admin: { listen: '127.0.0.1:0', token: 'x'.repeat(20) } });
    const child = spawn(program('tidegate'), ['serve', '--config', config], { env: { ...process.env, ...preload(rule) } });
    let output = '';
    const take = (chunk) => {
      output += chunk;
      if (/websocket listening/.test(output)) {
        done({ up: true, output });
        child.kill('SIGKILL');
      }
    };
    child.stdout.on('data', take);
    child.stderr.on('data', take);
    child.on('exit', (code, signal) => done({ up: false, code, signal, output }));
  });
  const check = (what, n, end) => {
    assert.equal(end.signal, null, `${what} ${n}: ended by ${end.signal}:\n${end.output.slice(-2000)}`);
    assert.ok(end.code === 1 || end.code === 2, `${what} ${n}: ended with ${end.code}:\n${end.output.slice(-2000)}`);
    assert.match(end.output, /memory/i, `${what} ${n}: it does not say why:\n${end.output.slice(-2000)}`);
    assert.doesNotMatch(end.output, /Sanitizer:|assertion|terminate called/);
  };
  for (const what of ['new', 'mmap']) {
    test(`the n-th ${what} fails`, async () => {
      let failed = 0;
      let n = 1;
      let ups = 0;
      const every = process.env.TIDEGATE_EVERY_ALLOCATION === '1';
      const limit = 200_000;
      while (ups < 3 && n < limit) {
        const batch = Array.from({ length: 4 }, (_, i) => n + (every ? i : i * Math.max(1, Math.floor(n / 8))));
        const results = await Promise.all(batch.map((k) => attempt(`${what}.fail=${k}`)));
        results.forEach((end, i) => {
          if (end.up) {
            ups += 1;
          } else {
            failed += 1;
            check(what, batch[i], end);
          }
        });
        n = batch.at(-1) + (every ? 1 : Math.max(1, Math.floor(n / 8)));
      }
      assert.ok(failed >= 10, `only ${failed} starts failed`);
      assert.ok(n < limit, 'it never came up');
    });
  }
});
