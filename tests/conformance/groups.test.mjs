// SPDX-License-Identifier: Apache-2.0
// Groups and users' lists, from the protocol document alone, on a server of two shards: GROUP_REQUEST,
// GROUP_EVENT, GROUP_STATE, SOCIAL_UPDATE, SOCIAL_LIST; what a blocked user's messages become; members of
// a party following each other.
import assert from 'node:assert/strict';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { Client } from './lib/client.mjs';
import { Type } from './lib/proto.mjs';
import { Float, adminGet, metres, metrics, startServer, temporaryFolder } from './lib/server.mjs';
import { tokenFor } from './lib/tokens.mjs';
import { until } from './lib/wait.mjs';

const Operation = { CREATE: 1, JOIN: 2, LEAVE: 3, INVITE: 4, DECLINE: 5, KICK: 6, SET_ROLE: 7, SET_ACCESS: 8, DISBAND: 9, LIST: 10 };
const Change = { CREATED: 1, JOINED: 2, LEFT: 3, KICKED: 4, INVITED: 5, DECLINED: 6, ROLE: 7, ACCESS: 8, DISBANDED: 9 };
const Role = { NONE: 0, MEMBER: 1, OFFICER: 2, LEADER: 3 };
const Sharing = { EVERYONE: 1, FRIENDS: 2, SELECTED: 3, NOBODY: 4 };
const Status = { ONLINE: 1, OFFLINE: 5 };

let server;
before(async () => {
  server = await startServer({
    groups: { kinds: 'party:4 guild:50 clan:3', per_user: 4 },
    social: { blocked: 3 },
    limits: { violations_per_minute: 1000 },
    world: { spawn: metres(0, 0, 0), view_distance: new Float(40), max_speed: new Float(50), linger: '2s' },
    interest: { full_rate_distance: new Float(16), half_rate_distance: new Float(24), quarter_rate_distance: new Float(32) },
  });
});
after(() => server.stop());

let count = 0;
const name = (what = 'user') => `groups-${what}-${++count}`;

// A client whose requests carry sequences, so that each REPLY is known.
class Member {
  static async open(user = name(), { permissions, enter = false, query = '' } = {}) {
    const member = new Member();
    member.user = user;
    member.client = await (enter ? Client.enter : Client.connect)(server, user, { token: await tokenFor(user, { permissions }), query });
    const established = await member.client.next(Type.CONNECTION_ESTABLISHED);
    member.resumeToken = established.payload.resume_token;
    await member.client.next(Type.AUTHENTICATION_RESULT);
    return member;
  }
  sequence = 0;
  async request(type, payload) {
    this.sequence += 1;
    const sequence = this.sequence;
    this.client.send(type, payload, { sequence, requires_ack: true });
    return (await this.client.next(Type.REPLY, (p) => Number(p.request_sequence) === sequence)).payload;
  }
  group(operation, group, more = {}) { return this.request(Type.GROUP_REQUEST, { operation, group, ...more }); }
  social(update) { return this.request(Type.SOCIAL_UPDATE, update); }
  events(group) { return this.client.all(Type.GROUP_EVENT).map((m) => m.payload).filter((e) => e.group === group); }
  event(group, change, user) {
    return this.client.next(Type.GROUP_EVENT, (e) => e.group === group && e.change === change && (user === undefined || e.user_id === user));
  }
  // The members as the last whole GROUP_STATE has them.
  async members(group) {
    const from = this.client.messages.length;
    assert.equal((await this.group(Operation.LIST, group)).code, 0);
    const { payload } = await this.client.next(Type.GROUP_STATE, (s) => s.group === group && !s.more, { from });
    return Object.fromEntries(payload.members.map((m) => [m.user_id, m.role]));
  }
  async publish(group, text) { return this.request(Type.PUBLISH, { topic: `group.${group}`, data: Buffer.from(text) }); }
  said(group) {
    return this.client.all(Type.EVENT).map((m) => m.payload).filter((e) => e.topic === `group.${group}`)
      .map((e) => `${e.source_user}: ${Buffer.from(e.data)}`);
  }
  heard(group, line) { return until(() => this.said(group).includes(line), `${line} at ${this.user}`); }
  async leave() {
    await this.client.leave();
    assert.deepEqual(this.client.breaches, []);
  }
}
const ok = async (reply) => { const r = await reply; assert.equal(r.code, 0, r.message); return r; };
const refused = async (reply, code) => assert.equal((await reply).code, code);
async function leave(...members) { for (const member of members) await member.leave(); }

describe('groups', () => {
  test('a party: created, invited to, joined, talked in, left', async () => {
    const [ann, bob, cat] = [await Member.open(), await Member.open(), await Member.open()];
    const { message: party } = await ok(ann.group(Operation.CREATE, 'party.'));
    assert.match(party, /^party\.[0-9a-f]{16}$/);
    await ann.client.next(Type.GROUP_STATE, (s) => s.group === party);
    await refused(bob.group(Operation.JOIN, party), 4005);
    await ok(ann.group(Operation.INVITE, party, { user_id: bob.user }));
    const invitation = await bob.event(party, Change.INVITED, bob.user);
    assert.equal(invitation.payload.by_user, ann.user);
    await ok(bob.group(Operation.JOIN, party));
    await ann.event(party, Change.JOINED, bob.user);
    await bob.client.next(Type.GROUP_STATE, (s) => s.group === party);
    assert.deepEqual(await bob.members(party), { [ann.user]: Role.LEADER, [bob.user]: Role.MEMBER });
    // Messages are for members alone.
    await ok(ann.publish(party, 'hello'));
    await bob.heard(party, `${ann.user}: hello`);
    await refused(cat.publish(party, 'me too'), 4005);
    await refused(cat.request(Type.SUBSCRIBE, { topic: `group.${party}` }), 4005);
    await refused(cat.group(Operation.LIST, party), 4005);
    await refused(bob.group(Operation.INVITE, party, { user_id: cat.user }), 4005);
    // The leader goes; who stays leads.
    await ok(ann.group(Operation.LEAVE, party));
    await ann.event(party, Change.LEFT, ann.user);
    const led = await bob.event(party, Change.ROLE, bob.user);
    assert.equal(led.payload.role, Role.LEADER);
    await until(async () => (await ann.publish(party, 'still here?')).code === 4005, 'the end of the membership');
    await ok(bob.group(Operation.DISBAND, party));
    await refused(bob.group(Operation.LIST, party), 4012);
    // Versions rise by one with each change and offsets order them.
    const versions = bob.events(party).filter((e) => e.offset !== 0).map((e) => Number(e.version));
    assert.deepEqual(versions, [...versions].sort((a, b) => a - b));
    await leave(ann, bob, cat);
  });

  test('roles: officers kick members, the lead is handed over, a kicked member hears no more', async () => {
    const [ann, bob, cat] = [await Member.open(), await Member.open(), await Member.open()];
    const guild = `guild.${name('g')}`;
    await ok(ann.group(Operation.CREATE, guild, { access: 1 }));
    for (const member of [bob, cat]) {
      await ok(member.group(Operation.JOIN, guild));
      await member.client.next(Type.GROUP_STATE, (s) => s.group === guild);
    }
    await refused(bob.group(Operation.KICK, guild, { user_id: cat.user }), 4005);
    await ok(ann.group(Operation.SET_ROLE, guild, { user_id: bob.user, role: Role.OFFICER }));
    await refused(bob.group(Operation.KICK, guild, { user_id: ann.user }), 4005);
    await ok(bob.group(Operation.KICK, guild, { user_id: cat.user }));
    await cat.event(guild, Change.KICKED, cat.user);
    await until(async () => (await cat.publish(guild, 'x')).code === 4005, 'the end of the membership');
    await ok(ann.publish(guild, 'cat is gone'));
    await bob.heard(guild, `${ann.user}: cat is gone`);
    await ok(ann.group(Operation.SET_ROLE, guild, { user_id: bob.user, role: Role.LEADER }));
    assert.deepEqual(await ann.members(guild), { [ann.user]: Role.OFFICER, [bob.user]: Role.LEADER });
    await ok(bob.group(Operation.SET_ACCESS, guild, { access: 0 }));
    await refused(cat.group(Operation.JOIN, guild), 4005);
    assert.deepEqual(cat.said(guild), []);
    await leave(ann, bob, cat);
  });

  test('names, kinds, limits and permissions', async () => {
    const ann = await Member.open();
    const admin = await Member.open(name('admin'), { permissions: ['group:*'] });
    await refused(ann.group(Operation.CREATE, 'party'), 4003);
    await refused(ann.group(Operation.CREATE, 'party.*'), 4003);
    await refused(ann.group(Operation.CREATE, `party.${'x'.repeat(200)}`), 4007);
    await refused(ann.group(Operation.CREATE, 'raid.x'), 4005);
    await refused(admin.group(Operation.CREATE, 'raid.x'), 4012);
    await refused(ann.group(Operation.CREATE, 'clan.x'), 4005);  // not of groups.create
    await ok(admin.group(Operation.CREATE, 'clan.x'));
    await refused(admin.group(Operation.CREATE, 'clan.x'), 4012);
    await refused(ann.group(99, 'clan.x'), 4003);
    const own = [];
    for (let i = 0; i < 4; i += 1) own.push((await ok(ann.group(Operation.CREATE, 'party.'))).message);
    await Promise.all(own.map((party) => ann.client.next(Type.GROUP_STATE, (s) => s.group === party)));
    await refused(ann.group(Operation.CREATE, 'party.'), 4012);
    // A moderator acts like a leader, without being a member.
    await ok(admin.group(Operation.DISBAND, own[0]));
    await ann.event(own[0], Change.DISBANDED);
    await leave(ann, admin);
  });

  test('memberships outlive the connection; a resumed session gets what it missed', async () => {
    const [ann, bob] = [await Member.open(), await Member.open()];
    const { message: party } = await ok(ann.group(Operation.CREATE, 'party.'));
    await ok(ann.group(Operation.INVITE, party, { user_id: bob.user }));
    await ok(bob.group(Operation.JOIN, party));
    await bob.client.next(Type.GROUP_STATE, (s) => s.group === party);
    await ok(ann.publish(party, 'one'));
    await bob.heard(party, `${ann.user}: one`);
    bob.client.socket.terminate();
    await bob.client.ended;
    await ok(ann.publish(party, 'two'));
    const back = await Member.open(bob.user, { query: `&resume=${bob.resumeToken}` });
    const result = await back.client.next(Type.RESUME_RESULT);
    assert.equal(result.payload.resumed, true, result.payload.reason);
    await back.client.next(Type.GROUP_STATE, (s) => s.group === party);
    await back.heard(party, `${ann.user}: two`);
    // A new login has the membership too, and what is said from then on.
    await back.leave();
    const anew = await Member.open(bob.user);
    await anew.client.next(Type.GROUP_STATE, (s) => s.group === party);
    await ok(ann.publish(party, 'three'));
    await anew.heard(party, `${ann.user}: three`);
    assert.deepEqual(anew.said(party), [`${ann.user}: three`]);
    // Kicked while away: nothing of the group after the resume.
    anew.client.socket.terminate();
    await anew.client.ended;
    await ok(ann.group(Operation.KICK, party, { user_id: anew.user }));
    await ok(ann.publish(party, 'four'));
    const last = await Member.open(bob.user, { query: `&resume=${anew.resumeToken}` });
    await last.client.next(Type.RESUME_RESULT);
    await refused(last.publish(party, 'x'), 4005);
    assert.ok(!last.said(party).some((line) => line.endsWith('four')));
    await leave(ann, last);
  });

  test('invitations wait for the login, and can be declined or taken back', async () => {
    const ann = await Member.open();
    const { message: party } = await ok(ann.group(Operation.CREATE, 'party.'));
    const [bob, cat] = [name('late'), name('later')];
    await ok(ann.group(Operation.INVITE, party, { user_id: bob }));
    await ok(ann.group(Operation.INVITE, party, { user_id: cat }));
    await refused(ann.group(Operation.INVITE, party, { user_id: cat }), 4012);
    const late = await Member.open(bob);
    await late.event(party, Change.INVITED, bob);
    await ok(late.group(Operation.DECLINE, party));
    await ann.event(party, Change.DECLINED, bob);
    await refused(late.group(Operation.JOIN, party), 4005);
    await ok(ann.group(Operation.DECLINE, party, { user_id: cat }));
    await ann.event(party, Change.DECLINED, cat);
    const later = await Member.open(cat);
    await refused(later.group(Operation.JOIN, party), 4005);
    assert.deepEqual(later.events(party), []);
    await leave(ann, late, later);
  });

  test('members of a party follow each other beyond the view', async () => {
    const [ann, bob, cat] = [await Member.open(name(), { enter: true }), await Member.open(name(), { enter: true }), await Member.open(name(), { enter: true })];
    const { message: party } = await ok(ann.group(Operation.CREATE, 'party.'));
    await ok(ann.group(Operation.INVITE, party, { user_id: bob.user }));
    await ok(bob.group(Operation.JOIN, party));
    await bob.client.next(Type.GROUP_STATE, (s) => s.group === party);
    // Bob walks away, two cells, so that neither sees the other's.
    let x = 0;
    await until(() => {
      x += 0.5;
      bob.client.move(x, 0, 0);
      return x > 140 && !ann.client.world.has(bob.user);
    }, 'bob out of view', 60_000);
    const state = await ann.client.next(Type.PLAYER_STATE, (p) => p.player_id === bob.user && p.position.x > 64, { from: ann.client.messages.length });
    assert.ok(state.payload.tick > 0);
    await bob.client.next(Type.PLAYER_STATE, (p) => p.player_id === ann.user);
    assert.equal(cat.client.all(Type.PLAYER_STATE).length, 0);
    await leave(ann, bob, cat);
  });
});

// One person's data, by the admin API.
describe('users', () => {
  test('what is known of a user is shown, and forgotten when asked', async () => {
    const [ann, bob] = [await Member.open(), await Member.open()];
    const { message: party } = await ok(ann.group(Operation.CREATE, 'party.'));
    await ok(bob.group(Operation.CREATE, 'party.'));
    await ok(ann.group(Operation.INVITE, party, { user_id: bob.user }));
    await ok(bob.group(Operation.JOIN, party));
    await ok(ann.social({ add_friends: [bob.user], block: ['mallory'], sharing: Sharing.FRIENDS }));
    await ok(bob.social({ add_friends: [ann.user] }));
    await ok(ann.publish(party, 'a secret'));
    await bob.heard(party, `${ann.user}: a secret`);
    const path = `/api/v1/users/${encodeURIComponent(ann.user)}`;
    const shown = JSON.parse((await adminGet(server, path)).text);
    assert.equal(shown.complete, true);
    assert.equal(shown.connections, 1);
    assert.deepEqual(shown.friends, [bob.user]);
    assert.deepEqual(shown.blocked, ['mallory']);
    assert.deepEqual(shown.groups, [{ group: party, role: Role.LEADER }]);
    assert.equal(shown.sharing, Sharing.FRIENDS);
    assert.equal(shown.named_by_others, 1);
    assert.deepEqual(shown.messages.map((m) => [m.topic, m.text]), [[`group.${party}`, 'a secret']]);
    const erased = await adminGet(server, `${path}/erase`, { method: 'POST' });
    assert.equal(erased.status, 200, erased.text);
    assert.equal(JSON.parse(erased.text).erased, true);
    // Who stays has the lead; nothing of her is left.
    await bob.event(party, Change.LEFT, ann.user);
    await until(async () => {
      const after = JSON.parse((await adminGet(server, path)).text);
      return after.complete && after.friends.length === 0 && after.blocked.length === 0 && after.groups.length === 0
        && after.named_by_others === 0 && after.messages.length === 0 && after.sharing === Sharing.EVERYONE;
    }, 'an empty export');
    // Offsets stay: what others said comes out of the history, her message does not.
    await ok(bob.publish(party, 'still here'));
    await ok(bob.request(Type.SUBSCRIBE, { topic: `group.${party}`, replay_from: 1 }));
    await until(() => bob.said(party).filter((line) => line === `${bob.user}: still here`).length === 2, 'the replay');
    assert.equal(bob.said(party).filter((line) => line.endsWith('a secret')).length, 1);
    await leave(ann, bob);
  });
});

describe('the file', () => {
  test('groups and lists come back', async () => {
    const path = join(temporaryFolder(), 'lists.db');
    let own = await startServer({ social: { path } });
    const first = server;
    server = own;
    try {
      const [ann, bob] = [await Member.open(), await Member.open()];
      const guild = `guild.${name('g')}`;
      await ok(ann.group(Operation.CREATE, guild, { access: 1 }));
      await ok(bob.group(Operation.JOIN, guild));
      await ok(ann.group(Operation.SET_ROLE, guild, { user_id: bob.user, role: Role.OFFICER }));
      await ok(ann.social({ block: ['mallory'], add_friends: [bob.user] }));
      await bob.event(guild, Change.ROLE, bob.user);
      await until(async () => (await metrics(own)).sum('tidegate_user_entries') === 4, 'the entries');
      await own.stop();
      own = await startServer({ social: { path } });
      server = own;
      const [again, cat] = [await Member.open(ann.user), await Member.open()];
      assert.deepEqual(await again.members(guild), { [ann.user]: Role.LEADER, [bob.user]: Role.OFFICER });
      await ok(again.social({}));
      const { payload } = await again.client.next(Type.SOCIAL_LIST);
      assert.deepEqual([payload.friends, payload.blocked], [[bob.user], ['mallory']]);
      await ok(cat.group(Operation.JOIN, guild));  // open as before
      await leave(again, cat);
    } finally {
      server = first;
      await own.stop();
    }
  });
});

describe('lists', () => {
  const watch = async (member, user) => {
    const from = member.client.messages.length;
    member.client.send(Type.PRESENCE_SUBSCRIBE, { user_ids: [user] });
    const { payload } = await member.client.next(Type.FRIEND_STATUS, () => true, { from });
    return payload.friends[0].status;
  };
  const shown = (member, user, status) => until(() => {
    const last = member.client.messages.filter((m) => (m.type === Type.PRESENCE_UPDATE && m.payload.user_id === user)
      || (m.type === Type.FRIEND_STATUS && m.payload.friends.some((f) => f.user_id === user))).at(-1);
    return (last?.payload.friends?.find((f) => f.user_id === user) ?? last?.payload)?.status === status;
  }, `${user} shown as ${status}`);

  test('a blocked user is not heard, and sees nothing', async () => {
    const [ann, bob, cat] = [await Member.open(), await Member.open(), await Member.open()];
    await until(async () => await watch(ann, bob.user) === Status.ONLINE && await watch(bob, ann.user) === Status.ONLINE, 'both online');
    const room = `room.${name('r')}`;
    for (const member of [ann, cat]) await ok(member.request(Type.SUBSCRIBE, { topic: room }));
    await ok(ann.social({ block: [bob.user] }));
    const list = await ann.client.next(Type.SOCIAL_LIST);
    assert.deepEqual(list.payload.blocked, [bob.user]);
    // Neither sees the other's presence any more.
    await shown(bob, ann.user, Status.OFFLINE);
    await shown(ann, bob.user, Status.OFFLINE);
    // What Bob publishes reaches Cat, not Ann; what the others say does.
    const say = (who, text) => ok(who.request(Type.PUBLISH, { topic: room, data: Buffer.from(text) }));
    const heard = (who) => who.client.all(Type.EVENT).map((m) => Buffer.from(m.payload.data).toString());
    await say(bob, 'from bob');
    await say(cat, 'from cat');
    await until(() => heard(ann).includes('from cat'), 'cat is heard');
    await until(() => heard(cat).includes('from bob'), 'bob is heard by cat');
    assert.deepEqual(heard(ann), ['from cat']);
    // Also not out of the history, nor as an invitation.
    await ok(ann.request(Type.SUBSCRIBE, { topic: room, replay_from: 1 }));
    await until(() => heard(ann).length === 2, 'the replay');
    assert.deepEqual(heard(ann), ['from cat', 'from cat']);
    const { message: party } = await ok(bob.group(Operation.CREATE, 'party.'));
    await ok(bob.group(Operation.INVITE, party, { user_id: ann.user }));
    await say(cat, 'after the invitation');
    await until(() => heard(ann).includes('after the invitation'), 'what came behind it');
    assert.deepEqual(ann.events(party), []);
    assert.ok((await metrics(server)).sum('tidegate_messages_blocked_total') >= 2);
    // It outlives the connection, and can be taken back.
    await ann.leave();
    const back = await Member.open(ann.user);
    await ok(back.request(Type.SUBSCRIBE, { topic: room }));
    await say(bob, 'again');
    await say(cat, 'and again');
    await until(() => heard(back).includes('and again'), 'cat is heard');
    assert.deepEqual(heard(back), ['and again']);
    await ok(back.social({ unblock: [bob.user] }));
    await shown(bob, ann.user, Status.ONLINE);
    await say(bob, 'once more');
    await until(() => heard(back).includes('once more'), 'bob is heard');
    await leave(back, bob, cat);
  });

  test('sharing with friends, with selected users, with nobody', async () => {
    const [ann, bob, cat] = [await Member.open(), await Member.open(), await Member.open()];
    await ok(ann.social({ sharing: Sharing.FRIENDS, add_friends: [bob.user] }));
    await until(async () => await watch(bob, ann.user) === Status.ONLINE, 'a friend sees her');
    assert.equal(await watch(cat, ann.user), Status.OFFLINE);
    await ok(ann.social({ sharing: Sharing.SELECTED, share_with: [cat.user] }));
    await shown(cat, ann.user, Status.ONLINE);
    await shown(bob, ann.user, Status.OFFLINE);
    await ok(ann.social({ sharing: Sharing.NOBODY }));
    await shown(cat, ann.user, Status.OFFLINE);
    assert.equal(await watch(ann, ann.user), Status.ONLINE);  // oneself always
    await ok(ann.social({ sharing: Sharing.EVERYONE }));
    await shown(cat, ann.user, Status.ONLINE);
    await shown(bob, ann.user, Status.ONLINE);
    await leave(ann, bob, cat);
  });

  test('bounds', async () => {
    const ann = await Member.open();
    await refused(ann.social({ block: ['a', 'b', 'c', 'd'] }), 4012);
    const { payload } = await ann.client.next(Type.SOCIAL_LIST);
    assert.deepEqual([...payload.blocked].sort(), ['a', 'b', 'c']);
    await refused(ann.social({ add_friends: Array.from({ length: 201 }, (_, i) => `f${i}`) }), 4007);
    ann.client.send(Type.SOCIAL_UPDATE, { block: [''] });
    await ann.client.error(4003);
    // Requests beyond the burst are refused until a moment later.
    const replies = await Promise.all(Array.from({ length: 300 }, () => ann.social({})));
    assert.ok(replies.some((reply) => reply.code === 4006));
    await until(async () => (await ann.social({})).code === 0, 'the rate recovers');
    await leave(ann);
  });
});
