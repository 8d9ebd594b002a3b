// SPDX-License-Identifier: Apache-2.0
// Browser client of tidegate. `TidegateClient` is the whole; the parts can be used alone.
export * from './backoff.js';
export * from './browser_host.js';
export * from './cell.js';
export * from './client.js';
export * from './clock.js';
export * from './connection.js';
export * from './delivery.js';
export * from './emitter.js';
export * from './frame.js';
export * from './host.js';
export * from './inflate.js';
export * from './input.js';
export * from './messages.js';
export { Message, WireError } from './pb.js';
export * from './playout.js';
export * from './polling.js';
export * from './prediction.js';
export * from './simulator.js';
export * from './states.js';
export * from './statistics.js';
export * from './steer_lead.js';
export * from './steering.js';
export * from './transport.js';
export * from './world.js';
export * from './xxh3.js';
