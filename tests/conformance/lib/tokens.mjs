// SPDX-License-Identifier: Apache-2.0
// Tokens, made with npm `jose` (an implementation of JWT that the server does not share).
import { SignJWT } from 'jose';
import { secret } from './server.mjs';

const encoder = new TextEncoder();
export const now = () => Math.floor(Date.now() / 1000);

// claims with `sub` and an hour of life; a claim given as undefined is left out.
export function claims(user, changes = {}) {
  const all = { sub: user, iat: now(), exp: now() + 3600, ...changes };
  return Object.fromEntries(Object.entries(all).filter(([, value]) => value !== undefined));
}

export function sign(payload, key = secret, header = { alg: 'HS256' }) {
  const material = typeof key === 'string' ? encoder.encode(key) : key;
  return new SignJWT(payload).setProtectedHeader({ typ: 'JWT', ...header }).sign(material);
}

export const tokenFor = (user, changes = {}) => sign(claims(user, changes));

const base64url = (value) => Buffer.from(typeof value === 'string' ? value : JSON.stringify(value)).toString('base64url');

// A token put together by hand, for what no library will sign.
export const forged = (header, payload, signature = '') => `${base64url(header)}.${base64url(payload)}.${signature}`;
