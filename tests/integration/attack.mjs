// SPDX-License-Identifier: Apache-2.0
// node tests/integration/attack.mjs [--bots 1000] [--hostile 2000] [--seconds 20] [--rounds 3] [--pause 3] [--json FILE]
// Honest bots alone and beside hostile connections, in turns: their p99, the server's memory, and
// how each kind of attack ended. The server has CPU 0 to itself, bots and attackers have CPU 1.
// Needs build/release and build/debug/tests/attack or TIDEGATE_BIN with all of them.
import { spawnSync } from 'node:child_process';
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
// What watches runs beside the bots, or the server shares its CPU with it.
if (apart) spawnSync('taskset', ['-a', '-c', '-p', '1', String(process.pid)]);
const median = (list) => list.toSorted((a, b) => a - b)[Math.floor(list.length / 2)];

let memory = 0;
let charged = 0;

// Cumulative buckets of the server's own histograms, for what the generator's delays have no part in.
const timings = ['tidegate_tick_seconds', 'tidegate_turn_seconds'];
async function clocks() {
  const { samples } = await metrics(server);
  return Object.fromEntries(timings.map((name) => {
    const sums = new Map();
    for (const s of samples.filter((x) => x.name === `${name}_bucket`)) {
      const le = Number(/le="([^"]+)"/.exec(s.labels)[1].replace('+Inf', 'Infinity'));
      sums.set(le, (sums.get(le) ?? 0) + s.value);
    }
    return [name, sums];
  }));
}
// Milliseconds; within a bucket as if its values were spread evenly.
function percentile(before, after, name, q) {
  const edges = [...after[name].keys()].sort((a, b) => a - b);
  const count = (le) => after[name].get(le) - (before[name].get(le) ?? 0);
  const wanted = q * count(Infinity);
  let low = 0;
  let seen = 0;
  for (const le of edges) {
    if (count(le) >= wanted) return le === Infinity ? low * 1000 : (low + (le - low) * (wanted - seen) / Math.max(count(le) - seen, 1)) * 1000;
    low = le;
    seen = count(le);
  }
  return NaN;
}
async function timed(work) {
  let watching = true;
  const watch = (async () => {
    while (watching) {
      memory = Math.max(memory, resources(server.child.pid).resident);
      charged = Math.max(charged, (await metrics(server)).sum('tidegate_memory_charged_bytes'));
      await new Promise((done) => { setTimeout(done, 1000); });
    }
  })();
  const before = await clocks();
  const load = await work();
  const after = await clocks();
  watching = false;
  await watch;
  const of = (name, q) => percentile(before, after, name, q);
  return { load, row: {
    ack: load.move_ack_ms.p99, ack50: load.move_ack_ms.p50, neighbour: load.neighbour_ms.p99, late: load.generator_lag_ms.p99,
    tick: of('tidegate_tick_seconds', 0.99), tick50: of('tidegate_tick_seconds', 0.5), turn: of('tidegate_turn_seconds', 0.99),
  } };
}

const quiet = [];
const attacked = [];
const problems = [];
const ends = {};
for (let round = 0; round < rounds; round += 1) {
  const before = resources(server.child.pid);
  const { load: alone, row: aloneRow } = await timed(() => runLoad(server, folder, { bots, seconds, cpu, rate, pictureEvery: 50 }));
  const between = resources(server.child.pid);
  const attack = startAttack(server, { connections: hostile, seconds: seconds + 8, cpu, kinds, pause });
  await new Promise((done) => { setTimeout(done, 3000); });
  const start = resources(server.child.pid);
  const { load: beside, row: besideRow } = await timed(() => runLoad(server, folder, { bots, seconds, cpu, rate, pictureEvery: 50 }));
  const stop = resources(server.child.pid);
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
  quiet.push(aloneRow);
  attacked.push(besideRow);
  const shown = (row) => `MOVE_ACK p50 ${row.ack50.toFixed(1)}, p99 ${row.ack.toFixed(1)}, neighbour p99 ${row.neighbour.toFixed(1)}, generator late p99 ${row.late.toFixed(1)}; tick p50 ${row.tick50.toFixed(2)}, p99 ${row.tick.toFixed(2)}, turn p99 ${row.turn.toFixed(2)} ms`;
  console.log(`round ${round}\n  alone    ${shown(aloneRow)}\n  attacked ${shown(besideRow)}\n  CPU ${(between.cpu - before.cpu).toFixed(1)} and ${(stop.cpu - start.cpu).toFixed(1)} s; ` +
    `memory ${(between.resident / 1e6).toFixed(0)}, at most ${(memory / 1e6).toFixed(0)} MB, of buffers ${(charged / 1e6).toFixed(1)} MB`);
}
const change = (of) => median(attacked.map(of)) / median(quiet.map(of)) - 1;
const names = ['ack', 'ack50', 'neighbour', 'late', 'tick', 'tick50', 'turn'];
const changes = Object.fromEntries(names.map((name) => [name, change((row) => row[name])]));
const result = { bots, hostile, seconds, quiet, attacked, changes, memory, charged, ends, reasons: await reasons(server), problems };
for (const [kind, row] of Object.entries(ends)) console.log(`  ${kind.padEnd(14)} ${JSON.stringify(row)}`);
for (const name of names) {
  const range = (list) => { const v = list.map((row) => row[name]); return `${median(v).toFixed(2)} (${Math.min(...v).toFixed(2)}–${Math.max(...v).toFixed(2)})`; };
  console.log(`${name.padEnd(10)} alone ${range(quiet)}, attacked ${range(attacked)} ms: ${(changes[name] * 100).toFixed(1)} %`);
}
for (const problem of problems) console.log(`PROBLEM ${problem}`);
if (values.json) writeFileSync(values.json, JSON.stringify(result, null, 1));
await server.stop();
process.exitCode = problems.length === 0 ? 0 : 1;
