// SPDX-License-Identifier: Apache-2.0
// The map: everybody in view at the time shown, the own player as predicted, and where the server
// last knew it. Metres; x to the right, z down.
import { Pixels, pixelOf } from './pixels.js';

const COLORS = { back: '#10151c', grid: '#1d2836', axis: '#33465c', kinds: ['#5cb3ff', '#9ccc65', '#c39bd3'], self: '#ffb454', ghost: '#ff6b6b' };
const FEW = 1500;  // so many are drawn as arrows, more as squares
const TRAIL = 120;
const PIXELS = { back: pixelOf(COLORS.back), grid: pixelOf(COLORS.grid), axis: pixelOf(COLORS.axis), kinds: COLORS.kinds.map(pixelOf) };

export class WorldMap {
  scale = 3;  // pixels a metre
  drawn = 0;
  showTrail = false;
  camera = { x: 0, z: 0 };
  #trail = [];
  #pixels = new Pixels();

  constructor(canvas) {
    this.canvas = canvas;
    this.context = canvas.getContext('2d', { alpha: false });
    canvas.addEventListener('wheel', (event) => {
      event.preventDefault();
      this.zoom(Math.exp(-event.deltaY / 600));
    }, { passive: false });
  }
  zoom(by) { this.scale = Math.min(40, Math.max(0.2, this.scale * by)); }

  // `world`: eachRemote(now, each), self, prediction, cellSize. Called once a picture.
  draw(world, now) {
    const { canvas, context: c } = this;
    const ratio = window.devicePixelRatio || 1;
    const width = Math.round(canvas.clientWidth * ratio);
    const height = Math.round(canvas.clientHeight * ratio);
    if (canvas.width !== width || canvas.height !== height) {
      canvas.width = width;
      canvas.height = height;
    }
    const own = world.position ? world.shown(now) : undefined;
    if (own) this.camera = { x: own.x, z: own.z };
    const k = this.scale * ratio;
    const left = width / 2 - this.camera.x * k;
    const top = height / 2 - this.camera.z * k;

    this.drawn = 0;
    if (world.count > FEW) this.#crowd(world, now, k, left, top, width, height);
    else this.#few(world, now, k, left, top, ratio);
    if (own) this.#self(world, own, k, left, top, ratio);
  }

  // Many: squares on whole pixels.
  #crowd(world, now, k, left, top, width, height) {
    const pixels = this.#pixels;
    pixels.begin(width, height, PIXELS.back);
    const cell = world.cellSize * k;
    if (cell >= 8) {
      for (let x = left % cell; x < width; x += cell) pixels.fill(Math.floor(x), 0, 1, height, PIXELS.grid);
      for (let y = top % cell; y < height; y += cell) pixels.fill(0, Math.floor(y), width, 1, PIXELS.grid);
      pixels.fill(Math.floor(left), 0, 1, height, PIXELS.axis);
      pixels.fill(0, Math.floor(top), width, 1, PIXELS.axis);
    }
    const size = Math.round(Math.max(2, Math.min(7, k * 0.7)));
    const x0 = left - size / 2;
    const y0 = top - size / 2;
    world.eachRemote(now, (entity, pose) => {
      const x = Math.round(x0 + pose.x * k);
      const y = Math.round(y0 + pose.z * k);
      if (x <= -size || y <= -size || x >= width || y >= height) return;
      this.drawn += 1;
      pixels.fill(x, y, size, size, PIXELS.kinds[entity.kind] ?? PIXELS.kinds[0]);
    });
    pixels.show(this.context);
  }

  // Few: arrows, and close up with names.
  #few(world, now, k, left, top, ratio) {
    const { canvas: { width, height }, context: c } = this;
    c.fillStyle = COLORS.back;
    c.fillRect(0, 0, width, height);
    this.#grid(world.cellSize, k, left, top, width, height);
    const size = Math.min(12 * ratio, Math.max(5 * ratio, k * 0.9));
    let kind = -1;
    world.eachRemote(now, (entity, pose) => {
      const x = left + pose.x * k;
      const y = top + pose.z * k;
      if (x < -size || y < -size || x > width + size || y > height + size) return;
      this.drawn += 1;
      if (entity.kind !== kind) {
        kind = entity.kind;
        c.fillStyle = COLORS.kinds[kind] ?? COLORS.kinds[0];
      }
      this.#arrow(x, y, pose.yaw, size);
    });
    if (k > 10) {
      c.font = `${11 * ratio}px system-ui, "DejaVu Sans", sans-serif`;
      world.eachRemote(now, (entity, pose) => c.fillText(entity.id, left + pose.x * k + size, top + pose.z * k - size));
    }
  }

  #grid(cell, k, left, top, width, height) {
    const { context: c } = this;
    if (cell * k < 8) return;
    c.fillStyle = COLORS.grid;
    for (let x = left % (cell * k); x < width; x += cell * k) c.fillRect(x, 0, 1, height);
    for (let y = top % (cell * k); y < height; y += cell * k) c.fillRect(0, y, width, 1);
    c.fillStyle = COLORS.axis;
    c.fillRect(left, 0, 1, height);
    c.fillRect(0, top, width, 1);
  }

  // Yaw 0 looks along +z, that is down.
  #arrow(x, y, yaw, size) {
    const { context: c } = this;
    const sx = Math.sin(yaw) * size;
    const sy = Math.cos(yaw) * size;
    c.beginPath();
    c.moveTo(x + sx, y + sy);
    c.lineTo(x - sx * 0.7 + sy * 0.6, y - sy * 0.7 - sx * 0.6);
    c.lineTo(x - sx * 0.7 - sy * 0.6, y - sy * 0.7 + sx * 0.6);
    c.fill();
  }

  #self(world, own, k, left, top, ratio) {
    const { context: c } = this;
    const x = left + own.x * k;
    const y = top + own.z * k;
    const ghost = world.ghost;
    if (ghost) {
      const gx = left + ghost.x * k;
      const gy = top + ghost.z * k;
      c.strokeStyle = COLORS.ghost;
      c.lineWidth = 1.5 * ratio;
      c.beginPath();
      c.arc(gx, gy, Math.max(7 * ratio, k * 0.7), 0, 2 * Math.PI);
      c.moveTo(gx, gy);
      c.lineTo(x, y);
      c.stroke();
    }
    this.#trail.push([own.x, own.z, ghost?.x, ghost?.z]);
    if (this.#trail.length > TRAIL) this.#trail.shift();
    if (this.showTrail) {
      for (const [at, color] of [[0, COLORS.self], [2, COLORS.ghost]]) {
        c.fillStyle = color;
        for (const point of this.#trail) {
          if (point[at] !== undefined) c.fillRect(left + point[at] * k - 1, top + point[at + 1] * k - 1, 2, 2);
        }
      }
    }
    c.fillStyle = COLORS.self;
    this.#arrow(x, y, world.yaw, Math.max(9 * ratio, k * 0.8));
  }
}
