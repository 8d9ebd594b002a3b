// SPDX-License-Identifier: Apache-2.0
/** Sums over a sliding second, in tenths. */
export declare class Rate {
    private readonly slots;
    private slot;
    total: number;
    add(amount: number, now: number): void;
    perSecond(now: number): number;
    private move;
}
export interface ChannelFigures {
    messages: number;
    bytes: number;
    messagesPerSecond: number;
    bytesPerSecond: number;
}
/** Traffic of one direction, in all and by message type. */
export declare class Traffic {
    private readonly messages;
    private readonly bytes;
    private readonly types;
    add(type: number, size: number, now: number): void;
    figures(now: number): ChannelFigures;
    byType(now: number): Map<number, ChannelFigures>;
    private static of;
}
