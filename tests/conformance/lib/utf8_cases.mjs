// SPDX-License-Identifier: Apache-2.0
// Bytes that are UTF-8 (RFC 3629) and bytes that are not, at every border of its forms.
const b = (...values) => Buffer.from(values);
const point = (code) => Buffer.from(String.fromCodePoint(code));

export const goodText = {
  Greek: Buffer.from('κόσμε'),
  'four kinds of length': Buffer.from('aé€😀'),
};
for (const code of [0, 0x7f, 0x80, 0x7ff, 0x800, 0xfff, 0x1000, 0xd7ff, 0xe000, 0xfffd, 0xfffe, 0xffff, 0x10000, 0x1fffe,
  0x3ffff, 0x40000, 0xfffff, 0x100000, 0x10fffe, 0x10ffff]) {
  goodText[`U+${code.toString(16).toUpperCase().padStart(4, '0')}`] = point(code);
}

export const badText = {
  'a continuation byte 80': b(0x80),
  'a continuation byte bf': b(0xbf),
  'two continuation bytes': b(0x80, 0xbf),
  'a two-byte lead before a letter': b(0xc3, 0x28),
  'a three-byte lead before a letter': b(0xe2, 0x28),
  'a three-byte form that ends early': b(0xe2, 0x82, 0x28),
  'a four-byte lead before a letter': b(0xf0, 0x28),
  'a four-byte form that ends early': b(0xf0, 0x9f, 0x98, 0x28),
  'the overlong slash in two bytes': b(0xc0, 0xaf),
  'the overlong slash in three bytes': b(0xe0, 0x80, 0xaf),
  'the overlong slash in four bytes': b(0xf0, 0x80, 0x80, 0xaf),
  'an overlong NUL': b(0xc0, 0x80),
  'the largest overlong two-byte form': b(0xc1, 0xbf),
  'the largest overlong three-byte form': b(0xe0, 0x9f, 0xbf),
  'the largest overlong four-byte form': b(0xf0, 0x8f, 0xbf, 0xbf),
  'the surrogate U+D800': b(0xed, 0xa0, 0x80),
  'the surrogate U+DBFF': b(0xed, 0xaf, 0xbf),
  'the surrogate U+DC00': b(0xed, 0xb0, 0x80),
  'the surrogate U+DFFF': b(0xed, 0xbf, 0xbf),
  'a pair of surrogates': b(0xed, 0xa0, 0xbd, 0xed, 0xb8, 0x80),
  'U+110000': b(0xf4, 0x90, 0x80, 0x80),
  'a lead byte f5': b(0xf5, 0x80, 0x80, 0x80),
  'a five-byte form': b(0xf8, 0x88, 0x80, 0x80, 0x80),
  'a six-byte form': b(0xfc, 0x84, 0x80, 0x80, 0x80, 0x80),
  'the byte fe': b(0xfe),
  'the byte ff': b(0xff),
  'cut off in a two-byte form': b(0xc3),
  'cut off behind the first of three': b(0xe2),
  'cut off behind the second of three': b(0xe2, 0x82),
  'cut off behind the second of four': b(0xf0, 0x9f),
  'cut off behind the third of four': b(0xf0, 0x9f, 0x98),
};
