// SPDX-License-Identifier: Apache-2.0
// An authority and certificates of it, made by the openssl command in a folder of the test.
import { execFileSync } from 'node:child_process';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';

const openssl = (args) => execFileSync('openssl', args, { stdio: ['ignore', 'pipe', 'pipe'] });

export class Authority {
  constructor(folder) {
    this.folder = folder;
    this.key = join(folder, 'ca.key');
    this.file = join(folder, 'ca.pem');
    openssl(['req', '-x509', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes', '-keyout', this.key,
      '-out', this.file, '-days', '30', '-subj', '/CN=tidegate test authority']);
    this.pem = readFileSync(this.file);
  }

  // {certificate, key, pair} for these names, the first of which also names the files. kind: 'ec' or
  // 'rsa'. days may be negative: already expired.
  issue(names, { kind = 'ec', days = 30, file = names[0].replace('*', 'any') } = {}) {
    const path = (end) => join(this.folder, `${file}.${end}`);
    const algorithm = kind === 'ec' ? ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256'] : ['-newkey', 'rsa:2048'];
    openssl(['req', ...algorithm, '-nodes', '-keyout', path('key'), '-out', path('csr'), '-subj', `/CN=${names[0]}`]);
    const list = names.map((name) => (/^[0-9.]+$/.test(name) ? `IP:${name}` : `DNS:${name}`)).join(',');
    writeFileSync(path('ext'), `subjectAltName=${list}\n`);
    openssl(['x509', '-req', '-in', path('csr'), '-CA', this.file, '-CAkey', this.key, '-CAcreateserial', '-days', String(days),
      '-extfile', path('ext'), '-out', path('pem')]);
    return { certificate: path('pem'), key: path('key'), pair: `${path('pem')}:${path('key')}` };
  }
}
