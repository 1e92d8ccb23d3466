// npm `jose` makes keys and tokens, npm `ws` and Node's fetch present them.
//
//   node tokens_jose.mjs keys DIR          writes keys: what the server reads, and what it must not have
//   node tokens_jose.mjs use WS HTTP DIR   signs with them, and is let in or not
import assert from 'node:assert/strict';
import { createSecretKey, randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { readFile, writeFile } from 'node:fs/promises';
import { createRequire } from 'node:module';
import { SignJWT, UnsecuredJWT, exportJWK, exportPKCS8, exportSPKI, generateKeyPair, importPKCS8 } from 'jose';
import { WebSocket } from 'ws';

const [mode, ...rest] = process.argv.slice(2);
// Two keys as PEM, two in a set, where they have names.
const kids = { EdDSA: 'ed-1', RS256: 'rsa-1' };

if (mode === 'keys') {
  const [dir] = rest;
  const set = { keys: [] };
  for (const alg of ['ES256', 'EdDSA', 'RS256']) {
    const pair = await generateKeyPair(alg, { extractable: true, crv: alg === 'EdDSA' ? 'Ed25519' : undefined });
    await writeFile(`${dir}/${alg}.private`, await exportPKCS8(pair.privateKey));
    if (kids[alg]) {
      set.keys.push({ ...(await exportJWK(pair.publicKey)), kid: kids[alg], use: 'sig', alg });
    } else {
      await writeFile(`${dir}/${alg}.pem`, await exportSPKI(pair.publicKey));
    }
  }
  await writeFile(`${dir}/set.json`, JSON.stringify(set));
  await writeFile(`${dir}/HS256.secret`, `${randomBytes(32).toString('hex')}\n`);
  console.log('done: keys');
  process.exit(0);
}

const [ws, http, dir] = rest;
const secret = createSecretKey(Buffer.from((await readFile(`${dir}/HS256.secret`, 'utf8')).trim()));
const private_ = async (alg) => importPKCS8(await readFile(`${dir}/${alg}.private`, 'utf8'), alg);
const rights = { dunlin: { subscribe: ['news', 'user.{user}.*'], publish: ['news'] } };

async function sign(alg, exp, claims = rights, user = 'ann') {
  const key = alg === 'HS256' ? secret : await private_(alg);
  const header = kids[alg] ? { alg, kid: kids[alg], typ: 'JWT' } : { alg };
  return new SignJWT(claims)
    .setProtectedHeader(header)
    .setSubject(user)
    .setAudience('dunlin')
    .setIssuedAt()
    .setExpirationTime(exp)
    .sign(key);
}

async function open(target, protocols, options) {
  const socket = new WebSocket(ws + target, protocols, options);
  await once(socket, 'open');
  return socket;
}

async function refused(target, options) {
  const socket = new WebSocket(ws + target, options);
  const [, response] = await once(socket, 'unexpected-response');
  socket.on('error', () => {});
  socket.terminate();
  return response;
}

async function text(socket) {
  const [data] = await once(socket, 'message');
  return data.toString();
}

for (const alg of ['HS256', 'ES256', 'EdDSA', 'RS256']) {
  const token = await sign(alg, '1h');
  const headers = { Authorization: `Bearer ${token}` };
  const socket = await open('/ch/news', [], { headers });
  const heard = text(socket);
  const posted = await fetch(`${http}/ch/news`, { method: 'POST', body: alg, headers });
  assert.equal(posted.status, 200);
  assert.equal(await heard, alg);
  assert.equal((await fetch(`${http}/ch/other`, { method: 'POST', body: alg, headers })).status, 403);
  socket.terminate();
  console.log(`ok: ${alg} opens what it says`);
}

const token = await sign('ES256', '1h');
const offered = await open('/ch/news', ['news.v1', `bearer.${token}`]);
assert.equal(offered.protocol, 'news.v1');
offered.terminate();
(await open(`/ch/user.ann.inbox?token=${token}`)).terminate();
(await open('/ch/news', [], { headers: { Cookie: `session=${token}` } })).terminate();
console.log('ok: in a subprotocol, in the query and in a cookie');

const late = await open('/ch/news');
late.send(JSON.stringify({ type: 'auth', token }));
const { type, user, expires } = JSON.parse(await text(late));
assert.deepEqual([type, user], ['auth', 'ann']);
assert.ok(expires > Date.now() / 1000 + 3500);
late.terminate();
console.log('ok: in the first message');

const [head, body, signature] = token.split('.');
const unsigned = new UnsecuredJWT(rights).setSubject('ann').setExpirationTime('1h').encode();
for (const [what, wrong] of [
  ['expired', await sign('ES256', '-1m')],
  ['alg none', unsigned],
  ['without its signature', `${head}.${body}.`],
  ['with another body', `${head}.${Buffer.from('{"sub":"root"}').toString('base64url')}.${signature}`],
  ['not a token', 'hello'],
]) {
  const response = await refused('/ch/news', { headers: { Authorization: `Bearer ${wrong}` } });
  assert.equal(response.statusCode, 401, what);
  assert.match(response.headers['www-authenticate'], /^Bearer error="invalid_token", error_description="/, what);
}
console.log('ok: refused, and told why');

// In two seconds, unless another token follows.
const soon = Math.floor(Date.now() / 1000) + 2;
const ends = await open(`/ch/news?token=${await sign('HS256', soon)}`);
const stays = await open(`/ch/news?token=${await sign('HS256', soon)}`);
stays.send(JSON.stringify({ type: 'auth', token: await sign('EdDSA', '1h') }));
assert.equal(JSON.parse(await text(stays)).type, 'auth');
const [code, reason] = await once(ends, 'close');
assert.deepEqual([code, reason.toString()], [4401, 'the token has expired']);
assert.ok(Date.now() / 1000 >= soon);
assert.equal(stays.readyState, WebSocket.OPEN);
stays.terminate();
console.log('ok: a connection ends with its token, or goes on with the next');

const require = createRequire(import.meta.url);
console.log(`done: ws ${require('ws/package.json').version}`);
