// SPDX-License-Identifier: Apache-2.0
// The frame around every message: magic 0x4D4D, version 1, length, all big-endian, then one
// NetworkMessage. A WebSocket message carries one or more of them back to back.
import { NetworkMessage } from './messages.js';
import { PbWriter, WireError } from './pb.js';

const HEADER_BYTES = 8;
const MAGIC = 0x4d4d;
const VERSION = 1;

/** What stands in the envelope besides type and payload; all may be left out. */
export interface EnvelopeHead {
  timestamp?: number;
  sequence?: number;
  ack?: number;
  requiresAck?: boolean;
  priority?: number;
}

/** One whole frame. */
export function encodeFrame(type: number, payload: Uint8Array, head: EnvelopeHead = {}): Uint8Array {
  const body = NetworkMessage.encode({ version: 1, ...head, type, payload });
  const out = new PbWriter();
  const header = new DataView(new ArrayBuffer(HEADER_BYTES));
  header.setUint16(0, MAGIC);
  header.setUint16(2, VERSION);
  header.setUint32(4, body.length);
  out.raw(new Uint8Array(header.buffer));
  out.raw(body);
  return out.finish();
}

/** The messages of one WebSocket message; payloads are views into it. Throws WireError: 4000, 4001, 4002. */
export function parseFrames(data: Uint8Array): NetworkMessage[] {
  const messages: NetworkMessage[] = [];
  const view = new DataView(data.buffer, data.byteOffset, data.byteLength);
  let at = 0;
  while (at < data.length) {
    if (data.length - at < HEADER_BYTES || view.getUint16(at) !== MAGIC) {
      throw new WireError('not a frame', 4000);
    }
    if (view.getUint16(at + 2) !== VERSION) throw new WireError(`frame version ${view.getUint16(at + 2)}`, 4001);
    const length = view.getUint32(at + 4);
    at += HEADER_BYTES;
    if (length > data.length - at) throw new WireError('a frame longer than its message', 4000);
    messages.push(NetworkMessage.decode(data.subarray(at, at + length)));
    at += length;
  }
  return messages;
}
