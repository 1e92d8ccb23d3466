// npm ws as two devices that talk through the back end in apigw_app.py, in the manner of the TypeScript clients: headers
// are plain strings, answers are found by `header['x-ca-seq']`, of a heartbeat's answer two letters count, and one of
// them takes the same number for everything. Run as `node apigw_ws.mjs WS`.

import { WebSocket } from 'ws';

const url = process.argv[2];

class Device {
  constructor(name, sameSeq) {
    this.name = name;
    this.sameSeq = sameSeq;
    this.seq = 0;
    this.waiting = [];
    this.notes = [];
  }

  async open() {
    this.ws = new WebSocket(url);
    this.ws.on('message', (data) => this.hear(data.toString()));
    await new Promise((resolve) => this.ws.once('open', resolve));
    this.ws.send(`RG#${this.name}`);
    await this.next((m) => m.startsWith('RO#'));
  }

  hear(message) {
    if (message.startsWith('NF#')) {
      this.ws.send('NO');
    }
    const at = this.waiting.findIndex((one) => one.wants(message));
    if (at < 0) {
      this.notes.push(message);
    } else {
      this.waiting.splice(at, 1)[0].resolve(message);
    }
  }

  next(wants) {
    const at = this.notes.findIndex(wants);
    if (at >= 0) {
      return this.notes.splice(at, 1)[0];
    }
    return new Promise((resolve) => this.waiting.push({ wants, resolve }));
  }

  async call(method, path, headers = {}, body = '') {
    const seq = this.sameSeq ? '1' : String(++this.seq);
    headers = { 'x-ca-seq': seq, 'content-type': 'application/json', ...headers };
    this.ws.send(JSON.stringify({ method, host: 'api', path, querys: {}, headers, isBase64: 0, body }));
    const answer = await this.next((m) => m[0] === '{' && JSON.parse(m).header['x-ca-seq'] === seq);
    return JSON.parse(answer);
  }

  async register() {
    const answer = await this.call('POST', '/register', { 'x-ca-websocket_api_type': 'REGISTER' });
    check(answer.status === 200, answer);
    await this.next((m) => m === `NF#welcome, ${this.name}`);
  }
}

function check(fine, what) {
  if (!fine) {
    console.error('not so:', what);
    process.exit(1);
  }
}

const [a, b] = [new Device('a'.repeat(32), false), new Device('b'.repeat(32), true)];
await a.open();
await b.open();
console.log('ok: two devices');
await a.register();
await b.register();
console.log('ok: both are registered and greeted');

a.ws.send('H1');
check((await a.next((m) => m.slice(0, 2) === 'HO')) !== undefined, 'a heartbeat');
const message = JSON.stringify({ from: 'a', message: 'hé#llo\n' });
const sent = await a.call('POST', '/send', { 'x-to': b.name }, message);
check(JSON.parse(sent.body).notified === 200, sent);
check((await b.next((m) => m.startsWith('NF#'))) === `NF#${message}`, 'the message');
const back = await b.call('POST', '/send', { 'x-to': a.name }, 'back');
check(JSON.parse(back.body).notified === 200, back);
await a.next((m) => m === 'NF#back');
console.log('ok: they talk');

const many = await Promise.all(Array.from({ length: 40 }, (_, n) => a.call('GET', `/${n}`)));
many.forEach((answer, n) => check(JSON.parse(answer.body).path === `/${n}`, answer));
console.log('ok: forty calls at once');

b.ws.close(1000, 'Reconnect');
await new Promise((resolve) => b.ws.once('close', resolve));
const gone = await a.call('POST', '/send', { 'x-to': b.name }, 'x');
check(JSON.parse(gone.body).notified === 404, gone);
await b.open();
const again = await a.call('POST', '/send', { 'x-to': b.name }, 'x');
check(JSON.parse(again.body).notified === 404, again);
await b.register();
console.log('ok: one comes back');
a.ws.close();
b.ws.close();
console.log(`done: node ${process.version}`);
