// SPDX-License-Identifier: Apache-2.0
// Behind Debian's haproxy and nginx, with the configuration that docs/deployment.md shows: the client's
// address, health checks, close codes on their way through.
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { readFileSync, writeFileSync, mkdirSync } from 'node:fs';
import { createServer } from 'node:net';
import { join } from 'node:path';
import { test } from 'node:test';
import { Client } from '../conformance/lib/client.mjs';
import { Type } from '../conformance/lib/proto.mjs';
import { head, request } from '../conformance/lib/raw.mjs';
import { Process, adminGet, adminToken, root, startServer, temporaryFolder } from '../conformance/lib/server.mjs';
import { until, within } from '../conformance/lib/wait.mjs';

const folder = temporaryFolder();
const page = readFileSync(join(root, 'docs/deployment.md'), 'utf8');
const snippet = (language) => {
  const match = new RegExp(`\`\`\`${language}\n([\\s\\S]*?)\`\`\``).exec(page);
  assert.ok(match, `no ${language} in docs/deployment.md`);
  return match[1];
};
// Replaces what must stand in the text.
const replaced = (text, changes) => Object.entries(changes).reduce((all, [from, to]) => {
  assert.ok(all.includes(from), `${from} in\n${all}`);
  return all.replaceAll(from, to);
}, text);

async function freePort() {
  const server = createServer();
  await new Promise((done) => { server.listen(0, '127.0.0.1', done); });
  const { port } = server.address();
  await new Promise((done) => { server.close(done); });
  return port;
}

// Clients come from an address that is not the proxy's.
const there = { localAddress: '127.0.0.2' };

async function throughProxy(server, port) {
  const front = { url: `ws://127.0.0.1:${port}/ws` };
  await until(async () => (await request(port, head({ headers: {} }))).status === 401, 'the proxy to pass things on');
  const client = await Client.enter(front, 'behind', there);
  const { connections } = JSON.parse((await adminGet(server, '/api/v1/connections')).text);
  assert.equal(connections.length, 1);
  assert.match(connections[0].address, /^127\.0\.0\.2:\d+$/);
  client.send(Type.HEARTBEAT, Buffer.from('through'));
  await client.next(Type.PONG);
  const kick = await fetch(`${server.adminUrl}/api/v1/kick`, { method: 'POST', body: new URLSearchParams({ user: 'behind', reason: 'go' }),
    headers: { authorization: `Bearer ${adminToken}` } });
  assert.equal((await kick.json()).closed, 1);
  assert.equal(await client.closeCode(), 1008);
  assert.equal(client.closed.reason, 'go');
  // The same by long polling, whose connections the proxy keeps or opens anew as it likes.
  const polling = await Client.enter({ ...front, port }, 'polling', { polling: {} });
  polling.send(Type.HEARTBEAT, Buffer.from('by requests'));
  await polling.next(Type.PONG);
  await polling.leave();
  // The limit counts players apart, not the proxy.
  const others = [];
  for (const last of [3, 4, 5, 6]) others.push(await Client.enter(front, `player ${last}`, { localAddress: `127.0.0.${last}` }));
  server.child.kill('SIGTERM');
  for (const one of others) {
    assert.equal(await one.closeCode(), 1001);
    assert.equal(one.all(Type.DISCONNECT)[0].payload.code, 4016);
  }
  await within(server.exited, 'the end of the server');
}
// Who polls has a session and two connections.
const limits = { exempt: [], connections_per_ip: 3 };

test('haproxy with PROXY protocol version 2', async (t) => {
  if (spawnSync('haproxy', ['-v']).error) return t.skip('haproxy is not there');
  const server = await startServer({ limits, listen: { websocket: '127.0.0.1:0', proxy_protocol: 'required', trusted: ['127.0.0.1'] } }, { folder });
  const port = await freePort();
  const path = join(folder, 'haproxy.cfg');
  writeFileSync(path, replaced(snippet('haproxy'), {
    'bind :443': `bind 127.0.0.1:${port}`, '127.0.0.1:7400': `127.0.0.1:${server.port}`, 'port 7401': `port ${server.adminPort}` }));
  const proxy = new Process('haproxy', ['-db', '-f', path]);
  t.after(() => proxy.stop('SIGKILL'));
  await throughProxy(server, port);
});

test('nginx with X-Forwarded-For', async (t) => {
  if (spawnSync('nginx', ['-v']).error) return t.skip('nginx is not there');
  const server = await startServer({ limits, listen: { websocket: '127.0.0.1:0', forwarded: 'x-forwarded-for', trusted: ['127.0.0.1'] } }, { folder });
  const port = await freePort();
  const prefix = join(folder, 'nginx');
  mkdirSync(prefix);
  const path = join(prefix, 'nginx.conf');
  const own = ['client_body', 'proxy', 'fastcgi', 'uwsgi', 'scgi'].map((name) => `${name}_temp_path ${prefix}/${name};`).join('\n');
  writeFileSync(path, `daemon off; pid ${prefix}/pid; error_log stderr; worker_processes 1;
events { worker_connections 128; }
http {
access_log off;
${own}
server { listen 127.0.0.1:${port};
${replaced(snippet('nginx'), { '127.0.0.1:7400': `127.0.0.1:${server.port}` })}
}}`);
  const proxy = new Process('nginx', ['-p', prefix, '-c', path, '-e', 'stderr']);
  t.after(() => proxy.stop('SIGQUIT'));
  await throughProxy(server, port);
});
