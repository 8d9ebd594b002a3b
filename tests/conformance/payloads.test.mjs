// SPDX-License-Identifier: Apache-2.0
// Compressed payloads, from the protocol document: offered in CLIENT_HELLO, named in features, both ways,
// and everything that is refused.
import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { deflateSync } from 'node:zlib';
import { Client } from './lib/client.mjs';
import { Type, encodePayload } from './lib/proto.mjs';
import { metrics, startServer } from './lib/server.mjs';
import { until } from './lib/wait.mjs';

const ZLIB = 1;
let server;
before(async () => {
  server = await startServer({
    topics: { payload_bytes: '48KiB' },
    limits: { violations_per_minute: 1000, messages_per_second: 2000, messages_burst: 2000 },
  });
});
after(() => server.stop());

let count = 0;
const name = (what) => `payloads-${what}-${++count}`;
const open = async (hello = {}) => {
  const client = await Client.connect(server, name('user'), { hello });
  await client.next(Type.AUTHENTICATION_RESULT);
  return client;
};
async function request(client, type, payload, envelope = {}) {
  client.sequence = (client.sequence ?? 0) + 1;
  client.send(type, payload, { sequence: client.sequence, requires_ack: true, ...envelope });
  return (await client.next(Type.REPLY, (p) => Number(p.request_sequence) === client.sequence)).payload;
}
// The payload compressed, as its sender does it.
const packed = (type, payload) => {
  const raw = Buffer.from(encodePayload(type, payload));
  return [deflateSync(raw), { compression: ZLIB, raw_size: raw.length }];
};
const received = (client, topic) => client.all(Type.EVENT).filter((m) => m.payload.topic === topic);
const text = 'the quick brown fox jumps over the lazy dog, and again: '.repeat(80);

describe('compressed payloads', () => {
  test('features name the methods', async () => {
    const client = await open();
    const { payload } = await client.next(Type.CONNECTION_ESTABLISHED);
    assert.equal(payload.features.compression, 'zstd lz4 zlib');
    await client.leave();
  });

  test('go to who offered, large ones alone; others get the same as it is', async () => {
    const [reader, plain, publisher] = [await open({ compression: [ZLIB] }), await open(), await open()];
    const topic = `room.${name('room')}`;
    for (const client of [reader, plain]) assert.equal((await request(client, Type.SUBSCRIBE, { topic })).code, 0);
    const noise = Buffer.from(Array.from({ length: 4000 }, () => Math.floor(Math.random() * 256)));
    for (const data of [Buffer.from(text), Buffer.from('short'), noise]) {
      assert.equal((await request(publisher, Type.PUBLISH, { topic, data })).code, 0);
    }
    // What asks for acknowledgement comes by the session, the rest by the topic's own frames: both ways.
    publisher.send(Type.PUBLISH, { topic, data: Buffer.from(text) });
    for (const client of [reader, plain]) await until(() => received(client, topic).length === 4, 'the events');
    const forms = received(reader, topic).map((m) => m.compression);
    assert.deepEqual(forms, [ZLIB, 0, 0, ZLIB]);
    assert.deepEqual(received(plain, topic).map((m) => m.compression), [0, 0, 0, 0]);
    for (const client of [reader, plain]) {
      assert.deepEqual(received(client, topic).map((m) => Buffer.from(m.payload.data).equals(noise) ? 'noise' : Buffer.from(m.payload.data).toString()),
        [text, 'short', 'noise', text]);
      assert.deepEqual(client.breaches, []);
    }
    // Out of the history too.
    assert.equal((await request(reader, Type.SUBSCRIBE, { topic, replay_from: 4 })).code, 0);
    await until(() => received(reader, topic).length === 5, 'the replay');
    assert.equal(received(reader, topic)[4].compression, ZLIB);
    for (const client of [reader, plain, publisher]) await client.leave();
  });

  test('come from clients', async () => {
    const client = await open();
    const topic = `room.${name('room')}`;
    const [bytes, envelope] = packed(Type.PUBLISH, { topic, data: Buffer.from(text) });
    assert.equal((await request(client, Type.SUBSCRIBE, { topic })).code, 0);
    assert.equal((await request(client, Type.PUBLISH, bytes, envelope)).code, 0);
    await until(() => received(client, topic).length === 1, 'the event');
    assert.equal(Buffer.from(received(client, topic)[0].payload.data).toString(), text);
    await client.leave();
  });

  test('that are not what they promise are 4017', async () => {
    const client = await open();
    const [bytes, { raw_size }] = packed(Type.PUBLISH, { topic: 'room.x', data: Buffer.from(text) });
    const bomb = deflateSync(Buffer.alloc(10 << 20));
    const bad = [
      [bytes, { compression: ZLIB, raw_size: raw_size - 1 }],
      [bytes, { compression: ZLIB, raw_size: raw_size + 1 }],
      [bytes, { compression: ZLIB, raw_size: 0 }],
      [bytes, { compression: 2, raw_size }],
      [bytes, { compression: 3, raw_size }],
      [bytes, { compression: 7, raw_size }],
      [bytes.subarray(0, bytes.length - 1), { compression: ZLIB, raw_size }],
      [bomb, { compression: ZLIB, raw_size: 65536 }],
      [bytes, { compression: ZLIB, raw_size: 0x7fffffff }],
      [Buffer.from('plain'), { compression: ZLIB, raw_size: 5 }],
    ];
    for (const [payload, envelope] of bad) {
      const from = client.messages.length;
      client.send(Type.PUBLISH, payload, envelope);
      await client.error(4017, { from });
    }
    // The connection goes on.
    const from = client.messages.length;
    client.send(Type.HEARTBEAT, Buffer.from('alive'));
    await client.next(Type.PONG, () => true, { from });
    assert.ok((await metrics(server)).sum('tidegate_payload_unpack_failures_total') >= bad.length);
    await client.leave();
  });
});
