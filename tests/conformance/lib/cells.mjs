// SPDX-License-Identifier: Apache-2.0
// The packed encoding: CELL_FRAMEs decoded as docs/protocol.md describes them, into a picture of all
// cells in view, with every checksum verified. What the document forbids lands in `breaches`.
import { createXXHash3 } from 'hash-wasm';

const hasher = await createXXHash3(0, 0);
const FLAG = { keyframe: 1, drop: 2, checksum: 4, anchor: 32, epoch: 64, part: 128 };
const CHAIN = 3;  // the layer of frames at full rate
const signed = (v) => (v % 2 === 1 ? -(v + 1) / 2 : v / 2);

class ByteReader {
  constructor(bytes) { this.bytes = bytes; this.at = 0; }
  u8() {
    if (this.at >= this.bytes.length) throw new Error('a frame cut off in its header');
    return this.bytes[this.at++];
  }
  varint() {
    let value = 0;
    for (let shift = 0; shift < 35; shift += 7) {
      const byte = this.u8();
      value += (byte & 0x7f) * 2 ** shift;
      if (byte < 0x80) return value;
    }
    throw new Error('a varint that does not end');
  }
  u64() {
    if (this.at + 8 > this.bytes.length) throw new Error('a frame cut off in its checksum');
    this.at += 8;
    return this.bytes.readBigUInt64LE(this.at - 8);
  }
}

// Least significant bit of each byte first.
class BitReader {
  constructor(bytes) { this.bytes = bytes; this.bit = 0; }
  bits(count) {
    let value = 0;
    for (let i = 0; i < count; i += 1) {
      if (this.bit >= this.bytes.length * 8) throw new Error('a frame cut off in its bits');
      value += ((this.bytes[this.bit >> 3] >> (this.bit & 7)) & 1) * 2 ** i;
      this.bit += 1;
    }
    return value;
  }
  golomb(k) {
    let n = 0;
    while (this.bits(1) === 0) {
      n += 1;
      if (n > 40) throw new Error('a code of too many zeros');
    }
    return this.bits(n + k) + 2 ** (n + k) - 2 ** k;
  }
  signedGolomb(k) { return signed(this.golomb(k)); }
  flags() { return this.bits(1) === 1 ? this.bits(32) : this.bits(8); }
  // What is left is the filling of the last byte: fewer than 8 bits, all 0.
  finish() {
    if (this.bytes.length * 8 - this.bit >= 8) throw new Error('bytes after the end of a frame');
    while (this.bit < this.bytes.length * 8) if (this.bits(1) !== 0) throw new Error('a filling that is not 0');
  }
}

// Calls `each(slot)` for a list of ascending slots.
function eachSlot(count, gap, each) {
  let slot = -1;
  for (let i = 0; i < count; i += 1) {
    slot += 1 + gap();
    each(slot);
  }
}

function readMember(bits, tick) {
  const member = { kind: bits.bits(2), id: bits.golomb(12) };
  const length = bits.bits(7);
  const name = Buffer.alloc(length === 127 ? 16 : length);
  for (let i = 0; i < name.length; i += 1) name[i] = bits.bits(8);
  member.name = length === 127 ? name.toString('hex').replace(/^(.{8})(.{4})(.{4})(.{4})/, '$1-$2-$3-$4-') : name.toString();
  member.x = bits.signedGolomb(11);
  member.z = bits.signedGolomb(11);
  member.y = bits.signedGolomb(6);
  member.yaw = bits.bits(8);
  member.flags = bits.flags();
  member.told = tick - bits.bits(4);
  member.speed = [bits.signedGolomb(6), bits.signedGolomb(6), bits.signedGolomb(6)];
  const offset = () => { const v = bits.bits(5); return v < 16 ? v : v - 32; };
  member.offset = bits.bits(1) === 1 ? [offset(), offset(), offset()] : [0, 0, 0];
  member.pace = bits.bits(1) === 1 ? [bits.signedGolomb(4), bits.signedGolomb(4), bits.signedGolomb(4)] : [0, 0, 0];
  return member;
}

const AXES = ['x', 'y', 'z'];
const copy = (members) => new Map([...members].map(([slot, m]) => [slot, { ...m, speed: [...m.speed], offset: [...m.offset], pace: [...m.pace] }]));

// The image after a frame of layer 0, an anchor or a keyframe is what layers refer to from now on.
// A member's pace is its motion since the anchor before, unless it stood still or is new.
function reachAnchor(cell, frame, fresh) {
  if (!fresh) {
    for (const [slot, member] of cell.members) {
      const before = cell.kept[0].members.get(slot);
      if (!before || AXES.every((axis) => member[axis] === before[axis])) continue;
      member.pace = AXES.map((axis) => member[axis] - before[axis]);
    }
  }
  cell.kept = [{ frame, members: copy(cell.members) }, null];
}

// A member went `residual` further along an axis than the chain expects.
function follow(member, i, residual) {
  const sum = member.speed[i] + member.offset[i];
  const step = ((sum + 8) >> 4) + residual;
  member[AXES[i]] += step;
  if (Math.abs(residual) > 1) {
    member.speed[i] = step * 16;
    member.offset[i] = 0;
  } else {
    const differs = step * 16 - sum;
    const half = Math.floor(differs / 2);
    member.speed[i] += half;
    member.offset[i] = half - differs;
  }
}

// What the chain expects of each member from here on.
function readTracks(bits, cell, tick) {
  const factor = bits.bits(4);
  const order = bits.bits(3);
  for (const [, member] of [...cell.members].sort(([a], [b]) => a - b)) {
    member.told = tick - bits.bits(4);
    member.speed = [0, 0, 0];
    member.offset = [0, 0, 0];
    const axis = (i) => {
      member.speed[i] = bits.signedGolomb(order) + factor * member.pace[i];
      const v = bits.bits(5);
      member.offset[i] = v < 16 ? v : v - 32;
    };
    if (bits.bits(1) === 0) continue;
    axis(0);
    axis(2);
    if (bits.bits(1) === 1) axis(1);
  }
}

// The slots that change, ascending.
function readSlots(bits, layer, members, tick, count) {
  const list = (n) => {
    const found = [];
    if (n === 0) return found;
    const order = bits.bits(3);
    eachSlot(n, () => bits.golomb(order), (slot) => found.push(slot));
    return found;
  };
  const period = layer === CHAIN ? bits.bits(3) : 0;
  if (period === 0) return list(count);
  const due = [...members].filter(([, m]) => m.told === tick - period).map(([slot]) => slot).sort((a, b) => a - b);
  const missed = list(bits.golomb(0));
  if (missed.some((i) => i >= due.length)) throw new Error('a member that is missed and was not due');
  const found = due.filter((_, i) => !missed.includes(i));
  const extra = list(count - found.length);
  if (extra.some((slot) => found.includes(slot))) throw new Error('a slot that changes twice');
  return [...found, ...extra].sort((a, b) => a - b);
}

function rowsOf(members) {
  const image = Buffer.alloc(members.size * 24);
  let at = 0;
  for (const [slot, m] of [...members].sort(([a], [b]) => a - b)) {
    image.writeUInt16LE(slot, at);
    image[at + 2] = m.kind;
    image[at + 3] = m.yaw;
    image.writeUInt32LE(m.id, at + 4);
    image.writeInt32LE(m.x, at + 8);
    image.writeInt32LE(m.y, at + 12);
    image.writeInt32LE(m.z, at + 16);
    image.writeUInt32LE(m.flags, at + 20);
    at += 24;
  }
  return image;
}

function checksum(members) {
  const image = rowsOf(members);
  hasher.init();
  return BigInt(`0x${hasher.update(image).digest('hex')}`);
}

export class Cells {
  constructor({ cellSize = 64, step = 0.02 } = {}) {
    this.cellSize = cellSize;
    this.step = step;
    this.cells = new Map();
    this.breaches = [];
    this.checked = 0;
    this.frames = { keyframe: 0, delta: 0, drop: 0, tracks: 0 };
    this.layers = [0, 0, 0, 0];  // deltas of each
    this.tick = 0;
  }

  // The CELL_FRAMEs of one WebSocket message, which belong to one tick.
  take(payloads) {
    for (const payload of payloads) {
      try {
        const head = new ByteReader(payload);
        if (head.u8() !== 3) throw new Error('a layout that is not 3');
        const tick = head.varint();
        while (head.at < payload.length) {
          const size = head.varint();
          if (size > payload.length - head.at) throw new Error('a frame longer than its message');
          head.at += size;
          this.#frame(payload.subarray(head.at - size, head.at), tick);
        }
      } catch (error) {
        this.#breach(error.message);
      }
    }
    const seen = new Set();
    for (const { members, tick } of this.cells.values()) {
      if (tick !== this.tick) continue;  // a cell that is sent more seldom may be older than a crossing
      for (const { id, name } of members.values()) {
        if (seen.has(id)) this.#breach(`${name} stands in two places`);
        seen.add(id);
      }
    }
  }

  // What a CELL_REPORT says of one of `cells`.
  rows(cell) { return rowsOf(cell.members); }
  checksumOf(cell) { return checksum(cell.members); }

  // name: {x, y, z} in metres, yaw, flags, kind, id
  entities() {
    const found = new Map();
    // Who stands in two cells is where the newer one has it.
    for (const cell of [...this.cells.values()].sort((a, b) => a.tick - b.tick)) {
      for (const m of cell.members.values()) {
        found.set(m.name, { x: cell.x * this.cellSize + m.x * this.step, y: m.y * this.step,
          z: cell.z * this.cellSize + m.z * this.step, yaw: m.yaw, flags: m.flags, kind: m.kind, id: m.id });
      }
    }
    return found;
  }

  #breach(text) { if (this.breaches.length < 50) this.breaches.push(text); }

  #frame(payload, tick) {
    const header = new ByteReader(payload);
    const flags = header.u8();
    const whole = flags & (FLAG.keyframe | FLAG.drop);
    const tracks = whole === 3;
    if ((whole && flags & (FLAG.part | FLAG.anchor | 24))) throw new Error(`flags ${flags}`);
    const x = signed(header.varint());
    const z = signed(header.varint());
    const key = `${x},${z}`;
    const epoch = flags & FLAG.epoch ? header.varint() : 0;
    const layer = (flags >> 3) & 3;
    let frame = whole ? header.varint() : header.u8();
    let back = 0;
    if (!whole && !(flags & FLAG.part)) back = layer === CHAIN ? 1 : header.varint();
    if (!whole && this.cells.has(key)) {  // the number nearest to the last one
      const last = this.cells.get(key).frame;
      frame = last + (((frame - last) << 24) >> 24);
    }
    const reference = frame - back;
    if (tick < this.tick) throw new Error(`tick ${tick} after ${this.tick}`);
    this.tick = tick;
    const sum = flags & FLAG.checksum ? header.u64() : null;
    if (whole === FLAG.drop) {
      this.frames.drop += 1;
      if (!this.cells.delete(key)) throw new Error(`drop of cell ${key}, which is not in view`);
      return;
    }
    const bits = new BitReader(payload.subarray(header.at));
    if (flags & FLAG.anchor && layer !== CHAIN) throw new Error('an anchor outside the chain');
    if (tracks) {
      this.frames.tracks += 1;
      const cell = this.cells.get(key);
      if (cell?.epoch !== epoch || cell.frame !== frame || cell.kept[0].frame !== frame) throw new Error(`tracks of ${key} for frame ${frame}`);
      readTracks(bits, cell, tick);
      Object.assign(cell, { chained: true, layer: 0 });
    } else if (flags & FLAG.keyframe) {
      this.frames.keyframe += 1;
      if (sum === null) throw new Error('a keyframe without a checksum');
      const members = new Map();
      eachSlot(bits.golomb(4), () => bits.golomb(3), (slot) => members.set(slot, readMember(bits, tick)));
      this.cells.set(key, { x, z, epoch, frame, tick, members, chained: true, layer: 0 });
      reachAnchor(this.cells.get(key), frame, true);
    } else {
      this.frames.delta += 1;
      const cell = this.cells.get(key);
      if (!cell) throw new Error(`delta of cell ${key}, which is not in view`);
      this.#refer(cell, { key, epoch, frame, reference, layer });
      this.#delta(cell, bits, layer, tick);
      if (layer === 0 || flags & FLAG.anchor) reachAnchor(cell, frame, false);
      if (layer === 1) cell.kept[1] = { frame, members: copy(cell.members) };
      Object.assign(cell, { frame, layer });
      this.layers[layer] += 1;
    }
    this.cells.get(key).tick = tick;
    bits.finish();
    if (sum !== null) {
      this.checked += 1;
      const own = checksum(this.cells.get(key).members);
      if (own !== sum) throw new Error(`checksum of cell ${key} at tick ${tick}: ${own} instead of ${sum}`);
    }
  }

  // Makes the image that a delta refers to the one it changes.
  #refer(cell, { key, epoch, frame, reference, layer }) {
    const missing = () => new Error(`delta of ${key} in layer ${layer} refers to frame ${reference}, held is ${cell.frame}`);
    if (cell.epoch !== epoch) throw missing();
    if (layer === CHAIN) {
      if (cell.frame !== reference || !cell.chained) throw missing();
      return;
    }
    if (frame === reference && cell.frame === frame && cell.layer === layer) return;  // a further part
    const [anchor, half] = cell.kept;
    const from = anchor.frame === reference ? anchor : layer === 2 && half?.frame === reference ? half : null;
    if (!from) throw missing();
    cell.members = copy(from.members);
    cell.fromHalf = from === half;
    cell.chained = false;
  }

  // What a layer expects of a member's motion.
  #expected(cell, slot, layer) {
    let { pace } = cell.members.get(slot);
    const from = cell.kept[0].members.get(slot);
    const to = cell.kept[1]?.members.get(slot);
    if (cell.fromHalf && from && to) pace = AXES.map((axis) => 2 * (to[axis] - from[axis]));
    return pace.map((p) => (layer === 0 ? p : (p + layer) >> layer));
  }

  #delta(cell, bits, layer, tick) {
    const { members } = cell;
    if (bits.bits(1) === 1) {
      eachSlot(bits.golomb(0), () => bits.golomb(3), (slot) => {
        if (bits.bits(1) === 1) {
          bits.signedGolomb(0);
          bits.signedGolomb(0);
        }
        if (!members.delete(slot)) throw new Error(`slot ${slot} leaves and is empty`);
      });
      eachSlot(bits.golomb(0), () => bits.golomb(3), (slot) => {
        const member = readMember(bits, tick);
        if (members.has(slot)) throw new Error(`${member.name} enters slot ${slot}, which is taken`);
        members.set(slot, member);
      });
    }
    const count = bits.golomb(3);
    if (count === 0) return;
    const slots = readSlots(bits, layer, members, tick, count);
    const alike = bits.bits(1) === 1;
    const usual = bits.bits(4);
    const order = bits.bits(3);
    const yawOrder = bits.bits(3);
    for (const slot of slots) {
      const member = members.get(slot);
      const changed = alike || bits.bits(1) === 1 ? usual : bits.bits(4);
      if (changed & 1) {
        const residual = [bits.signedGolomb(order), 0, bits.signedGolomb(order)];
        if (changed & 2) residual[1] = bits.signedGolomb(order);
        if (member && layer === CHAIN) AXES.forEach((_, i) => follow(member, i, residual[i]));
        else if (member) {
          const expected = this.#expected(cell, slot, layer);
          AXES.forEach((axis, i) => { member[axis] += expected[i] + residual[i]; });
        }
      }
      const yaw = changed & 4 ? bits.signedGolomb(yawOrder) : 0;
      const flags = changed & 8 ? bits.flags() : null;
      if (!member) throw new Error(`change of slot ${slot}, which is empty`);
      member.yaw = (((member.yaw + yaw) % 256) + 256) % 256;
      if (flags !== null) member.flags = flags;
      if (layer === CHAIN) member.told = tick;
    }
  }
}
