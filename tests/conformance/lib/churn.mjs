// SPDX-License-Identifier: Apache-2.0
// Clients that come, use what there is (world, topics, presence, sessions) and go in every way there
// is, again and again; and an operator that looks at the admin API meanwhile. For soak.mjs and
// thread_load.mjs.
import { readFileSync, readdirSync } from 'node:fs';
import { Type } from './proto.mjs';
import { adminGet, metrics } from './server.mjs';
import { TopicClient } from './topics.mjs';
import { sleep } from './wait.mjs';

// One life after the other until `running()` is false. Counts go into `tally`.
export async function lives(server, number, running, random, tally) {
  let token;
  for (let round = 0; running(); round += 1) {
    const user = `churn-${number}`;
    let client;
    try {
      const query = token && random.chance(0.5) ? `&resume=${encodeURIComponent(token)}` : '';
      client = await TopicClient.open(server, user, [], query);
      // Where the machine is slow so is the reader, and who was too slow gets another WORLD_STATE.
      client.beginsAnew = true;
      tally.logins += 1;
      if (query) tally.resumes += 1;
      const established = await client.next(Type.CONNECTION_ESTABLISHED, () => true, { ms: 60_000 });
      token = established.payload.resume_token || token;
      const topic = `churn.room-${random.below(8)}`;
      // A resumed session goes on with numbers of its own; there requests ask for no acknowledgement.
      if (!query) await client.subscribe(topic);
      client.send(Type.PRESENCE_SUBSCRIBE, { user_ids: [`churn-${number + 1}`, `churn-${number + 2}`, 'bot1'] });
      for (let i = random.below(6); i >= 0 && running(); i -= 1) {
        if (client.me) client.move(client.me.position.x + random.below(3) / 10, client.me.position.y, client.me.position.z);
        if (random.chance(0.6)) {
          if (query) client.publishPlain(topic, 'plain');
          else await client.publish(topic, 'x'.repeat(random.below(400)), 5);
        }
        if (random.chance(0.3)) client.send(Type.PLAYER_STATUS_CHANGE, { new_status: 1 + random.below(4) });
        if (random.chance(0.3)) client.send(Type.PRESENCE_UPDATE, { custom_status: `at ${round}`, status: 0 });
        await sleep(random.below(120));
      }
      if (!query) tally.breaches.push(...client.breaches);
    } catch (error) {
      if (running()) tally.errors.push(String(error.message).split('\n')[0].slice(0, 200));
    }
    if (!client) {
      await sleep(100);
      continue;
    }
    const way = random.below(3);
    if (way === 0) client.socket.terminate();
    else if (way === 1) client.socket.close(1000);
    else client.socket._socket?.resetAndDestroy?.();
    tally.ends += 1;
    await sleep(random.below(30));
  }
}

// Reads everything an operator can, kicks somebody now and then, reloads.
export async function operate(server, running, random, tally) {
  const paths = ['/metrics', '/readyz', '/livez', '/api/v1/connections?limit=50', '/api/v1/shards', '/api/v1/config', '/api/v1/sessions?limit=20', '/api/v1/topics', '/api/v1/presence', '/api/v1/snapshots'];
  while (running()) {
    const path = random.pick(paths);
    // The admin server gives a slow client up: on a starved machine that is one of its looks, not the run.
    try {
      const { status } = await adminGet(server, path);
      if (status !== 200) tally.errors.push(`${path} answered ${status}`);
      tally.looks += 1;
      if (random.chance(0.05)) server.child.kill('SIGHUP');
      if (random.chance(0.1)) await adminGet(server, `/api/v1/kick?user=churn-${random.below(8)}`, { method: 'POST' });
    } catch (error) {
      tally.errors.push(`${path}: ${error.cause?.message ?? error.message}`);
    }
    await sleep(random.below(300));
  }
}

export const newTally = () => ({ logins: 0, resumes: 0, ends: 0, looks: 0, errors: [], breaches: [] });

// What a process holds: descriptors, resident memory, threads; and what its counters say of leaks.
export async function holdings(server) {
  const status = readFileSync(`/proc/${server.child.pid}/status`, 'utf8');
  const now = await metrics(server);
  return {
    descriptors: readdirSync(`/proc/${server.child.pid}/fd`).length,
    resident: Number(/VmRSS:\s+(\d+)/.exec(status)[1]) * 1024,
    threads: Number(/Threads:\s+(\d+)/.exec(status)[1]),
    open: now.sum('tidegate_connections_open'),
    charged: now.sum('tidegate_memory_charged_bytes'),
    accepted: now.sum('tidegate_connections_accepted_total'),
    desyncs: now.sum('tidegate_desyncs_total'),
    overruns: now.sum('tidegate_tick_overruns_total'),
  };
}
