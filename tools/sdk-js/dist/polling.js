// SPDX-License-Identifier: Apache-2.0
export const fetchRequest = async (method, url, body, ms) => {
    const response = await fetch(url, {
        method,
        ...(body ? { body: body } : {}),
        cache: 'no-store',
        credentials: 'same-origin',
        keepalive: method === 'DELETE',
        signal: AbortSignal.timeout(ms),
    });
    return { status: response.status, body: await response.arrayBuffer() };
};
const ANSWER_MS = 10_000;
/** Of nothing but failures, then the connection counts as lost. */
const GIVE_UP_MS = 15_000;
const RETRY_MS = 100;
const RETRY_MOST_MS = 2000;
const ABNORMAL = 1006;
const text = (body) => new TextDecoder().decode(body);
const parse = (body) => {
    try {
        const value = JSON.parse(text(body));
        return typeof value === 'object' && value !== null ? value : {};
    }
    catch {
        return {};
    }
};
const numberOf = (value, otherwise) => typeof value === 'number' ? value : otherwise;
export class PollSocket {
    host;
    binaryType = 'arraybuffer';
    onopen = null;
    onmessage = null;
    onclose = null;
    onerror = null;
    session; // URL
    ended = false;
    leaving = false;
    holdMs = 20_000;
    bodyBytes = 0;
    received = 0; // bytes of the server's stream
    sequence = 0; // of POSTs
    queue = [];
    posting = false;
    posted = Promise.resolve(); // when the queue is empty
    pauses = new Set();
    constructor(host, url, protocols) {
        this.host = host;
        const at = new URL(url);
        at.protocol = at.protocol === 'wss:' ? 'https:' : 'http:';
        at.pathname = `${at.pathname}/poll`;
        if (protocols[0] !== undefined)
            at.searchParams.set('protocol', protocols[0]);
        void this.open(at);
    }
    send(data) {
        if (this.ended || this.leaving)
            return;
        this.queue.push(data.slice());
        this.post();
    }
    close(code = 1000, reason = '') {
        if (this.ended || this.leaving)
            return;
        this.leaving = true;
        if (this.session === undefined)
            this.end(code, reason);
        else
            void this.posted.then(() => this.leave(code, reason));
    }
    end(code, reason, status) {
        if (this.ended)
            return;
        this.ended = true;
        this.queue = [];
        for (const pause of [...this.pauses])
            pause.end();
        this.onclose?.({ code, reason, ...(status === undefined ? {} : { status }) });
    }
    pause(ms) {
        return new Promise((done) => {
            const pause = {
                timer: undefined,
                end: () => {
                    this.host.clearTimer(pause.timer);
                    this.pauses.delete(pause);
                    done();
                },
            };
            pause.timer = this.host.setTimer(pause.end, ms);
            this.pauses.add(pause);
        });
    }
    async open(at) {
        let answer;
        try {
            answer = await this.host.request('POST', at.href, undefined, ANSWER_MS);
        }
        catch (error) {
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
        this.onopen?.(undefined);
        void this.get();
        this.post();
    }
    // Makes a request until there is an answer; undefined: it is over.
    async ask(method, url, body, ms) {
        let lostAt; // first
        for (let tries = 0; !this.ended; tries += 1) {
            try {
                const answer = await this.host.request(method, url, body, ms);
                // Busy, or more connections than this address may have just now.
                if (answer.status !== 503 && answer.status !== 429)
                    return this.ended ? undefined : answer;
                await this.pause(Math.min(RETRY_MS << Math.min(tries + 2, 5), RETRY_MOST_MS));
            }
            catch (error) {
                lostAt ??= this.host.now();
                if (this.host.now() - lostAt > GIVE_UP_MS && !this.ended) {
                    this.end(ABNORMAL, `the server is not reached any more: ${String(error)}`);
                }
                // The first loss may be that of a connection that the other side had given up.
                if (tries > 0)
                    await this.pause(Math.min(RETRY_MS << Math.min(tries, 5), RETRY_MOST_MS));
            }
        }
        return undefined;
    }
    async get() {
        while (!this.ended && !this.leaving) {
            const url = `${this.session}?from=${this.received}`;
            const answer = await this.ask('GET', url, undefined, this.holdMs + ANSWER_MS);
            if (!answer || this.leaving)
                return;
            if (answer.status === 200) {
                this.received += answer.body.byteLength;
                this.onmessage?.({ data: answer.body });
            }
            else if (answer.status === 410) {
                const said = parse(answer.body);
                this.end(numberOf(said.code, ABNORMAL), typeof said.message === 'string' ? said.message : '');
            }
            else if (answer.status !== 204) {
                this.end(ABNORMAL, `the session is gone: HTTP ${answer.status}`);
            }
        }
    }
    post() {
        if (this.posting || this.session === undefined)
            return;
        this.posting = true;
        this.posted = this.postAll();
    }
    async postAll() {
        while (this.queue.length > 0 && !this.ended) {
            let size = this.queue[0].length;
            let count = 1;
            while (count < this.queue.length && size + this.queue[count].length <= this.bodyBytes) {
                size += this.queue[count].length;
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
    async leave(code, reason) {
        const { session } = this;
        this.end(code, reason);
        try {
            await this.host.request('DELETE', session, undefined, ANSWER_MS);
        }
        catch {
            // The server finds out by itself.
        }
    }
}
