// npm `undici`: subscribes with its WebSocket, publishes with its fetch over one kept connection.
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { createRequire } from 'node:module';
import { Client, WebSocket } from 'undici';

const [main, control] = process.argv.slice(2);
const { version } = createRequire(import.meta.url)('undici/package.json');

const ws = new WebSocket(`ws://${main}/ch/undici`);
const got = [];
let wake = () => {};
ws.addEventListener('message', (event) => { got.push(event.data); wake(); });
await once(ws, 'open');
assert.equal(ws.extensions, '');

const client = new Client(`http://${control}`);
let connections = 0;
client.on('connect', () => { connections += 1; });
for (const text of ['one', 'two', 'three']) {
  const { statusCode, body } = await client.request({ method: 'POST', path: '/ch/undici', body: text });
  assert.equal(statusCode, 200);
  assert.equal((await body.json()).receivers, 1);
}
assert.equal(connections, 1);
console.log('ok: three publications over one connection');

while (got.length < 3) await new Promise((resolve) => { wake = resolve; });
assert.deepEqual(got, ['one', 'two', 'three']);
console.log('ok: all three arrive in order');

const health = await client.request({ method: 'HEAD', path: '/healthz' });
assert.equal(health.statusCode, 200);
assert.equal(await health.body.text(), '');
await client.close();
const end = once(ws, 'close');
ws.close(3001, 'bye');
const [event] = await end;
assert.deepEqual([event.code, event.wasClean], [3001, true]);
console.log('ok: close');
console.log(`done: undici ${version}`);
