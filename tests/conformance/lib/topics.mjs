// SPDX-License-Identifier: Apache-2.0
// Requests of topics over the client: each carries a sequence of its own and waits for its REPLY.
import { Client } from './client.mjs';
import { Type } from './proto.mjs';
import { tokenFor } from './tokens.mjs';
import { until } from './wait.mjs';

export class TopicClient extends Client {
  // `query` and `received` (highest sequence of the server's): to resume.
  static async open(server, user, permissions = [], query = '', received = 0, options = {}) {
    const token = await tokenFor(user, permissions.length > 0 ? { permissions } : {});
    const client = await Client.connect(server, user, { ...options, token, query });
    Object.setPrototypeOf(client, TopicClient.prototype);
    client.sequence = 0;
    client.acknowledges = true;
    client.received = received;
    client.looked = 0;
    client.socket.on('message', () => client.acknowledge());
    client.acknowledge();
    await client.next(Type.AUTHENTICATION_RESULT);
    return client;
  }

  // Behind Client's own listener: numbers of acknowledged messages rise by one, and are acknowledged.
  acknowledge() {
    const before = this.received;
    for (; this.looked < this.messages.length; this.looked += 1) {
      const m = this.messages[this.looked];
      if (!m.requires_ack) {
        if (m.sequence !== 0) this.breaches.push(`${m.name} has a sequence and asks for nothing`);
      } else if (m.sequence !== this.received + 1) {
        this.breaches.push(`sequence ${m.sequence} after ${this.received}`);
      } else {
        this.received = m.sequence;
      }
    }
    if (this.acknowledges && this.received !== before) this.send(Type.ACK, undefined, { ack: this.received });
  }

  // Sends an acknowledged request and resolves with its REPLY.
  async ask(type, payload) {
    this.sequence += 1;
    const sequence = this.sequence;
    this.send(type, payload, { sequence, requires_ack: true });
    const { payload: answer } = await this.next(Type.REPLY, (p) => p.request_sequence === sequence);
    return answer;
  }
  subscribe(topic, replayFrom = 0) { return this.ask(Type.SUBSCRIBE, { topic, replay_from: replayFrom }); }
  unsubscribe(topic) { return this.ask(Type.UNSUBSCRIBE, { topic }); }
  publish(topic, text, eventType = 0) {
    return this.ask(Type.PUBLISH, { topic, data: Buffer.from(text), event_type: eventType });
  }
  // Without asking for acknowledgement; the REPLY has no sequence.
  publishPlain(topic, text) { this.send(Type.PUBLISH, { topic, data: Buffer.from(text) }); }

  events(topic) { return this.all(Type.EVENT).map((m) => m.payload).filter((e) => e.topic === topic); }
  spoken(topic) { return this.events(topic).map((e) => Buffer.from(e.data).toString()); }
  // Once so many events of the topic are there.
  async eventsOf(topic, count) {
    await until(() => this.events(topic).length >= count, `${count} events of ${topic}`).catch(() => {});
    const events = this.events(topic);
    if (events.length < count) throw new Error(`${events.length} events of ${topic}, not ${count}`);
    return events;
  }
}

// One client of each shard at least: the kernel spreads connections, so open until both have some.
// Resolves with lists by shard.
export async function clientsOnShards(server, adminGet, prefix, shards, each, permissions = []) {
  const byShard = Array.from({ length: shards }, () => []);
  for (let i = 0; byShard.some((list) => list.length < each); i += 1) {
    if (i > 200) throw new Error('two hundred connections, and a shard has none');
    const client = await TopicClient.open(server, `${prefix}${i}`, permissions);
    const { text } = await adminGet(server, `/api/v1/connections?user=${client.user}`);
    const [row] = JSON.parse(text).connections;
    if (byShard[row.shard].length < each) byShard[row.shard].push(client);
    else await client.leave();
  }
  return byShard;
}
