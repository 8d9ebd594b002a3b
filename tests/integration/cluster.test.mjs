// SPDX-License-Identifier: Apache-2.0
// Three gateways on one NATS server: topics, presence and messages know no gateways; and what
// happens when a gateway or the bus breaks.
import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { Client } from '../conformance/lib/client.mjs';
import { cluster, startGateway, together, topicAt } from '../conformance/lib/cluster.mjs';
import { startNats } from '../conformance/lib/nats.mjs';
import { Type } from '../conformance/lib/proto.mjs';
import { adminGet, metrics } from '../conformance/lib/server.mjs';
import { TopicClient } from '../conformance/lib/topics.mjs';
import { patience, until } from '../conformance/lib/wait.mjs';

const long = patience * 6;
const Status = { ONLINE: 1, AWAY: 2, BUSY: 3, INVISIBLE: 4, OFFLINE: 5 };
const names = ['alpha', 'beta', 'gamma'];
const settings = { presence: { offline_delay: '100ms' }, topics: { history_messages: 1000 } };
let nats;
let gateways;
before(async () => {
  nats = await startNats();
  gateways = await Promise.all(names.map((name) => startGateway(nats, name, settings)));
  await together(gateways, long);
});
after(async () => {
  for (const gateway of gateways) await gateway.stop();
  await nats.stop();
});

let count = 0;
const user = (what) => `${what}-${++count}`;
const open = (gateway, who = user('user'), permissions = []) => TopicClient.open(gateway, who, permissions);
async function leave(...clients) {
  for (const client of clients) {
    await client.leave();
    assert.deepEqual(client.breaches, []);
  }
}
const spoken = (client, topic, n) => until(() => client.events(topic).length >= n, `${n} events of ${topic}`, long)
  .then(() => client.spoken(topic));
const offsets = (client, topic) => client.events(topic).map((e) => Number(e.offset));
// Offsets begin at 1, or above where a gateway that was lost for a moment could have been.
const inRow = (n, from) => upTo(from + n - 1, from);
const upTo = (n, from = 1) => Array.from({ length: n - from + 1 }, (_, i) => i + from);

describe('topics', () => {
  for (const home of names) {
    test(`one order at all gateways, home ${home}`, async () => {
      const topic = topicAt(home, names, `room.order-${home}-`);
      const clients = await Promise.all(gateways.map((g) => open(g)));
      for (const client of clients) assert.equal((await client.subscribe(topic)).code, 0);
      const said = [];
      await Promise.all(clients.map(async (client, c) => {
        for (let i = 0; i < 30; i += 1) {
          said.push(`${c}:${i}`);
          assert.equal((await client.publish(topic, `${c}:${i}`)).code, 0);
        }
      }));
      const first = await spoken(clients[0], topic, 90);
      assert.deepEqual([...first].sort(), said.sort());
      for (const client of clients) {
        assert.deepEqual(await spoken(client, topic, 90), first, 'the same order everywhere');
        assert.deepEqual(offsets(client, topic), inRow(90, offsets(client, topic)[0]));
        for (let c = 0; c < 3; c += 1) {
          assert.deepEqual(first.filter((s) => s.startsWith(`${c}:`)), upTo(29, 0).map((i) => `${c}:${i}`));
        }
      }
      await leave(...clients);
    });
  }

  test('history and replay_from come from the home, whoever asks', async () => {
    const topic = topicAt('alpha', names, 'room.history-');
    const writer = await open(gateways[1]);
    await writer.subscribe(topic);
    for (let i = 1; i <= 50; i += 1) assert.equal((await writer.publish(topic, `m${i}`)).code, 0);
    await spoken(writer, topic, 50);
    const [first] = offsets(writer, topic);
    assert.deepEqual(offsets(writer, topic), inRow(50, first));
    for (const gateway of gateways) {
      const reader = await open(gateway);
      assert.equal((await reader.subscribe(topic, first + 10)).code, 0);
      await spoken(reader, topic, 40);
      assert.deepEqual(offsets(reader, topic), inRow(40, first + 10));
      await leave(reader);
    }
    await leave(writer);
  });

  test('a large message goes through whole', async () => {
    const topic = topicAt('beta', names, 'room.large-');
    const [writer, reader] = [await open(gateways[0]), await open(gateways[2])];
    await reader.subscribe(topic);
    const text = 'x'.repeat(16 * 1024);
    assert.equal((await writer.publish(topic, text)).code, 0);
    assert.deepEqual(await spoken(reader, topic, 1), [text]);
    await leave(writer, reader);
  });
});

describe('presence', () => {
  const watch = async (client, ...users) => {
    const from = client.messages.length;
    client.send(Type.PRESENCE_SUBSCRIBE, { user_ids: users });
    await client.next(Type.FRIEND_STATUS, () => true, { from });
  };
  const shown = (client, who) => {
    const all = client.messages.flatMap((m) => m.type === Type.PRESENCE_UPDATE ? [m.payload]
      : m.type === Type.FRIEND_STATUS ? m.payload.friends : []).filter((p) => p.user_id === who);
    return all.at(-1);
  };
  const shows = (client, who, accept) => until(() => {
    const last = shown(client, who);
    return last && accept(last);
  }, `what is wanted of ${who}, not ${JSON.stringify(shown(client, who))}`, long);

  test('friends at another gateway come, change and go', async () => {
    const watchers = await Promise.all(gateways.map((g) => open(g)));
    const friend = user('friend');
    for (const w of watchers) await watch(w, friend);
    const client = await open(gateways[2], friend);
    for (const w of watchers) await shows(w, friend, (p) => p.status === Status.ONLINE);
    client.send(Type.PRESENCE_UPDATE, { custom_status: 'fishing', status: Status.BUSY });
    for (const w of watchers) await shows(w, friend, (p) => p.status === Status.BUSY && p.custom_status === 'fishing');
    // There already when the watcher comes.
    const late = await open(gateways[0]);
    await watch(late, friend);
    await shows(late, friend, (p) => p.status === Status.BUSY && p.custom_status === 'fishing');
    // A second connection of the user elsewhere: it goes only with the last.
    const second = await open(gateways[1], friend, []);
    await client.leave();
    client.drop();
    await second.leave();
    for (const w of [...watchers, late]) await shows(w, friend, (p) => p.status === Status.OFFLINE && p.last_seen > 0);
    await leave(...watchers, late);
  });

  test('who left invisible comes back invisible at another gateway', async () => {
    const friend = user('ghost');
    const watcher = await open(gateways[0]);
    await watch(watcher, friend);
    const before = await open(gateways[1], friend);
    await shows(watcher, friend, (p) => p.status === Status.ONLINE);
    before.send(Type.PLAYER_STATUS_CHANGE, { new_status: Status.INVISIBLE });
    await shows(watcher, friend, (p) => p.status === Status.OFFLINE);
    await leave(before);
    const from = watcher.messages.length;
    const back = await open(gateways[2], friend);
    const signal = await open(gateways[2], user('signal'));
    await watch(watcher, friend, signal.user);
    await shows(watcher, signal.user, (p) => p.status === Status.ONLINE);
    const told = watcher.messages.slice(from).flatMap((m) => m.type === Type.PRESENCE_UPDATE ? [m.payload]
      : m.type === Type.FRIEND_STATUS ? m.payload.friends : []).filter((p) => p.user_id === friend);
    assert.deepEqual(told.filter((p) => p.status !== Status.OFFLINE), []);
    await leave(back, signal, watcher);
  });

  test('population is summed over gateways', async () => {
    const clients = await Promise.all(gateways.map((g) => open(g)));
    for (const gateway of gateways) {
      await until(async () => (await metrics(gateway)).sum('tidegate_cluster_users') === 3, 'three users', long);
      const presence = JSON.parse((await adminGet(gateway, '/api/v1/presence')).text);
      assert.equal(presence.cluster.gateways, 3);
      assert.equal(presence.users, 1);
    }
    await leave(...clients);
    await until(async () => (await metrics(gateways[0])).sum('tidegate_cluster_users') === 0, 'nobody', long);
  });
});

test('a login at another gateway replaces the connection before', async () => {
  const who = user('roamer');
  const first = await Client.enter(gateways[0], who);
  const second = await Client.enter(gateways[1], who);
  assert.equal(await first.closeCode(long), 4015);
  await second.leave();
});

describe('faults', () => {
  test('a gateway is killed: its topics go on elsewhere, offsets rise', async () => {
    const delta = await startGateway(nats, 'delta', settings);
    await together([...gateways, delta], long);
    const four = [...names, 'delta'];
    const topic = topicAt('delta', four, 'room.killed-');
    const [writer, reader] = [await open(gateways[0]), await open(gateways[1])];
    await reader.subscribe(topic);
    for (let i = 1; i <= 20; i += 1) assert.equal((await writer.publish(topic, `m${i}`)).code, 0);
    await spoken(reader, topic, 20);
    await delta.stop('SIGKILL');
    await together(gateways, long);
    for (let i = 21; i <= 40; i += 1) assert.equal((await writer.publish(topic, `m${i}`)).code, 0);
    assert.deepEqual(await spoken(reader, topic, 40), upTo(40).map((i) => `m${i}`));
    // Nobody knows what the dead one gave last: offsets leap above that.
    const [first, leapt] = [offsets(reader, topic)[0], offsets(reader, topic)[20]];
    assert.ok(leapt > first + 0xffff, `${leapt}`);
    assert.deepEqual(offsets(reader, topic), [...inRow(20, first), ...inRow(20, leapt)]);
    const early = await open(gateways[0]);
    await early.subscribe(topic, first + 10);
    await spoken(early, topic, 30);
    assert.deepEqual(early.spoken(topic), upTo(40, 11).map((i) => `m${i}`), 'the history of before is there');
    await leave(early);
    // It comes back, and is the home again, with what was said meanwhile.
    const again = await startGateway(nats, 'delta', settings);
    await together([...gateways, again], long);
    for (let i = 41; i <= 50; i += 1) assert.equal((await writer.publish(topic, `m${i}`)).code, 0);
    assert.deepEqual(await spoken(reader, topic, 50), upTo(50).map((i) => `m${i}`));
    const late = await open(again);
    await late.subscribe(topic, leapt + 10);
    await spoken(late, topic, 20);
    assert.deepEqual(late.spoken(topic), upTo(50, 31).map((i) => `m${i}`), 'history was handed over');
    await leave(writer, reader, late);
    await again.stop();
    await together(gateways, long);
  });

  test('NATS is killed: each gateway goes on, says so, and is one of three again afterwards', async () => {
    const topic = topicAt('beta', names, 'room.broken-');
    const clients = await Promise.all(gateways.map((g) => open(g)));
    for (const client of clients) await client.subscribe(topic);
    await nats.stop();
    for (const gateway of gateways) {
      await until(async () => (await metrics(gateway)).sum('tidegate_bus_connected') === 0
        && (await metrics(gateway)).sum('tidegate_bus_members') === 1, 'alone', long);
      const ready = await adminGet(gateway, '/readyz');
      assert.equal(ready.status, 200);
      assert.match(ready.text, /bus/);
    }
    for (const [i, client] of clients.entries()) {
      await until(async () => (await client.publish(topic, `alone ${i}`)).code === 0, 'a publish', long);
      await until(() => client.spoken(topic).includes(`alone ${i}`), 'its own event', long);
    }
    nats = await startNats({ port: nats.port });
    await together(gateways, long);
    assert.equal((await clients[0].publish(topic, 'together')).code, 0);
    for (const client of clients) {
      await until(() => client.spoken(topic).includes('together'), 'all hear it', long);
      const all = offsets(client, topic);
      assert.deepEqual([...all].sort((a, b) => a - b), all, 'offsets never fall');
    }
    await leave(...clients);
  });

  test('a gateway that was stopped for a while finds its place again', async () => {
    const topic = topicAt('gamma', names, 'room.paused-');
    const [writer, reader] = [await open(gateways[0]), await open(gateways[1])];
    await reader.subscribe(topic);
    assert.equal((await writer.publish(topic, 'before')).code, 0);
    gateways[2].child.kill('SIGSTOP');
    await together(gateways.slice(0, 2), long);
    await until(async () => (await writer.publish(topic, 'meanwhile')).code === 0, 'a publish', long);
    gateways[2].child.kill('SIGCONT');
    await together(gateways, long);
    assert.equal((await writer.publish(topic, 'after')).code, 0);
    await until(() => reader.spoken(topic).includes('after'), 'the last one', long);
    assert.deepEqual(reader.spoken(topic).filter((s) => s !== 'meanwhile'), ['before', 'after']);
    const all = offsets(reader, topic);
    assert.deepEqual([...new Set(all)].sort((a, b) => a - b), all, 'each once, rising');
    await leave(writer, reader);
  });

  test('a gateway starts without NATS, and joins when it comes', async () => {
    const spare = await startNats();
    await spare.stop();
    const lone = await startGateway(spare, 'lone', settings);
    const client = await open(lone);
    assert.equal((await client.subscribe('room.lone')).code, 0);
    assert.equal((await client.publish('room.lone', 'hello')).code, 0);
    await client.eventsOf('room.lone', 1);
    assert.equal((await cluster(lone)).connected, false);
    const back = await startNats({ port: spare.port });
    await until(async () => (await cluster(lone)).connected, 'the connection', long);
    await leave(client);
    await lone.stop();
    await back.stop();
  });
});
