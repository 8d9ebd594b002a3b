// SPDX-License-Identifier: Apache-2.0
// Counters and what they did in the last second.
/** Sums over a sliding second, in tenths. */
export class Rate {
    slots = new Float64Array(10);
    slot = 0;
    total = 0;
    add(amount, now) {
        this.move(now);
        this.slots[this.slot % 10] += amount;
        this.total += amount;
    }
    perSecond(now) {
        this.move(now);
        return this.slots.reduce((a, b) => a + b, 0);
    }
    move(now) {
        const slot = Math.floor(now / 100);
        for (let i = Math.max(this.slot + 1, slot - 9); i <= slot; i += 1)
            this.slots[i % 10] = 0;
        this.slot = Math.max(this.slot, slot);
    }
}
/** Traffic of one direction, in all and by message type. */
export class Traffic {
    messages = new Rate();
    bytes = new Rate();
    types = new Map();
    add(type, size, now) {
        let channel = this.types.get(type);
        if (!channel)
            this.types.set(type, channel = { messages: new Rate(), bytes: new Rate() });
        channel.messages.add(1, now);
        channel.bytes.add(size, now);
        this.messages.add(1, now);
        this.bytes.add(size, now);
    }
    figures(now) { return Traffic.of(this.messages, this.bytes, now); }
    byType(now) {
        return new Map([...this.types].map(([type, c]) => [type, Traffic.of(c.messages, c.bytes, now)]));
    }
    static of(messages, bytes, now) {
        return {
            messages: messages.total, bytes: bytes.total, messagesPerSecond: messages.perSecond(now),
            bytesPerSecond: bytes.perSecond(now),
        };
    }
}
