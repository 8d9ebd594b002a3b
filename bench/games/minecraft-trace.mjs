// SPDX-License-Identifier: Apache-2.0
// A trace of a real game's movement for `cell-bytes --scene minecraft-200 --trace FILE`: bots of
// mineflayer on a flying-squid server of this process, on loopback. Each bot walks, sprints, stops,
// jumps and turns as a player's keys would have it; the game's own physics moves it, 20 ticks a second.
// A frame is a tick of every bot's own game, so a slow machine writes the same movement as a fast one.
//   node minecraft-trace.mjs FILE [--bots 200] [--seconds 30]
// The file (bench/world/scenes.h reads it): "TGMV", bots u16, frames u16, then for each bot x, z, y in
// 1/256 m (i32) in the first frame; for each further frame a bit for each bot that moved, bytes filled
// up with zeros, and for each of those x, z, y as differences (i8). Little-endian.
import { writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { createRequire } from 'node:module';

const require = createRequire(import.meta.url);
const squid = require('flying-squid');
const mineflayer = require('mineflayer');

const words = process.argv.slice(2);
const number = (name, otherwise) => (words.includes(name) ? Number(words[words.indexOf(name) + 1]) : otherwise);
const out = words[0];
const count = number('--bots', 200);
const frames = number('--seconds', 30) * 20;
const version = '1.16.5';
if (!out || out.startsWith('--')) {
  console.error('node minecraft-trace.mjs FILE [--bots N] [--seconds N]');
  process.exit(2);
}

const freePort = () => new Promise((done) => {
  const probe = createServer().listen(0, '127.0.0.1', () => {
    const { port } = probe.address();
    probe.close(() => done(port));
  });
});
// The same keys each time, as far as the order of the bots' ticks lets them be.
let seed = 29;
const random = () => {
  seed ^= seed << 13;
  seed ^= seed >>> 17;
  seed ^= seed << 5;
  return (seed >>> 0) / 2 ** 32;
};

const port = await freePort();
const server = squid.createMCServer({
  motd: 'trace', port, host: '127.0.0.1', 'max-players': count + 5, 'online-mode': false, logging: false, gameMode: 0,
  difficulty: 0, generation: { name: 'superflat', options: {} }, kickTimeout: 600000, plugins: {}, modpe: false,
  'view-distance': 4, 'player-list-text': { header: { text: '' }, footer: { text: '' } }, 'everybody-op': true,
  'max-entities': count + 20, version,
});
server.on('error', (error) => { console.error(`server: ${error.message}`); process.exit(1); });
// Nobody is told of the others: they do not push each other in this game, and a crowd of n costs it n times n packets.
server.on('newPlayer', (player) => { player.viewDistance = -1; });
await new Promise((done) => setTimeout(done, 1500));

const places = Array.from({ length: count }, () => []);
let home;
// Keys for the next ticks; back to the middle when it has gone far.
const press = (bot) => {
  const keys = { forward: random() < 0.85, sprint: random() < 0.3, jump: random() < 0.1, left: random() < 0.1, right: random() < 0.1 };
  for (const [key, down] of Object.entries(keys)) bot.setControlState(key, down);
  const { x, z } = bot.entity.position;
  const far = Math.hypot(x - home.x, z - home.z) > 25;
  bot.look(far ? Math.atan2(x - home.x, z - home.z) : random() * 2 * Math.PI, 0, true);
  return Math.round(6 + random() * 40);
};
// One bot from its login until it has walked through all frames.
async function enter(i) {
  const bot = mineflayer.createBot({ host: '127.0.0.1', port, username: `bot${i}`, version, auth: 'offline', viewDistance: 'tiny', checkTimeoutInterval: 600000 });
  bot.on('error', (error) => console.error(`bot${i}: ${error.message}`));
  bot.on('kicked', (why) => { console.error(`bot${i} was kicked: ${why}`); process.exit(1); });
  await new Promise((done) => bot.once('spawn', done));
  await bot.waitForChunksToLoad();
  home ??= bot.entity.position.clone();
  bot.physicsEnabled = false;  // until its group is in: logging in costs the more the more of them walk
  let until = 0;
  let ticks = 0;
  const settle = 100 + Math.floor(random() * 200);
  const walked = new Promise((done) => {
    bot.on('physicsTick', () => {
      ticks += 1;
      if (ticks >= until) until = ticks + press(bot);
      if (ticks <= settle || places[i].length === frames) return;
      const { x, y, z } = bot.entity.position;
      places[i].push([x - home.x, z - home.z, y - home.y].map((v) => Math.round(v * 256)));
      if (places[i].length === frames) done();
    });
  });
  return { bot, walked };
}
// They do not meet, so they need not walk at the same time.
for (let first = 0; first < count; first += 20) {
  const group = [];
  for (let i = first; i < Math.min(first + 20, count); i += 1) group.push(await enter(i));
  for (const { bot } of group) bot.physicsEnabled = true;
  await Promise.all(group.map(({ walked }) => walked));
  for (const { bot } of group) bot.quit();
  console.log(`${first + group.length} of ${count} have walked`);
}
const bytes = Buffer.alloc(8 + count * 12 + frames * (Math.ceil(count / 8) + count * 3));
bytes.write('TGMV');
bytes.writeUInt16LE(count, 4);
bytes.writeUInt16LE(frames, 6);
let at = 8;
const last = places.map((p) => [...p[0]]);
for (const p of last) for (const v of p) at = bytes.writeInt32LE(v, at);
let moved = 0;
for (let f = 1; f < frames; f += 1) {
  const bits = at;
  at += Math.ceil(count / 8);
  for (let i = 0; i < count; i += 1) {
    // Half a metre in a tick is more than a fall of this height takes; what is beyond it comes later.
    const step = places[i][f].map((v, axis) => Math.max(-128, Math.min(127, v - last[i][axis])));
    if (step.every((v) => v === 0)) continue;
    moved += 1;
    bytes[bits + (i >> 3)] |= 1 << (i & 7);
    for (let axis = 0; axis < 3; axis += 1) {
      last[i][axis] += step[axis];
      at = bytes.writeInt8(step[axis], at);
    }
  }
}
writeFileSync(out, bytes.subarray(0, at));
console.log(`${count} bots, ${frames} frames, ${(100 * moved / count / (frames - 1)).toFixed(1)} % moved in a frame, ${at} bytes`);
process.exit(0);
