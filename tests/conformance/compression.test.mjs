// SPDX-License-Identifier: Apache-2.0
// The world over permessage-deflate: clients with and without it see the same in both encodings,
// shared chunks are compressed once, and the close codes of the document hold for compressed
// messages.
import assert from 'node:assert/strict';
import { after, describe, test } from 'node:test';
import { deflateRawSync, constants } from 'node:zlib';
import WebSocket from 'ws';
import { Client, distance } from './lib/client.mjs';
import { Type, frame } from './lib/proto.mjs';
import { open, wsFrame } from './lib/raw.mjs';
import { Float, metres, metrics, startServer } from './lib/server.mjs';
import { tokenFor } from './lib/tokens.mjs';
import { sleep, until } from './lib/wait.mjs';

const world = {
  tick_rate: 30, max_speed: new Float(100), view_distance: new Float(80), spawn: metres(0, 0, 0),
  bounds_min: metres(-400, -50, -400), bounds_max: metres(400, 50, 400), linger: '1s',
};
const kinds = {
  'one history for all': { listen: { deflate: true }, deflate: { min_bytes: 16 } },
  'a history for each': { listen: { deflate: true }, deflate: { min_bytes: 16, server_context_takeover: true, client_context_takeover: true } },
  'a window of 2^9': { listen: { deflate: true }, deflate: { min_bytes: 16, window_bits: 9, client_window_bits: 9, memory_level: 1 } },
};
const servers = {};
for (const [name, changes] of Object.entries(kinds)) servers[name] = await startServer({ shards: { count: 2 }, world, ...changes });
after(() => Promise.all(Object.values(servers).map((server) => server.stop())));

let serial = 0;
const everything = { threshold: 0 };

for (const [name, server] of Object.entries(servers)) {
  describe(name, () => {
    test('a crowd of clients, half of them compressing, agrees on where everybody is', async () => {
      const before = await metrics(server);
      const clients = [];
      for (let i = 0; i < 12; i += 1) {
        serial += 1;
        clients.push(await Client.enter(server, `walker-${serial}`, {
          hello: { state_encoding: i & 1 }, deflate: i % 4 < 2 ? everything : false,
        }));
      }
      for (const client of clients) for (const other of clients) await client.seen(other.user);
      for (let step = 1; step <= 15; step += 1) {
        clients.forEach((client, i) => {
          const angle = (i * 2 * Math.PI) / clients.length + step / 10;
          client.to = { x: step * Math.cos(angle), y: 0, z: step * Math.sin(angle) };
          client.move(client.to.x, 0, client.to.z);
        });
        await sleep(60);
      }
      for (const client of clients) {
        for (const other of clients) await client.seen(other.user, (e) => distance(e.position, other.to) < 0.05);
      }
      for (const client of clients) {
        assert.deepEqual(client.breaches, [], `${client.user} saw what the document forbids`);
        assert.equal(/permessage-deflate/.test(client.socket.extensions), client.deflate !== false);
      }
      const now = await metrics(server);
      const grown = (counter) => now.sum(counter) - before.sum(counter);
      assert.equal(grown('tidegate_deflate_connections_total'), 6);
      assert.ok(grown('tidegate_deflate_saved_bytes_total') > 1000);
      const shared = grown('tidegate_deflate_shared_total');
      if (name === 'a history for each') assert.equal(shared, 0);
      else assert.ok(shared > 20, `${shared} shared parts`);
      await Promise.all(clients.map((client) => client.leave()));
    });
  });
}

describe('close codes', () => {
  const server = servers['one history for all'];
  const compressed = (opcode, payload) => wsFrame(opcode, payload, { rsv: 4 });
  const deflated = (payload) => deflateRawSync(payload, { finishFlush: constants.Z_SYNC_FLUSH }).subarray(0, -4);
  async function closeAfter(bytes, offered = 'permessage-deflate') {
    serial += 1;
    const socket = await open(server.port, `/ws?token=${await tokenFor(`closer-${serial}`)}`, { 'Sec-WebSocket-Extensions': offered });
    socket.write(bytes);
    const code = await socket.closeCode();
    socket.destroy();
    return code;
  }
  const rows = [
    ['a bomb', compressed(2, deflated(Buffer.alloc(64 << 20))), 1009],
    ['data that is not DEFLATE', compressed(2, Buffer.from('ffff', 'hex')), 1007],
    ['compressed text', compressed(1, deflated(Buffer.from('hello'))), 1003],
    ['compressed text that is not UTF-8', compressed(1, deflated(Buffer.from('ff', 'hex'))), 1007],
    ['a compressed frame that is no message of ours', compressed(2, deflated(Buffer.from('ffffffffff', 'hex'))), 1002],
    ['DISCONNECT, compressed', compressed(2, deflated(frame(Type.DISCONNECT, {}))), 1000],
  ];
  for (const [what, bytes, code] of rows) test(`${code} for ${what}`, async () => assert.equal(await closeAfter(bytes), code));
  test('1002 for RSV1 when the offer was declined', async () => {
    assert.equal(await closeAfter(compressed(2, deflated(Buffer.alloc(9))), 'permessage-deflate; what'), 1002);
  });
});

test('without listen.deflate the extension is declined', async () => {
  const server = await startServer();
  const client = await Client.enter(server, 'plain', { deflate: everything });
  assert.equal(client.socket.extensions, '');
  await client.leave();
  await server.stop();
});

test('one that vanishes while it sends bombs leaves nothing behind', async () => {
  const server = servers['a history for each'];
  const socket = new WebSocket(`${server.url}?token=${await tokenFor('vanishes')}`, [], { perMessageDeflate: everything });
  await new Promise((done, fail) => { socket.once('open', done); socket.once('error', fail); });
  for (let i = 0; i < 50; i += 1) socket.send(Buffer.alloc(60_000));
  await sleep(30);
  socket.terminate();
  await until(async () => (await metrics(server)).sum('tidegate_connections_open') === 0, 'the end of its connection');
});
