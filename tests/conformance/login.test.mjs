// SPDX-License-Identifier: Apache-2.0
// Logging in: the upgrade, every refusal with its status and code, every kind of key, and the first
// messages after the 101.
import assert from 'node:assert/strict';
import { createHmac, createSign } from 'node:crypto';
import { writeFileSync } from 'node:fs';
import { after, describe, test } from 'node:test';
import { join } from 'node:path';
import { exportJWK, exportSPKI, generateKeyPair } from 'jose';
import { Client } from './lib/client.mjs';
import { Type } from './lib/proto.mjs';
import { KEY, RawSocket, acceptOf, head, open, request } from './lib/raw.mjs';
import { secret, startServer, temporaryFolder } from './lib/server.mjs';
import { claims, forged, now, sign, tokenFor } from './lib/tokens.mjs';
import { sleep } from './lib/wait.mjs';

const folder = temporaryFolder();
const servers = [];
const start = async (changes) => {
  const server = await startServer(changes, { folder });
  servers.push(server);
  return server;
};
after(async () => { for (const server of servers) await server.stop(); });

const plain = await start({ limits: { handshake_timeout: '1s' } });

const bearer = (token) => ({ headers: { Authorization: `Bearer ${token}` } });
const ask = (server, token) => request(server.port, head(bearer(token)));

// The answer is a refusal with this status and code, in the form of the document.
function refused(answer, status, code) {
  assert.equal(answer.status, status, `${answer.line} ${answer.body}`);
  assert.match(answer.headers['content-type'] ?? '', /^application\/json/);
  const body = JSON.parse(answer.body);
  assert.equal(typeof body.message, 'string');
  assert.ok(body.message.length > 0);
  if (code instanceof Array) assert.ok(code.includes(body.error), `${body.error} is none of ${code}`);
  else if (code) assert.equal(body.error, code);
}

describe('the upgrade', () => {
  test('a good request is answered with 101 and the right accept key', async () => {
    const answer = await ask(plain, await tokenFor('alice'));
    assert.equal(answer.status, 101);
    assert.equal(answer.headers.upgrade.toLowerCase(), 'websocket');
    assert.equal(answer.headers.connection.toLowerCase(), 'upgrade');
    assert.equal(answer.headers['sec-websocket-accept'], acceptOf(KEY));
  });
  test('no subprotocol offered: none is named', async () => {
    const answer = await ask(plain, await tokenFor('alice'));
    assert.equal(answer.headers['sec-websocket-protocol'], undefined);
  });
  test('tidegate.v1.proto offered: it is named', async () => {
    const answer = await request(plain.port, head({ headers: {
      Authorization: `Bearer ${await tokenFor('alice')}`, 'Sec-WebSocket-Protocol': 'other, tidegate.v1.proto' } }));
    assert.equal(answer.status, 101);
    assert.equal(answer.headers['sec-websocket-protocol'], 'tidegate.v1.proto');
  });
  test('header names and values are compared without case', async () => {
    const token = await tokenFor('alice');
    const answer = await request(plain.port, `GET /ws HTTP/1.1\r\nhost: a\r\nUPGRADE: WebSocket\r\n`
      + `connection: keep-alive, Upgrade\r\nsec-websocket-key: ${KEY}\r\nsec-websocket-version: 13\r\n`
      + `authorization: bearer ${token}\r\n\r\n`);
    assert.equal(answer.status, 101);
  });
  test('a request that arrives byte by byte', async () => {
    const socket = new RawSocket(plain.port);
    const text = head(bearer(await tokenFor('alice')));
    for (let i = 0; i < text.length; i += 7) {
      socket.write(text.slice(i, i + 7));
      if (i % 70 === 0) await sleep(1);
    }
    assert.equal((await socket.response()).status, 101);
    socket.destroy();
  });
  const malformed = {
    'no key': { headers: { 'Sec-WebSocket-Key': undefined } },
    'a short key': { headers: { 'Sec-WebSocket-Key': 'AAAA' } },
    'a key that is not base64': { headers: { 'Sec-WebSocket-Key': '!!!!!!!!!!!!!!!!!!!!!!==' } },
    'no Upgrade': { headers: { Upgrade: undefined } },
    'another Upgrade': { headers: { Upgrade: 'h2c' } },
    'no Connection': { headers: { Connection: undefined } },
    'no Host': { headers: { Host: undefined } },
    'two keys': { extra: [`Sec-WebSocket-Key: ${KEY}`] },
    'a header without a colon': { extra: ['nonsense'] },
    'a space before the colon': { extra: ['X-A : b'] },
    'a folded header': { extra: ['X-A: b', ' c'] },
  };
  for (const [what, change] of Object.entries(malformed)) {
    test(`400 for ${what}`, async () => {
      const token = await tokenFor('alice');
      refused(await request(plain.port, head({ ...change, headers: { Authorization: `Bearer ${token}`, ...change.headers } })), 400);
    });
  }
  test('HTTP/1.0 is refused', async () => {
    const answer = await request(plain.port, head({ version: 'HTTP/1.0', ...bearer(await tokenFor('a')) }));
    assert.ok([400, 505].includes(answer.status), answer.line);
  });
  test('POST is refused', async () => {
    const answer = await request(plain.port, head({ method: 'POST', ...bearer(await tokenFor('a')) }));
    assert.ok([400, 405].includes(answer.status), answer.line);
  });
  for (const version of ['12', '8', '14', 'x']) {
    test(`426 with Sec-WebSocket-Version: 13 for version ${version}`, async () => {
      const answer = await request(plain.port, head({ headers: {
        Authorization: `Bearer ${await tokenFor('a')}`, 'Sec-WebSocket-Version': version } }));
      refused(answer, 426);
      assert.equal(answer.headers['sec-websocket-version'], '13');
    });
  }
  test('431 or 413 for a head that is too large', async () => {
    const socket = new RawSocket(plain.port);
    socket.write(head({ extra: Array.from({ length: 300 }, (_, i) => `X-${i}: ${'a'.repeat(100)}`) }));
    const answer = await socket.response();
    assert.ok([413, 431].includes(answer.status), answer.line);
    refused(answer, answer.status);
    socket.destroy();
  });
  test('431 or 413 for a head that never ends', async () => {
    const socket = new RawSocket(plain.port);
    socket.write(`GET /ws HTTP/1.1\r\nHost: ${'a'.repeat(100_000)}`);
    const answer = await socket.response();
    assert.ok([413, 431].includes(answer.status), answer.line);
    socket.destroy();
  });
  test('408 when the head takes too long', async () => {
    const socket = new RawSocket(plain.port);
    socket.write('GET /ws HTTP/1.1\r\nHost: a\r\n');
    refused(await socket.response(), 408);
    await socket.end();
  });
});

describe('where the token stands', () => {
  test('query', async () => {
    const answer = await request(plain.port, head({ target: `/ws?a=b&token=${await tokenFor('alice')}` }));
    assert.equal(answer.status, 101);
  });
  test('cookie auth_token among others', async () => {
    const answer = await request(plain.port, head({ headers: { Cookie: `a=b; auth_token=${await tokenFor('alice')}; c=d` } }));
    assert.equal(answer.status, 101);
  });
  test('the header wins over query and cookie', async () => {
    const good = await tokenFor('alice');
    const target = `/ws?token=${good}`;
    assert.equal((await request(plain.port, head({ target, headers: { Authorization: 'Bearer nonsense', Cookie: `auth_token=${good}` } }))).status, 401);
    assert.equal((await request(plain.port, head({ target: '/ws?token=nonsense', ...bearer(good) }))).status, 101);
  });
  test('the query wins over the cookie', async () => {
    const good = await tokenFor('alice');
    assert.equal((await request(plain.port, head({ target: '/ws?token=nonsense', headers: { Cookie: `auth_token=${good}` } }))).status, 401);
    assert.equal((await request(plain.port, head({ target: `/ws?token=${good}`, headers: { Cookie: 'auth_token=nonsense' } }))).status, 101);
  });
});

describe('tokens under a shared secret', () => {
  test('401 no_token', async () => refused(await request(plain.port, head()), 401, 'no_token'));
  test('401 no_token for another scheme', async () => {
    refused(await request(plain.port, head({ headers: { Authorization: 'Basic YTpi' } })), 401, ['no_token', 'invalid_token']);
  });
  test('401 token_expired', async () => {
    refused(await ask(plain, await tokenFor('alice', { exp: now() - 3600 })), 401, 'token_expired');
  });
  test('401 bad_signature for another secret', async () => {
    refused(await ask(plain, await sign(claims('alice'), 'another secret of more than thirty-two bytes')), 401, 'bad_signature');
  });
  test('401 bad_signature for a changed payload', async () => {
    const [header, , signature] = (await tokenFor('alice')).split('.');
    const payload = Buffer.from(JSON.stringify(claims('root'))).toString('base64url');
    refused(await ask(plain, `${header}.${payload}.${signature}`), 401, 'bad_signature');
  });
  test('401 for a token that is not valid yet', async () => {
    refused(await ask(plain, await tokenFor('alice', { nbf: now() + 3600 })), 401, 'invalid_token');
  });
  test('401 invalid_token without sub', async () => {
    refused(await ask(plain, await sign(claims(undefined))), 401, 'invalid_token');
  });
  for (const alg of ['none', 'None', 'NONE', '', 'HS512', 'XX999']) {
    test(`401 for alg ${alg || 'empty'}`, async () => {
      refused(await ask(plain, forged({ alg, typ: 'JWT' }, claims('alice'))), 401, ['invalid_token', 'bad_signature']);
      refused(await ask(plain, forged({ alg, typ: 'JWT' }, claims('alice'), 'AAAA')), 401, ['invalid_token', 'bad_signature']);
    });
  }
  test('401 for the wrong length of a signature', async () => {
    const token = await tokenFor('alice');
    refused(await ask(plain, token.slice(0, -4)), 401, ['bad_signature', 'invalid_token']);
    refused(await ask(plain, `${token}AAAA`), 401, ['bad_signature', 'invalid_token']);
  });
  test('401 for a critical header nobody knows', async () => {
    const header = { alg: 'HS256', crit: ['x'], x: 1 };
    // jose will not sign this; the signature is made by hand.
    const input = forged(header, claims('alice')).slice(0, -1);
    const signature = createHmac('sha256', secret).update(input).digest('base64url');
    refused(await ask(plain, `${input}.${signature}`), 401, 'invalid_token');
  });
  const garbage = {
    'one word': 'garbage', 'two dots': '..', 'one dot': 'a.b', 'four parts': 'a.b.c.d',
    'base64 that is no JSON': forged('not json', 'not json', 'AAAA'), 'bad base64': '!!.??.&&',
    'an array': forged('[]', '[]', 'AAAA'), 'deep nesting': forged(`${'['.repeat(700)}`, '{}', 'AAAA'),
    'padded base64': `${forged({ alg: 'HS256' }, { sub: 'a' }, 'AAAA')}==`,
  };
  for (const [what, token] of Object.entries(garbage)) {
    test(`401 invalid_token for ${what}`, async () => refused(await ask(plain, token), 401, ['invalid_token', 'bad_signature']));
  }
  test('an oversized token is refused', async () => {
    const answer = await ask(plain, await tokenFor('alice', { filler: 'x'.repeat(5000) }));
    if (answer.status !== 101) assert.ok([401, 413, 431].includes(answer.status), answer.line);
    const larger = await ask(plain, await tokenFor('alice', { filler: 'x'.repeat(60_000) }));
    assert.ok([401, 413, 431].includes(larger.status), larger.line);
  });
  test('claims of the wrong kind', async () => {
    for (const bad of [{ exp: 'soon' }, { nbf: 'later' }, { sub: 7 }, { sub: '' }, { sub: 'x'.repeat(300) }]) {
      refused(await ask(plain, await sign({ sub: 'alice', exp: now() + 60, ...bad })), 401, 'invalid_token');
    }
  });
});

describe('issuer and audience', async () => {
  const server = await start({ auth: { issuer: 'https://login.example', audience: 'game' } });
  const good = { iss: 'https://login.example', aud: 'game' };
  test('both right', async () => assert.equal((await ask(server, await tokenFor('a', good))).status, 101));
  test('one of several audiences', async () => {
    assert.equal((await ask(server, await tokenFor('a', { ...good, aud: ['x', 'game'] }))).status, 101);
  });
  for (const aud of ['other', ['a', 'b'], [], undefined]) {
    test(`401 bad_audience for ${JSON.stringify(aud)}`, async () => {
      refused(await ask(server, await tokenFor('a', { ...good, aud })), 401, 'bad_audience');
    });
  }
  for (const iss of ['other', 'https://login.example/', undefined]) {
    test(`401 bad_issuer for ${JSON.stringify(iss)}`, async () => {
      refused(await ask(server, await tokenFor('a', { ...good, iss })), 401, 'bad_issuer');
    });
  }
});

describe('public keys', async () => {
  const kinds = {
    RS256: await generateKeyPair('RS256', { extractable: true }),
    ES256: await generateKeyPair('ES256', { extractable: true }),
    EdDSA: await generateKeyPair('EdDSA', { crv: 'Ed25519', extractable: true }),
  };
  const others = {
    RS256: await generateKeyPair('RS256'),
    ES256: await generateKeyPair('ES256'),
    EdDSA: await generateKeyPair('EdDSA', { crv: 'Ed25519' }),
  };
  for (const [alg, pair] of Object.entries(kinds)) {
    const pem = await exportSPKI(pair.publicKey);
    const file = join(folder, `${alg}.pem`);
    writeFileSync(file, pem);
    const server = await start({ auth: { hs256_secret: undefined, public_key_file: file } });
    test(`${alg} by PEM`, async () => {
      assert.equal((await ask(server, await sign(claims('a'), pair.privateKey, { alg }))).status, 101);
    });
    test(`${alg} by PEM: another key is 401 bad_signature`, async () => {
      refused(await ask(server, await sign(claims('a'), others[alg].privateKey, { alg })), 401, 'bad_signature');
    });
    test(`${alg} by PEM: expired is 401 token_expired`, async () => {
      refused(await ask(server, await sign(claims('a', { exp: now() - 60 }), pair.privateKey, { alg })), 401, 'token_expired');
    });
    test(`${alg} by PEM: HS256 with the public key as secret is 401`, async () => {
      for (const key of [pem, pem.trim(), pem.replace(/-----[^-]+-----|\s/g, '')]) {
        refused(await ask(server, await sign(claims('a'), key)), 401, ['invalid_token', 'bad_signature']);
      }
    });
    test(`${alg} by PEM: alg none is 401`, async () => {
      refused(await ask(server, forged({ alg: 'none' }, claims('a'))), 401, ['invalid_token', 'bad_signature']);
    });
  }
  const keys = [];
  for (const [alg, pair] of Object.entries(kinds)) {
    keys.push({ ...await exportJWK(pair.publicKey), kid: `key-${alg}`, alg, use: 'sig' });
  }
  const file = join(folder, 'jwks.json');
  writeFileSync(file, JSON.stringify({ keys }));
  const server = await start({ auth: { hs256_secret: undefined, jwks_file: file } });
  for (const [alg, pair] of Object.entries(kinds)) {
    test(`${alg} by JWKS`, async () => {
      assert.equal((await ask(server, await sign(claims('a'), pair.privateKey, { alg, kid: `key-${alg}` }))).status, 101);
    });
    test(`${alg} by JWKS: another key under this kid is 401 bad_signature`, async () => {
      refused(await ask(server, await sign(claims('a'), others[alg].privateKey, { alg, kid: `key-${alg}` })), 401, 'bad_signature');
    });
    test(`${alg} by JWKS: an unknown kid is 401`, async () => {
      refused(await ask(server, await sign(claims('a'), pair.privateKey, { alg, kid: 'unknown' })), 401, ['invalid_token', 'bad_signature']);
    });
    test(`${alg} by JWKS: the kid of a key of another kind is 401`, async () => {
      const kid = alg === 'RS256' ? 'key-ES256' : 'key-RS256';
      refused(await ask(server, await sign(claims('a'), pair.privateKey, { alg, kid })), 401, ['invalid_token', 'bad_signature']);
    });
  }
  test('ES256 by JWKS: a DER signature is 401', async () => {
    const input = forged({ alg: 'ES256', kid: 'key-ES256' }, claims('a')).slice(0, -1);
    const der = createSign('sha256').update(input).sign(kinds.ES256.privateKey).toString('base64url');
    refused(await ask(server, `${input}.${der}`), 401, ['invalid_token', 'bad_signature']);
  });
});

describe('limits', async () => {
  const server = await start({ limits: { connections: 3 }, shards: { count: 1 } });
  test('429 too_many_connections with Retry-After', async () => {
    const held = [];
    for (let i = 0; i < 3; i += 1) held.push(await open(server.port, `/ws?token=${await tokenFor(`u${i}`)}`));
    const answer = await ask(server, await tokenFor('one-too-many'));
    refused(answer, 429, 'too_many_connections');
    assert.match(answer.headers['retry-after'] ?? '', /^\d+$/);
    for (const socket of held) socket.destroy();
    await sleep(200);
    assert.equal((await ask(server, await tokenFor('after'))).status, 101);
  });
});

describe('the first messages', () => {
  test('CONNECTION_ESTABLISHED, then AUTHENTICATION_RESULT', async () => {
    const client = await Client.connect(plain, 'carol', { hello: false });
    await client.next(Type.AUTHENTICATION_RESULT);
    assert.deepEqual(client.messages.slice(0, 2).map((m) => m.name), ['CONNECTION_ESTABLISHED', 'AUTHENTICATION_RESULT']);
    const { payload } = client.messages[0];
    assert.ok(payload.session_id.length > 0);
    assert.ok(payload.server_version.length > 0);
    assert.ok(Math.abs(payload.server_time - Date.now()) < 10_000);
    assert.ok(payload.heartbeat_interval > 0);
    assert.ok(payload.tick_rate > 0);
    const result = client.messages[1].payload;
    assert.equal(result.success, true);
    assert.equal(result.user_id, 'carol');
    await client.leave();
    assert.deepEqual(client.breaches, []);
  });
  test('character_id of the token is the player', async () => {
    const token = await tokenFor('dave', { character_id: 'dave-the-elf' });
    const client = await Client.enter(plain, 'dave-the-elf', { token });
    assert.equal(client.all(Type.AUTHENTICATION_RESULT)[0].payload.user_id, 'dave');
    assert.equal(client.all(Type.AUTHENTICATION_RESULT)[0].payload.character_id, 'dave-the-elf');
    assert.ok(client.me, 'the own entity is called after the character');
    await client.leave();
  });
  test('permissions of the token are told', async () => {
    const token = await tokenFor('erin', { permissions: ['publish:room.a', 'subscribe:guild.*'] });
    const client = await Client.connect(plain, 'erin', { token });
    const { payload } = await client.next(Type.AUTHENTICATION_RESULT);
    assert.deepEqual([...payload.permissions].sort(), ['publish:room.a', 'subscribe:guild.*']);
    await client.leave();
  });
  test('resume= with a token nobody gave: RESUME_RESULT says no, the session goes on', async () => {
    const client = await Client.connect(plain, 'frank', { query: '&resume=nonsense' });
    const { payload } = await client.next(Type.RESUME_RESULT);
    assert.equal(payload.resumed, false);
    assert.ok(payload.reason.length > 0);
    assert.deepEqual(client.messages.slice(0, 3).map((m) => m.name),
      ['CONNECTION_ESTABLISHED', 'AUTHENTICATION_RESULT', 'RESUME_RESULT']);
    await client.next(Type.WORLD_STATE);
    await client.leave();
  });
});
