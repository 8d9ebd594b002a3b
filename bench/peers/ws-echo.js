// SPDX-License-Identifier: Apache-2.0
// npm ws on Node: echo, or one message sent to every client in a loop, as its manual shows.
//   node ws-echo.js --listen ADDR:PORT [--publish BYTES@HZ]
import { WebSocketServer } from 'ws';
import { parse, payloadOf, every } from './arguments.mjs';

const { hostname, port, publish } = parse(process.argv.slice(2));
const server = new WebSocketServer({
  host: hostname,
  port,
  backlog: 4096,
  perMessageDeflate: false,
});
server.on('connection', (socket) => {
  socket.on('error', () => {}); // the generator leaves by reset
  if (!publish) socket.on('message', (data, binary) => socket.send(data, { binary }));
});
if (publish) {
  const payload = payloadOf(publish.bytes);
  every(publish.hz, () => {
    for (const socket of server.clients) socket.send(payload, { binary: true });
  });
}
