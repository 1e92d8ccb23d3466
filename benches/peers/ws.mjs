// npm's ws, as its own examples (echo server, server broadcast) use it: no compression (its default), messages passed
// on as they came. `node ws.mjs PORT echo|fan`: listens on 127.0.0.1 and prints the port. It is taken from where the
// clients of dunlin's tests are installed (tests/clients/install). `echo-deflate` and `fan-deflate` compress: level 1, no
// context kept, no threshold.

import { createRequire } from 'node:module';
import path from 'node:path';
import { fileURLToPath } from 'node:url';

const here = path.dirname(fileURLToPath(import.meta.url));
const require = createRequire(path.join(here, '../../tests/clients/package.json'));
const { WebSocketServer } = require('ws');

const [port, mode] = process.argv.slice(2);
if (port === '--version') {
    console.log(`${require('ws/package.json').version}, node ${process.versions.node}`);
    process.exit();
}

const perMessageDeflate = mode.endsWith('-deflate') && {
    zlibDeflateOptions: { level: 1 },
    serverNoContextTakeover: true,
    clientNoContextTakeover: true,
    threshold: 0,
};
const address = { host: '127.0.0.1', port: Number(port), backlog: 4096 };
const server = new WebSocketServer({ ...address, perMessageDeflate });
server.on('listening', () => console.log(server.address().port));
server.on('connection', (socket) => {
    socket.on('error', () => socket.terminate());
    socket.on('message', (data, binary) => {
        if (mode.startsWith('echo')) {
            socket.send(data, { binary });
            return;
        }
        for (const client of server.clients) {
            if (client.readyState === socket.OPEN) client.send(data, { binary });
        }
    });
});
