// SPDX-License-Identifier: Apache-2.0
// How players are let go: the stages of a drain by signal and by the admin API, kick and revoke.
import assert from 'node:assert/strict';
import { mkdtempSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { describe, test } from 'node:test';
import { Client } from '../conformance/lib/client.mjs';
import { Type } from '../conformance/lib/proto.mjs';
import { head, request } from '../conformance/lib/raw.mjs';
import { adminGet, adminToken, metrics, startServer, temporaryFolder } from '../conformance/lib/server.mjs';
import { claims, now, sign, tokenFor } from '../conformance/lib/tokens.mjs';
import { until, within } from '../conformance/lib/wait.mjs';

const folder = temporaryFolder();
const enterAll = (server, count, name) => Promise.all(
  Array.from({ length: count }, (_, i) => Client.enter(server, `${name}-${i}`)));

export async function post(server, command, parameters = {}, { token = adminToken, headers = {} } = {}) {
  const response = await within(fetch(`${server.adminUrl}/api/v1/${command}`, {
    method: 'POST', body: new URLSearchParams(parameters),
    headers: { ...(token === null ? {} : { authorization: `Bearer ${token}` }), ...headers },
  }), `an answer to ${command}`);
  return { status: response.status, body: await response.json() };
}

// Everybody was told where to go before the close.
async function told(clients, url) {
  for (const client of clients) {
    assert.equal(await client.closeCode(60_000), 1001);
    const [bye] = client.all(Type.DISCONNECT);
    assert.ok(bye, 'closed without a DISCONNECT');
    assert.equal(bye.payload.code, 4016);
    assert.equal(bye.payload.reconnect_url, url);
    assert.ok(bye.payload.retry_after_ms >= 1 && bye.payload.retry_after_ms <= 500, `${bye.payload.retry_after_ms}`);
  }
}

describe('drain', () => {
  test('SIGTERM: all are told where to go and closed one after the other; exit 0', async () => {
    const server = await startServer({ drain: { grace: '0s', spread: '1s', deadline: '20s', retry_after: '500ms',
      reconnect_url: 'wss://other.example/ws' } }, { folder });
    const clients = await enterAll(server, 40, 'drained');
    server.child.kill('SIGTERM');
    await told(clients, 'wss://other.example/ws');
    const end = await within(server.exited, 'the end of the server', 60_000);
    assert.equal(end.code, 0, server.output);
    assert.match(server.output, /drain: over, 0 players/);
    assert.match(server.output, /40 told and closed/);
    await server.stop();
  });

  test('POST /api/v1/drain is the same; its stage and counts are metrics', async () => {
    const server = await startServer({ drain: { grace: '0s', spread: '500ms', deadline: '20s', retry_after: '500ms',
      reconnect_url: 'wss://other.example/ws' } }, { folder });
    const clients = await enterAll(server, 5, 'posted');
    assert.equal((await metrics(server)).sum('tidegate_drain_stage'), 0);
    const answer = await post(server, 'drain');
    assert.equal(answer.status, 202);
    await told(clients, 'wss://other.example/ws');
    assert.equal((await within(server.exited, 'the end of the server', 60_000)).code, 0);
    await server.stop();
  });

  test('nobody there: it ends although the grace is long', async () => {
    const server = await startServer({ drain: { grace: '600s', spread: '600s', deadline: '1200s' } }, { folder });
    server.child.kill('SIGTERM');
    assert.equal((await within(server.exited, 'the end of the server')).code, 0);
    await server.stop();
  });

  test('the grace: not ready, 503, players play on; a second signal tells and closes everybody at once', async () => {
    const server = await startServer({ drain: { grace: '600s', spread: '600s', deadline: '1200s', retry_after: '500ms' } }, { folder });
    const clients = await enterAll(server, 5, 'forced');
    server.child.kill('SIGTERM');
    await until(async () => (await adminGet(server, '/readyz')).status === 503, 'not ready');
    assert.match((await adminGet(server, '/readyz')).text, /draining/);
    assert.equal((await adminGet(server, '/livez')).status, 200);
    const late = await request(server.port, head({ headers: { Authorization: `Bearer ${await tokenFor('late')}` } }));
    assert.equal(late.status, 503);
    assert.equal(JSON.parse(late.body).error, 'draining');
    assert.equal((await metrics(server)).sum('tidegate_drain_stage'), 1);
    clients[0].send(Type.HEARTBEAT, Buffer.from('still here'));
    await clients[0].next(Type.PONG);
    assert.ok(clients.every((client) => client.closed === null));
    server.child.kill('SIGTERM');
    await told(clients, '');
    assert.equal((await within(server.exited, 'the end of the server', 60_000)).code, 0);
    await server.stop();
  });

  test('who is there at the deadline is told too', async () => {
    const server = await startServer({ drain: { grace: '1s', spread: '0s', deadline: '1s', retry_after: '500ms' } }, { folder });
    const clients = await enterAll(server, 3, 'late');
    server.child.kill('SIGTERM');
    await told(clients, '');
    await within(server.exited, 'the end of the server', 60_000);
    await server.stop();
  });
});

describe('kick and revoke', () => {
  test('a user, a player, a session; others stay; a reason is told', async () => {
    const server = await startServer({}, { folder });
    const [one, two, three] = await enterAll(server, 3, 'guest');
    const answer = await post(server, 'kick', { user: 'guest-0', reason: 'no shouting' });
    assert.deepEqual(answer, { status: 200, body: { closed: 1, complete: true } });
    assert.equal(await one.closeCode(), 1008);
    assert.equal(one.closed.reason, 'no shouting');
    assert.equal(one.all(Type.DISCONNECT)[0].payload.reason, 'no shouting');
    const session = two.all(Type.CONNECTION_ESTABLISHED)[0].payload.session_id;
    assert.equal((await post(server, 'kick', { session })).body.closed, 1);
    assert.equal(await two.closeCode(), 1008);
    assert.equal((await post(server, 'kick', { player: 'nobody' })).body.closed, 0);
    assert.equal(three.closed, null);
    // A kick keeps nobody out.
    await (await Client.enter(server, 'guest-0')).leave();
    const { sum } = await metrics(server);
    assert.equal(sum('tidegate_kicked_total'), 2);
    assert.equal(sum('tidegate_connections_closed_total', 'kicked'), 2);
    await three.leave();
    await server.stop();
  });

  test('a revoked user is closed and stays out with the tokens there were', async () => {
    const server = await startServer({}, { folder });
    const client = await Client.enter(server, 'banned');
    const token = client.token ?? await tokenFor('banned');
    assert.equal((await post(server, 'revoke', { user: 'banned', for: '1h' })).body.closed, 1);
    assert.equal(await client.closeCode(), 1008);
    assert.equal(client.all(Type.DISCONNECT)[0].payload.code, 4013);
    const refused = await request(server.port, head({ headers: { Authorization: `Bearer ${token}` } }));
    assert.equal(refused.status, 401);
    assert.equal(JSON.parse(refused.body).error, 'invalid_token');
    const newer = await sign(claims('banned', { iat: now() + 2 }));
    await (await Client.enter(server, 'banned', { token: newer })).leave();
    await server.stop();
  });

  test('a revocation that is kept holds after kill -9 and a restart', async () => {
    const own = mkdtempSync(join(folder, 'revoked-'));
    const settings = { security: { revocations_file: join(own, 'list') } };
    const first = await startServer(settings, { folder });
    const token = await tokenFor('banned');
    const { body } = await post(first, 'revoke', { user: 'banned', for: '1h' });
    assert.deepEqual(body, { closed: 0, complete: true, kept: true });
    await first.stop('SIGKILL');
    const again = await startServer(settings, { folder });
    const login = (bearer) => request(again.port, head({ headers: { Authorization: `Bearer ${bearer}` } }));
    assert.equal((await login(token)).status, 401);
    assert.equal((await login(await tokenFor('another'))).status, 101);
    rmSync(own, { recursive: true });
    assert.equal((await post(again, 'revoke', { user: 'unkept' })).body.kept, false);
    assert.equal((await login(await tokenFor('unkept'))).status, 401);
    await again.stop();
  });

  test('wrong commands are refused', async () => {
    const server = await startServer({}, { folder });
    assert.equal((await post(server, 'kick')).status, 400);
    assert.equal((await post(server, 'kick', { session: 'xyz' })).status, 400);
    assert.equal((await post(server, 'kick', { user: 'a', reason: 'x'.repeat(101) })).status, 400);
    assert.equal((await post(server, 'revoke', { player: 'a' })).status, 400);
    assert.equal((await post(server, 'revoke', { user: 'a', for: 'long' })).status, 400);
    for (const token of [null, 'wrong']) assert.equal((await post(server, 'drain', {}, { token })).status, 401);
    assert.equal((await post(server, 'drain', {}, { headers: { origin: 'https://evil.example' } })).status, 403);
    assert.equal((await adminGet(server, '/api/v1/drain')).status, 405);
    assert.equal((await adminGet(server, '/readyz')).status, 200);
    await server.stop();
  });
});
