// SPDX-License-Identifier: Apache-2.0
// The client's picture of the world, from either encoding: WORLD_STATE with ZONE_UPDATEs, or
// CELL_FRAMEs. Entities are known by name (player id) in both. Changes are told once for each
// WebSocket message, at its end, because an entity may leave one cell and enter another within it.
import { Cell, Col, readCellFrames, readCellHeader, type CellImage, type CellListener } from './cell.js';
import { Emitter } from './emitter.js';
import {
  Changed, InterestUpdate, WorldStateSnapshot, ZoneUpdate, type CellReport, type EnvironmentState, type PlayerStateDelta,
  type PlayerStateUpdate, type Quaternion,
} from './messages.js';
import { WireError } from './pb.js';

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
  desync: { cellX: number; cellZ: number; cause: 'checksum' | 'reference' | 'malformed' };
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

interface Held extends Entity {
  cell: Cell | undefined;
  /** The cell it went to and the tick until which it may turn up there. */
  waitUntil: number;
}

/** How long an entity that went to a cell in view may take to turn up there, in ticks. */
const HANDOVER_TICKS = 16;
const YAW_STEP = Math.PI / 128;

/** Rotation about y of a quaternion, radians from -pi to pi. */
export function yawOf(q: Quaternion): number {
  const yaw = 2 * Math.atan2(q.y, q.w);
  return yaw > Math.PI ? yaw - 2 * Math.PI : yaw <= -Math.PI ? yaw + 2 * Math.PI : yaw;
}
export const quaternionOf = (yaw: number): Quaternion => ({ x: 0, y: Math.sin(yaw / 2), z: 0, w: Math.cos(yaw / 2) });

export class WorldPicture extends Emitter<WorldEvents> implements CellListener {
  readonly entities: ReadonlyMap<string, Entity>;
  readonly counters: WorldCounters = {
    frames: 0, keyframes: 0, drops: 0, checksums: 0, checksumMismatches: 0, missingReferences: 0, malformed: 0,
    updates: 0, strays: 0,
  };
  /** Server tick of the newest state. */
  tick = 0;
  zone = '';
  viewDistance = 0;
  environment: EnvironmentState | undefined;
  /** Metres; the server may name another in ConnectionEstablished.features. */
  cellSize = 64;
  positionStep = 0.02;

  private readonly held = new Map<string, Held>();
  private readonly cells = new Map<string, Cell>();
  private readonly fresh = new Set<Held>();
  private readonly touched = new Set<Held>();
  private readonly left = new Set<Held>();
  private audited = 0;

  constructor() {
    super();
    this.entities = this.held;
  }

  get cellCount(): number { return this.cells.size; }

  clear(): void {
    for (const set of [this.fresh, this.touched, this.left]) set.clear();
    this.cells.clear();
    const gone = [...this.held.values()];
    this.held.clear();
    for (const entity of gone) this.emit('removed', entity);
    this.tick = 0;
    this.emit('cleared', undefined);
  }

  // ---- protobuf

  applyWorldState(payload: Uint8Array): void {
    const state = WorldStateSnapshot.decode(payload);
    this.counters.frames += 1;
    this.zone = state.zoneId;
    this.tick = state.tick;
    // It replaces what there is: who does not stand in it has left.
    for (const entity of this.held.values()) {
      entity.waitUntil = 0;
      this.left.add(entity);
    }
    state.players.forEach((s) => this.spawn(s, 0));
    state.npcs.forEach((s) => this.spawn(s, 1));
    state.objects.forEach((s) => this.spawn(s, 2));
    this.setEnvironment(state.environment);
  }

  applyZoneUpdate(payload: Uint8Array): void {
    const update = ZoneUpdate.decode(payload);
    this.counters.frames += 1;
    if (update.zoneId !== '') this.zone = update.zoneId;
    for (const { state, kind, custom } of update.spawns) {
      if (state) this.spawn(state, kind).custom = custom.length > 0 ? custom.slice() : undefined;
    }
    for (const id of update.despawns) {
      const entity = this.held.get(id);
      if (entity) this.left.add(entity);
      else this.counters.strays += 1;
    }
    for (const { delta, custom } of update.updates) {
      if (delta) this.update(delta, custom);
    }
    this.setEnvironment(update.environment);
  }

  applyInterestUpdate(payload: Uint8Array): void {
    const update = InterestUpdate.decode(payload);
    if (update.viewDistance > 0) this.viewDistance = update.viewDistance;
  }

  private setEnvironment(environment: EnvironmentState | undefined): void {
    if (!environment) return;
    this.environment = environment;
    this.emit('environment', environment);
  }

  private spawn(state: PlayerStateUpdate, kind: number): Held {
    const entity = this.take(state.playerId);
    entity.kind = kind;
    if (state.position) ({ x: entity.x, y: entity.y, z: entity.z } = state.position);
    if (state.rotation) entity.yaw = yawOf(state.rotation);
    if (state.velocity) ({ x: entity.vx, y: entity.vy, z: entity.vz } = state.velocity);
    entity.flags = state.stateFlags;
    entity.tick = state.tick !== 0 ? state.tick : this.tick;
    this.tick = Math.max(this.tick, state.tick);
    this.left.delete(entity);
    return entity;
  }

  private update(delta: PlayerStateDelta, custom: Uint8Array): void {
    this.counters.updates += 1;
    const entity = this.held.get(delta.playerId);
    if (!entity) {
      this.counters.strays += 1;
      return;
    }
    const changed = delta.changedFields;
    if ((changed & Changed.POSITION) !== 0 && delta.position) ({ x: entity.x, y: entity.y, z: entity.z } = delta.position);
    if ((changed & Changed.ROTATION) !== 0 && delta.rotation) entity.yaw = yawOf(delta.rotation);
    if ((changed & Changed.VELOCITY) !== 0 && delta.velocity) ({ x: entity.vx, y: entity.vy, z: entity.vz } = delta.velocity);
    if ((changed & Changed.FLAGS) !== 0) entity.flags = delta.stateFlags ?? 0;
    if (custom.length > 0) entity.custom = custom.slice();
    entity.tick = delta.deltaTick !== 0 ? delta.deltaTick : this.tick;
    this.tick = Math.max(this.tick, delta.deltaTick);
    this.touched.add(entity);
  }

  // ---- packed

  /** The payload of a CELL_FRAME. */
  applyCellFrames(payload: Uint8Array): void {
    try {
      readCellFrames(payload, (frame, tick) => this.applyCellFrame(frame, tick));
    } catch (error) {
      if (!(error instanceof WireError)) throw error;
      this.counters.malformed += 1;
    }
  }

  private applyCellFrame(payload: Uint8Array, tick: number): void {
    this.counters.frames += 1;
    let header;
    try {
      header = readCellHeader(payload, tick);
    } catch (error) {
      if (!(error instanceof WireError)) throw error;
      this.counters.malformed += 1;
      return;
    }
    const key = `${header.cellX},${header.cellZ}`;
    this.tick = Math.max(this.tick, header.tick);
    if (header.drop) {
      this.counters.drops += 1;
      this.cells.get(key)?.clear(this);
      this.cells.delete(key);
      return;
    }
    if (header.keyframe) this.counters.keyframes += 1;
    if (header.checksum !== undefined) this.counters.checksums += 1;
    let cell = this.cells.get(key);
    if (!cell) {
      cell = new Cell(header.cellX, header.cellZ);
      this.cells.set(key, cell);
    }
    const status = cell.apply(header, payload, this);
    if (status === 'ok') return;
    const where = { cellX: cell.x, cellZ: cell.z };
    if (status === 'checksumMismatch') {
      this.counters.checksumMismatches += 1;
      this.emit('desync', { ...where, cause: 'checksum' });
      this.emit('report', cell.report(true));
    } else if (status === 'missingReference') {
      this.counters.missingReferences += 1;
      this.emit('desync', { ...where, cause: 'reference' });
    } else {
      this.counters.malformed += 1;
      this.emit('desync', { ...where, cause: 'malformed' });
    }
  }

  /**
   * Of the cells that got no frame since the call before, the next one in turn: the server tells of no
   * checksum where nothing moves, so the client tells it its own.
   */
  quietReport(): CellReport | undefined {
    const quiet = [...this.cells.values()].filter((cell) => cell.quiet());
    if (quiet.length === 0) return undefined;
    this.audited += 1;
    return quiet[this.audited % quiet.length]!.report(false);
  }

  onEnter(cell: Cell, image: CellImage, slot: number): void {
    const entity = this.take(image.names[slot]!);
    entity.cell = cell;
    this.left.delete(entity);
    this.read(entity, cell, image, slot);
  }
  onLeave(cell: Cell, image: CellImage, slot: number, toX?: number, toZ?: number): void {
    const entity = this.held.get(image.names[slot]!);
    // It may have entered its next cell already.
    if (!entity || entity.cell !== cell) return;
    entity.cell = undefined;
    entity.waitUntil = toX !== undefined && this.cells.has(`${toX},${toZ}`) ? this.tick + HANDOVER_TICKS : 0;
    this.left.add(entity);
  }
  onChange(cell: Cell, image: CellImage, slot: number): void {
    this.counters.updates += 1;
    const entity = this.held.get(image.names[slot]!);
    if (!entity || entity.cell !== cell) return;
    this.read(entity, cell, image, slot);
    this.touched.add(entity);
  }

  private read(entity: Held, cell: Cell, image: CellImage, slot: number): void {
    const { rows } = image;
    const at = slot * Col.WIDTH;
    entity.kind = rows[at + Col.KIND]!;
    entity.x = cell.x * this.cellSize + rows[at + Col.X]! * this.positionStep;
    entity.y = rows[at + Col.Y]! * this.positionStep;
    entity.z = cell.z * this.cellSize + rows[at + Col.Z]! * this.positionStep;
    const yaw = rows[at + Col.YAW]!;
    entity.yaw = (yaw > 128 ? yaw - 256 : yaw) * YAW_STEP;
    entity.flags = rows[at + Col.FLAGS]! >>> 0;
    entity.tick = cell.tick;
  }

  // ---- both

  private take(id: string): Held {
    let entity = this.held.get(id);
    if (entity) {
      this.touched.add(entity);
      return entity;
    }
    entity = {
      id, kind: 0, x: 0, y: 0, z: 0, yaw: 0, vx: 0, vy: 0, vz: 0, flags: 0, tick: 0, custom: undefined, cell: undefined,
      waitUntil: 0,
    };
    this.held.set(id, entity);
    this.fresh.add(entity);
    return entity;
  }

  /** At the end of a WebSocket message: tells what it changed. */
  endMessage(): void {
    for (const entity of this.left) {
      if (entity.waitUntil > this.tick) continue;
      this.left.delete(entity);
      this.touched.delete(entity);
      this.held.delete(entity.id);
      if (!this.fresh.delete(entity)) this.emit('removed', entity);
    }
    for (const entity of this.fresh) {
      this.touched.delete(entity);
      this.emit('added', entity);
    }
    this.fresh.clear();
    for (const entity of this.touched) this.emit('changed', entity);
    this.touched.clear();
  }
}
