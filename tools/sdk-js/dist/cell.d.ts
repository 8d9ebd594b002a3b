// SPDX-License-Identifier: Apache-2.0
import type { CellReport } from './messages.js';
/** Columns of a member's row in CellImage.rows. */
export declare const Col: {
    readonly LIVE: 0;
    readonly KIND: 1;
    readonly YAW: 2;
    readonly ID: 3;
    readonly X: 4;
    readonly Y: 5;
    readonly Z: 6;
    readonly FLAGS: 7;
    /** What the chain expects, in sixteenths of a step, and the tick in which it last told of the member. */
    readonly SPEED_X: 8;
    readonly SPEED_Y: 9;
    readonly SPEED_Z: 10;
    readonly OFFSET_X: 11;
    readonly OFFSET_Y: 12;
    readonly OFFSET_Z: 13;
    readonly TOLD: 14;
    /** Motion between the last two anchors that differ. */
    readonly PACE_X: 15;
    readonly PACE_Y: 16;
    readonly PACE_Z: 17;
    readonly WIDTH: 18;
};
export interface CellHeader {
    keyframe: boolean;
    drop: boolean;
    /** Who holds the anchor of this number is in the chain from here on. */
    tracks: boolean;
    /** Of the chain: layers refer to the image after this frame. */
    anchor: boolean;
    layer: number;
    cellX: number;
    cellZ: number;
    epoch: number;
    /** Of a delta the last 8 bits; how far back the image lies that it refers to. */
    frame: number;
    back: number;
    tick: number;
    checksum: bigint | undefined;
    /** Bytes of the header. */
    size: number;
}
/** Members by slot: `rows` holds Col.WIDTH numbers for each slot, `names` its name. */
export interface CellImage {
    readonly frame: number;
    readonly rows: Int32Array;
    readonly names: readonly string[];
}
export type CellStatus = 'ok' | 'malformed' | 'missingReference' | 'checksumMismatch';
/** What a frame did, in slots of the new image (left: of the old one). */
export interface CellListener {
    onEnter(cell: Cell, image: CellImage, slot: number): void;
    /** `toX`, `toZ`: the cell it went to, when the frame said so. */
    onLeave(cell: Cell, image: CellImage, slot: number, toX?: number, toZ?: number): void;
    onChange(cell: Cell, image: CellImage, slot: number): void;
}
/** The frames of a CELL_FRAME. Throws WireError; `each` got those in front of what is wrong. */
export declare function readCellFrames(payload: Uint8Array, each: (frame: Uint8Array, tick: number) => void): void;
/** Reads the header of a frame only. Throws WireError. */
export declare function readCellHeader(data: Uint8Array, tick: number): CellHeader;
/** What a checksum is made of: 24 bytes for each member in ascending slots. */
export declare function rowsOf(image: CellImage): Uint8Array;
/** XXH3-64 of an image, as the server computes it. */
export declare const checksumOf: (image: CellImage) => bigint;
/** The receiving side of one cell. */
export declare class Cell {
    readonly x: number;
    readonly z: number;
    /** The image shown: of the last frame applied. */
    image: CellImage;
    tick: number;
    private epoch;
    private anchor;
    private half;
    private layer;
    /** Predictors are those of the chain: layer 3 may follow. */
    private chained;
    /** The frame under way refers to the half. */
    private fromHalf;
    private lastChecksum;
    private looked;
    constructor(x: number, z: number);
    /** Whether a frame was applied and nothing has broken the chain since. */
    get intact(): boolean;
    /** Applies the frame `header` was read from. Only 'ok' and 'checksumMismatch' change the image. */
    apply(header: CellHeader, data: Uint8Array, listener: CellListener): CellStatus;
    /** What the server is told of this cell; with its members when the two are known to differ. */
    report(members: boolean): CellReport;
    /** Whether no frame came since this was asked before. */
    quiet(): boolean;
    /** Everybody leaves. */
    clear(listener: CellListener): void;
    private reached;
    private find;
    private motion;
    private setPaces;
    private tell;
    private compare;
}
