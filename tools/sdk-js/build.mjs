// SPDX-License-Identifier: Apache-2.0
// npm run build: src/*.ts -> dist/*.js with types (typescript) and dist/tidegate.global.js, one
// minified file that sets `tidegate` (esbuild). `node build.mjs FOLDER` writes elsewhere; the test
// that dist is current does so.
import { execFileSync } from 'node:child_process';
import { mkdirSync, readFileSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { dirname, join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { build } from 'esbuild';

const here = dirname(fileURLToPath(import.meta.url));
const out = resolve(process.argv[2] ?? join(here, 'dist'));
rmSync(out, { recursive: true, force: true });
mkdirSync(out, { recursive: true });
execFileSync(process.execPath, [join(here, 'node_modules/typescript/bin/tsc'), '-p', here, '--outDir', out],
  { stdio: 'inherit' });
const licence = '// SPDX-License-Identifier: Apache-2.0\n';
for (const name of readdirSync(out)) {
  // The compiler drops a head comment together with the types-only import behind it.
  const text = readFileSync(join(out, name), 'utf8');
  if (!text.startsWith(licence)) writeFileSync(join(out, name), licence + text);
}
await build({
  entryPoints: [join(here, 'src/index.ts')],
  outfile: join(out, 'tidegate.global.js'),
  bundle: true,
  minify: true,
  format: 'iife',
  globalName: 'tidegate',
  target: 'es2022',
  legalComments: 'none',
  banner: { js: licence.trim() },
});
