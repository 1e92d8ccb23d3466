// npm `ws` with permessage-deflate, in all the ways it can be told to, against an echo that accepts it.
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { createRequire } from 'node:module';
import { WebSocket } from 'ws';

const url = process.argv[2];
const { version } = createRequire(import.meta.url)('ws/package.json');
const record = (n) => ({ id: n, name: `sensor ${n}`, state: 'ok' });
const messages = [1, 10, 100, 1000].map((k) => JSON.stringify([...Array(k).keys()].map(record)));

for (const [perMessageDeflate, answer] of [
  [true, 'permessage-deflate; server_no_context_takeover'],
  [{ threshold: 0 }, 'permessage-deflate; server_no_context_takeover'],
  [
    { threshold: 0, clientNoContextTakeover: true, serverNoContextTakeover: true },
    'permessage-deflate; server_no_context_takeover; client_no_context_takeover',
  ],
  [
    { threshold: 0, serverMaxWindowBits: 10, clientMaxWindowBits: 10 },
    'permessage-deflate; server_no_context_takeover; server_max_window_bits=10',
  ],
  [{ threshold: 0, serverMaxWindowBits: 8 }, ''],
]) {
  const ws = new WebSocket(url, { perMessageDeflate });
  const upgraded = once(ws, 'upgrade');
  await once(ws, 'open');
  const [response] = await upgraded;
  assert.equal(response.headers['sec-websocket-extensions'] ?? '', answer);
  for (const message of [...messages, '', Buffer.alloc(0), Buffer.alloc(200000, 7), ...messages]) {
    const arrived = once(ws, 'message');
    ws.send(message);
    const [data, isBinary] = await arrived;
    assert.equal(isBinary, typeof message !== 'string');
    assert.ok(Buffer.from(message).equals(data));
  }
  const arrived = once(ws, 'message');
  ws.send('first ', { fin: false });
  ws.ping('in between');
  ws.send('second', { fin: true });
  assert.equal((await arrived)[0].toString(), 'first second');
  const end = once(ws, 'close');
  ws.close(4000, 'done');
  assert.equal((await end)[0], 4000);
  console.log(`ok: ${JSON.stringify(perMessageDeflate)}`);
}
console.log(`done: ws ${version}`);
