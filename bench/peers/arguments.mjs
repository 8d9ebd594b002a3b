// SPDX-License-Identifier: Apache-2.0
// What both peer programs share: their command line, the benchmark payload and a drift-free timer.

export function parse(words) {
  const value = (name) => words[words.indexOf(name) + 1];
  const [hostname, port] = value('--listen').split(':');
  let publish;
  if (words.includes('--publish')) {
    const [bytes, hz] = value('--publish').split('@').map(Number);
    publish = { bytes, hz };
  }
  return { hostname, port: Number(port), publish };
}

export function payloadOf(bytes) {
  return Uint8Array.from({ length: bytes }, (_, i) => (i * 7 + 1) & 255);
}

// setInterval rounds the period to whole milliseconds and drifts; this keeps the mean rate. A
// missed tick is not made up for.
export function every(hz, action) {
  const period = 1000 / hz;
  let next = performance.now() + period;
  const turn = () => {
    const now = performance.now();
    if (now >= next) {
      action();
      while (next <= now) next += period;
    }
    setTimeout(turn, Math.max(0, next - performance.now()));
  };
  setTimeout(turn, period);
}
