// SPDX-License-Identifier: Apache-2.0
import { Cell, type CellImage, type CellListener } from './cell.js';
import { Emitter } from './emitter.js';
import { type CellReport, type EnvironmentState, type Quaternion } from './messages.js';
export interface Entity {
    readonly id: string;
    /** 0 player, 1 NPC, 2 object. */
    kind: number;
    /** Metres; the newest state received. */
    x: number;
    y: number;
    z: number;
    /** Rotation about y, radians. */
    yaw: number;
    /** Metres a second; the packed encoding does not carry it and leaves 0. */
    vx: number;
    vy: number;
    vz: number;
    flags: number;
    /** Server tick of the newest state. */
    tick: number;
    custom: Uint8Array | undefined;
}
export interface WorldEvents {
    added: Entity;
    changed: Entity;
    removed: Entity;
    /** The state of a cell differs from the server's, or cannot be followed until its next keyframe. */
    desync: {
        cellX: number;
        cellZ: number;
        cause: 'checksum' | 'reference' | 'malformed';
    };
    /** A cell whose checksum is wrong, to be sent to the server, which answers with a keyframe. */
    report: CellReport;
    environment: EnvironmentState;
    /** All entities were dropped: a new session begins. */
    cleared: undefined;
}
export interface WorldCounters {
    frames: number;
    keyframes: number;
    drops: number;
    checksums: number;
    checksumMismatches: number;
    missingReferences: number;
    malformed: number;
    updates: number;
    /** Updates of entities that are not known. */
    strays: number;
}
/** Rotation about y of a quaternion, radians from -pi to pi. */
export declare function yawOf(q: Quaternion): number;
export declare const quaternionOf: (yaw: number) => Quaternion;
export declare class WorldPicture extends Emitter<WorldEvents> implements CellListener {
    readonly entities: ReadonlyMap<string, Entity>;
    readonly counters: WorldCounters;
    /** Server tick of the newest state. */
    tick: number;
    zone: string;
    viewDistance: number;
    environment: EnvironmentState | undefined;
    /** Metres; the server may name another in ConnectionEstablished.features. */
    cellSize: number;
    positionStep: number;
    private readonly held;
    private readonly cells;
    private readonly fresh;
    private readonly touched;
    private readonly left;
    private audited;
    constructor();
    get cellCount(): number;
    clear(): void;
    applyWorldState(payload: Uint8Array): void;
    applyZoneUpdate(payload: Uint8Array): void;
    applyInterestUpdate(payload: Uint8Array): void;
    private setEnvironment;
    private spawn;
    private update;
    /** The payload of a CELL_FRAME. */
    applyCellFrames(payload: Uint8Array): void;
    private applyCellFrame;
    /**
     * Of the cells that got no frame since the call before, the next one in turn: the server tells of no
     * checksum where nothing moves, so the client tells it its own.
     */
    quietReport(): CellReport | undefined;
    onEnter(cell: Cell, image: CellImage, slot: number): void;
    onLeave(cell: Cell, image: CellImage, slot: number, toX?: number, toZ?: number): void;
    onChange(cell: Cell, image: CellImage, slot: number): void;
    private read;
    private take;
    /** At the end of a WebSocket message: tells what it changed. */
    endMessage(): void;
}
