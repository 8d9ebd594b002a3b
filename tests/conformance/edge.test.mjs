// SPDX-License-Identifier: Apache-2.0
// What is demanded of a connection before its upgrade: limits by address, network, user and rate,
// origins, PROXY headers, forwarded addresses.
import assert from 'node:assert/strict';
import { connect as connectTcp } from 'node:net';
import { after, describe, test } from 'node:test';
import { connect as connectTls } from 'node:tls';
import { Authority } from './lib/certificates.mjs';
import { Client } from './lib/client.mjs';
import { RawSocket, head, request } from './lib/raw.mjs';
import { adminGet, metrics, startServer, temporaryFolder } from './lib/server.mjs';
import { claims, sign, tokenFor } from './lib/tokens.mjs';
import { until, within } from './lib/wait.mjs';

const folder = temporaryFolder();
const servers = [];
const start = async (changes) => {
  const server = await startServer(changes, { folder });
  servers.push(server);
  return server;
};
after(async () => { for (const server of servers) await server.stop(); });

const open = async (server, { user = 'u', headers = {}, before = Buffer.alloc(0) } = {}) => {
  const socket = new RawSocket(server.port);
  const text = Buffer.from(head({ headers: { Authorization: `Bearer ${await tokenFor(user)}`, ...headers } }));
  socket.write(Buffer.concat([before, text]));
  const answer = await socket.response();
  assert.ok(answer, 'ended without an answer');
  return { socket, ...answer };
};
const refused = (answer, status, code) => {
  assert.equal(answer.status, status, `${answer.line} ${answer.body}`);
  assert.equal(JSON.parse(answer.body).error, code);
  if (status === 429 || status === 503) {
    const wait = Number(answer.headers['retry-after']);
    assert.ok(Number.isInteger(wait) && wait >= 1 && wait <= 60, `Retry-After ${answer.headers['retry-after']}`);
  }
};
const addresses = async (server) => JSON.parse((await adminGet(server, '/api/v1/connections')).text)
  .connections.map((c) => c.address);
const counted = async (server, limit) => (await metrics(server)).sum('tidegate_admission_refused_total', `limit="${limit}"`);

// A PROXY version 2 header. `source` [address bytes, port]; without one a LOCAL command.
const signature = Buffer.from([0x0d, 0x0a, 0x0d, 0x0a, 0, 0x0d, 0x0a, 0x51, 0x55, 0x49, 0x54, 0x0a]);
function crc32c(bytes) {
  let crc = 0xffffffff;
  for (const byte of bytes) {
    crc ^= byte;
    for (let bit = 0; bit < 8; bit += 1) crc = (crc >>> 1) ^ (crc & 1 ? 0x82f63b78 : 0);
  }
  return (crc ^ 0xffffffff) >>> 0;
}
function proxyHeader({ source, version = 2, checksum, tlvs = Buffer.alloc(0) } = {}) {
  const fixed = Buffer.alloc(4);
  fixed[0] = (version << 4) | (source ? 1 : 0);
  let addresses = Buffer.alloc(0);
  if (source) {
    const width = source[0].length;
    fixed[1] = width === 4 ? 0x11 : 0x21;
    addresses = Buffer.alloc(2 * width + 4);
    Buffer.from(source[0]).copy(addresses);
    addresses.writeUInt16BE(source[1], 2 * width);
  }
  const crcField = checksum === undefined ? Buffer.alloc(0) : Buffer.from([3, 0, 4, 0, 0, 0, 0]);
  const rest = Buffer.concat([addresses, tlvs, crcField]);
  fixed.writeUInt16BE(rest.length, 2);
  const whole = Buffer.concat([signature, fixed, rest]);
  if (checksum !== undefined) whole.writeUInt32BE((crc32c(whole) ^ (checksum === 'wrong' ? 1 : 0)) >>> 0, whole.length - 4);
  return whole;
}

describe('limits', () => {
  test('connections of one address', async () => {
    const server = await start({ limits: { exempt: [], connections_per_ip: 3 } });
    const held = [];
    for (let i = 0; i < 3; i += 1) held.push(await open(server, { user: `h${i}` }));
    for (const { status } of held) assert.equal(status, 101);
    refused(await open(server), 429, 'too_many_connections');
    assert.ok(await counted(server, 'connections_per_ip') >= 1);
    held[0].socket.destroy();
    await until(async () => {
      const again = await open(server, { user: 'again' });
      if (again.status === 101) return true;
      again.socket.destroy();
      return false;
    }, 'room again');
  });
  test('sockets without a request count too', async () => {
    const server = await start({ limits: { exempt: [], connections_per_ip: 2 } });
    const idle = [new RawSocket(server.port), new RawSocket(server.port)];
    await until(async () => (await metrics(server)).sum('tidegate_connections_open') === 2, 'two sockets');
    refused(await open(server), 429, 'too_many_connections');
    for (const socket of idle) socket.destroy();
  });
  test('exempt networks are not counted', async () => {
    const server = await start({ limits: { connections_per_ip: 1, connects_per_ip: 1, connects_per_ip_burst: 1 } });
    for (let i = 0; i < 4; i += 1) assert.equal((await open(server, { user: `e${i}` })).status, 101);
  });
  test('connections of one user', async () => {
    const server = await start({ limits: { connections_per_user: 2 } });
    const token = (character) => sign(claims('family', { character_id: character }));
    const first = await Client.connect(server, 'family', { token: await token('a') });
    const second = await Client.connect(server, 'family', { token: await token('b') });
    const third = await request(server.port, head({ headers: { Authorization: `Bearer ${await token('c')}` } }));
    refused(third, 429, 'too_many_connections');
    assert.equal(await counted(server, 'connections_per_user'), 1);
    await first.leave();
    await until(async () => {
      const answer = await request(server.port, head({ headers: { Authorization: `Bearer ${await token('c')}` } }));
      return answer.status === 101;
    }, 'room again');
    await second.leave();
  });
  test('connects a second of one address', async () => {
    const server = await start({ shards: { count: 1 }, limits: { exempt: [], connects_per_ip: 1, connects_per_ip_burst: 2 } });
    const answers = await Promise.all(Array.from({ length: 12 }, (_, i) => open(server, { user: `r${i}` })));
    assert.ok(answers.some((a) => a.status === 101));
    const no = answers.filter((a) => a.status !== 101);
    assert.ok(no.length > 0, 'none was refused');
    for (const answer of no) refused(answer, 429, 'rate_limited');
    assert.equal(await counted(server, 'connects_per_ip'), no.length);
  });
  test('connects a second in all: a place in line', async () => {
    const server = await start({ shards: { count: 1 }, limits: { exempt: [], connects_per_ip: 0, connects: 1, connects_burst: 1 } });
    const answers = await Promise.all(Array.from({ length: 12 }, (_, i) => open(server, { user: `l${i}` })));
    const no = answers.filter((a) => a.status !== 101);
    assert.ok(no.length > 0, 'none was refused');
    for (const answer of no) refused(answer, 503, 'overloaded');
    const waits = no.map((a) => Number(a.headers['retry-after']));
    assert.ok(new Set(waits).size > 1, `all were told the same: ${waits}`);
  });
});

test('origins: listed ones, their subdomains and programs may connect, others get 403', async () => {
  const server = await start({ listen: { websocket: '127.0.0.1:0', origins: ['https://game.example', 'https://*.play.example'] } });
  for (const origin of ['https://game.example', 'https://GAME.example', 'https://eu.play.example', 'https://a.b.play.example', undefined]) {
    assert.equal((await open(server, { headers: { Origin: origin } })).status, 101, `${origin}`);
  }
  for (const origin of ['https://evil.example', 'http://game.example', 'https://game.example:8443', 'https://game.example.evil.example',
    'https://play.example', 'https://evil.example/.play.example', 'null', 'https://.play.example']) {
    refused(await open(server, { headers: { Origin: origin } }), 403, 'origin_denied');
  }
});

describe('forwarded addresses', () => {
  test('X-Forwarded-For of a trusted peer is the client: limits and the admin API see it', async () => {
    const server = await start({ listen: { websocket: '127.0.0.1:0', trusted: ['127.0.0.1', '10.0.0.0/8'] },
      limits: { exempt: [], connections_per_ip: 1 } });
    const from = (text, user) => open(server, { user, headers: { 'X-Forwarded-For': text } });
    assert.equal((await from('203.0.113.7', 'a')).status, 101);
    assert.equal((await from('198.51.100.1, 203.0.113.8, 10.1.2.3', 'b')).status, 101);
    assert.equal((await from('2001:db8::5', 'c')).status, 101);
    assert.deepEqual((await addresses(server)).sort(), ['203.0.113.7:0', '203.0.113.8:0', '[2001:db8::5]:0'].sort());
    // What the client writes itself stands in front and is not believed.
    refused(await from('192.0.2.99, 203.0.113.7', 'd'), 429, 'too_many_connections');
  });
  test('of any other peer it is not believed', async () => {
    const server = await start({ limits: { exempt: [], connections_per_ip: 1 } });
    const one = await open(server, { headers: { 'X-Forwarded-For': '203.0.113.7' } });
    assert.equal(one.status, 101);
    assert.match((await addresses(server))[0], /^127\.0\.0\.1:\d+$/);
    refused(await open(server, { headers: { 'X-Forwarded-For': '203.0.113.8' } }), 429, 'too_many_connections');
  });
  test('Forwarded (RFC 7239) when it is the one believed', async () => {
    const server = await start({ listen: { websocket: '127.0.0.1:0', trusted: ['127.0.0.1'], forwarded: 'forwarded' } });
    await open(server, { headers: { Forwarded: 'for=192.0.2.60;proto=http, for="[2001:db8::17]:4711"', 'X-Forwarded-For': '192.0.2.1' } });
    assert.deepEqual(await addresses(server), ['[2001:db8::17]:0']);
  });
});

describe('PROXY protocol', () => {
  const listen = { websocket: '127.0.0.1:0', proxy_protocol: 'required', trusted: ['127.0.0.0/8'] };
  const v4 = { source: [[203, 0, 113, 9], 4242] };

  test('the address in the header is the client', async () => {
    const server = await start({ listen, limits: { exempt: [], connections_per_ip: 1 } });
    assert.equal((await open(server, { user: 'a', before: proxyHeader(v4) })).status, 101);
    assert.deepEqual(await addresses(server), ['203.0.113.9:4242']);
    refused(await open(server, { before: proxyHeader(v4) }), 429, 'too_many_connections');
    const v6 = [0x20, 1, 0xd, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1];
    assert.equal((await open(server, { user: 'b', before: proxyHeader({ source: [v6, 1] }) })).status, 101);
    assert.equal((await open(server, { user: 'c', before: proxyHeader() })).status, 101, 'LOCAL');
  });
  test('in single bytes, with fields, with a checksum', async () => {
    const server = await start({ listen });
    assert.equal((await open(server, { before: proxyHeader({ ...v4, checksum: 'right' }) })).status, 101);
    assert.equal((await open(server, { user: 'b', before: proxyHeader({ ...v4, tlvs: Buffer.from([2, 0, 3, 97, 98, 99]) }) })).status, 101);
    const socket = new RawSocket(server.port);
    const bytes = Buffer.concat([proxyHeader({ source: [[192, 0, 2, 4], 99], checksum: 'right' }),
      Buffer.from(head({ headers: { Authorization: `Bearer ${await tokenFor('slow')}` } }))]);
    for (const byte of bytes) {
      socket.write(Buffer.from([byte]));
      await new Promise((done) => { setImmediate(done); });
    }
    assert.equal((await socket.response()).status, 101);
    assert.ok((await addresses(server)).includes('192.0.2.4:99'));
  });
  test('without it, damaged, or with a wrong checksum: refused', async () => {
    const server = await start({ listen });
    for (const before of [Buffer.alloc(0), proxyHeader({ ...v4, checksum: 'wrong' }), proxyHeader({ ...v4, version: 1 }),
      proxyHeader({ ...v4, tlvs: Buffer.from([2, 0, 9, 1]) }), Buffer.from('PROXY TCP4 1.2.3.4 5.6.7.8 1 2\r\n')]) {
      refused(await open(server, { before }), 400, 'malformed_upgrade');
    }
    assert.equal(await counted(server, 'proxy_header'), 5);
  });
  test('from a peer that is not trusted: refused', async () => {
    const server = await start({ listen: { ...listen, trusted: ['10.0.0.0/8'] } });
    refused(await open(server, { before: proxyHeader(v4) }), 400, 'malformed_upgrade');
  });
});

test('the admin API shows what TCP knows of a connection', async () => {
  const server = await start({});
  const client = await Client.enter(server, 'measured');
  const [{ tcp }] = JSON.parse((await adminGet(server, '/api/v1/connections')).text).connections;
  assert.ok(tcp.rtt_ms > 0 && tcp.rtt_ms < 60_000, JSON.stringify(tcp));
  for (const name of ['retransmits', 'unacked_segments', 'unsent_bytes']) assert.ok(Number.isInteger(tcp[name]), name);
  await client.leave();
});

describe('with TLS', () => {
  const authority = new Authority(folder);
  const certificate = authority.issue(['game.example', '127.0.0.1']);
  const tls = { certificates: [certificate.pair] };
  // A TLS connection behind `before`; the first bytes of an answer, or null when it ends without one.
  const dial = async (server, before, user) => {
    const tcp = connectTcp({ port: server.tlsPort, host: '127.0.0.1', noDelay: true });
    tcp.on('error', () => {});
    // In pieces, so that the header, the handshake and the request meet every border.
    if (before.length) { tcp.write(before.subarray(0, 10)); await new Promise((done) => { setTimeout(done, 20); }); tcp.write(before.subarray(10)); }
    const socket = connectTls({ socket: tcp, ca: authority.pem, servername: 'game.example' });
    const text = head({ headers: { Authorization: `Bearer ${await tokenFor(user)}` } });
    const answer = await within(new Promise((done) => {
      socket.once('secureConnect', () => socket.write(text));
      socket.once('data', (chunk) => done(chunk.toString('latin1')));
      for (const end of ['end', 'close', 'error']) socket.once(end, () => done(null));
    }), 'an answer or the end');
    return { socket, answer };
  };
  test('the PROXY header comes before the handshake', async () => {
    const server = await start({ tls, listen: { websocket: '127.0.0.1:0', tls: '127.0.0.1:0', proxy_protocol: 'required', trusted: ['127.0.0.1'] } });
    const { socket, answer } = await dial(server, proxyHeader({ source: [[203, 0, 113, 50], 999] }), 'through');
    assert.match(answer ?? 'nothing', /^HTTP\/1\.1 101/);
    assert.deepEqual(await addresses(server), ['203.0.113.50:999']);
    assert.equal((await dial(server, Buffer.alloc(0), 'without')).answer, null);
    socket.destroy();
  });
  test('who is over a limit is closed before a handshake is made for it', async () => {
    const server = await start({ tls, listen: { websocket: '127.0.0.1:0', tls: '127.0.0.1:0' }, limits: { exempt: [], connections_per_ip: 1 } });
    const first = await dial(server, Buffer.alloc(0), 'first');
    assert.match(first.answer ?? 'nothing', /^HTTP\/1\.1 101/);
    assert.equal((await dial(server, Buffer.alloc(0), 'second')).answer, null);
    assert.equal(await counted(server, 'connections_per_ip'), 1);
    assert.equal((await metrics(server)).sum('tidegate_tls_handshakes_total'), 1);
    first.socket.destroy();
  });
});
