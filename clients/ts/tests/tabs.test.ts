import type {Page} from 'playwright-core'
import {describe, expect, onTestFinished, test} from 'vitest'

import {createClient, getTopic, type ConnectionState, type Message} from '../src/index.js'
import {Chromium, isMissing} from './support/chromium.js'
import {Balancer, currentTest, startNode, until} from './support/cluster.js'
import {distFiles} from './support/dist.js'
import {answer, message, open, ready, Scripted} from './support/scripted.js'

/** What a tab has, for `evaluate`. */
declare global {
  var seen: {messages: Message[]; gaps: unknown[]}
  var state: ConnectionState
}

const PAGE = `<!doctype html><script type="module">
  import {createSharedClient} from '/dist/shared/index.js'
  globalThis.start = (options, topics) => {
    globalThis.seen = {messages: [], gaps: []}
    globalThis.client = createSharedClient(options)
    client.onState((state) => (globalThis.state = state))
    const tell = (message) => seen.messages.push(message)
    globalThis.subscription = client.subscribe(topics, tell, {onGap: (gap) => seen.gaps.push(gap)})
    return subscription.ready
  }
  globalThis.isLoaded = true
</script>`

async function openTab(chromium: Chromium, options: object, topics: string[]): Promise<Page> {
  const page = await chromium.open('/page')
  await page.waitForFunction('globalThis.isLoaded')
  await page.evaluate(`start(${JSON.stringify(options)}, ${JSON.stringify(topics)})`)
  return page
}

const ids = (page: Page): Promise<string[]> => page.evaluate(() => globalThis.seen.messages.map(({id}) => id))

async function waitFor(pages: readonly Page[], id: string): Promise<void> {
  const has = (id: string): boolean => globalThis.seen.messages.some((message) => message.id === id)
  await Promise.all(pages.map((page) => page.waitForFunction(has, id)))
}

const MODES = {
  'a shared worker': {},
  'the lock of one of them': {worker: false},
}

describe.skipIf(isMissing).each(Object.entries(MODES))('four tabs that share by %s', (_, mode) => {
  test('have one stream, and survive the closing of any of them', async () => {
    const node = await startNode('--auto-create')
    const balancer = await Balancer.start(currentTest(), [node])
    const chromium = await Chromium.start({'/page': PAGE, ...distFiles()})
    const writer = createClient({url: node.url})
    onTestFinished(() => writer.close())
    const options = {url: balancer.url, ...mode}
    const topics = [['a'], ['a', 'b'], ['b', 'c'], ['a', 'd']]
    const tabs: Page[] = []
    for (const wanted of topics) tabs.push(await openTab(chromium, options, wanted))
    const streams = async (): Promise<number> => {
      const metrics = await (await fetch(`${node.url}/metrics`)).text()
      return Number(/^repl_http_streams (\d+)/m.exec(metrics)?.[1])
    }
    await until('one stream', async () => (await streams()) === 1)

    let isDone = false
    const stored: {id: string; topic: string}[] = []
    const publishing = (async () => {
      for (let n = 0; !isDone; n++) {
        const topic = 'abcd'[n % 4] as string
        stored.push({id: (await writer.publish(topic, n)).id, topic})
      }
    })()
    const expectExact = async (page: Page, wanted: readonly string[]): Promise<void> => {
      const seen = await ids(page)
      // A page may have a message before its publisher knows that it is stored.
      await until('all to be known', () => stored.some(({id}) => id === seen.at(-1)))
      const mine = stored.filter(({topic}) => wanted.includes(topic)).map(({id}) => id)
      const start = mine.indexOf(seen[0] ?? '')
      expect(start).toBeGreaterThanOrEqual(0)
      // What was stored meanwhile may not be there yet.
      expect(seen).toEqual(mine.slice(start, start + seen.length))
      expect(await page.evaluate(() => globalThis.seen.gaps)).toEqual([])
    }
    // The first, which leads where there is no worker; then the third; then the second: one is left.
    const alive = [0, 1, 2, 3]
    for (const closing of [0, 2, 1]) {
      const count = stored.length
      await until('more messages', () => stored.length > count + 8)
      await tabs[closing]?.close()
      alive.splice(alive.indexOf(closing), 1)
      const after = stored.length
      await until('more messages', () => stored.length > after + 8)
      const last = (wanted: readonly string[]): string =>
        stored.filter(({topic}) => wanted.includes(topic)).at(-1)?.id ?? ''
      for (const n of alive) {
        await waitFor([tabs[n] as Page], last(topics[n] as string[]))
        await expectExact(tabs[n] as Page, topics[n] as string[])
      }
      await until('one stream', async () => (await streams()) === 1)
    }
    isDone = true
    await publishing
  })

  test('are told the state, have another token fetched by one that is left, and share no error', async () => {
    const server = await Scripted.start()
    server.onStream = ({request, response, url}) => {
      if (request.method === 'OPTIONS') return void response.writeHead(204, CORS).end()
      for (const [name, value] of Object.entries(CORS)) response.setHeader(name, value)
      if (request.headers.authorization !== 'Bearer right')
        return answer(response, 401, {code: 'unauthorized', detail: 'No.'})
      if (url.searchParams.getAll('topic').includes('secret'))
        return answer(response, 403, {code: 'forbidden', detail: 'No.'})
      open(response)
      response.write(ready(0) + message(1))
    }
    const chromium = await Chromium.start({'/page': PAGE, ...distFiles()})
    const [one, other] = [await chromium.open('/page'), await chromium.open('/page')]
    for (const page of [one, other]) {
      await page.waitForFunction('globalThis.isLoaded')
      const options = `{url: ${JSON.stringify(server.url)}, ...${JSON.stringify(mode)}, token: (reason) => reason === 'refused' ? 'right' : 'wrong'}`
      await page.evaluate(`start(${options}, ['news'])`)
      await page.waitForFunction("globalThis.state?.kind === 'live'")
    }
    const refusal = await one.evaluate(
      `client.subscribe('secret').ready.catch(({name, code, status}) => ({name, code, status}))`,
    )
    expect(refusal).toEqual({name: 'RefusedError', code: 'forbidden', status: 403})
    await one.close()
    await other.waitForFunction("globalThis.state?.kind === 'live'")
  })
})

const CORS = {
  'Access-Control-Allow-Origin': '*',
  'Access-Control-Allow-Headers': '*, Authorization',
  'Access-Control-Allow-Methods': '*',
}

test.skipIf(isMissing).each([
  ['is not there', undefined],
  ['does not start', 'throw new Error("no")'],
])('a page whose worker %s shares all the same', async (_, script) => {
  const node = await startNode('--auto-create')
  const {'/dist/shared/worker.js': worker, ...files} = distFiles()
  expect(worker).toBeDefined()
  const chromium = await Chromium.start({
    '/page': PAGE,
    ...files,
    ...(script ? {'/dist/shared/worker.js': script} : {}),
  })
  const tabs = [await openTab(chromium, {url: node.url}, ['a']), await openTab(chromium, {url: node.url}, ['a'])]
  const writer = createClient({url: node.url})
  onTestFinished(() => writer.close())
  await waitFor(tabs, (await writer.publish('a', 1)).id)
  await until('one stream', async () => (await getTopic(writer, 'a'))?.subscribers === 1)
})
