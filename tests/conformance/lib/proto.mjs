// SPDX-License-Identifier: Apache-2.0
// Message types of the protocol document, and the codec of their payloads from proto/tidegate/v1.
import { readdirSync } from 'node:fs';
import { join } from 'node:path';
import { inflateSync } from 'node:zlib';
import protobuf from 'protobufjs';
import { root } from './server.mjs';

export const Type = {
  HEARTBEAT: 1, PONG: 2, ACK: 3, ERROR: 4, CONNECTION_ESTABLISHED: 5, AUTHENTICATION_RESULT: 6,
  RESUME_RESULT: 7, DISCONNECT: 8, CLIENT_HELLO: 9, SUBSCRIBE: 10, UNSUBSCRIBE: 11, PUBLISH: 12,
  EVENT: 13, REPLY: 14, TOKEN_REFRESH: 15, TOKEN_STATUS: 16, PLAYER_MOVE: 100, PLAYER_ACTION: 101, PLAYER_STATE: 102,
  PLAYER_STATUS_CHANGE: 103, MOVE_ACK: 104, PLAYER_STEER: 105, WORLD_STATE: 200, ZONE_UPDATE: 201, TIME_SYNC: 202,
  INTEREST_UPDATE: 203, CELL_FRAME: 204, CELL_REPORT: 205, STATE_UPDATE: 206, STATE_CHANGE: 207,
  STATE_RESULT: 208, PRESENCE_UPDATE: 300, FRIEND_STATUS: 301,
  PRESENCE_SUBSCRIBE: 302, SOCIAL_UPDATE: 303, SOCIAL_LIST: 304, GROUP_REQUEST: 310, GROUP_EVENT: 311,
  GROUP_STATE: 312,
};
export const nameOf = (type) => Object.keys(Type).find((key) => Type[key] === type) ?? `type ${type}`;

const payloadOf = {
  [Type.SUBSCRIBE]: 'Subscribe',
  [Type.UNSUBSCRIBE]: 'Unsubscribe',
  [Type.PUBLISH]: 'Publish',
  [Type.EVENT]: 'Event',
  [Type.REPLY]: 'Reply',
  [Type.PLAYER_STATE]: 'PlayerStateUpdate',
  [Type.PLAYER_STATUS_CHANGE]: 'PlayerStatusChange',
  [Type.PRESENCE_UPDATE]: 'PresenceUpdate',
  [Type.FRIEND_STATUS]: 'FriendStatus',
  [Type.PRESENCE_SUBSCRIBE]: 'PresenceSubscribe',
  [Type.ERROR]: 'ErrorNotification',
  [Type.CONNECTION_ESTABLISHED]: 'ConnectionEstablished',
  [Type.AUTHENTICATION_RESULT]: 'AuthenticationResult',
  [Type.RESUME_RESULT]: 'ResumeResult',
  [Type.TOKEN_REFRESH]: 'TokenRefresh',
  [Type.TOKEN_STATUS]: 'TokenStatus',
  [Type.DISCONNECT]: 'Disconnect',
  [Type.CLIENT_HELLO]: 'ClientHello',
  [Type.SUBSCRIBE]: 'Subscribe',
  [Type.UNSUBSCRIBE]: 'Unsubscribe',
  [Type.PUBLISH]: 'Publish',
  [Type.EVENT]: 'Event',
  [Type.REPLY]: 'Reply',
  [Type.PLAYER_STATUS_CHANGE]: 'PlayerStatusChange',
  [Type.PRESENCE_UPDATE]: 'PresenceUpdate',
  [Type.PRESENCE_SUBSCRIBE]: 'PresenceSubscribe',
  [Type.FRIEND_STATUS]: 'FriendStatus',
  [Type.PLAYER_MOVE]: 'PlayerMovement',
  [Type.PLAYER_ACTION]: 'PlayerAction',
  [Type.MOVE_ACK]: 'MoveAck',
  [Type.PLAYER_STEER]: 'PlayerSteer',
  [Type.WORLD_STATE]: 'WorldStateSnapshot',
  [Type.ZONE_UPDATE]: 'ZoneUpdate',
  [Type.TIME_SYNC]: 'TimeSync',
  [Type.INTEREST_UPDATE]: 'InterestUpdate',
  [Type.CELL_REPORT]: 'CellReport',
  [Type.STATE_UPDATE]: 'StateUpdate',
  [Type.STATE_CHANGE]: 'StateChange',
  [Type.STATE_RESULT]: 'StateResult',
  [Type.SOCIAL_UPDATE]: 'SocialUpdate',
  [Type.SOCIAL_LIST]: 'SocialList',
  [Type.GROUP_REQUEST]: 'GroupRequest',
  [Type.GROUP_EVENT]: 'GroupEvent',
  [Type.GROUP_STATE]: 'GroupState',
};

// The name of a type's payload message; undefined: opaque bytes.
export const payloadKind = (type) => payloadOf[type];

const folder = join(root, 'proto/tidegate/v1');
export const schema = new protobuf.Root();
schema.resolvePath = (_, target) => target.startsWith('tidegate/') ? join(root, 'proto', target) : target;
schema.loadSync(readdirSync(folder).filter((name) => name.endsWith('.proto')).map((name) => join(folder, name)),
  { keepCase: true });

export const message = (name) => schema.lookupType(`tidegate.v1.${name}`);
const plain = { longs: Number, enums: Number, defaults: true, arrays: true, objects: true };

export function encodePayload(type, payload) {
  if (payload === undefined) return new Uint8Array(0);
  if (payload instanceof Uint8Array) return payload;
  const kind = message(payloadOf[type]);
  return kind.encode(kind.fromObject(payload)).finish();
}

export function decodePayload(type, bytes) {
  const name = payloadOf[type];
  return name ? message(name).toObject(message(name).decode(bytes), plain) : bytes;
}

// One frame: magic, version, length, NetworkMessage.
export function frame(type, payload, envelope = {}) {
  const kind = message('NetworkMessage');
  const body = kind.encode(kind.create({
    version: 1, timestamp: Date.now(), type, payload: encodePayload(type, payload), ...envelope,
  })).finish();
  return withHeader(body);
}

export function withHeader(body, { magic = 0x4d4d, version = 1, length = body.length } = {}) {
  const out = Buffer.alloc(8 + body.length);
  out.writeUInt16BE(magic, 0);
  out.writeUInt16BE(version, 2);
  out.writeUInt32BE(length, 4);
  Buffer.from(body).copy(out, 8);
  return out;
}

// Every message of one WebSocket message. Throws on anything the document does not allow.
export function parseFrames(data) {
  const bytes = Buffer.from(data);
  const messages = [];
  let at = 0;
  if (bytes.length === 0) throw new Error('an empty message');
  while (at < bytes.length) {
    if (bytes.length - at < 8) throw new Error(`${bytes.length - at} trailing bytes`);
    if (bytes.readUInt16BE(at) !== 0x4d4d) throw new Error(`magic ${bytes.readUInt16BE(at).toString(16)}`);
    if (bytes.readUInt16BE(at + 2) !== 1) throw new Error(`version ${bytes.readUInt16BE(at + 2)}`);
    const length = bytes.readUInt32BE(at + 4);
    if (at + 8 + length > bytes.length) throw new Error('a frame longer than its message');
    const body = bytes.subarray(at + 8, at + 8 + length);
    const envelope = message('NetworkMessage').toObject(message('NetworkMessage').decode(body), plain);
    let raw = Buffer.from(envelope.payload);
    if (envelope.compression !== 0) {
      if (envelope.compression !== 1) throw new Error(`compression ${envelope.compression}, of which nothing was offered`);
      raw = inflateSync(raw);
      if (raw.length !== envelope.raw_size) throw new Error(`${raw.length} bytes instead of ${envelope.raw_size}`);
    }
    messages.push({ ...envelope, raw, name: nameOf(envelope.type), payload: decodePayload(envelope.type, raw) });
    at += 8 + length;
  }
  return messages;
}
