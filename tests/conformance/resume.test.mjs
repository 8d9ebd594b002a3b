// SPDX-License-Identifier: Apache-2.0
// Sessions that outlive their sockets, and acknowledged delivery across losses, in both directions.
import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { Client } from './lib/client.mjs';
import { Type } from './lib/proto.mjs';
import { adminGet, metrics, startServer } from './lib/server.mjs';
import { tokenFor } from './lib/tokens.mjs';
import { arrived, DELIVERY, endAll, LETTER, startLetters, Writer } from './lib/letters.mjs';
import { patience, seeded, sleep, until, within } from './lib/wait.mjs';

const long = patience * 6;
const established = async (client) => (await client.next(Type.CONNECTION_ESTABLISHED)).payload;
const resumeWith = (server, user, token, options = {}) =>
  Client.connect(server, user, { query: `&resume=${encodeURIComponent(token)}`, ...options });
const result = async (client) => (await client.next(Type.RESUME_RESULT)).payload;

after(endAll);

describe('letters', () => {
  let server;
  let count = 0;
  const name = (what) => `${what}-${++count}`;
  before(async () => { server = await startLetters(); });
  after(() => server.stop());

  test('each socket is dropped 100 times, and every letter comes once and in order', async () => {
    const random = seeded(20261121);
    const ann = await new Writer(server, name('ann')).enter();
    const bob = await new Writer(server, name('bob')).enter();
    const pairs = [[ann, bob], [bob, ann]];
    for (const [writer] of pairs) {
      for (let drops = 0; drops < 100;) {
        for (const [from, to] of pairs) {
          for (let n = random.below(4); n > 0; n -= 1) from.write(to.name, 'x'.repeat(random.below(random.chance(0.05) ? 3000 : 60)));
        }
        if (random.chance(0.5)) await sleep(random.below(12));
        if (!writer.socket || writer.socket.readyState > 1) {
          await sleep(1);
          continue;
        }
        // Also in the middle of the login: the answer with the next resume token may be lost.
        if (!writer.in && random.chance(0.7)) {
          await until(() => writer.in, 'the login');
          continue;
        }
        writer.drop();
        drops += 1;
      }
      await until(() => writer.in, 'the login');
    }
    await arrived(ann, bob, long);
    await arrived(bob, ann, long);
    for (const writer of [ann, bob]) {
      assert.ok(writer.resumes.length >= 20, `${writer.resumes.length} resumes`);
      assert.deepEqual(writer.resumes.filter((r) => !r.resumed), [], 'the session was never lost');
      assert.deepEqual(writer.errors.filter((e) => e.code !== 4015), []);
      await until(() => writer.connection.delivery.unacknowledged === 0, 'all letters acknowledged');
      assert.equal(writer.connection.delivery.gaps, 0);
    }
    const all = await metrics(server);
    await until(async () => (await metrics(server)).sum('tidegate_replay_messages') === 0, 'empty logs');
    assert.ok(all.sum('tidegate_sessions_resumed_total') >= 40);
    assert.equal(all.sum('tidegate_sessions_created_total'), 2);
    ann.leave();
    bob.leave();
    await until(async () => (await metrics(server)).sum('tidegate_sessions') === 0, 'no session left behind');
  });

  test('letters to somebody who is away wait, and come before the state', async () => {
    const ann = await new Writer(server, name('ann')).enter();
    const user = name('bob');
    const bob = await Client.connect(server, user);
    const { resume_token: token, session_id: session } = await established(bob);
    await bob.next(Type.WORLD_STATE);
    bob.drop();
    await bob.ended;
    for (let i = 0; i < 50; i += 1) ann.write(user, 'y'.repeat(1500));  // more than one window
    await until(() => ann.connection.delivery.unacknowledged === 0, 'all taken by the server');
    await until(async () => (await metrics(server)).sum('tidegate_replay_messages') === 50, '50 letters kept');

    const again = await resumeWith(server, user, token, { hello: false });
    const { resumed, replayed, reason, last_client_sequence: last } = await result(again);
    assert.deepEqual({ resumed, replayed, reason, last: Number(last) }, { resumed: true, replayed: 50, reason: '', last: 0 });
    assert.equal((await established(again)).session_id, session);
    again.hello();
    // Acknowledge what came, as it comes.
    let acked = 0;
    const timer = setInterval(() => {
      const highest = Math.max(0, ...again.all(DELIVERY).map((m) => Number(m.sequence)));
      if (highest > acked) again.send(Type.ACK, undefined, { ack: (acked = highest) });
    }, 10);
    await again.next(Type.WORLD_STATE, undefined, { ms: long });
    clearInterval(timer);
    const order = again.messages.map((m) => m.type);
    assert.ok(order.lastIndexOf(DELIVERY) < order.indexOf(Type.WORLD_STATE), 'the letters first, then the state');
    assert.deepEqual(again.all(DELIVERY).map((m) => Number(m.sequence)), Array.from({ length: 50 }, (_, i) => i + 1));
    assert.ok(again.all(DELIVERY).every((m) => m.requires_ack));
    again.drop();
    ann.leave();
  });

  test('a client that takes letters and acknowledges none loses its session, and is told why', async () => {
    const strict = await startLetters({ 'session.replay_messages': 20 });
    const ann = await new Writer(strict, name('ann')).enter();
    const bob = await Client.connect(strict, name('bob'));
    const { resume_token: token } = await established(bob);
    for (let i = 0; i < 25; i += 1) ann.write(bob.user);
    const { payload } = await bob.error(4013);
    assert.equal(payload.fatal, true);
    assert.match(payload.details, /acknowledged/);
    assert.equal(await bob.closeCode(), 1013);
    const again = await resumeWith(strict, bob.user, token);
    const { resumed, reason } = await result(again);
    assert.equal(resumed, false);
    assert.match(reason, /ended/);
    await again.error(4013);
    ann.leave();
    again.drop();
    await strict.stop();
  });

  test('an acknowledgement of what was never sent is refused', async () => {
    const ann = await Client.connect(server, name('ann'));
    await established(ann);
    ann.send(Type.ACK, undefined, { ack: 5 });
    await ann.error(4002);
    ann.drop();
  });

  test('what the client sends is delivered once, though it is sent again', async () => {
    const ann = await Client.connect(server, name('ann'));
    const bob = await new Writer(server, name('bob')).enter();
    const { resume_token: token } = await established(ann);
    const letter = (client, n) => client.send(LETTER, Buffer.from(`${bob.name}\n${n}`), { sequence: n, requires_ack: true });
    letter(ann, 1);
    letter(ann, 2);
    await ann.next(Type.ACK, (_, m) => Number(m.ack) === 2).catch(() => ann.next(Type.MOVE_ACK));
    ann.drop();
    const again = await resumeWith(server, ann.user, token);
    const { last_client_sequence: last } = await result(again);
    assert.equal(Number(last), 2);
    letter(again, 1);
    letter(again, 2);
    letter(again, 3);
    await until(() => (bob.read.get(ann.user) ?? []).length >= 3, 'three letters');
    assert.deepEqual(bob.read.get(ann.user), [1, 2, 3]);
    letter(again, 5);
    await again.error(4002);
    assert.deepEqual(bob.read.get(ann.user), [1, 2, 3]);
    again.drop();
    bob.leave();
  });
});

describe('resume tokens', () => {
  let server;
  before(async () => { server = await startServer({ session: { second_login: 'replace' } }); });
  after(() => server.stop());
  async function left(user) {
    const client = await Client.enter(server, user);
    const { resume_token: token } = await established(client);
    client.drop();
    return token;
  }

  test('are opaque, different for each login, and short', async () => {
    const one = await left('tom');
    const client = await resumeWith(server, 'tom', one);
    const { resume_token: two } = await established(client);
    assert.match(one, /^[A-Za-z0-9_-]{40,96}$/);
    assert.notEqual(one, two);
    client.drop();
  });
  test('are good once', async () => {
    const token = await left('uma');
    const client = await resumeWith(server, 'uma', token);
    assert.equal((await result(client)).resumed, true);
    await client.next(Type.WORLD_STATE);
    client.send(Type.HEARTBEAT, Buffer.from('x'));
    await client.next(Type.PONG);
    const second = await resumeWith(server, 'uma', token);
    const { resumed, reason } = await result(second);
    assert.equal(resumed, false);
    assert.match(reason, /used/);
    await second.error(4014);
    assert.equal(await client.closeCode(), 4015, 'it was a login of its own');
    second.drop();
  });
  test('are bound to the user', async () => {
    const token = await left('vic');
    const other = await resumeWith(server, 'wanda', token);
    assert.equal((await result(other)).resumed, false);
    await other.error(4014);
    other.drop();
    const own = await resumeWith(server, 'vic', token);
    assert.equal((await result(own)).resumed, true, 'the attempt has cost the owner nothing');
    own.drop();
  });
  test('that were changed in any byte are refused', async () => {
    const token = await left('xena');
    for (const at of [0, 3, 15, 20, 30, token.length - 1]) {
      const changed = token.slice(0, at) + (token[at] === 'A' ? 'B' : 'A') + token.slice(at + 1);
      const client = await resumeWith(server, 'yuri', changed);
      assert.equal((await result(client)).resumed, false, `byte ${at}`);
      client.drop();
    }
  });
  test('of a client that said DISCONNECT are worth nothing', async () => {
    const client = await Client.enter(server, 'zoe');
    const { resume_token: token } = await established(client);
    client.send(Type.DISCONNECT, { code: 1000, reason: 'bye' });
    await client.ended;
    const again = await resumeWith(server, 'zoe', token);
    assert.equal((await result(again)).resumed, false);
    await again.error(4013);
    again.drop();
  });
  test('sessions with and without a connection are shown, and end with a kick', async () => {
    const client = await Client.enter(server, 'ines');
    const { resume_token: token, session_id: id } = await established(client);
    const shown = async () => {
      const { status, text } = await adminGet(server, '/api/v1/sessions?player=ines');
      assert.equal(status, 200);
      return JSON.parse(text);
    };
    const { total, complete, sessions: [session] } = await shown();
    assert.deepEqual({ total, complete }, { total: 1, complete: true });
    assert.equal(session.session_id, id);
    assert.equal(session.player_id, 'ines');
    assert.equal(session.connected, true);
    client.drop();
    await until(async () => (await shown()).sessions[0].connected === false, 'parked');
    const again = await resumeWith(server, 'ines', token);
    const { resume_token: next } = await established(again);
    assert.equal((await shown()).sessions[0].resumed, 1);
    assert.ok(JSON.parse((await adminGet(server, '/api/v1/sessions?limit=1')).text).total >= 1);
    assert.equal((await adminGet(server, '/api/v1/sessions?limit=0')).status, 400);
    await adminGet(server, '/api/v1/kick?player=ines', { method: 'POST' });
    assert.equal(await again.closeCode(), 1008);
    const last = await resumeWith(server, 'ines', next);
    assert.equal((await result(last)).resumed, false);
    await last.error(4013);
    last.drop();
  });
  test('resume while the older connection still seems alive ends that one', async () => {
    const first = await Client.enter(server, 'adam');
    const { resume_token: token } = await established(first);
    const second = await resumeWith(server, 'adam', token);
    assert.equal((await result(second)).resumed, true);
    assert.equal(await first.closeCode(), 4015);
    await second.seen('adam');
    second.drop();
  });
});

describe('policies', () => {
  test('second_login = "refuse": 409, the first connection stays, a resume replaces it', async () => {
    const server = await startServer({ session: { second_login: 'refuse' } });
    const first = await Client.enter(server, 'eve');
    const { resume_token: token } = await established(first);
    await assert.rejects(Client.connect(server, 'eve'), /HTTP 409/);
    first.send(Type.HEARTBEAT, Buffer.from('still'));
    await first.next(Type.PONG);
    const second = await resumeWith(server, 'eve', token);
    assert.equal((await result(second)).resumed, true);
    assert.equal(await first.closeCode(), 4015);
    second.drop();
    await until(async () => (await metrics(server)).sum('tidegate_sessions_parked') === 1, 'a parked session');
    const third = await Client.enter(server, 'eve');
    third.drop();
    await server.stop();
  });
  test('a session expires after session.resume_window, its token after session.token_lifetime', async () => {
    const server = await startServer({ session: { resume_window: '1s', token_lifetime: '3s' } });
    const client = await Client.connect(server, 'kim');
    const { resume_token: token } = await established(client);
    client.drop();
    const expired = async () => (await metrics(server)).sum('tidegate_sessions_ended_total', 'reason="expired"');
    await until(async () => await expired() === 1, 'the session expired');
    const again = await resumeWith(server, 'kim', token);
    const { resumed, reason } = await result(again);
    assert.equal(resumed, false);
    assert.match(reason, /ended|expired/);
    await again.error(4013);
    const { resume_token: next } = await established(again);
    await sleep(3500);
    again.drop();
    const late = await resumeWith(server, 'kim', next);
    assert.match((await result(late)).reason, /expired/);
    await late.error(4013);
    late.drop();
    await server.stop();
  });
  test('a fixed session.secret makes tokens that another server with it can read', async () => {
    const secret = 'the secret of two gateways, long enough';
    const one = await startServer({ session: { secret } });
    const client = await Client.connect(one, 'lea');
    const { resume_token: token } = await established(client);
    client.drop();
    const two = await startServer({ session: { secret } });
    const there = await resumeWith(two, 'lea', token);
    assert.match((await result(there)).reason, /session has ended/, 'a good token of a session it does not have');
    there.drop();
    const three = await startServer();
    const nowhere = await resumeWith(three, 'lea', token);
    assert.match((await result(nowhere)).reason, /not valid/);
    nowhere.drop();
    await within(Promise.all([one.stop(), two.stop(), three.stop()]), 'all stopped', long);
  });
});
