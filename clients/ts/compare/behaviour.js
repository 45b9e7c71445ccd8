// What clients do, in a page of Chromium: how fast they are, and what is missing after the network was away for a second.
// Those whose servers can't be had from a package registry are not measured; NATS is if there is a nats-server.
import {spawn, spawnSync} from 'node:child_process'
import {once} from 'node:events'
import {mkdtempSync, writeFileSync} from 'node:fs'
import {createServer} from 'node:http'
import {connect} from 'node:net'
import {tmpdir} from 'node:os'
import {join} from 'node:path'

import {build} from 'esbuild'
import {chromium} from 'playwright-core'
import {Server} from 'socket.io'

import {Balancer} from '../../../tests/browser/support/balancer.js'
import {Broker, freePorts} from '../../../tests/browser/support/broker.js'
import {until} from '../../../tests/browser/support/until.js'

const READ = 100_000
const MISSED = 50
const ROUNDS = 3

const ends = []
const t = {after: (end) => ends.unshift(end)}

/** Each: a page's script that calls `take(value)`, and how the other side publishes. */
const CLIENTS = {
  async '@repl-broker/client'() {
    const script = `client.createClient({url}).subscribe('news', ({value}) => take(value), {from}).ready.then(begin)`
    return {...(await repl()), script}
  },
  async 'bare EventSource'() {
    const script = `const source = new EventSource(url + '/sse?topic=news&after=' + from)
      source.onmessage = ({data}) => take(JSON.parse(data).value)
      source.addEventListener('repl.ready', begin)`
    return {...(await repl()), script}
  },
  async '@nats-io/nats-core'() {
    return nats()
  },
  async 'socket.io-client'() {
    return socketIo({})
  },
  async 'socket.io-client, with connectionStateRecovery'() {
    return socketIo({connectionStateRecovery: {}})
  },
}

async function repl() {
  const node = await Broker.start(t)
  await node.create('news', {maxMessages: 1_000_000, maxBytes: 1_000_000_000})
  const publish = async (values) => {
    for (let at = 0; at < values.length; at += 1_000) {
      const lines = values
        .slice(at, at + 1_000)
        .map((value) => JSON.stringify({value}))
        .join('\n')
      await fetch(`${node.url}/topics/news`, {
        method: 'POST',
        headers: {'Content-Type': 'application/x-ndjson'},
        body: lines,
      })
    }
  }
  return {node, publish, keeps: true}
}

async function socketIo(options) {
  const http = createServer()
  const server = new Server(http, {cors: {origin: '*'}, ...options})
  http.listen(0, '127.0.0.1')
  await once(http, 'listening')
  t.after(() => server.close())
  const publish = (values) => values.forEach((value) => server.emit('news', value))
  const script = `const socket = client.io(url)
    socket.on('news', take)
    socket.on('connect', begin)`
  return {node: {port: http.address().port}, publish, script}
}

async function nats() {
  const port = await freePorts()
  const config = join(mkdtempSync(join(tmpdir(), 'repl-nats-')), 'nats.conf')
  writeFileSync(config, `listen: "127.0.0.1:${port}"\nwebsocket {listen: "127.0.0.1:${port + 1}", no_tls: true}\n`)
  const server = spawn('nats-server', ['-c', config], {stdio: 'ignore'})
  t.after(() => server.kill())
  const socket = await until('nats-server', () => open(port))
  socket.write('CONNECT {"verbose":false}\r\n')
  socket.on('data', (data) => String(data).includes('PING') && socket.write('PONG\r\n'))
  t.after(() => socket.destroy())
  const lines = (values) => values.map((value) => `PUB news ${value.length}\r\n${value}\r\n`).join('')
  const script = `client.wsconnect({servers: url.replace('http', 'ws'), maxReconnectAttempts: -1}).then(async (nats) => {
    const subscription = nats.subscribe('news', {callback: (_, message) => take(message.string())})
    await nats.flush()
    begin()
  })`
  return {node: {port: port + 1}, publish: (values) => new Promise((done) => socket.write(lines(values), done)), script}
}

function open(port) {
  const socket = connect(port, '127.0.0.1')
  return new Promise((resolve) => socket.once('connect', () => resolve(socket)).once('error', () => resolve(undefined)))
}

const contents = `export {createClient} from '../dist/index.js'; export {io} from 'socket.io-client'; export {wsconnect} from '@nats-io/nats-core'`
const resolveDir = new URL('.', import.meta.url).pathname
const {outputFiles} = await build({
  stdin: {contents, resolveDir},
  bundle: true,
  format: 'iife',
  globalName: 'client',
  write: false,
})
const browser = await chromium.launch({
  executablePath: process.env.CHROMIUM ?? '/usr/bin/chromium',
  args: ['--no-sandbox'],
})
t.after(() => browser.close())
const site = createServer((_, response) =>
  response.writeHead(200, {'Content-Type': 'text/html'}).end('<!doctype html>'),
)
site.listen(0, '127.0.0.1')
await once(site, 'listening')
t.after(() => site.close())

async function measure(start) {
  const {node, publish, script, keeps} = await start()
  const balancer = await Balancer.start(t, [node])
  const page = await browser.newPage()
  await page.goto(`http://localhost:${site.address().port}/`)
  await page.addScriptTag({content: outputFiles[0].text})
  const subscribe = (from) =>
    page.evaluate(
      ({url, script, from}) =>
        new Promise((begin) => {
          window.values = []
          const {values} = window
          new Function('url', 'from', 'take', 'begin', script)(url, from, (value) => values.push(value), begin)
        }),
      {url: balancer.url, script, from},
    )
  const seconds = async (what) => {
    const from = performance.now()
    await what()
    return (performance.now() - from) / 1_000
  }
  const all = () => page.waitForFunction((count) => window.values.length >= count, READ, {timeout: 120_000})

  await subscribe('now')
  const live = await seconds(async () => {
    await publish(Array.from({length: READ}, (_, n) => `message ${n}`))
    await all()
  })
  const kept =
    keeps &&
    (await seconds(async () => {
      await subscribe('earliest')
      await all()
    }))

  balancer.away()
  await publish(Array.from({length: MISSED}, (_, n) => `missed ${n}`))
  await new Promise((resolve) => setTimeout(resolve, 1_000))
  balancer.back()
  const away = await seconds(async () => {
    for (let n = 0; !(await page.evaluate(() => window.values.some((value) => value.startsWith('back')))); n++) {
      await publish([`back ${n}`])
      await new Promise((resolve) => setTimeout(resolve, 10))
    }
  })
  const missed = await page.evaluate(() => window.values.filter((value) => value.startsWith('missed')))
  await page.close()
  const lost = MISSED - new Set(missed).size
  const rate = (seconds) => (seconds ? `${Math.round(READ / seconds / 1_000)} k/s` : 'nothing is kept')
  const found = [`live ${rate(live)}`, `kept ${rate(kept)}`, `back after ${Math.round(away * 1_000)} ms`]
  return [...found, `${lost} of ${MISSED} lost`, `${missed.length - MISSED + lost} repeated`].join(', ')
}

for (const [name, start] of Object.entries(CLIENTS)) {
  if (start === CLIENTS['@nats-io/nats-core'] && spawnSync('nats-server', ['--version']).error) {
    console.log(`${name}: not measured, there is no nats-server`)
    continue
  }
  for (let round = 0; round < ROUNDS; round++) console.log(`${name}: ${await measure(start)}`)
}
for (const end of ends) await end()
process.exit()
