// SPDX-License-Identifier: Apache-2.0
// zlib data (RFC 1950, 1951) of a known size, unpacked at once: the browser's own DecompressionStream
// answers later, and messages keep their order. Throws WireError 4017 for anything else than exactly
// `size` bytes.
import { WireError } from './pb.js';

const bad = (): never => { throw new WireError('a compressed payload that is not what it promises', 4017); };

const LENGTHS = [3, 4, 5, 6, 7, 8, 9, 10, 11, 13, 15, 17, 19, 23, 27, 31, 35, 43, 51, 59, 67, 83, 99, 115, 131, 163, 195, 227, 258];
const ORDER = [16, 17, 18, 0, 8, 7, 9, 6, 10, 5, 11, 4, 12, 3, 13, 2, 14, 1, 15];

// A canonical Huffman code: how many codes there are of each length, and the symbols in their order.
interface Code { counts: Uint16Array; symbols: Uint16Array }
function codeOf(lengths: ArrayLike<number>): Code {
  const counts = new Uint16Array(16);
  const symbols = new Uint16Array(lengths.length);
  for (let i = 0; i < lengths.length; i += 1) counts[lengths[i]!]! += 1;
  counts[0] = 0;
  const next = new Uint16Array(16);
  let left = 1;
  for (let n = 1; n < 16; n += 1) {
    left = 2 * left - counts[n]!;
    if (left < 0) bad();  // more codes than there is room for
    if (n < 15) next[n + 1] = next[n]! + counts[n]!;
  }
  for (let i = 0; i < lengths.length; i += 1) if (lengths[i]) symbols[next[lengths[i]!]!++] = i;
  return { counts, symbols };
}
let fixed: [Code, Code] | undefined;

export function inflate(data: Uint8Array, size: number): Uint8Array {
  const out = new Uint8Array(size);
  let at = 2, bits = 0, held = 0, to = 0;
  if (data.length < 6 || (data[0]! & 15) !== 8 || (data[0]! << 8 | data[1]!) % 31 !== 0 || data[1]! & 32) bad();
  const take = (n: number): number => {
    while (held < n) {
      if (at >= data.length) bad();
      bits |= data[at++]! << held;
      held += 8;
    }
    const value = bits & (1 << n) - 1;
    bits >>>= n;
    held -= n;
    return value;
  };
  const symbol = ({ counts, symbols }: Code): number => {
    let code = 0, first = 0, index = 0;
    for (let n = 1; n < 16; n += 1) {
      code |= take(1);
      const count = counts[n]!;
      if (code - count < first) return symbols[index + code - first]!;
      index += count;
      first = first + count << 1;
      code <<= 1;
    }
    return bad();
  };
  for (let last = 0; !last;) {
    last = take(1);
    const kind = take(2);
    if (kind === 0) {
      bits = held = 0;
      const n = data[at]! | data[at + 1]! << 8;
      if (at + 4 + n > data.length || to + n > size || (data[at + 2]! | data[at + 3]! << 8) !== (n ^ 0xffff)) bad();
      out.set(data.subarray(at + 4, at + 4 + n), to);
      at += 4 + n;
      to += n;
      continue;
    }
    let codes: [Code, Code];
    if (kind === 1) {
      codes = fixed ??= [codeOf(Uint8Array.from({ length: 288 }, (_, i) => i < 144 ? 8 : i < 256 ? 9 : i < 280 ? 7 : 8)),
        codeOf(new Uint8Array(30).fill(5))];
    } else if (kind === 2) {
      const literals = take(5) + 257, distances = take(5) + 1, lengths = new Uint8Array(19);
      for (let i = 0, n = take(4) + 4; i < n; i += 1) lengths[ORDER[i]!] = take(3);
      const outer = codeOf(lengths), all = new Uint8Array(literals + distances);
      for (let i = 0; i < all.length;) {
        const s = symbol(outer);
        if (s < 16) {
          all[i++] = s;
          continue;
        }
        if (s === 16 && i === 0) bad();
        const value = s === 16 ? all[i - 1]! : 0, n = s === 16 ? 3 + take(2) : s === 17 ? 3 + take(3) : 11 + take(7);
        if (i + n > all.length) bad();
        all.fill(value, i, i += n);
      }
      codes = [codeOf(all.subarray(0, literals)), codeOf(all.subarray(literals))];
    } else {
      return bad();
    }
    for (let s = symbol(codes[0]); s !== 256; s = symbol(codes[0])) {
      if (s < 256) {
        if (to >= size) bad();
        out[to++] = s;
        continue;
      }
      if (s > 285) bad();
      const n = LENGTHS[s - 257]! + (s < 265 || s === 285 ? 0 : take(s - 261 >> 2)), d = symbol(codes[1]);
      if (d > 29) bad();
      const distance = d < 4 ? d + 1 : (2 + (d & 1) << (d - 2 >> 1)) + 1 + take(d - 2 >> 1);
      if (distance > to || to + n > size) bad();
      for (const end = to + n; to < end; to += 1) out[to] = out[to - distance]!;
    }
  }
  let a = 1, b = 0;
  for (const byte of out) {
    a = (a + byte) % 65521;
    b = (b + a) % 65521;
  }
  if (to !== size || at + 4 !== data.length || (data[at]! << 8 | data[at + 1]!) !== b || (data[at + 2]! << 8 | data[at + 3]!) !== a) bad();
  return out;
}
