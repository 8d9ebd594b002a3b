// SPDX-License-Identifier: Apache-2.0
// proto/tidegate/v1 has the numbers of the protocol document, written here a second time.
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { Type, message, schema } from './lib/proto.mjs';

// message: fields in order of their numbers; "name:type", "[]" repeated, "?" optional, "m" map.
const MESSAGES = {
  NetworkMessage: { version: ['uint32', 1], sequence: ['uint64', 2], timestamp: ['int64', 3], session_id: ['string', 4],
    type: ['enum', 5], payload: ['bytes', 6], requires_ack: ['bool', 7], priority: ['uint32', 8], ack: ['uint64', 9],
    compression: ['enum', 10], raw_size: ['uint32', 11] },
  Vector3: { x: ['float', 1], y: ['float', 2], z: ['float', 3] },
  Quaternion: { x: ['float', 1], y: ['float', 2], z: ['float', 3], w: ['float', 4] },
  Disconnect: { code: ['uint32', 1], reason: ['string', 2], reconnect_url: ['string', 3], retry_after_ms: ['uint32', 4] },
  ClientHello: { client_version: ['string', 1], state_encoding: ['enum', 2], view_distance: ['float', 3],
    compression: ['[]enum', 4], max_bytes_per_second: ['uint32', 5] },
  Subscribe: { topic: ['string', 1], replay_from: ['uint64', 2] },
  Unsubscribe: { topic: ['string', 1] },
  Publish: { topic: ['string', 1], data: ['bytes', 2], event_type: ['uint32', 3] },
  Event: { topic: ['string', 1], offset: ['uint64', 2], event_type: ['uint32', 3], version: ['uint32', 4],
    source_user: ['string', 5], data: ['bytes', 6], timestamp: ['int64', 7] },
  Reply: { request_sequence: ['uint64', 1], code: ['uint32', 2], message: ['string', 3] },
  MoveAck: { client_tick: ['uint32', 1], server_tick: ['uint32', 2], position: ['Vector3', 3], velocity: ['Vector3', 4],
    corrected: ['bool', 5], reason: ['uint32', 6] },
  PresenceSubscribe: { user_ids: ['[]string', 1] },
  GroupRequest: { operation: ['enum', 1], group: ['string', 2], user_id: ['string', 3], role: ['enum', 4], access: ['enum', 5] },
  GroupEvent: { group: ['string', 1], change: ['enum', 2], user_id: ['string', 3], by_user: ['string', 4], role: ['enum', 5],
    access: ['enum', 6], version: ['uint64', 7], offset: ['uint64', 8] },
  GroupMember: { user_id: ['string', 1], role: ['enum', 2] },
  GroupState: { group: ['string', 1], access: ['enum', 2], version: ['uint64', 3], members: ['[]GroupMember', 4],
    invited: ['[]string', 5], more: ['bool', 6] },
  SocialUpdate: { sharing: ['enum', 1], add_friends: ['[]string', 2], remove_friends: ['[]string', 3], block: ['[]string', 4],
    unblock: ['[]string', 5], share_with: ['[]string', 6], unshare: ['[]string', 7] },
  SocialList: { sharing: ['enum', 1], friends: ['[]string', 2], blocked: ['[]string', 3], shared_with: ['[]string', 4],
    more: ['bool', 5] },
  ConnectionEstablished: { session_id: ['string', 1], server_version: ['string', 2], server_time: ['int64', 3],
    heartbeat_interval: ['uint32', 4], features: ['map', 5], resume_token: ['string', 6], tick_rate: ['uint32', 7],
    server_tick: ['uint32', 8] },
  AuthenticationResult: { success: ['bool', 1], user_id: ['string', 2], character_id: ['string', 3],
    error_message: ['string', 4], permissions: ['[]string', 5] },
  ErrorNotification: { code: ['uint32', 1], message: ['string', 2], details: ['string', 3], fatal: ['bool', 4],
    request_id: ['string', 5] },
  TokenRefresh: { token: ['string', 1] },
  TokenStatus: { accepted: ['bool', 1], expires_at: ['int64', 2], reason: ['string', 3], permissions: ['[]string', 4] },
  ResumeResult: { resumed: ['bool', 1], reason: ['string', 2], replayed: ['uint32', 3], last_client_sequence: ['uint64', 4] },
  PlayerMovement: { position: ['Vector3', 1], rotation: ['Quaternion', 2], velocity: ['Vector3', 3],
    movement_flags: ['uint32', 4], client_tick: ['uint32', 5], client_time: ['int64', 6] },
  PlayerAction: { action_id: ['string', 1], target_id: ['string', 2], parameters: ['map', 3], client_tick: ['uint32', 4] },
  PlayerStateUpdate: { player_id: ['string', 1], position: ['Vector3', 2], rotation: ['Quaternion', 3],
    velocity: ['Vector3', 4], state_flags: ['uint32', 5], timestamp: ['int64', 6], tick: ['uint32', 7] },
  PlayerStateDelta: { player_id: ['string', 1], changed_fields: ['uint32', 2], position: ['Vector3', 3],
    rotation: ['Quaternion', 4], velocity: ['Vector3', 5], state_flags: ['?uint32', 6], timestamp: ['int64', 7],
    base_tick: ['uint32', 8], delta_tick: ['uint32', 9] },
  PlayerStatusChange: { player_id: ['string', 1], old_status: ['PlayerStatus', 2], new_status: ['PlayerStatus', 3],
    reason: ['string', 4] },
  WorldStateSnapshot: { tick: ['uint32', 1], timestamp: ['int64', 2], zone_id: ['string', 3],
    players: ['[]PlayerStateUpdate', 4], npcs: ['[]PlayerStateUpdate', 5], objects: ['[]PlayerStateUpdate', 6],
    environment: ['EnvironmentState', 7] },
  EnvironmentState: { time_of_day: ['float', 1], weather: ['string', 2], properties: ['map', 3] },
  EntitySpawn: { state: ['PlayerStateUpdate', 1], kind: ['uint32', 2], custom: ['bytes', 3] },
  EntityUpdate: { delta: ['PlayerStateDelta', 1], custom: ['bytes', 2] },
  ZoneUpdate: { zone_id: ['string', 1], spawns: ['[]EntitySpawn', 2], despawns: ['[]string', 3],
    updates: ['[]EntityUpdate', 4], environment: ['EnvironmentState', 5] },
  TimeSync: { server_time: ['int64', 1], server_tick: ['uint32', 2], client_time: ['int64', 3], latency_ms: ['uint32', 4] },
  CellReport: { cell_x: ['sint32', 1], cell_z: ['sint32', 2], epoch: ['uint32', 3], frame: ['uint32', 4], tick: ['uint32', 5],
    checksum: ['fixed64', 6], expected: ['fixed64', 7], members: ['bytes', 8] },
  InterestUpdate: { entered_view: ['[]string', 1], exited_view: ['[]string', 2], view_distance: ['float', 3] },
  PresenceUpdate: { user_id: ['string', 1], status: ['PlayerStatus', 2], custom_status: ['string', 3],
    last_seen: ['int64', 4], zone_id: ['string', 5], region: ['string', 6] },
};

function describeField(field) {
  field.resolve();
  if (field.map) return 'map';
  const kind = field.resolvedType
    ? (field.resolvedType.constructor.name === 'Enum' && field.resolvedType.name !== 'PlayerStatus' ? 'enum' : field.resolvedType.name)
    : field.type;
  const optional = field.options?.proto3_optional && !field.resolvedType ? '?' : '';
  return (field.repeated ? '[]' : optional) + kind;
}

describe('messages', () => {
  for (const [name, fields] of Object.entries(MESSAGES)) {
    test(name, () => {
      const found = message(name).fieldsArray.map((f) => [f.name, [describeField(f), f.id]]);
      for (const [field, [type, number]] of Object.entries(fields)) {
        const entry = found.find(([n]) => n === field);
        assert.ok(entry, `${name}.${field} is missing`);
        assert.deepEqual(entry[1], [type, number], `${name}.${field}`);
      }
    });
  }
  test('FriendStatus is a list of PresenceUpdate', () => {
    const fields = message('FriendStatus').fieldsArray;
    assert.equal(fields.length, 1);
    assert.equal(describeField(fields[0]), '[]PresenceUpdate');
  });
});

describe('enumerations', () => {
  test('MessageType has every number', () => {
    const numbers = new Set(Object.values(schema.lookupEnum('tidegate.v1.MessageType').values));
    for (const [name, number] of Object.entries(Type)) assert.ok(numbers.has(number), `${name} ${number}`);
    for (let number = 400; number <= 406; number += 1) assert.ok(numbers.has(number), `${number}`);
  });
  test('PlayerStatus', () => {
    const { values } = schema.lookupEnum('tidegate.v1.PlayerStatus');
    assert.deepEqual(Object.values(values).sort(), [0, 1, 2, 3, 4, 5]);
  });
});
