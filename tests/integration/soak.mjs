// SPDX-License-Identifier: Apache-2.0
// node tests/integration/soak.mjs [--minutes 60] [--bots 2000] [--lives 40] [--json FILE]
// Constant churn at a hundred times what a server is used to: bots walk in waves (each wave logs in,
// walks, leaves), beside clients that come and go in every way there is. Every wave's descriptors,
// memory and counters are written down; they have to be flat and every checksum right.
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { runLoad } from '../conformance/lib/attack.mjs';
import { holdings, lives, newTally, operate } from '../conformance/lib/churn.mjs';
import { startServer, temporaryFolder } from '../conformance/lib/server.mjs';
import { seeded, until } from '../conformance/lib/wait.mjs';

export async function soak({ minutes, bots, churners, wave, backend = 'auto', say = console.log }) {
  const folder = temporaryFolder();
  const server = await startServer({
    io: { backend }, session: { path: join(folder, 'sessions.db'), resume_window: '20s' }, world: { npcs: 0, linger: '1s' },
    snapshots: { directory: join(folder, 'snapshots'), interval: '5s' }, limits: { connections: bots * 2 + 1000 },
  }, { folder });
  const end = Date.now() + minutes * 60_000;
  const problems = [];
  const samples = [];
  let connections = 0;
  for (let number = 0; Date.now() < end || number < 4; number += 1) {
    let on = true;
    const running = () => on;
    const tally = newTally();
    const others = [operate(server, running, seeded(number), tally), ...Array.from({ length: churners }, (_, i) => lives(server, i, running, seeded(number * 1000 + i), tally))];
    const load = await runLoad(server, folder, { bots, seconds: wave, rate: 2 });
    on = false;
    await Promise.all(others);
    if (load.lost || load.refused || load.checksum_mismatches || load.chain_gaps || load.malformed) {
      problems.push(`wave ${number}: ${load.lost} lost, ${load.refused} refused, ${load.checksum_mismatches} wrong checksums, ${load.chain_gaps} gaps, ${load.malformed} malformed: ${load.problem}`);
    }
    problems.push(...tally.breaches.slice(0, 2).map((b) => `wave ${number}: ${b}`));
    const sample = await until(async () => {
      const now = await holdings(server);
      return now.open === 0 && now;
    }, 'the end of a wave', 900_000);
    connections = sample.accepted;
    samples.push({ ...sample, checksums: load.checksums, logins: tally.logins, ack_p99: load.move_ack_ms.p99 });
    say(`wave ${number}: ${sample.accepted} connections so far, ${sample.descriptors} descriptors, ${(sample.resident / 1e6).toFixed(1)} MB, ${sample.charged} bytes charged, ${load.checksums} checksums, ${load.checksum_mismatches} wrong, ${sample.desyncs} desyncs, churn ${tally.logins} logins, ${tally.errors.length} errors ${tally.errors.slice(0, 1)}`);
  }
  // The first waves fill pools and caches; from then on nothing may grow.
  const settled = samples.slice(Math.floor(samples.length / 3));
  const first = settled[0];
  const last = settled.at(-1);
  // A snapshot being written or an admin client that lingers is no leak; one for each connection is.
  if (last.descriptors > first.descriptors + 4) problems.push(`descriptors grew from ${first.descriptors} to ${last.descriptors}`);
  if (last.threads > first.threads + 4) problems.push(`threads grew from ${first.threads} to ${last.threads}`);
  if (last.resident > first.resident * 1.05 + 4e6) problems.push(`memory grew from ${first.resident} to ${last.resident}`);
  if (last.desyncs !== 0) problems.push(`${last.desyncs} desyncs`);
  await server.stop();
  return { minutes, bots, connections, samples, problems };
}

if (process.argv[1]?.endsWith('soak.mjs')) {
  const { values } = parseArgs({ options: {
    minutes: { type: 'string', default: '60' }, bots: { type: 'string', default: '2000' }, lives: { type: 'string', default: '40' },
    wave: { type: 'string', default: '5' }, backend: { type: 'string', default: 'auto' }, json: { type: 'string' },
  } });
  const result = await soak({ minutes: Number(values.minutes), bots: Number(values.bots), churners: Number(values.lives), wave: Number(values.wave), backend: values.backend });
  for (const problem of result.problems) console.log(`PROBLEM ${problem}`);
  console.log(`${result.connections} connections in ${result.samples.length} waves, ${result.problems.length} problems`);
  if (values.json) writeFileSync(values.json, JSON.stringify(result, null, 1));
  process.exitCode = result.problems.length === 0 ? 0 : 1;
}
