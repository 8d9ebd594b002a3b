// SPDX-License-Identifier: Apache-2.0
// uWebSockets as Bun serves it: echo, or one shared message to everyone through its own publish.
//   bun bun-echo.js --listen ADDR:PORT [--publish BYTES@HZ]
import { parse, payloadOf, every } from './arguments.mjs';

const { hostname, port, publish } = parse(process.argv.slice(2));
const server = Bun.serve({
  hostname,
  port,
  fetch(request, server) {
    return server.upgrade(request) ? undefined : new Response('upgrade only', { status: 426 });
  },
  websocket: {
    idleTimeout: 0,
    sendPings: false,
    perMessageDeflate: false,
    backpressureLimit: 16 << 20,
    open(socket) {
      if (publish) socket.subscribe('all');
    },
    message(socket, message) {
      if (!publish) socket.send(message);
    },
  },
});
if (publish) {
  const payload = payloadOf(publish.bytes);
  every(publish.hz, () => server.publish('all', payload));
}
