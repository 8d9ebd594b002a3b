// SPDX-License-Identifier: Apache-2.0
// A socket where WebSocket is blocked: HTTP long polling, as docs/protocol.md has it. One GET
// always waits for what the server has to say; what is to be sent goes in POSTs, one at a time. A
// request whose answer is lost is made again, under the same number, so that nothing is lost,
// doubled or out of order.
import type { Host, Socket } from './host.js';

export interface HttpAnswer {
  status: number;
  body: ArrayBuffer;
}
/** Rejects when there was no answer, or none within `ms`. */
export type HttpRequest = (method: string, url: string, body: Uint8Array | undefined, ms: number) => Promise<HttpAnswer>;

export const fetchRequest: HttpRequest = async (method, url, body, ms) => {
  const response = await fetch(url, {
    method,
    ...(body ? { body: body as BodyInit } : {}),
    cache: 'no-store',
    credentials: 'same-origin',
    keepalive: method === 'DELETE',
    signal: AbortSignal.timeout(ms),
  });
  return { status: response.status, body: await response.arrayBuffer() };
};

/** What it needs of a Host. */
export type PollHost = Pick<Host, 'now' | 'setTimer' | 'clearTimer'> & { request: HttpRequest };

const ANSWER_MS = 10_000;
/** Of nothing but failures, then the connection counts as lost. */
const GIVE_UP_MS = 15_000;
const RETRY_MS = 100;
const RETRY_MOST_MS = 2000;
const ABNORMAL = 1006;

const text = (body: ArrayBuffer): string => new TextDecoder().decode(body);
const parse = (body: ArrayBuffer): Record<string, unknown> => {
  try {
    const value: unknown = JSON.parse(text(body));
    return typeof value === 'object' && value !== null ? value as Record<string, unknown> : {};
  } catch {
    return {};
  }
};
const numberOf = (value: unknown, otherwise: number): number => typeof value === 'number' ? value : otherwise;

export class PollSocket implements Socket {
  binaryType = 'arraybuffer';
  onopen: ((event: never) => void) | null = null;
  onmessage: ((event: { data: unknown }) => void) | null = null;
  onclose: ((event: { code: number; reason: string; status?: number }) => void) | null = null;
  onerror: ((event: never) => void) | null = null;

  private session: string | undefined;  // URL
  private ended = false;
  private leaving = false;
  private holdMs = 20_000;
  private bodyBytes = 0;
  private received = 0;  // bytes of the server's stream
  private sequence = 0;  // of POSTs
  private queue: Uint8Array[] = [];
  private posting = false;
  private posted: Promise<void> = Promise.resolve();  // when the queue is empty
  private readonly pauses = new Set<{ timer: unknown; end: () => void }>();

  constructor(private readonly host: PollHost, url: string, protocols: readonly string[]) {
    const at = new URL(url);
    at.protocol = at.protocol === 'wss:' ? 'https:' : 'http:';
    at.pathname = `${at.pathname}/poll`;
    if (protocols[0] !== undefined) at.searchParams.set('protocol', protocols[0]);
    void this.open(at);
  }

  send(data: Uint8Array): void {
    if (this.ended || this.leaving) return;
    this.queue.push(data.slice());
    this.post();
  }

  close(code = 1000, reason = ''): void {
    if (this.ended || this.leaving) return;
    this.leaving = true;
    if (this.session === undefined) this.end(code, reason);
    else void this.posted.then(() => this.leave(code, reason));
  }

  private end(code: number, reason: string, status?: number): void {
    if (this.ended) return;
    this.ended = true;
    this.queue = [];
    for (const pause of [...this.pauses]) pause.end();
    this.onclose?.({ code, reason, ...(status === undefined ? {} : { status }) });
  }

  private pause(ms: number): Promise<void> {
    return new Promise((done) => {
      const pause = {
        timer: undefined as unknown,
        end: (): void => {
          this.host.clearTimer(pause.timer);
          this.pauses.delete(pause);
          done();
        },
      };
      pause.timer = this.host.setTimer(pause.end, ms);
      this.pauses.add(pause);
    });
  }

  private async open(at: URL): Promise<void> {
    let answer: HttpAnswer;
    try {
      answer = await this.host.request('POST', at.href, undefined, ANSWER_MS);
    } catch (error) {
      this.end(ABNORMAL, `no answer: ${String(error)}`);
      return;
    }
    const said = parse(answer.body);
    if (answer.status !== 200 || typeof said.id !== 'string') {
      this.end(ABNORMAL, `refused with HTTP ${answer.status}: ${text(answer.body)}`, answer.status);
      return;
    }
    this.session = `${at.origin}${at.pathname}/${said.id}`;
    this.holdMs = numberOf(said.hold_ms, this.holdMs);
    this.bodyBytes = numberOf(said.body_bytes, 0);
    if (this.ended || this.leaving) {
      void this.leave(1000, '');
      return;
    }
    this.onopen?.(undefined as never);
    void this.get();
    this.post();
  }

  // Makes a request until there is an answer; undefined: it is over.
  private async ask(method: string, url: string, body: Uint8Array | undefined, ms: number): Promise<HttpAnswer | undefined> {
    let lostAt: number | undefined;  // first
    for (let tries = 0; !this.ended; tries += 1) {
      try {
        const answer = await this.host.request(method, url, body, ms);
        // Busy, or more connections than this address may have just now.
        if (answer.status !== 503 && answer.status !== 429) return this.ended ? undefined : answer;
        await this.pause(Math.min(RETRY_MS << Math.min(tries + 2, 5), RETRY_MOST_MS));
      } catch (error) {
        lostAt ??= this.host.now();
        if (this.host.now() - lostAt > GIVE_UP_MS && !this.ended) {
          this.end(ABNORMAL, `the server is not reached any more: ${String(error)}`);
        }
        // The first loss may be that of a connection that the other side had given up.
        if (tries > 0) await this.pause(Math.min(RETRY_MS << Math.min(tries, 5), RETRY_MOST_MS));
      }
    }
    return undefined;
  }

  private async get(): Promise<void> {
    while (!this.ended && !this.leaving) {
      const url = `${this.session}?from=${this.received}`;
      const answer = await this.ask('GET', url, undefined, this.holdMs + ANSWER_MS);
      if (!answer || this.leaving) return;
      if (answer.status === 200) {
        this.received += answer.body.byteLength;
        this.onmessage?.({ data: answer.body });
      } else if (answer.status === 410) {
        const said = parse(answer.body);
        this.end(numberOf(said.code, ABNORMAL), typeof said.message === 'string' ? said.message : '');
      } else if (answer.status !== 204) {
        this.end(ABNORMAL, `the session is gone: HTTP ${answer.status}`);
      }
    }
  }

  private post(): void {
    if (this.posting || this.session === undefined) return;
    this.posting = true;
    this.posted = this.postAll();
  }

  private async postAll(): Promise<void> {
    while (this.queue.length > 0 && !this.ended) {
      let size = this.queue[0]!.length;
      let count = 1;
      while (count < this.queue.length && size + this.queue[count]!.length <= this.bodyBytes) {
        size += this.queue[count]!.length;
        count += 1;
      }
      const body = new Uint8Array(size);
      let at = 0;
      for (const message of this.queue.splice(0, count)) {
        body.set(message, at);
        at += message.length;
      }
      this.sequence += 1;
      const answer = await this.ask('POST', `${this.session}?seq=${this.sequence}`, body, ANSWER_MS);
      // That it was closed is said to the GET, with what came before.
      if (answer && answer.status !== 204 && answer.status !== 410) {
        this.end(ABNORMAL, `the server refused a message: HTTP ${answer.status}`);
      }
    }
    this.posting = false;
  }

  private async leave(code: number, reason: string): Promise<void> {
    const { session } = this;
    this.end(code, reason);
    try {
      await this.host.request('DELETE', session!, undefined, ANSWER_MS);
    } catch {
      // The server finds out by itself.
    }
  }
}
