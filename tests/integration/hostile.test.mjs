// SPDX-License-Identifier: Apache-2.0
// Clients that mean no good, several of each kind at once, beside honest players: each ends with its
// reason and its count, the players notice nothing, and what they held is given back.
import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { Client } from '../conformance/lib/client.mjs';
import { Type, frame } from '../conformance/lib/proto.mjs';
import { RawSocket, head, wsFrame } from '../conformance/lib/raw.mjs';
import { metrics, startServer, temporaryFolder } from '../conformance/lib/server.mjs';
import { tokenFor } from '../conformance/lib/tokens.mjs';
import { until } from '../conformance/lib/wait.mjs';

const each = 6;
const folder = temporaryFolder();
let server;
let honest;
let quiet;  // memory before

// A logged-in connection on a bare socket.
async function loggedIn(user) {
  const socket = new RawSocket(server.port);
  socket.write(head({ headers: { Authorization: `Bearer ${await tokenFor(user)}` } }));
  const answer = await socket.response();
  assert.equal(answer?.status, 101);
  return socket;
}
const many = (make) => Promise.all(Array.from({ length: each }, (_, i) => make(i)));
const closed = async (reason) => (await metrics(server)).sum('tidegate_connections_closed_total', `"${reason}"`);
// All of them ended, counted under this reason.
const endedAs = (reason, count = each) => until(async () => await closed(reason) === count, `${count} closed as ${reason}`, 60_000);

before(async () => {
  server = await startServer({
    limits: { handshake_timeout: '1s', message_timeout: '1s', stall_timeout: '1s', extra_frames_per_second: 500,
      messages_per_second: 50, messages_burst: 50, violations_per_minute: 20, connections_per_user: 2 },
    heartbeat: { interval: '500ms', timeout: '3s' },
  }, { folder });
  honest = await many((i) => Client.enter(server, `honest-${i}`));
  quiet = (await metrics(server)).sum('tidegate_memory_reserved_bytes');
});
after(() => server.stop());

describe('hostile clients', { concurrency: false }, () => {
  test('heads that come byte by byte or not at all: 408', async () => {
    const sockets = await many((i) => {
      const socket = new RawSocket(server.port);
      if (i % 2 === 0) {
        const text = head({});
        let at = 0;
        socket.timer = setInterval(() => { socket.write(text[at]); at += 1; if (at > 60) clearInterval(socket.timer); }, 100);
      }
      return socket;
    });
    for (const socket of sockets) {
      assert.equal((await socket.response(60_000))?.status, 408);
      clearInterval(socket.timer);
      socket.destroy();
    }
    await endedAs('handshake_timeout');
  });
  test('messages that are begun and not ended: 1008', async () => {
    const sockets = await many((i) => loggedIn(`half-${i}`));
    for (const socket of sockets) {
      socket.write(wsFrame(2, Buffer.alloc(10), { size: 60_000 }));
    }
    for (const socket of sockets) {
      assert.equal(await socket.closeCode(60_000), 1008);
      clearInterval(socket.timer);
      socket.destroy();
    }
    await endedAs('message_timeout');
  });
  test('floods of pings and of tiny fragments: 1008', async () => {
    const sockets = await many((i) => loggedIn(`flood-${i}`));
    const ping = Buffer.concat(Array.from({ length: 3000 }, () => wsFrame(9, Buffer.from('x'))));
    const fragments = Buffer.concat([wsFrame(2, Buffer.from('a'), { fin: false }),
      ...Array.from({ length: 3000 }, () => wsFrame(0, Buffer.from('b'), { fin: false }))]);
    sockets.forEach((socket, i) => socket.write(i % 2 ? ping : fragments));
    for (const socket of sockets) {
      assert.equal(await socket.closeCode(60_000), 1008);
      socket.destroy();
    }
    await endedAs('flood');
  });
  test('floods of messages: ERROR 4006, then 1008', async () => {
    const clients = await many((i) => Client.connect(server, `chatty-${i}`));
    for (const client of clients) {
      for (let i = 0; i < 500; i += 1) client.send(Type.HEARTBEAT, Buffer.from('x'));
    }
    for (const client of clients) {
      assert.equal(await client.closeCode(60_000), 1008);
      assert.ok(client.all(Type.ERROR).some((m) => m.payload.code === 4006));
    }
  });
  test('readers with a window of zero that ask for more and more', async () => {
    const before = await closed('slow_consumer');
    const sockets = await many((i) => loggedIn(`deaf-${i}`));
    const asks = Buffer.concat(Array.from({ length: 40 }, () => wsFrame(2, frame(Type.HEARTBEAT, Buffer.alloc(125)))));
    for (const socket of sockets) {
      socket.socket.pause();
      socket.timer = setInterval(() => socket.write(asks), 100);
      socket.write(wsFrame(9, Buffer.alloc(125)));
    }
    // Little comes for who takes nothing: their own rate limit, or the stall, ends them.
    await until(async () => {
      const now = await metrics(server);
      return now.sum('tidegate_connections_open') <= each;
    }, 'the end of the deaf', 60_000);
    for (const socket of sockets) {
      clearInterval(socket.timer);
      socket.destroy();
    }
    assert.ok(await closed('slow_consumer') >= before);
  });
  test('half-open peers: silent for the time of the heartbeat', async () => {
    const before = await closed('heartbeat_timeout');
    const sockets = await many((i) => loggedIn(`silent-${i}`));
    await endedAs('heartbeat_timeout', before + each);
    for (const socket of sockets) socket.destroy();
  });
  test('one user with many connections: 429', async () => {
    const sockets = [];
    const codes = [];
    for (let i = 0; i < 6; i += 1) {
      const socket = new RawSocket(server.port);
      const token = await tokenFor('shared', { character_id: `character-${i}` });
      socket.write(head({ headers: { Authorization: `Bearer ${token}` } }));
      codes.push((await socket.response()).status);
      sockets.push(socket);
    }
    assert.ok(codes.includes(429), `${codes}`);
    for (const socket of sockets) socket.destroy();
  });
  test('the players are still there, play, and nothing is kept of the others', async () => {
    for (const client of honest) {
      assert.equal(client.closed, null);
      const tick = client.move(client.me.position.x + 0.1, client.me.position.y, client.me.position.z);
      const answer = await client.next(Type.MOVE_ACK, (p) => p.client_tick >= tick);
      assert.equal(answer.payload.corrected, false);
      assert.deepEqual(client.breaches, []);
    }
    await until(async () => (await metrics(server)).sum('tidegate_connections_open') === each, 'only players', 60_000);
    assert.equal((await metrics(server)).sum('tidegate_memory_reserved_bytes'), quiet);
    for (const client of honest) await client.leave();
    await until(async () => (await metrics(server)).sum('tidegate_connections_open') === 0, 'nobody', 60_000);
  });
});
