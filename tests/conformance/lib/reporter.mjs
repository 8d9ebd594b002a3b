// SPDX-License-Identifier: Apache-2.0
// Reporter for `node --test`: a line for each test, failures with their reason, and the counts as
// JSON in the file that TIDEGATE_RESULTS names. A test counts, a suite around tests does not; a file
// counts only when it failed as a whole (it did not load, or something broke outside its tests).
import { writeFileSync } from 'node:fs';
import { inspect } from 'node:util';

export default async function* report(source) {
  const counts = { passed: 0, failed: 0, skipped: 0, failures: [] };
  for await (const { type, data } of source) {
    if (type === 'test:stdout' || type === 'test:stderr') {
      yield data.message;
      continue;
    }
    if (type !== 'test:pass' && type !== 'test:fail') continue;
    const isFile = data.nesting === 0 && /\.mjs$/.test(data.name);
    const isSuite = data.details?.type === 'suite';
    const cause = data.details?.error?.cause ?? data.details?.error;
    // A container fails when a test in it failed, which has been told already.
    const childFailed = data.details?.error?.failureType === 'subtestsFailed';
    if (data.skip !== undefined && data.skip !== false) {
      counts.skipped += 1;
      yield `skipped ${data.name} (${data.skip === true ? '' : data.skip})\n`;
    } else if (type === 'test:pass') {
      if (isFile || isSuite) continue;
      counts.passed += 1;
      yield `ok      ${data.name} (${Math.round(data.details?.duration_ms ?? 0)} ms)\n`;
    } else if (!childFailed) {
      counts.failed += 1;
      const reason = String(cause?.message ?? inspect(cause)).split('\n', 1)[0];
      counts.failures.push(`${data.name}: ${reason}`);
      yield `not ok  ${data.name}: ${reason}\n${String(cause?.stack ?? inspect(cause)).replace(/^/gm, '        ')}\n`;
    }
  }
  if (process.env.TIDEGATE_RESULTS) {
    writeFileSync(process.env.TIDEGATE_RESULTS, JSON.stringify(counts));
  }
  yield `${counts.passed} passed, ${counts.failed} failed, ${counts.skipped} skipped\n`;
}
