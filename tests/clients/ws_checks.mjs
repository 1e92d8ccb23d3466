// npm `ws` against an echo route: subprotocols, sizes, pings, close codes.
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { createRequire } from 'node:module';
import { WebSocket } from 'ws';

const url = process.argv[2];
const { version } = createRequire(import.meta.url)('ws/package.json');

async function open(protocols = []) {
  const ws = new WebSocket(url, protocols);
  await once(ws, 'open');
  return ws;
}

async function closed(ws, code, reason) {
  const end = once(ws, 'close');
  ws.close(code, reason);
  return (await end)[0];
}

const offering = await open(['a', 'b']);
assert.equal(offering.protocol, 'a');
assert.equal(offering.extensions, '');
assert.equal(await closed(offering, 4000, 'done'), 4000);
console.log('ok: of the subprotocols a, b the first is answered');

const ws = await open();
assert.equal(ws.protocol, '');
const messages = ['text', Buffer.from([0, 255]), '', 'é'.repeat(40000), Buffer.alloc(200000, 7)];
for (const message of messages) {
  const arrived = once(ws, 'message');
  ws.send(message);
  const [data, isBinary] = await arrived;
  assert.equal(isBinary, typeof message !== 'string');
  assert.ok(Buffer.from(message).equals(data));
}
console.log('ok: same bytes and same type come back');

const arrived = once(ws, 'message');
ws.send('three ', { fin: false });
ws.ping('in between');
ws.send('fragments ', { fin: false });
ws.send('', { fin: false });
ws.send('and a ping', { fin: true });
const [pong] = await once(ws, 'pong');
assert.equal(pong.toString(), 'in between');
assert.equal((await arrived)[0].toString(), 'three fragments and a ping');
console.log('ok: a ping between fragments');

// Without a code the answer has none either, which `ws` shows as 1005.
assert.equal(await closed(ws), 1005);
console.log('ok: close without a code');

const refused = new WebSocket(url.replace('/echo', '/nothing-here'));
refused.on('error', () => {});
const [, response] = await once(refused, 'unexpected-response');
assert.equal(response.statusCode, 404);
refused.terminate();
console.log('ok: an unknown path is refused with 404');
console.log(`done: ws ${version}`);
