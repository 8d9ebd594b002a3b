// SPDX-License-Identifier: Apache-2.0
// What a subscriber that does not read is given, from the protocol document: EVENTs of low priority do not
// pile up for it, they come out of the history when it reads again, in order and without a hole; the
// connection lives.
import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { Client } from './lib/client.mjs';
import { Type } from './lib/proto.mjs';
import { metrics, startServer } from './lib/server.mjs';
import { patience, until } from './lib/wait.mjs';

let server;
before(async () => {
  server = await startServer({
    topics: { payload_bytes: '16KiB', history_messages: 10_000, history_bytes: '128MiB', history_memory: '256MiB' },
    // Less than is published at once: what is written in one turn counts before anything waits.
    limits: { backlog_bytes: '128KiB', messages_per_second: 100_000, messages_burst: 100_000 },
    budget: { stall_timeout: '120s' },
  });
});
after(() => server.stop());

describe('a subscriber that does not read', () => {
  for (const priority of [1, 0]) {
    test(`gets EVENTs of priority ${priority || 'none'} later, out of the history`, async () => {
      const slow = await Client.connect(server, `slow-${priority}`, { hello: false });
      const publisher = await Client.connect(server, `quick-${priority}`, { hello: false });
      for (const client of [slow, publisher]) await client.next(Type.AUTHENTICATION_RESULT);
      const topic = `room.slow-${priority}`;
      slow.send(Type.SUBSCRIBE, { topic });
      await slow.next(Type.REPLY);
      slow.socket.pause();
      const putOff = async () => (await metrics(server)).sum('tidegate_events_put_off_total');
      const before = await putOff();
      // The kernel takes some megabytes before anything waits in the server.
      let published = 0;
      const publish = async () => {
        const from = publisher.messages.length;
        for (let i = 0; i < 50; i += 1) {
          published += 1;
          const data = Buffer.alloc(12_000);
          data.writeUInt32LE(published);
          publisher.send(Type.PUBLISH, { topic, data }, { priority });
        }
        await until(() => publisher.messages.length - from >= 50, 'the replies', patience * 3);
      };
      while (await putOff() === before && published < 8000) await publish();
      assert.ok(await putOff() > before, `after ${published} messages`);
      await publish();
      slow.socket.resume();
      const events = () => slow.all(Type.EVENT).map((m) => m.payload);
      await until(() => events().length >= published || slow.closed, 'all events', patience * 6);
      assert.equal(slow.closed, null);
      assert.deepEqual(events().map((e) => Number(e.offset)), Array.from({ length: published }, (_, i) => i + 1));
      assert.ok(events().every((e) => Buffer.from(e.data).readUInt32LE() === Number(e.offset)));
      assert.ok(publisher.messages.filter((m) => m.type === Type.REPLY).every((m) => m.payload.code === 0));
      for (const client of [slow, publisher]) await client.leave();
    });
  }
});
