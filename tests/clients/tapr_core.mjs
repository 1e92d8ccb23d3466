// The WebSocket client of npm `@bytetrade/core` as the desktop sets it up: it compares each pong with its own text,
// byte by byte, and gives the connection up after one that is missing. Run it behind prelude.mjs, whose CLIENT_HURRY
// makes its intervals shorter.
//
// node --import ./prelude.mjs tapr_core.mjs INTERVALS [PONG]
//
// Says `done` after so many intervals, and `reconnect` whenever the client gives up and tries again.
import { createRequire } from 'node:module';

// What the client expects of a browser, beside the WebSocket that the prelude brings.
globalThis.window = new EventTarget();
const require = createRequire(import.meta.url);
const { WebSocketBean } = require('@bytetrade/core');

const [intervals, pong = '{"event":"pong"}'] = process.argv.slice(2);
let pongs = 0;
let reconnects = 0;
let opened = 0;
const bean = new WebSocketBean({
  url: globalThis.CLIENT_URL,
  needReconnect: true,
  reconnectMaxNum: 5,
  reconnectGapTime: 1000,
  heartSend: '{"event":"ping"}',
  heartGet: pong,
  heartGapTime: 30_000,
  heartFailNum: 1,
  onopen: () => {
    opened += 1;
    bean.send({ event: 'login', data: { id: opened } });
  },
  onmessage: (message) => {
    if (message.data === '{"event":"pong"}') pongs += 1;
  },
  onreconnect: () => {
    reconnects += 1;
    console.log('reconnect');
  },
});
bean.start();

let passed = 0;
// The same clock as the client's; one interval more than its pings, so that the last one has its answer.
setInterval(() => {
  passed += 1;
  if (passed <= Number(intervals)) return;
  console.log(`done: ${pongs} pongs, ${opened} opened, ${reconnects} reconnects`);
  process.exit(0);
}, 30_000);
