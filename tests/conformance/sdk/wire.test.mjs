// SPDX-License-Identifier: Apache-2.0
// The browser SDK (tools/sdk-js/dist) against the golden vectors that the C++ side writes, and its
// tables against the schema. And dist against the sources it is built from.
import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { existsSync, mkdirSync, readFileSync, readdirSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, test } from 'node:test';
import { promisify } from 'node:util';
import { gzipSync } from 'node:zlib';
import * as sdk from '../../../tools/sdk-js/dist/index.js';
import { schema } from '../lib/proto.mjs';
import { root, temporaryFolder } from '../lib/server.mjs';

const vectors = JSON.parse(readFileSync(join(root, 'tests/vectors/wire.json'), 'utf8'));
const fromHex = (text) => new Uint8Array(Buffer.from(text, 'hex'));
const toHex = (data) => Buffer.from(data).toString('hex');
const camel = (name) => name.replace(/_(\w)/g, (_, letter) => letter.toUpperCase());
const codecs = new Map(sdk.MESSAGES.map((m) => [m.name, m]));

test('XXH3 of every length up to 260 and some larger ones', () => {
  for (const [size, hash] of vectors.checksums) {
    const input = Uint8Array.from({ length: size }, (_, i) => 131 * i + 7 * (i >> 3) + size);
    assert.equal(sdk.xxh3(input).toString(16).padStart(16, '0'), hash, `${size} bytes`);
  }
});

// A value as the protobuf JSON mapping has it, made comparable with a decoded one.
function same(codec, decoded, json, enums, path = codec.name) {
  for (const [key, field] of Object.entries(codec.fields)) {
    const one = (value, expected, at) => {
      if (field.kind === 'message') return same(field.message, value, expected, schema.lookupType(`tidegate.v1.${field.message.name}`), at);
      if (field.kind === 'float') return assert.equal(value, Math.fround(expected), at);
      if (field.kind === 'bytes') return assert.equal(toHex(value), Buffer.from(expected, 'base64').toString('hex'), at);
      if (field.kind === 'u64' || field.kind === 'i64') return assert.equal(value, Number(expected), at);
      if (typeof expected === 'string' && field.kind === 'u32') {
        const type = Object.values(enums.fields).find((f) => camel(f.name) === key).resolve().resolvedType;
        return assert.equal(value, type.values[expected], at);
      }
      if (field.kind === 'fixed64') return assert.equal(value, BigInt(expected), at);
      return assert.deepEqual(value, expected, at);
    };
    const at = `${path}.${key}`;
    if (field.list) {
      assert.equal(decoded[key].length, json[key].length, at);
      decoded[key].forEach((value, i) => one(value, json[key][i], `${at}[${i}]`));
    } else if (json[key] === undefined || json[key] === null) assert.equal(decoded[key], undefined, at);
    else one(decoded[key], json[key], at);
  }
}

describe('payload messages', () => {
  test('each of the schema decodes to its JSON and encodes to the same bytes', () => {
    const seen = new Set();
    for (const [name, hex, json] of vectors.messages) {
      const codec = codecs.get(name);
      assert.ok(codec, `${name} is not in the SDK`);
      seen.add(name);
      const decoded = codec.decode(fromHex(hex));
      same(codec, decoded, json, schema.lookupType(`tidegate.v1.${name}`));
      assert.equal(toHex(codec.encode(decoded)), hex, name);
    }
    assert.deepEqual([...codecs.keys()].filter((name) => !seen.has(name)), [], 'without a vector');
  });
  test('the tables are those of proto/', () => {
    const kinds = { uint32: 'u32', sint32: 'sint32', fixed64: 'fixed64', uint64: 'u64', int64: 'i64', float: 'float', bool: 'bool', string: 'string', bytes: 'bytes' };
    const types = Object.values(schema.lookup('tidegate.v1').nested)
      .filter((t) => t.fields && !t.filename?.endsWith('service.proto'));  // between gateways and services
    assert.equal(types.length, codecs.size);
    for (const type of types) {
      const { fields } = codecs.get(type.name);
      assert.equal(Object.keys(fields).length, Object.keys(type.fields).length, type.name);
      for (const f of Object.values(type.fields)) {
        f.resolve();
        const own = fields[camel(f.name)];
        const at = `${type.name}.${f.name}`;
        assert.equal(own?.number, f.id, at);
        assert.equal(own.list, f.repeated, at);
        assert.equal(own.kind, f.map ? 'map' : kinds[f.type] ?? (f.resolvedType.fields ? 'message' : 'u32'), at);
        if (own.kind === 'message') assert.equal(own.message.name, f.resolvedType.name, at);
      }
    }
    const { values } = schema.lookupEnum('tidegate.v1.MessageType');
    assert.deepEqual({ MESSAGE_TYPE_UNSPECIFIED: 0, ...sdk.MessageType }, { ...values });
  });
  test('unknown fields are skipped, damaged bytes throw WireError and nothing else', () => {
    const unknown = fromHex('a80101aa01020102' + 'ad0101020304' + 'a90101020304050607080d0000803f');
    assert.equal(sdk.Vector3.decode(unknown).x, 1);
    let refused = 0;
    for (const [name, hex] of vectors.messages) {
      const bytes = fromHex(hex);
      for (let i = 0; i < bytes.length; i += 1) {
        const damaged = bytes.slice(0, i % 2 ? bytes.length : i);
        if (i % 2) damaged[i] ^= 1 << (i % 8);
        try {
          codecs.get(name).decode(damaged);
        } catch (error) {
          assert.ok(error instanceof sdk.WireError, String(error.stack));
          refused += 1;
        }
      }
    }
    assert.ok(refused > 500, `${refused}`);
  });
});

test('frames: one, several, and every way to be none', () => {
  for (const [hex, types, error] of vectors.frames) {
    if (error === 0) assert.deepEqual(sdk.parseFrames(fromHex(hex)).map((m) => m.type), types);
    else assert.throws(() => sdk.parseFrames(fromHex(hex)), (e) => e instanceof sdk.WireError && e.code === error, hex);
  }
  const back = sdk.parseFrames(sdk.encodeFrame(sdk.MessageType.PUBLISH, fromHex('0102'), { sequence: 7, requiresAck: true, ack: 3 }));
  assert.deepEqual([back[0].version, back[0].type, back[0].sequence, back[0].requiresAck, back[0].ack, toHex(back[0].payload)],
    [1, 12, 7, true, 3, '0102']);
});

describe('cell frames', () => {
  // Follows enter, leave and change, and must end where the image does.
  class Follower {
    members = new Map();
    onEnter(cell, image, slot) {
      assert.ok(!this.members.has(slot), `slot ${slot} entered twice`);
      this.#read(image, slot);
    }
    onLeave(cell, image, slot) { assert.ok(this.members.delete(slot), `slot ${slot} left and was not there`); }
    onChange(cell, image, slot) {
      assert.ok(this.members.has(slot), `slot ${slot} changed and is not there`);
      this.#read(image, slot);
    }
    #read({ rows, names }, slot) {
      const { Col } = sdk;
      const at = slot * Col.WIDTH;
      this.members.set(slot, [slot, rows[at + Col.KIND], rows[at + Col.YAW], rows[at + Col.ID] >>> 0, rows[at + Col.X],
        rows[at + Col.Y], rows[at + Col.Z], rows[at + Col.FLAGS] >>> 0, names[slot]]);
    }
    list() { return [...this.members.values()].sort((a, b) => a[0] - b[0]); }
  }
  // The one frame of a CELL_FRAME.
  function only(hex) {
    const frames = [];
    sdk.readCellFrames(fromHex(hex), (data, tick) => frames.push({ data, header: sdk.readCellHeader(data, tick) }));
    assert.equal(frames.length, 1);
    return frames[0];
  }
  function replay(rows, keep = () => true) {
    const follower = new Follower();
    let cell;
    let compared = 0;
    rows.forEach(([status, hex, image], i) => {
      const { data, header } = only(hex);
      if (!keep(header)) return;
      cell ??= new sdk.Cell(header.cellX, header.cellZ);
      assert.equal(cell.apply(header, data, follower), status, `row ${i}`);
      if (!image) return;
      compared += 1;
      assert.deepEqual(follower.list(), image, `row ${i}`);
    });
    return { cell, compared, follower };
  }
  test('a chain: wrap of the number, lost frames, another epoch, parts, damage', () => {
    assert.ok(replay(vectors['cell chain']).compared >= 8);
  });
  test('layers: a delta refers to an older frame than the last', () => {
    assert.ok(replay(vectors['cell layers']).compared >= 4);
  });
  for (const most of [0, 1, 2]) {
    test(`layers up to ${most} only, as a client on a budget gets them`, () => {
      const { cell } = replay(vectors['cell layers'].map(([s, h]) => [s, h]), (h) => h.layer <= most);
      assert.ok(cell.intact);
    });
  }
  test('joins in the middle wait for a keyframe', () => {
    const rows = vectors['cell layers'].slice(3, 12).map(([, hex]) => ['missingReference', hex, []]);
    replay(rows);
  });
  test('a wrong checksum is reported with the members it was made of; a quiet cell without', () => {
    const frame = fromHex(vectors['cell chain'][0][1]);
    const { data, header } = only(vectors['cell chain'][0][1]);
    const spoiled = frame.slice();
    spoiled[frame.length - data.length + header.size - 1] ^= 1;  // the highest byte of the checksum
    const world = new sdk.WorldPicture();
    const reports = [];
    world.on('report', (report) => reports.push(report));
    world.applyCellFrames(frame);
    assert.deepEqual(reports, []);
    world.applyCellFrames(spoiled);
    const [report] = reports;
    assert.deepEqual([report.cellX, report.cellZ, report.epoch, report.frame, report.tick],
      [header.cellX, header.cellZ, header.epoch, header.frame, header.tick]);
    assert.equal(report.checksum, header.checksum);
    assert.equal(report.expected, header.checksum ^ (1n << 56n));
    assert.equal(report.members.length, 24 * vectors['cell chain'][0][2].length);
    assert.equal(sdk.xxh3(report.members), report.checksum);
    assert.deepEqual(sdk.CellReport.decode(sdk.CellReport.encode(report)), report);
    // Quiet is a cell of which nothing came between two looks.
    assert.equal(world.quietReport(), undefined);
    const quiet = world.quietReport();
    assert.deepEqual([quiet.frame, quiet.checksum, quiet.members.length], [header.frame, header.checksum, 0]);
    world.applyCellFrames(frame);
    assert.equal(world.quietReport(), undefined);
    assert.equal(reports.length, 1);
  });
  test('damaged frames are refused or apply within bounds, and a keyframe heals', () => {
    const { data: key, header: keyHeader } = only(vectors['cell chain'][0][1]);
    const { data: second, header: { tick } } = only(vectors['cell chain'][1][1]);
    const counts = {};
    for (let i = 0; i < second.length * 8; i += 1) {
      const cell = new sdk.Cell(0, 0);
      const follower = new Follower();
      assert.equal(cell.apply(keyHeader, key, follower), 'ok');
      const damaged = second.slice();
      damaged[i >> 3] ^= 1 << (i & 7);
      let status = 'header';
      try {
        status = cell.apply(sdk.readCellHeader(damaged, tick), damaged, follower);
      } catch (error) {
        assert.ok(error instanceof sdk.WireError, String(error.stack));
      }
      counts[status] = (counts[status] ?? 0) + 1;
      assert.equal(cell.apply(keyHeader, key, follower), 'ok');
    }
    assert.ok(counts.malformed > 10 && counts.checksumMismatch > 100, JSON.stringify(counts));
  });
});

describe('dist', () => {
  const sdkFolder = join(root, 'tools/sdk-js');
  test('is what the sources build to', async (t) => {
    if (!existsSync(join(sdkFolder, 'node_modules/typescript'))) {
      t.skip('typescript is not there: npm ci in tools/sdk-js');
      return;
    }
    const fresh = join(temporaryFolder(), 'dist');
    await promisify(execFile)(process.execPath, [join(sdkFolder, 'build.mjs'), fresh]);
    const committed = join(sdkFolder, 'dist');
    assert.deepEqual(readdirSync(committed).sort(), readdirSync(fresh).sort());
    for (const name of readdirSync(fresh)) {
      assert.ok(readFileSync(join(fresh, name)).equals(readFileSync(join(committed, name))),
        `tools/sdk-js/dist/${name} is stale: npm run build in tools/sdk-js`);
    }
  });
  test('the example of the README is right by the types', async (t) => {
    const compiler = join(sdkFolder, 'node_modules/typescript/bin/tsc');
    if (!existsSync(compiler)) {
      t.skip('typescript is not there: npm ci in tools/sdk-js');
      return;
    }
    const folder = temporaryFolder();
    mkdirSync(join(folder, 'node_modules/@tidegate'), { recursive: true });
    symlinkSync(sdkFolder, join(folder, 'node_modules/@tidegate/client'));
    const [, example] = /```js\n([\s\S]*?)```/.exec(readFileSync(join(sdkFolder, 'README.md'), 'utf8'));
    const around = `import type { Entity, Pose, Vector3 } from '@tidegate/client';
      declare function draw(entity: Entity, pose: Readonly<Pose>): void;
      declare function drawSelf(at: Vector3): void;\n`;
    writeFileSync(join(folder, 'package.json'), '{"type": "module"}');
    const check = async (text) => {
      writeFileSync(join(folder, 'example.ts'), text);
      return promisify(execFile)(process.execPath, [compiler, '--noEmit', '--strict', '--target', 'ES2022', '--module', 'ES2022',
        '--moduleResolution', 'bundler', '--lib', 'ES2022,DOM', '--types', '', 'example.ts'], { cwd: folder }).then(() => '', (e) => e.stdout);
    };
    const typed = around + example.replace('function frame(now)', 'function frame(now: number)');
    assert.equal(await check(typed), '');
    assert.match(await check(typed.replace('entity.id,', 'entity.nmae,')), /nmae/);
  });
  test('the global file is below 40 KB gzipped and works without modules', () => {
    const text = readFileSync(join(sdkFolder, 'dist/tidegate.global.js'));
    assert.ok(gzipSync(text).length < 40_000, `${gzipSync(text).length} bytes`);
    const { MessageType } = new Function(`${text}; return tidegate;`)();
    assert.deepEqual(MessageType, sdk.MessageType);
  });
});
