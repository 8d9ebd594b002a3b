// SPDX-License-Identifier: Apache-2.0
// RFC 6455 as rows for lib/cases.mjs: sections of [name, pieces, ...expected]. They hold for every
// connection, also for one that speaks permessage-deflate and does not use it.
import {
  BINARY, CLOSE, CONTINUE, PING, TEXT, binary, bytes, close, cuts, fragments, gets, more, open_ended, ping, pong, text, utf8, ways,
} from './cases.mjs';
import { wsFrame } from './raw.mjs';
import { goodText, badText } from './utf8_cases.mjs';

const fill = (size, seed = 1) => {
  const out = Buffer.allocUnsafe(size);
  let state = seed >>> 0 || 1;
  for (let i = 0; i < size; i += 1) {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    out[i] = state >>> 24;
  }
  return out;
};
const letters = (size) => Buffer.alloc(size, 'tide ');

export function messages() {
  const rows = [];
  for (const size of [0, 1, 2, 3, 124, 125, 126, 127, 128, 4095, 4096, 65534, 65535, 65536, 65537, 131072]) {
    rows.push([`a text message of ${size} bytes`, [text(letters(size))], gets.text(letters(size))]);
    rows.push([`a binary message of ${size} bytes`, [binary(fill(size))], gets.binary(fill(size))]);
  }
  for (const size of [125, 126, 65535, 65536]) {
    const whole = text(letters(size));
    const pieces = [];
    for (let at = 0; at < whole.length; at += 997) pieces.push(whole.subarray(at, at + 997));
    rows.push([`a text message of ${size} bytes in writes of 997`, pieces, gets.text(letters(size))]);
  }
  for (const size of [0, 5, 125, 126, 200]) {
    rows.push([`a message of ${size} bytes byte by byte`, ways['byte by byte']([binary(fill(size))]), gets.binary(fill(size))]);
  }
  const masks = { zero: bytes(0, 0, 0, 0), ones: bytes(255, 255, 255, 255), 'one bit': bytes(0, 0, 0, 1), mixed: bytes(0x12, 0xfe, 0x80, 0x7f) };
  for (const [name, mask] of Object.entries(masks)) {
    for (const size of [3, 67, 300]) {
      rows.push([`mask ${name}, ${size} bytes`, [binary(fill(size), { mask })], gets.binary(fill(size))]);
    }
  }
  const many = Array.from({ length: 80 }, (_, size) => fill(size, size + 7));
  rows.push(['80 messages of 0 to 79 bytes in one write', [Buffer.concat(many.map((m) => binary(m)))], ...many.map((m) => gets.binary(m))]);
  const numbered = Array.from({ length: 500 }, (_, i) => utf8(`m${i}`));
  rows.push(['500 messages in one write come back in order', [Buffer.concat(numbered.map((m) => text(m)))], ...numbered.map((m) => gets.text(m))]);
  return rows;
}

export function control() {
  const rows = [];
  for (const size of [0, 1, 2, 64, 124, 125]) {
    rows.push([`a ping of ${size} bytes`, [ping(fill(size))], gets.pong(fill(size))]);
    rows.push([`a pong of ${size} bytes is ignored`, [pong(fill(size)), text('after')], gets.text('after')]);
  }
  rows.push(['a ping byte by byte', ways['byte by byte']([ping(fill(20))]), gets.pong(fill(20))]);
  rows.push(['a ping that is not UTF-8', [ping(bytes(0xff, 0xfe, 0))], gets.pong(bytes(0xff, 0xfe, 0))]);
  const ten = Array.from({ length: 10 }, (_, i) => `ping ${i}`);
  for (const [way, cut] of Object.entries(ways)) {
    rows.push([`ten pings ${way}`, cut(ten.map((p) => ping(p))), ...ten.map((p) => gets.pong(p))]);
  }
  rows.push(['a ping, a message, a ping', [Buffer.concat([ping('a'), text('m'), ping('b')])], gets.pong('a'), gets.text('m'), gets.pong('b')]);
  for (const [name, opcode] of [['ping', PING], ['pong', 10], ['close', CLOSE]]) {
    for (const size of [126, 127, 65535, 65536]) {
      rows.push([`a ${name} of ${size} bytes: 1002`, [wsFrame(opcode, Buffer.alloc(size, 0x41))], gets.close(1002)]);
    }
    rows.push([`a fragmented ${name}: 1002`, [wsFrame(opcode, Buffer.alloc(4, 0x0f), open_ended)], gets.close(1002)]);
    rows.push([`a fragmented empty ${name}: 1002`, [wsFrame(opcode, Buffer.alloc(0), open_ended)], gets.close(1002)]);
  }
  return rows;
}

// `rsv1` false leaves out what means something when the extension is spoken.
export function violations({ rsv1 = true } = {}) {
  const rows = [];
  const kinds = { text: TEXT, binary: BINARY, ping: PING, pong: 10, close: CLOSE, continuation: CONTINUE };
  for (const [name, opcode] of Object.entries(kinds)) {
    for (let rsv = 1; rsv <= 7; rsv += 1) {
      if (rsv === 4 && !rsv1 && (opcode === TEXT || opcode === BINARY)) continue;
      rows.push([`reserved bits ${rsv} on a ${name}: 1002`, [wsFrame(opcode, Buffer.alloc(0), { rsv })], gets.close(1002)]);
    }
    rows.push([`an unmasked ${name}: 1002`, [wsFrame(opcode, utf8('hi'), { masked: false })], gets.close(1002)]);
  }
  rows.push(['reserved bits after a good message: 1002', [Buffer.concat([text('good'), text('bad', { rsv: 2 }), text('late')])],
    gets.text('good'), gets.close(1002)]);
  rows.push(['reserved bits inside a message: 1002', [text('a', open_ended), more('b', { rsv: 1 })], gets.close(1002)]);
  rows.push(['an unmasked empty message: 1002', [text('', { masked: false })], gets.close(1002)]);
  rows.push(['an unmasked message after a masked one: 1002', [text('good'), text('bad', { masked: false })], gets.text('good'), gets.close(1002)]);
  for (const opcode of [3, 4, 5, 6, 7, 11, 12, 13, 14, 15]) {
    rows.push([`reserved opcode ${opcode}: 1002`, [wsFrame(opcode)], gets.close(1002)]);
    rows.push([`reserved opcode ${opcode} with a payload: 1002`, [wsFrame(opcode, utf8('x'.repeat(40)))], gets.close(1002)]);
    rows.push([`reserved opcode ${opcode} inside a message: 1002`, [text('a', open_ended), wsFrame(opcode, utf8('x')), more('b')], gets.close(1002)]);
  }
  rows.push(['a good message before a reserved opcode is answered', [Buffer.concat([text('good'), wsFrame(5)])], gets.text('good'), gets.close(1002)]);
  for (const [form, sizes] of [[16, [0, 1, 125]], [64, [0, 125, 126, 65535]]]) {
    for (const size of sizes) {
      rows.push([`${size} bytes in the ${form}-bit form: 1002`, [binary(fill(size), { lengthForm: form })], gets.close(1002)]);
    }
  }
  const length = (value) => {
    const frame = binary('', { lengthForm: 64 });
    frame.writeBigUInt64BE(value, 2);
    return frame;
  };
  rows.push(['a length with its highest bit set: 1002', [length(1n << 63n)], gets.close(1002)]);
  rows.push(['all bits of the length set: 1002', [length((1n << 64n) - 1n)], gets.close(1002)]);
  for (const power of [25n, 32n, 40n, 62n]) {
    rows.push([`a length of 2^${power} is refused before its bytes: 1009`, [length(1n << power)], gets.close(1009)]);
  }
  // Judged as soon as the bytes of the rule are there, not when the frame is.
  for (const [name, head, code] of [
    ['reserved bits', bytes(0xb1), 1002], ['a reserved opcode', bytes(0x83), 1002], ['a fragmented ping', bytes(0x09), 1002],
    ['an unmasked frame', bytes(0x82, 0x05), 1002], ['an unmasked frame of 64-bit length', bytes(0x82, 0x7f), 1002],
    ['a ping of 126 bytes', bytes(0x89, 0xfe), 1002], ['a close of 127 bytes or more', bytes(0x88, 0xff), 1002],
    ['125 bytes in the 16-bit form', bytes(0x82, 0xfe, 0x00, 0x7d), 1002],
    ['65,535 bytes in the 64-bit form', bytes(0x82, 0xff, 0, 0, 0, 0, 0, 0, 0xff, 0xff), 1002],
    ['the highest bit of the length', bytes(0x82, 0xff, 0x80, 0, 0, 0, 0, 0, 0, 0), 1002],
    ['a length above the limit', bytes(0x82, 0xff, 0, 0, 0, 1, 0, 0, 0, 0), 1009],
  ]) {
    rows.push([`${name}, ${head.length} bytes of it: ${code}`, [head], gets.close(code)]);
    rows.push([`${name}, ${head.length} bytes one by one: ${code}`, ways['byte by byte']([head]), gets.close(code)]);
    rows.push([`${name} behind a message in the same write: ${code}`, [Buffer.concat([text('good'), head])], gets.text('good'), gets.close(code)]);
  }
  return rows;
}

export function fragmentation() {
  const rows = [];
  const word = utf8('fragment');
  for (let at = 0; at <= word.length; at += 1) {
    rows.push([`two fragments, cut at ${at}`, fragments(TEXT, word, [at]), gets.text(word)]);
    rows.push([`two fragments, cut at ${at}, a ping between`, fragments(BINARY, word, [at], { between: [ping('now')] }),
      gets.pong('now'), gets.binary(word)]);
  }
  for (const [way, cut] of Object.entries(ways)) {
    rows.push([`a fragment for each byte, ${way}`, cut(fragments(TEXT, word, cuts(8, 8))), gets.text(word)]);
    rows.push([`empty fragments around, ${way}`, cut(fragments(TEXT, word, [0, 0, 4, 4, 8, 8])), gets.text(word)]);
    rows.push([`pings and pongs between, ${way}`, cut(fragments(TEXT, word, [2, 4], { between: [ping('a'), pong('b'), ping('c')] })),
      gets.pong('a'), gets.pong('c'), gets.pong('a'), gets.pong('c'), gets.text(word)]);
    rows.push([`two fragmented messages, ${way}`, cut([...fragments(TEXT, word, [3]), ...fragments(BINARY, word, [5])]),
      gets.text(word), gets.binary(word)]);
  }
  rows.push(['an empty message in three fragments', fragments(TEXT, Buffer.alloc(0), [0, 0]), gets.text('')]);
  for (const [size, parts] of [[1000, 100], [65536, 7], [200_000, 4], [1 << 20, 64], [300, 300]]) {
    rows.push([`${size} bytes in ${parts} fragments`, [Buffer.concat(fragments(BINARY, fill(size), cuts(size, parts)))], gets.binary(fill(size))]);
  }
  // Around the borders of the length forms and of receive buffers, fragment by fragment.
  for (const size of [125, 126, 4081, 4090, 4096, 65_534, 65_535, 65_536, 65_541, 65_550, 65_600, 65_793, 70_000]) {
    rows.push([`three fragments of ${size} bytes, pings between`, fragments(BINARY, fill(3 * size), [size, 2 * size], { between: [ping('p')] }),
      gets.pong('p'), gets.pong('p'), gets.binary(fill(3 * size))]);
    rows.push([`${size} bytes behind a fragment of one`, fragments(TEXT, letters(size + 1), [1]), gets.text(letters(size + 1))]);
    const whole = Buffer.concat(fragments(BINARY, fill(2 * size), [size]));
    const pieces = [];
    for (let at = 0; at < whole.length; at += 4099) pieces.push(whole.subarray(at, at + 4099));
    rows.push([`two fragments of ${size} bytes in writes of 4,099`, pieces, gets.binary(fill(2 * size))]);
  }
  rows.push(['10,000 empty fragments', [Buffer.concat(fragments(BINARY, Buffer.alloc(0), Array(9999).fill(0)))], gets.binary('')]);
  const lost = { 'a last continuation': more('x'), 'a continuation': more('x', open_ended), 'an empty continuation': more('') };
  for (const [name, frame] of Object.entries(lost)) {
    rows.push([`${name} of nothing: 1002`, [frame], gets.close(1002)]);
    rows.push([`${name} behind a whole message: 1002`, [text('whole'), frame], gets.text('whole'), gets.close(1002)]);
    rows.push([`${name} behind a fragmented message: 1002`, [...fragments(TEXT, word, [4]), frame], gets.text(word), gets.close(1002)]);
  }
  for (const [name, frame] of Object.entries({ text: text('b'), binary: binary('b'), 'an empty text': text(''), 'an open text': text('b', open_ended), 'an open binary': binary('b', open_ended) })) {
    rows.push([`${name} inside a message: 1002`, [text('a', open_ended), frame], gets.close(1002)]);
  }
  rows.push(['a close inside a message is answered', [text('a', open_ended), close(1001)], gets.close(1001)]);
  rows.push(['a close that is wrong inside a message: 1002', [text('a', open_ended), close(1005)], gets.close(1002)]);
  rows.push(['a close that is cut off inside a message, then whole', [binary('a', open_ended), close(4000).subarray(0, 7), close(4000).subarray(7)], gets.close(4000)]);
  rows.push(['a ping that is cut off inside a message', [text('a', open_ended), ping('abc').subarray(0, 7), ping('abc').subarray(7), more('b')],
    gets.pong('abc'), gets.text('ab')]);
  rows.push(['a message that is never finished, then silence and a close', [binary('a', open_ended), ping('still here')], gets.pong('still here')]);
  return rows;
}

export function text_rules() {
  const rows = [];
  for (const [name, payload] of Object.entries(goodText)) {
    rows.push([`${name} is text`, [text(payload)], gets.text(payload)]);
    rows.push([`${name} in fragments of a byte`, fragments(TEXT, payload, cuts(payload.length, payload.length)), gets.text(payload)]);
  }
  for (const [name, payload] of Object.entries(badText)) {
    rows.push([`${name}: 1007`, [text(payload)], gets.close(1007)]);
    rows.push([`${name} between good text: 1007`, [text(Buffer.concat([utf8('κό'), payload, utf8('σμε')]))], gets.close(1007)]);
    rows.push([`${name} in fragments of a byte: 1007`, fragments(TEXT, payload, cuts(payload.length, payload.length)), gets.close(1007)]);
  }
  // Fail fast: the message, or even its frame, has not ended.
  for (const [name, payload] of Object.entries(badText)) {
    if (name.startsWith('cut off')) continue;  // wrong only at the end
    rows.push([`${name} fails in the first fragment: 1007`, [text(payload, open_ended)], gets.close(1007)]);
    const frame = text(Buffer.concat([payload, Buffer.alloc(300, 'z')]));
    rows.push([`${name} fails before its frame is whole: 1007`, [frame.subarray(0, 8 + payload.length)], gets.close(1007)]);
  }
  // Long text: the wrong byte is found where it stands, in a whole frame or in one that is not.
  const bad = bytes(0xed, 0xa0, 0x80);
  for (const size of [130, 4096, 65_535, 70_000, 300_000]) {
    const long = Buffer.concat([Buffer.from('é'.repeat(size >> 1)), bad]);
    rows.push([`the last of ${long.length} bytes is wrong: 1007`, [text(long)], gets.close(1007)]);
    rows.push([`${long.length} bytes, wrong in a frame of which a byte is missing: 1007`,
      [text(Buffer.concat([long, utf8('z')])).subarray(0, -1)], gets.close(1007)]);
    rows.push([`${long.length} bytes, wrong in a continuation that has not ended: 1007`,
      [text('good ', open_ended), more(Buffer.concat([long, utf8('z')]), open_ended).subarray(0, -1)], gets.close(1007)]);
    rows.push([`${size} bytes of two-byte characters, cut in the middle of one`, fragments(TEXT, Buffer.from('é'.repeat(size)), [size | 1]), gets.text('é'.repeat(size))]);
  }
  rows.push(['a continuation that begins wrong fails by its first byte: 1007', [text(bytes(0xe2), open_ended), more(utf8('xyz')).subarray(0, 7)], gets.close(1007)]);
  rows.push(['a character begun in one fragment and wrong in the next: 1007', [text(bytes(0xf0, 0x9f), open_ended), more(bytes(0x28), open_ended)], gets.close(1007)]);
  rows.push(['a ping before a wrong continuation is answered', [text(bytes(0xe2), open_ended), ping('p'), more('x')], gets.pong('p'), gets.close(1007)]);
  rows.push(['nothing of one text is left for the next', [text('é'), text('a'), binary(bytes(0xff)), text('é')],
    gets.text('é'), gets.text('a'), gets.binary(bytes(0xff)), gets.text('é')]);
  rows.push(['a character cut by the end of a message: 1007', fragments(TEXT, bytes(0xe2, 0x82), [1]), gets.close(1007)]);
  rows.push(['a character begun before a ping goes on behind it', fragments(TEXT, utf8('€'), [1, 2], { between: [ping('x')] }),
    gets.pong('x'), gets.pong('x'), gets.text('€')]);
  rows.push(['bytes that are no text are fine in binary', [binary(Buffer.concat(Object.values(badText)))], gets.binary(Buffer.concat(Object.values(badText)))]);
  rows.push(['binary is not looked at before its frame is whole', [binary(bytes(0xff, 0xff, 0xff)).subarray(0, 8), binary(bytes(0xff, 0xff, 0xff)).subarray(8)],
    gets.binary(bytes(0xff, 0xff, 0xff))]);
  return rows;
}

export function closing() {
  const rows = [];
  for (const code of [1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 1012, 1013, 1014, 3000, 3333, 3999, 4000, 4500, 4999]) {
    rows.push([`code ${code} is answered with itself`, [close(code, 'bye')], gets.close(code)]);
  }
  for (const code of [0, 1, 500, 999, 1004, 1005, 1006, 1015, 1016, 1100, 1999, 2000, 2999, 5000, 32768, 65535]) {
    rows.push([`code ${code} may not be sent: 1002`, [close(code)], gets.close(1002)]);
  }
  rows.push(['a close without a code', [wsFrame(CLOSE)], gets.close(1000, 1005)]);
  rows.push(['a close of one byte: 1002', [wsFrame(CLOSE, bytes(3))], gets.close(1002)]);
  for (const size of [0, 1, 122, 123]) rows.push([`a reason of ${size} bytes`, [close(1000, 'r'.repeat(size))], gets.close(1000)]);
  rows.push(['a reason of 124 bytes: 1002', [close(1000, 'r'.repeat(124))], gets.close(1002)]);
  rows.push(['a reason in Greek', [close(1000, 'κόσμε')], gets.close(1000)]);
  for (const [name, payload] of Object.entries(badText)) {
    rows.push([`a reason with ${name}: 1007`, [wsFrame(CLOSE, Buffer.concat([bytes(3, 0xe8), payload]))], gets.close(1007)]);
  }
  rows.push(['a close byte by byte', ways['byte by byte']([close(1000, 'slowly')]), gets.close(1000)]);
  for (const [name, frame] of Object.entries({ message: text('late'), ping: ping('late'), close: close(1001), continuation: more('x'), 'bad frame': wsFrame(3) })) {
    rows.push([`a ${name} behind a close is not answered`, [Buffer.concat([close(1000), frame])], gets.close(1000)]);
  }
  rows.push(['messages before the close are answered first', [Buffer.concat([text('a'), ping('b'), close(1000), text('c')])],
    gets.text('a'), gets.pong('b'), gets.close(1000)]);
  rows.push(['a violation behind a violation is one close', [Buffer.concat([wsFrame(3), wsFrame(4), close(1000)])], gets.close(1002)]);
  return rows;
}

// The limit of the server is 16 MiB.
export const limit = 16 << 20;
export function large() {
  const rows = [];
  for (const size of [1 << 20, 4 << 20, 8 << 20, limit - 1, limit]) {
    rows.push([`a binary message of ${size} bytes`, [binary(fill(size))], gets.binary(fill(size))]);
  }
  rows.push([`a text message of ${limit} bytes`, [text(letters(limit))], gets.text(letters(limit))]);
  rows.push([`${limit} bytes in 4,096 fragments`, fragments(BINARY, fill(limit), cuts(limit, 4096)), gets.binary(fill(limit))]);
  rows.push([`${limit} bytes in two fragments, pings between`, fragments(BINARY, fill(limit), [limit / 2], { between: [ping('p')] }),
    gets.pong('p'), gets.binary(fill(limit))]);
  rows.push(['one byte above the limit: 1009', [binary(Buffer.alloc(limit + 1)).subarray(0, 14)], gets.close(1009)]);
  rows.push(['one byte above the limit in fragments: 1009', [binary(fill(limit), open_ended), more('x').subarray(0, 6)], gets.close(1009)]);
  rows.push(['the limit and an empty last fragment', [binary(fill(limit), open_ended), more('')], gets.binary(fill(limit))]);
  return rows;
}
