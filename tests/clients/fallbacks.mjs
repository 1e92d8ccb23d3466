// npm `undici`: its EventSource, its WebSocket and its fetch listen to one channel and must hear the same.
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { createRequire } from 'node:module';
import { EventSource, WebSocket, fetch } from 'undici';

const [main, count] = process.argv.slice(2);
const { version } = createRequire(import.meta.url)('undici/package.json');
const enough = Number(count);

const heard = { events: [], socket: [], lines: [] };
let wake = () => {};
const hear = (who, position, text) => { heard[who].push(`${position} ${text}`); wake(); };

const events = new EventSource(`http://${main}/ch/news`);
events.addEventListener('tick', ({ lastEventId, data }) => hear('events', lastEventId, data));
await once(events, 'open');

const socket = new WebSocket(`ws://${main}/ch/news?positions`);
socket.addEventListener('message', ({ data }) => {
  const { position, text, type } = JSON.parse(data);
  if (type !== 'subscribed') hear('socket', position, text);
});
await once(socket, 'open');

const answer = await fetch(`http://${main}/ch/news`, { headers: { Accept: 'application/x-ndjson' } });
assert.equal(answer.headers.get('content-type'), 'application/x-ndjson');
(async () => {
  let rest = '';
  for await (const chunk of answer.body.pipeThrough(new TextDecoderStream())) {
    const lines = (rest + chunk).split('\n');
    rest = lines.pop();
    for (const line of lines.filter((l) => l !== '')) {
      const { position, text, type } = JSON.parse(line);
      if (type !== 'subscribed') hear('lines', position, text);
    }
  }
})();
console.log('ready');

while (Object.values(heard).some((got) => got.length < enough)) await new Promise((resolve) => { wake = resolve; });
assert.deepEqual(heard.events, heard.socket);
assert.deepEqual(heard.events, heard.lines);
assert.deepEqual(heard.events.map((line) => line.split(' ')[1]), Array.from({ length: enough }, (_, n) => `m${n}`));
console.log('ok: three transports, one sequence');
console.log(`done: undici ${version}`);
process.exit(0);
