// SPDX-License-Identifier: Apache-2.0
// Starts the programs under test on free ports and stops them. The folder with the programs comes
// from TIDEGATE_BIN, build/release without it.
import { spawn } from 'node:child_process';
import { existsSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { patience, within } from './wait.mjs';

export const root = resolve(dirname(fileURLToPath(import.meta.url)), '../../..');
export const programs = resolve(process.env.TIDEGATE_BIN ?? join(root, 'build/release'));
export const secret = 'conformance secret of more than thirty-two bytes';
export const adminToken = 'conformance-admin-token';

export function program(name) {
  const path = join(programs, name);
  if (!existsSync(path)) throw new Error(`${path} is not built; run tools/build`);
  return path;
}

export function temporaryFolder() {
  const folder = mkdtempSync(join(tmpdir(), 'tidegate-test-'));
  process.on('exit', () => rmSync(folder, { recursive: true, force: true }));
  return folder;
}

const literal = (value) => Array.isArray(value) ? `[${value.map(literal).join(', ')}]`
  : typeof value === 'string' ? JSON.stringify(value)
    : String(value);

// {section: {key: value}} as TOML. A number that must be a float is given as a string of class Float.
export class Float {
  constructor(value) { this.value = value; }
  toString() { return Number.isInteger(this.value) ? `${this.value}.0` : String(this.value); }
}
export const metres = (...values) => values.map((v) => new Float(v));

export function toml(sections) {
  return Object.entries(sections).map(([name, keys]) => `[${name}]\n${
    Object.entries(keys).map(([key, value]) => `${key} = ${literal(value)}\n`).join('')}`).join('\n');
}

// A running program with everything it wrote.
export class Process {
  constructor(path, args, options = {}) {
    this.output = '';
    this.child = spawn(path, args, { stdio: ['ignore', 'pipe', 'pipe'], ...options });
    this.exited = new Promise((done) => {
      this.child.on('error', (error) => done({ code: null, signal: null, error }));
      this.child.on('exit', (code, signal) => done({ code, signal }));
    });
    this.watchers = new Set();
    const take = (chunk) => {
      this.output += chunk;
      for (const watcher of this.watchers) watcher();
    };
    this.child.stdout.on('data', take);
    this.child.stderr.on('data', take);
    // A test that failed before its stop() must not keep the file alive; every wait has a timer.
    this.child.unref();
    for (const stream of this.child.stdio) stream?.unref?.();
    this.running = true;
    this.exited.then(() => {
      this.running = false;
      process.removeListener('exit', this.reap);
      for (const watcher of this.watchers) watcher();
    });
    this.reap = () => { if (this.running) this.child.kill('SIGKILL'); };
    process.on('exit', this.reap);
  }

  // Resolves with the match as soon as the output holds it.
  line(pattern) {
    const wait = new Promise((done, fail) => {
      const watcher = () => {
        const match = pattern.exec(this.output);
        if (match) done(match);
        else if (!this.running) fail(new Error(`it ended before it wrote ${pattern}:\n${this.output}`));
        else return;
        this.watchers.delete(watcher);
      };
      this.watchers.add(watcher);
      watcher();
    });
    return within(wait, `the line ${pattern} in:\n${this.output}`);
  }

  // What a sanitizer or an assert of the program reported, or null.
  complaint() {
    const match = /^.*(Sanitizer:|runtime error:|assertion|assert failed).*$/im.exec(this.output);
    return match ? this.output.slice(match.index, match.index + 4000) : null;
  }

  async stop(signal = 'SIGTERM') {
    if (this.running) this.child.kill(signal);
    const end = await within(this.exited, `the end of the process after ${signal}`, patience * 2);
    process.removeListener('exit', this.reap);
    const complaint = this.complaint();
    if (complaint) throw new Error(`the server complained:\n${complaint}`);
    if (signal === 'SIGTERM' && end.code !== 0) {
      throw new Error(`it ended with ${JSON.stringify(end)} after SIGTERM:\n${this.output.slice(-4000)}`);
    }
    return end;
  }
}

const defaults = {
  listen: { websocket: '127.0.0.1:0' },
  admin: { listen: '127.0.0.1:0', token: adminToken },
  shards: { count: 2 },
  auth: { hs256_secret: secret },
  drain: { grace: '0s', spread: '0s' },
};

export function writeConfig(folder, changes = {}, { withDefaults = true } = {}) {
  const sections = withDefaults ? structuredClone(defaults) : {};
  for (const [name, keys] of Object.entries(changes)) {
    sections[name] = { ...sections[name], ...keys };
    for (const [key, value] of Object.entries(sections[name])) {
      if (value === undefined) delete sections[name][key];
    }
  }
  const path = join(folder, `config-${Math.random().toString(36).slice(2)}.toml`);
  writeFileSync(path, toml(sections));
  return path;
}

// tidegate serve. `changes` are sections of the configuration over the defaults above.
export async function startServer(changes = {}, { folder = temporaryFolder(), args = [], env } = {}) {
  const config = writeConfig(folder, changes);
  const server = new Process(program('tidegate'), ['serve', '--config', config, ...args],
    { env: { ...process.env, ...env } });
  const websocket = await server.line(/websocket listening on (\S+):(\d+)/);
  const admin = await server.line(/admin listening on (\S+):(\d+)/);
  server.config = config;
  server.port = Number(websocket[2]);
  server.adminPort = Number(admin[2]);
  server.url = `ws://127.0.0.1:${server.port}/ws`;
  const secure = /tls listening on (\S+):(\d+)/.exec(server.output);
  if (secure) server.tlsPort = Number(secure[2]);
  server.adminUrl = `http://127.0.0.1:${server.adminPort}`;
  return server;
}

export async function startEcho(args = []) {
  // The server reads the variable itself; here it is a flag.
  const backend = process.env.TIDEGATE_IO_BACKEND ? ['--io', process.env.TIDEGATE_IO_BACKEND] : [];
  const server = new Process(program('tidegate-echo'), ['--listen', '127.0.0.1:0', '--shards', '1', ...backend, ...args]);
  const line = await server.line(/listening on (\S+):(\d+)/);
  server.port = Number(line[2]);
  server.url = `ws://127.0.0.1:${server.port}/`;
  return server;
}

// GET on the admin port, with the token unless told otherwise.
export async function adminGet(server, path, { token = adminToken, method = 'GET' } = {}) {
  const headers = token === null ? {} : { authorization: `Bearer ${token}` };
  const response = await within(fetch(server.adminUrl + path, { method, headers }), `an answer to ${path}`);
  return { status: response.status, type: response.headers.get('content-type') ?? '', text: await response.text() };
}

// /metrics as a map of "name{labels}" to number, and sums over labels.
export async function metrics(server) {
  const { status, text } = await adminGet(server, '/metrics');
  if (status !== 200) throw new Error(`/metrics answered ${status}`);
  const samples = [];
  for (const line of text.split('\n')) {
    const match = /^([a-z0-9_]+)(\{[^}]*\})? (\S+)$/.exec(line);
    if (match) samples.push({ name: match[1], labels: match[2] ?? '', value: Number(match[3]) });
  }
  const sum = (name, label = '') => samples.filter((s) => s.name === name && s.labels.includes(label))
    .reduce((total, s) => total + s.value, 0);
  return { text, samples, sum };
}
