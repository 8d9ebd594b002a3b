// SPDX-License-Identifier: Apache-2.0
// Cases of the WebSocket suites as rows: a name, what the client writes, what the server must
// answer and in which order. Every case ends with a close: the one it expects, or a clean one that
// proves that nothing else came.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { closeFrame, open, wsFrame } from './raw.mjs';

export const CONTINUE = 0, TEXT = 1, BINARY = 2, CLOSE = 8, PING = 9, PONG = 10;
export const bytes = (...values) => Buffer.from(values);
export const utf8 = (text) => Buffer.from(text);

// Frames of a client.
export const text = (payload, options) => wsFrame(TEXT, Buffer.from(payload), options);
export const binary = (payload, options) => wsFrame(BINARY, Buffer.from(payload), options);
export const more = (payload, options) => wsFrame(CONTINUE, Buffer.from(payload), options);
export const ping = (payload = '', options) => wsFrame(PING, Buffer.from(payload), options);
export const pong = (payload = '', options) => wsFrame(PONG, Buffer.from(payload), options);
export const close = closeFrame;
export const open_ended = { fin: false };

// What is expected.
export const gets = {
  text: (payload) => ({ kind: 'text', payload: Buffer.from(payload) }),
  binary: (payload) => ({ kind: 'binary', payload: Buffer.from(payload) }),
  pong: (payload = '') => ({ kind: 'pong', payload: Buffer.from(payload) }),
  close: (...codes) => ({ kind: 'close', codes }),
};

// A message cut into frames at the given places.
export function fragments(opcode, payload, cuts, { between = [], rsv = 0 } = {}) {
  const at = [0, ...cuts, payload.length];
  const frames = [];
  for (let i = 0; i + 1 < at.length; i += 1) {
    const last = i + 2 === at.length;
    frames.push(wsFrame(i === 0 ? opcode : CONTINUE, payload.subarray(at[i], at[i + 1]),
      { fin: last, rsv: i === 0 ? rsv : 0 }));
    if (!last) frames.push(...between);
  }
  return frames;
}
export const cuts = (size, parts) => Array.from({ length: parts - 1 }, (_, i) => Math.floor((size * (i + 1)) / parts));

// How the bytes reach the socket. Each way must give the same.
export const ways = {
  'in one write': (frames) => [Buffer.concat(frames)],
  'a write for each frame': (frames) => frames,
  'byte by byte': (frames) => Array.from(Buffer.concat(frames), (byte) => Buffer.from([byte])),
};

// One message of the server, or a control frame; `codec` inflates compressed ones.
async function next(socket, codec) {
  let parts = [];
  for (;;) {
    const frame = await socket.frame();
    assert.ok(frame, 'the server ended the connection');
    assert.equal(frame.masked, 0, 'a server must not mask');
    if (frame.opcode === PING) continue;  // a heartbeat
    if (frame.opcode >= 8) {
      assert.equal(frame.rsv, 0, 'a control frame with reserved bits');
      assert.ok(frame.fin && frame.payload.length <= 125);
      return frame;
    }
    assert.equal(frame.opcode === CONTINUE, parts.length > 0, 'a continuation in its place');
    assert.equal(frame.rsv & (codec && parts.length === 0 ? 3 : 7), 0, 'reserved bits');
    parts.push(frame);
    if (!frame.fin) continue;
    let payload = parts.length === 1 ? frame.payload : Buffer.concat(parts.map((p) => p.payload));
    const size = payload.length;
    const compressed = parts[0].rsv === 4;
    if (compressed) payload = await codec.inflate(payload);
    return { opcode: parts[0].opcode, payload, size, compressed };
  }
}

export async function expectAll(socket, expected, codec) {
  const seen = [];
  for (const want of expected) {
    const got = await next(socket, codec);
    seen.push(got);
    if (want.kind === 'close') {
      assert.equal(got.opcode, CLOSE, `a close was due, there came opcode ${got.opcode}`);
      const code = got.payload.length >= 2 ? got.payload.readUInt16BE(0) : 1005;
      assert.ok(want.codes.includes(code), `closed with ${code} ${got.payload.subarray(2)}, not ${want.codes}`);
      assert.notEqual(got.payload.length, 1);
      new TextDecoder('utf-8', { fatal: true }).decode(got.payload.subarray(2));
      await socket.end();
      assert.equal(socket.buffer.length, 0, 'bytes behind the close');
      return seen;
    }
    const opcode = { text: TEXT, binary: BINARY, pong: PONG }[want.kind];
    assert.equal(got.opcode, opcode, `a ${want.kind} was due, there came opcode ${got.opcode} ${got.opcode === CLOSE ? got.payload.subarray(2) : ''}`);
    assert.ok(got.payload.equals(want.payload), `the ${want.kind} of ${want.payload.length} bytes came back as ${got.payload.length} others`);
  }
  return seen;
}

// Opens, writes, checks, closes. `send` may be a list of pieces or a function of the socket.
export async function run(server, { send, expect, headers, codec }) {
  const socket = await open(server.port, '/', headers);
  try {
    if (typeof send === 'function') await send(socket);
    else {
      for (const piece of send) {
        socket.write(piece);
        // Single bytes must not be joined by the system on the way.
        if (piece.length === 1) await new Promise((done) => { setImmediate(done); });
      }
    }
    const clean = expect.at(-1)?.kind !== 'close';
    if (clean) socket.write(close(1000));
    await expectAll(socket, clean ? [...expect, gets.close(1000)] : expect, codec);
  } finally {
    socket.destroy();
  }
}

// Registers rows of [name, send, ...expect] as tests.
export function table(server, rows, shared = {}) {
  const names = new Set();
  for (const [name, send, ...expect] of rows) {
    assert.ok(!names.has(name), `two cases are called ${name}`);
    names.add(name);
    test(name, () => run(server, { send, expect, ...shared }));
  }
}
