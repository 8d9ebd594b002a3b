// SPDX-License-Identifier: Apache-2.0
// What the client needs of its surroundings: a clock, timers, chance, sockets. browser_host.ts has a
// browser's; tests hand in their own.
export {};
