// SPDX-License-Identifier: Apache-2.0
export interface Kept {
    sequence: number;
    type: number;
    payload: Uint8Array;
}
/** Messages kept at most; further ones are refused. */
export declare const KEPT_MOST = 1024;
export declare class Delivery {
    private kept;
    private nextOut;
    private lastIn;
    private owed;
    duplicates: number;
    gaps: number;
    get unacknowledged(): number;
    /** The number for the `ack` field of the next message. */
    get ackOut(): number;
    /** Whether something came that was not acknowledged. */
    get ackOwed(): boolean;
    /** Takes a message in charge; undefined when too many wait already. */
    keep(type: number, payload: Uint8Array): Kept | undefined;
    onAck(ack: number): void;
    /** Whether a message of this sequence is to be handled; 0 always is. */
    accept(sequence: number, requiresAck: boolean): boolean;
    ackSent(): void;
    /** The session lives on: what is to be sent again, as it was. */
    resume(lastClientSequence: number): readonly Kept[];
    /** Another session: what is to be sent again, numbered from 1. */
    restart(): readonly Kept[];
}
