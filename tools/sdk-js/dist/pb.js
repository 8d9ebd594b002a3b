// SPDX-License-Identifier: Apache-2.0
// Protobuf as this protocol uses it: a message is a table of fields, from which come its encoder,
// its decoder and its TypeScript type. 64-bit numbers are numbers: exact up to 2^53, which covers
// milliseconds and sequences.
/** What a peer sent cannot be read. `code` is the error code of the protocol. */
export class WireError extends Error {
    code;
    constructor(message, code = 4002) {
        super(message);
        this.code = code;
        this.name = 'WireError';
    }
}
const field = (number, kind, changes = {}) => ({
    number, kind, list: false, optional: false, ...changes,
});
export const u32 = (n) => field(n, 'u32');
export const u64 = (n) => field(n, 'u64');
export const i64 = (n) => field(n, 'i64');
export const float = (n) => field(n, 'float');
export const bool = (n) => field(n, 'bool');
export const text = (n) => field(n, 'string');
export const bytes = (n) => field(n, 'bytes');
export const map = (n) => field(n, 'map');
export const sub = (n, message) => field(n, 'message', { optional: true, message: message });
export const list = (f) => ({ ...f, list: true, optional: false });
export const optional = (f) => ({ ...f, optional: true });
const utf8 = new TextDecoder('utf-8', { fatal: true });
const toUtf8 = new TextEncoder();
const WIRE = {
    u32: 0, u64: 0, i64: 0, bool: 0, float: 5, string: 2, bytes: 2, message: 2, map: 2,
};
export class PbReader {
    data;
    at;
    end;
    field = 0;
    wire = 0;
    lo = 0;
    hi = 0;
    view;
    constructor(data, at = 0, end = data.length) {
        this.data = data;
        this.at = at;
        this.end = end;
        this.view = new DataView(data.buffer, data.byteOffset, data.byteLength);
    }
    /** Moves to the next field; false at the end. */
    next() {
        if (this.at >= this.end)
            return false;
        this.varint();
        this.field = ((this.hi << 29) | (this.lo >>> 3)) >>> 0;
        this.wire = this.lo & 7;
        if (this.field === 0 || this.field > 0x1fffffff)
            throw new WireError('a field of number 0');
        return true;
    }
    u32() { this.varint(); return this.lo; }
    u64() { this.varint(); return this.hi * 4294967296 + this.lo; }
    i64() { this.varint(); return (this.hi | 0) * 4294967296 + this.lo; }
    bool() { this.varint(); return (this.lo | this.hi) !== 0; }
    float() {
        this.need(4);
        this.at += 4;
        return this.view.getFloat32(this.at - 4, true);
    }
    /** A view into the message, valid as long as its buffer. */
    bytes() {
        this.varint();
        if (this.hi !== 0)
            throw new WireError('a length past the end');
        this.need(this.lo);
        this.at += this.lo;
        return this.data.subarray(this.at - this.lo, this.at);
    }
    text() {
        const raw = this.bytes();
        // Names are short and mostly ASCII; the decoder's call costs more than they do.
        if (raw.length <= 24) {
            let out = '';
            let i = 0;
            for (; i < raw.length && raw[i] < 0x80; i += 1)
                out += String.fromCharCode(raw[i]);
            if (i === raw.length)
                return out;
        }
        try {
            return utf8.decode(raw);
        }
        catch {
            throw new WireError('text that is not UTF-8');
        }
    }
    skip() {
        switch (this.wire) {
            case 0:
                this.varint();
                break;
            case 1:
                this.need(8);
                this.at += 8;
                break;
            case 2:
                this.bytes();
                break;
            case 5:
                this.need(4);
                this.at += 4;
                break;
            default: throw new WireError(`wire type ${this.wire}`);
        }
    }
    need(count) {
        if (count > this.end - this.at)
            throw new WireError('a field past the end');
    }
    varint() {
        let lo = 0;
        let hi = 0;
        for (let shift = 0; shift < 70; shift += 7) {
            if (this.at >= this.end)
                throw new WireError('a varint past the end');
            const byte = this.data[this.at];
            this.at += 1;
            const seven = byte & 0x7f;
            if (shift < 28)
                lo |= seven << shift;
            else if (shift === 28) {
                lo |= seven << 28;
                hi = seven >> 4;
            }
            else
                hi |= seven << (shift - 32);
            if (byte < 0x80) {
                this.lo = lo >>> 0;
                this.hi = hi >>> 0;
                return;
            }
        }
        throw new WireError('a varint that does not end');
    }
}
export class PbWriter {
    data = new Uint8Array(256);
    view = new DataView(this.data.buffer);
    at = 0;
    tag(number, wire) { this.varint(number * 8 + wire); }
    /** A whole number from -2^63 to 2^64, exact to 2^53. */
    varint(value) {
        this.room(10);
        let hi = Math.floor(value / 4294967296);
        let lo = (value - hi * 4294967296) >>> 0;
        hi >>>= 0;
        while (hi !== 0 || lo > 0x7f) {
            this.data[this.at] = (lo & 0x7f) | 0x80;
            this.at += 1;
            lo = ((lo >>> 7) | (hi << 25)) >>> 0;
            hi >>>= 7;
        }
        this.data[this.at] = lo;
        this.at += 1;
    }
    float(value) {
        this.room(4);
        this.view.setFloat32(this.at, value, true);
        this.at += 4;
    }
    bytes(value) {
        this.varint(value.length);
        this.raw(value);
    }
    raw(value) {
        this.room(value.length);
        this.data.set(value, this.at);
        this.at += value.length;
    }
    text(value) { this.bytes(toUtf8.encode(value)); }
    finish() { return this.data.slice(0, this.at); }
    room(count) {
        if (this.at + count <= this.data.length)
            return;
        const more = new Uint8Array(Math.max(this.data.length * 2, this.at + count));
        more.set(this.data);
        this.data = more;
        this.view = new DataView(more.buffer);
    }
}
/** One message of the schema: its name and its table of fields. */
export class Message {
    name;
    fields;
    byNumber = [];
    constructor(name, fields) {
        this.name = name;
        this.fields = fields;
        for (const [key, f] of Object.entries(fields))
            this.byNumber[f.number] = [key, f];
    }
    /** Fields that are left out have their default. */
    encode(value) {
        const out = new PbWriter();
        for (const [key, f] of Object.entries(this.fields)) {
            const v = value[key];
            if (v === undefined || v === null)
                continue;
            if (f.kind === 'map') {
                for (const [k, entry] of Object.entries(v)) {
                    out.tag(f.number, 2);
                    out.bytes(ENTRY.encode({ key: k, value: entry }));
                }
            }
            else if (f.list) {
                writeList(out, f, v);
            }
            else if (f.optional || !isDefault(v)) {
                out.tag(f.number, WIRE[f.kind]);
                writeOne(out, f, v);
            }
        }
        return out.finish();
    }
    /** Throws WireError. Unknown fields are skipped; `bytes` are views into `data`. */
    decode(data) {
        const value = {};
        for (const [key, f] of Object.entries(this.fields)) {
            if (f.list)
                value[key] = [];
            else if (f.kind === 'map')
                value[key] = {};
            else
                value[key] = f.optional ? undefined : defaultOf(f.kind);
        }
        const reader = new PbReader(data);
        while (reader.next()) {
            const known = this.byNumber[reader.field];
            if (!known) {
                reader.skip();
                continue;
            }
            const [key, f] = known;
            if (f.list && reader.wire === 2 && WIRE[f.kind] !== 2) {
                const packed = reader.bytes();
                const inner = new PackedReader(packed);
                while (!inner.done())
                    value[key].push(inner.u32());
            }
            else if (reader.wire !== WIRE[f.kind]) {
                reader.skip();
            }
            else if (f.kind === 'map') {
                const entry = ENTRY.decode(reader.bytes());
                value[key][entry.key ?? ''] = entry.value ?? '';
            }
            else if (f.list) {
                value[key].push(readOne(reader, f));
            }
            else {
                value[key] = readOne(reader, f);
            }
        }
        return value;
    }
}
class PackedReader extends PbReader {
    raw;
    constructor(raw) {
        super(raw);
        this.raw = raw;
    }
    used = 0;
    done() { return this.used >= this.raw.length; }
    u32() {
        while (this.raw[this.used] >= 0x80)
            this.used += 1;
        this.used += 1;
        return super.u32();
    }
}
function isDefault(v) {
    if (v instanceof Uint8Array)
        return v.length === 0;
    return Object.is(v, 0) || v === '' || v === false;
}
function defaultOf(kind) {
    switch (kind) {
        case 'string': return '';
        case 'bool': return false;
        case 'bytes': return new Uint8Array(0);
        default: return 0;
    }
}
function writeList(out, f, values) {
    if (values.length === 0)
        return;
    if (f.kind === 'u32') {
        const packed = new PbWriter();
        for (const v of values)
            packed.varint(v);
        out.tag(f.number, 2);
        out.bytes(packed.finish());
        return;
    }
    for (const v of values) {
        out.tag(f.number, WIRE[f.kind]);
        writeOne(out, f, v);
    }
}
function writeOne(out, f, v) {
    switch (f.kind) {
        case 'u32':
        case 'u64':
        case 'i64':
            out.varint(v);
            break;
        case 'bool':
            out.varint(v ? 1 : 0);
            break;
        case 'float':
            out.float(v);
            break;
        case 'string':
            out.text(v);
            break;
        case 'bytes':
            out.bytes(v);
            break;
        default: out.bytes(f.message.encode(v));
    }
}
function readOne(reader, f) {
    switch (f.kind) {
        case 'u32': return reader.u32();
        case 'u64': return reader.u64();
        case 'i64': return reader.i64();
        case 'bool': return reader.bool();
        case 'float': return reader.float();
        case 'string': return reader.text();
        case 'bytes': return reader.bytes();
        default: return f.message.decode(reader.bytes());
    }
}
/** A message of the schema with these fields. */
export const define = (name, fields) => new Message(name, fields);
// Both are written also when they are empty, as others do.
const ENTRY = define('entry', { key: optional(text(1)), value: optional(text(2)) });
