// SPDX-License-Identifier: Apache-2.0
import { NetworkMessage } from './messages.js';
/** What stands in the envelope besides type and payload; all may be left out. */
export interface EnvelopeHead {
    timestamp?: number;
    sequence?: number;
    ack?: number;
    requiresAck?: boolean;
    priority?: number;
}
/** One whole frame. */
export declare function encodeFrame(type: number, payload: Uint8Array, head?: EnvelopeHead): Uint8Array;
/** The messages of one WebSocket message; payloads are views into it. Throws WireError: 4000, 4001, 4002. */
export declare function parseFrames(data: Uint8Array): NetworkMessage[];
