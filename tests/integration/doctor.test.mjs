// SPDX-License-Identifier: Apache-2.0
// `tidegate doctor` against machines made of files, and the systemd unit.
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { test } from 'node:test';
import { program, root, temporaryFolder, writeConfig, startServer } from '../conformance/lib/server.mjs';

const folder = temporaryFolder();
const config = writeConfig(folder, { listen: { websocket: '127.0.0.1:7400' }, limits: { connections: 100 } });

const healthy = {
  'proc/sys/kernel/osrelease': '6.12.1',
  'proc/sys/net/core/somaxconn': '4096',
  'proc/sys/net/ipv4/tcp_max_syn_backlog': '8192',
  'proc/sys/net/ipv4/tcp_syncookies': '1',
  'proc/sys/net/ipv4/ip_local_port_range': '10240\t65535',
  'proc/sys/net/ipv4/ip_unprivileged_port_start': '1024',
  'proc/sys/vm/swappiness': '1',
  'proc/sys/vm/overcommit_memory': '0',
  'proc/swaps': 'Filename Type Size Used Priority',
  'sys/kernel/mm/transparent_hugepage/enabled': 'always [madvise] never',
  'proc/self/cgroup': '0::/a/b',
  'sys/fs/cgroup/a/cpu.max': 'max 100000',
};
let machines = 0;
function examine(changes = {}, args = []) {
  const base = join(folder, `machine-${machines += 1}`);
  for (const [path, text] of Object.entries({ ...healthy, ...changes })) {
    if (text === undefined) continue;
    mkdirSync(dirname(join(base, path)), { recursive: true });
    writeFileSync(join(base, path), `${text}\n`);
  }
  const { status, stdout, stderr } = spawnSync(program('tidegate'),
    ['doctor', '--config', config, '--root', base, ...args], { encoding: 'utf8' });
  assert.equal(stderr, '');
  return { status, text: stdout };
}

// What each fault must be called, with its remedy.
const faults = {
  'an old kernel': [{ 'proc/sys/kernel/osrelease': '5.15.0-generic' }, 'FAIL  kernel: 5.15.0-generic', /6\.1 or newer/],
  'a kernel that does not tell peers': [{ 'proc/sys/kernel/osrelease': '6.1.0-13-amd64' }, 'warn  kernel', /6\.7 or newer/],
  'io_uring switched off': [{ 'proc/sys/kernel/io_uring_disabled': '2' }, 'FAIL  io_uring', /io_uring_disabled = 0/],
  'a short accept queue': [{ 'proc/sys/net/core/somaxconn': '128' }, 'warn  accept queue', /net\.core\.somaxconn=4096/],
  'a short SYN queue': [{ 'proc/sys/net/ipv4/tcp_max_syn_backlog': '128' }, 'warn  SYN queue', /tcp_max_syn_backlog=4096/],
  'no SYN cookies': [{ 'proc/sys/net/ipv4/tcp_syncookies': '0' }, 'warn  SYN cookies', /tcp_syncookies=1/],
  'few local ports': [{ 'proc/sys/net/ipv4/ip_local_port_range': '60000 60050' }, 'warn  local ports', /ip_local_port_range/],
  'a port that others take': [{ 'proc/sys/net/ipv4/ip_local_port_range': '1024 65535' }, 'warn  listen port', /ip_local_reserved_ports/],
  'swap': [{ 'proc/sys/vm/swappiness': '60', 'proc/swaps': 'Filename\n/swapfile file 1 0 -2' }, 'warn  swap', /MemorySwapMax=0/],
  'huge pages always': [{ 'sys/kernel/mm/transparent_hugepage/enabled': '[always] madvise never' }, 'warn  huge pages', /madvise/],
  'strict overcommit': [{ 'proc/sys/vm/overcommit_memory': '2' }, 'warn  overcommit', /overcommit_memory = 0/],
  'a CPU quota, of a level above too': [{ 'sys/fs/cgroup/a/cpu.max': '50000 100000' }, 'warn  cgroup CPU: cpu.max gives 0.50 CPUs', /no CPU quota/],
  'little memory': [{ 'sys/fs/cgroup/a/b/memory.max': '67108864' }, 'warn  cgroup memory: memory.max is 64 MiB', /limits\.connections/],
  'a slow clock': [{ 'sys/devices/system/clocksource/clocksource0/current_clocksource': 'hpet' }, 'warn  clock', /tsc/],
  'a sleepy CPU': [{ 'sys/devices/system/cpu/cpu0/cpufreq/scaling_governor': 'powersave' }, 'warn  CPU frequency', /performance/],
};
const named = (text, what) => text.split('\n').findIndex((line) => line.startsWith(what));

for (const [what, [changes, says, remedy]] of Object.entries(faults)) {
  test(`doctor names ${what}`, () => {
    assert.equal(named(examine().text, says), -1, 'it says so of a healthy machine');
    const { status, text } = examine(changes);
    const line = named(text, says);
    assert.ok(line >= 0, text);
    assert.match(text.split('\n')[line + 1], /^ {6}remedy: /);
    assert.match(text.split('\n')[line + 1], remedy);
    if (says.startsWith('FAIL')) assert.equal(status, 1);
    assert.equal(examine(changes, ['--strict']).status, 1);
  });
}

test('doctor and a configuration that is wrong', () => {
  const bad = writeConfig(folder, { limits: { conections: 5 } });
  const { status, stderr } = spawnSync(program('tidegate'), ['doctor', '--config', bad], { encoding: 'utf8' });
  assert.equal(status, 2);
  assert.match(stderr, /conections/);
});

test('doctor and CPUs that are not there', () => {
  const path = writeConfig(folder, { shards: { count: 1, cpus: [1000] } });
  const { status, stdout } = spawnSync(program('tidegate'), ['doctor', '--config', path], { encoding: 'utf8' });
  assert.equal(status, 1, stdout);
  assert.match(stdout, /FAIL {2}CPU pinning: shards\.cpus names CPU 1000/);
});

test('the unit passes systemd-analyze verify', (t) => {
  if (spawnSync('systemd-analyze', ['--version']).error) return t.skip('systemd-analyze is not there');
  const unit = join(folder, 'tidegate.service');
  writeFileSync(unit, readFileSync(join(root, 'tools/systemd/tidegate.service'), 'utf8')
    .replaceAll('/usr/local/bin/tidegate', program('tidegate')));
  const { status, stdout, stderr } = spawnSync('systemd-analyze', ['verify', '--man=no', unit], { encoding: 'utf8' });
  assert.equal(status, 0, stdout + stderr);
  assert.equal(stderr.trim(), '', stderr);
});

test('every sysctl of the file is one that doctor asks for or explains', () => {
  const lines = readFileSync(join(root, 'tools/systemd/60-tidegate.conf'), 'utf8').split('\n')
    .filter((line) => line.trim() && !line.startsWith('#'));
  assert.ok(lines.length >= 8);
  for (const line of lines) assert.match(line, /^[a-z0-9_.]+ = [0-9, ]+$/, line);
});

// A datagram socket of systemd's; Node has none of its kind, so socat's place is taken by Python.
test('systemd is told of start, reload, life and stop', async (t) => {
  const { spawn } = await import('node:child_process');
  const path = join(folder, 'notify.sock');
  const listener = spawn('python3', ['-c', `
import socket, sys
s = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
s.bind(sys.argv[1])
print('bound', flush=True)
while True:
    print(repr(s.recv(4096).decode()), flush=True)
`, path]);
  t.after(() => listener.kill('SIGKILL'));
  let said = '';
  listener.stdout.on('data', (chunk) => { said += chunk; });
  const { until } = await import('../conformance/lib/wait.mjs');
  await until(() => said.includes('bound'), 'the socket');
  const server = await startServer({}, { folder, env: { NOTIFY_SOCKET: path, WATCHDOG_USEC: '200000' } });
  await until(() => /READY=1\\nSTATUS=websocket on/.test(said), 'READY');
  await until(() => (said.match(/WATCHDOG=1/g) ?? []).length >= 3, 'three notes of life');
  server.child.kill('SIGHUP');
  await until(() => /RELOADING=1\\nMONOTONIC_USEC=\d+/.test(said) && (said.match(/READY=1/g) ?? []).length === 2, 'the reload');
  await server.stop();
  await until(() => said.includes('STOPPING=1'), 'STOPPING');
});
