// SPDX-License-Identifier: Apache-2.0
// What the client needs of its surroundings: a clock, timers, chance, sockets. A browser has them
// all; tests hand in their own.
export const browserHost = () => ({
    now: () => performance.now(),
    wallClock: () => Date.now(),
    setTimer: (run, ms) => setTimeout(run, ms),
    clearTimer: (timer) => clearTimeout(timer),
    random: () => Math.random(),
    openSocket: (url, protocols) => new WebSocket(url, protocols),
});
