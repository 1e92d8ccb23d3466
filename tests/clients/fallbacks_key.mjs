// npm `undici`'s EventSource at a closed door: 401 is the end, and a key opens it.
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { EventSource } from 'undici';

const [main, key] = process.argv.slice(2);
const stranger = new EventSource(`http://${main}/ch/news?token=guess`);
await once(stranger, 'error');
assert.equal(stranger.readyState, EventSource.CLOSED);
console.log('ok: a stranger is refused for good');

const guest = new EventSource(`http://${main}/ch/news?token=${key}`);
guest.addEventListener('message', ({ data }) => {
  console.log(`heard ${data}`);
  process.exit(0);
});
await once(guest, 'open');
console.log('ready');
