// SPDX-License-Identifier: Apache-2.0
// node tests/integration/thread_load.mjs: a server of 4 shards built with ThreadSanitizer (TIDEGATE_BIN,
// build/tsan), with sessions on disk, snapshots, topics, presence and a world, under bots and
// churning clients, while cells change their shard all the time, for TIDEGATE_THREAD_SECONDS (60) on
// io_uring and half of that on epoll. Any report of the sanitizer, lost bot or wrong checksum fails
// it. Run by `tools/test thread`.
import { join } from 'node:path';
import { runLoad } from '../conformance/lib/attack.mjs';
import { lives, newTally, operate } from '../conformance/lib/churn.mjs';
import { metrics, startServer, temporaryFolder } from '../conformance/lib/server.mjs';
import { seeded } from '../conformance/lib/wait.mjs';

const seconds = Number(process.env.TIDEGATE_THREAD_SECONDS ?? 60);
const folder = temporaryFolder();
let failed = 0;
let passed = 0;
for (const [backend, length] of [['auto', seconds], ['epoll', Math.max(5, Math.floor(seconds / 2))]]) {
  const problems = [];
  try {
    const server = await startServer({
      shards: { count: 4 }, io: { backend }, session: { path: join(folder, `sessions-${backend}.db`) },
      snapshots: { directory: join(folder, `snapshots-${backend}`), interval: '2s' }, limits: { connections: 2000 },
      desync: { directory: join(folder, `desync-${backend}`) },
      balance: { interval: '100ms', patience: 1, imbalance: 0.05, min_work: '0s', hold: '0s' },
    }, { folder });
    let on = true;
    const running = () => on;
    const tally = newTally();
    const others = [operate(server, running, seeded(1), tally), ...Array.from({ length: 8 }, (_, i) => lives(server, i, running, seeded(i + 2), tally))];
    const load = await runLoad(server, folder, { bots: 60, seconds: length, rate: 10 });
    on = false;
    await Promise.all(others);
    if (load.lost || load.refused || load.checksum_mismatches || load.chain_gaps || load.malformed) problems.push(`bots: ${load.lost} lost, ${load.refused} refused, ${load.checksum_mismatches} wrong checksums, ${load.chain_gaps} gaps: ${load.problem}`);
    if (load.in_world !== 60) problems.push(`${load.in_world} of 60 bots in the world`);
    if (tally.logins === 0) problems.push('no churning client came in');
    if (tally.breaches.length) problems.push(`breaches: ${tally.breaches.slice(0, 3)}`);
    const moved = (await metrics(server)).sum('tidegate_cells_moved_total');
    await server.stop();
    console.log(`${backend}: ${length} s, ${load.moves_acked} moves, ${moved} cells to other shards, ${tally.logins} logins, ${tally.resumes} of them resumes, ${tally.looks} looks of the operator; clients' errors ${tally.errors.length} ${tally.errors.slice(0, 2)}`);
  } catch (error) {
    problems.push(error.message);
  }
  for (const problem of problems) console.log(`not ok: ${backend}: ${problem}`);
  if (problems.length) failed += 1;
  else passed += 1;
}
console.log(`${passed} passed, ${failed} failed`);
process.exitCode = failed === 0 ? 0 : 1;
