// SPDX-License-Identifier: Apache-2.0
// docs/tutorial.md as it is written: its files are made, its commands run in order in one shell. Only the
// places of two things are others here: the programs under test instead of a build of its own, and
// the npm module that the tests have.
import assert from 'node:assert/strict';
import { mkdirSync, readFileSync, symlinkSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { join } from 'node:path';
import { test } from 'node:test';
import { Process, programs, root, temporaryFolder } from '../conformance/lib/server.mjs';
import { within } from '../conformance/lib/wait.mjs';

// [{ sh }, { file, text }, { output }] in the page's order.
function parts(page) {
  const found = [];
  let file;
  for (let rest = page; ;) {
    const fence = /^(?:`([\w.]+)`:\n\n)?```(\w*)\n([\s\S]*?)^```$/m.exec(rest);
    if (!fence) return found;
    [, file] = fence;
    if (file) found.push({ file, text: fence[3] });
    else if (fence[2] === 'sh') found.push({ sh: fence[3] });
    else found.push({ output: fence[3] });
    rest = rest.slice(fence.index + fence[0].length);
  }
}
async function freePort() {
  const server = createServer().listen(0, '127.0.0.1');
  await new Promise((resolve) => server.once('listening', resolve));
  const { port } = server.address();
  await new Promise((resolve) => server.close(resolve));
  return port;
}

test('the tutorial does what it says', async () => {
  const folder = temporaryFolder();
  mkdirSync(join(folder, 'build'));
  symlinkSync(programs, join(folder, 'build/release'));
  for (const name of ['tools', 'docs']) symlinkSync(join(root, name), join(folder, name));
  const page = parts(readFileSync(join(root, 'docs/tutorial.md'), 'utf8'));
  const ports = { 7471: await freePort(), 7472: await freePort() };
  const here = (text) => Object.entries(ports).reduce((t, [from, to]) => t.replaceAll(from, String(to)), text);
  const sanitized = programs.endsWith('asan');
  let script = 'set -e\ntrap "kill -9 \\$(jobs -p) 2>/dev/null || true" EXIT\n';
  let built = false;
  for (const part of page) {
    if (part.file) {
      script += `cat > ${part.file} <<'END OF FILE'\n${here(part.text)}END OF FILE\n`;
    } else if (part.sh) {
      let sh = here(part.sh);
      if (!built) {
        assert.match(sh, /^tools\/build release\nmeson install -C build\/release /);
        sh = sh.replace(/^tools\/build release\n/, '').replace('meson install', 'meson install --no-rebuild');
        built = true;
      }
      // The module that the tests have, so that no registry is asked.
      sh = sh.replace(/ ws@\d+$/m, ` "${join(root, 'tests/conformance/node_modules/ws')}"`);
      // A sanitizer of the libraries has to be in the programs too.
      if (sanitized) sh = sh.replace(/^c\+\+ /gm, 'c++ -fsanitize=address,undefined ');
      script += `${sh}\n`;
    }
  }
  writeFileSync(join(folder, 'tutorial.sh'), script);
  const shell = new Process('timeout', ['--kill-after=5', '480', 'bash', 'tutorial.sh'], { cwd: folder });
  const { code } = await within(shell.exited, 'the end of the tutorial', 500_000);
  const { output } = shell;
  assert.equal(code, 0, output);
  for (const line of page.find((part) => part.output).output.trim().split('\n')) {
    assert.ok(output.split('\n').includes(line), `${line}\nis missing in\n${output}`);
  }
  assert.match(output, /handler="wave"/);
});
