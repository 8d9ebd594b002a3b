// SPDX-License-Identifier: Apache-2.0
// A picture made of pixels in memory, for crowds: ten thousand squares are stores to an array and one
// copy to the canvas, where as many fillRect() calls would be a list that the browser draws a second
// time. Squares lie on whole pixels.
const LITTLE = new Uint8Array(new Uint32Array([1]).buffer)[0] === 1;

/** '#rrggbb' as a pixel. */
export function pixelOf(color) {
  const rgb = Number.parseInt(color.slice(1), 16);
  const [r, g, b] = [rgb >>> 16, (rgb >>> 8) & 255, rgb & 255];
  return (LITTLE ? (255 << 24) | (b << 16) | (g << 8) | r : (r << 24) | (g << 16) | (b << 8) | 255) >>> 0;
}

export class Pixels {
  width = 0;
  height = 0;
  #image;
  #data;

  /** Begins a picture of this size in one colour. */
  begin(width, height, color) {
    if (width !== this.width || height !== this.height) {
      this.#image = new ImageData(width, height);
      this.#data = new Uint32Array(this.#image.data.buffer);
      this.width = width;
      this.height = height;
    }
    this.#data.fill(color);
  }

  /** A rectangle of whole pixels; what lies outside is cut. */
  fill(x, y, width, height, color) {
    const from = Math.max(0, x);
    const to = Math.min(this.width, x + width);
    const end = Math.min(this.height, y + height);
    if (from >= to) return;
    const data = this.#data;
    for (let row = Math.max(0, y); row < end; row += 1) {
      const start = row * this.width;
      for (let i = start + from; i < start + to; i += 1) data[i] = color;
    }
  }

  show(context) {
    context.putImageData(this.#image, 0, 0);
  }
}
