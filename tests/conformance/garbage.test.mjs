// SPDX-License-Identifier: Apache-2.0
// Damaged upgrades, tokens and frames, 1,500 seeded kinds of them: the server answers or closes,
// never dies, its counters add up, and an honest client is served as if nothing had been.
import assert from 'node:assert/strict';
import { after, test } from 'node:test';
import { Client } from './lib/client.mjs';
import { Type, frame, parseFrames } from './lib/proto.mjs';
import { RawSocket, head, wsFrame } from './lib/raw.mjs';
import { adminGet, metrics, startServer } from './lib/server.mjs';
import { claims, forged, tokenFor } from './lib/tokens.mjs';
import { seeded, sleep, until } from './lib/wait.mjs';

const SEED = Number(process.env.TIDEGATE_SEED ?? 20240607);
const server = await startServer({ limits: { handshake_timeout: '2s' }, world: { linger: '1s' } });
after(() => server.stop());

const goodToken = await tokenFor('garbage');

// One or more random changes to a sequence of bytes.
function damage(random, bytes) {
  let out = Buffer.from(bytes);
  for (let n = 1 + random.below(4); n > 0; n -= 1) {
    const at = random.below(out.length + 1);
    switch (random.below(7)) {
      case 0: if (at < out.length) out[at] ^= 1 << random.below(8); break;
      case 1: if (at < out.length) out[at] = random.below(256); break;
      case 2: out = out.subarray(0, at); break;
      case 3: out = Buffer.concat([out.subarray(0, at), random.bytes(1 + random.below(20)), out.subarray(at)]); break;
      case 4: out = Buffer.concat([out.subarray(0, at), out.subarray(Math.min(out.length, at + 1 + random.below(12)))]); break;
      case 5: out = Buffer.concat([out.subarray(0, at), out.subarray(random.below(out.length + 1))]); break;
      default: out = Buffer.concat([out, random.bytes(random.below(40))]);
    }
  }
  return out;
}

// What came back: an HTTP status, WebSocket frames, a close.
async function play(bytes, afterUpgrade) {
  const socket = new RawSocket(server.port);
  const seen = { status: null, errors: [], close: null, frames: 0, bad: null };
  try {
    socket.write(bytes);
    const answer = await socket.response(afterUpgrade ? undefined : 150).catch(() => null);
    seen.status = answer?.status ?? null;
    if (seen.status === 101 && afterUpgrade) {
      for (const piece of afterUpgrade) socket.write(piece);
      const end = Date.now() + 100;
      while (Date.now() < end) {
        const next = await socket.frame(Math.max(1, end - Date.now())).catch(() => null);
        if (next === null) break;
        seen.frames += 1;
        if (next.masked || next.rsv) seen.bad = 'a masked frame or reserved bits from the server';
        if (next.opcode === 8) { seen.close = next.payload.length >= 2 ? next.payload.readUInt16BE(0) : 1005; break; }
        if (next.opcode === 2) {
          for (const m of parseFrames(next.payload)) if (m.type === Type.ERROR) seen.errors.push(m.payload.code);
        }
      }
    }
  } finally {
    socket.destroy();
  }
  return seen;
}

// Runs cases 16 at a time; `check` throws when an answer is not allowed.
async function run(count, make, check) {
  let next = 0;
  const seen = [];
  await Promise.all(Array.from({ length: 16 }, async () => {
    while (next < count) {
      const number = next;
      next += 1;
      const random = seeded(SEED + number);
      const answer = await play(...await make(random, number));
      try {
        check(answer);
        assert.equal(answer.bad, null);
      } catch (error) {
        error.message = `case ${number} of seed ${SEED}: ${error.message}`;
        throw error;
      }
      seen.push(answer);
    }
  }));
  assert.ok(server.running, `the server died:\n${server.output.slice(-4000)}`);
  return seen;
}

let errorsSeen = 0;
const HTTP = [null, 101, 400, 401, 403, 404, 405, 408, 413, 426, 429, 431, 501, 503, 505];

test('500 damaged upgrades', async () => {
  const good = head({ headers: { Authorization: `Bearer ${goodToken}`, Cookie: 'a=b', Origin: 'http://a' }, target: '/ws?resume=x' });
  const seen = await run(500, (random) => [damage(random, good)], (answer) => {
    assert.ok(HTTP.includes(answer.status), `answered ${answer.status}`);
  });
  assert.ok(seen.some((a) => a.status === 400));
});

test('300 damaged tokens', async () => {
  const parts = goodToken.split('.');
  const make = (random) => {
    let token;
    switch (random.below(5)) {
      case 0: token = damage(random, Buffer.from(goodToken)).toString('base64url'); break;
      case 1: token = [...parts.map((p, i) => i === random.below(3) ? random.bytes(random.below(60)).toString('base64url') : p)].join('.'); break;
      case 2: token = forged({ alg: random.pick(['none', 'HS256', 'RS256', 'ES256', 'EdDSA', 'HS1', 7, null, ['HS256']]) },
        claims('x'), random.bytes(random.below(70)).toString('base64url')); break;
      case 3: token = `${parts[0]}.${Buffer.from(damage(random, Buffer.from(parts[1], 'base64url'))).toString('base64url')}.${parts[2]}`; break;
      default: token = goodToken.slice(0, random.below(goodToken.length)) + random.pick(['', '.', '..', '=', '%00', '\t', 'é']);
    }
    // A token must be damaged to be refused.
    if (token === goodToken) token += 'x';
    return [head(random.chance(0.5) ? { headers: { Authorization: `Bearer ${token}` } }
      : { target: `/ws?token=${encodeURIComponent(token)}` })];
  };
  const seen = await run(300, make, (answer) => {
    assert.notEqual(answer.status, 101, 'a damaged token was accepted');
    assert.ok(HTTP.includes(answer.status), `answered ${answer.status}`);
  });
  assert.ok(seen.filter((a) => a.status === 401).length > 200);
});

test('400 damaged protocol frames in good WebSocket frames', async () => {
  const seeds = [
    frame(Type.HEARTBEAT, Buffer.from('heartbeat')),
    frame(Type.CLIENT_HELLO, { client_version: 'garbage', state_encoding: 0, view_distance: 50 }),
    frame(Type.PLAYER_MOVE, { position: { x: 1, y: 2, z: 3 }, rotation: { w: 1 }, velocity: { x: 1 }, client_tick: 7 }),
    frame(Type.TIME_SYNC, { client_time: 12345 }),
    frame(Type.PLAYER_MOVE, { position: { x: 1e38, y: NaN, z: -Infinity }, client_tick: 0xffffffff }),
    frame(Type.HEARTBEAT, Buffer.from('a'), { sequence: 1, requires_ack: true, ack: 99999 }),
  ];
  const make = async (random, number) => {
    const pieces = [];
    for (let n = 1 + random.below(5); n > 0; n -= 1) {
      const data = random.chance(0.1) ? random.bytes(random.below(200))
        : damage(random, Buffer.concat([random.pick(seeds), ...(random.chance(0.3) ? [random.pick(seeds)] : [])]));
      pieces.push(wsFrame(2, data));
    }
    return [head({ headers: { Authorization: `Bearer ${await tokenFor(`frames-${number % 40}`)}` } }), pieces];
  };
  const seen = await run(400, make, (answer) => {
    assert.equal(answer.status, 101);
    assert.ok([null, 1002, 1008, 1009, 4015].includes(answer.close), `closed with ${answer.close}`);
    for (const code of answer.errors) assert.ok(code >= 4000 && code <= 4017, `ERROR ${code}`);
  });
  const errors = seen.flatMap((a) => a.errors);
  errorsSeen += errors.length;
  assert.ok(errors.includes(4000) && errors.includes(4002), 'both 4000 and 4002 were seen');
});

test('300 damaged WebSocket frames', async () => {
  const make = async (random, number) => {
    const heartbeat = frame(Type.HEARTBEAT, Buffer.from('x'));
    const good = wsFrame(random.pick([0, 1, 2, 8, 9, 10, 3, 15]), random.chance(0.5) ? heartbeat : random.bytes(random.below(200)), {
      fin: random.chance(0.7), rsv: random.chance(0.8) ? 0 : random.below(8), masked: random.chance(0.9) });
    return [head({ headers: { Authorization: `Bearer ${await tokenFor(`ws-${number % 40}`)}` } }),
      [random.chance(0.7) ? damage(random, good) : good, wsFrame(2, heartbeat)]];
  };
  const codes = new Set();
  await run(300, make, (answer) => {
    assert.equal(answer.status, 101);
    codes.add(answer.close);
    assert.ok([null, 1002, 1003, 1007, 1008, 1009, 4015].includes(answer.close)
      || (answer.close >= 1000 && answer.close < 5000), `closed with ${answer.close}`);
  });
  assert.ok(codes.has(1002));
});

test('bytes that are no HTTP at all', async () => {
  const cases = [Buffer.from([0x16, 3, 1, 2, 0, 1, 0, 1, 0xfc, 3, 3]), Buffer.from('PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n'),
    Buffer.from('\r\n\r\n\r\n'), Buffer.from('GET / HTTP/1.1\n\n'), Buffer.alloc(5000), Buffer.from('PROXY TCP4 1.1.1.1 2.2.2.2 1 2\r\n'),
    Buffer.from('OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n'), Buffer.from('GET http://a/ws HTTP/1.1\r\nHost: a\r\n\r\n')];
  for (const bytes of cases) {
    const answer = await play(bytes);
    assert.ok(HTTP.includes(answer.status) && answer.status !== 101, `answered ${answer.status}`);
  }
  assert.ok(server.running);
});

test('connections that go away at every moment', async () => {
  const bytes = head({ headers: { Authorization: `Bearer ${goodToken}` } });
  const random = seeded(SEED);
  for (let i = 0; i < 200; i += 1) {
    const socket = new RawSocket(server.port);
    socket.write(bytes.slice(0, random.below(bytes.length + 1)));
    if (random.chance(0.5)) await sleep(random.below(8));
    if (random.chance(0.5)) socket.socket.resetAndDestroy();
    else socket.destroy();
  }
  await sleep(100);
  assert.ok(server.running);
});

test('afterwards an honest client is served', async () => {
  const client = await Client.enter(server, 'honest');
  const tick = client.move(1, 0, 1);
  const ack = await client.next(Type.MOVE_ACK, (p) => p.client_tick >= tick);
  assert.equal(ack.payload.corrected, false);
  await client.leave();
  assert.deepEqual(client.breaches, []);
});

test('afterwards /livez and /readyz are 200', async () => {
  assert.equal((await adminGet(server, '/livez')).status, 200);
  assert.equal((await adminGet(server, '/readyz')).status, 200);
});

test('the counters add up: accepted = open + closed, and nobody is left', async () => {
  const values = await until(async () => {
    const now = await metrics(server);
    return now.sum('tidegate_connections_open') === 0 && now;
  }, 'no open connections');
  const accepted = values.sum('tidegate_connections_accepted_total');
  assert.ok(accepted >= 1500, `${accepted} accepted`);
  assert.equal(values.sum('tidegate_connections_closed_total'), accepted);
  assert.equal(values.sum('tidegate_players'), 0);
  assert.ok(values.sum('tidegate_errors_sent_total') >= errorsSeen);
  assert.ok(values.sum('tidegate_auth_accepted_total') <= values.sum('tidegate_auth_requests_total'));
  const refusedByToken = values.samples.filter((s) => s.name === 'tidegate_upgrades_refused_total')
    .reduce((total, s) => total + s.value, 0);
  assert.ok(refusedByToken >= 500, `${refusedByToken} upgrades refused`);
});

test('afterwards every entity has left the world', async () => {
  await until(async () => (await metrics(server)).sum('tidegate_entities') === 0, 'an empty world');
});
