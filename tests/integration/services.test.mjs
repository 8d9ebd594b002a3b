// SPDX-License-Identifier: Apache-2.0
// Backend services on the bus: the one of examples/ in Python, and one in this process that speaks
// the documented subjects.
import assert from 'node:assert/strict';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { Client } from '../conformance/lib/client.mjs';
import { startGateway, together } from '../conformance/lib/cluster.mjs';
import { NatsClient, startNats } from '../conformance/lib/nats.mjs';
import { Type } from '../conformance/lib/proto.mjs';
import { metrics, Process, root } from '../conformance/lib/server.mjs';
import { TopicClient } from '../conformance/lib/topics.mjs';
import { patience, until } from '../conformance/lib/wait.mjs';

const long = patience * 6;
const services = ['json:1200', '1300-1309', 'json:1400-1409'];
let nats;
let bus;
let gateways;
before(async () => {
  nats = await startNats();
  bus = await NatsClient.open(nats.port);
  gateways = await Promise.all(['one', 'two'].map((name) => startGateway(nats, name,
    { bus: { services, service_timeout: '1500ms' } })));
  await together(gateways, long);
});
after(async () => {
  for (const gateway of gateways) await gateway.stop();
  bus.close();
  await nats.stop();
});

const serve = async (subject, handler) => {
  bus.subscribe(subject, ({ reply, data }) => {
    const answer = handler(data);
    if (answer !== undefined) bus.publish(reply, answer);
  });
  await bus.flush();
};
const json = (value) => JSON.stringify(value);
const base64 = (text) => Buffer.from(text).toString('base64');
// A varint field and a bytes field of protobuf, for numbers below 2^28.
const varint = (n) => (n < 128 ? [n] : [(n & 127) | 128, ...varint(n >> 7)]);
const field = (number, value) => (typeof value === 'number' ? [...varint(number << 3), ...varint(value)]
  : [...varint(number << 3 | 2), ...varint(Buffer.byteLength(value)), ...Buffer.from(value)]);

let count = 0;
const open = (gateway, permissions = []) => TopicClient.open(gateway, `served-${++count}`, permissions);
async function ask(client, type, payload) {
  client.sequence += 1;
  const sequence = client.sequence;
  client.send(type, Buffer.from(payload), { sequence, requires_ack: true });
  return (await client.next(Type.REPLY, (p) => p.request_sequence === sequence)).payload;
}
const got = (client, type, n = 1) => until(() => client.all(type).length >= n && client.all(type), `${n} of ${type}`, long)
  .then((all) => all.map((m) => Buffer.from(m.payload).toString()));

describe('a service', () => {
  test('in Python answers clients of every gateway, and speaks in a topic', async () => {
    const service = new Process('/usr/bin/python3',
      [join(root, 'examples/dice_service.py'), '--nats', `127.0.0.1:${nats.port}`]);
    await service.line(/dice: serving/);
    const listener = await open(gateways[1]);
    await listener.subscribe('room.dice');
    for (const gateway of gateways) {
      const client = await open(gateway);
      assert.equal((await ask(client, 1200, '3d6')).code, 0);
      const [text] = await got(client, 1201);
      const { dice, sum } = JSON.parse(text);
      assert.equal(dice.length, 3);
      assert.equal(sum, dice.reduce((a, b) => a + b));
      const refused = await ask(client, 1200, 'six');
      assert.equal(refused.code, 4003);
      assert.equal(refused.message, 'a roll is written as in 2d6');
      await client.leave();
    }
    const [event] = await listener.eventsOf('room.dice', 1);
    assert.match(Buffer.from(event.data).toString(), /leads with \d+/);
    await listener.leave();
    await service.stop('SIGKILL');
  });

  test('is told who asks, in JSON', async () => {
    const calls = [];
    await serve('tidegate.main.in.1400', (data) => {
      calls.push(JSON.parse(data));
      return json({ message: 'noted' });
    });
    const client = await open(gateways[0], ['subscribe:news.*', 'chat']);
    const answer = await ask(client, 1400, 'hello');
    assert.deepEqual([answer.code, answer.message], [0, 'noted']);
    const [call] = calls;
    assert.equal(call.user_id, client.user);
    assert.equal(call.player_id, client.user);
    assert.equal(call.gateway, 'one');
    assert.equal(call.type, 1400);
    assert.equal(call.sequence, 1);
    assert.deepEqual(call.permissions, ['subscribe:news.*', 'chat']);
    assert.equal(call.payload, base64('hello'));
    assert.match(call.session_id, /^[0-9a-f]{16}$/);
    assert.ok(Math.abs(call.timestamp - Date.now()) < 60_000);
    await client.leave();
  });

  test('may speak protobuf', async () => {
    let call;
    await serve('tidegate.main.in.1300', (data) => {
      call = data;
      return Buffer.from([...field(3, 1301), ...field(4, 'answer')]);
    });
    const client = await open(gateways[1]);
    assert.equal((await ask(client, 1300, 'question')).code, 0);
    assert.deepEqual(await got(client, 1301), ['answer']);
    assert.deepEqual(call.subarray(0, 5), Buffer.from([...field(1, 1), ...field(2, 1300)]));
    assert.ok(call.includes(Buffer.from(field(5, client.user))));
    assert.ok(call.subarray(-10).equals(Buffer.from(field(10, 'question'))));
    await client.leave();
  });

  test('is there for clients of JSON-RPC', async () => {
    await serve('tidegate.main.in.1401', () => json({ message: 'taken' }));
    const client = await Client.connect(gateways[0], 'jason', { protocols: ['tidegate.v1.json'] });
    const answer = await client.call('custom', { type: 1401, payload: base64('x') });
    assert.deepEqual(answer.result, { message: 'taken' });
    const nobody = await client.call('custom', { type: 1409, payload: '' });
    assert.equal(nobody.error.data?.code ?? nobody.error.code, 4004);
    await client.leave();
  });
});

describe('errors', () => {
  test('nobody serves the type: 4004; no answer in time: 4008; no answer to be read: 4009', async () => {
    await serve('tidegate.main.in.1402', () => undefined);
    await serve('tidegate.main.in.1403', () => 'what?');
    const client = await open(gateways[0]);
    for (const [type, code] of [[1408, 4004], [1402, 4008], [1403, 4009]]) {
      assert.equal((await ask(client, type, 'x')).code, code);
      const error = await client.error(code);
      assert.equal(error.payload.fatal, false);
    }
    for (const what of ['timeouts', 'nobody', 'refused']) {
      await until(async () => (await metrics(gateways[0])).sum(`tidegate_service_${what}_total`) >= 1, what, long);
    }
    await client.leave();
  });

  test('without a bus: 4006, and everything else goes on', async () => {
    const spare = await startNats();
    const lone = await startGateway(spare, 'lone', { bus: { services } });
    await spare.stop();
    const client = await open(lone);
    await until(async () => (await metrics(lone)).sum('tidegate_bus_connected') === 0, 'the loss', long);
    assert.equal((await ask(client, 1400, 'x')).code, 4006);
    assert.equal((await client.subscribe('room.x')).code, 0);
    await client.leave();
    await lone.stop();
  });
});

describe('pushes', () => {
  test('reach users, players and everyone at all gateways', async () => {
    const [a, b] = [await open(gateways[0]), await open(gateways[1])];
    for (const client of [a, b]) await client.next(Type.WORLD_STATE);
    const push = (what, message) => bus.publish(`tidegate.main.out.${what}`, json(message));
    push('user', { to: a.user, type: 2001, payload: base64('to a') });
    push('player', { to: b.user, type: 2002, payload: base64('to b') });
    push('everyone', { type: 2003, payload: base64('to all') });
    assert.deepEqual(await got(a, 2001), ['to a']);
    assert.deepEqual(await got(b, 2002), ['to b']);
    for (const client of [a, b]) {
      assert.deepEqual(await got(client, 2003), ['to all']);
      await client.leave();
    }
  });

  test('with acknowledgement come once and in order', async () => {
    const client = await open(gateways[1]);
    await client.next(Type.WORLD_STATE);
    for (let i = 0; i < 20; i += 1) {
      bus.publish('tidegate.main.out.player',
        json({ to: client.user, type: 2004, payload: base64(`n${i}`), requires_ack: true }));
    }
    assert.deepEqual(await got(client, 2004, 20), Array.from({ length: 20 }, (_, i) => `n${i}`));
    assert.ok(client.all(2004).every((m) => m.requires_ack));
    await client.leave();
    assert.deepEqual(client.breaches, []);
  });

  test('into a topic are published once', async () => {
    const clients = [await open(gateways[0]), await open(gateways[1])];
    for (const client of clients) await client.subscribe('room.news');
    for (let i = 0; i < 10; i += 1) {
      bus.publish('tidegate.main.out.topic', json({ to: 'room.news', type: 5, payload: base64(`n${i}`) }));
    }
    bus.publish('tidegate.main.out.topic', json({ to: 'room.news', type: 6, payload: base64('end') }));
    for (const client of clients) {
      await until(() => client.spoken('room.news').length >= 11, 'all news', long);
      assert.equal(client.events('room.news').length, 11);
      assert.deepEqual([...client.spoken('room.news')].sort(), [...Array.from({ length: 10 }, (_, i) => `n${i}`), 'end'].sort());
      await client.leave();
    }
  });
});
