// What clients do in a page of Chromium: what messages cost there, and what is missing after the network was away for a
// second, and after the server was killed. NATS is measured if there is a nats-server.
import {spawnSync} from 'node:child_process'
import {once} from 'node:events'
import {createServer} from 'node:http'

import {build} from 'esbuild'
import {chromium} from 'playwright-core'

import {Balancer} from '../../../tests/browser/support/balancer.js'
import {ably, centrifuge, nats, repl, socketIo} from './servers/index.js'

const READ = 100_000
const MISSED = 50
const ROUNDS = Number(process.env.ROUNDS ?? 3)

const ends = []
const t = {after: (end) => ends.unshift(end)}

const SOCKET_IO = {
  bundle: `export {io} from 'socket.io-client'`,
  script: `const socket = client.io(url)
    socket.on('news', take)
    socket.on('connect', begin)`,
}

/** Each: its server, what of its package a page needs, and a page's script that calls `take` with each value. */
const CLIENTS = {
  '@repl-broker/client': {
    start: repl,
    keeps: true,
    bundle: `export {createClient} from '../dist/index.js'`,
    script: `client.createClient({url}).subscribe('news', ({value}) => take(value), {from}).ready.then(begin)`,
  },
  'bare EventSource': {
    start: repl,
    keeps: true,
    bundle: '',
    script: `const source = new EventSource(url + '/sse?topic=news&after=' + from)
      source.onmessage = ({data}) => take(JSON.parse(data).value)
      source.addEventListener('repl.ready', begin)`,
  },
  'centrifuge (scripted server)': {
    start: centrifuge,
    bundle: `export {Centrifuge} from 'centrifuge'`,
    script: `const centrifuge = new client.Centrifuge(url.replace('http', 'ws'))
      centrifuge.newSubscription('news').on('publication', ({data}) => take(data)).on('subscribed', begin).subscribe()
      centrifuge.connect()`,
  },
  'ably (scripted server)': {
    start: ably,
    bundle: `export {Realtime} from 'ably'`,
    script: `const {hostname, port} = new URL(url)
      const ably = new client.Realtime({
        key: 'app.key:secret', endpoint: hostname, port, tls: false, useBinaryProtocol: false,
        transports: ['web_socket'], fallbackHosts: [],
        connectivityCheckUrl: url + '/up', wsConnectivityCheckUrl: url.replace('http', 'ws'),
      })
      ably.channels.get('news').subscribe(({data}) => take(data)).then(begin)`,
  },
  '@nats-io/nats-core': {
    start: nats,
    bundle: `export {wsconnect} from '@nats-io/nats-core'`,
    script: `client.wsconnect({servers: url.replace('http', 'ws'), maxReconnectAttempts: -1}).then(async (nats) => {
      const subscription = nats.subscribe('news', {callback: (_, message) => take(message.string())})
      await nats.flush()
      begin()
    })`,
  },
  'socket.io-client': {start: socketIo({}), ...SOCKET_IO},
  'socket.io-client, with connectionStateRecovery': {start: socketIo({connectionStateRecovery: {}}), ...SOCKET_IO},
}

const browser = await chromium.launch({
  executablePath: process.env.CHROMIUM ?? '/usr/bin/chromium',
  // Some clients ask the internet whether it is there.
  args: ['--no-sandbox', '--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE localhost, EXCLUDE 127.0.0.1'],
})
t.after(() => browser.close())
const site = createServer((_, response) =>
  response.writeHead(200, {'Content-Type': 'text/html'}).end('<!doctype html>'),
)
site.listen(0, '127.0.0.1')
await once(site, 'listening')
t.after(() => site.close())

/** What a page downloads for a client. */
async function bundle(contents) {
  const resolveDir = new URL('.', import.meta.url).pathname
  const options = {bundle: true, minify: true, format: 'iife', globalName: 'client', platform: 'browser', write: false}
  const {outputFiles} = await build({...options, stdin: {contents, resolveDir}, external: ['crypto', 'node:*']})
  return outputFiles[0].text
}

/** A page that has subscribed, or will. */
class Tab {
  #page
  #session

  static async open(script) {
    const tab = new Tab()
    tab.#page = await browser.newPage()
    await tab.#page.goto(`http://localhost:${site.address().port}/`)
    tab.#session = await tab.#page.context().newCDPSession(tab.#page)
    await tab.#session.send('Performance.enable')
    await tab.subscribe('begin()')
    tab.empty = await tab.heap()
    await tab.#page.addScriptTag({content: script})
    return tab
  }

  subscribe(script, url, from) {
    const run = ({script, url, from}) =>
      new Promise((begin) => {
        window.values = []
        const {values} = window
        new Function('url', 'from', 'take', 'begin', script)(url, from, (value) => values.push(value), begin)
      })
    return this.#page.evaluate(run, {script, url, from})
  }

  /** Waits until there are so many values. */
  has(count) {
    return this.#page.waitForFunction((count) => window.values.length >= count, count, {timeout: 120_000})
  }

  values(prefix) {
    return this.#page.evaluate((prefix) => window.values.filter((value) => value.startsWith(prefix)), prefix)
  }

  async #metric(wanted) {
    const {metrics} = await this.#session.send('Performance.getMetrics')
    return metrics.find(({name}) => name === wanted).value
  }

  /** Seconds that its main thread has worked. */
  busy() {
    return this.#metric('TaskDuration')
  }

  /** Bytes that its scripts hold. */
  async heap() {
    await this.#session.send('HeapProfiler.collectGarbage')
    return this.#metric('JSHeapUsedSize')
  }

  close() {
    return this.#page.close()
  }
}

async function seconds(what) {
  const from = performance.now()
  await what()
  return (performance.now() - from) / 1_000
}

/** Publishes until something has come: the client is back. */
async function back(server, tab, name) {
  for (let n = 0; (await tab.values(name)).length === 0; n++) {
    await server.publish([`${name} ${n}`])
    await new Promise((resolve) => setTimeout(resolve, 10))
  }
}

async function measure({start, keeps, bundle: contents, script}) {
  const server = await start(t)
  const balancer = await Balancer.start(t, [server])
  const tab = await Tab.open(await bundle(contents))
  await tab.subscribe(script, balancer.url, 'now')
  const heap = (await tab.heap()) - tab.empty

  const busy = await tab.busy()
  const live = await seconds(async () => {
    await server.publish(Array.from({length: READ}, (_, n) => `message ${n}`))
    await tab.has(READ)
  })
  const cost = ((await tab.busy()) - busy) / READ
  const found = [`${(heap / 1024).toFixed(0)} KiB`, `${(cost * 1e6).toFixed(1)} µs a message`, `live ${rate(live)}`]
  if (keeps) {
    const other = await Tab.open(await bundle(contents))
    found.push(
      `kept ${rate(await seconds(() => other.subscribe(script, balancer.url, 'earliest').then(() => other.has(READ))))}`,
    )
    await other.close()
  }

  const lost = async (name) => {
    const missed = await tab.values(name)
    return `${MISSED - new Set(missed).size} of ${MISSED} lost, ${missed.length - new Set(missed).size} repeated`
  }
  for (const [what, meanwhile] of Object.entries({
    'network away': () => new Promise((resolve) => setTimeout(resolve, 1_000)),
    'server killed': () => server.kill().then(() => server.run()),
  })) {
    balancer.away()
    await server.publish(Array.from({length: MISSED}, (_, n) => `${what} ${n}`))
    await meanwhile()
    balancer.back()
    const ms = 1_000 * (await seconds(() => back(server, tab, `after ${what}`)))
    found.push(`${what}: back after ${Math.round(ms)} ms, ${await lost(what)}`)
  }
  await tab.close()
  return found.join('; ')
}

const rate = (seconds) => `${Math.round(READ / seconds / 1_000)} k/s`

const wanted = process.argv.slice(2)
for (const [name, client] of Object.entries(CLIENTS)) {
  if (wanted.length > 0 && !wanted.includes(name)) continue
  if (client.start === nats && spawnSync('nats-server', ['--version']).error) {
    console.log(`${name}: not measured, there is no nats-server`)
    continue
  }
  for (let round = 0; round < ROUNDS; round++) console.log(`${name}: ${await measure(client)}`)
}
for (const end of ends) await end()
process.exit()
