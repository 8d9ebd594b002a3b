// SPDX-License-Identifier: Apache-2.0
// RFC 6455 on tidegate-echo: frames, fragments, control frames, closes, UTF-8.
import assert from 'node:assert/strict';
import { after, describe, test } from 'node:test';
import WebSocket from 'ws';
import { closeFrame, open, wsFrame } from './lib/raw.mjs';
import { startEcho } from './lib/server.mjs';
import { seeded, within } from './lib/wait.mjs';

const server = await startEcho();
after(() => server.stop());

const TEXT = 1, BINARY = 2, CONTINUE = 0, CLOSE = 8, PING = 9, PONG = 10;
// Opens, writes the pieces, hands over the socket, and lets go of it.
async function on(pieces, check) {
  const socket = await open(server.port);
  try {
    for (const piece of pieces) socket.write(piece);
    return await check(socket);
  } finally {
    socket.destroy();
  }
}
const closes = (code, pieces) => on(pieces, async (socket) => {
  const got = await socket.closeCode();
  assert.ok([code].flat().includes(got), `closed with ${got}`);
  await socket.end();
});

// One whole echoed message.
async function echoed(socket) {
  const parts = [];
  for (;;) {
    const next = await socket.frame();
    assert.ok(next, 'the server ended the connection');
    if (next.opcode >= 8) continue;
    assert.equal(next.masked, 0, 'a server does not mask');
    assert.equal(next.rsv, 0);
    parts.push(next);
    if (next.fin) return { opcode: parts[0].opcode, payload: Buffer.concat(parts.map((p) => p.payload)) };
  }
}

describe('messages', () => {
  for (const size of [0, 1, 125, 126, 127, 1000, 65535, 65536, 300_000, 1 << 20]) {
    test(`a binary message of ${size} bytes`, () => on([], async (socket) => {
      const payload = seeded(size).bytes(size);
      socket.write(wsFrame(BINARY, payload));
      const { opcode, payload: back } = await echoed(socket);
      assert.equal(opcode, BINARY);
      assert.ok(back.equals(payload));
    }));
  }
  test('text', () => on([wsFrame(TEXT, Buffer.from('κόσμε €😀'))], async (socket) => {
    const { opcode, payload } = await echoed(socket);
    assert.equal(opcode, TEXT);
    assert.equal(payload.toString(), 'κόσμε €😀');
  }));
  test('every mask alignment', () => on([], async (socket) => {
    const random = seeded(7);
    for (let size = 0; size < 80; size += 1) {
      const payload = random.bytes(size);
      socket.write(wsFrame(BINARY, payload, { mask: random.bytes(4) }));
      assert.ok((await echoed(socket)).payload.equals(payload), `${size} bytes`);
    }
  }));
  test('500 messages in one write come back in order', () => on(
    [Buffer.concat(Array.from({ length: 500 }, (_, i) => wsFrame(TEXT, Buffer.from(`m${i}`))))],
    async (socket) => {
      for (let i = 0; i < 500; i += 1) assert.equal((await echoed(socket)).payload.toString(), `m${i}`);
    }));
  test('byte by byte', () => on([], async (socket) => {
    for (const byte of Buffer.concat([wsFrame(TEXT, Buffer.from('slow')), wsFrame(BINARY, Buffer.alloc(200, 7))])) {
      socket.write(Buffer.from([byte]));
      await new Promise((done) => { setImmediate(done); });
    }
    assert.equal((await echoed(socket)).payload.toString(), 'slow');
    assert.ok((await echoed(socket)).payload.equals(Buffer.alloc(200, 7)));
  }));
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
});

describe('fragments', () => {
  test('two', () => on([wsFrame(TEXT, Buffer.from('frag'), { fin: false }), wsFrame(CONTINUE, Buffer.from('ment'))],
    async (socket) => assert.equal((await echoed(socket)).payload.toString(), 'fragment')));
  test('a hundred, some empty', () => on(Array.from({ length: 100 }, (_, i) =>
    wsFrame(i === 0 ? BINARY : CONTINUE, Buffer.alloc(i % 3, i), { fin: i === 99 })),
  async (socket) => assert.equal((await echoed(socket)).payload.length, 99)));
  test('a ping between fragments is answered before the message', () => on(
    [wsFrame(TEXT, Buffer.from('a'), { fin: false }), wsFrame(PING, Buffer.from('now'))],
    async (socket) => {
      const pong = await socket.frame();
      assert.equal(pong.opcode, PONG);
      assert.equal(pong.payload.toString(), 'now');
      socket.write(wsFrame(CONTINUE, Buffer.from('b')));
      assert.equal((await echoed(socket)).payload.toString(), 'ab');
    }));
  test('a character split between fragments', () => on(
    [wsFrame(TEXT, Buffer.from([0xe2, 0x82]), { fin: false }), wsFrame(CONTINUE, Buffer.from([0xac]))],
    async (socket) => assert.equal((await echoed(socket)).payload.toString(), '€')));
  test('a continuation of nothing: 1002', () => closes(1002, [wsFrame(CONTINUE, Buffer.from('x'))]));
  test('a new message inside a fragmented one: 1002', () => closes(1002,
    [wsFrame(TEXT, Buffer.from('a'), { fin: false }), wsFrame(TEXT, Buffer.from('b'))]));
});

describe('control frames', () => {
  for (const size of [0, 1, 125]) {
    test(`a ping of ${size} bytes`, () => on([wsFrame(PING, Buffer.alloc(size, 9))], async (socket) => {
      const pong = await socket.frame();
      assert.equal(pong.opcode, PONG);
      assert.ok(pong.payload.equals(Buffer.alloc(size, 9)));
    }));
  }
  test('a pong nobody asked for is ignored', () => on([wsFrame(PONG, Buffer.from('x')), wsFrame(TEXT, Buffer.from('y'))],
    async (socket) => assert.equal((await echoed(socket)).payload.toString(), 'y')));
  test('a ping of 126 bytes: 1002', () => closes(1002, [wsFrame(PING, Buffer.alloc(126))]));
  test('a fragmented ping: 1002', () => closes(1002, [wsFrame(PING, Buffer.alloc(1), { fin: false })]));
  test('a close of 126 bytes: 1002', () => closes(1002, [wsFrame(CLOSE, Buffer.alloc(126, 0x41))]));
});

describe('closing', () => {
  for (const code of [1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 1012, 1013, 1014, 3000, 3999, 4000, 4999]) {
    test(`code ${code} is answered with itself`, () => closes(code, [closeFrame(code, 'bye')]));
  }
  for (const code of [0, 999, 1004, 1005, 1006, 1015, 1016, 1100, 2000, 2999, 5000, 65535]) {
    test(`code ${code} may not be sent: 1002`, () => closes(1002, [closeFrame(code)]));
  }
  test('a close without a code', () => on([wsFrame(CLOSE)], async (socket) => {
    assert.ok([1000, 1005].includes(await socket.closeCode()));
  }));
  test('a close of one byte: 1002', () => closes(1002, [wsFrame(CLOSE, Buffer.from([3]))]));
  test('a reason that is not UTF-8: 1007', () => closes(1007,
    [wsFrame(CLOSE, Buffer.concat([Buffer.from([0x03, 0xe8]), Buffer.from([0xff, 0xff])]))]));
  test('what comes after a close is not echoed', () => on(
    [Buffer.concat([closeFrame(1000), wsFrame(TEXT, Buffer.from('late'))])],
    async (socket) => {
      const next = await socket.frame();
      assert.equal(next.opcode, CLOSE);
      await socket.end();
      assert.equal(socket.buffer.length, 0);
    }));
});

describe('violations', () => {
  test('an unmasked frame: 1002', () => closes(1002, [wsFrame(TEXT, Buffer.from('x'), { masked: false })]));
  for (const rsv of [1, 2, 4, 7]) {
    test(`reserved bits ${rsv}: 1002`, () => closes(1002, [wsFrame(TEXT, Buffer.from('x'), { rsv })]));
  }
  for (const opcode of [3, 4, 5, 6, 7, 11, 12, 13, 14, 15]) {
    test(`reserved opcode ${opcode}: 1002`, () => closes(1002, [wsFrame(opcode, Buffer.from('x'))]));
  }
  test('a length with its highest bit set: 1002 or 1009', () => {
    const bytes = wsFrame(BINARY, Buffer.alloc(0), { lengthForm: 64 });
    bytes.writeBigUInt64BE(1n << 63n, 2);
    return closes([1002, 1009], [bytes]);
  });
  test('a length longer than its form needs: 1002', async () => {
    await closes(1002, [wsFrame(BINARY, Buffer.alloc(5), { lengthForm: 16 })]);
    await closes(1002, [wsFrame(BINARY, Buffer.alloc(200), { lengthForm: 64 })]);
  });
  test('a message of 1 TiB is refused by its length: 1009', () => {
    const bytes = wsFrame(BINARY, Buffer.alloc(0), { lengthForm: 64 });
    bytes.writeBigUInt64BE(1n << 40n, 2);
    return closes(1009, [bytes]);
  });
});

describe('UTF-8', () => {
  const bad = {
    'a lone continuation byte': [0x80], 'a lead byte alone': [0xc3], 'an overlong slash': [0xc0, 0xaf],
    'an overlong three-byte form': [0xe0, 0x80, 0xaf], 'a surrogate': [0xed, 0xa0, 0x80],
    'above U+10FFFF': [0xf4, 0x90, 0x80, 0x80], 'a five-byte form': [0xf8, 0x88, 0x80, 0x80, 0x80],
    'the byte ff': [0xff], 'cut off in the middle': [0xf0, 0x9f, 0x98],
  };
  for (const [what, bytes] of Object.entries(bad)) {
    test(`${what}: 1007`, () => closes(1007, [wsFrame(TEXT, Buffer.from(bytes))]));
    test(`${what} after good text and in fragments: 1007`, () => closes(1007,
      [wsFrame(TEXT, Buffer.from('good '), { fin: false }), wsFrame(CONTINUE, Buffer.from(bytes))]));
    test(`${what} in a binary message is fine`, () => on([wsFrame(BINARY, Buffer.from(bytes))],
      async (socket) => assert.ok((await echoed(socket)).payload.equals(Buffer.from(bytes)))));
  }
  const good = { 'U+0000': [0], 'U+FFFF': [0xef, 0xbf, 0xbf], 'U+10FFFF': [0xf4, 0x8f, 0xbf, 0xbf], 'U+D7FF': [0xed, 0x9f, 0xbf] };
  for (const [what, bytes] of Object.entries(good)) {
    test(`${what} is fine`, () => on([wsFrame(TEXT, Buffer.from(bytes))],
      async (socket) => assert.ok((await echoed(socket)).payload.equals(Buffer.from(bytes)))));
  }
});
