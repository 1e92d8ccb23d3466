// Runs before a document's client (`node --import ./prelude.mjs CLIENT`), so that the client itself stays as it is
// printed: gives it its URL, the WebSocket class of npm `ws` unless Node brings one (`--experimental-websocket`),
// and a faster clock.
//
// CLIENT_URL    where the server is
// CLIENT_HURRY  every interval passes this many times faster: the keep-alive of 30 s becomes testable

globalThis.CLIENT_URL = process.env.CLIENT_URL;

if (globalThis.WebSocket === undefined) {
  const { WebSocket } = await import('ws');
  globalThis.WebSocket = WebSocket;
}

const hurry = Number(process.env.CLIENT_HURRY ?? 1);
const { setInterval } = globalThis;
globalThis.setInterval = (run, ms) => setInterval(run, ms / hurry);
