// SPDX-License-Identifier: Apache-2.0
// The client's half of permessage-deflate (RFC 7692 section 7.2) on Node's zlib.
import { constants, createDeflateRaw, createInflateRaw, deflateRawSync, inflateRawSync } from 'node:zlib';

const tail = Buffer.from([0, 0, 0xff, 0xff]);

export class Codec {
  // Bits of what this side compresses and of what it takes; takeover of both directions.
  constructor({ bits = 15, theirBits = 15, takeover = false, level = 6 } = {}) {
    this.options = { windowBits: Math.max(bits, 9), level, finishFlush: constants.Z_SYNC_FLUSH };
    this.theirs = { windowBits: theirBits, finishFlush: constants.Z_SYNC_FLUSH };
    if (!takeover) return;
    this.deflater = createDeflateRaw(this.options);
    this.inflater = createInflateRaw({ windowBits: theirBits });
  }

  #through(stream, input) {
    return new Promise((done, fail) => {
      const parts = [];
      const take = (part) => parts.push(part);
      stream.on('data', take);
      stream.once('error', fail);
      stream.write(input);
      stream.flush(constants.Z_SYNC_FLUSH, () => {
        stream.off('data', take);
        stream.off('error', fail);
        done(Buffer.concat(parts));
      });
    });
  }

  // A payload for a frame with RSV1.
  async deflate(message) {
    if (message.length === 0) return Buffer.from([0]);
    const out = this.deflater ? await this.#through(this.deflater, message) : deflateRawSync(message, this.options);
    if (!out.subarray(-4).equals(tail)) throw new Error('zlib did not end with a flush');
    return out.subarray(0, -4);
  }

  async inflate(payload) {
    const whole = Buffer.concat([payload, tail]);
    return this.inflater ? this.#through(this.inflater, whole) : inflateRawSync(whole, this.theirs);
  }
}

// Bits for DEFLATE blocks made by hand: add(value, count) puts the least significant bit first,
// code() a Huffman code with its most significant bit first.
export class BitWriter {
  bits = [];
  add(value, count) {
    for (let i = 0; i < count; i += 1) this.bits.push((value >> i) & 1);
    return this;
  }
  code(value, count) {
    for (let i = count - 1; i >= 0; i -= 1) this.bits.push((value >> i) & 1);
    return this;
  }
  // A literal or length symbol of the fixed code (RFC 1951 section 3.2.6).
  fixed(symbol) {
    if (symbol < 144) return this.code(0x30 + symbol, 8);
    if (symbol < 256) return this.code(0x190 + symbol - 144, 9);
    if (symbol < 280) return this.code(symbol - 256, 7);
    return this.code(0xc0 + symbol - 280, 8);
  }
  bytes() {
    const out = Buffer.alloc(Math.ceil(this.bits.length / 8));
    this.bits.forEach((bit, i) => { out[i >> 3] |= bit << (i & 7); });
    return out;
  }
}
// An uncompressed block.
export function stored(payload, { final = 0 } = {}) {
  const header = Buffer.alloc(5);
  header[0] = final;
  header.writeUInt16LE(payload.length, 1);
  header.writeUInt16LE(payload.length ^ 0xffff, 3);
  return Buffer.concat([header, payload]);
}
