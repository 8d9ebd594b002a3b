// SPDX-License-Identifier: Apache-2.0
// Topics and presence through the browser SDK, against a real server.
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import WebSocket from 'ws';
import * as sdk from '../../../tools/sdk-js/dist/index.js';
import { startServer } from '../lib/server.mjs';
import { tokenFor } from '../lib/tokens.mjs';
import { until } from '../lib/wait.mjs';

let server;
before(async () => { server = await startServer({}); });
after(() => server.stop());

let count = 0;
async function enter(what) {
  count += 1;
  const user = `sdk-${what}-${count}`;
  const client = new sdk.TidegateClient({
    endpoints: [server.url],
    token: () => tokenFor(user),
    host: {
      now: () => performance.now(),
      wallClock: () => Date.now(),
      setTimer: (run, ms) => setTimeout(run, ms),
      clearTimer: (timer) => clearTimeout(timer),
      random: () => Math.random(),
      openSocket: (url, protocols) => {
        const socket = new WebSocket(url, protocols, { perMessageDeflate: false });
        socket.addEventListener('error', () => {});
        return socket;
      },
    },
  });
  Object.assign(client, { user, events: [], replies: new Map(), errors: [], friends: new Map() });
  client.on('topicEvent', (event) => client.events.push(event));
  client.on('reply', (reply) => client.replies.set(Number(reply.requestSequence), reply.code));
  client.on('serverError', (error) => client.errors.push(error.code));
  client.on('presence', (presence) => client.friends.set(presence.userId, presence));
  client.connect();
  await until(() => client.state === 'inWorld', `${user} in the world`);
  return client;
}
const answered = async (client, sequence) => {
  assert.notEqual(sequence, undefined);
  await until(() => client.replies.has(Number(sequence)), `the reply to ${sequence}`);
  return client.replies.get(Number(sequence));
};
const texts = (client) => client.events.map((event) => Buffer.from(event.data).toString());

test('subscribe, publish, replay and unsubscribe', async () => {
  const [writer, reader, late] = [await enter('writer'), await enter('reader'), await enter('late')];
  const topic = `room.sdk-${count}`;
  assert.equal(await answered(reader, reader.subscribe(topic)), 0);
  for (let i = 0; i < 20; i += 1) writer.publish(topic, new TextEncoder().encode(`m${i}`), 3);
  await until(() => reader.events.length === 20, 'twenty events');
  assert.deepEqual(texts(reader), Array.from({ length: 20 }, (_, i) => `m${i}`));
  assert.ok(reader.events.every((event, i) => Number(event.offset) === i + 1 && event.eventType === 3
    && event.sourceUser === writer.user && event.topic === topic));
  assert.equal(await answered(late, late.subscribe(topic, 18)), 0);
  await until(() => late.events.length === 3, 'the end of the history');
  assert.deepEqual(texts(late), ['m17', 'm18', 'm19']);
  assert.equal(await answered(reader, reader.unsubscribe(topic)), 0);
  assert.equal(await answered(writer, writer.publish(topic, new Uint8Array())), 0);
  await until(() => late.events.length === 4, 'one more');
  assert.equal(reader.events.length, 20);
  assert.equal(await answered(reader, reader.subscribe('secret')), 4005);
  assert.equal(await answered(reader, reader.unsubscribe(topic)), 4012);
  assert.deepEqual(reader.errors, [4005, 4012]);
  for (const client of [writer, reader, late]) client.disconnect();
});

test('presence of a friend who changes and goes', async () => {
  const [watcher, friend] = [await enter('watcher'), await enter('friend')];
  watcher.watchPresence([friend.user]);
  const shows = (accept) => until(() => {
    const seen = watcher.friends.get(friend.user);
    return seen && accept(seen);
  }, 'the friend as wanted');
  await shows((p) => p.status === 1);
  friend.setStatus(2);
  await shows((p) => p.status === 2);
  friend.setStatusText('at sea');
  await shows((p) => p.customStatus === 'at sea');
  friend.setStatus(4);
  await shows((p) => p.status === 5 && p.customStatus === '');
  friend.setStatus(1);
  await shows((p) => p.status === 1);
  friend.disconnect();
  await shows((p) => p.status === 5);
  watcher.disconnect();
});
