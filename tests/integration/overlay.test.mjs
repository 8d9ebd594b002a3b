// SPDX-License-Identifier: Apache-2.0
// The overlay as a game shows it: examples/overlay_imgui.cc with Dear ImGui and SDL2 on a screen of Xvfb,
// among bots, over a bad network. TIDEGATE_WRITE_PICTURES=1 makes docs/overlay.png anew.
import assert from 'node:assert/strict';
import { execFileSync, spawn } from 'node:child_process';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { deflateSync } from 'node:zlib';
import { Client } from '../conformance/lib/client.mjs';
import { Process, metres, programs, root, startServer, temporaryFolder } from '../conformance/lib/server.mjs';
import { tokenFor } from '../conformance/lib/tokens.mjs';
import { within } from '../conformance/lib/wait.mjs';

const folder = temporaryFolder();
const sanitized = programs.endsWith('asan');
let server;
let screen;
let display;
const neighbours = [];

before(async () => {
  server = await startServer({ world: { spawn_radius: metres(20)[0] } });
  for (let i = 0; i < 12; i += 1) neighbours.push(await Client.enter(server, `neighbour-${i}`));
  screen = spawn('Xvfb', ['-displayfd', '3', '-screen', '0', '1000x640x24', '-nolisten', 'tcp'],
    { stdio: ['ignore', 'ignore', 'ignore', 'pipe'] });
  display = await within(new Promise((resolve, reject) => {
    screen.once('error', reject);
    screen.stdio[3].once('data', (text) => resolve(String(text).trim()));
  }), 'a screen', 30_000);
});
after(async () => {
  screen?.kill();
  for (const neighbour of neighbours) await neighbour.leave();
  await server?.stop();
});

// A bitmap of 24 bits, as rows of red, green and blue from the top.
function pixelsOf(file) {
  const bytes = readFileSync(file);
  const [start, width, height] = [bytes.readUInt32LE(10), bytes.readInt32LE(18), bytes.readInt32LE(22)];
  assert.equal(bytes.readUInt16LE(28), 24);
  const stride = Math.ceil((width * 3) / 4) * 4;
  const pixels = Buffer.alloc(width * height * 3);
  for (let y = 0; y < height; y += 1) {
    for (let x = 0; x < width; x += 1) {
      const from = start + (height - 1 - y) * stride + x * 3;
      pixels.set([bytes[from + 2], bytes[from + 1], bytes[from]], (y * width + x) * 3);
    }
  }
  return { width, height, pixels };
}
function crc32(bytes) {
  let crc = -1;
  for (const byte of bytes) {
    crc ^= byte;
    for (let bit = 0; bit < 8; bit += 1) crc = (crc >>> 1) ^ (crc & 1 ? 0xedb88320 : 0);
  }
  return ~crc >>> 0;
}
function writePng(file, { width, height, pixels }) {
  const chunk = (type, data) => {
    const body = Buffer.concat([Buffer.from(type), data]);
    const out = Buffer.alloc(body.length + 8);
    out.writeUInt32BE(data.length, 0);
    body.copy(out, 4);
    out.writeUInt32BE(crc32(body), body.length + 4);
    return out;
  };
  const head = Buffer.alloc(13);
  head.writeUInt32BE(width, 0);
  head.writeUInt32BE(height, 4);
  head.set([8, 2], 8);
  const rows = [];
  for (let y = 0; y < height; y += 1) rows.push(Buffer.from([0]), pixels.subarray(y * width * 3, (y + 1) * width * 3));
  writeFileSync(file, Buffer.concat([Buffer.from([137, 80, 78, 71, 13, 10, 26, 10]), chunk('IHDR', head),
    chunk('IDAT', deflateSync(Buffer.concat(rows), { level: 9 })), chunk('IEND', Buffer.alloc(0))]));
}

test('shows the players around, oneself, and what the network does', async () => {
  const tree = join(folder, 'tree');
  execFileSync('meson', ['install', '-C', programs, '--no-rebuild', '--destdir', tree, '--tags', 'runtime,devel'], { stdio: 'ignore' });
  const found = execFileSync('find', [tree, '-name', 'libtidegate-client.so'], { encoding: 'utf8' }).trim();
  const libraries = join(found, '..');
  const pkgConfig = (names, env = {}) => execFileSync('pkg-config', ['--cflags', '--libs', ...names],
    { encoding: 'utf8', env: { ...process.env, ...env } }).trim().split(/\s+/);
  const program = join(folder, 'overlay_imgui');
  execFileSync('c++', ['-std=c++17', '-Wall', '-Wextra', '-Werror', '-o', program, join(root, 'examples/overlay_imgui.cc'),
    ...(sanitized ? ['-fsanitize=address,undefined'] : []),
    ...pkgConfig(['tidegate-client'], { PKG_CONFIG_PATH: join(libraries, 'pkgconfig'), PKG_CONFIG_SYSROOT_DIR: tree }),
    ...pkgConfig(['imgui', 'sdl2'])]);
  const picture = join(folder, 'picture.bmp');
  const child = new Process(program, [server.url, await tokenFor('me'), 'wifi', '4', '8', picture], {
    // Graphics drivers keep what they have taken until the end.
    env: { ...process.env, DISPLAY: `:${display}`, LD_LIBRARY_PATH: libraries, ASAN_OPTIONS: 'detect_leaks=0', SDL_RENDER_DRIVER: 'software' },
  });
  const { code } = await within(child.exited, 'the end of the example', 120_000);
  assert.equal(child.complaint(), null);
  assert.equal(code, 0, child.output);
  assert.match(child.output, /^13 entities, 0 corrections, 0 checksum mismatches$/m);

  const shot = pixelsOf(picture);
  const count = (r, g, b) => {
    let n = 0;
    for (let i = 0; i < shot.pixels.length; i += 3) {
      n += shot.pixels[i] === r && shot.pixels[i + 1] === g && shot.pixels[i + 2] === b;
    }
    return n;
  };
  assert.ok(count(255, 200, 80) > 50, 'the own player');
  assert.ok(count(110, 180, 255) > 100, 'the others');
  assert.ok(count(232, 238, 240) > 300, 'the overlay\'s texts');
  assert.ok(count(107, 181, 255) > 100, 'the overlay\'s curves');
  if (process.env.TIDEGATE_WRITE_PICTURES) writePng(join(root, 'docs/overlay.png'), shot);
});
