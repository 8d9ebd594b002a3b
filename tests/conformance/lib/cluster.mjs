// SPDX-License-Identifier: Apache-2.0
// Several gateways on one NATS server.
import { adminGet, startServer } from './server.mjs';
import { until } from './wait.mjs';

export async function startGateway(nats, name, changes = {}, options = {}) {
  const gateway = await startServer({
    // Time-outs that a loaded machine does not reach by itself.
    ...changes, bus: { servers: [nats.url], gateway: name, member_timeout: '4s', request_timeout: '10s', ...changes.bus },
  }, options);
  gateway.name = name;
  return gateway;
}

export const cluster = async (gateway) => JSON.parse((await adminGet(gateway, '/api/v1/cluster')).text);

// All of them see each other, and agree.
export function together(gateways, ms) {
  const names = JSON.stringify(gateways.map((g) => g.name).sort());
  return until(async () => {
    for (const gateway of gateways) {
      const c = await cluster(gateway);
      if (!c.settled || JSON.stringify(c.gateways.map((g) => g.name).sort()) !== names) return false;
    }
    return true;
  }, `${names} together`, ms);
}

const mask = (1n << 64n) - 1n;
const mix = (z) => {
  z = ((z ^ (z >> 30n)) * 0xbf58476d1ce4e5b9n) & mask;
  z = ((z ^ (z >> 27n)) * 0x94d049bb133111ebn) & mask;
  return z ^ (z >> 31n);
};
const hash = (text) => {
  let h = 0xcbf29ce484222325n;
  for (const byte of Buffer.from(text)) h = ((h ^ BigInt(byte)) * 0x100000001b3n) & mask;
  return h;
};
// The home of a topic among gateways, as docs/cluster.md has it.
export function homeOf(topic, names) {
  const weight = (name) => mix((hash(topic) + 0x9e3779b97f4a7c15n * mix(hash(name))) & mask);
  return names.reduce((best, name) => (weight(name) > weight(best) ? name : best));
}
// A topic whose home is this gateway.
export function topicAt(home, names, prefix = 'room.') {
  for (let i = 0; ; i += 1) if (homeOf(`${prefix}${i}`, names) === home) return `${prefix}${i}`;
}
