// SPDX-License-Identifier: Apache-2.0
// XXH3, 64 bits, seed 0, written from the published specification (xxHash, "XXH3 algorithm
// overview"). Checksums of cells are the only use: a few a second of some kilobytes each. The loop
// over long inputs works on 32-bit halves; everything that runs once is BigInt.
const SECRET = Uint8Array.from(('b8fe6c3923a44bbe7c01812cf721ad1cded46de9839097db7240a4a4b7b3671f'
    + 'cb79e64eccc0e578825ad07dccff7221b8084674f743248ee03590e6813a264c'
    + '3c2852bb91c300cb88d0658b1b532ea371644897a20df94e3819ef46a9deacd8'
    + 'a8fa763fe39c343ff9dcbbc7c70b4f1d8a51e04bcdb45931c89f7ec9d9787364'
    + 'eac5ac8334d3ebc3c581a0fffa1363eb170ddd51b7f0da49d316552629d4689e'
    + '2b16be587d47a1fc8ff8b8d17ad031ce45cb3a8f95160428afd7fbcabb4b407e')
    .match(/../g).map((pair) => Number.parseInt(pair, 16)));
const secretView = new DataView(SECRET.buffer);
const M = (1n << 64n) - 1n;
const P32_1 = 0x9e3779b1;
const P32_2 = 0x85ebca77;
const P32_3 = 0xc2b2ae3d;
const P64_1 = 0x9e3779b185ebca87n;
const P64_2 = 0xc2b2ae3d27d4eb4fn;
const P64_3 = 0x165667b19e3779f9n;
const P64_4 = 0x85ebca77c2b2ae63n;
const P64_5 = 0x27d4eb2f165667c5n;
const PRIME_MX1 = 0x165667919e3779f9n;
const PRIME_MX2 = 0x9fb21c651e98df25n;
const STRIPE = 64;
const STRIPES_IN_BLOCK = 16; // (192 - 64) / 8
const SECRET_BYTES = 192;
const s64 = (at) => secretView.getBigUint64(at, true);
const fold = (a, b) => {
    const product = a * b;
    return (product & M) ^ (product >> 64n);
};
const rotl = (v, n) => ((v << n) | (v >> (64n - n))) & M;
function avalanche64(h) {
    let v = h ^ (h >> 33n);
    v = (v * P64_2) & M;
    v ^= v >> 29n;
    v = (v * P64_3) & M;
    return v ^ (v >> 32n);
}
function avalanche(h) {
    let v = h ^ (h >> 37n);
    v = (v * PRIME_MX1) & M;
    return v ^ (v >> 32n);
}
function swap64(v) {
    let out = 0n;
    for (let i = 0n; i < 64n; i += 8n)
        out = (out << 8n) | ((v >> i) & 0xffn);
    return out;
}
const mix16 = (d, at, secret) => fold(d.getBigUint64(at, true) ^ s64(secret), d.getBigUint64(at + 8, true) ^ s64(secret + 8));
function upTo16(d, length) {
    if (length === 0)
        return avalanche64(s64(56) ^ s64(64));
    if (length < 4) {
        const combined = (d.getUint8(0) << 16) | (d.getUint8(length >> 1) << 24) | d.getUint8(length - 1) | (length << 8);
        const flip = secretView.getUint32(0, true) ^ secretView.getUint32(4, true);
        return avalanche64(BigInt((combined ^ flip) >>> 0));
    }
    if (length <= 8) {
        const low = BigInt(d.getUint32(length - 4, true));
        let h = (low + (BigInt(d.getUint32(0, true)) << 32n)) ^ s64(8) ^ s64(16);
        h ^= rotl(h, 49n) ^ rotl(h, 24n);
        h = (h * PRIME_MX2) & M;
        h ^= (h >> 35n) + BigInt(length);
        h = (h * PRIME_MX2) & M;
        return h ^ (h >> 28n);
    }
    const lo = d.getBigUint64(0, true) ^ s64(24) ^ s64(32);
    const hi = d.getBigUint64(length - 8, true) ^ s64(40) ^ s64(48);
    return avalanche((BigInt(length) + swap64(lo) + hi + fold(lo, hi)) & M);
}
function upTo240(d, length) {
    let acc = BigInt(length) * P64_1;
    if (length <= 128) {
        for (let i = (length - 1) >> 5; i >= 0; i -= 1) {
            acc += mix16(d, i * 16, i * 32) + mix16(d, length - 16 * (i + 1), i * 32 + 16);
        }
        return avalanche(acc & M);
    }
    const rounds = length >> 4;
    for (let i = 0; i < 8; i += 1)
        acc += mix16(d, 16 * i, 16 * i);
    acc = avalanche(acc & M);
    for (let i = 8; i < rounds; i += 1)
        acc += mix16(d, 16 * i, 16 * (i - 8) + 3);
    return avalanche((acc + mix16(d, length - 16, 136 - 17)) & M);
}
// Eight lanes of 64 bits, low half first.
function accumulate(acc, d, at, secret) {
    for (let i = 0; i < 16; i += 2) {
        const lo = d.getUint32(at + i * 4, true);
        const hi = d.getUint32(at + i * 4 + 4, true);
        const a = (lo ^ secretView.getUint32(secret + i * 4, true)) >>> 0;
        const b = (hi ^ secretView.getUint32(secret + i * 4 + 4, true)) >>> 0;
        const other = i ^ 2;
        let sum = acc[other] + lo;
        acc[other] = sum;
        acc[other + 1] += hi + (sum > 0xffffffff ? 1 : 0);
        // a * b of 32 bits each, by halves of 16.
        const al = a & 0xffff;
        const ah = a >>> 16;
        const bl = b & 0xffff;
        const bh = b >>> 16;
        const low = al * bl;
        const middle = ah * bl + (low >>> 16) + al * bh; // below 2^34: exact
        const productLo = Math.imul(a, b) >>> 0;
        const productHi = ah * bh + Math.floor(middle / 65536);
        sum = acc[i] + productLo;
        acc[i] = sum;
        acc[i + 1] += productHi + (sum > 0xffffffff ? 1 : 0);
    }
}
function scramble(acc) {
    for (let i = 0; i < 16; i += 2) {
        let v = (BigInt(acc[i + 1]) << 32n) | BigInt(acc[i]);
        v = ((v ^ (v >> 47n) ^ s64(SECRET_BYTES - STRIPE + i * 4)) * BigInt(P32_1)) & M;
        acc[i] = Number(v & 0xffffffffn);
        acc[i + 1] = Number(v >> 32n);
    }
}
function long(d, length) {
    const start = [BigInt(P32_3), P64_1, P64_2, P64_3, P64_4, BigInt(P32_2), P64_5, BigInt(P32_1)];
    const acc = new Uint32Array(16);
    start.forEach((v, i) => {
        acc[2 * i] = Number(v & 0xffffffffn);
        acc[2 * i + 1] = Number(v >> 32n);
    });
    const stripes = Math.floor((length - 1) / STRIPE);
    for (let i = 0; i < stripes; i += 1) {
        const inBlock = i % STRIPES_IN_BLOCK;
        accumulate(acc, d, i * STRIPE, inBlock * 8);
        if (inBlock === STRIPES_IN_BLOCK - 1)
            scramble(acc);
    }
    accumulate(acc, d, length - STRIPE, SECRET_BYTES - STRIPE - 7);
    let result = BigInt(length) * P64_1;
    for (let i = 0; i < 4; i += 1) {
        const lane = (n) => (BigInt(acc[2 * n + 1]) << 32n) | BigInt(acc[2 * n]);
        result += fold(lane(2 * i) ^ s64(11 + 16 * i), lane(2 * i + 1) ^ s64(11 + 16 * i + 8));
    }
    return avalanche(result & M);
}
/** XXH3-64 of `data`, seed 0. */
export function xxh3(data) {
    const view = new DataView(data.buffer, data.byteOffset, data.byteLength);
    if (data.length <= 16)
        return upTo16(view, data.length);
    return data.length <= 240 ? upTo240(view, data.length) : long(view, data.length);
}
