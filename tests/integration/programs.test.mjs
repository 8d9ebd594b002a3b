// SPDX-License-Identifier: Apache-2.0
// The programs as their users meet them: commands, configuration and its errors, start, stop.
import assert from 'node:assert/strict';
import { existsSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, test } from 'node:test';
import { Client } from '../conformance/lib/client.mjs';
import { Type } from '../conformance/lib/proto.mjs';
import { Process, program, secret, startServer, temporaryFolder, writeConfig } from '../conformance/lib/server.mjs';
import { until, within } from '../conformance/lib/wait.mjs';

const folder = temporaryFolder();

// Runs a command to its end.
async function run(name, args, env = {}) {
  const child = new Process(program(name), args, { env: { ...process.env, ...env } });
  const end = await within(child.exited, `the end of ${name} ${args.join(' ')}`, 60_000);
  assert.equal(child.complaint(), null);
  return { ...end, output: child.output };
}
// State and parent of a process; null when it is gone.
function processOf(pid) {
  try {
    const [state, parent] = readFileSync(`/proc/${pid}/stat`, 'utf8').replace(/^.*\) /s, '').split(' ');
    return { state, parent: Number(parent) };
  } catch {
    return null;
  }
}
const lives = (pid) => !['Z', undefined].includes(processOf(pid)?.state);
const childrenOf = (pid) => readdirSync('/proc').filter((name) => /^\d+$/.test(name) && processOf(name)?.parent === pid);
function file(name, text) {
  const path = join(folder, name);
  writeFileSync(path, text);
  return path;
}

describe('check-config', () => {
  test('a good file', async () => {
    const { code, output } = await run('tidegate', ['check-config', writeConfig(folder)]);
    assert.equal(code, 0, output);
  });
  test('the five lines of the README', async () => {
    const path = file('five.toml', `[listen]\nwebsocket = "127.0.0.1:7400"\n[auth]\nhs256_secret = "${secret}"\n`);
    const { code, output } = await run('tidegate', ['check-config', path]);
    assert.equal(code, 0, output);
  });
  const bad = {
    'an unknown key, with the nearest one': [{ limits: { conections: 5 } }, /conections[\s\S]*connections/],
    'an unknown section': [{ lisen: { websocket: '127.0.0.1:1' } }, /lisen/],
    'a duration without a unit': [{ heartbeat: { interval: 15 } }, /heartbeat\.interval|interval/],
    'a duration with an unknown unit': [{ heartbeat: { interval: '15 parsecs' } }, /interval/],
    'an address without a port': [{ listen: { websocket: '127.0.0.1' } }, /websocket/],
    'an address that is none': [{ listen: { websocket: 'nowhere:here' } }, /websocket/],
    'a count of the wrong type': [{ shards: { count: 'many' } }, /count/],
    'a count of zero': [{ limits: { connections: 0 } }, /connections/],
    'a negative count': [{ limits: { connections: -5 } }, /connections/],
    'a tick rate out of range': [{ world: { tick_rate: 100000 } }, /tick_rate/],
    'a short secret': [{ auth: { hs256_secret: 'short' } }, /hs256_secret/],
    'a key file that is not there': [{ auth: { hs256_secret: undefined, public_key_file: '/nonexistent/key.pem' } }, /key\.pem|public_key_file/],
  };
  for (const [what, [changes, says]] of Object.entries(bad)) {
    test(`refuses ${what}`, async () => {
      const { code, output } = await run('tidegate', ['check-config', writeConfig(folder, changes)]);
      assert.notEqual(code, 0, 'it was accepted');
      assert.match(output, says);
    });
  }
  test('refuses a file that is no TOML and names the line', async () => {
    const { code, output } = await run('tidegate', ['check-config', file('broken.toml', '[listen]\nwebsocket = \n')]);
    assert.notEqual(code, 0);
    assert.match(output, /2/);
  });
  test('refuses a file that is not there', async () => {
    const { code, output } = await run('tidegate', ['check-config', '/nonexistent/x.toml']);
    assert.notEqual(code, 0);
    assert.match(output, /nonexistent/);
  });
});

describe('token', () => {
  test('mints one that logs in', async () => {
    const server = await startServer({}, { folder });
    const { code, output } = await run('tidegate', ['token', '--config', server.config, '--user', 'minted', '--ttl', '1h']);
    assert.equal(code, 0, output);
    const token = output.trim().split('\n').at(-1);
    assert.equal(token.split('.').length, 3);
    const client = await Client.enter(server, 'minted', { token });
    assert.ok(client.me);
    await client.leave();
    await server.stop();
  });
  test('the secret may come from a file', async () => {
    const path = file('secret', `${secret}\n`);
    const server = await startServer({ auth: { hs256_secret: undefined, hs256_secret_file: path } }, { folder });
    const client = await Client.connect(server, 'filed');
    await client.next(Type.AUTHENTICATION_RESULT);
    await client.leave();
    await server.stop();
  });
});

describe('serve', () => {
  test('an environment variable wins over the file', async () => {
    const server = await startServer({ listen: { websocket: '127.0.0.1:1' } },
      { folder, env: { TIDEGATE_LISTEN_WEBSOCKET: '127.0.0.1:0' } });
    assert.notEqual(server.port, 1);
    await server.stop();
  });
  test('a port that is taken is named, and nothing hangs', async () => {
    const first = await startServer({}, { folder });
    const { createServer } = await import('node:net');
    const blocker = createServer();
    await new Promise((done) => { blocker.listen(0, '127.0.0.1', done); });
    const { port } = blocker.address();
    const { code, output } = await run('tidegate', ['serve', '--config',
      writeConfig(folder, { listen: { websocket: `127.0.0.1:${port}` } })]);
    assert.notEqual(code, 0);
    assert.match(output, new RegExp(`${port}`));
    blocker.close();
    await first.stop();
  });
  test('SIGTERM: clients get 1001, the process ends with 0', async () => {
    const server = await startServer({}, { folder });
    const clients = [];
    for (let i = 0; i < 5; i += 1) clients.push(await Client.enter(server, `drained-${i}`));
    const stopped = server.stop();
    for (const client of clients) assert.equal(await client.closeCode(), 1001);
    await stopped;
  });
  test('SIGINT ends it too', async () => {
    const server = await startServer({}, { folder });
    const end = await server.stop('SIGINT');
    assert.equal(end.code, 0);
  });
  for (const count of [1, 2, 4]) {
    test(`${count} shards`, async () => {
      const server = await startServer({ shards: { count } }, { folder });
      const one = await Client.enter(server, 'one');
      const two = await Client.enter(server, 'two');
      await one.seen('two');
      await two.seen('one');
      await one.leave();
      await two.leave();
      await server.stop();
    });
  }
  test('heartbeat: a silent peer is pinged, and dropped after the timeout', async () => {
    const server = await startServer({ heartbeat: { interval: '300ms', timeout: '1s' } }, { folder });
    const client = await Client.connect(server, 'silent');
    const pinged = new Promise((done) => { client.socket.once('ping', done); });
    await within(pinged, 'a ping');
    client.socket.pause();  // answers nothing from here on
    const { metrics } = await import('../conformance/lib/server.mjs');
    const { until } = await import('../conformance/lib/wait.mjs');
    await until(async () => (await metrics(server)).sum('tidegate_heartbeat_timeouts_total') === 1, 'the timeout');
    client.drop();
    await server.stop();
  });
  test('a client that reads nothing is closed, the others go on', async () => {
    const server = await startServer({}, { folder });
    const slow = await Client.enter(server, 'slow');
    slow.socket.pause();
    const fine = await Client.enter(server, 'fine');
    for (let i = 0; i < 50; i += 1) slow.socket.send(Buffer.alloc(0), () => {});
    const tick = fine.move(1, 0, 0);
    await fine.next(Type.MOVE_ACK, (p) => p.client_tick >= tick);
    slow.drop();
    await fine.leave();
    await server.stop();
  });
  test('slow readers get less, one that reads nothing is closed with 1013, nobody waits for more than 64 KiB', async () => {
    const server = await startServer({ budget: { stall_timeout: '5s' } }, { folder });
    const { code, output } = await run('tidegate-load', ['--url', server.url, '--secret', secret, '--bots', '40',
      '--area', '40', '--encoding', 'protobuf', '--stalled', '1', '--slow', '4', '--slow-rate', '16000', '--duration', '10s']);
    assert.equal(code, 0, output);
    const { metrics } = await import('../conformance/lib/server.mjs');
    const { sum } = await metrics(server);
    assert.equal(sum('tidegate_slow_closed_total'), 1);
    assert.equal(sum('tidegate_connections_closed_total', 'slow_consumer'), 1);
    assert.ok(sum('tidegate_frames_left_out_total') > 0);
    const waited = sum('tidegate_backlog_bytes_max');  // of the shards together
    assert.ok(waited > 0 && waited <= 2 * 65536, `${waited} bytes`);
    await server.stop();
  });
});

describe('demo', () => {
  test('--headless --duration --json', async () => {
    const path = join(folder, 'demo.json');
    const { code, output } = await run('tidegate', ['demo', '--bots', '20', '--duration', '3s', '--headless', '--json', path]);
    assert.equal(code, 0, output);
    assert.ok(existsSync(path));
    JSON.parse(readFileSync(path, 'utf8'));
  });
  test('its bots end with it, however it ends', async () => {
    const demo = new Process(program('tidegate'), ['demo', '--bots', '20', '--headless', '--listen.websocket=127.0.0.1:0', '--admin.listen=127.0.0.1:0']);
    const bots = await until(() => childrenOf(demo.child.pid)[0] && childrenOf(demo.child.pid), 'its bots');
    demo.child.kill('SIGKILL');
    await within(demo.exited, 'the end of the demo', 60_000);
    await until(() => bots.every((pid) => !lives(pid)), 'the end of the bots');
  });
  test('an unknown flag is refused', async () => {
    const { code, output } = await run('tidegate', ['demo', '--botz', '20']);
    assert.notEqual(code, 0);
    assert.match(output, /botz/);
  });
});

test('every program explains itself with --help', async () => {
  for (const name of ['tidegate', 'tidegate-load', 'tidegate-echo']) {
    const { code, output } = await run(name, ['--help']);
    assert.equal(code, 0, name);
    assert.ok(output.length > 100, name);
  }
});
