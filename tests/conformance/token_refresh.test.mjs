// SPDX-License-Identifier: Apache-2.0
// A newer token on an open connection: its expiry and its rights hold from then on; whatever is wrong with it changes
// nothing. And the client library that asks for one when it is warned.
import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import WebSocket from 'ws';
import * as sdk from '../../tools/sdk-js/dist/index.js';
import { Client } from './lib/client.mjs';
import { Type } from './lib/proto.mjs';
import { metrics, startServer } from './lib/server.mjs';
import { claims, now, sign, tokenFor } from './lib/tokens.mjs';
import { TopicClient } from './lib/topics.mjs';
import { patience, until } from './lib/wait.mjs';

const long = patience * 3;
let server;
// A token has from its warning to its end far longer than any test here takes.
before(async () => { server = await startServer({ auth: { expiry_warning: '1h', leeway: '0s' } }); });
after(() => server.stop());

async function refresh(client, token) {
  const from = client.messages.length;
  client.send(Type.TOKEN_REFRESH, { token });
  return (await client.next(Type.TOKEN_STATUS, () => true, { from })).payload;
}

describe('TOKEN_REFRESH', () => {
  test('expiry and permissions are those of the newer token', async () => {
    const client = await TopicClient.open(server, 'renewed');
    assert.equal((await client.subscribe('secret.one')).code, 4005);
    const exp = now() + 7200;
    const status = await refresh(client, await tokenFor('renewed', { exp, permissions: ['subscribe:secret.*'] }));
    assert.deepEqual({ ...status, expires_at: Number(status.expires_at) },
      { accepted: true, expires_at: exp, reason: '', permissions: ['subscribe:secret.*'] });
    assert.equal((await client.subscribe('secret.one')).code, 0);
    // And back: rights go as they came.
    assert.equal((await refresh(client, await tokenFor('renewed'))).accepted, true);
    assert.equal((await client.subscribe('secret.two')).code, 4005);
    await client.leave();
  });

  test('a token that would not be taken at a login, or is another user\'s, changes nothing', async () => {
    const exp = now() + 3000;
    const client = await Client.enter(server, 'steady', { token: await tokenFor('steady', { exp }) });
    const cases = [
      [await tokenFor('steady', { exp: now() - 60 }), 'token_expired'],
      [await tokenFor('other'), 'another_user'],
      [await tokenFor('steady', { character_id: 'another' }), 'another_user'],
      [await sign(claims('steady'), 'quite another secret of more than 32 bytes'), 'bad_signature'],
      ['no token at all', 'invalid_token'],
    ];
    for (const [token, reason] of cases) {
      const status = await refresh(client, token);
      assert.deepEqual([status.accepted, status.reason, Number(status.expires_at)], [false, reason, exp]);
    }
    const from = client.messages.length;
    client.send(Type.TOKEN_REFRESH, { token: '' });
    await client.error(4003, { from });
    client.send(Type.TOKEN_REFRESH, { token: 'x'.repeat(9000) });
    await client.error(4007, { from });
    assert.equal(client.closed, null);
    await client.leave();
  });

  test('a second one while the first is checked is too soon', async () => {
    const client = await Client.enter(server, 'hasty');
    const token = await tokenFor('hasty');
    const from = client.messages.length;
    client.send(Type.TOKEN_REFRESH, { token });
    client.send(Type.TOKEN_REFRESH, { token });
    await client.next(Type.TOKEN_STATUS, (p) => p.accepted, { from });
    // Each is answered by a status, or refused as too soon: never both or neither.
    await until(() => client.messages.slice(from)
      .filter((m) => m.type === Type.TOKEN_STATUS || (m.type === Type.ERROR && m.payload.code === 4006)).length === 2, 'two answers');
    await client.leave();
  });

  test('who refreshes in time stays behind the end of the first token; who does not is closed', async () => {
    const exp = now() + 4;
    const stays = await Client.enter(server, 'stays', { token: await tokenFor('stays', { exp }) });
    const goes = await Client.enter(server, 'goes', { token: await tokenFor('goes', { exp }) });
    await stays.error(4013);
    assert.equal((await refresh(stays, await tokenFor('stays'))).accepted, true);
    assert.equal(await goes.closeCode(long), 1008);
    const beat = stays.messages.length;
    stays.send(Type.HEARTBEAT, Buffer.from('here'));
    await stays.next(Type.PONG, () => true, { from: beat });
    assert.equal(stays.closed, null);
    await stays.leave();
  });

  test('by JSON-RPC: the request is taken, the status is a notification', async () => {
    const client = await Client.connect(server, 'json', { protocols: ['tidegate.v1.json'] });
    const from = client.messages.length;
    assert.deepEqual((await client.call('tokenRefresh', { token: await tokenFor('json') })).result, {});
    const status = await client.next(Type.TOKEN_STATUS, () => true, { from });
    assert.equal(status.payload.accepted, true);
    await client.leave();
  });

  test('the client library asks its provider when it is warned, and stays', async () => {
    const asked = [];
    const connection = new sdk.Connection({
      now: () => performance.now(), wallClock: () => Date.now(), setTimer: (run, ms) => setTimeout(run, ms),
      clearTimer: (timer) => clearTimeout(timer), random: () => Math.random(),
      openSocket: (url, protocols) => new WebSocket(url, protocols, { perMessageDeflate: false }),
    }, {
      endpoints: [server.url],
      token: () => {
        asked.push(now());
        // Within its warning at once, the first time; then not for a long while.
        return tokenFor('library', { exp: now() + (asked.length === 1 ? 1800 : 36_000) });
      },
    });
    const statuses = [];
    const losses = [];
    connection.on('message', (m) => { if (m.type === sdk.MessageType.TOKEN_STATUS) statuses.push(sdk.TokenStatus.decode(m.payload)); });
    connection.on('lost', (loss) => losses.push(loss));
    connection.connect();
    await until(() => statuses.length === 1, 'the answer to the newer token', long);
    assert.equal(statuses[0].accepted, true);
    assert.equal(asked.length, 2);
    assert.equal(connection.reconnects, 0);
    assert.deepEqual(losses, []);
    connection.disconnect();
  });

  test('counted', async () => {
    const { sum } = await metrics(server);
    assert.ok(sum('tidegate_tokens_refreshed_total') >= 5);
    assert.ok(sum('tidegate_token_refreshes_refused_total') >= 5);
  });
});
