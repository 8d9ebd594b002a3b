// SPDX-License-Identifier: Apache-2.0
// The room of bench/room with @colyseus/schema: walkers in a square, each client has a StateView with
// those that are near its own place, and every tick each is sent what changed for it, over npm ws.
// Places are int16 on a grid of 2 cm and the heading is a byte, the smallest the library offers for
// them.
//   node colyseus-room.mjs --listen ADDR:PORT [--entities 300] [--area 100] [--view 25] [--hz 20]
//   node colyseus-room.mjs --check    decodes what 20 clients are sent in 200 ticks and compares
import { Decoder, Encoder, StateView, schema, t } from '@colyseus/schema';
import { WebSocketServer } from 'ws';
import { every, parse } from './arguments.mjs';

const words = process.argv.slice(2);
const number = (name, otherwise) => (words.includes(name) ? Number(words[words.indexOf(name) + 1]) : otherwise);
const entities = number('--entities', 300);
const half = Math.round(number('--area', 100) * 25);
const view = Math.round(number('--view', 25) * 50);

Encoder.BUFFER_SIZE = 1 << 20;
const Walker = schema({ x: t.int16(), z: t.int16(), yaw: t.uint8() }, 'Walker');
const Room = schema({ walkers: t.map(Walker).view() }, 'Room');

// xorshift32: the same walk each time.
let seed = 17;
const below = (n) => {
  seed ^= seed << 13;
  seed ^= seed >>> 17;
  seed ^= seed << 5;
  return (seed >>> 0) % n;
};
const X = [10, 9, 7, 4, 0, -4, -7, -9, -10, -9, -7, -4, 0, 4, 7, 9];
const turn = (step) => {
  const heading = below(16);
  const speed = 2 + below(6);
  step.dx = Math.trunc((X[heading] * speed) / 10);
  step.dz = Math.trunc((X[(heading + 12) % 16] * speed) / 10);
};

const room = new Room();
const encoder = new Encoder(room);
const steps = [];
const walkers = [];
for (let i = 0; i < entities; i += 1) {
  const step = { dx: 0, dz: 0 };
  turn(step);
  steps.push(step);
  const walker = new Walker();
  walker.x = below(half * 2) - half;
  walker.z = below(half * 2) - half;
  walker.yaw = 0;
  room.walkers.set(`npc${i}`, walker);
  walkers.push(walker);
}

function walk() {
  for (let i = 0; i < entities; i += 1) {
    const step = steps[i];
    const w = walkers[i];
    if (below(50) === 0) turn(step);
    if (Math.abs(w.x + step.dx) > half) step.dx = -step.dx;
    if (Math.abs(w.z + step.dz) > half) step.dz = -step.dz;
    w.x += step.dx;
    w.z += step.dz;
    w.yaw = ((step.dx < 0 ? 1 : 0) + (step.dz < 0 ? 2 : 0)) * 64;
  }
}

const clients = new Set();
function join(send) {
  let x;
  let z;
  do {
    x = below(half * 2) - half;
    z = below(half * 2) - half;
  } while (x * x + z * z > half * half);
  const client = { x, z, send, view: new StateView(), sees: new Uint8Array(entities), count: 0 };
  look(client);
  const it = { offset: 0 };
  encoder.encodeAll(it);
  client.send(encoder.encodeAllView(client.view, it.offset, it));
  clients.add(client);
  return client;
}
function look(client) {
  const squared = view * view;
  for (let i = 0; i < entities; i += 1) {
    const dx = walkers[i].x - client.x;
    const dz = walkers[i].z - client.z;
    const near = dx * dx + dz * dz <= squared ? 1 : 0;
    if (near === client.sees[i]) continue;
    client.sees[i] = near;
    client.count += near ? 1 : -1;
    if (near) client.view.add(walkers[i]);
    else client.view.remove(walkers[i]);
  }
}
function tick() {
  walk();
  for (const client of clients) look(client);
  const it = { offset: 0 };
  encoder.encode(it);
  const shared = it.offset;
  for (const client of clients) {
    // Its buffer is used again for the next one.
    const bytes = encoder.encodeView(client.view, shared, it);
    if (bytes.length !== 0) client.send(bytes.slice());
  }
  encoder.discardChanges();
}

if (words.includes('--check')) {
  const pictures = [];
  for (let i = 0; i < 20; i += 1) {
    const state = new Room();
    const decoder = new Decoder(state);
    pictures.push([join((bytes) => decoder.decode(bytes)), state]);
  }
  encoder.discardChanges();
  let seen = 0;
  for (let n = 0; n < 200; n += 1) {
    tick();
    for (const [client, state] of pictures) {
      for (let i = 0; i < entities; i += 1) {
        const shown = state.walkers?.get(`npc${i}`);
        if (!client.sees[i] !== !shown) throw new Error(`tick ${n}: npc${i} is ${shown ? '' : 'not '}shown`);
        if (shown && (shown.x !== walkers[i].x || shown.z !== walkers[i].z || shown.yaw !== walkers[i].yaw)) {
          throw new Error(`tick ${n}: npc${i} stands elsewhere`);
        }
        seen += shown ? 1 : 0;
      }
    }
  }
  if (seen === 0) throw new Error('nobody sees anything');
  console.log(`every picture is right, ${seen / 200 / 20} in view`);
} else {
  const { hostname, port } = parse(words);
  const server = new WebSocketServer({ host: hostname, port, backlog: 4096, perMessageDeflate: false });
  server.on('connection', (socket) => {
    const client = join((bytes) => socket.send(bytes, { binary: true }));
    socket.on('error', () => {}); // the generator leaves by reset
    socket.on('close', () => {
      clients.delete(client);
      client.view.dispose?.();
    });
  });
  every(number('--hz', 20), tick);
  // For bench/room: how many are in view of a client, on average.
  setInterval(() => {
    let count = 0;
    for (const client of clients) count += client.count;
    if (clients.size !== 0) console.log(`in view ${(count / clients.size).toFixed(1)}`);
  }, 1000);
}
