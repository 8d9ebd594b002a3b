// SPDX-License-Identifier: Apache-2.0
// The JSON-RPC 2.0 subprotocol as the document describes it: messages of the protocol to text and
// back, into the same form that proto.mjs gives for binary ones, so that one client speaks both.
import { Type, message, nameOf, payloadKind } from './proto.mjs';

export const SUBPROTOCOL = 'tidegate.v1.json';
const camel = (name) => name.toLowerCase().replace(/_([a-z0-9])/g, (_, c) => c.toUpperCase());
const snake = (name) => name.replace(/[A-Z]/g, (c) => `_${c.toLowerCase()}`);
const plain = { longs: Number, enums: Number, defaults: true, arrays: true, objects: true };

export const methodOf = (type) => type >= 1000 ? 'custom' : camel(nameOf(type));
const typeOf = Object.fromEntries(Object.entries(Type).map(([name, number]) => [camel(name), number]));

// Keys of a value of this message kind, renamed by `rename`; keys of maps stay as they are.
function renamed(kind, value, rename, fieldOf) {
  const out = {};
  for (const [key, content] of Object.entries(value)) {
    const field = kind.fields[fieldOf(key)];
    const inner = field?.resolve().resolvedType;
    const isMessage = inner?.fields !== undefined && !field.map;
    const one = (v) => v instanceof Uint8Array ? Buffer.from(v).toString('base64')
      : isMessage ? renamed(inner, v, rename, fieldOf)
        : typeof v === 'number' && !Number.isFinite(v) ? String(v) : v;
    out[rename(key)] = Array.isArray(content) ? content.map(one) : one(content);
  }
  return out;
}

// A payload with the names of proto/ as params.
export function paramsOf(type, payload) {
  const kind = payloadKind(type);
  if (payload === undefined) return {};
  if (payload instanceof Uint8Array || !kind) {
    return { ...(type >= 1000 ? { type } : {}), payload: Buffer.from(payload).toString('base64') };
  }
  return renamed(message(kind), payload, camel, (key) => key);
}

export function toText(type, payload, envelope = {}, id = undefined) {
  const params = paramsOf(type, payload);
  if (envelope.requires_ack) params.seq = envelope.sequence;
  if (envelope.ack) params.ack = envelope.ack;
  return JSON.stringify({ jsonrpc: '2.0', method: methodOf(type), params, ...(id === undefined ? {} : { id }) });
}

// Params of a type as the payload that proto.mjs would have decoded, and the numbers among them.
export function payloadOf(type, params) {
  const { seq = 0, ack = 0, ...rest } = params;
  const kind = payloadKind(type);
  if (!kind) {
    for (const key of Object.keys(rest)) if (!['type', 'payload'].includes(key)) throw new Error(`${nameOf(type)} has a member ${key}`);
    const raw = Buffer.from(rest.payload ?? '', 'base64');
    return { raw, payload: raw, sequence: seq, ack };
  }
  const fields = renamed(message(kind), rest, snake, snake);
  const unknown = Object.keys(fields).find((key) => !message(kind).fields[key]);
  if (unknown) throw new Error(`${kind} has no field ${unknown}`);
  // By way of the binary form, so that floats are rounded as they are there.
  const raw = Buffer.from(message(kind).encode(message(kind).fromObject(fields)).finish());
  return { raw, payload: message(kind).toObject(message(kind).decode(raw), plain), sequence: seq, ack };
}

// One text message of the server: {messages, responses}. Throws on what the document does not allow.
export function parseText(text) {
  const value = JSON.parse(text);
  const messages = [];
  const responses = [];
  for (const one of Array.isArray(value) ? value : [value]) {
    if (one.jsonrpc !== '2.0') throw new Error(`jsonrpc is ${one.jsonrpc}`);
    if (one.method === undefined) {
      if (!('id' in one) || ('result' in one) === ('error' in one)) throw new Error(`no response: ${text.slice(0, 200)}`);
      if (one.error && (!Number.isInteger(one.error.code) || typeof one.error.message !== 'string')) throw new Error(`no error object: ${text.slice(0, 200)}`);
      responses.push(one);
      continue;
    }
    if ('id' in one) throw new Error('a request from the server');
    if (Array.isArray(value)) throw new Error('a notification in a batch');
    const type = one.method === 'custom' ? one.params.type : typeOf[one.method];
    if (type === undefined) throw new Error(`unknown method ${one.method}`);
    messages.push({ type, name: nameOf(type), session_id: '', requires_ack: Boolean(one.params.seq), ...payloadOf(type, one.params) });
  }
  return { messages, responses, batch: Array.isArray(value) };
}
