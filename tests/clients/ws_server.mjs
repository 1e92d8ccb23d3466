// A server on npm `ws` to be loaded: /echo sends back, every other path is a room whose members all hear each message.
import { WebSocket, WebSocketServer } from 'ws';

const rooms = new Map();
const server = new WebSocketServer({ host: '127.0.0.1', port: 0, perMessageDeflate: false });

server.on('connection', (socket, { url }) => {
  if (url === '/echo') {
    socket.on('message', (data, binary) => socket.send(data, { binary }));
    return;
  }
  if (!rooms.has(url)) rooms.set(url, new Set());
  const room = rooms.get(url);
  room.add(socket);
  socket.on('close', () => room.delete(socket));
  socket.on('message', (data, binary) => {
    for (const member of room) {
      if (member.readyState === WebSocket.OPEN) member.send(data, { binary });
    }
  });
});
server.on('listening', () => console.log(`listening on ${server.address().port}`));
