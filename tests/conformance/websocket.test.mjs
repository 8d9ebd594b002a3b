// SPDX-License-Identifier: Apache-2.0
// RFC 6455 on tidegate-echo: the rows of lib/websocket_cases.mjs, and what needs more than rows.
import assert from 'node:assert/strict';
import { after, describe, test } from 'node:test';
import WebSocket from 'ws';
import { BINARY, binary, bytes, close, cuts, expectAll, fragments, gets, more, ping, run, table, text, utf8 } from './lib/cases.mjs';
import { KEY, RawSocket, acceptOf, head, open, request } from './lib/raw.mjs';
import { startEcho } from './lib/server.mjs';
import { sleep, within } from './lib/wait.mjs';
import { closing, control, fragmentation, large, messages, text_rules, violations } from './lib/websocket_cases.mjs';

const server = await startEcho();
const strict = await startEcho(['--message-bytes', '1024', '--heartbeat', '0.3', '--heartbeat-timeout', '1', '--message-timeout', '1']);
after(() => Promise.all([server.stop(), strict.stop()]));

describe('messages', () => table(server, messages()));
describe('control frames', () => table(server, control()));
describe('violations', () => table(server, violations()));
describe('fragments', () => table(server, fragmentation()));
describe('UTF-8', () => table(server, text_rules()));
describe('closing', () => table(server, closing()));
describe('large messages', () => table(server, large()));

describe('a limit of 1,024 bytes', () => table(strict, [
  ['1,024 bytes', [binary(Buffer.alloc(1024, 1))], gets.binary(Buffer.alloc(1024, 1))],
  ['1,025 bytes: 1009', [binary(Buffer.alloc(1025, 1))], gets.close(1009)],
  ['1,024 bytes in 1,024 fragments', fragments(BINARY, Buffer.alloc(1024, 1), cuts(1024, 1024)), gets.binary(Buffer.alloc(1024, 1))],
  ['1,025 bytes in 1,025 fragments: 1009', [Buffer.concat(fragments(BINARY, Buffer.alloc(1025, 1), cuts(1025, 1025)))], gets.close(1009)],
  ['a message at the limit behind another in one write', [Buffer.concat([binary(Buffer.alloc(1000, 1)), binary(Buffer.alloc(1024, 2)), ping('x')])],
    gets.binary(Buffer.alloc(1000, 1)), gets.binary(Buffer.alloc(1024, 2)), gets.pong('x')],
  ['a control frame where the message has used up the limit', [binary(Buffer.alloc(1024, 1), { fin: false }), ping('x')], gets.pong('x')],
  ['text is judged before its size: 1007 or 1009', [text(Buffer.alloc(1025, 0xff))], gets.close(1007, 1009)],
]));

describe('peers that do not play along', () => {
  test('one that reads nothing while it sends fragments gets everything later', async () => {
    const socket = await open(server.port);
    socket.socket.pause();
    const payload = Buffer.alloc(3 << 20, 'b');
    for (const piece of fragments(BINARY, payload, cuts(payload.length, 300), { between: [ping('p')] })) socket.write(piece);
    await sleep(200);
    socket.socket.resume();
    await expectAll(socket, [...Array(299).fill(gets.pong('p')), gets.binary(payload)]);
    socket.write(close(1000));
    await expectAll(socket, [gets.close(1000)]);
    socket.destroy();
  });
  test('one that reads nothing in the middle of a message is served when it goes on', async () => {
    const socket = await open(server.port);
    const payload = Buffer.alloc(1 << 20, 'm');
    socket.socket.pause();
    socket.write(Buffer.concat([binary(payload), text('begun ', { fin: false }), ping('p')]));
    await sleep(200);
    socket.write(Buffer.concat([more('and ', { fin: false }), ping('q')]));
    await sleep(100);
    socket.socket.resume();
    socket.write(more('ended'));
    await expectAll(socket, [gets.binary(payload), gets.pong('p'), gets.pong('q'), gets.text('begun and ended')]);
    socket.write(close(1000));
    await expectAll(socket, [gets.close(1000)]);
    socket.destroy();
  });
  test('one that never reads is cut at the backlog, others are served', async () => {
    const socket = await open(server.port);
    socket.socket.pause();
    const ended = new Promise((done) => { socket.socket.on('close', done); });
    const payload = binary(Buffer.alloc(4 << 20, 'b'));
    for (let i = 0; i < 24; i += 1) socket.write(payload);
    await run(server, { send: [text('meanwhile')], expect: [gets.text('meanwhile')] });
    // Its writes fail once the server has closed; what was sent to it may still be read.
    await within(new Promise((done) => {
      const timer = setInterval(() => { if (socket.ended || socket.socket.destroyed) { clearInterval(timer); done(); } socket.write(ping('?')); }, 20);
    }), 'the end of a peer that does not read');
    socket.socket.resume();
    socket.destroy();
    await ended;
  });
  test('a head that drips is ended', async () => {
    const socket = new RawSocket(strict.port);
    const ended = socket.response(15_000);
    const bytesOf = utf8(head({ target: '/' }));
    const timer = setInterval(() => socket.write(bytesOf.subarray(0, 1)), 100);
    const answer = await ended;
    clearInterval(timer);
    assert.ok(answer === null || [400, 408].includes(answer.status), answer?.line);
    socket.destroy();
  });
  test('a message that drips is ended with 1008', async () => {
    const socket = await open(strict.port);
    socket.write(binary(Buffer.alloc(500)).subarray(0, 20));
    const timer = setInterval(() => socket.write(bytes(1)), 100);
    assert.equal(await socket.closeCode(), 1008);
    clearInterval(timer);
    socket.destroy();
  });
  test('a fragmented message that is not finished is ended with 1008', async () => {
    const socket = await open(strict.port);
    socket.write(binary('x', { fin: false }));
    const timer = setInterval(() => socket.write(ping('')), 100);
    assert.equal(await socket.closeCode(), 1008);
    clearInterval(timer);
    socket.destroy();
  });
  test('a silent peer is pinged, then ended with 1008', async () => {
    const socket = await open(strict.port);
    const first = await socket.frame();
    assert.equal(first.opcode, 9);
    assert.equal(await socket.closeCode(), 1008);
    socket.destroy();
  });
  test('a flood of pings is ended with 1008', async () => {
    const socket = await open(server.port);
    socket.write(Buffer.concat(Array(60_000).fill(ping(''))));
    assert.equal(await socket.closeCode(), 1008);
    socket.destroy();
  });
  test('a flood of empty fragments is ended with 1008', async () => {
    const socket = await open(server.port);
    socket.write(Buffer.concat(fragments(BINARY, Buffer.alloc(0), Array(60_000).fill(0))));
    assert.equal(await socket.closeCode(), 1008);
    socket.destroy();
  });
  test('one that never ends its side is ended', async () => {
    const socket = new RawSocket(server.port, { allowHalfOpen: true });
    socket.write(Buffer.concat([utf8(head()), close(1000)]));
    assert.equal((await socket.response()).status, 101);
    await expectAll(socket, [gets.close(1000)]);
    // Our side is open still; writing fails once the server has let go of the socket.
    const refused = new Promise((done) => { socket.socket.once('close', done); });
    const timer = setInterval(() => socket.write(ping('?')), 50);
    await within(refused, 'the end of a socket whose peer does not end it');
    clearInterval(timer);
    assert.ok(['ECONNRESET', 'EPIPE'].includes(socket.error?.code), String(socket.error));
  });
  test('half a connection: what the peer asked before it ended its side is answered', async () => {
    for (let i = 0; i < 20; i += 1) {
      const socket = await open(server.port);
      socket.socket.end(Buffer.concat([text('last words'), close(1000)]));
      await expectAll(socket, [gets.text('last words'), gets.close(1000)]);
    }
  });
  test('half a connection: a refused request is answered', async () => {
    for (let i = 0; i < 20; i += 1) {
      const socket = new RawSocket(server.port);
      socket.socket.end(head({ method: 'PUT' }));
      assert.equal((await socket.response())?.status, 400);
    }
  });
});

test('npm ws in both directions, 1,000 messages', async () => {
  const socket = new WebSocket(server.url, { perMessageDeflate: false });
  await within(new Promise((done, fail) => { socket.once('open', done); socket.once('error', fail); }), 'open');
  let back = 0;
  const all = new Promise((done) => socket.on('message', (data) => {
    assert.equal(data.toString(), `m${back}`);
    back += 1;
    if (back === 1000) done();
  }));
  for (let i = 0; i < 1000; i += 1) socket.send(`m${i}`);
  await within(all, '1,000 echoes');
  socket.close(1000);
  await within(new Promise((done) => { socket.once('close', done); }), 'the close');
});

// login.test.mjs has the upgrade of tidegate; here is what only concerns form, on the bare stack.
describe('handshake', () => {
  test('the answer has the accept key and names no extension or subprotocol', async () => {
    const answer = await request(server.port, head());
    assert.equal(answer.line, 'HTTP/1.1 101 Switching Protocols');
    assert.equal(answer.headers['sec-websocket-accept'], acceptOf(KEY));
    assert.equal(answer.headers.upgrade.toLowerCase(), 'websocket');
    assert.equal(answer.headers.connection.toLowerCase(), 'upgrade');
    assert.ok(!('sec-websocket-extensions' in answer.headers) && !('sec-websocket-protocol' in answer.headers));
  });
  const accepted = {
    'Connection with other options': { headers: { Connection: 'keep-alive, Upgrade' } },
    'Connection twice': { headers: { Connection: 'keep-alive' }, extra: ['Connection: upgrade'] },
    'Upgrade among others': { headers: { Upgrade: 'h2c, WebSocket' } },
    'a target with a query': { target: '/a/b?c=d&e=%20' },
    'an absolute target': { target: 'http://example.org/chat' },
    'an IPv6 Host': { headers: { Host: '[::1]:7400' } },
    'subprotocols that nobody speaks here': { headers: { 'Sec-WebSocket-Protocol': 'chat, superchat' } },
    'a Host with a port': { headers: { Host: 'example.org:8080' } },
    'a key that ends in any digit of its last place': { headers: { 'Sec-WebSocket-Key': 'AQIDBAUGBwgJCgsMDQ4PEA==' } },
    // Decoders may look at those bits or not (RFC 4648 section 3.5); keys made by hand have them.
    'a key with bits behind its end': { headers: { 'Sec-WebSocket-Key': 'AQIDBAUGBwgJCgsMDQ4PEB==' } },
    'white space around values': { headers: { 'Sec-WebSocket-Version': ' \t13 \t' } },
    'an Origin': { headers: { Origin: 'null' } },
    'unknown fields, some empty': { extra: ['X-Empty:', 'X-Odd: \xe9\t~'] },
    'Content-Length: 0': { extra: ['Content-Length: 0'] },
  };
  for (const [what, change] of Object.entries(accepted)) {
    test(`101 for ${what}`, async () => assert.equal((await request(server.port, Buffer.from(head(change), 'latin1'))).status, 101));
  }
  const refused = {
    'two Hosts': { extra: ['Host: b'] },
    'two Hosts in one': { headers: { Host: 'a, b' } },
    'a Host with a path': { headers: { Host: 'a/b' } },
    'a Host with a user': { headers: { Host: 'a@b' } },
    'a port that is no number': { headers: { Host: 'a:b' } },
    'an empty Host': { headers: { Host: '' } },
    'an empty list of subprotocols': { headers: { 'Sec-WebSocket-Protocol': '' } },
    'a subprotocol with a space': { headers: { 'Sec-WebSocket-Protocol': 'a b' } },
    'a subprotocol in quotes': { headers: { 'Sec-WebSocket-Protocol': '"a"' } },
    'two keys': { extra: [`Sec-WebSocket-Key: ${KEY}`] },
    'an empty key': { headers: { 'Sec-WebSocket-Key': '' } },
    'no Upgrade': { headers: { Upgrade: undefined } },
    'no Connection': { headers: { Connection: undefined } },
    'a folded field': { extra: ['X: a', ' b'] },
    'a space before the colon': { extra: ['X : a'] },
    POST: { method: 'POST' },
    'HTTP/1.0': { version: 'HTTP/1.0' },
    'two versions': { extra: ['Sec-WebSocket-Version: 13'] },
    'two Origins': { extra: ['Origin: a', 'Origin: b'] },
    'no version': { headers: { 'Sec-WebSocket-Version': undefined } },
    'a key of 17 bytes': { headers: { 'Sec-WebSocket-Key': 'AQIDBAUGBwgJCgsMDQ4PEBE=' } },
    'a key without padding': { headers: { 'Sec-WebSocket-Key': 'AQIDBAUGBwgJCgsMDQ4PEA' } },
    'a body by length': { extra: ['Content-Length: 1'] },
    'a chunked body': { extra: ['Transfer-Encoding: chunked'] },
    'a fragment in the target': { target: '/a#b' },
    'a target that is no path': { target: 'a' },
    'a space in the target': { target: '/a b' },
    'HTTP/1.2': { version: 'HTTP/1.2' },
    'HTTP/2.0': { version: 'HTTP/2.0' },
    'a lower-case method': { method: 'get' },
    HEAD: { method: 'HEAD' },
    'an empty field name': { extra: [': x'] },
    'a field name with a space': { extra: ['X Y: z'] },
    'a NUL in a value': { extra: ['X: a\0b'] },
    'a bare CR in a value': { extra: ['X: a\rb'] },
    'Upgrade: websockets': { headers: { Upgrade: 'websockets' } },
    'Connection: upgrade-now': { headers: { Connection: 'upgrade-now' } },
  };
  for (const [what, change] of Object.entries(refused)) {
    test(`400 for ${what}`, async () => {
      const answer = await request(server.port, head(change));
      assert.equal(answer.status, 400, answer.body);
      assert.equal(JSON.parse(answer.body).error, 'malformed_upgrade');
      assert.equal(answer.headers.connection, 'close');
    });
  }
  for (const version of ['0', '8', '14', '013', '13, 8', '13.0', '', 'x']) {
    test(`426 for version "${version}"`, async () => {
      const answer = await request(server.port, head({ headers: { 'Sec-WebSocket-Version': version } }));
      assert.equal(answer.status, 426, answer.body);
      assert.equal(answer.headers['sec-websocket-version'], '13');
    });
  }
  test('431 for a head above the limit, whole or without end', async () => {
    for (const end of ['\r\n\r\n', '']) {
      const answer = await request(server.port, `GET / HTTP/1.1\r\nHost: a\r\nX: ${'a'.repeat(20_000)}${end}`);
      assert.equal(answer.status, 431);
    }
  });
  test('nothing behind a refused request is answered', async () => {
    const socket = new RawSocket(server.port);
    socket.write(Buffer.concat([utf8(head({ method: 'PUT' })), utf8(head()), text('x')]));
    assert.equal((await socket.response()).status, 400);
    await socket.end();
    assert.equal(socket.buffer.length, 0);
  });
  test('400 for lines that end with LF alone', async () => {
    assert.equal((await request(server.port, head().replaceAll('\r\n', '\n'))).status, 400);
  });
  test('400 at once for the hello of TLS', async () => {
    assert.equal((await request(server.port, bytes(0x16, 3, 1, 2, 0, 1, 0, 1, 0xfc))).status, 400);
  });
  test('frames behind the request in the same write are not lost', async () => {
    const socket = new RawSocket(server.port);
    socket.write(Buffer.concat([utf8(head()), text('early'), ping('too')]));
    assert.equal((await socket.response()).status, 101);
    await expectAll(socket, [gets.text('early'), gets.pong('too')]);
    socket.destroy();
  });
  for (const field of ['', ',', ';', 'a;', 'a; b=', 'a; b="', 'a; b="c d"', 'a b', 'a; =b', 'a, ;', '"a"', 'a; b=c=d']) {
    test(`400 for Sec-WebSocket-Extensions: ${field}`, async () => {
      assert.equal((await request(server.port, head({ headers: { 'Sec-WebSocket-Extensions': field } }))).status, 400);
    });
  }
  for (const field of ['permessage-deflate', 'x; y="z"', 'permessage-deflate; client_max_window_bits, x', ' , a , ']) {
    test(`declined without --deflate: ${field}`, async () => {
      const answer = await request(server.port, head({ headers: { 'Sec-WebSocket-Extensions': field } }));
      assert.equal(answer.status, 101);
      assert.ok(!('sec-websocket-extensions' in answer.headers));
    });
  }
});
