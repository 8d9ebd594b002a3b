// SPDX-License-Identifier: Apache-2.0
// Topics, from the protocol document alone: SUBSCRIBE, UNSUBSCRIBE, PUBLISH, EVENT, REPLY on a server
// of two shards; permissions, offsets, history and every error.
import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { Client } from './lib/client.mjs';
import { Type } from './lib/proto.mjs';
import { adminGet, metrics, startServer } from './lib/server.mjs';
import { TopicClient, clientsOnShards } from './lib/topics.mjs';
import { until } from './lib/wait.mjs';

let server;
before(async () => {
  server = await startServer({
    topics: { per_connection: 8, payload_bytes: '2KiB', history_messages: 50, name_bytes: 100 },
    limits: { violations_per_minute: 1000 },
  });
});
after(() => server.stop());

let count = 0;
const name = (what = 'user') => `topics-${what}-${++count}`;
const room = (what = 'any') => `room.${what}-${++count}`;
const open = (permissions) => TopicClient.open(server, name(), permissions);
async function leave(...clients) {
  for (const client of clients) {
    await client.leave();
    assert.deepEqual(client.breaches, []);
  }
}
// The request is refused: a REPLY with the code, and an ERROR that names the request.
async function refused(client, request, code) {
  const from = client.messages.length;
  const reply = await request;
  assert.equal(reply.code, code, reply.message);
  const { payload } = await client.error(code, { from });
  assert.equal(payload.fatal, false);
  assert.equal(payload.request_id, String(client.sequence));
}
const ok = async (request) => assert.deepEqual({ ...(await request), request_sequence: 0 }, { request_sequence: 0, code: 0, message: '' });

describe('publish and subscribe', () => {
  test('a subscriber gets what is published, with every field', async () => {
    const subscriber = await open();
    const publisher = await open();
    const topic = room();
    await ok(subscriber.subscribe(topic));
    const began = Date.now();
    await ok(publisher.publish(topic, 'hello', 77));
    const [event] = await subscriber.eventsOf(topic, 1);
    assert.equal(Buffer.from(event.data).toString(), 'hello');
    assert.equal(event.topic, topic);
    assert.equal(event.offset, 1);
    assert.equal(event.event_type, 77);
    assert.ok(event.version >= 1);
    assert.equal(event.source_user, publisher.user);
    assert.ok(Math.abs(event.timestamp - began) < 60_000);
    assert.equal(publisher.events(topic).length, 0);  // who does not subscribe gets nothing
    await leave(subscriber, publisher);
  });

  test('the publisher gets its own events when it subscribes; empty data is data', async () => {
    const client = await open();
    const topic = room();
    await ok(client.subscribe(topic));
    await ok(client.publish(topic, ''));
    const [event] = await client.eventsOf(topic, 1);
    assert.equal(event.data.length, 0);
    await leave(client);
  });

  test('offsets start at 1 for each topic and rise by one', async () => {
    const client = await open();
    const [a, b] = [room(), room()];
    await ok(client.subscribe(a));
    await ok(client.subscribe(b));
    for (let i = 0; i < 5; i += 1) {
      await ok(client.publish(a, `a${i}`));
      await ok(client.publish(b, `b${i}`));
    }
    assert.deepEqual((await client.eventsOf(a, 5)).map((e) => e.offset), [1, 2, 3, 4, 5]);
    assert.deepEqual((await client.eventsOf(b, 5)).map((e) => e.offset), [1, 2, 3, 4, 5]);
    assert.deepEqual(client.spoken(b), ['b0', 'b1', 'b2', 'b3', 'b4']);
    await leave(client);
  });

  test('a request without a sequence is answered with request_sequence 0', async () => {
    const client = await open();
    const topic = room();
    client.send(Type.SUBSCRIBE, { topic });
    const { payload } = await client.next(Type.REPLY);
    assert.deepEqual({ ...payload }, { request_sequence: 0, code: 0, message: '' });
    await leave(client);
  });

  test('after UNSUBSCRIBE nothing comes; subscribing again goes on', async () => {
    const client = await open();
    const other = await open();
    const topic = room();
    await ok(other.subscribe(topic));
    await ok(client.subscribe(topic));
    await ok(client.publish(topic, 'one'));
    await client.eventsOf(topic, 1);
    await ok(client.unsubscribe(topic));
    await ok(client.publish(topic, 'two'));
    await other.eventsOf(topic, 2);
    await ok(client.subscribe(topic));
    await ok(client.publish(topic, 'three'));
    await client.eventsOf(topic, 2);
    assert.deepEqual(client.spoken(topic), ['one', 'three']);
    assert.deepEqual((await other.eventsOf(topic, 3)).map((e) => e.offset), [1, 2, 3]);
    await leave(client, other);
  });

  test('subscribing twice is subscribing once', async () => {
    const client = await open();
    const topic = room();
    await ok(client.subscribe(topic));
    await ok(client.subscribe(topic));
    await ok(client.publish(topic, 'x'));
    await ok(client.publish(topic, 'y'));
    await client.eventsOf(topic, 2);
    assert.deepEqual(client.spoken(topic), ['x', 'y']);
    await leave(client);
  });

  test('subscriptions end with the session', async () => {
    const user = name('again');
    const first = await TopicClient.open(server, user);
    const topic = room();
    await ok(first.subscribe(topic));
    await leave(first);
    const publisher = await open();
    await ok(publisher.publish(topic, 'gone'));
    const second = await TopicClient.open(server, user);
    await ok(publisher.publish(topic, 'still gone'));
    await ok(second.subscribe(room()));  // answered behind whatever would have come
    assert.deepEqual(second.all(Type.EVENT), []);
    await leave(publisher, second);
  });
});

describe('acknowledged', () => {
  const plainEvents = (client, topic) => client.all(Type.EVENT).filter((m) => m.payload.topic === topic);

  test('an EVENT asks for acknowledgement when its PUBLISH did, else not', async () => {
    const reader = await open();
    const writer = await open();
    const [a, b] = [room('asked'), room('plain')];
    await ok(reader.subscribe(a));
    await ok(reader.subscribe(b));
    await ok(writer.publish(a, 'one'));
    await ok(writer.publish(a, 'two'));
    writer.publishPlain(b, 'three');
    await reader.eventsOf(a, 2);
    await reader.eventsOf(b, 1);
    assert.deepEqual(plainEvents(reader, a).map((m) => [m.requires_ack, m.sequence]), [[true, 1], [true, 2]]);
    assert.deepEqual(plainEvents(reader, b).map((m) => [m.requires_ack, m.sequence]), [[false, 0]]);
    await leave(reader, writer);
  });

  test('order holds when some are asked for and some are not', async () => {
    const reader = await open();
    const writer = await open();
    const topic = room('mixed');
    await ok(reader.subscribe(topic));
    for (let i = 0; i < 60; i += 1) {
      if (i % 3 === 0) await ok(writer.publish(topic, String(i)));
      else writer.publishPlain(topic, String(i));
    }
    const events = await reader.eventsOf(topic, 60);
    assert.deepEqual(events.map((e) => e.offset), Array.from({ length: 60 }, (_, i) => i + 1));
    await leave(reader, writer);
  });

  test('what was not acknowledged when the connection broke is replayed on resume', async () => {
    const user = name('resumes');
    const reader = await TopicClient.open(server, user);
    reader.acknowledges = false;
    const writer = await open();
    const topic = room('resume');
    await ok(reader.subscribe(topic));
    for (const text of ['one', 'two', 'three']) await ok(writer.publish(topic, text));
    await reader.eventsOf(topic, 3);
    const { payload: established } = await reader.next(Type.CONNECTION_ESTABLISHED);
    reader.send(Type.HEARTBEAT, Buffer.from('x'), { ack: 1 });
    await reader.next(Type.PONG);
    reader.drop();
    await reader.ended;
    const again = await Client.connect(server, user, { query: `&resume=${established.resume_token}` });
    const { payload: result } = await again.next(Type.RESUME_RESULT);
    assert.equal(result.resumed, true, result.reason);
    assert.equal(result.replayed, 2);
    await until(() => plainEvents(again, topic).length === 2, 'the missed events');
    assert.deepEqual(plainEvents(again, topic).map((m) => [m.sequence, m.payload.offset]), [[2, 2], [3, 3]]);
    await leave(again, writer);
  });

  test('subscriptions live as long as the session: after a resume they go on where they were', async () => {
    const user = name('back');
    const reader = await TopicClient.open(server, user);
    const writer = await open();
    const topics = Array.from({ length: 5 }, () => room('back'));
    for (const topic of topics) await ok(reader.subscribe(topic));
    const gone = room('back');
    await ok(reader.subscribe(gone));
    await ok(reader.unsubscribe(gone));
    for (const topic of topics) await ok(writer.publish(topic, 'before'));
    for (const topic of topics) await reader.eventsOf(topic, 1);
    reader.send(Type.HEARTBEAT, Buffer.from('x'), { ack: reader.received });
    await reader.next(Type.PONG);
    const { payload: established } = await reader.next(Type.CONNECTION_ESTABLISHED);
    reader.drop();
    await reader.ended;
    for (const topic of [...topics, gone]) for (const text of ['a', 'b', 'c']) writer.publishPlain(topic, text);
    await until(() => writer.all(Type.REPLY).filter((m) => m.payload.request_sequence === 0).length === 18, 'all published');
    const again = await TopicClient.open(server, user, [], `&resume=${established.resume_token}`, reader.received);
    assert.equal((await again.next(Type.RESUME_RESULT)).payload.resumed, true);
    for (const topic of topics) {
      const events = await again.eventsOf(topic, 3);
      assert.deepEqual(events.map((e) => e.offset), [2, 3, 4]);
    }
    for (const topic of topics) writer.publishPlain(topic, 'after');
    for (const topic of topics) await again.eventsOf(topic, 4);
    assert.equal(again.events(gone).length, 0);
    await leave(again, writer);
  });

  test('a topic that is durable by policy asks always', async () => {
    const durable = await startServer({ topics: { durable: 'room.keep.* other' } });
    try {
      const client = await TopicClient.open(durable, 'keeper');
      await ok(client.subscribe('room.keep.1'));
      await ok(client.subscribe('room.keeper'));
      client.publishPlain('room.keep.1', 'a');
      client.publishPlain('room.keeper', 'b');
      await client.eventsOf('room.keep.1', 1);
      await client.eventsOf('room.keeper', 1);
      assert.equal(plainEvents(client, 'room.keep.1')[0].requires_ack, true);
      assert.equal(plainEvents(client, 'room.keeper')[0].requires_ack, false);
      await leave(client);
    } finally {
      await durable.stop();
    }
  });
});

describe('on two shards', () => {
  test('subscribers on both get the same bytes in the same order, from publishers on both', async () => {
    const byShard = await clientsOnShards(server, adminGet, name('both'), 2, 3);
    const clients = byShard.flat();
    // Names hash to homes: with several topics both shards are home of some.
    const topics = Array.from({ length: 6 }, () => room('both'));
    for (const topic of topics) await Promise.all(clients.map((c) => ok(c.subscribe(topic))));
    const each = 40;
    for (const [number, client] of clients.entries()) {
      for (let i = 0; i < each; i += 1) client.publishPlain(topics[i % topics.length], `${number}:${i}`);
    }
    for (const topic of topics) {
      const expected = clients.length * topics.map((_, i) => i).filter((i) => topics[i] === topic)
        .reduce((sum, i) => sum + Math.ceil((each - i) / topics.length), 0);
      const reference = await clients[0].eventsOf(topic, expected);
      assert.deepEqual(reference.map((e) => e.offset), Array.from({ length: expected }, (_, i) => i + 1));
      for (const client of clients) {
        assert.deepEqual(await client.eventsOf(topic, expected), reference);
      }
      // What one connection published keeps its order.
      for (const number of clients.keys()) {
        const own = clients[0].spoken(topic).filter((t) => t.startsWith(`${number}:`)).map((t) => Number(t.split(':')[1]));
        assert.deepEqual(own, [...own].sort((x, y) => x - y));
      }
    }
    await leave(...clients);
  });

  test('a thousand messages of one connection arrive whole, on both shards', async () => {
    const byShard = await clientsOnShards(server, adminGet, name('many'), 2, 1);
    const [a, b] = byShard.map(([client]) => client);
    const topic = room('many');
    await ok(a.subscribe(topic));
    await ok(b.subscribe(topic));
    for (let i = 0; i < 1000; i += 1) a.publishPlain(topic, String(i));
    const wanted = Array.from({ length: 1000 }, (_, i) => String(i));
    for (const client of [a, b]) {
      await client.eventsOf(topic, 1000);
      assert.deepEqual(client.spoken(topic), wanted);
    }
    await until(() => a.all(Type.REPLY).filter((m) => m.payload.request_sequence === 0).length === 1000, 'a reply to each');
    await leave(a, b);
  });

  test('the admin API lists the topic with its subscribers, home and offsets', async () => {
    const byShard = await clientsOnShards(server, adminGet, name('list'), 2, 2);
    const topic = room('list');
    for (const client of byShard.flat()) await ok(client.subscribe(topic));
    await ok(byShard[0][0].publish(topic, 'one'));
    await ok(byShard[1][0].publish(topic, 'two'));
    const { status, text } = await adminGet(server, `/api/v1/topics?prefix=${topic}`);
    assert.equal(status, 200);
    const page = JSON.parse(text);
    assert.equal(page.complete, true);
    assert.ok(page.total >= 1);
    assert.equal(page.topics.length, 1);
    const [row] = page.topics;
    assert.equal(row.name, topic);
    assert.equal(row.subscribers, 4);
    assert.equal(row.shards, 2);
    assert.equal(row.last_offset, 2);
    assert.equal(row.history_messages, 2);
    assert.ok(row.home_shard === 0 || row.home_shard === 1);
    await leave(...byShard.flat());
    await until(async () => {
      const rows = JSON.parse((await adminGet(server, `/api/v1/topics?prefix=${topic}`)).text).topics;
      return rows.length === 1 && rows[0].subscribers === 0;
    }, 'no subscribers left');
    const m = await metrics(server);
    assert.ok(m.sum('tidegate_topic_deliveries_total') >= 8);
    assert.ok(m.sum('tidegate_topic_messages_total') >= 2);
  });
});

describe('replay', () => {
  test('replay_from delivers from that offset on, then what is new, each once and in order', async () => {
    const byShard = await clientsOnShards(server, adminGet, name('replay'), 2, 1);
    const publisher = await open();
    const topic = room('replay');
    for (let i = 1; i <= 20; i += 1) await ok(publisher.publish(topic, `m${i}`));
    const clients = byShard.map(([client]) => client);
    for (const client of clients) await ok(client.subscribe(topic, 5));
    for (let i = 21; i <= 30; i += 1) publisher.publishPlain(topic, `m${i}`);
    for (const client of clients) {
      const events = await client.eventsOf(topic, 26);
      assert.deepEqual(events.map((e) => e.offset), Array.from({ length: 26 }, (_, i) => i + 5));
      assert.deepEqual(client.spoken(topic), events.map((e) => `m${e.offset}`));
    }
    await leave(publisher, ...clients);
  });

  test('while others publish nothing is missed or doubled', async () => {
    const publisher = await open();
    const topic = room('busy');
    const readers = [];
    let sent = 0;
    const publish = (n) => { for (let i = 0; i < n; i += 1) publisher.publishPlain(topic, String(++sent)); };
    publish(10);
    for (let i = 0; i < 10; i += 1) {
      const reader = await open();
      publish(5);
      const subscribed = reader.subscribe(topic, 1 + (sent > 40 ? sent - 40 : 0));
      publish(5);
      await ok(subscribed);
      readers.push(reader);
    }
    publish(20);
    for (const reader of readers) {
      await until(() => reader.events(topic).at(-1)?.offset === sent, `offset ${sent}`);
      const offsets = reader.events(topic).map((e) => e.offset);
      assert.deepEqual(offsets, Array.from({ length: offsets.length }, (_, i) => offsets[0] + i));
    }
    await leave(publisher, ...readers);
  });

  test('the history is bounded: what it no longer holds is left out', async () => {
    const publisher = await open();
    const topic = room('bounded');
    for (let i = 1; i <= 80; i += 1) publisher.publishPlain(topic, `m${i}`);
    await until(() => publisher.all(Type.REPLY).length === 80, 'all published');
    const reader = await open();
    await ok(reader.subscribe(topic, 1));
    const events = await reader.eventsOf(topic, 50);
    assert.deepEqual(events.map((e) => e.offset), Array.from({ length: 50 }, (_, i) => i + 31));
    await leave(publisher, reader);
  });

  test('a history larger than a connection may have waiting comes whole', async () => {
    const publisher = await open();
    const topic = room('large');
    const text = (i) => `${i}:${'x'.repeat(1200)}`;
    for (let i = 1; i <= 45; i += 1) await ok(publisher.publish(topic, text(i)));
    const readers = await Promise.all(Array.from({ length: 12 }, () => open()));
    await Promise.all(readers.map((reader) => ok(reader.subscribe(topic, 1))));
    for (const reader of readers) {
      await reader.eventsOf(topic, 45);
      assert.deepEqual(reader.spoken(topic), Array.from({ length: 45 }, (_, i) => text(i + 1)));
    }
    await leave(publisher, ...readers);
  });

  test('replay_from beyond the end waits for what is new', async () => {
    const client = await open();
    const topic = room('beyond');
    await ok(client.publish(topic, 'old'));
    await ok(client.subscribe(topic, 99));
    await ok(client.publish(topic, 'new'));
    assert.deepEqual((await client.eventsOf(topic, 1)).map((e) => e.offset), [2]);
    await leave(client);
  });

  test('a second SUBSCRIBE with replay_from delivers the history again', async () => {
    const client = await open();
    const topic = room('again');
    await ok(client.subscribe(topic));
    for (const text of ['a', 'b', 'c']) await ok(client.publish(topic, text));
    await client.eventsOf(topic, 3);
    await ok(client.subscribe(topic, 2));
    await client.eventsOf(topic, 5);
    await ok(client.publish(topic, 'd'));
    await client.eventsOf(topic, 6);
    assert.deepEqual(client.spoken(topic), ['a', 'b', 'c', 'b', 'c', 'd']);
    await leave(client);
  });
});

describe('permissions', () => {
  test('user.<id> may be subscribed to by that user only, and published to with a claim', async () => {
    const [a, b] = [await open(), await open()];
    await ok(a.subscribe(`user.${a.user}`));
    await refused(a, a.subscribe(`user.${b.user}`), 4005);
    await refused(a, a.publish(`user.${a.user}`, 'x'), 4005);
    const admin = await open(['publish:user.*']);
    await ok(admin.publish(`user.${a.user}`, 'for you'));
    await a.eventsOf(`user.${a.user}`, 1);
    await refused(admin, admin.subscribe(`user.${a.user}`), 4005);
    await leave(a, b, admin);
  });

  test('other topics need a claim for exactly what is done', async () => {
    const nobody = await open();
    const reader = await open(['subscribe:news.*']);
    const writer = await open(['publish:news.eu', 'unrelated']);
    await refused(nobody, nobody.subscribe('news.eu'), 4005);
    await refused(nobody, nobody.publish('news.eu', 'x'), 4005);
    await refused(reader, reader.publish('news.eu', 'x'), 4005);
    await refused(writer, writer.subscribe('news.eu'), 4005);
    await refused(writer, writer.publish('news.us', 'x'), 4005);
    await ok(reader.subscribe('news.eu'));
    await ok(writer.publish('news.eu', 'x'));
    await reader.eventsOf('news.eu', 1);
    await refused(nobody, nobody.subscribe('room.'), 4005);
    await refused(nobody, nobody.subscribe('roommate'), 4005);
    await leave(nobody, reader, writer);
  });
});

describe('errors', () => {
  test('4003: a topic without a name, with control characters or a wildcard', async () => {
    const client = await open();
    for (const topic of ['', 'room.a\u0000', 'room.\n', 'room.*']) {
      await refused(client, client.subscribe(topic), 4003);
      await refused(client, client.publish(topic, 'x'), 4003);
    }
    await leave(client);
  });
  test('4003: a payload that is none', async () => {
    const client = await open();
    for (const type of [Type.SUBSCRIBE, Type.UNSUBSCRIBE, Type.PUBLISH]) {
      const from = client.messages.length;
      client.send(type, Buffer.from([0x0a, 0x05, 0x61]));
      await client.error(4003, { from });
    }
    await leave(client);
  });
  test('4007: a name or data above the limits; at the limits they pass', async () => {
    const client = await open();
    const topic = (bytes) => `room.${'n'.repeat(bytes - 5)}`;
    await ok(client.subscribe(topic(100)));
    await refused(client, client.subscribe(topic(101)), 4007);
    await ok(client.publish(topic(100), 'x'.repeat(2048)));
    await refused(client, client.publish(topic(100), 'x'.repeat(2049)), 4007);
    await client.eventsOf(topic(100), 1);
    await leave(client);
  });
  test('4012: not subscribed, or more topics than a connection may have', async () => {
    const client = await open();
    await refused(client, client.unsubscribe(room()), 4012);
    const topics = Array.from({ length: 8 }, () => room('limit'));
    for (const topic of topics) await ok(client.subscribe(topic));
    await refused(client, client.subscribe(room('limit')), 4012);
    await ok(client.unsubscribe(topics[3]));
    await ok(client.subscribe(room('limit')));
    await refused(client, client.unsubscribe(topics[3]), 4012);
    await leave(client);
  });
  test('4012: more topics with subscribers than the server holds', async () => {
    const small = await startServer({ topics: { count: 4, per_connection: 64 } });
    try {
      const client = await TopicClient.open(small, 'collector');
      const codes = [];
      for (let i = 0; i < 12; i += 1) codes.push((await client.subscribe(`room.full-${i}`)).code);
      assert.ok(codes.includes(4012), codes.join());
      assert.ok(codes.filter((code) => code === 0).length >= 4, codes.join());
      // Whoever has a subscription keeps it, and room that is given back is used again.
      const kept = codes.findIndex((code) => code === 0);
      assert.equal((await client.publish(`room.full-${kept}`, 'x')).code, 0);
      await client.eventsOf(`room.full-${kept}`, 1);
      const full = codes.findIndex((code) => code === 4012);
      for (const [i, code] of codes.entries()) {
        if (code === 0) assert.equal((await client.unsubscribe(`room.full-${i}`)).code, 0);
      }
      await until(async () => (await client.subscribe(`room.full-${full}`)).code === 0, 'room for another topic');
      await client.leave();
    } finally {
      await small.stop();
    }
  });
  test('4006: above the rate of messages', async () => {
    const slow = await startServer({ limits: { messages_per_second: 5, messages_burst: 20 } });
    try {
      const client = await Client.connect(slow, 'hasty');
      await client.next(Type.AUTHENTICATION_RESULT);
      for (let i = 0; i < 60; i += 1) client.send(Type.PUBLISH, { topic: 'room.fast', data: Buffer.from('x') });
      await client.error(4006);
      await client.leave();
    } finally {
      await slow.stop();
    }
  });
  test('refusals count: passed the limit of a minute, close 1008', async () => {
    const strict = await startServer({ limits: { violations_per_minute: 5 } });
    try {
      const client = await TopicClient.open(strict, 'stubborn');
      for (let i = 0; i < 10; i += 1) client.send(Type.SUBSCRIBE, { topic: 'secret' });
      assert.equal(await client.closeCode(), 1008);
    } finally {
      await strict.stop();
    }
  });
  test('EVENT and REPLY are the server\'s to send', async () => {
    const client = await open();
    for (const type of [Type.EVENT, Type.REPLY]) {
      const from = client.messages.length;
      client.send(type, Buffer.alloc(0));
      await client.error(4004, { from });
    }
    await leave(client);
  });
});
