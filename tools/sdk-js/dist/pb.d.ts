// SPDX-License-Identifier: Apache-2.0
/** What a peer sent cannot be read. `code` is the error code of the protocol. */
export declare class WireError extends Error {
    readonly code: number;
    constructor(message: string, code?: number);
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
export declare const u32: (n: number) => Field<number>;
export declare const u64: (n: number) => Field<number>;
export declare const i64: (n: number) => Field<number>;
export declare const float: (n: number) => Field<number>;
export declare const bool: (n: number) => Field<boolean>;
export declare const text: (n: number) => Field<string>;
export declare const bytes: (n: number) => Field<Uint8Array>;
export declare const map: (n: number) => Field<Record<string, string>>;
export declare const sub: <T>(n: number, message: Message<T>) => Field<T | undefined>;
export declare const list: <T>(f: Field<T>) => Field<NonNullable<T>[]>;
export declare const optional: <T>(f: Field<T>) => Field<T | undefined>;
type Fields = Record<string, Field<unknown>>;
type ValueOf<F extends Fields> = {
    [K in keyof F]: F[K] extends Field<infer T> ? T : never;
};
/** The value a message decodes to. */
export type Of<M> = M extends Message<infer T> ? T : never;
export declare class PbReader {
    private readonly data;
    private at;
    private readonly end;
    field: number;
    wire: number;
    private lo;
    private hi;
    private readonly view;
    constructor(data: Uint8Array, at?: number, end?: number);
    /** Moves to the next field; false at the end. */
    next(): boolean;
    u32(): number;
    u64(): number;
    i64(): number;
    bool(): boolean;
    float(): number;
    /** A view into the message, valid as long as its buffer. */
    bytes(): Uint8Array;
    text(): string;
    skip(): void;
    private need;
    private varint;
}
export declare class PbWriter {
    private data;
    private view;
    private at;
    tag(number: number, wire: number): void;
    /** A whole number from -2^63 to 2^64, exact to 2^53. */
    varint(value: number): void;
    float(value: number): void;
    bytes(value: Uint8Array): void;
    raw(value: Uint8Array): void;
    text(value: string): void;
    finish(): Uint8Array;
    private room;
}
/** One message of the schema: its name and its table of fields. */
export declare class Message<T> {
    readonly name: string;
    readonly fields: Fields;
    private readonly byNumber;
    constructor(name: string, fields: Fields);
    /** Fields that are left out have their default. */
    encode(value: Partial<T>): Uint8Array;
    /** Throws WireError. Unknown fields are skipped; `bytes` are views into `data`. */
    decode(data: Uint8Array): T;
}
/** A message of the schema with these fields. */
export declare const define: <F extends Fields>(name: string, fields: F) => Message<ValueOf<F>>;
export {};
