// SPDX-License-Identifier: Apache-2.0
// libtidegate-client as its users meet it: installed, found by pkg-config, Meson and CMake, linked
// into the examples of examples/, which join a live server.
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { cpSync, existsSync, mkdirSync, readFileSync, readdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { Authority } from '../conformance/lib/certificates.mjs';
import { Client } from '../conformance/lib/client.mjs';
import { Process, metrics, programs, root, startServer, temporaryFolder } from '../conformance/lib/server.mjs';
import { tokenFor } from '../conformance/lib/tokens.mjs';
import { until, within } from '../conformance/lib/wait.mjs';

const folder = temporaryFolder();
const tree = join(folder, 'tree');
const examples = join(root, 'examples');
let prefix;
let libraries;
let sanitized;
let authority;
let server;
let neighbour;

const run = (command, args, options = {}) =>
  execFileSync(command, args, { encoding: 'utf8', stdio: ['ignore', 'pipe', 'pipe'], ...options });
const where = () => ({
  ...process.env, PKG_CONFIG_PATH: join(libraries, 'pkgconfig'), PKG_CONFIG_SYSROOT_DIR: tree, LD_LIBRARY_PATH: libraries,
});
// A sanitizer of the library has to be in the program too.
const flags = () => (sanitized ? ['-fsanitize=address,undefined'] : []);
const pkgConfig = (...args) => run('pkg-config', [...args, 'tidegate-client'], { env: where() }).trim().split(/\s+/);

async function runs(path, args, env = {}) {
  const child = new Process(path, args, { env: { ...where(), ASAN_OPTIONS: 'detect_leaks=1', ...env } });
  const { code } = await within(child.exited, `the end of ${path}`, 120_000);
  assert.equal(child.complaint(), null);
  assert.equal(code, 0, child.output);
  return child.output;
}
// Each program is a player of its own.
let players = 0;
const player = async (url = server.url) => [url, await tokenFor(`player-${players += 1}`)];

before(async () => {
  run('meson', ['install', '-C', programs, '--no-rebuild', '--destdir', tree, '--tags', 'runtime,devel']);
  const find = (at, name) => readdirSync(at, { withFileTypes: true, recursive: true }).find((entry) => entry.name === name);
  const header = find(tree, 'client.hpp');
  const library = find(tree, 'libtidegate-client.so');
  prefix = join(header.path ?? header.parentPath, '../..');
  libraries = library.path ?? library.parentPath;
  sanitized = run('nm', ['-D', '--undefined-only', join(libraries, 'libtidegate-client.so.1')]).includes('__asan_');
  authority = new Authority(folder);
  server = await startServer({
    listen: { websocket: '127.0.0.1:0', tls: '127.0.0.1:0' }, tls: { certificates: [authority.issue(['127.0.0.1', 'localhost']).pair] },
  }, { folder });
  neighbour = await Client.enter(server, 'neighbour');
});
after(async () => {
  await neighbour?.leave();
  await server?.stop();
});

describe('the installed tree', () => {
  test('holds the headers and the libraries, and nothing else', () => {
    const headers = readdirSync(join(prefix, 'include/tidegate')).sort();
    assert.deepEqual(headers, readdirSync(join(root, 'include/tidegate')).sort());
    assert.ok(existsSync(join(libraries, 'libtidegate-client.so.1')));
    assert.ok(existsSync(join(libraries, 'libtidegate.so.0')));
  });
  test('the ABI of the client is that of packaging/tidegate-client.abi', () => {
    // A change that is meant: a struct that grew at its end, a function that is new. TIDEGATE_WRITE_ABI=1 writes the file
    // anew; what was taken away or moved also raises TIDEGATE_CLIENT_ABI_VERSION and the library's soversion.
    const headers = join(folder, 'abi');
    mkdirSync(join(headers, 'tidegate'), { recursive: true });
    for (const name of ['client.h', 'c_types.h', 'export.h']) {
      cpSync(join(prefix, 'include/tidegate', name), join(headers, 'tidegate', name));
    }
    const baseline = join(root, 'packaging/tidegate-client.abi');
    const library = join(libraries, 'libtidegate-client.so.1');
    if (process.env.TIDEGATE_WRITE_ABI) {
      run('abidw', ['--headers-dir', headers, '--drop-private-types', '--no-corpus-path', '--no-comp-dir-path',
        '--no-show-locs', '--exported-interfaces-only', '--out-file', baseline, library]);
    }
    // Without debug information there is nothing to compare but names.
    assert.match(readFileSync(baseline, 'utf8'), /<class-decl name='tidegate_client_config'/);
    run('abidiff', ['--headers-dir2', headers, '--drop-private-types', '--exported-interfaces-only', baseline, library]);
  });
  test('the library exports what client.h declares, no more and no less', () => {
    const declared = readFileSync(join(prefix, 'include/tidegate/client.h'), 'utf8')
      .replace(/\/\*[\s\S]*?\*\//g, '').matchAll(/TIDEGATE_API[\s\S]*?\b(tidegate_client_\w+)\s*\(/g);
    const exported = run('nm', ['-D', '--defined-only', join(libraries, 'libtidegate-client.so.1')]).trim().split('\n')
      .map((line) => line.split(' ').at(-1).replace(/@.*/, '')).filter((name) => name !== 'TIDEGATE_CLIENT_1');
    assert.deepEqual(exported.sort(), [...declared].map((match) => match[1]).sort());
  });
  test('it depends on no library of the server but TLS and decompression', () => {
    const needed = run('readelf', ['-d', join(libraries, 'libtidegate-client.so.1')]);
    assert.match(needed, /SONAME.*libtidegate-client\.so\.1/);
    assert.doesNotMatch(needed, /NEEDED.*(liburing|libsimdjson|libprotobuf|libsqlite3|libhiredis|libnats|libcurl)/);
  });
});

describe('pkg-config', () => {
  const build = (compiler, source, ...more) => {
    const out = join(folder, `pkgconfig-${source.replace(/\W/g, '-')}`);
    run(compiler, [...more, '-Wall', '-Wextra', '-Werror', '-o', out, join(examples, source), ...flags(), ...pkgConfig('--cflags', '--libs')]);
    return out;
  };
  test('hello world in C99 sees its neighbour', async () => {
    const output = await runs(build('cc', 'client_hello.c', '-std=c99'), await player());
    assert.match(output, /^neighbour at /m);
  });
  test('hello world in C++17, without exceptions and RTTI', async () => {
    const output = await runs(build('c++', 'client_hello.cc', '-std=c++17', '-fno-exceptions', '-fno-rtti'), await player());
    assert.match(output, /^neighbour is here$/m);
    assert.match(output, /^neighbour at /m);
  });
  test('a token that is none ends both, and they say why', async () => {
    for (const program of [build('cc', 'client_hello.c', '-std=c99'), build('c++', 'client_hello.cc', '-std=c++17')]) {
      const child = new Process(program, [(await player())[0], 'none'], { env: where() });
      assert.equal((await within(child.exited, 'the end of the example', 60_000)).code, 1);
      assert.match(child.output, /^lost: .*401.*invalid_token/m);
    }
  });
  test('over wss, with an authority that is trusted and without', async () => {
    const hello = build('cc', 'client_hello.c', '-std=c99');
    const url = `wss://127.0.0.1:${server.tlsPort}/ws`;
    assert.match(await runs(hello, await player(url), { SSL_CERT_FILE: authority.file }), /^neighbour at /m);
    const before = await metrics(server);
    const child = new Process(hello, await player(url), { env: where() });
    const after = await until(async () => {
      const m = await metrics(server);
      return m.sum('tidegate_tls_failures_total') > before.sum('tidegate_tls_failures_total') && m;
    }, 'a handshake that the client ends');
    child.child.kill('SIGKILL');
    await within(child.exited, 'the end of the example', 60_000);
    assert.equal(after.sum('tidegate_tls_handshakes_total'), before.sum('tidegate_tls_handshakes_total'), 'it trusted a stranger');
  });
  test('the prediction example: refused, corrected, broken and back', async () => {
    const output = await runs(build('c++', 'client_prediction.cc', '-std=c++17'), await player());
    assert.match(output, /^refused with 4010$/m);
    assert.match(output, /corrections/);
  });
});

// The same two sources in a project of another build system.
function project(name, files) {
  const at = join(folder, name);
  mkdirSync(at);
  for (const source of ['client_hello.c', 'client_hello.cc']) cpSync(join(examples, source), join(at, source));
  for (const [path, text] of Object.entries(files)) writeFileSync(join(at, path), text);
  return at;
}

test('a Meson project', async () => {
  const at = project('meson-user', {
    'meson.build': `project('user', 'c', 'cpp', default_options: ['c_std=c99', 'cpp_std=c++17'])
client = dependency('tidegate-client')
executable('hello-c', 'client_hello.c', dependencies: client)
executable('hello-cc', 'client_hello.cc', dependencies: client)
`,
  });
  const out = join(at, 'out');
  run('meson', ['setup', out, at, ...(sanitized ? ['-Db_sanitize=address,undefined', '-Db_lundef=false'] : [])], { env: where() });
  run('meson', ['compile', '-C', out], { env: where() });
  assert.match(await runs(join(out, 'hello-c'), await player()), /^neighbour at /m);
});

test('a CMake project', async () => {
  const at = project('cmake-user', {
    'CMakeLists.txt': `cmake_minimum_required(VERSION 3.18)
project(user C CXX)
set(CMAKE_CXX_STANDARD 17)
find_package(tidegate-client REQUIRED)
add_executable(hello-c client_hello.c)
target_link_libraries(hello-c tidegate::client)
add_executable(hello-cc client_hello.cc)
target_link_libraries(hello-cc tidegate::client)
`,
  });
  const out = join(at, 'out');
  const sanitize = flags().join(' ');
  run('cmake', ['-S', at, '-B', out, `-DCMAKE_PREFIX_PATH=${prefix}`,
    `-DCMAKE_C_FLAGS=${sanitize}`, `-DCMAKE_CXX_FLAGS=${sanitize}`]);
  run('cmake', ['--build', out]);
  assert.match(await runs(join(out, 'hello-cc'), await player()), /^neighbour at /m);
});

test('docs/client-cpp.md quotes the examples as they are', () => {
  const page = readFileSync(join(root, 'docs/client-cpp.md'), 'utf8');
  for (const name of ['client_hello.c', 'client_hello.cc']) {
    const source = readFileSync(join(examples, name), 'utf8');
    const body = source.slice(source.indexOf('#include')).trimEnd();
    assert.ok(page.includes(`\n${body}\n`), `${name} differs from the page`);
  }
});
