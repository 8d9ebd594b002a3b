// SPDX-License-Identifier: Apache-2.0
// Keys from an address: fetched, rotated by an unknown kid, kept while the address fails.
import assert from 'node:assert/strict';
import { generateKeyPairSync } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { createServer } from 'node:http';
import { join } from 'node:path';
import { test } from 'node:test';
import { Client } from '../conformance/lib/client.mjs';
import { head, request } from '../conformance/lib/raw.mjs';
import { adminGet, metrics, startServer, temporaryFolder } from '../conformance/lib/server.mjs';
import { claims, sign } from '../conformance/lib/tokens.mjs';
import { until } from '../conformance/lib/wait.mjs';

const folder = temporaryFolder();
const pair = (kid) => ({ kid, ...generateKeyPairSync('ec', { namedCurve: 'P-256' }) });
const tokenOf = (user, key) => sign(claims(user), key.privateKey, { alg: 'ES256', kid: key.kid });
const statusOf = async (server, user, key) => (await request(server.port,
  head({ headers: { Authorization: `Bearer ${await tokenOf(user, key)}` } }))).status;

// An issuer whose answers can be changed; `keys` null: it fails.
async function issuer(keys) {
  const self = { keys, fetches: 0 };
  const http = createServer((_, response) => {
    self.fetches += 1;
    if (self.keys === null) { response.writeHead(500).end('no'); return; }
    response.end(JSON.stringify({ keys: self.keys.map((k) => ({ ...k.publicKey.export({ format: 'jwk' }), kid: k.kid, alg: 'ES256' })) }));
  });
  await new Promise((done) => { http.listen(0, '127.0.0.1', done); });
  self.url = `http://127.0.0.1:${http.address().port}/jwks`;
  self.close = () => new Promise((done) => { http.close(done); http.closeAllConnections(); });
  return self;
}
const serverFor = (from, auth = {}) => startServer({ auth: { hs256_secret: undefined, jwks_url: from.url, ...auth } }, { folder });

test('keys are fetched at the start; a new kid is fetched while its player waits', async () => {
  const [first, second] = [pair('one'), pair('two')];
  const from = await issuer([first]);
  const server = await serverFor(from);
  await until(async () => (await adminGet(server, '/readyz')).status === 200, 'keys');
  const early = await Client.enter(server, 'early', { token: await tokenOf('early', first) });
  from.keys = [second];
  assert.equal(await statusOf(server, 'rotated', second), 101);
  // The old key went with the old set; a player who is there stays.
  assert.equal(await statusOf(server, 'late', first), 401);
  assert.equal(early.closed, null);
  // Nonsense kids cause no flood of fetches.
  const before = from.fetches;
  const wrong = pair('nonsense');
  for (let i = 0; i < 10; i += 1) assert.equal(await statusOf(server, `w${i}`, wrong), 401);
  assert.ok(from.fetches - before <= 1, `${from.fetches - before} fetches`);
  assert.ok((await metrics(server)).sum('tidegate_jwks_fetches_total') >= 2);
  await early.leave();
  await server.stop();
  await from.close();
});

test('a failing address: keys stay; the cache carries a restart; without keys it is not ready', async () => {
  const key = pair('kept');
  const from = await issuer([key]);
  const cache = join(folder, 'jwks-cache.json');
  const server = await serverFor(from, { jwks_cache_file: cache, jwks_interval: '1s' });
  await until(async () => (await statusOf(server, 'a', key)) === 101, 'a login');
  from.keys = null;
  await until(async () => (await metrics(server)).sum('tidegate_jwks_failures_total') > 0, 'a failure');
  assert.equal(await statusOf(server, 'b', key), 101);
  assert.match(server.output, /auth\.jwks_url: .*answered 500/);
  await server.stop();
  assert.equal(JSON.parse(readFileSync(cache, 'utf8')).keys.length, 1);

  const again = await serverFor(from, { jwks_cache_file: cache });
  assert.equal(await statusOf(again, 'c', key), 101);
  await again.stop();

  const empty = await serverFor(from, { jwks_interval: '1s' });
  const ready = await adminGet(empty, '/readyz');
  assert.equal(ready.status, 503);
  assert.match(ready.text, /jwks_url/);
  assert.equal(await statusOf(empty, 'd', key), 401);
  from.keys = [key];
  await until(async () => (await adminGet(empty, '/readyz')).status === 200, 'keys at last');
  assert.equal(await statusOf(empty, 'd', key), 101);
  await empty.stop();
  await from.close();
});
