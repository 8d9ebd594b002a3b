// SPDX-License-Identifier: Apache-2.0
// The SDK's zlib reader against Node's writer: every level and strategy, every size, and bytes that are
// not what they should be.
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { constants, deflateSync, inflateSync } from 'node:zlib';
import * as sdk from '../../../tools/sdk-js/dist/index.js';
import { seeded } from '../lib/wait.mjs';

const random = seeded(4);
function sample(size, kinds) {
  const bytes = Buffer.alloc(size);
  for (let i = 0; i < size; i += 1) bytes[i] = random.below(kinds);
  return bytes;
}
const forms = [0, 1, 6, 9].flatMap((level) => [constants.Z_DEFAULT_STRATEGY, constants.Z_HUFFMAN_ONLY, constants.Z_RLE, constants.Z_FIXED]
  .map((strategy) => ({ level, strategy })));

describe('inflate', () => {
  test('gives back what was packed', () => {
    for (const form of forms) {
      for (const [size, kinds] of [[1, 256], [2, 1], [300, 4], [5000, 2], [5000, 256], [40_000, 3], [70_000, 1]]) {
        const raw = sample(size, kinds);
        assert.ok(Buffer.from(sdk.inflate(deflateSync(raw, form), size)).equals(raw), `${size} of ${kinds} ${JSON.stringify(form)}`);
      }
    }
    const text = Buffer.from('the quick brown fox jumps over the lazy dog. '.repeat(100));
    assert.ok(Buffer.from(sdk.inflate(deflateSync(text), text.length)).equals(text));
  });
  test('takes no other size, no other end and no damage', () => {
    const raw = sample(4000, 5);
    const packed = deflateSync(raw);
    const refused = (bytes, size) => assert.throws(() => sdk.inflate(bytes, size), (error) => error instanceof sdk.WireError && error.code === 4017);
    for (const size of [0, 3999, 4001, 1 << 20]) refused(packed, size);
    for (let cut = 1; cut < 8; cut += 1) refused(packed.subarray(0, packed.length - cut), 4000);
    refused(Buffer.concat([packed, Buffer.from([0])]), 4000);
    refused(deflateSync(Buffer.alloc(1 << 20)), 4000);
    refused(Buffer.alloc(0), 1);
    let damaged = 0;
    for (let i = 0; i < 2000; i += 1) {
      const bytes = Buffer.from(packed);
      bytes[random.below(bytes.length)] ^= 1 << random.below(8);
      // A flip may mean nothing, or deceive the checksum: then zlib says the same.
      let expected;
      try {
        expected = inflateSync(bytes);
      } catch {
        // refused
      }
      if (expected?.length === 4000) {
        assert.ok(Buffer.from(sdk.inflate(bytes, 4000)).equals(expected), 'as zlib has it');
      } else {
        refused(bytes, 4000);
        damaged += 1;
      }
    }
    assert.ok(damaged > 1950, `${damaged}`);
    for (let i = 0; i < 2000; i += 1) {  // ends, whatever the bytes say
      const noise = sample(2 + random.below(60), 256);
      noise[0] = 0x78;
      noise[1] = 0x9c;
      refused(noise, 100 + random.below(1000));
    }
  });
});
