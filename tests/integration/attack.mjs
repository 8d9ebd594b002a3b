// SPDX-License-Identifier: Apache-2.0
// node tests/integration/attack.mjs [--bots 1000] [--hostile 2000] [--seconds 20] [--rounds 3] [--pause 3] [--json FILE]
// Honest bots alone and beside hostile connections, in turns: their p99, the server's memory, and
// how each kind of attack ended. The server has CPU 0 to itself, bots and attackers have CPU 1.
// Needs build/release and build/debug/tests/attack or TIDEGATE_BIN with all of them.
import { writeFileSync } from 'node:fs';
import { cpus } from 'node:os';
import { parseArgs } from 'node:util';
import { complaints, config, expected, reasons, resources, runLoad, startAttack } from '../conformance/lib/attack.mjs';
import { Float, metrics, startServer, temporaryFolder } from '../conformance/lib/server.mjs';

const { values } = parseArgs({ options: {
  bots: { type: 'string', default: '1000' }, hostile: { type: 'string', default: '2000' }, seconds: { type: 'string', default: '20' },
  rounds: { type: 'string', default: '3' }, json: { type: 'string' }, kinds: { type: 'string' }, rate: { type: 'string', default: '5' }, pause: { type: 'string', default: '3' },
} });
const [bots, hostile, seconds, rounds, rate, pause] = ['bots', 'hostile', 'seconds', 'rounds', 'rate', 'pause'].map((name) => Number(values[name]));
const kinds = values.kinds?.split(',') ?? Object.keys(expected);
const apart = cpus().length > 1;
const folder = temporaryFolder();
const server = await startServer({ ...config, shards: { count: 1, ...(apart ? { cpus: [0] } : {}) }, world: { npcs: 0, spawn_radius: new Float(700), linger: '2s' } }, { folder });
const cpu = apart ? 1 : undefined;
const p99 = (load) => ({ ack: load.move_ack_ms.p99, neighbour: load.neighbour_ms.p99 });
const median = (list) => list.toSorted((a, b) => a - b)[Math.floor(list.length / 2)];

const quiet = [];
const attacked = [];
const problems = [];
let memory = 0;
let charged = 0;
const ends = {};
for (let round = 0; round < rounds; round += 1) {
  const before = resources(server.child.pid);
  const alone = await runLoad(server, folder, { bots, seconds, cpu, rate, pictureEvery: 50 });
  const between = resources(server.child.pid);
  const attack = startAttack(server, { connections: hostile, seconds: seconds + 8, cpu, kinds, pause });
  await new Promise((done) => { setTimeout(done, 3000); });
  let watching = true;
  const watch = (async () => {
    while (watching) {
      memory = Math.max(memory, resources(server.child.pid).resident);
      charged = Math.max(charged, (await metrics(server)).sum('tidegate_memory_charged_bytes'));
      await new Promise((done) => { setTimeout(done, 1000); });
    }
  })();
  const start = resources(server.child.pid);
  const beside = await runLoad(server, folder, { bots, seconds, cpu, rate, pictureEvery: 50 });
  const stop = resources(server.child.pid);
  watching = false;
  await watch;
  const report = await attack.report();
  problems.push(...complaints(report));
  for (const [kind, row] of Object.entries(report.kinds)) {
    ends[kind] ??= {};
    for (const [how, count] of Object.entries(row.ends)) ends[kind][how] = (ends[kind][how] ?? 0) + count;
  }
  for (const [name, load] of Object.entries({ alone, beside })) {
    if (!load.ok) problems.push(`round ${round}: bots ${name}: ${load.lost} lost, ${load.refused} refused, ${load.checksum_mismatches} wrong checksums, ${load.problem}`);
    if (!load.generator_valid) console.log(`   (round ${round}, ${name}: ${load.generator_verdict})`);
  }
  quiet.push(p99(alone));
  attacked.push(p99(beside));
  console.log(`round ${round}: p99 of MOVE_ACK ${alone.move_ack_ms.p99} ms alone, ${beside.move_ack_ms.p99} ms attacked; ` +
    `neighbour ${alone.neighbour_ms.p99} and ${beside.neighbour_ms.p99} ms; CPU ${(between.cpu - before.cpu).toFixed(1)} and ${(stop.cpu - start.cpu).toFixed(1)} s; ` +
    `memory ${(between.resident / 1e6).toFixed(0)}, at most ${(memory / 1e6).toFixed(0)} MB, of buffers ${(charged / 1e6).toFixed(1)} MB`);
}
const change = (of) => median(attacked.map(of)) / median(quiet.map(of)) - 1;
const result = { bots, hostile, seconds, quiet, attacked, ack_change: change((x) => x.ack), neighbour_change: change((x) => x.neighbour), memory, charged, ends, reasons: await reasons(server), problems };
for (const [kind, row] of Object.entries(ends)) console.log(`  ${kind.padEnd(14)} ${JSON.stringify(row)}`);
console.log(`p99 under attack against quiet: MOVE_ACK ${(result.ack_change * 100).toFixed(1)} %, neighbour ${(result.neighbour_change * 100).toFixed(1)} %`);
for (const problem of problems) console.log(`PROBLEM ${problem}`);
if (values.json) writeFileSync(values.json, JSON.stringify(result, null, 1));
await server.stop();
process.exitCode = problems.length === 0 ? 0 : 1;
