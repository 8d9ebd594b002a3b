// SPDX-License-Identifier: Apache-2.0
import { WireError } from './pb.js';
import { xxh3 } from './xxh3.js';
const CHAIN = 3;
const SLOTS_MAX = 65536;
const NAME_BYTES_MAX = 64;
const UUID_NAME = 127;
const LAYOUT = 3;
const ROW_BYTES = 24;
const REPORT_MEMBERS_MOST = 512;
const NOTHING = new Uint8Array(0);
/** Columns of a member's row in CellImage.rows. */
export const Col = {
    LIVE: 0, KIND: 1, YAW: 2, ID: 3, X: 4, Y: 5, Z: 6, FLAGS: 7,
    /** What the chain expects, in sixteenths of a step, and the tick in which it last told of the member. */
    SPEED_X: 8, SPEED_Y: 9, SPEED_Z: 10, OFFSET_X: 11, OFFSET_Y: 12, OFFSET_Z: 13, TOLD: 14,
    /** Motion between the last two anchors that differ. */
    PACE_X: 15, PACE_Y: 16, PACE_Z: 17, WIDTH: 18,
};
const W = Col.WIDTH;
const utf8 = new TextDecoder('utf-8', { fatal: true });
const unzigzag = (v) => (v >>> 1) ^ -(v & 1);
// Bits, the least significant of each byte first.
class BitReader {
    data;
    at;
    pending = 0;
    filled = 0;
    constructor(data, at) {
        this.data = data;
        this.at = at;
    }
    /** 0 to 32 bits. */
    bits(count) {
        if (count > 16)
            return (this.bits(16) | (this.bits(count - 16) << 16)) >>> 0;
        while (this.filled < count) {
            if (this.at >= this.data.length)
                throw new WireError('a cell frame cut off');
            this.pending |= this.data[this.at] << this.filled;
            this.at += 1;
            this.filled += 8;
        }
        const value = this.pending & ((1 << count) - 1);
        this.pending >>>= count;
        this.filled -= count;
        return value;
    }
    golomb(k) {
        let zeros = 0;
        while (this.bits(1) === 0) {
            zeros += 1;
            if (zeros > 32 - k)
                throw new WireError('a code of too many zeros');
        }
        const width = zeros + k;
        const value = 2 ** width + this.bits(width) - 2 ** k;
        if (value > 0xffffffff)
            throw new WireError('a code above 32 bits');
        return value;
    }
    signed(k) { return unzigzag(this.golomb(k)); }
    flags() { return this.bits(1) === 1 ? this.bits(32) : this.bits(8); }
    /** Only the zero bits that fill the last byte may be left. */
    finish() {
        if (this.at !== this.data.length || this.filled >= 8 || this.pending !== 0) {
            throw new WireError('bits after the end of a cell frame');
        }
    }
}
/** The frames of a CELL_FRAME. Throws WireError; `each` got those in front of what is wrong. */
export function readCellFrames(payload, each) {
    let at = 0;
    const u32 = () => {
        let value = 0;
        for (let i = 0; i < 5; i += 1) {
            if (at >= payload.length)
                throw new WireError('cell frames cut off');
            const b = payload[at];
            at += 1;
            value += (b & 0x7f) * 2 ** (7 * i);
            if (b < 0x80) {
                if (value > 0xffffffff)
                    break;
                return value;
            }
        }
        throw new WireError('a number above 32 bits');
    };
    if (payload.length === 0 || payload[0] !== LAYOUT)
        throw new WireError(`cell frames of layout ${payload[0]}`);
    at = 1;
    const tick = u32();
    while (at < payload.length) {
        const size = u32();
        if (size > payload.length - at)
            throw new WireError('a cell frame longer than its message');
        at += size;
        each(payload.subarray(at - size, at), tick);
    }
}
/** Reads the header of a frame only. Throws WireError. */
export function readCellHeader(data, tick) {
    let at = 0;
    const byte = () => {
        if (at >= data.length)
            throw new WireError('a cell frame cut off in its header');
        at += 1;
        return data[at - 1];
    };
    const u32 = () => {
        let value = 0;
        for (let i = 0; i < 5; i += 1) {
            const b = byte();
            value += (b & 0x7f) * 2 ** (7 * i);
            if (b < 0x80) {
                if (value > 0xffffffff)
                    break;
                return value;
            }
        }
        throw new WireError('a number above 32 bits');
    };
    const first = byte();
    const x = u32();
    const z = u32();
    const header = {
        keyframe: (first & 3) === 1, drop: (first & 3) === 2, tracks: (first & 3) === 3, anchor: (first & 32) !== 0, layer: (first >> 3) & 3, cellX: unzigzag(x), cellZ: unzigzag(z),
        epoch: (first & 64) !== 0 ? u32() : 0, frame: 0, back: 0, tick, checksum: undefined, size: 0,
    };
    const delta = (first & 3) === 0;
    const part = (first & 128) !== 0;
    header.frame = delta ? byte() : u32();
    if (delta && !part)
        header.back = header.layer === CHAIN ? 1 : u32();
    if ((part && !delta) || (header.anchor && header.layer !== CHAIN) || x > 0xffff || z > 0xffff) {
        throw new WireError('a cell header out of range');
    }
    if ((first & 4) !== 0) {
        let sum = 0n;
        for (let i = 0n; i < 64n; i += 8n)
            sum |= BigInt(byte()) << i;
        header.checksum = sum;
    }
    header.size = at;
    return header;
}
function readName(bits) {
    const length = bits.bits(7);
    const name = new Uint8Array(length === UUID_NAME ? 16 : length);
    if (name.length > NAME_BYTES_MAX)
        throw new WireError('a name that is too long');
    for (let i = 0; i < name.length; i += 1)
        name[i] = bits.bits(8);
    if (length === UUID_NAME) {
        const digits = Array.from(name, (b) => b.toString(16).padStart(2, '0')).join('');
        return [digits.slice(0, 8), digits.slice(8, 12), digits.slice(12, 16), digits.slice(16, 20), digits.slice(20)].join('-');
    }
    try {
        return utf8.decode(name);
    }
    catch {
        throw new WireError('a name that is not UTF-8');
    }
}
function readMember(bits, draft, slot, tick) {
    if ((slot + 1) * W > draft.rows.length) {
        const more = new Int32Array(Math.max((slot + 1) * W, Math.min(SLOTS_MAX * W, draft.rows.length * 2)));
        more.set(draft.rows);
        draft.rows = more;
    }
    const { rows } = draft;
    const at = slot * W;
    if (rows[at + Col.LIVE] !== 0)
        throw new WireError(`slot ${slot} is taken`);
    rows[at + Col.KIND] = bits.bits(2);
    rows[at + Col.ID] = bits.golomb(12);
    draft.names[slot] = readName(bits);
    rows[at + Col.X] = bits.signed(11);
    rows[at + Col.Z] = bits.signed(11);
    rows[at + Col.Y] = bits.signed(6);
    rows[at + Col.YAW] = bits.bits(8);
    rows[at + Col.FLAGS] = bits.flags();
    rows[at + Col.TOLD] = tick - bits.bits(4);
    for (let i = 0; i < 3; i += 1)
        rows[at + Col.SPEED_X + i] = bits.signed(6);
    const hasOffsets = bits.bits(1) === 1;
    for (let i = 0; i < 3; i += 1)
        rows[at + Col.OFFSET_X + i] = hasOffsets ? (bits.bits(5) << 27) >> 27 : 0;
    const hasPace = bits.bits(1) === 1;
    for (let i = 0; i < 3; i += 1)
        rows[at + Col.PACE_X + i] = hasPace ? bits.signed(4) : 0;
    rows[at + Col.LIVE] = 1;
    draft.entered.push(slot);
}
// Calls `each` with `count` ascending slots.
function slots(count, gap, each) {
    let slot = -1;
    for (let i = 0; i < count; i += 1) {
        slot += 1 + gap();
        if (slot >= SLOTS_MAX)
            throw new WireError('a slot out of range');
        each(slot);
    }
}
// Slots of members of which the chain told `period` ticks ago.
function due(draft, tick, period) {
    const { rows } = draft;
    const found = [];
    for (let at = 0; at < rows.length; at += W) {
        if (rows[at] !== 0 && rows[at + Col.TOLD] === ((tick - period) | 0))
            found.push(at / W);
    }
    return found;
}
// The slots that change, ascending.
function readSlots(bits, draft, header, count) {
    const found = [];
    const list = (n, each) => {
        if (n === 0)
            return;
        const order = bits.bits(3);
        slots(n, () => bits.golomb(order), each);
    };
    const period = header.layer === CHAIN ? bits.bits(3) : 0;
    if (period === 0) {
        list(count, (slot) => found.push(slot));
        return found;
    }
    const expected = due(draft, header.tick, period);
    const missed = new Set();
    list(bits.golomb(0), (index) => {
        if (index >= expected.length)
            throw new WireError('nobody so late is due');
        missed.add(index);
    });
    expected.forEach((slot, index) => { if (!missed.has(index))
        found.push(slot); });
    if (found.length > count)
        throw new WireError('more are due than change');
    list(count - found.length, (slot) => found.push(slot));
    found.sort((a, b) => a - b);
    for (let i = 1; i < found.length; i += 1)
        if (found[i] === found[i - 1])
            throw new WireError('a slot changes twice');
    return found;
}
// A member went `residual` further along an axis than the chain expects.
function follow(rows, at, axis, residual) {
    const speed = at + Col.SPEED_X + axis;
    const offset = at + Col.OFFSET_X + axis;
    const sum = (rows[speed] + rows[offset]) | 0;
    const expected = ((sum + 8) | 0) >> 4;
    const step = (expected + residual) | 0;
    rows[at + Col.X + axis] += step;
    if (residual < -1 || residual > 1) {
        rows[speed] = step << 4;
        rows[offset] = 0;
        return;
    }
    const differs = ((step << 4) - sum) | 0;
    rows[speed] += differs >> 1;
    rows[offset] = (differs >> 1) - differs;
}
// What the chain expects of each member of the image.
function readTracks(bits, draft, header) {
    const { rows } = draft;
    const factor = bits.bits(4);
    const order = bits.bits(3);
    for (let at = 0; at < rows.length; at += W) {
        if (rows[at] === 0)
            continue;
        const axis = (i) => {
            rows[at + Col.SPEED_X + i] = (bits.signed(order) + Math.imul(rows[at + Col.PACE_X + i], factor)) | 0;
            rows[at + Col.OFFSET_X + i] = (bits.bits(5) << 27) >> 27;
        };
        rows[at + Col.TOLD] = header.tick - bits.bits(4);
        rows.fill(0, at + Col.SPEED_X, at + Col.OFFSET_Z + 1);
        if (bits.bits(1) === 0)
            continue;
        axis(0);
        axis(2);
        if (bits.bits(1) === 1)
            axis(1);
    }
}
// Motion of a member that a layer expects, along one axis.
const share = (pace, layer) => (layer === 0 ? pace : ((pace + layer) | 0) >> layer);
// `motion`: of a slot along an axis from the anchor to the half, when the frame refers to the half.
function readDelta(bits, draft, header, motion) {
    const isLive = (slot) => slot * W < draft.rows.length && draft.rows[slot * W] !== 0;
    if (bits.bits(1) === 1) {
        slots(bits.golomb(0), () => bits.golomb(3), (slot) => {
            if (bits.bits(1) === 1)
                draft.targets.set(slot, [header.cellX + bits.signed(0), header.cellZ + bits.signed(0)]);
            if (!isLive(slot))
                throw new WireError(`slot ${slot} leaves and is empty`);
            draft.rows[slot * W] = 0;
            draft.left.push(slot);
        });
        slots(bits.golomb(0), () => bits.golomb(3), (slot) => readMember(bits, draft, slot, header.tick));
    }
    const count = bits.golomb(3);
    if (count === 0)
        return;
    if (count > SLOTS_MAX)
        throw new WireError('more changes than slots');
    const { rows } = draft;
    const changing = readSlots(bits, draft, header, count);
    const alike = bits.bits(1) === 1;
    const usual = bits.bits(4);
    const order = bits.bits(3);
    const yawOrder = bits.bits(3);
    for (const slot of changing) {
        if (!isLive(slot))
            throw new WireError(`slot ${slot} changes and is empty`);
        const at = slot * W;
        const parts = alike || bits.bits(1) === 1 ? usual : bits.bits(4);
        if ((parts & 1) !== 0) {
            const x = bits.signed(order);
            const z = bits.signed(order);
            const y = (parts & 2) !== 0 ? bits.signed(order) : 0;
            const residual = [x, y, z];
            for (let i = 0; i < 3; i += 1) {
                // Int32Array wraps, as the other side does.
                if (header.layer === CHAIN) {
                    follow(rows, at, i, residual[i]);
                }
                else {
                    const moved = motion(slot, i);
                    const pace = moved === undefined ? rows[at + Col.PACE_X + i] : (2 * moved) | 0;
                    rows[at + Col.X + i] += (share(pace, header.layer) + residual[i]) | 0;
                }
            }
        }
        if ((parts & 4) !== 0)
            rows[at + Col.YAW] = (rows[at + Col.YAW] + bits.signed(yawOrder)) & 0xff;
        if ((parts & 8) !== 0)
            rows[at + Col.FLAGS] = bits.flags();
        if (header.layer === CHAIN)
            rows[at + Col.TOLD] = header.tick;
        draft.changed.push(slot);
    }
}
/** What a checksum is made of: 24 bytes for each member in ascending slots. */
export function rowsOf(image) {
    const { rows } = image;
    let live = 0;
    for (let at = 0; at < rows.length; at += W)
        live += rows[at];
    const data = new Uint8Array(live * ROW_BYTES);
    const view = new DataView(data.buffer);
    let out = 0;
    for (let at = 0; at < rows.length; at += W) {
        if (rows[at] === 0)
            continue;
        view.setUint16(out, at / W, true);
        data[out + 2] = rows[at + Col.KIND];
        data[out + 3] = rows[at + Col.YAW];
        view.setInt32(out + 4, rows[at + Col.ID], true);
        view.setInt32(out + 8, rows[at + Col.X], true);
        view.setInt32(out + 12, rows[at + Col.Y], true);
        view.setInt32(out + 16, rows[at + Col.Z], true);
        view.setInt32(out + 20, rows[at + Col.FLAGS], true);
        out += ROW_BYTES;
    }
    return data;
}
/** XXH3-64 of an image, as the server computes it. */
export const checksumOf = (image) => xxh3(rowsOf(image));
const EMPTY = { frame: 0, rows: new Int32Array(0), names: [] };
/** The receiving side of one cell. */
export class Cell {
    x;
    z;
    /** The image shown: of the last frame applied. */
    image = EMPTY;
    tick = 0;
    epoch = 0;
    anchor;
    half;
    layer = 0;
    /** Predictors are those of the chain: layer 3 may follow. */
    chained = false;
    /** The frame under way refers to the half. */
    fromHalf = false;
    lastChecksum = 0n;
    looked;
    constructor(x, z) {
        this.x = x;
        this.z = z;
    }
    /** Whether a frame was applied and nothing has broken the chain since. */
    get intact() { return this.anchor !== undefined; }
    /** Applies the frame `header` was read from. Only 'ok' and 'checksumMismatch' change the image. */
    apply(header, data, listener) {
        // The number nearest to that of the image.
        const number = header.keyframe || header.tracks ? header.frame : (this.image.frame + (((header.frame - this.image.frame) << 24) >> 24)) >>> 0;
        const reference = header.keyframe ? EMPTY : header.tracks ? this.reached(header) : this.find(header, number, (number - header.back) >>> 0);
        if (!reference)
            return 'missingReference';
        const draft = {
            rows: reference.rows.slice(), names: reference.names.slice(), left: [], targets: new Map(), entered: [], changed: [],
        };
        try {
            const bits = new BitReader(data, header.size);
            if (header.keyframe)
                slots(bits.golomb(4), () => bits.golomb(3), (slot) => readMember(bits, draft, slot, header.tick));
            else if (header.tracks)
                readTracks(bits, draft, header);
            else
                readDelta(bits, draft, header, (slot, axis) => this.motion(slot, axis));
            bits.finish();
        }
        catch (error) {
            if (!(error instanceof WireError))
                throw error;
            this.anchor = this.half = undefined;
            return 'malformed';
        }
        const before = this.image;
        const image = { frame: number, rows: draft.rows, names: draft.names };
        const layer = header.keyframe || header.tracks ? 0 : header.layer;
        if (header.keyframe || header.tracks)
            this.chained = true;
        else if (layer !== CHAIN)
            this.chained = false;
        if (header.tracks) {
            this.anchor = image;
        }
        else if (layer === 0 || header.anchor) {
            if (!header.keyframe)
                this.setPaces(image);
            this.anchor = image;
            this.half = undefined;
        }
        else if (layer === 1) {
            this.half = image;
        }
        this.layer = layer;
        this.epoch = header.epoch;
        this.tick = header.tick;
        this.image = image;
        this.lastChecksum = header.checksum ?? 0n;
        if (reference === before && !header.keyframe)
            this.tell(before, image, draft, listener);
        else
            this.compare(before, image, draft, listener);
        return header.checksum !== undefined && checksumOf(image) !== header.checksum ? 'checksumMismatch' : 'ok';
    }
    /** What the server is told of this cell; with its members when the two are known to differ. */
    report(members) {
        const rows = rowsOf(this.image);
        return {
            cellX: this.x, cellZ: this.z, epoch: this.epoch, frame: this.image.frame, tick: this.tick, checksum: xxh3(rows),
            expected: this.lastChecksum, members: members ? rows.subarray(0, REPORT_MEMBERS_MOST * ROW_BYTES) : NOTHING,
        };
    }
    /** Whether no frame came since this was asked before. */
    quiet() {
        const same = this.looked === this.image && this.intact;
        this.looked = this.image;
        return same;
    }
    /** Everybody leaves. */
    clear(listener) {
        const before = this.image;
        this.image = EMPTY;
        this.anchor = this.half = undefined;
        for (let slot = 0; slot * W < before.rows.length; slot += 1) {
            if (before.rows[slot * W] !== 0)
                listener.onLeave(this, before, slot);
        }
    }
    // The anchor that tracks are of, when it is what is shown.
    reached(header) {
        const is = this.anchor !== undefined && header.epoch === this.epoch && header.frame === this.image.frame
            && this.image.frame === this.anchor.frame;
        return is ? this.image : undefined;
    }
    find(header, frame, to) {
        if (!this.anchor || header.epoch !== this.epoch)
            return undefined;
        const current = to === this.image.frame;
        if (header.layer === CHAIN)
            return current && this.chained ? this.image : undefined;
        // A further part of the frame before.
        if (current && frame === to && header.layer === this.layer)
            return this.image;
        this.fromHalf = false;
        if (to === this.anchor.frame)
            return this.anchor;
        if (header.layer !== 2 || to !== this.half?.frame)
            return undefined;
        this.fromHalf = true;
        return this.half;
    }
    motion(slot, axis) {
        const at = slot * W;
        const from = this.anchor?.rows;
        const to = this.half?.rows;
        if (!this.fromHalf || !from || !to || at >= from.length || from[at] === 0 || at >= to.length)
            return undefined;
        return (to[at + Col.X + axis] - from[at + Col.X + axis]) | 0;
    }
    // Who moved from the anchor before to this one has that motion as its pace.
    setPaces(image) {
        const before = this.anchor.rows;
        const { rows } = image;
        for (let at = 0; at < rows.length && at < before.length; at += W) {
            if (rows[at] === 0 || before[at] === 0)
                continue;
            const x = (rows[at + Col.X] - before[at + Col.X]) | 0;
            const y = (rows[at + Col.Y] - before[at + Col.Y]) | 0;
            const z = (rows[at + Col.Z] - before[at + Col.Z]) | 0;
            if (x === 0 && y === 0 && z === 0)
                continue;
            rows.set([x, y, z], at + Col.PACE_X);
        }
    }
    // The frame refers to the image shown: what it lists is what changed.
    tell(before, image, draft, listener) {
        for (const slot of draft.left)
            listener.onLeave(this, before, slot, ...(draft.targets.get(slot) ?? []));
        for (const slot of draft.entered)
            listener.onEnter(this, image, slot);
        for (const slot of draft.changed)
            listener.onChange(this, image, slot);
    }
    compare(before, image, draft, listener) {
        const a = before.rows;
        const b = image.rows;
        const end = Math.max(a.length, b.length);
        for (let at = 0; at < end; at += W) {
            const slot = at / W;
            const was = at < a.length && a[at] !== 0;
            const is = at < b.length && b[at] !== 0;
            if (was && is && a[at + Col.ID] === b[at + Col.ID]) {
                for (let i = 1; i < Col.SPEED_X; i += 1) {
                    if (a[at + i] === b[at + i])
                        continue;
                    listener.onChange(this, image, slot);
                    break;
                }
            }
            else {
                if (was)
                    listener.onLeave(this, before, slot, ...(draft.targets.get(slot) ?? []));
                if (is)
                    listener.onEnter(this, image, slot);
            }
        }
    }
}
