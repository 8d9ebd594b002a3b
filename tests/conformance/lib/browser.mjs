// SPDX-License-Identifier: Apache-2.0
// Debian's chromium, driven by playwright-core. Where it is not installed or cannot start, `why` says so.
import { existsSync } from 'node:fs';

const CHROMIUM = ['/usr/bin/chromium', '/usr/bin/chromium-browser', '/usr/bin/google-chrome'];

export async function startBrowser() {
  const path = CHROMIUM.find((name) => existsSync(name));
  if (!path) return { why: 'no chromium is installed (tools/packages.txt, section test)' };
  try {
    const { chromium } = await import('playwright-core');
    const browser = await chromium.launch({ executablePath: path, args: ['--disable-gpu', '--no-first-run'] });
    return { browser };
  } catch (error) {
    return { why: `chromium does not start: ${String(error.message).split('\n')[0]}` };
  }
}
