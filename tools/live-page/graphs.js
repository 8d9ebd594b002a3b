// SPDX-License-Identifier: Apache-2.0
// The overlay: 0 off, 1 one line, 2 graphs, 3 traffic by message type, 4 prediction as well.
import { nameOfType } from './sdk/index.js';

const WIDTH = 240;
const HEIGHT = 46;
const figure = (v) => v.toFixed(v < 100 && !Number.isInteger(v) ? 1 : 0);

function rowOf(cells) {
  const row = document.createElement('tr');
  row.append(...cells.map((text) => Object.assign(document.createElement('td'), { textContent: text })));
  return row;
}

// The last values of one or two figures, as lines on one scale.
export class Graph {
  #values = [];
  constructor(name, unit, lines) {
    this.name = name;
    this.unit = unit;
    this.lines = lines;
    this.figure = document.createElement('figure');
    this.caption = this.figure.appendChild(document.createElement('figcaption'));
    this.canvas = this.figure.appendChild(document.createElement('canvas'));
    this.canvas.width = WIDTH;
    this.canvas.height = HEIGHT;
  }
  get last() { return this.#values.at(-1) ?? []; }
  get peak() { return Math.max(0, ...this.#values.flat()); }
  push(...values) {
    this.#values.push(values.map((v) => (Number.isFinite(v) ? v : 0)));
    if (this.#values.length > WIDTH / 2) this.#values.shift();
  }
  draw() {
    const c = this.canvas.getContext('2d');
    const most = this.peak || 1;
    c.clearRect(0, 0, WIDTH, HEIGHT);
    this.lines.forEach(([, color], line) => {
      c.strokeStyle = color;
      c.beginPath();
      this.#values.forEach((v, i) => c.lineTo(i * 2, HEIGHT - 1 - (v[line] / most) * (HEIGHT - 4)));
      c.stroke();
    });
    // Each figure in the color of its line.
    const parts = this.lines.flatMap(([label, color], i) => {
      const part = Object.assign(document.createElement('span'), { textContent: `${label} ${figure(this.last[i] ?? 0)}` });
      part.style.color = color;
      return i === 0 ? [part] : [', ', part];
    });
    this.caption.replaceChildren(`${this.name}: `, ...parts, `${this.unit}, peak ${figure(this.peak)}`);
  }
}

export class Overlay {
  level = 1;
  graphs = {
    rtt: new Graph('round trip', ' ms', [['now', '#5cb3ff'], ['smoothed', '#ffb454']]),
    delay: new Graph('shown behind', ' ms', [['delay', '#5cb3ff'], ['late', '#ff6b6b']]),
    bytes: new Graph('traffic', ' KB/s', [['in', '#9ccc65'], ['out', '#ffb454']]),
    error: new Graph('prediction', ' cm', [['smoothed', '#ffb454'], ['ahead', '#ff6b6b']]),
    pending: new Graph('inputs on their way', '', [['now', '#5cb3ff']]),
  };
  #parts = Object.fromEntries(['line', 'graphs', 'channels'].map((id) => [id, document.getElementById(id)]));

  constructor() {
    for (const graph of Object.values(this.graphs)) this.#parts.graphs.append(graph.figure);
  }

  set(level) {
    this.level = level;
    this.#parts.line.hidden = level < 1;
    this.#parts.graphs.hidden = level < 2;
    this.#parts.channels.hidden = level < 3;
    for (const name of ['error', 'pending']) this.graphs[name].figure.hidden = level < 4;
  }

  // Ten times a second; the graphs keep their past while they are hidden.
  update(stats, fps, behind, late) {
    const { graphs } = this;
    graphs.rtt.push(stats.rttLastMs, stats.rttMs);
    graphs.delay.push(stats.delayMs, late);
    graphs.bytes.push(stats.bytesInPerSecond / 1000, stats.bytesOutPerSecond / 1000);
    graphs.error.push(stats.smoothingM * 100, behind * 100);
    graphs.pending.push(stats.pendingInputs);
    if (this.level >= 1) {
      this.#parts.line.textContent = `${fps.toFixed(0)} fps · rtt ${stats.rttMs.toFixed(1)} ms · behind ${stats.delayMs.toFixed(0)} ms · `
        + `${(stats.bytesInPerSecond / 1000).toFixed(1)} KB/s in · ${stats.entities} entities · tick ${stats.serverTick}`;
    }
    if (this.level >= 2) for (const graph of Object.values(graphs)) if (!graph.figure.hidden) graph.draw();
    if (this.level >= 3) this.#channels(stats);
  }

  #channels({ receivedByType, sentByType, received, sent, bytesInPerSecond, bytesOutPerSecond }) {
    const whole = (v) => (v === undefined ? '' : v.toFixed(0));
    const cellsOf = (figures) => [whole(figures?.messagesPerSecond), whole(figures?.bytesPerSecond)];
    const rows = [...new Set([...receivedByType.keys(), ...sentByType.keys()])].sort((a, b) => a - b)
      .map((type) => rowOf([nameOfType(type), ...cellsOf(receivedByType.get(type)), ...cellsOf(sentByType.get(type))]));
    rows.push(rowOf(['all, with envelopes', whole(received.messagesPerSecond), whole(bytesInPerSecond),
      whole(sent.messagesPerSecond), whole(bytesOutPerSecond)]));
    this.#parts.channels.querySelector('tbody').replaceChildren(...rows);
  }
}
