// SPDX-License-Identifier: Apache-2.0
// Counters and what they did in the last second.

/** Sums over a sliding second, in tenths. */
export class Rate {
  private readonly slots = new Float64Array(10);
  private slot = 0;
  total = 0;

  add(amount: number, now: number): void {
    this.move(now);
    this.slots[this.slot % 10]! += amount;
    this.total += amount;
  }
  perSecond(now: number): number {
    this.move(now);
    return this.slots.reduce((a, b) => a + b, 0);
  }
  private move(now: number): void {
    const slot = Math.floor(now / 100);
    for (let i = Math.max(this.slot + 1, slot - 9); i <= slot; i += 1) this.slots[i % 10] = 0;
    this.slot = Math.max(this.slot, slot);
  }
}

export interface ChannelFigures {
  messages: number;
  bytes: number;
  messagesPerSecond: number;
  bytesPerSecond: number;
}

/** Traffic of one direction, in all and by message type. */
export class Traffic {
  private readonly messages = new Rate();
  private readonly bytes = new Rate();
  private readonly types = new Map<number, { messages: Rate; bytes: Rate }>();

  add(type: number, size: number, now: number): void {
    let channel = this.types.get(type);
    if (!channel) this.types.set(type, channel = { messages: new Rate(), bytes: new Rate() });
    channel.messages.add(1, now);
    channel.bytes.add(size, now);
    this.messages.add(1, now);
    this.bytes.add(size, now);
  }
  figures(now: number): ChannelFigures { return Traffic.of(this.messages, this.bytes, now); }
  byType(now: number): Map<number, ChannelFigures> {
    return new Map([...this.types].map(([type, c]) => [type, Traffic.of(c.messages, c.bytes, now)]));
  }
  private static of(messages: Rate, bytes: Rate, now: number): ChannelFigures {
    return {
      messages: messages.total, bytes: bytes.total, messagesPerSecond: messages.perSecond(now),
      bytesPerSecond: bytes.perSecond(now),
    };
  }
}
