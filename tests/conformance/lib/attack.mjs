// SPDX-License-Identifier: Apache-2.0
// Honest bots beside hostile connections: runs tidegate-load and tidegate-attack (tests/attack)
// against one server and judges how each kind of attack ended.
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { Process, metrics, programs, secret } from './server.mjs';
import { within } from './wait.mjs';

export const attacker = join(programs, 'tests/attack/tidegate-attack');
export const attackerBuilt = () => existsSync(attacker);

// Addresses on loopback: honest ones (the load tool takes several) and attackers are not counted by address, so that each kind
// meets the defence that is meant for it; the flood of connects is.
export const source = '127.0.1.1';
export const floodSource = '127.0.2.1';
export const limits = {
  exempt: ['127.0.0.0/24', `${source}/32`], handshake_timeout: '4s', message_timeout: '4s', stall_timeout: '4s',
  extra_frames_per_second: 2000, connections_per_ip: 64, connects_per_ip: 20, connects_per_ip_burst: 40,
};
export const config = {
  limits, heartbeat: { interval: '2s', timeout: '6s' }, budget: { stall_timeout: '4s' }, listen: { websocket: '127.0.0.1:0', deflate: true },
};

// How each kind may end. A peer that resets or closes before it reads sees an end of stream or a
// reset instead of the answer; that is counted apart. `open`, `waiting`: when the run was over.
export const expected = {
  silent: ['http 408'], slow_head: ['http 408'], garbage: ['http 400'], big_head: ['http 431'], bad_token: ['http 401'],
  connects: ['gone'], slow_message: ['close 1008'], half_open: ['close 1008'], pings: ['close 1008'],
  fragments: ['close 1008', 'close 1009'], zero_window: ['close 1013', 'close 1008', 'eof', 'reset'], noise: ['close 1002', 'close 1007', 'close 1003', 'close 1009'],
  nonsense: ['close 1008'], oversized: ['close 1009'], bad_text: ['close 1007', 'close 1003'], bomb: ['close 1009'],
};
const onTheWay = ['open', 'waiting', 'reset', 'eof', 'http 429', 'http 503', 'Broken pipe'];
// An attacker that a busy machine lets wait is refused as a slow one before it has sent its worst.
const tooLate = ['http 408', 'close 1008'];

// Kinds that ended otherwise, or of which none ended as it should.
export function complaints(report) {
  const found = [];
  for (const [kind, { opened, ends }] of Object.entries(report.kinds)) {
    const good = expected[kind].reduce((sum, how) => sum + (ends[how] ?? 0), 0);
    const odd = Object.entries(ends).filter(([how]) => !expected[kind].includes(how) && !onTheWay.includes(how) && !tooLate.includes(how));
    if (good === 0) found.push(`${kind}: none of ${opened} ended with ${expected[kind]}: ${JSON.stringify(ends)}`);
    if (odd.length > 0) found.push(`${kind}: ended otherwise: ${JSON.stringify(odd)}`);
  }
  return found;
}

const pinned = (cpu, path, args) => cpu === undefined ? [path, args] : ['taskset', ['-c', String(cpu), path, ...args]];

export function startAttack(server, { connections, seconds, kinds, cpu, pause = 1, deaf = 12, untilEnded = 0, nice = 19 }) {
  const args = ['--port', String(server.port), '--secret', secret, '--connections', String(connections), '--seconds', String(seconds),
    '--source', source, '--flood-source', floodSource, '--pause', String(pause), '--deaf', String(deaf), '--until-ended', String(untilEnded)];
  if (kinds) args.push('--kinds', kinds.join(','));
  // Behind the bots where they share a CPU: what is looked for is the server's delay, not theirs.
  const child = new Process('nice', ['-n', String(nice), ...pinned(cpu, attacker, args).flat()]);
  return { child, async report() {
    const { code } = await within(child.exited, 'the end of the attack', (seconds + 120) * 1000);
    if (code !== 0) throw new Error(`tidegate-attack ended with ${code}:\n${child.output}`);
    return JSON.parse(child.output);
  } };
}

export async function runLoad(server, folder, { bots, seconds, cpu, rate = 20, pictureEvery = 10 }) {
  const json = join(folder, `load-${Math.random().toString(36).slice(2)}.json`);
  const child = new Process(...pinned(cpu, join(programs, 'tidegate-load'), ['--url', server.url, '--secret', secret, '--bots', String(bots),
    '--duration', `${seconds}s`, '--move-rate', String(rate), '--picture-every', String(pictureEvery), '--area', '1500', '--json', json]));
  await within(child.exited, 'the end of the bots', (seconds + 120) * 1000);
  if (!existsSync(json)) throw new Error(`tidegate-load wrote nothing:\n${child.output}`);
  return JSON.parse(readFileSync(json, 'utf8'));
}

// Resident memory in bytes, open descriptors, and CPU time in seconds of a process.
export function resources(pid) {
  const status = readFileSync(`/proc/${pid}/status`, 'utf8');
  const times = readFileSync(`/proc/${pid}/stat`, 'utf8').replace(/^.*\) /s, '').split(' ');
  return { resident: Number(/VmRSS:\s+(\d+)/.exec(status)[1]) * 1024, cpu: (Number(times[11]) + Number(times[12])) / 100 };
}

// The counters that name the reasons, as far as they are not 0.
export async function reasons(server) {
  const { samples } = await metrics(server);
  const out = {};
  for (const { name, labels, value } of samples) {
    if (!/^tidegate_(connections_closed|upgrades_refused|admission_refused|accept_errors|memory_refused|backlog_overflow)/.test(name) || value === 0) continue;
    const label = /(?:reason|code|limit)="([^"]+)"/.exec(labels)?.[1];
    const key = name.replace('tidegate_', '').replace('_total', '') + (label ? `:${label}` : '');
    out[key] = (out[key] ?? 0) + value;
  }
  return out;
}
