// npm `ws` as a client of the application in tapr_app.mjs.
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { createRequire } from 'node:module';
import { WebSocket } from 'ws';

const url = process.argv[2];
const { version } = createRequire(import.meta.url)('ws/package.json');
const headers = { 'X-Bfl-User': 'alice', Cookie: 'auth_token=t; a=b' };
const ws = new WebSocket(url, ['a', 'b'], { headers });
await once(ws, 'open');
assert.equal(ws.protocol, 'a');
console.log('ok: of the subprotocols a, b the first is answered');

async function next() {
  const [data, isBinary] = await once(ws, 'message');
  assert.equal(isBinary, false);
  return data.toString();
}

for (const ping of ['{"event":"ping"}', '{"event":"ping","data":{}}', Buffer.from('{"event":"ping"}')]) {
  ws.send(ping);
  assert.equal(await next(), '{"event":"pong"}');
}
console.log('ok: pings are answered to the byte');

const data = { q: 'đặng <b>&', pad: 'é<'.repeat(34000) };
ws.send(JSON.stringify({ event: 'ask', data }));
assert.deepEqual(JSON.parse(await next()), { event: 'answer', data });
console.log('ok: the application answers, whole');

ws.send('{"event":"shout","data":1}');
assert.equal(await next(), '{"event":"shout","data":1}');
console.log('ok: the application reaches whom it has listed');

ws.send('{"event":"bye"}');
const [code] = await once(ws, 'close');
assert.equal(code, 1000);
console.log('ok: the application closes with 1000');
console.log(`done: ws ${version}`);
