// An application behind the tapr gateway, as its developers write one: it gets callbacks, and lists, sends and closes
// with plain HTTP. Prints every callback as one line of JSON.
//
// node tapr_app.mjs PORT CONTROL    the port for callbacks, the base URL of the control paths
//
// | a client's event | what the application does |
// | --- | --- |
// | ask | answers that connection |
// | shout | lists who is there and sends to all of them |
// | bye | closes that connection |
//
// POST /script takes what is to happen to callbacks from then on: {"status": 500} or {"delay_ms": 300}.
import http from 'node:http';

const [port, control] = process.argv.slice(2);
let script = {};

async function call(verb, body) {
  const method = body === undefined ? 'GET' : 'POST';
  const response = await fetch(`${control}/tapr/ws/conn/${verb}`, { method, body: JSON.stringify(body) });
  const answer = await response.json();
  if (response.status !== 200 || answer.code !== 0) throw new Error(JSON.stringify(answer));
  return answer;
}

async function act({ action, conn_id, data }) {
  if (action !== 'message') return;
  if (data.event === 'ask') {
    await call('send', { payload: { event: 'answer', data: data.data }, conn_id });
  } else if (data.event === 'shout') {
    const { data: users } = await call('list');
    const names = users.map((user) => user.name);
    await call('send', { payload: { event: 'shout', data: data.data }, users: names });
  } else if (data.event === 'bye') {
    await call('close', { conns: [conn_id] });
  }
}

const server = http.createServer(async (request, response) => {
  const chunks = [];
  for await (const chunk of request) chunks.push(chunk);
  const body = JSON.parse(Buffer.concat(chunks).toString());
  if (request.url === '/script') {
    script = body;
    response.end('{}');
    return;
  }
  console.log(`callback ${JSON.stringify({ ...body, cookie: request.headers.cookie })}`);
  await act(body);
  if (script.delay_ms) await new Promise((done) => setTimeout(done, script.delay_ms));
  response.statusCode = script.status ?? 200;
  response.end('{}');
});
server.listen(Number(port), '127.0.0.1', () => console.log('application ready'));
