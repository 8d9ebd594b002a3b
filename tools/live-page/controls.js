// SPDX-License-Identifier: Apache-2.0
// Keys, the pointer and the panel.
import { PRESETS } from './sdk/index.js';

const KEYS = {
  KeyW: [0, -1], ArrowUp: [0, -1], KeyS: [0, 1], ArrowDown: [0, 1],
  KeyA: [-1, 0], ArrowLeft: [-1, 0], KeyD: [1, 0], ArrowRight: [1, 0],
};
const NEAR = 6;  // pixels from the player in which the pointer leads nowhere

// Which way the held keys lead: a vector of length 0 or 1, and whether to go slowly or to cheat.
export class Keyboard {
  #held = new Set();
  #slow = false;
  #cheat = false;
  constructor(onDigit) {
    const typing = (event) => event.target instanceof HTMLInputElement && event.target.type !== 'range';
    addEventListener('keydown', (event) => {
      if (typing(event) || event.ctrlKey || event.metaKey || event.altKey) return;
      this.#slow = event.shiftKey;
      if (KEYS[event.code]) {
        this.#held.add(event.code);
        event.preventDefault();
      } else if (event.code === 'Space' && !(event.target instanceof HTMLButtonElement)) {
        this.#cheat = true;
        event.preventDefault();
      } else if (/^(Digit|Numpad)[0-4]$/.test(event.code)) onDigit(Number(event.code.at(-1)));
    });
    addEventListener('keyup', (event) => {
      this.#slow = event.shiftKey;
      if (event.code === 'Space') this.#cheat = false;
      this.#held.delete(event.code);
    });
    addEventListener('blur', () => this.release());
  }
  release() {
    this.#held.clear();
    this.#cheat = false;
  }
  direction() {
    let x = 0;
    let z = 0;
    for (const key of this.#held) {
      x += KEYS[key][0];
      z += KEYS[key][1];
    }
    const length = Math.hypot(x, z) || 1;
    return { x: x / length, z: z / length, slow: this.#slow, cheat: this.#cheat };
  }
}

// Held down on the map, mouse or finger leads from the player, who is in the middle, to where it is. Two
// fingers zoom instead.
export class Pointer {
  #at = new Map();
  #apart = 0;
  constructor(canvas, zoom) {
    const place = (event) => [event.offsetX - canvas.clientWidth / 2, event.offsetY - canvas.clientHeight / 2];
    canvas.addEventListener('pointerdown', (event) => {
      if (event.button !== 0) return;
      canvas.setPointerCapture(event.pointerId);
      this.#at.set(event.pointerId, place(event));
      this.#apart = this.#distance();
    });
    canvas.addEventListener('pointermove', (event) => {
      if (!this.#at.has(event.pointerId)) return;
      this.#at.set(event.pointerId, place(event));
      if (this.#at.size !== 2) return;
      const now = this.#distance();
      if (this.#apart > 0) zoom(now / this.#apart);
      this.#apart = now;
    });
    for (const end of ['pointerup', 'pointercancel', 'lostpointercapture']) {
      canvas.addEventListener(end, (event) => { this.#at.delete(event.pointerId); });
    }
  }
  #distance() {
    const [a, b] = this.#at.values();
    return a && b ? Math.hypot(a[0] - b[0], a[1] - b[1]) : 0;
  }
  release() { this.#at.clear(); }
  // A vector of length 0 or 1.
  direction() {
    const [x, z] = this.#at.size === 1 ? this.#at.values().next().value : [0, 0];
    const length = Math.hypot(x, z);
    return length < NEAR ? { x: 0, z: 0 } : { x: x / length, z: z / length };
  }
}

// A row of buttons of which one is chosen. `choose(name)` is called, and marks it. `hints`: what each means.
export function choices(id, names, choose, hints = []) {
  const row = document.getElementById(id);
  const mark = (chosen) => {
    for (const button of row.children) button.setAttribute('aria-pressed', String(button.dataset.name === String(chosen)));
  };
  row.replaceChildren(...names.map((name, i) => {
    const button = Object.assign(document.createElement('button'), { textContent: name, type: 'button', title: hints[i] ?? '' });
    button.dataset.name = name;
    button.addEventListener('click', () => {
      mark(name);
      choose(name);
      button.blur();  // keys belong to the map
    });
    return button;
  }));
  return mark;
}

const SLIDERS = [
  ['latencyMs', 'latency', 400, 5, (v) => `${v} ms`],
  ['jitterMs', 'jitter', 300, 5, (v) => `${v} ms`],
  ['loss', 'loss', 0.1, 0.001, (v) => `${(v * 100).toFixed(1)} %`],
  ['bandwidth', 'bandwidth', 2_000_000, 10_000, (v) => (v === 0 ? 'no limit' : `${v / 1000} KB/s`)],
];

export function networkPanel(simulator) {
  const outputs = SLIDERS.map(([key, label, most, step, show]) => {
    const row = Object.assign(document.createElement('label'), { className: 'slider', textContent: label });
    const input = row.appendChild(Object.assign(document.createElement('input'), { type: 'range', min: 0, max: most, step }));
    const output = row.appendChild(document.createElement('output'));
    const refresh = () => {
      input.value = simulator.conditions[key];
      output.textContent = show(simulator.conditions[key]);
    };
    input.addEventListener('input', () => {
      simulator.conditions[key] = Number(input.value);
      mark('');
      refresh();
    });
    document.getElementById('sliders').append(row);
    return refresh;
  });
  const mark = choices('presets', Object.keys(PRESETS), (name) => {
    simulator.set(PRESETS[name]);
    for (const refresh of outputs) refresh();
  });
  mark('local');
  for (const refresh of outputs) refresh();
  document.getElementById('drop').addEventListener('click', (event) => {
    simulator.drop();
    event.target.blur();
  });
}
