// SPDX-License-Identifier: Apache-2.0
// Protobuf as this protocol uses it: a message is a table of fields, from which come its encoder,
// its decoder and its TypeScript type. 64-bit numbers are numbers: exact up to 2^53, which covers
// milliseconds and sequences.

/** What a peer sent cannot be read. `code` is the error code of the protocol. */
export class WireError extends Error {
  constructor(message: string, readonly code = 4002) {
    super(message);
    this.name = 'WireError';
  }
}

type Kind = 'u32' | 'u64' | 'i64' | 'float' | 'bool' | 'string' | 'bytes' | 'message' | 'map';

/** One field of a message. `T` is the type of its value. */
export interface Field<T> {
  readonly number: number;
  readonly kind: Kind;
  readonly list: boolean;
  /** Left out of the value, not set to its default, when it is not on the wire. */
  readonly optional: boolean;
  readonly message?: Message<never> | undefined;
  readonly type?: T;
}

const field = <T>(number: number, kind: Kind, changes: Partial<Field<T>> = {}): Field<T> => ({
  number, kind, list: false, optional: false, ...changes,
});
export const u32 = (n: number): Field<number> => field(n, 'u32');
export const u64 = (n: number): Field<number> => field(n, 'u64');
export const i64 = (n: number): Field<number> => field(n, 'i64');
export const float = (n: number): Field<number> => field(n, 'float');
export const bool = (n: number): Field<boolean> => field(n, 'bool');
export const text = (n: number): Field<string> => field(n, 'string');
export const bytes = (n: number): Field<Uint8Array> => field(n, 'bytes');
export const map = (n: number): Field<Record<string, string>> => field(n, 'map');
export const sub = <T>(n: number, message: Message<T>): Field<T | undefined> =>
  field(n, 'message', { optional: true, message: message as unknown as Message<never> });
export const list = <T>(f: Field<T>): Field<NonNullable<T>[]> =>
  ({ ...f, list: true, optional: false }) as unknown as Field<NonNullable<T>[]>;
export const optional = <T>(f: Field<T>): Field<T | undefined> => ({ ...f, optional: true });

type Fields = Record<string, Field<unknown>>;
type ValueOf<F extends Fields> = { [K in keyof F]: F[K] extends Field<infer T> ? T : never };
/** The value a message decodes to. */
export type Of<M> = M extends Message<infer T> ? T : never;

const utf8 = new TextDecoder('utf-8', { fatal: true });
const toUtf8 = new TextEncoder();

const WIRE: Record<Kind, number> = {
  u32: 0, u64: 0, i64: 0, bool: 0, float: 5, string: 2, bytes: 2, message: 2, map: 2,
};

export class PbReader {
  field = 0;
  wire = 0;
  private lo = 0;
  private hi = 0;
  private readonly view: DataView;

  constructor(private readonly data: Uint8Array, private at = 0, private readonly end = data.length) {
    this.view = new DataView(data.buffer, data.byteOffset, data.byteLength);
  }

  /** Moves to the next field; false at the end. */
  next(): boolean {
    if (this.at >= this.end) return false;
    this.varint();
    this.field = ((this.hi << 29) | (this.lo >>> 3)) >>> 0;
    this.wire = this.lo & 7;
    if (this.field === 0 || this.field > 0x1fffffff) throw new WireError('a field of number 0');
    return true;
  }

  u32(): number { this.varint(); return this.lo; }
  u64(): number { this.varint(); return this.hi * 4294967296 + this.lo; }
  i64(): number { this.varint(); return (this.hi | 0) * 4294967296 + this.lo; }
  bool(): boolean { this.varint(); return (this.lo | this.hi) !== 0; }
  float(): number {
    this.need(4);
    this.at += 4;
    return this.view.getFloat32(this.at - 4, true);
  }
  /** A view into the message, valid as long as its buffer. */
  bytes(): Uint8Array {
    this.varint();
    if (this.hi !== 0) throw new WireError('a length past the end');
    this.need(this.lo);
    this.at += this.lo;
    return this.data.subarray(this.at - this.lo, this.at);
  }
  text(): string {
    const raw = this.bytes();
    // Names are short and mostly ASCII; the decoder's call costs more than they do.
    if (raw.length <= 24) {
      let out = '';
      let i = 0;
      for (; i < raw.length && raw[i]! < 0x80; i += 1) out += String.fromCharCode(raw[i]!);
      if (i === raw.length) return out;
    }
    try {
      return utf8.decode(raw);
    } catch {
      throw new WireError('text that is not UTF-8');
    }
  }
  skip(): void {
    switch (this.wire) {
      case 0: this.varint(); break;
      case 1: this.need(8); this.at += 8; break;
      case 2: this.bytes(); break;
      case 5: this.need(4); this.at += 4; break;
      default: throw new WireError(`wire type ${this.wire}`);
    }
  }

  private need(count: number): void {
    if (count > this.end - this.at) throw new WireError('a field past the end');
  }
  private varint(): void {
    let lo = 0;
    let hi = 0;
    for (let shift = 0; shift < 70; shift += 7) {
      if (this.at >= this.end) throw new WireError('a varint past the end');
      const byte = this.data[this.at]!;
      this.at += 1;
      const seven = byte & 0x7f;
      if (shift < 28) lo |= seven << shift;
      else if (shift === 28) { lo |= seven << 28; hi = seven >> 4; } else hi |= seven << (shift - 32);
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
  private data = new Uint8Array(256);
  private view = new DataView(this.data.buffer);
  private at = 0;

  tag(number: number, wire: number): void { this.varint(number * 8 + wire); }
  /** A whole number from -2^63 to 2^64, exact to 2^53. */
  varint(value: number): void {
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
  float(value: number): void {
    this.room(4);
    this.view.setFloat32(this.at, value, true);
    this.at += 4;
  }
  bytes(value: Uint8Array): void {
    this.varint(value.length);
    this.raw(value);
  }
  raw(value: Uint8Array): void {
    this.room(value.length);
    this.data.set(value, this.at);
    this.at += value.length;
  }
  text(value: string): void { this.bytes(toUtf8.encode(value)); }
  finish(): Uint8Array { return this.data.slice(0, this.at); }

  private room(count: number): void {
    if (this.at + count <= this.data.length) return;
    const more = new Uint8Array(Math.max(this.data.length * 2, this.at + count));
    more.set(this.data);
    this.data = more;
    this.view = new DataView(more.buffer);
  }
}

/** One message of the schema: its name and its table of fields. */
export class Message<T> {
  private readonly byNumber: [string, Field<unknown>][] = [];

  constructor(readonly name: string, readonly fields: Fields) {
    for (const [key, f] of Object.entries(fields)) this.byNumber[f.number] = [key, f];
  }

  /** Fields that are left out have their default. */
  encode(value: Partial<T>): Uint8Array {
    const out = new PbWriter();
    for (const [key, f] of Object.entries(this.fields)) {
      const v = (value as Record<string, unknown>)[key];
      if (v === undefined || v === null) continue;
      if (f.kind === 'map') {
        for (const [k, entry] of Object.entries(v as Record<string, string>)) {
          out.tag(f.number, 2);
          out.bytes(ENTRY.encode({ key: k, value: entry }));
        }
      } else if (f.list) {
        writeList(out, f, v as unknown[]);
      } else if (f.optional || !isDefault(v)) {
        out.tag(f.number, WIRE[f.kind]);
        writeOne(out, f, v);
      }
    }
    return out.finish();
  }

  /** Throws WireError. Unknown fields are skipped; `bytes` are views into `data`. */
  decode(data: Uint8Array): T {
    const value: Record<string, unknown> = {};
    for (const [key, f] of Object.entries(this.fields)) {
      if (f.list) value[key] = [];
      else if (f.kind === 'map') value[key] = {};
      else value[key] = f.optional ? undefined : defaultOf(f.kind);
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
        while (!inner.done()) (value[key] as unknown[]).push(inner.u32());
      } else if (reader.wire !== WIRE[f.kind]) {
        reader.skip();
      } else if (f.kind === 'map') {
        const entry = ENTRY.decode(reader.bytes());
        (value[key] as Record<string, string>)[entry.key ?? ''] = entry.value ?? '';
      } else if (f.list) {
        (value[key] as unknown[]).push(readOne(reader, f));
      } else {
        value[key] = readOne(reader, f);
      }
    }
    return value as T;
  }
}

class PackedReader extends PbReader {
  constructor(private readonly raw: Uint8Array) { super(raw); }
  private used = 0;
  done(): boolean { return this.used >= this.raw.length; }
  override u32(): number {
    while (this.raw[this.used]! >= 0x80) this.used += 1;
    this.used += 1;
    return super.u32();
  }
}

function isDefault(v: unknown): boolean {
  if (v instanceof Uint8Array) return v.length === 0;
  return Object.is(v, 0) || v === '' || v === false;
}
function defaultOf(kind: Kind): unknown {
  switch (kind) {
    case 'string': return '';
    case 'bool': return false;
    case 'bytes': return new Uint8Array(0);
    default: return 0;
  }
}
function writeList(out: PbWriter, f: Field<unknown>, values: unknown[]): void {
  if (values.length === 0) return;
  if (f.kind === 'u32') {
    const packed = new PbWriter();
    for (const v of values) packed.varint(v as number);
    out.tag(f.number, 2);
    out.bytes(packed.finish());
    return;
  }
  for (const v of values) {
    out.tag(f.number, WIRE[f.kind]);
    writeOne(out, f, v);
  }
}
function writeOne(out: PbWriter, f: Field<unknown>, v: unknown): void {
  switch (f.kind) {
    case 'u32': case 'u64': case 'i64': out.varint(v as number); break;
    case 'bool': out.varint(v ? 1 : 0); break;
    case 'float': out.float(v as number); break;
    case 'string': out.text(v as string); break;
    case 'bytes': out.bytes(v as Uint8Array); break;
    default: out.bytes((f.message as unknown as Message<unknown>).encode(v as Partial<unknown>));
  }
}
function readOne(reader: PbReader, f: Field<unknown>): unknown {
  switch (f.kind) {
    case 'u32': return reader.u32();
    case 'u64': return reader.u64();
    case 'i64': return reader.i64();
    case 'bool': return reader.bool();
    case 'float': return reader.float();
    case 'string': return reader.text();
    case 'bytes': return reader.bytes();
    default: return (f.message as unknown as Message<unknown>).decode(reader.bytes());
  }
}

/** A message of the schema with these fields. */
export const define = <F extends Fields>(name: string, fields: F): Message<ValueOf<F>> =>
  new Message<ValueOf<F>>(name, fields);

// Both are written also when they are empty, as others do.
const ENTRY = define('entry', { key: optional(text(1)), value: optional(text(2)) });
