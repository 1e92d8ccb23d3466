// npm `ws` hears a channel to its last message, however often it is cut off, and comes back with its position.
import { WebSocket } from 'ws';

const [url, last] = process.argv.slice(2);
const seen = { got: 0, gaps: 0, wrong: 0, drops: 0 };
// Who begins with what is kept begins anywhere.
let [next, told, position] = [0, true, null];

const connect = () => {
  const ws = new WebSocket(`${url}?${position === null ? 'positions&rewind=all' : `since=${position}`}`);
  ws.on('error', () => {});
  ws.on('message', (data) => {
    const message = JSON.parse(data);
    position = message.position ?? position;
    if (message.type === 'gap') [told, seen.gaps] = [true, seen.gaps + 1];
    if (message.type !== undefined) return;
    const number = Number(message.text.split(' ')[0]);
    if (number !== next && !(told && number >= next)) seen.wrong += 1;
    [next, told, seen.got] = [number + 1, false, seen.got + 1];
    if (number !== Number(last)) return;
    console.log(`ws ${JSON.stringify(seen)}`);
    process.exit(0);
  });
  ws.on('close', () => {
    seen.drops += 1;
    setTimeout(connect, 5);
  });
};
connect();
