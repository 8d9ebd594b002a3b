// SPDX-License-Identifier: Apache-2.0
// The live page: a player among the bots, with the browser SDK. `live` in the console holds the parts.
import { NetworkSimulator, TidegateClient, browserHost } from './sdk/index.js';
import { Keyboard, Pointer, choices, networkPanel } from './controls.js';
import { Overlay } from './graphs.js';
import { WorldMap } from './map.js';
import { SyntheticWorld } from './synthetic.js';

const STEP = 1 / 60;  // seconds between two inputs
const FIGURES_MS = 100;
const dots = Number(new URL(location).searchParams.get('dots') ?? 0);

// The same player for the life of this tab, also when server or page begin anew.
function ownName() {
  let name = sessionStorage.getItem('tidegate-live-user');
  if (!name) {
    name = `live-${crypto.getRandomValues(new Uint32Array(1))[0].toString(36)}`;
    sessionStorage.setItem('tidegate-live-user', name);
  }
  return name;
}

const login = document.getElementById('login');
let info = { websocket: '', max_speed: 12, tokens: 'none' };
let away = false;  // the last request of this page got no answer at all
let typed = '';  // the admin token, or with tokens 'none' the player's own; never stored

const json = async (path) => {
  const headers = info.tokens === 'admin' && typed ? { Authorization: `Bearer ${typed}` } : {};
  away = true;
  const response = await fetch(path, { cache: 'no-store', headers });
  away = false;
  if (!response.ok) throw Object.assign(new Error(`${path}: HTTP ${response.status}`), { status: response.status });
  return response.json();
};

async function playerToken() {
  if (info.tokens === 'none') return typed;
  try {
    return (await json(`/live/token?user=${encodeURIComponent(user)}`)).token;
  } catch (error) {
    if (error.status === 401) ask('that was not the admin token');
    throw error;
  }
}

const host = browserHost();
const simulator = new NetworkSimulator(host);
const map = new WorldMap(document.getElementById('map'));
const overlay = new Overlay();
const user = ownName();
const live = { simulator, map, overlay, user, fps: 0, drawMs: 0, frames: 0, client: undefined };
window.live = live;
let encoding = 'packed';

function start() {
  live.client?.disconnect('begins anew');
  const client = new TidegateClient({
    endpoints: [`${info.websocket}/ws`],
    token: playerToken,
    encoding,
    viewDistance: 1000,  // the server cuts it to what it grants
    host: { ...host, openSocket: simulator.wrap(host.openSocket), openPolling: simulator.wrap(host.openPolling) },
  });
  live.client = client;
  client.on('state', ({ to }) => {
    document.body.dataset.state = to;
    document.getElementById('state').textContent = to;
    if (to !== 'inWorld') return;
    login.hidden = true;
    say('');
  });
  client.on('lost', ({ code, reason, retryMs }) => {
    const why = away ? 'the server does not answer' : `lost (${code}${reason ? `, ${reason}` : ''})`;
    say(`${why}${retryMs === undefined ? '' : `, again in ${(retryMs / 1000).toFixed(1)} s`}`);
  });
  client.on('serverError', ({ code, message }) => say(`error ${code}: ${message}`));
  client.connect();
}
const say = (text) => { document.getElementById('why').textContent = text; };

// Shows the form, and stops trying without what it asks for.
function ask(why) {
  live.client?.disconnect();
  document.getElementById('wanted').textContent = info.tokens === 'admin' ? 'admin token' : 'token of a player (tidegate token)';
  login.hidden = false;
  say(why);
}
login.addEventListener('submit', (event) => {
  event.preventDefault();
  typed = document.getElementById('token').value.trim();
  document.getElementById('token').value = '';
  document.activeElement?.blur();  // keys belong to the map
  start();
  serverFigures();
});

// ---- input, at a fixed step

const setLevel = (level) => {
  overlay.set(level);
  map.showTrail = level >= 4;
  markLevel(level);
};
const keyboard = new Keyboard((digit) => setLevel(digit));
const pointer = new Pointer(map.canvas, (by) => map.zoom(by));
let owed = 0;
let walking = false;
let yaw = 0;
function walk(seconds) {
  const { client } = live;
  owed = Math.min(0.25, owed + seconds);
  for (; owed >= STEP; owed -= STEP) {
    const { slow, cheat, ...keys } = keyboard.direction();
    const { x, z } = keys.x !== 0 || keys.z !== 0 ? keys : pointer.direction();
    const moves = x !== 0 || z !== 0;
    if (!moves && !walking) continue;
    if (moves) yaw = Math.atan2(x, z);
    const speed = info.max_speed * (cheat ? 5 : slow ? 0.3 : 0.75);
    // The last one says that it stands.
    walking = client.move({ velocity: { x: x * speed, y: 0, z: z * speed }, yaw, dt: STEP }) && moves;
  }
}

addEventListener('online', () => live.client?.retryNow());

// A hidden tab draws no pictures: the last input must be one that stands.
document.addEventListener('visibilitychange', () => {
  if (!document.hidden) return;
  keyboard.release();
  pointer.release();
  if (live.client) walk(STEP);
});

// ---- pictures

const synthetic = dots > 0 ? new SyntheticWorld(dots) : undefined;
const around = {
  get cellSize() { return live.client.world.cellSize; },
  get count() { return live.client.world.entities.size; },
  get position() { return live.client.prediction.position; },
  get ghost() { return live.client.self; },
  get yaw() { return yaw; },
  shown: (now) => live.client.prediction.shown(now),
  eachRemote: (now, each) => live.client.eachRemote(now, each),
};
let last = performance.now();
let figuresAt = 0;
let second = { since: last, frames: 0, drawMs: 0 };
function picture(now) {
  const seconds = Math.max(0, now - last) / 1000;
  last = now;
  if (live.client) walk(seconds);
  const began = performance.now();
  if (synthetic) map.draw(synthetic, now);
  else if (live.client) map.draw(around, now);
  second.drawMs += performance.now() - began;
  second.frames += 1;
  live.frames += 1;
  if (now - second.since >= 1000) {
    live.fps = second.frames * 1000 / (now - second.since);
    live.drawMs = second.drawMs / second.frames;
    second = { since: now, frames: 0, drawMs: 0 };
  }
  if (now - figuresAt >= FIGURES_MS) {
    figuresAt = now;
    figures(now);
  }
  requestAnimationFrame(picture);
}

// ---- figures

const list = document.getElementById('figures');
const entries = new Map();
function show(name, value) {
  let entry = entries.get(name);
  if (!entry) {
    entry = document.createElement('dd');
    entries.set(name, entry);
    list.append(Object.assign(document.createElement('dt'), { textContent: name }), entry);
  }
  entry.textContent = value;
}
function figures(now) {
  show('pictures', `${live.fps.toFixed(0)}/s, ${live.drawMs.toFixed(1)} ms`);
  if (synthetic) show('dots', String(synthetic.count));
  if (!live.client) return;
  const { client } = live;
  const s = client.stats();
  const at = client.prediction.position;
  const server = client.self;
  const behind = at && server ? Math.hypot(at.x - server.x, at.z - server.z) : 0;
  overlay.update(s, live.fps, behind, client.playout.lastLateMs);
  show('player', client.playerId || user);
  show('place', at ? `${at.x.toFixed(1)}, ${at.z.toFixed(1)}` : '–');
  show('in view', `${s.entities} in ${s.cells} cells`);
  const digits = s.rttMs < 10 ? 1 : 0;
  show('round trip', `${s.rttMs.toFixed(digits)} ± ${s.jitterMs.toFixed(digits)} ms`);
  show('shown behind', `${s.delayMs.toFixed(0)} ms`);
  show('in', `${(s.bytesInPerSecond / 1000).toFixed(1)} KB/s`);
  show('out', `${(s.bytesOutPerSecond / 1000).toFixed(1)} KB/s`);
  show('ahead of server', `${(behind * 100).toFixed(0)} cm`);
  show('corrections', `${s.corrections}, ${s.refusedMoves} refused`);
  show('checksums', `${s.world.checksums}, ${s.world.checksumMismatches} wrong`);
  show('reconnects', String(s.reconnects));
}
// Of the whole server, once a second while this port shows them.
let asking = false;
async function serverFigures() {
  if (asking) return;
  asking = true;
  let again = true;
  try {
    const { shards } = await json('/api/v1/shards');
    show('server: entities', String(shards.reduce((sum, s) => sum + s.entities, 0)));
    const ticks = shards.map((s) => s.tick_ms_p99);
    const ms = (v) => v.toFixed(v < 10 ? 2 : 0);
    show('server: tick p99', `${ticks.length > 4 ? `to ${ms(Math.max(...ticks))}` : ticks.map(ms).join(' · ')} ms`);
  } catch (error) {
    again = error.status !== 401;  // without a status the server is away
  } finally {
    asking = false;
    if (again) setTimeout(serverFigures, 1000);
  }
}

const markLevel = choices('levels', [0, 1, 2, 3, 4], setLevel, ['off', 'one line', 'graphs', 'traffic by message type', 'prediction, with trails']);
setLevel(1);
const markEncoding = choices('encodings', ['packed', 'protobuf'], (name) => {
  encoding = name;
  if (live.client) start();
});
markEncoding(encoding);
networkPanel(simulator);
requestAnimationFrame(picture);
if (!synthetic) {
  info = await json('/live/info');
  if (info.tokens === 'open') {
    start();
    serverFigures();
  } else ask('');
}
