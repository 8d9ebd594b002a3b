// SPDX-License-Identifier: Apache-2.0
// The server's own seccomp filter, and the profile for containers: a part of the real suite runs
// with security.seccomp = "kill", where a call that is missing in the list ends the server.
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { readFileSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { Client } from '../conformance/lib/client.mjs';
import { Process, program, programs, root, startServer, temporaryFolder, writeConfig } from '../conformance/lib/server.mjs';

const folder = temporaryFolder();
// The leak checker of the sanitizer needs ptrace and processes, which is what the filter is against.
const environment = { ...process.env, ASAN_OPTIONS: `${process.env.ASAN_OPTIONS ?? ''}:detect_leaks=0`, TIDEGATE_SECURITY_SECCOMP: 'kill' };
delete environment.NODE_TEST_CONTEXT;

const files = ['conformance/login', 'conformance/tls', 'integration/reload', 'integration/jwks', 'integration/snapshots'];
for (const name of files) {
  test(`tests/${name} under the filter`, () => {
    const { status, stdout, stderr } = spawnSync(process.execPath, ['--test', join(root, 'tests', `${name}.test.mjs`)],
      { env: environment, encoding: 'utf8', maxBuffer: 64 << 20 });
    assert.equal(status, 0, `${stdout.slice(-6000)}\n${stderr.slice(-2000)}`);
    assert.match(stdout, /# pass [1-9]/);
  });
}

test('on epoll too, and every thread is under it', async () => {
  const server = await startServer({ io: { backend: 'epoll' } }, { folder, env: environment });
  const client = await Client.enter(server, 'filtered');
  for (const thread of readdirSync(`/proc/${server.child.pid}/task`)) {
    const status = readFileSync(`/proc/${server.child.pid}/task/${thread}/status`, 'utf8');
    assert.match(status, /^Seccomp:\s+2$/m);
    assert.match(status, /^NoNewPrivs:\s+1$/m);
  }
  await client.leave();
  await server.stop();
});

test('off by default', async () => {
  const server = await startServer({}, { folder });
  const outside = /^Seccomp:\s+(\d)$/m.exec(readFileSync('/proc/self/status', 'utf8'))[1];
  assert.equal(/^Seccomp:\s+(\d)$/m.exec(readFileSync(`/proc/${server.child.pid}/status`, 'utf8'))[1], outside);
  await server.stop();
});

test('the profile in the tree is what the program prints', () => {
  const { status, stdout } = spawnSync(program('tidegate'), ['seccomp-profile'], { encoding: 'utf8' });
  assert.equal(status, 0);
  const profile = JSON.parse(stdout);
  assert.equal(profile.defaultAction, 'SCMP_ACT_ERRNO');
  for (const name of ['io_uring_setup', 'io_uring_enter', 'io_uring_register']) assert.ok(profile.syscalls[0].names.includes(name));
  for (const name of ['ptrace', 'bpf', 'mount', 'init_module', 'userfaultfd']) assert.ok(!profile.syscalls[0].names.includes(name));
  if (process.arch === 'x64') assert.equal(stdout, readFileSync(join(root, 'tools/seccomp/tidegate.json'), 'utf8'));
});

test('a server in a container with that profile starts, serves by io_uring and stops', async () => {
  const config = writeConfig(folder);
  const path = join(root, 'tools/seccomp/tidegate.json');
  const server = new Process(join(programs, 'tests/faults/tidegate-deny'),
    [`--profile=${path}`, '--', program('tidegate'), 'serve', '--config', config], { env: { ...environment, TIDEGATE_SECURITY_SECCOMP: 'off' } });
  server.port = Number((await server.line(/websocket listening on \S+:(\d+)/))[1]);
  server.url = `ws://127.0.0.1:${server.port}/ws`;
  assert.doesNotMatch(server.output, /epoll/);
  const client = await Client.enter(server, 'contained');
  await client.leave();
  await server.stop();
});
