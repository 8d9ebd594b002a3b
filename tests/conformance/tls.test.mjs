// SPDX-License-Identifier: Apache-2.0
// wss: Node's TLS and npm `ws` against the server and tidegate-echo; the rows of RFC 6455 once more,
// through records; certificates by name, reload, tickets, and what is refused.
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { copyFileSync, readFileSync, writeFileSync } from 'node:fs';
import { connect as connectTcp } from 'node:net';
import { join } from 'node:path';
import { after, describe, test } from 'node:test';
import { connect as connectTls } from 'node:tls';
import WebSocket from 'ws';
import { BINARY, binary, close, cuts, expectAll, fragments, gets, run, table, text } from './lib/cases.mjs';
import { Authority } from './lib/certificates.mjs';
import { Client } from './lib/client.mjs';
import { open } from './lib/raw.mjs';
import { adminGet, metrics, program, startEcho, startServer, temporaryFolder, writeConfig } from './lib/server.mjs';
import { patience, sleep, until, within } from './lib/wait.mjs';
import { closing, control, fragmentation, large, messages, violations } from './lib/websocket_cases.mjs';

const folder = temporaryFolder();
const authority = new Authority(folder);
const first = authority.issue(['game.example', '127.0.0.1', 'localhost']);
const second = authority.issue(['other.example', '*.wild.example'], { kind: 'rsa' });
const current = { certificate: join(folder, 'current.pem'), key: join(folder, 'current.key') };
const install = (from) => {
  copyFileSync(from.certificate, current.certificate);
  copyFileSync(from.key, current.key);
};
install(first);

const trust = { ca: authority.pem };
const echo = await startEcho(['--tls-cert', first.certificate, '--tls-key', first.key, '--connections', '256']);
echo.port = { port: echo.port, tls: { ...trust, servername: 'game.example' } };
const small = await startEcho(['--tls-cert', first.certificate, '--tls-key', first.key, '--message-bytes', '1024']);
small.port = { port: small.port, tls: { ...trust, servername: 'game.example' } };
const server = await startServer({
  listen: { websocket: '127.0.0.1:0', tls: '127.0.0.1:0' },
  tls: { certificates: [`${current.certificate}:${current.key}`, second.pair] },
}, { folder });
server.plainUrl = server.url;
server.url = `wss://127.0.0.1:${server.tlsPort}/ws`;
server.socketOptions = trust;
after(() => Promise.all([echo.stop(), small.stop(), server.stop()]));

// One TLS handshake; resolves with the socket when it is through.
function dial(port, options = {}) {
  const socket = connectTls({ port, host: '127.0.0.1', ...trust, ...options });
  return within(new Promise((done, fail) => {
    socket.once('secureConnect', () => done(socket));
    socket.once('error', fail);
  }), 'a TLS handshake');
}
const nameOf = async (port, servername) => {
  const socket = await dial(port, { servername, checkServerIdentity: () => undefined });
  const { subject } = socket.getPeerCertificate();
  socket.destroy();
  return subject.CN;
};

describe('RFC 6455 through records', () => {
  describe('messages', () => table(echo, messages()));
  describe('control frames', () => table(echo, control()));
  describe('violations', () => table(echo, violations()));
  describe('fragments', () => table(echo, fragmentation()));
  describe('closing', () => table(echo, closing()));
  describe('large messages', () => table(echo, large()));
  describe('a limit of 1,024 bytes', () => table(small, [
    ['1,024 bytes', [binary(Buffer.alloc(1024, 1))], gets.binary(Buffer.alloc(1024, 1))],
    ['1,025 bytes: 1009', [binary(Buffer.alloc(1025, 1))], gets.close(1009)],
    ['1,025 bytes in fragments: 1009', [Buffer.concat(fragments(BINARY, Buffer.alloc(1025, 1), cuts(1025, 25)))], gets.close(1009)],
  ]));
});

describe('npm ws', () => {
  test('echoes messages of 0 to 65,536 bytes', async () => {
    const socket = new WebSocket(`wss://127.0.0.1:${echo.port.port}/`, trust);
    await within(new Promise((done, fail) => { socket.on('open', done); socket.on('error', fail); }), 'the upgrade');
    for (const size of [0, 1, 125, 126, 1000, 16383, 16384, 16385, 32768, 65535, 65536]) {
      const payload = Buffer.alloc(size, size & 255);
      const answer = new Promise((done) => { socket.once('message', done); });
      socket.send(payload);
      assert.ok((await within(answer, `the echo of ${size} bytes`)).equals(payload), `${size} bytes`);
    }
    const closed = new Promise((done) => { socket.once('close', done); });
    socket.close(1000);
    assert.equal(await within(closed, 'the close'), 1000);
  });
  test('with rejectUnauthorized: false needs no authority, without it does', async () => {
    const url = `wss://127.0.0.1:${echo.port.port}/`;
    const careless = new WebSocket(url, { rejectUnauthorized: false });
    await within(new Promise((done, fail) => { careless.on('open', done); careless.on('error', fail); }), 'the upgrade');
    careless.terminate();
    const careful = new WebSocket(url);
    const error = await within(new Promise((done) => { careful.on('error', done); }), 'a refusal');
    assert.match(error.message, /self.signed|unable to (get|verify)/);
  });
});

describe('the server', () => {
  test('players by wss and by ws are in one world', async () => {
    const ann = await Client.enter(server, 'ann');
    const bob = await Client.enter({ url: server.plainUrl }, 'bob');
    await ann.seen('bob');
    await bob.seen('ann');
    assert.deepEqual([...ann.breaches, ...bob.breaches], []);
    ann.socket.close(1000);
    bob.socket.close(1000);
    assert.equal((await within(ann.ended, 'the close')).code, 1000);
  });
  test('a bad token is refused with its HTTP status', async () => {
    const socket = new WebSocket(`${server.url}?token=nonsense`, ['tidegate.v1.proto'], trust);
    socket.on('error', () => {});
    const status = await within(new Promise((done) => {
      socket.on('unexpected-response', (_, response) => done(response.statusCode));
    }), 'a refusal');
    assert.equal(status, 401);
  });
  test('certificates are chosen by server name', async () => {
    assert.equal(await nameOf(server.tlsPort, 'other.example'), 'other.example');
    assert.equal(await nameOf(server.tlsPort, 'a.wild.example'), 'other.example');
    assert.equal(await nameOf(server.tlsPort, 'game.example'), 'game.example');
    assert.equal(await nameOf(server.tlsPort, 'nobody.example'), 'game.example');
  });
  test('versions, ciphers and protocols', async () => {
    const options = { servername: 'game.example' };
    for (const [version, name] of [['TLSv1.2', 'TLSv1.2'], ['TLSv1.3', 'TLSv1.3']]) {
      const socket = await dial(server.tlsPort, { ...options, minVersion: version, maxVersion: version, ALPNProtocols: ['h2', 'http/1.1'] });
      assert.equal(socket.getProtocol(), name);
      assert.equal(socket.alpnProtocol, 'http/1.1');
      socket.destroy();
    }
    await assert.rejects(dial(server.tlsPort, { ...options, minVersion: 'TLSv1', maxVersion: 'TLSv1.1', ciphers: 'DEFAULT@SECLEVEL=0' }));
    await assert.rejects(dial(server.tlsPort, { ...options, ALPNProtocols: ['h2'] }));
    await assert.rejects(dial(server.tlsPort, { ...options, maxVersion: 'TLSv1.2', ciphers: 'AES128-SHA' }));
    const m = await metrics(server);
    assert.ok(m.sum('tidegate_tls_failures_total', 'no_shared_protocol') >= 1);
    assert.ok(m.sum('tidegate_tls_failures_total', 'no_shared_version') >= 1);
    assert.ok(m.sum('tidegate_tls_failures_total', 'no_shared_cipher') >= 1);
    assert.ok(m.sum('tidegate_tls_handshakes_total') >= 2);
    assert.ok(m.sum('tidegate_tls_certificate_expires_unix_seconds') > Date.now() / 1000);
  });
  test('a session ticket is good at every shard', async () => {
    for (const maxVersion of ['TLSv1.2', 'TLSv1.3']) {
      const options = { servername: 'game.example', maxVersion };
      const socket = await dial(server.tlsPort, options);
      let session = socket.getSession();
      socket.on('session', (ticket) => { session = ticket; });
      // A TLS 1.3 ticket comes behind the handshake; any answer is behind the ticket.
      socket.write('GET /x HTTP/1.1\r\n\r\n');
      await within(new Promise((done) => { socket.on('data', done); }), 'an answer');
      socket.destroy();
      for (let i = 0; i < 8; i += 1) {
        const again = await dial(server.tlsPort, { ...options, session });
        assert.ok(again.isSessionReused(), `${maxVersion}, visit ${i}`);
        again.destroy();
      }
    }
  });
  test('plain HTTP on the TLS port is ended and counted', async () => {
    const before = (await metrics(server)).sum('tidegate_tls_failures_total', 'not_tls');
    const socket = connectTcp({ port: server.tlsPort, host: '127.0.0.1' });
    socket.on('error', () => {});
    socket.write('GET / HTTP/1.1\r\nHost: x\r\n\r\n');
    await within(new Promise((done) => { socket.on('close', done); socket.resume(); }), 'the end');
    await until(async () => (await metrics(server)).sum('tidegate_tls_failures_total', 'not_tls') > before, 'the count');
  });
  test('a reload is for new connections, old ones go on', async () => {
    const old = await Client.enter(server, 'carl');
    const renewed = authority.issue(['renewed.example', '127.0.0.1'], { file: 'renewed' });
    install(renewed);
    assert.equal(await nameOf(server.tlsPort, 'game.example'), 'game.example');
    const answer = await adminGet(server, '/api/v1/tls/reload', { method: 'POST' });
    assert.equal(answer.status, 200, answer.text);
    assert.equal(JSON.parse(answer.text).ok, true);
    assert.equal(await nameOf(server.tlsPort, 'game.example'), 'renewed.example');
    const fresh = await Client.enter(server, 'dora');
    await old.seen('dora');
    assert.equal(old.closed, null);
    // What cannot be used changes nothing.
    writeFileSync(current.key, readFileSync(first.key));
    const refused = await adminGet(server, '/api/v1/tls/reload', { method: 'POST' });
    assert.equal(refused.status, 409);
    assert.match(JSON.parse(refused.text).message, /the key does not belong to the certificate/);
    assert.equal(await nameOf(server.tlsPort, 'game.example'), 'renewed.example');
    assert.equal((await adminGet(server, '/api/v1/tls/reload')).status, 405);
    assert.equal((await adminGet(server, '/api/v1/tls/reload', { method: 'POST', token: null })).status, 401);
    install(first);
    assert.equal((await adminGet(server, '/api/v1/tls/reload', { method: 'POST' })).status, 200);
    for (const client of [old, fresh]) client.socket.terminate();
  });
});

describe('peers that do not play along', () => {
  test('one that reads nothing is served when it goes on', async () => {
    const socket = await open(echo.port);
    const payload = Buffer.alloc(1 << 20, 'm');
    socket.socket.pause();
    socket.write(binary(payload));
    await sleep(200);
    socket.socket.resume();
    await expectAll(socket, [gets.binary(payload)]);
    socket.write(close(1000));
    await expectAll(socket, [gets.close(1000)]);
    socket.destroy();
  });
  test('one that never reads is cut at the backlog, others are served', async () => {
    const socket = await open(echo.port);
    socket.socket.pause();
    const ended = new Promise((done) => { socket.socket.on('close', done); });
    const payload = binary(Buffer.alloc(4 << 20, 'b'));
    for (let i = 0; i < 24; i += 1) socket.write(payload);
    await run(echo, { send: [text('meanwhile')], expect: [gets.text('meanwhile')] });
    await until(() => { socket.write(binary(Buffer.alloc(16))); return socket.ended || socket.socket.destroyed; },
      'the end of a peer that does not read', patience * 2);
    socket.socket.resume();
    socket.destroy();
    await ended;
  });
});

describe('check-config', () => {
  const check = (changes) => {
    const path = writeConfig(folder, { listen: { tls: '127.0.0.1:7443' }, ...changes });
    const { status, stdout, stderr } = spawnSync(program('tidegate'), ['check-config', path]);
    return { status, output: `${stdout}${stderr}` };
  };
  test('takes a good pair, with paths that start at its folder', () => {
    const { status, output } = check({ tls: { certificates: ['game.example.pem:game.example.key'] } });
    assert.equal(status, 0, output);
  });
  for (const [name, certificates, pattern] of [
    ['no certificates', [], /listen\.tls needs tls\.certificates/],
    ['a missing file', ['/nonexistent/a.pem:/nonexistent/a.key'], /tls\.certificates: cannot open \/nonexistent\/a\.pem/],
    ['a key of another certificate', [`${first.certificate}:${second.key}`], /other\.example\.key: the key does not belong to the certificate in .*game\.example\.pem/],
    ['a file that is no certificate', [`${first.key}:${first.key}`], /game\.example\.key: holds no certificate/],
  ]) {
    test(`names ${name}`, () => {
      const { status, output } = check({ tls: { certificates } });
      assert.equal(status, 2, output);
      assert.match(output, pattern);
    });
  }
  test('warns of an expired certificate', () => {
    const old = authority.issue(['old.example'], { days: -1 });
    const { status, output } = check({ tls: { certificates: [old.pair] } });
    assert.equal(status, 0, output);
    assert.match(output, /warning: .*old\.example\.pem: the certificate expired on/);
  });
  test('refuses a version that is not spoken', () => {
    assert.match(check({ tls: { certificates: [first.pair], min_version: '1.1' } }).output, /tls\.min_version must be/);
  });
});

describe('tidegate-load by wss', () => {
  const load = (args) => {
    const { status, stdout, stderr } = spawnSync(program('tidegate-load'), ['--url', `wss://127.0.0.1:${echo.port.port}/`,
      '--mode', 'echo', '--bots', '20', '--duration', '1s', '--processes', '1', ...args], { encoding: 'utf8' });
    return { status, output: `${stdout}${stderr}` };
  };
  test('with the authority', () => {
    const { status, output } = load(['--tls-ca', authority.file]);
    assert.equal(status, 0, output);
  });
  test('insecure, and by TLS 1.2', () => {
    const { status, output } = load(['--tls-insecure', '--tls12']);
    assert.equal(status, 0, output);
  });
  test('without the authority it says why not', () => {
    const { status, output } = load(['--tls-ca', second.certificate]);
    assert.equal(status, 1, output);
    assert.match(output, /certificate/);
  });
});
