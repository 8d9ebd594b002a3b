// SPDX-License-Identifier: Apache-2.0
// /?dots=10000: a world without a server, to measure the drawing alone. Each dot is an entity with
// its interpolation, as in the real world: a state 20 times a second, shown 60 times.
import { PlayoutClock, Track } from './sdk/index.js';

const TICK_MS = 1000 / 60;
const EVERY = 3;  // ticks between two states of a dot

export class SyntheticWorld {
  cellSize = 64;
  yaw = 0;
  #playout = new PlayoutClock();
  #dots = [];
  #tick = 0;
  #began = performance.now();
  #pose = { x: 0, y: 0, z: 0, yaw: 0 };

  constructor(count) {
    for (let i = 0; i < count; i += 1) {
      this.#dots.push({ entity: { id: `dot-${i}`, kind: 0 }, track: new Track(), a: i * 2.399963, r: 2 * Math.sqrt(i + 1), w: 8 / (40 + i / 40) });
    }
  }
  get count() { return this.#dots.length; }

  eachRemote(now, each) {
    const due = Math.floor((now - this.#began) / TICK_MS);
    for (; this.#tick < due; this.#tick += 1) {
      for (let i = this.#tick % EVERY; i < this.#dots.length; i += EVERY) {
        const dot = this.#dots[i];
        const angle = dot.a + dot.w * this.#tick * TICK_MS / 1000;
        dot.track.push(this.#tick + 1, dot.r * Math.sin(angle), 0, dot.r * Math.cos(angle), angle + Math.PI / 2);
      }
      this.#playout.onTick(this.#tick + 1, this.#began + (this.#tick + 1) * TICK_MS);
    }
    const shown = this.#playout.shownTick(now);
    if (Number.isNaN(shown)) return;
    const horizon = this.#playout.horizon;
    for (const { entity, track } of this.#dots) each(entity, track.sample(shown, this.#pose, horizon));
  }
}
