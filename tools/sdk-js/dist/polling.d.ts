// SPDX-License-Identifier: Apache-2.0
import type { Host, Socket } from './host.js';
export interface HttpAnswer {
    status: number;
    body: ArrayBuffer;
}
/** Rejects when there was no answer, or none within `ms`. */
export type HttpRequest = (method: string, url: string, body: Uint8Array | undefined, ms: number) => Promise<HttpAnswer>;
export declare const fetchRequest: HttpRequest;
/** What it needs of a Host. */
export type PollHost = Pick<Host, 'now' | 'setTimer' | 'clearTimer'> & {
    request: HttpRequest;
};
export declare class PollSocket implements Socket {
    private readonly host;
    binaryType: string;
    onopen: ((event: never) => void) | null;
    onmessage: ((event: {
        data: unknown;
    }) => void) | null;
    onclose: ((event: {
        code: number;
        reason: string;
        status?: number;
    }) => void) | null;
    onerror: ((event: never) => void) | null;
    private session;
    private ended;
    private leaving;
    private holdMs;
    private bodyBytes;
    private received;
    private sequence;
    private queue;
    private posting;
    private posted;
    private readonly pauses;
    constructor(host: PollHost, url: string, protocols: readonly string[]);
    send(data: Uint8Array): void;
    close(code?: number, reason?: string): void;
    private end;
    private pause;
    private open;
    private ask;
    private get;
    private post;
    private postAll;
    private leave;
}
