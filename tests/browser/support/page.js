import {once} from 'node:events'
import {createReadStream} from 'node:fs'
import {createServer} from 'node:http'

import {PATIENCE_MS} from './until.js'

/** Why there is no browser here, if there is none. */
export const skip = process.env.NO_BROWSER || false

/** The events that the broker itself makes. */
const CONTROL = ['repl.gap', 'repl.ready', 'repl.cursor', 'repl.topic', 'repl.presence']

const ARGS = [
  '--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run', '--disable-background-networking',
  '--disable-component-update', '--disable-sync',
  // A name that is not of this machine, for pages that are strangers.
  '--host-resolver-rules=MAP stranger.example 127.0.0.1',
]

/** A browser that shows the page at this address. The context is one of Playwright. */
export async function browse(t, url, context = {}) {
  // Loaded here, so that tests can be skipped where it is not installed.
  const {chromium} = await import('playwright-core')
  const browser = await chromium.launch({executablePath: process.env.CHROMIUM ?? '/usr/bin/chromium', args: ARGS})
  t.after(() => browser.close())
  const shown = await browser.newContext(context)
  shown.setDefaultTimeout(PATIENCE_MS)
  const page = await shown.newPage()
  await page.goto(url)
  return page
}

/**
 * A browser that shows a page of a web server on a port of its own, and so of another origin than every node.
 *
 * @param {{file?: URL, host?: string, query?: string}} [page] An empty one on localhost, unless said.
 */
export async function openPage(t, {file, host = 'localhost', query = ''} = {}) {
  const server = createServer((request, response) => {
    if (new URL(request.url, 'http://localhost').pathname !== '/') return response.writeHead(404).end()
    response.writeHead(200, {'Content-Type': 'text/html; charset=utf-8'})
    if (file) createReadStream(file).pipe(response)
    else response.end('<!doctype html><title>empty</title>')
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  t.after(() => {
    server.closeAllConnections()
    server.close()
  })
  return browse(t, `http://${host}:${server.address().port}/${query}`)
}

/**
 * Subscribes with a bare `EventSource` and writes down all that it tells.
 *
 * @param {string[]} [types] Events to listen to, besides `message` and what the broker makes.
 */
export async function subscribe(page, url, types = []) {
  const listen = ({url, types}) => {
    const told = {events: [], opened: 0, failed: 0}
    const source = new EventSource(url)
    source.onopen = () => told.opened++
    source.onerror = () => told.failed++
    const write = ({type, data, lastEventId: id}) => told.events.push({type, id, data: JSON.parse(data)})
    for (const type of ['message', ...types]) source.addEventListener(type, write)
    Object.assign(window, {source, told})
  }
  await page.evaluate(listen, {url, types: [...CONTROL, ...types]})
  return new Subscriber(page)
}

/** What an `EventSource` was told so far. */
class Subscriber {
  constructor(page) {
    this.page = page
  }

  /** How often the stream was opened, how often it broke, and what it is: connecting, open or closed for good. */
  state() {
    return this.page.evaluate(() => {
      const {told, source} = window
      return {opened: told.opened, failed: told.failed, is: ['connecting', 'open', 'closed'][source.readyState]}
    })
  }

  events() {
    return this.page.evaluate(() => window.told.events)
  }

  async messages() {
    return (await this.events()).filter(({type}) => !type.startsWith('repl.'))
  }

  /** Waits until an event of this type has come, and returns the newest. */
  async next(type) {
    const newest = (type) => window.told.events.findLast((event) => event.type === type)
    return (await this.page.waitForFunction(newest, type, {polling: 20})).jsonValue()
  }

  /** Waits for the message that was stored under this id. */
  async message(id) {
    const stored = (id) => window.told.events.some(({data}) => data.id === id)
    await this.page.waitForFunction(stored, id, {polling: 20})
  }
}
