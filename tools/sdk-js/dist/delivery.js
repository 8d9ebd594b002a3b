// SPDX-License-Identifier: Apache-2.0
// Acknowledged delivery: messages with `requiresAck` carry 1, 2, 3, … in each direction; `ack` says
// up to where all came. What was sent and not acknowledged is kept, and sent again after a
// reconnect: under its numbers when the session was resumed, under new ones otherwise.
/** Messages kept at most; further ones are refused. */
export const KEPT_MOST = 1024;
export class Delivery {
    kept = [];
    nextOut = 1;
    lastIn = 0;
    owed = false;
    duplicates = 0;
    gaps = 0;
    get unacknowledged() { return this.kept.length; }
    /** The number for the `ack` field of the next message. */
    get ackOut() { return this.lastIn; }
    /** Whether something came that was not acknowledged. */
    get ackOwed() { return this.owed; }
    /** Takes a message in charge; undefined when too many wait already. */
    keep(type, payload) {
        if (this.kept.length >= KEPT_MOST)
            return undefined;
        const message = { sequence: this.nextOut, type, payload };
        this.nextOut += 1;
        this.kept.push(message);
        return message;
    }
    onAck(ack) {
        if (ack > 0)
            this.kept = this.kept.filter((m) => m.sequence > ack);
    }
    /** Whether a message of this sequence is to be handled; 0 always is. */
    accept(sequence, requiresAck) {
        if (!requiresAck || sequence === 0)
            return true;
        this.owed = true;
        if (sequence <= this.lastIn) {
            this.duplicates += 1;
            return false;
        }
        if (sequence !== this.lastIn + 1) {
            this.gaps += 1;
            return false;
        }
        this.lastIn = sequence;
        return true;
    }
    ackSent() { this.owed = false; }
    /** The session lives on: what is to be sent again, as it was. */
    resume(lastClientSequence) {
        this.onAck(lastClientSequence);
        return this.kept;
    }
    /** Another session: what is to be sent again, numbered from 1. */
    restart() {
        this.lastIn = 0;
        this.owed = false;
        this.nextOut = 1;
        for (const message of this.kept) {
            message.sequence = this.nextOut;
            this.nextOut += 1;
        }
        return this.kept;
    }
}
