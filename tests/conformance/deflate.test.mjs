// SPDX-License-Identifier: Apache-2.0
// RFC 7692 on tidegate-echo --deflate: offers, messages with every window, takeover and
// fragmentation, data that is wrong, bombs. The frame rules of RFC 6455 are run again on
// connections that speak the extension.
import assert from 'node:assert/strict';
import { after, describe, test } from 'node:test';
import { deflateRawSync, constants } from 'node:zlib';
import WebSocket from 'ws';
import { BINARY, TEXT, binary, bytes, close, cuts, expectAll, fragments, gets, more, ping, run, table, text, utf8, ways } from './lib/cases.mjs';
import { BitWriter, Codec, stored } from './lib/deflate.mjs';
import { head, open, request, wsFrame } from './lib/raw.mjs';
import { startEcho } from './lib/server.mjs';
import { badText, goodText } from './lib/utf8_cases.mjs';
import { seeded, sleep, within } from './lib/wait.mjs';
import { closing, control, fragmentation, limit, messages, text_rules, violations } from './lib/websocket_cases.mjs';

const fresh = await startEcho(['--deflate']);
const keeping = await startEcho(['--deflate', '--deflate-takeover', '--deflate-min-bytes', '1']);
const narrow = await startEcho(['--deflate', '--deflate-takeover', '--deflate-window-bits', '10']);
const scarce = await startEcho(['--deflate', '--deflate-takeover', '--deflate-contexts', '1']);
const tight = await startEcho(['--deflate', '--message-bytes', '1024']);
after(() => Promise.all([fresh, keeping, narrow, scarce, tight].map((server) => server.stop())));

const offer = (value) => ({ 'Sec-WebSocket-Extensions': value });
const spoken = { headers: offer('permessage-deflate; client_max_window_bits') };

async function answerTo(server, ...values) {
  const extra = values.map((value) => `Sec-WebSocket-Extensions: ${value}`);
  const answer = await request(server.port, head({ extra }));
  return answer.status === 101 ? answer.headers['sec-websocket-extensions'] ?? 'declined' : String(answer.status);
}

describe('offers', () => {
  const both = 'permessage-deflate; server_no_context_takeover; client_no_context_takeover';
  const rows = [
    // server, offers, answer
    ['fresh', ['permessage-deflate'], both],
    ['fresh', ['permessage-deflate; client_max_window_bits'], `${both}; client_max_window_bits=15`],
    ['fresh', ['permessage-deflate; client_max_window_bits=10'], `${both}; client_max_window_bits=10`],
    ['fresh', ['permessage-deflate; server_max_window_bits=15'], `${both}; server_max_window_bits=15`],
    ['keeping', ['permessage-deflate'], 'permessage-deflate'],
    ['keeping', ['permessage-deflate; server_no_context_takeover'], 'permessage-deflate; server_no_context_takeover'],
    ['keeping', ['permessage-deflate; client_no_context_takeover'], 'permessage-deflate; client_no_context_takeover'],
    ['keeping', ['permessage-deflate; client_no_context_takeover; server_no_context_takeover'], both],
    ['keeping', ['permessage-deflate; client_max_window_bits'], 'permessage-deflate; client_max_window_bits=15'],
    ['keeping', ['permessage-deflate; client_max_window_bits; server_max_window_bits=9; server_no_context_takeover; client_no_context_takeover'],
      `${both}; server_max_window_bits=9; client_max_window_bits=15`],
    ['narrow', ['permessage-deflate; client_max_window_bits'], 'permessage-deflate; server_max_window_bits=10; client_max_window_bits=10'],
    ['narrow', ['permessage-deflate; client_max_window_bits=9; server_max_window_bits=9'], 'permessage-deflate; server_max_window_bits=9; client_max_window_bits=9'],
    ['narrow', ['permessage-deflate; client_max_window_bits=12; server_max_window_bits=12'], 'permessage-deflate; server_max_window_bits=10; client_max_window_bits=10'],
    ['narrow', ['permessage-deflate'], 'declined'],
    ['narrow', ['permessage-deflate, permessage-deflate; client_max_window_bits'], 'permessage-deflate; server_max_window_bits=10; client_max_window_bits=10'],
    // In order, over one field or several.
    ['keeping', ['x-first; a, permessage-deflate; server_no_context_takeover, permessage-deflate'], 'permessage-deflate; server_no_context_takeover'],
    ['keeping', ['permessage-deflate; a', 'permessage-deflate; client_no_context_takeover'], 'permessage-deflate; client_no_context_takeover'],
    ['keeping', ['x-first', 'x-second', 'permessage-deflate'], 'permessage-deflate'],
    ['keeping', ['permessage-deflate', 'permessage-deflate; server_no_context_takeover'], 'permessage-deflate'],
    ['keeping', ['permessage-deflate; server_max_window_bits=16, permessage-deflate; server_max_window_bits=14'], 'permessage-deflate; server_max_window_bits=14'],
    // Quotes and white space.
    ['keeping', ['permessage-deflate; server_max_window_bits="11"'], 'permessage-deflate; server_max_window_bits=11'],
    ['keeping', ['permessage-deflate; server_max_window_bits="1\\1"'], 'permessage-deflate; server_max_window_bits=11'],
    ['keeping', ['permessage-deflate;server_max_window_bits=11'], 'permessage-deflate; server_max_window_bits=11'],
    ['keeping', [' , permessage-deflate\t;\tserver_max_window_bits\t=\t11 ,'], 'permessage-deflate; server_max_window_bits=11'],
    ['keeping', ['x; y="a", permessage-deflate'], 'permessage-deflate'],
    // Other names.
    ['keeping', ['PERMESSAGE-DEFLATE'], 'declined'],
    ['keeping', ['permessage-bzip2'], 'declined'],
    ['keeping', ['x-webkit-deflate-frame'], 'declined'],
  ];
  for (let bits = 8; bits <= 15; bits += 1) {
    rows.push(['keeping', [`permessage-deflate; server_max_window_bits=${bits}`], `permessage-deflate; server_max_window_bits=${bits}`]);
    rows.push(['keeping', [`permessage-deflate; client_max_window_bits=${bits}`], `permessage-deflate; client_max_window_bits=${bits}`]);
  }
  for (const parameter of ['unknown', 'unknown=1', 'server_max_window_bits', 'server_max_window_bits=7', 'server_max_window_bits=16',
    'server_max_window_bits=08', 'server_max_window_bits=0', 'server_max_window_bits=1', 'server_max_window_bits=100', 'server_max_window_bits=ten',
    'client_max_window_bits=7', 'client_max_window_bits=16', 'client_max_window_bits=010', 'client_max_window_bits="7"', 'client_max_window_bits=-9',
    'server_no_context_takeover=1', 'server_no_context_takeover=true', 'client_no_context_takeover=""1', 'client_no_context_takeover=0',
    'server_no_context_takeover; server_no_context_takeover', 'client_no_context_takeover; client_no_context_takeover',
    'server_max_window_bits=9; server_max_window_bits=9', 'client_max_window_bits; client_max_window_bits', 'SERVER_NO_CONTEXT_TAKEOVER']) {
    rows.push(['keeping', [`permessage-deflate; ${parameter}`], parameter.includes('""') ? '400' : 'declined']);
  }
  for (const bad of ['', ',', 'permessage-deflate;', 'permessage-deflate; =8', 'permessage-deflate; server_max_window_bits=',
    'permessage-deflate; server_max_window_bits="1 0"', 'permessage-deflate; server_max_window_bits="10', 'permessage-deflate deflate',
    'permessage-deflate, ;', 'permessage-deflate; a=(b)']) {
    rows.push(['keeping', [bad], '400']);
  }
  const servers = { fresh, keeping, narrow };
  for (const [name, values, expected] of rows) {
    test(`${name}: ${values.join(' | ')} → ${expected}`, async () => assert.equal(await answerTo(servers[name], ...values), expected));
  }
  test('beyond the contexts the extension is declined, and given again when one is free', async () => {
    const wants = offer('permessage-deflate');
    const first = await open(scarce.port, '/', wants);
    assert.equal(await answerTo(scarce, 'permessage-deflate'), 'declined');
    assert.equal(await answerTo(scarce, 'permessage-deflate; server_no_context_takeover; client_no_context_takeover'), both);
    const second = await open(scarce.port, '/', wants);
    second.write(text('plain'));
    await expectAll(second, [gets.text('plain')]);
    second.destroy();
    first.write(close(1000));
    await expectAll(first, [gets.close(1000)]);
    first.destroy();
    let answer = 'declined';
    for (let i = 0; i < 200 && answer === 'declined'; i += 1) {
      await sleep(20);
      answer = await answerTo(scarce, 'permessage-deflate');
    }
    assert.equal(answer, 'permessage-deflate');
  });
});

// Text that shrinks, of any size.
const prose = (size, seed = 1) => {
  const words = ['tide', 'gate', 'river', 'lock', 'water', 'level', 'the', 'of', 'opens', 'closes'];
  let state = seed;
  let out = '';
  while (out.length < size) {
    state = (Math.imul(state, 1103515245) + 12345) & 0x7fffffff;
    out += `${words[(state >> 16) % words.length]} `;
  }
  return utf8(out.slice(0, size));
};

describe('messages', () => {
  for (const takeover of [false, true]) {
    for (const bits of [8, 9, 11, 13, 15]) {
      for (const parts of [1, 2, 7, 64]) {
        for (const size of [0, 1, 16, 64, 125, 126, 1000, 4096, 65_535, 65_536, 200_000]) {
          const name = `${size} bytes, window of 2^${bits}, ${takeover ? 'takeover' : 'no takeover'}, ${parts} ${parts === 1 ? 'frame' : 'fragments'}`;
          test(name, async () => {
            const codec = new Codec({ bits, theirBits: bits, takeover });
            const asked = `permessage-deflate; client_max_window_bits=${bits}; server_max_window_bits=${bits}`;
            const socket = await open((takeover ? keeping : fresh).port, '/', offer(asked));
            const sizes = [];
            for (let round = 0; round < 3; round += 1) {
              const payload = prose(size, round === 2 ? 99 : 1);
              const opcode = round === 1 ? BINARY : TEXT;
              const small = await codec.deflate(payload);
              for (const frame of fragments(opcode, small, cuts(small.length, parts), { rsv: 4 })) socket.write(frame);
              const [got] = await expectAll(socket, [round === 1 ? gets.binary(payload) : gets.text(payload)], codec);
              if (size >= 1000) assert.ok(got.compressed && got.size < size, 'it was not compressed');
              sizes.push(got.size);
            }
            // The same message again is little more than a reference, when the window reaches back.
            if (takeover && size === 1000 && bits >= 11) assert.ok(sizes[1] < sizes[0] / 4, `${sizes}`);
            if (!takeover && size >= 1000) assert.equal(sizes[1], sizes[0]);
            socket.write(close(1000));
            await expectAll(socket, [gets.close(1000)]);
            socket.destroy();
          });
        }
      }
    }
  }
});

const compressed = (opcode, payload, options) => wsFrame(opcode, payload, { rsv: 4, ...options });
const deflated = (payload, level = 9) => deflateRawSync(payload, { level, finishFlush: constants.Z_SYNC_FLUSH }).subarray(0, -4);
const hex = (digits) => Buffer.from(digits.replaceAll(' ', ''), 'hex');
const hello = hex('f2 48 cd c9 c9 07 00');

describe('blocks', () => {
  const codec = new Codec();
  const noise = Buffer.from(Array.from({ length: 70_000 }, (_, i) => (Math.imul(i, 2654435761) >>> 13) & 255));
  table(fresh, [
    ['the example of one block', [compressed(TEXT, hello)], gets.text('Hello')],
    ['the example in two frames', fragments(TEXT, hello, [3], { rsv: 4 }), gets.text('Hello')],
    ['the example without compression', [compressed(TEXT, hex('00 05 00 fa ff 48 65 6c 6c 6f 00'))], gets.text('Hello')],
    ['the example with BFINAL', [compressed(TEXT, hex('f3 48 cd c9 c9 07 00 00'))], gets.text('Hello')],
    ['the example of two blocks', [compressed(TEXT, hex('f2 48 05 00 00 00 ff ff ca c9 c9 07 00'))], gets.text('Hello')],
    ['the example of an empty message', [compressed(TEXT, hex('00'))], gets.text('')],
    ['an empty message by an empty block of fixed codes', [compressed(BINARY, hex('02 00'))], gets.binary('')],
    ['an empty message by three empty blocks', [compressed(BINARY, Buffer.concat([stored(Buffer.alloc(0)), stored(Buffer.alloc(0)), bytes(0)]))], gets.binary('')],
    ['BFINAL in the middle and at the end', [compressed(TEXT, Buffer.concat([hex('f3 48 cd c9 c9 07 00'), hex('f3 48 cd c9 c9 07 00'), bytes(0)]))], gets.text('HelloHello')],
    ['BFINAL on an uncompressed block', [compressed(TEXT, Buffer.concat([stored(utf8('Hello'), { final: 1 }), bytes(0)]))], gets.text('Hello')],
    ['BFINAL on the block that the tail ends', [compressed(TEXT, Buffer.concat([stored(utf8('Hello')), bytes(1)])), compressed(TEXT, hello)], gets.text('Hello'), gets.text('Hello')],
    ['two blocks without compression', [compressed(BINARY, Buffer.concat([stored(noise.subarray(0, 65_535)), stored(noise.subarray(65_535)), bytes(0)]))], gets.binary(noise)],
    ['level 0', [compressed(BINARY, deflated(noise, 0))], gets.binary(noise)],
    ['huffman codes only', [compressed(BINARY, deflateRawSync(noise, { strategy: constants.Z_HUFFMAN_ONLY, finishFlush: constants.Z_SYNC_FLUSH }).subarray(0, -4))], gets.binary(noise)],
    ['fixed codes only', [compressed(BINARY, deflateRawSync(noise, { strategy: constants.Z_FIXED, finishFlush: constants.Z_SYNC_FLUSH }).subarray(0, -4))], gets.binary(noise)],
    ['runs only', [compressed(BINARY, deflateRawSync(noise, { strategy: constants.Z_RLE, finishFlush: constants.Z_SYNC_FLUSH }).subarray(0, -4))], gets.binary(noise)],
    ['a match of 258 bytes over itself', [compressed(BINARY, new BitWriter().add(2, 3).fixed(97).fixed(285).code(0, 5).fixed(256).add(0, 3).bytes())],
      gets.binary(Buffer.alloc(259, 'a'))],
    ['a fragment for each byte of a compressed message', fragments(TEXT, hello, cuts(7, 7), { rsv: 4 }), gets.text('Hello')],
    ['byte by byte', ways['byte by byte']([compressed(TEXT, hello)]), gets.text('Hello')],
    ['pings between compressed fragments', fragments(TEXT, hello, [2, 4], { rsv: 4, between: [ping('p')] }), gets.pong('p'), gets.pong('p'), gets.text('Hello')],
    ['empty compressed fragments', fragments(TEXT, hello, [0, 0, 7, 7], { rsv: 4 }), gets.text('Hello')],
    ['plain and compressed in turn', [text('plain'), compressed(TEXT, hello), binary('plain'), compressed(BINARY, hello), ...fragments(TEXT, utf8('plain'), [2])],
      gets.text('plain'), gets.text('Hello'), gets.binary('plain'), gets.binary('Hello'), gets.text('plain')],
    ['200 compressed messages in one write', [Buffer.concat(Array(200).fill(compressed(TEXT, hello)))], ...Array(200).fill(gets.text('Hello'))],
    ['a message before a bad one is answered', [Buffer.concat([compressed(TEXT, hello), compressed(TEXT, hex('ff'))])], gets.text('Hello'), gets.close(1007)],
    ['without takeover each message begins anew: 1007', [compressed(TEXT, hello), compressed(TEXT, hex('f2 00 11 00 00'))], gets.text('Hello'), gets.close(1007)],
  ], { ...spoken, codec });
});

describe('the window between messages', () => {
  const reference = hex('f2 00 11 00 00');  // Hello, out of the window
  const row = (name, send, ...expect) => test(name, () => run(keeping, { send, expect, headers: offer('permessage-deflate'), codec: new Codec({ takeover: true }) }));
  row('the example of takeover', [compressed(TEXT, hello), compressed(TEXT, reference)], gets.text('Hello'), gets.text('Hello'));
  row('a plain message is not in the window: 1007', [text('Hello'), compressed(TEXT, reference)], gets.text('Hello'), gets.close(1007));
  row('a plain message does not disturb the window', [compressed(TEXT, hello), binary('xyz'), compressed(TEXT, reference)],
    gets.text('Hello'), gets.binary('xyz'), gets.text('Hello'));
  row('the window outlives BFINAL', [compressed(TEXT, hex('f3 48 cd c9 c9 07 00 00')), compressed(TEXT, reference)], gets.text('Hello'), gets.text('Hello'));
  row('the window outlives a BFINAL that the tail ends', [compressed(TEXT, Buffer.concat([stored(utf8('Hello')), bytes(1)])), compressed(TEXT, reference)],
    gets.text('Hello'), gets.text('Hello'));
  row('the window outlives a message of two BFINAL blocks', [compressed(TEXT, hex('f3 48 cd c9 c9 07 00 f3 48 cd c9 c9 07 00 00')), compressed(TEXT, reference)],
    gets.text('HelloHello'), gets.text('Hello'));
  row('the window outlives a message in fragments, pings between', [...fragments(TEXT, hello, [1, 4], { rsv: 4, between: [ping('p')] }), compressed(TEXT, reference)],
    gets.pong('p'), gets.pong('p'), gets.text('Hello'), gets.text('Hello'));
  row('the window outlives an empty message', [compressed(TEXT, hello), compressed(TEXT, bytes(0)), compressed(TEXT, reference)],
    gets.text('Hello'), gets.text(''), gets.text('Hello'));
  row('a reference before the first byte: 1007', [compressed(TEXT, reference)], gets.close(1007));
  test('client_no_context_takeover empties the window of the client only', () => run(keeping, {
    send: [compressed(TEXT, hello), compressed(TEXT, reference)], expect: [gets.text('Hello'), gets.close(1007)],
    headers: offer('permessage-deflate; client_no_context_takeover'), codec: new Codec({ takeover: true }),
  }));
  test('a window larger than agreed: 1007', () => {
    const noise = Buffer.from(Array.from({ length: 2000 }, (_, i) => (Math.imul(i, 2654435761) >>> 11) & 255));
    // 258 bytes from 1,900 back, which a window of 512 does not have.
    const far = new BitWriter().add(2, 3).fixed(285).code(21, 5).add(1900 - 1537, 9).fixed(256).add(0, 3).bytes();
    return run(keeping, {
      send: [compressed(BINARY, Buffer.concat([stored(noise), bytes(0)])), compressed(BINARY, far)], expect: [gets.binary(noise), gets.close(1007)],
      headers: offer('permessage-deflate; client_max_window_bits=9'), codec: new Codec({ takeover: true }),
    });
  });
});

describe('data that is wrong: 1007', () => {
  const bad = {
    'no payload': Buffer.alloc(0),
    'the reserved block type': hex('06'),
    'all ones': hex('ff ff ff ff'),
    'a block that is cut off': hello.subarray(0, 4),
    'a block without its end': hex('4a 4c 04'),
    'an uncompressed block that is cut off': stored(utf8('Hello')).subarray(0, 8),
    'an uncompressed block with a wrong complement': hex('00 05 00 fb ff 48 65 6c 6c 6f 00'),
    'an uncompressed block without a byte behind it': stored(utf8('Hello')),
    'BFINAL without a byte behind it': hex('f3 48 cd c9 c9 07 00'),
    'the tail left on': Buffer.concat([hello, hex('00 00 ff ff')]),
    'something behind the last block': Buffer.concat([hello, utf8('junk')]),
    'a header of zlib': hex('78 9c f2 48 cd c9 c9 07 00'),
    'a header of gzip': hex('1f 8b 08 00 00 00 00 00 00 03 f2 48'),
    'a distance beyond the first byte': new BitWriter().add(2, 3).fixed(97).fixed(257).code(1, 5).fixed(256).add(0, 3).bytes(),
    'a distance symbol of 30': new BitWriter().add(2, 3).fixed(97).fixed(257).code(30, 5).fixed(256).add(0, 3).bytes(),
    'a length symbol of 286': new BitWriter().add(2, 3).fixed(97).fixed(286).code(0, 5).fixed(256).add(0, 3).bytes(),
    'a dynamic block with too many codes': new BitWriter().add(4, 3).add(31, 5).add(31, 5).add(15, 4).add(0, 64).bytes(),
    'a dynamic block with no codes': new BitWriter().add(4, 3).add(0, 5).add(0, 5).add(0, 4).add(0, 64).bytes(),
    'a dynamic block with an oversubscribed code': new BitWriter().add(4, 3).add(0, 5).add(0, 5).add(15, 4).add(0o1111111, 21).add(0o1111111, 21).add(0, 64).bytes(),
    'plain text': utf8('this was never compressed'),
  };
  for (const [name, payload] of Object.entries(bad)) {
    table(fresh, [
      [name, [compressed(BINARY, payload)], gets.close(1007)],
      [`${name}, in two fragments`, fragments(BINARY, payload, [payload.length >> 1], { rsv: 4 }), gets.close(1007)],
    ], spoken);
  }
});

describe('text is judged when inflated', () => {
  for (const [name, payload] of Object.entries(badText)) {
    table(fresh, [
      [`${name}: 1007`, [compressed(TEXT, Buffer.concat([stored(payload), bytes(0)]))], gets.close(1007)],
    ], spoken);
  }
  const good = Buffer.concat(Object.values(goodText));
  const junk = Buffer.concat(Object.values(badText));
  table(fresh, [
    ['all that is good, compressed', [compressed(TEXT, deflated(good))], gets.text(good)],
    ['compressed bytes cut inside their characters', fragments(TEXT, deflated(good), cuts(deflated(good).length, 30), { rsv: 4 }), gets.text(good)],
    ['bytes that are no text are fine in binary', [compressed(BINARY, deflated(junk))], gets.binary(junk)],
    ['the compressed bytes themselves need not be text', [compressed(TEXT, deflated(utf8('ääääääääää')))], gets.text('ääääääääää')],
  ], { ...spoken, codec: new Codec() });
});

describe('RSV1 where it does not belong: 1002', () => {
  const rows = [
    ['on a ping', [wsFrame(9, utf8('p'), { rsv: 4 })], gets.close(1002)],
    ['on a pong', [wsFrame(10, utf8('p'), { rsv: 4 })], gets.close(1002)],
    ['on a close', [wsFrame(8, bytes(3, 0xe8), { rsv: 4 })], gets.close(1002)],
    ['on a continuation of a compressed message', [compressed(TEXT, hello.subarray(0, 3), { fin: false }), more(hello.subarray(3), { rsv: 4 })], gets.close(1002)],
    ['on a continuation of a plain message', [text('Hel', { fin: false }), more('lo', { rsv: 4 })], gets.close(1002)],
    ['on a continuation of nothing', [more(hello, { rsv: 4 })], gets.close(1002)],
    ['on a new message inside another', [text('a', { fin: false }), compressed(TEXT, hello)], gets.close(1002)],
    ['on a reserved opcode', [wsFrame(3, hello, { rsv: 4 })], gets.close(1002)],
    ['with RSV2', [text('', { rsv: 6 })], gets.close(1002)],
    ['with RSV3', [text('', { rsv: 5 })], gets.close(1002)],
    ['on a ping inside a compressed message', [compressed(TEXT, hello.subarray(0, 3), { fin: false }), wsFrame(9, utf8('p'), { rsv: 4 })], gets.close(1002)],
  ];
  table(fresh, rows, spoken);
  table(fresh, [
    ['when the extension was not offered', [compressed(TEXT, hello)], gets.close(1002)],
    ['when the extension was not offered, binary', [compressed(BINARY, hello)], gets.close(1002)],
  ]);
  table(fresh, [['when the offer was declined', [compressed(TEXT, hello)], gets.close(1002)]], { headers: offer('permessage-deflate; nonsense') });
});

describe('limits', () => {
  const codec = new Codec();
  const zeros = (size) => deflated(Buffer.alloc(size));
  table(fresh, [
    ['16 MiB of zeros come back', [compressed(BINARY, zeros(limit))], gets.binary(Buffer.alloc(limit))],
    ['one byte more: 1009', [compressed(BINARY, zeros(limit + 1))], gets.close(1009)],
    ['64 MiB of zeros: 1009', [compressed(BINARY, zeros(64 << 20))], gets.close(1009)],
    ['64 MiB of zeros as text: 1009', [compressed(TEXT, zeros(64 << 20))], gets.close(1009)],
    ['64 MiB of zeros in 100 fragments: 1009', fragments(BINARY, zeros(64 << 20), cuts(zeros(64 << 20).length, 100), { rsv: 4 }), gets.close(1009)],
    ['a length above the limit is refused before its bytes: 1009', [(() => {
      const frame = compressed(BINARY, Buffer.alloc(0), { lengthForm: 64 });
      frame.writeBigUInt64BE(1n << 30n, 2);
      return frame;
    })()], gets.close(1009)],
  ], { ...spoken, codec });
  const noise = Buffer.from(Array.from({ length: 1100 }, (_, i) => (Math.imul(i, 2654435761) >>> 11) & 255));
  table(tight, [
    ['1,024 bytes that do not shrink', [compressed(BINARY, deflated(noise.subarray(0, 1024)))], gets.binary(noise.subarray(0, 1024))],
    ['1,024 bytes compressed badly', [compressed(BINARY, deflateRawSync(noise.subarray(0, 1024), { strategy: constants.Z_FIXED, finishFlush: constants.Z_SYNC_FLUSH }).subarray(0, -4))],
      gets.binary(noise.subarray(0, 1024))],
    ['1,025 bytes that do not shrink: 1009', [compressed(BINARY, deflated(noise.subarray(0, 1025)))], gets.close(1009)],
    ['1,025 plain bytes: 1009', [binary(noise.subarray(0, 1025))], gets.close(1009)],
    ['empty blocks without end: 1009', [compressed(BINARY, Buffer.concat(Array(2000).fill(stored(Buffer.alloc(0)))))], gets.close(1009)],
    ['empty blocks without end in fragments: 1009', fragments(BINARY, Buffer.concat(Array(2000).fill(stored(Buffer.alloc(0)))), cuts(10_000, 100), { rsv: 4 }), gets.close(1009)],
    ['empty blocks up to the limit', [compressed(BINARY, Buffer.concat([...Array(200).fill(stored(Buffer.alloc(0))), hello]))], gets.binary('Hello')],
  ], { ...spoken, codec });
  test('a peer that reads nothing gets its compressed answers later', async () => {
    const socket = await open(fresh.port, '/', spoken.headers);
    socket.socket.pause();
    const noisy = Buffer.from(Array.from({ length: 300_000 }, (_, i) => (Math.imul(i, 2654435761) >>> 13) & 63));
    const small = deflated(noisy);
    for (let i = 0; i < 8; i += 1) for (const piece of fragments(BINARY, small, cuts(small.length, 5), { rsv: 4, between: [ping('p')] })) socket.write(piece);
    await sleep(200);
    socket.socket.resume();
    const round = [...Array(4).fill(gets.pong('p')), gets.binary(noisy)];
    await expectAll(socket, Array(8).fill(round).flat(), codec);
    socket.destroy();
  });
  test('a thousand bombs at once do not keep others waiting for their end', async () => {
    const bomber = await open(fresh.port, '/', spoken.headers);
    bomber.write(Buffer.concat(Array(1000).fill(compressed(BINARY, zeros(4 << 20)))));
    const victim = { send: [text('still served')], expect: [gets.text('still served')] };
    for (let i = 0; i < 5; i += 1) await run(fresh, victim);
    bomber.destroy();
  });
});

// What a damaged stream means is for the fuzzers; here it must end in the ways of the RFCs, and leave
// nothing behind: two contexts serve 400 connections, most of which ended badly.
test('400 damaged streams of compressed messages', async () => {
  const seed = Number(process.env.TIDEGATE_SEED ?? 7692);
  const pair = await startEcho(['--deflate', '--deflate-takeover', '--deflate-contexts', '2', '--message-bytes', '65536']);
  const codes = new Map();
  let number = 0;
  const play = async () => {
    while (number < 400) {
      const random = seeded(seed + number);
      number += 1;
      const codec = new Codec({ takeover: true });
      const socket = await open(pair.port, '/', spoken.headers);
      const pieces = [];
      for (let i = 0; i < 4; i += 1) {
        const small = await codec.deflate(prose(1 + random.below(random.chance(0.1) ? 60_000 : 900), seed + i));
        pieces.push(...fragments(random.pick([TEXT, BINARY]), small, cuts(small.length, 1 + random.below(3)), { rsv: 4 }));
      }
      const stream = Buffer.concat(pieces);
      for (let i = 1 + random.below(3); i > 0; i -= 1) stream[random.below(stream.length)] ^= 1 << random.below(8);
      // Our end of the stream ends those that wait for the rest of a damaged length: null.
      socket.socket.end(Buffer.concat([stream, close(1000)]));
      const code = await socket.closeCode();
      codes.set(code, (codes.get(code) ?? 0) + 1);
      socket.destroy();
      assert.ok(code === null || (code >= 1000 && code < 5000), `case ${number} of seed ${seed}: ${code}`);
    }
  };
  await Promise.all([play(), play()]);
  assert.ok(codes.get(1007) > 50 && codes.get(1002) > 10 && codes.get(1000) > 10, JSON.stringify([...codes]));
  let answer = 'declined';
  for (let i = 0; i < 200 && answer === 'declined'; i += 1) {
    await sleep(20);
    answer = await answerTo(pair, 'permessage-deflate');
  }
  assert.equal(answer, 'permessage-deflate');
  await pair.stop();
});

test('npm ws with compression of everything, 500 messages each', async () => {
  for (const server of [fresh, keeping, narrow]) {
    const socket = new WebSocket(server.url, { perMessageDeflate: { threshold: 0 } });
    await within(new Promise((done, fail) => { socket.once('open', done); socket.once('error', fail); }), 'open');
    assert.match(socket.extensions, /permessage-deflate/);
    let back = 0;
    const sent = Array.from({ length: 500 }, (_, i) => prose((i * 37) % 3000, i + 1));
    const all = new Promise((done, fail) => {
      socket.once('error', fail);
      socket.on('message', (data) => {
        assert.ok(sent[back].equals(data), `message ${back}`);
        back += 1;
        if (back === sent.length) done();
      });
    });
    for (const message of sent) socket.send(message);
    await within(all, '500 echoes');
    socket.close(1000);
    await within(new Promise((done) => { socket.once('close', done); }), 'the close');
  }
});

// The frame rules do not change with the extension.
describe('RFC 6455 with the extension', () => {
  for (const [name, rows] of Object.entries({
    messages: messages(), 'control frames': control(), violations: violations({ rsv1: false }), fragments: fragmentation(), 'UTF-8': text_rules(), closing: closing(),
  })) {
    describe(name, () => table(fresh, rows, { ...spoken, codec: new Codec() }));
  }
});
