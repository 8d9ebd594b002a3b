// SPDX-License-Identifier: Apache-2.0
// A trace of a real game's movement for `cell-bytes --scene minecraft-40 --trace OUT`: bots of
// mineflayer on a flying-squid server of this process, on loopback. Each bot walks, sprints, stops,
// jumps and turns as a player's keys would have it; the game's own physics moves it, and what is
// written is where the server has it, 20 times a second. Lines of "frame walker x z y", metres.
//   node minecraft-trace.mjs OUT [--bots 40] [--seconds 20]
import { createWriteStream } from 'node:fs';
import { createServer } from 'node:net';
import { createRequire } from 'node:module';

const require = createRequire(import.meta.url);
const squid = require('flying-squid');
const mineflayer = require('mineflayer');

const words = process.argv.slice(2);
const number = (name, otherwise) => (words.includes(name) ? Number(words[words.indexOf(name) + 1]) : otherwise);
const out = words[0];
const count = number('--bots', 40);
const seconds = number('--seconds', 20);
const version = '1.16.5';
if (!out || out.startsWith('--')) {
  console.error('node minecraft-trace.mjs OUT [--bots N] [--seconds N]');
  process.exit(2);
}

const freePort = () => new Promise((done) => {
  const probe = createServer().listen(0, '127.0.0.1', () => {
    const { port } = probe.address();
    probe.close(() => done(port));
  });
});
// The same walk each time, as far as the game's timing lets it.
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
  difficulty: 0, generation: { name: 'superflat', options: {} }, kickTimeout: 60000, plugins: {}, modpe: false,
  'view-distance': 2, 'player-list-text': { header: { text: '' }, footer: { text: '' } }, 'everybody-op': true,
  'max-entities': 200, version,
});
server.on('error', (error) => { console.error(`server: ${error.message}`); process.exit(1); });
await new Promise((done) => setTimeout(done, 1500));

const bots = [];
for (let i = 0; i < count; i += 1) {
  const bot = mineflayer.createBot({ host: '127.0.0.1', port, username: `bot${i}`, version, auth: 'offline', viewDistance: 'tiny' });
  bot.on('error', (error) => console.error(`bot${i}: ${error.message}`));
  bot.on('kicked', (why) => { console.error(`bot${i} was kicked: ${why}`); process.exit(1); });
  await new Promise((done) => bot.once('spawn', done));
  bots.push(bot);
}
const press = (bot) => {
  const keys = { forward: random() < 0.8, sprint: random() < 0.3, jump: random() < 0.1, left: random() < 0.1, right: random() < 0.1 };
  for (const [key, down] of Object.entries(keys)) bot.setControlState(key, down);
  // Back to the middle when it has gone far.
  const { x, z } = bot.entity.position;
  const home = bots[0].home;
  const far = Math.hypot(x - home.x, z - home.z) > 25;
  const yaw = far ? Math.atan2(x - home.x, z - home.z) : random() * 2 * Math.PI;
  bot.look(yaw, 0, true);
  setTimeout(press, 300 + random() * 2000, bot);
};
bots[0].home = bots[0].entity.position.clone();
bots.forEach((bot) => press(bot));
await new Promise((done) => setTimeout(done, 5000));

const middle = bots[0].home;
const file = createWriteStream(out);
const total = seconds * 20;
let frame = 0;
const begun = performance.now();
const tick = () => {
  for (let i = 0; i < count; i += 1) {
    const at = server.players.find((p) => p.username === `bot${i}`)?.position ?? bots[i].entity.position;
    file.write(`${frame} ${i} ${(at.x - middle.x).toFixed(3)} ${(at.z - middle.z).toFixed(3)} ${(at.y - middle.y).toFixed(3)}\n`);
  }
  frame += 1;
  if (frame < total) setTimeout(tick, Math.max(0, begun + frame * 50 - performance.now()));
  else file.end(() => { console.log(`${count} bots, ${total} frames`); process.exit(0); });
};
tick();
