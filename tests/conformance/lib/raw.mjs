// SPDX-License-Identifier: Apache-2.0
// HTTP and WebSocket on a bare TCP socket, to send what no library would. Where a port is asked for,
// {port, tls} may be given instead: options of Node's TLS for a server that speaks it.
import { createHash } from 'node:crypto';
import { connect } from 'node:net';
import { connect as connectTls } from 'node:tls';
import { patience, within } from './wait.mjs';

export const KEY = 'dGhlIHNhbXBsZSBub25jZQ==';  // the key of RFC 6455 section 1.3 and its answer
export const acceptOf = (key) => createHash('sha1').update(`${key}258EAFA5-E914-47DA-95CA-C5AB0DC85B11`).digest('base64');

// A request head; headers as [name, value] in order, undefined values are left out.
export function head({ method = 'GET', target = '/ws', version = 'HTTP/1.1', headers = {}, extra = [] } = {}) {
  const all = {
    Host: '127.0.0.1', Upgrade: 'websocket', Connection: 'Upgrade', 'Sec-WebSocket-Key': KEY,
    'Sec-WebSocket-Version': '13', ...headers,
  };
  const lines = Object.entries(all).filter(([, value]) => value !== undefined).map(([name, value]) => `${name}: ${value}`);
  return `${[`${method} ${target} ${version}`, ...lines, ...extra].join('\r\n')}\r\n\r\n`;
}

export class RawSocket {
  constructor(port, { host = '127.0.0.1', allowHalfOpen = false } = {}) {
    this.chunks = [];
    this.pending = 0;  // bytes that have come and were not taken
    this.wanted = 0;  // no use to parse with fewer bytes than these
    this.ended = false;
    this.wake = () => {};
    this.socket = typeof port === 'object'
      ? connectTls({ port: port.port, host, allowHalfOpen, ...port.tls })
      : connect({ port, host, allowHalfOpen, noDelay: true });
    this.socket.on('data', (chunk) => { this.chunks.push(chunk); this.pending += chunk.length; this.wake(); });
    this.socket.on('error', (error) => { this.error = error; this.ended = true; this.wake(); });
    this.socket.on('close', () => { this.ended = true; this.wake(); });
    this.socket.on('end', () => { this.ended = true; this.wake(); });
  }

  // All of it as one buffer; joined only when somebody looks, for big frames come in many chunks.
  get buffer() {
    if (this.chunks.length !== 1) this.chunks = [Buffer.concat(this.chunks)];
    return this.chunks[0];
  }
  set buffer(rest) { this.chunks = [rest]; this.pending = rest.length; this.wanted = 0; }

  write(bytes) { if (!this.socket.destroyed) this.socket.write(bytes); }
  destroy() { this.socket.destroy(); }

  // Waits until `parse(buffer)` returns something, or the end of the stream (null).
  async take(parse, what, ms = patience) {
    const wait = (async () => {
      for (;;) {
        const result = this.pending >= this.wanted || this.ended ? parse(this.buffer) : null;
        if (result) return result;
        if (this.ended) return null;
        await new Promise((done) => { this.wake = done; });
      }
    })();
    return within(wait, what, ms);
  }

  // An HTTP answer: status, headers (lower case), body. The rest stays in the buffer.
  async response(ms) {
    const found = await this.take((buffer) => {
      const end = buffer.indexOf('\r\n\r\n');
      if (end < 0) return null;
      const [status, ...lines] = buffer.subarray(0, end).toString('latin1').split('\r\n');
      const headers = Object.fromEntries(lines.map((line) => {
        const at = line.indexOf(':');
        return [line.slice(0, at).toLowerCase(), line.slice(at + 1).trim()];
      }));
      const length = Number(headers['content-length'] ?? 0);
      if (buffer.length < end + 4 + length) return null;
      return { line: status, status: Number(status.split(' ')[1]), headers,
        body: buffer.subarray(end + 4, end + 4 + length).toString(), bytes: end + 4 + length };
    }, 'an HTTP answer', ms);
    if (found) this.buffer = this.buffer.subarray(found.bytes);
    return found;
  }

  // The next WebSocket frame from the server, null at the end of the stream.
  async frame(ms) {
    const found = await this.take((buffer) => {
      if (buffer.length < 2) return null;
      let size = buffer[1] & 0x7f;
      let at = 2;
      if (size === 126) { if (buffer.length < 4) return null; size = buffer.readUInt16BE(2); at = 4; }
      else if (size === 127) { if (buffer.length < 10) return null; size = Number(buffer.readBigUInt64BE(2)); at = 10; }
      if (buffer.length < at + size) {
        this.wanted = at + size;
        return null;
      }
      return { fin: buffer[0] >> 7, rsv: (buffer[0] >> 4) & 7, opcode: buffer[0] & 15, masked: buffer[1] >> 7,
        payload: Buffer.from(buffer.subarray(at, at + size)), bytes: at + size };
    }, 'a WebSocket frame', ms);
    if (found) this.buffer = this.buffer.subarray(found.bytes);
    return found;
  }

  // The close code the server ends with; frames before it are dropped. null: it ended without one.
  async closeCode(ms) {
    for (;;) {
      const next = await this.frame(ms);
      if (next === null) return null;
      if (next.opcode === 8) return next.payload.length >= 2 ? next.payload.readUInt16BE(0) : 1005;
    }
  }
  // Resolves when the server has ended its side.
  end(ms) { return this.take(() => this.ended || null, 'the end of the stream', ms); }
}

// One request, one answer, over a connection of its own.
export async function request(port, bytes) {
  const socket = new RawSocket(port);
  socket.write(bytes);
  const answer = await socket.response();
  socket.destroy();
  if (answer === null) throw new Error('the server ended the connection without an answer');
  return answer;
}

// An open WebSocket.
export async function open(port, target = '/', headers = {}) {
  const socket = new RawSocket(port);
  socket.write(head({ target, headers }));
  const answer = await socket.response();
  if (answer?.status !== 101) throw new Error(`the upgrade was answered with ${answer?.line} ${answer?.body}`);
  return socket;
}

// A frame from a client, with every bit free to be wrong.
export function wsFrame(opcode, payload = Buffer.alloc(0), { fin = true, rsv = 0, masked = true,
  mask = Buffer.from([0x37, 0xfa, 0x21, 0x3d]), size = payload.length, lengthForm } = {}) {
  const form = lengthForm ?? (size < 126 ? 7 : size < 65536 ? 16 : 64);
  const header = Buffer.alloc(form === 7 ? 2 : form === 16 ? 4 : 10);
  header[0] = (fin ? 0x80 : 0) | (rsv << 4) | opcode;
  header[1] = (masked ? 0x80 : 0) | (form === 7 ? size : form === 16 ? 126 : 127);
  if (form === 16) header.writeUInt16BE(size, 2);
  if (form === 64) header.writeBigUInt64BE(BigInt(size), 2);
  if (!masked) return Buffer.concat([header, payload]);
  const body = Buffer.from(payload);
  for (let i = 0; i < body.length; i += 1) body[i] ^= mask[i & 3];
  return Buffer.concat([header, mask, body]);
}
export const closeFrame = (code, reason = '') => {
  const payload = Buffer.alloc(2 + Buffer.byteLength(reason));
  payload.writeUInt16BE(code, 0);
  payload.write(reason, 2);
  return wsFrame(8, payload);
};
