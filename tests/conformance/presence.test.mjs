// SPDX-License-Identifier: Apache-2.0
// Presence, from the protocol document: PRESENCE_SUBSCRIBE, FRIEND_STATUS, PRESENCE_UPDATE and
// PLAYER_STATUS_CHANGE on a server of two shards.
import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { Client } from './lib/client.mjs';
import { Type } from './lib/proto.mjs';
import { adminGet, metrics, startServer } from './lib/server.mjs';
import { sleep, until } from './lib/wait.mjs';
import { tokenFor } from './lib/tokens.mjs';

const Status = { ONLINE: 1, AWAY: 2, BUSY: 3, INVISIBLE: 4, OFFLINE: 5 };
let server;
before(async () => {
  server = await startServer({
    world: { zone: 'harbour' }, presence: { region: 'eu-1', watched: 20, history_interval: '1s', history_age: '5s' }, limits: { violations_per_minute: 1000 },
  });
});
after(() => server.stop());

let count = 0;
const name = (what = 'user') => `presence-${what}-${++count}`;
async function open(user = name(), token = undefined) {
  const client = await Client.connect(server, user, { token });
  await client.next(Type.AUTHENTICATION_RESULT);
  return client;
}
async function leave(...clients) {
  for (const client of clients) {
    await client.leave();
    assert.deepEqual(client.breaches, []);
  }
}
// PRESENCE_SUBSCRIBE and the FRIEND_STATUS that answers it, as a map by user.
async function watch(client, ...users) {
  const from = client.messages.length;
  client.send(Type.PRESENCE_SUBSCRIBE, { user_ids: users });
  const { payload } = await client.next(Type.FRIEND_STATUS, () => true, { from });
  return new Map(payload.friends.map((friend) => [friend.user_id, friend]));
}
const updates = (client, user) => client.all(Type.PRESENCE_UPDATE).map((m) => m.payload).filter((p) => p.user_id === user);
const shows = (client, user, accept) => until(() => {
  const last = updates(client, user).at(-1);
  return last && accept(last) && last;
}, `what is wanted of ${user}`);
const setStatus = (client, status) => client.send(Type.PLAYER_STATUS_CHANGE, { new_status: status });
const setText = (client, text, status = 0) => client.send(Type.PRESENCE_UPDATE, { custom_status: text, status });

describe('history', () => {
  test('the admin API has samples of the population', async () => {
    const user = await open();
    const shown = async () => JSON.parse((await adminGet(server, '/api/v1/presence/history')).text);
    const last = await until(async () => {
      const sample = (await shown()).samples.at(-1);
      return sample?.users > 0 && sample;
    }, 'a sample with a user');
    assert.ok(last.online >= 1);
    assert.ok(Math.abs(last.time - Date.now()) < 60_000);
    const { interval_ms: interval, samples } = await until(async () => {
      const all = await shown();
      return all.samples.length === 5 && all.samples[0].users > 0 && all;
    }, 'as many as are kept');
    assert.equal(interval, 1000);
    assert.ok(samples.every((s, i) => i === 0 || s.time > samples[i - 1].time));
    await leave(user);
  });
});

describe('watching', () => {
  test('FRIEND_STATUS says how everybody is, online or not', async () => {
    const watcher = await open();
    const [here, never] = [name('here'), name('never')];
    const friend = await open(here);
    const began = Date.now();
    const friends = await until(async () => {
      const found = await watch(watcher, here, never);
      return found.get(here)?.status === Status.ONLINE && found;
    }, 'the friend online');
    assert.equal(friends.size, 2);
    assert.equal(friends.get(here).zone_id, 'harbour');
    assert.equal(friends.get(here).region, 'eu-1');
    assert.ok(Math.abs(friends.get(here).last_seen - began) < 60_000);
    assert.deepEqual({ ...friends.get(never) },
      { user_id: never, status: Status.OFFLINE, custom_status: '', last_seen: 0, zone_id: '', region: '' });
    assert.equal((await watch(watcher)).size, 0);
    await leave(watcher, friend);
  });

  test('coming, changing and going is told, to watchers on both shards', async () => {
    const watchers = [];
    for (let i = 0; i < 6; i += 1) watchers.push(await open());
    const users = [name('a'), name('b'), name('c')];
    for (const watcher of watchers) await watch(watcher, ...users);
    for (const user of users) {
      const friend = await open(user);
      for (const w of watchers) await shows(w, user, (p) => p.status === Status.ONLINE && p.zone_id === 'harbour');
      setStatus(friend, Status.AWAY);
      for (const w of watchers) await shows(w, user, (p) => p.status === Status.AWAY);
      setText(friend, 'fishing', Status.BUSY);
      for (const w of watchers) await shows(w, user, (p) => p.status === Status.BUSY && p.custom_status === 'fishing');
      const before = Date.now();
      await leave(friend);
      for (const w of watchers) {
        const last = await shows(w, user, (p) => p.status === Status.OFFLINE);
        assert.ok(last.last_seen >= before - 5000);
        assert.equal(last.custom_status, '');
        assert.equal(last.zone_id, '');
      }
    }
    await leave(...watchers);
  });

  test('a list takes the place of the one before', async () => {
    const watcher = await open();
    const [a, b] = [name('a'), name('b')];
    await watch(watcher, a);
    await watch(watcher, b);
    const [clientA, clientB] = [await open(a), await open(b)];
    await shows(watcher, b, (p) => p.status === Status.ONLINE);
    await leave(clientA, clientB);
    await shows(watcher, b, (p) => p.status === Status.OFFLINE);
    assert.deepEqual(updates(watcher, a), []);
    await leave(watcher);
  });

  test('a burst of changes comes as its end, not as each of them', async () => {
    const watcher = await open();
    const user = name('busy');
    const friend = await open(user);
    await until(async () => (await watch(watcher, user)).get(user).status === Status.ONLINE, 'online');
    for (let i = 0; i < 200; i += 1) setText(friend, `text ${i}`);
    await shows(watcher, user, (p) => p.custom_status === 'text 199');
    assert.ok(updates(watcher, user).length < 50, `${updates(watcher, user).length} updates of 200 changes`);
    await leave(watcher, friend);
  });
});

describe('what is shown', () => {
  test('invisible is offline for others, and known to oneself', async () => {
    const watcher = await open();
    const user = name('shy');
    const friend = await open(user);
    await until(async () => (await watch(watcher, user)).get(user).status === Status.ONLINE, 'online');
    setText(friend, 'secret');
    await shows(watcher, user, (p) => p.custom_status === 'secret');
    setStatus(friend, Status.INVISIBLE);
    const hidden = await shows(watcher, user, (p) => p.status === Status.OFFLINE);
    assert.equal(hidden.custom_status, '');
    const { payload } = await friend.next(Type.PLAYER_STATUS_CHANGE, (p) => p.new_status === Status.INVISIBLE);
    assert.equal(payload.old_status, Status.ONLINE);
    assert.equal(payload.player_id, user);
    // What it does meanwhile, leaving and coming back too, shows nothing, not even as a time.
    setText(friend, 'more secret');
    await leave(friend);
    const again = await open(user);
    const friends = await watch(watcher, user);
    assert.equal(friends.get(user).status, Status.OFFLINE);
    assert.equal(friends.get(user).last_seen, hidden.last_seen);
    setStatus(again, Status.ONLINE);
    const back = await shows(watcher, user, (p) => p.status === Status.ONLINE);
    assert.equal(back.custom_status, 'more secret');
    assert.equal(updates(watcher, user).filter((p) => p.status !== Status.OFFLINE && p.custom_status === 'more secret').length, 1);
    await leave(watcher, again);
  });

  test('a user of two characters is there until both have gone', async () => {
    const watcher = await open();
    const user = name('two');
    await watch(watcher, user);
    const first = await open(`${user}-c1`, await tokenFor(user, { character_id: `${user}-c1` }));
    const second = await open(`${user}-c2`, await tokenFor(user, { character_id: `${user}-c2` }));
    await shows(watcher, user, (p) => p.status === Status.ONLINE);
    setStatus(second, Status.AWAY);
    await shows(watcher, user, (p) => p.status === Status.AWAY);
    await leave(first);
    setStatus(second, Status.BUSY);
    await shows(watcher, user, (p) => p.status === Status.BUSY);
    assert.ok(updates(watcher, user).every((p) => p.status !== Status.OFFLINE));
    await leave(second);
    await shows(watcher, user, (p) => p.status === Status.OFFLINE);
    await leave(watcher);
  });

  test('a connection that is lost and soon back is not seen as going', async () => {
    const calm = await startServer({ presence: { offline_delay: '60s' } });
    try {
      const connect = async (user) => {
        const client = await Client.connect(calm, user);
        await client.next(Type.AUTHENTICATION_RESULT);
        return client;
      };
      const watcher = await connect('calm-watcher');
      const friend = await connect('calm-friend');
      await until(async () => (await watch(watcher, 'calm-friend')).get('calm-friend').status === Status.ONLINE, 'online');
      friend.drop();
      await friend.ended;
      const again = await connect('calm-friend');
      setStatus(again, Status.BUSY);
      await shows(watcher, 'calm-friend', (p) => p.status === Status.BUSY);
      assert.ok(updates(watcher, 'calm-friend').every((p) => p.status !== Status.OFFLINE));
      await leave(watcher, again);
    } finally {
      await calm.stop();
    }
  });

  test('population by status is in the metrics and the admin API', async () => {
    const friend = await open(name('counted'));
    setStatus(friend, Status.INVISIBLE);
    await until(async () => (await metrics(server)).sum('tidegate_users_invisible') === 1, 'one invisible user');
    const { status, text } = await adminGet(server, '/api/v1/presence');
    assert.equal(status, 200);
    const page = JSON.parse(text);
    assert.ok(page.users >= 1);
    assert.equal(page.invisible, 1);
    assert.equal(page.zones[0].zone, 'harbour');
    await leave(friend);
    await until(async () => JSON.parse((await adminGet(server, '/api/v1/presence')).text).invisible === 0, 'nobody invisible');
  });
});

describe('limits', () => {
  test('updates to one connection stay below a kilobyte a second', async () => {
    const watcher = await open();
    const users = Array.from({ length: 20 }, () => name('crowd'));
    const friends = [];
    for (const user of users) friends.push(await open(user));
    await watch(watcher, ...users);
    const from = watcher.messages.length;
    const began = Date.now();
    for (let round = 0; Date.now() - began < 3000; round += 1) {
      for (const friend of friends) setText(friend, `${round} ${'x'.repeat(100)}`);
      await sleep(100);
    }
    const seconds = (Date.now() - began) / 1000;
    const bytes = watcher.messages.slice(from).filter((m) => m.type === Type.PRESENCE_UPDATE)
      .reduce((sum, m) => sum + m.raw.length, 0);
    assert.ok(bytes <= 1000 * (seconds + 1), `${bytes} bytes in ${seconds} s`);
    // In the end it knows the last of everybody, however long that takes.
    for (const friend of friends) setText(friend, 'the end');
    await until(() => users.every((user) => updates(watcher, user).at(-1)?.custom_status === 'the end'), 'the end of all', 60_000);
    await leave(watcher, ...friends);
  });
  test('4012: more users than may be watched; what was watched stays', async () => {
    const client = await open();
    const user = name('kept');
    await watch(client, user);
    client.send(Type.PRESENCE_SUBSCRIBE, { user_ids: Array.from({ length: 21 }, (_, i) => `u${i}`) });
    await client.error(4012);
    const friend = await open(user);
    await shows(client, user, (p) => p.status === Status.ONLINE);
    await leave(client, friend);
  });
  test('4003: a status that is none, an id that is empty or too long, bytes that are no message', async () => {
    const client = await open();
    const cases = [
      () => setStatus(client, 0), () => setStatus(client, 5), () => setStatus(client, 6),
      () => setText(client, 'x', 9),
      () => client.send(Type.PRESENCE_SUBSCRIBE, { user_ids: [''] }),
      () => client.send(Type.PRESENCE_SUBSCRIBE, { user_ids: ['x'.repeat(65)] }),
      () => client.send(Type.PRESENCE_SUBSCRIBE, Buffer.from([0x0a, 9])),
      () => client.send(Type.PLAYER_STATUS_CHANGE, Buffer.from([0x0a, 9])),
      () => client.send(Type.PRESENCE_UPDATE, Buffer.from([0x1a, 9])),
    ];
    for (const send of cases) {
      const from = client.messages.length;
      send();
      await client.error(4003, { from });
    }
    await leave(client);
  });
  test('4005: nobody speaks for another', async () => {
    const client = await open();
    client.send(Type.PLAYER_STATUS_CHANGE, { player_id: 'somebody', new_status: Status.AWAY });
    await client.error(4005);
    const from = client.messages.length;
    client.send(Type.PRESENCE_UPDATE, { user_id: 'somebody', custom_status: 'x' });
    await client.error(4005, { from });
    await leave(client);
  });
  test('4007: a custom status above 128 bytes', async () => {
    const client = await open();
    setText(client, 'x'.repeat(129));
    await client.error(4007);
    setText(client, 'x'.repeat(128));
    const watcher = await open();
    await until(async () => (await watch(watcher, client.user)).get(client.user).custom_status.length === 128, 'the text');
    await leave(client, watcher);
  });
});
