// SPDX-License-Identifier: Apache-2.0
// Reading the configuration again while the server runs: what is applied, what waits for a restart,
// what is refused as a whole.
import assert from 'node:assert/strict';
import { generateKeyPairSync } from 'node:crypto';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { connect as connectTls } from 'node:tls';
import { Authority } from '../conformance/lib/certificates.mjs';
import { Client } from '../conformance/lib/client.mjs';
import { Type } from '../conformance/lib/proto.mjs';
import { head, request } from '../conformance/lib/raw.mjs';
import { adminGet, metrics, secret, startServer, temporaryFolder } from '../conformance/lib/server.mjs';
import { claims, now, sign, tokenFor } from '../conformance/lib/tokens.mjs';
import { until, within } from '../conformance/lib/wait.mjs';

const folder = temporaryFolder();

async function reload(server) {
  const response = await within(fetch(`${server.adminUrl}/api/v1/reload`,
    { method: 'POST', headers: { authorization: 'Bearer conformance-admin-token' } }), 'an answer to reload');
  return { status: response.status, text: await response.text() };
}
// Changes one line of the server's file.
const edit = (server, from, to) => {
  const text = readFileSync(server.config, 'utf8');
  assert.ok(text.includes(from), `${from} in\n${text}`);
  writeFileSync(server.config, text.replace(from, to));
};
const upgrade = async (server, user, headers = {}) => request(server.port,
  head({ headers: { Authorization: `Bearer ${await tokenFor(user)}`, ...headers } }));

test('who stands in line for the world says its CLIENT_HELLO late, and a reload lets the line in', async () => {
  const server = await startServer({ limits: { joins_per_second: 1 } }, { folder });
  const line = [];
  for (let i = 0; i < 10; i += 1) line.push(await Client.connect(server, `line-${i}`));
  const late = await Client.connect(server, 'late', { hello: false });
  const players = [...line, late];
  // The line has the late one too when its second without a CLIENT_HELLO is over.
  const out = () => players.filter((c) => c.messages.some((m) => [Type.WORLD_STATE, Type.CELL_FRAME].includes(m.type))).length;
  await until(async () => await metrics(server).then((m) => m.sum('tidegate_joins_waiting')) + out() >= players.length, 'all in line');
  const began = late.messages.some((m) => m.type === Type.WORLD_STATE);
  late.hello({ state_encoding: 1 });
  edit(server, 'joins_per_second = 1', 'joins_per_second = 1000');
  const { status, text } = await reload(server);
  assert.equal(status, 200, text);
  assert.deepEqual(JSON.parse(text).applied.map((c) => c.key), ['limits.joins_per_second']);
  for (const client of line) await client.seen(client.user);
  // A machine that took ten seconds for eleven logins has let it in before.
  if (began) await late.error(4005);
  else await late.next(Type.CELL_FRAME);
  assert.equal(late.all(Type.ERROR).length, began ? 1 : 0);
  const counted = await metrics(server);
  assert.ok(counted.sum('tidegate_joins_put_off_total') >= 1);
  await until(async () => (await metrics(server)).sum('tidegate_joins_waiting') === 0, 'nobody in line');
  // Who leaves in line leaves no gap in it.
  edit(server, 'joins_per_second = 1000', 'joins_per_second = 1');
  await reload(server);
  const more = await Promise.all([0, 1, 2, 3, 4].map((i) => Client.connect(server, `gone-${i}`)));
  for (const i of [1, 2, 4]) more[i].drop();
  edit(server, 'joins_per_second = 1', 'joins_per_second = 1000');
  await reload(server);
  for (const i of [0, 3]) await more[i].seen(more[i].user);
  await until(async () => (await metrics(server)).sum('tidegate_players') === players.length + 2, 'the others gone');
  await server.stop();
});

test('what may change changes, the rest is named, secrets are not shown', async () => {
  const server = await startServer({ limits: { messages_per_second: 1000, connections: 500 }, listen: { websocket: '127.0.0.1:0', origins: [] } }, { folder });
  const player = await Client.enter(server, 'stays');
  edit(server, 'messages_per_second = 1000', 'messages_per_second = 1\nmessages_burst = 1');
  edit(server, 'connections = 500', 'connections = 600');
  edit(server, 'origins = []', 'origins = ["https://game.example"]');
  edit(server, secret, `${secret} renewed`);
  const { status, text } = await reload(server);
  assert.equal(status, 200, text);
  assert.ok(!text.includes('renewed') && !text.includes(secret), text);
  const answer = JSON.parse(text);
  const keys = (list) => list.map((c) => c.key).sort();
  assert.deepEqual(keys(answer.applied), ['auth.hs256_secret', 'limits.messages_burst', 'limits.messages_per_second', 'listen.origins']);
  assert.deepEqual(answer.needs_restart, [{ key: 'limits.connections', from: 500, to: 600 }]);
  // New ones are measured by the new rules ...
  assert.equal((await upgrade(server, 'old-key')).status, 401);
  const renewed = await sign(claims('new-key'), `${secret} renewed`);
  assert.equal((await request(server.port, head({ headers: { Authorization: `Bearer ${renewed}`, Origin: 'https://evil.example' } }))).status, 403);
  await (await Client.connect(server, 'new-key', { token: renewed })).leave();
  // ... and those that are there too, without a close.
  for (let i = 0; i < 5; i += 1) player.send(Type.HEARTBEAT, Buffer.from('x'));
  await player.error(4006);
  assert.equal(player.closed, null);
  // The running value stays in the answer until the restart.
  assert.deepEqual(JSON.parse((await reload(server)).text).needs_restart.map((c) => c.key), ['limits.connections']);
  assert.equal(JSON.parse((await adminGet(server, '/api/v1/config')).text).limits.messages_per_second, 1);
  assert.equal((await metrics(server)).sum('tidegate_config_reloads_total'), 2);
  await player.leave();
  await server.stop();
});

test('a file with an error changes nothing and is told with its key', async () => {
  const server = await startServer({ limits: { messages_per_second: 1000 } }, { folder });
  edit(server, 'messages_per_second = 1000', 'messages_per_second = 7\nconections = 3');
  const { status, text } = await reload(server);
  assert.equal(status, 422, text);
  const answer = JSON.parse(text);
  assert.equal(answer.error, 'invalid_config');
  assert.equal(answer.key, 'limits.conections');
  assert.match(answer.message, /did you mean limits\.connections/);
  assert.equal(JSON.parse((await adminGet(server, '/api/v1/config')).text).limits.messages_per_second, 1000);
  edit(server, 'conections = 3', '');
  edit(server, `hs256_secret = "${secret}"`, 'public_key_file = "/nonexistent/key.pem"');
  const second = await reload(server);
  assert.equal(second.status, 422);
  assert.equal(JSON.parse(second.text).key, 'auth.public_key_file');
  assert.equal((await upgrade(server, 'still-in')).status, 101);
  assert.equal((await metrics(server)).sum('tidegate_config_reloads_refused_total'), 2);
  await server.stop();
});

test('SIGHUP reads a key file again; those who are there stay', async () => {
  const path = join(folder, 'keys.json');
  const pair = (kid) => ({ kid, ...generateKeyPairSync('ec', { namedCurve: 'P-256' }) });
  const publish = (key) => writeFileSync(path, JSON.stringify({ keys: [{ ...key.publicKey.export({ format: 'jwk' }), kid: key.kid, alg: 'ES256' }] }));
  const [first, second] = [pair('one'), pair('two')];
  publish(first);
  const server = await startServer({ auth: { hs256_secret: undefined, jwks_file: path } }, { folder });
  const token = (user, key) => sign(claims(user), key.privateKey, { alg: 'ES256', kid: key.kid });
  const player = await Client.enter(server, 'before', { token: await token('before', first) });
  publish(second);
  server.child.kill('SIGHUP');
  await server.line(/reload: 0 keys differ/);
  const next = await Client.enter(server, 'after', { token: await token('after', second) });
  const old = await request(server.port, head({ headers: { Authorization: `Bearer ${await token('late', first)}` } }));
  assert.equal(old.status, 401);
  assert.equal(player.closed, null);
  await player.leave();
  await next.leave();
  await server.stop();
});

test('a connection ends with its token, after a warning', async () => {
  const server = await startServer({ auth: { leeway: '0s', expiry_warning: '600s' } }, { folder });
  const short = await Client.enter(server, 'short', { token: await sign(claims('short', { exp: now() + 3 })) });
  const long = await Client.enter(server, 'long');
  const warning = await short.error(4013);
  assert.equal(warning.payload.fatal, false);
  assert.match(warning.payload.details, /expires in \d+ ms/);
  assert.equal(await short.closeCode(30_000), 1008);
  assert.equal(short.all(Type.ERROR).at(-1).payload.fatal, true);
  await until(async () => (await metrics(server)).sum('tidegate_connections_closed_total', 'token_expired') === 1, 'the count');
  assert.equal(long.closed, null);
  await long.leave();
  await server.stop();
});

test('certificates are read again; a wrong one refuses the whole', async () => {
  const authority = new Authority(folder);
  const [one, two] = [authority.issue(['one.example']), authority.issue(['two.example'])];
  const server = await startServer({ listen: { websocket: '127.0.0.1:0', tls: '127.0.0.1:0' },
    tls: { certificates: [one.pair] }, limits: { messages_per_second: 1000 } }, { folder });
  const name = () => within(new Promise((done, fail) => {
    const socket = connectTls({ port: server.tlsPort, host: '127.0.0.1', ca: authority.pem, checkServerIdentity: () => undefined });
    socket.once('secureConnect', () => { done(socket.getPeerCertificate().subject.CN); socket.destroy(); });
    socket.once('error', fail);
  }), 'a handshake');
  assert.equal(await name(), 'one.example');
  edit(server, one.pair, two.pair);
  assert.deepEqual(JSON.parse((await reload(server)).text).applied.map((c) => c.key), ['tls.certificates']);
  assert.equal(await name(), 'two.example');
  edit(server, two.pair, '/nonexistent.pem');
  edit(server, 'messages_per_second = 1000', 'messages_per_second = 7');
  const { status, text } = await reload(server);
  assert.equal(status, 422, text);
  assert.equal(JSON.parse(text).key, 'tls.certificates');
  assert.equal(await name(), 'two.example');
  assert.equal(JSON.parse((await adminGet(server, '/api/v1/config')).text).limits.messages_per_second, 1000);
  await server.stop();
});
