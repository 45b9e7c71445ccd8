import assert from 'node:assert/strict'
import {execFileSync} from 'node:child_process'
import {createHmac} from 'node:crypto'
import {once} from 'node:events'
import {mkdtempSync, readFileSync, rmSync, writeFileSync} from 'node:fs'
import {createServer} from 'node:https'
import {tmpdir} from 'node:os'
import {join} from 'node:path'
import test from 'node:test'

import {Broker} from './support/broker.js'
import {browse, skip, subscribe} from './support/page.js'
import {until} from './support/until.js'

const SECRET = 'a-secret-that-is-longer-than-32-bytes'

// Nobody vouches for the certificate of these tests.
process.env.NODE_TLS_REJECT_UNAUTHORIZED = '0'

function sign(subject, rights) {
  const part = (value) => Buffer.from(JSON.stringify(value)).toString('base64url')
  const claims = {sub: subject, exp: Math.floor(Date.now() / 1_000) + 600, repl: rights}
  const signed = `${part({alg: 'HS256', typ: 'JWT'})}.${part(claims)}`
  return `${signed}.${createHmac('sha256', SECRET).update(signed).digest('base64url')}`
}

/** Files of one test. */
function write(t) {
  const directory = mkdtempSync(join(tmpdir(), 'repl-cookie-'))
  t.after(() => rmSync(directory, {recursive: true}))
  const [key, cert, secret] = ['key.pem', 'cert.pem', 'secret'].map((name) => join(directory, name))
  execFileSync('openssl', [
    'req', '-x509', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes', '-days', '2',
    '-subj', '/CN=localhost', '-addext', 'subjectAltName=DNS:localhost,IP:127.0.0.1', '-keyout', key, '-out', cert,
  ], {stdio: 'ignore'})
  writeFileSync(secret, SECRET)
  return {key, cert, secret}
}

/** An application on a port of its own, which gives whoever comes a cookie with a token. */
async function startApp(t, {key, cert}, token) {
  const cookie = `__Secure-repl_token=${token}; Secure; HttpOnly; SameSite=Strict; Path=/`
  const server = createServer({key: readFileSync(key), cert: readFileSync(cert)}, (_, response) => {
    response.writeHead(200, {'Content-Type': 'text/html; charset=utf-8', 'Set-Cookie': cookie})
    response.end('<!doctype html><title>application</title>')
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  t.after(() => {
    server.closeAllConnections()
    server.close()
  })
  return `https://localhost:${server.address().port}`
}

/** Opens a stream as `subscribe` does, with the cookies of the broker's site. */
async function subscribeWithCookies(page, url) {
  await page.evaluate(() => {
    const Plain = EventSource
    window.EventSource = class extends Plain {
      constructor(url) {
        super(url, {withCredentials: true})
      }
    }
  })
  return subscribe(page, url)
}

test('a cookie opens streams for a page of the same site, and of an origin that is named', {skip}, async (t) => {
  const files = write(t)
  const app = await startApp(t, files, sign('ada', {subscribe: ['inbox:{sub}']}))
  const other = await startApp(t, files, sign('eve', {subscribe: ['**']}))
  const args = ['--tls-cert', files.cert, '--tls-key', files.key, '--token-secret-file', files.secret]
  const node = await Broker.prepare(t, ...args, '--cors-origin', app)
  node.url = `https://localhost:${node.port}`
  await node.run()
  const writer = {Authorization: `Bearer ${sign('writer', {publish: ['**'], manage: ['**']})}`}
  for (const name of ['inbox:ada', 'inbox:eve']) await node.send('POST', '/topics', {name}, writer)

  const page = await browse(t, app, {ignoreHTTPSErrors: true})
  const mine = await subscribeWithCookies(page, `${node.url}/sse?topic=inbox:ada`)
  await mine.next('repl.ready')
  const message = await node.publish('inbox:ada', {value: 'for ada'}, writer)
  await mine.message(message.id)
  assert.deepEqual((await mine.messages()).map(({data}) => data), [message])
  // The page never sees the token, and it is good for no more than it says.
  assert.equal(await page.evaluate(() => document.cookie), '')
  const refused = await subscribeWithCookies(page, `${node.url}/sse?topic=inbox:eve`)
  await until('a refusal', async () => (await refused.state()).is === 'closed')

  // Another application of the site, which is not named: its pages have a cookie too, and it doesn't count.
  const stranger = await browse(t, other, {ignoreHTTPSErrors: true})
  const theirs = await subscribeWithCookies(stranger, `${node.url}/sse?topic=inbox:ada`)
  await until('a refusal', async () => (await theirs.state()).is === 'closed')
})
