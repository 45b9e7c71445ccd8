import {describe, expect, onTestFinished, test} from 'vitest'

import {createClient, createTopic, type Client, type ConnectionState, type Message} from '../src/index.js'
import {bundle} from './support/bundle.js'
import {Chromium, isMissing} from './support/chromium.js'
import {Balancer, currentTest, startNode, startNodes, until, type Broker} from './support/cluster.js'

/** Kills in the long test: `make client-chaos` asks for more. */
const KILLS = Number(process.env['CLIENT_KILLS'] ?? 10)
const TOPICS = Array.from({length: 20}, (_, n) => `orders:${n}`)

const pick = <T>(list: readonly T[]): T => list[Math.floor(Math.random() * list.length)] as T
const urls = (nodes: readonly Broker[]): string[] => nodes.map(({url}) => url)

function startClient(url: string | string[]): Client {
  const client = createClient({url})
  onTestFinished(() => client.close())
  return client
}

/** Publishes to one topic after the other until it is stopped, and counts in each. */
class Publisher {
  readonly stored: {id: string; topic: string; value: unknown}[] = []
  readonly #client: Client
  readonly #done: Promise<void>
  #isStopped = false

  constructor(client: Client, topics: readonly string[], name: number) {
    this.#client = client
    this.#done = this.#run(topics, name)
  }

  async stop(): Promise<void> {
    this.#isStopped = true
    await this.#done
  }

  async #run(topics: readonly string[], name: number): Promise<void> {
    for (let n = 0; !this.#isStopped; n++) {
      const [topic, value] = [pick(topics), {publisher: name, n}]
      this.stored.push({id: (await this.#client.publish(topic, value)).id, topic, value})
    }
  }
}

function inOrder(publishers: readonly Publisher[]): unknown[] {
  const position = ({id}: {id: string}): number => Number(id.split('-')[1])
  return publishers.flatMap(({stored}) => stored).sort((one, other) => position(one) - position(other))
}

const brief = ({id, topic, value}: Message): unknown => ({id, topic, value})

describe('a cluster of three', () => {
  test.skipIf(isMissing)(
    `gives a page in Chromium with 20 topics the exact sequence over ${KILLS} kills`,
    async ({annotate}) => {
      const nodes = await startNodes()
      const writer = startClient(urls(nodes))
      for (const topic of TOPICS) await createTopic(writer, topic, {maxMessages: 1_000_000})
      const chromium = await Chromium.start({
        '/page.js': await bundle('tests/portable/page.ts'),
        '/page': '<!doctype html><script type="module" src="/page.js"></script>',
      })
      const page = await chromium.open('/page')
      await page.waitForFunction('globalThis.run')
      await page.evaluate(
        ({url, topics}) => {
          const {createClient} = globalThis as unknown as {createClient: (options: object) => Client}
          const client = createClient({url})
          const seen: {messages: Message[]; states: ConnectionState[]; gaps: unknown[]} = {
            messages: [],
            states: [],
            gaps: [],
          }
          client.onState((state) => seen.states.push(state))
          for (const topic of topics) {
            client.subscribe(topic, (message) => seen.messages.push(message), {onGap: (gap) => seen.gaps.push(gap)})
          }
          Object.assign(globalThis, {seen, client})
        },
        // One address is enough: the others are learned.
        {url: nodes[0]?.url, topics: TOPICS},
      )
      await page.waitForFunction("client.state.kind === 'live'")

      const publishers = [0, 1, 2, 3].map((name) => new Publisher(writer, TOPICS, name))
      const has = (id: string) =>
        page.waitForFunction(
          (id) =>
            (globalThis as unknown as {seen: {messages: Message[]}}).seen.messages.some((message) => message.id === id),
          id,
        )
      let served = 0
      for (let kill = 0; kill < KILLS; kill++) {
        const before = publishers.map(({stored}) => stored.length)
        const at = await page.evaluate('client.state.url')
        // Every other one is the node that serves the page, so that it has to go elsewhere.
        const node = kill % 2 ? pick(nodes) : (nodes.find(({url}) => url === at) ?? pick(nodes))
        if (node.url === at) served++
        await node.kill()
        await until('every publisher to go on', () =>
          publishers.every(({stored}, n) => stored.length > (before[n] ?? 0) + 3),
        )
        await has(publishers[0]?.stored.at(-1)?.id ?? '')
        await node.run()
      }
      await Promise.all(publishers.map((publisher) => publisher.stop()))
      const published = inOrder(publishers)
      await has((published.at(-1) as Message).id)

      const seen = (await page.evaluate('seen')) as {messages: Message[]; states: ConnectionState[]; gaps: unknown[]}
      expect(seen.messages.map(brief)).toEqual(published)
      expect(seen.gaps).toEqual([])
      const opened = seen.states.filter(({kind}) => kind === 'live').length
      expect(opened).toBeGreaterThan(served)
      await annotate(
        `${published.length} messages, ${KILLS} kills, ${served} of the serving node, live ${opened} times`,
      )
    },
    60_000 + KILLS * 20_000,
  )

  test('is learned from one of its nodes, and that one may die for good', async () => {
    const nodes = await startNodes('--auto-create')
    const client = startClient(nodes[0]?.url ?? '')
    const seen: Message[] = []
    await client.subscribe('news', (message) => seen.push(message)).ready
    const stored = [await client.publish('news', 'before')]
    await until('members to be learned', async () => (await client.request({path: '/cluster'})).status === 200)
    await nodes[0]?.kill()
    stored.push(await client.publish('news', 'after'))
    await until('the second message', () => seen.length === 2)
    expect(seen.map(({id}) => id)).toEqual(stored.map(({id}) => id))
    expect(urls(nodes.slice(1))).toContain(client.state.kind === 'live' && client.state.url)
  })

  test('that is restarted node by node, as for an upgrade, loses nobody', async () => {
    const nodes = await startNodes('--auto-create')
    const client = startClient(urls(nodes))
    const seen: Message[] = []
    await client.subscribe({match: 'orders:*'}, (message) => seen.push(message)).ready
    const publisher = new Publisher(client, TOPICS, 0)
    for (const node of nodes) {
      const count = publisher.stored.length
      await node.stop()
      await node.run()
      await until('the publisher to go on', () => publisher.stored.length > count + 10)
    }
    await publisher.stop()
    await until('the last message', () => seen.at(-1)?.id === publisher.stored.at(-1)?.id)
    expect(seen.map(brief)).toEqual(publisher.stored)
  })

  test('is followed from node to node as each sends its streams elsewhere, without a pause', async () => {
    const nodes = await startNodes('--auto-create', '--drain-window', '3s')
    const client = startClient(urls(nodes))
    const [seen, states]: [Message[], ConnectionState['kind'][]] = [[], []]
    client.onState(({kind}) => states.push(kind))
    await client.subscribe({match: 'orders:*'}, (message) => seen.push(message)).ready
    const publisher = new Publisher(startClient(urls(nodes)), TOPICS, 0)
    const at = (): string => (client.state.kind === 'live' ? client.state.url : '')
    for (let hop = 0; hop < 4; hop++) {
      const [node, count] = [nodes.find(({url}) => url === at()) as Broker, publisher.stored.length]
      await node.stop()
      await until('a stream elsewhere', () => at() !== '' && at() !== node.url)
      await node.run()
      await until('the publisher to go on', () => publisher.stored.length > count + 10)
    }
    await publisher.stop()
    await until('the last message', () => seen.at(-1)?.id === publisher.stored.at(-1)?.id)
    expect(seen.map(brief)).toEqual(publisher.stored)
    expect(states).not.toContain('offline')
  })
})

describe('a node', () => {
  test('behind a balancer is reached through it, not past it', async () => {
    const node = await startNode('--auto-create')
    const balancer = await Balancer.start(currentTest(), [node])
    const client = startClient(balancer.url)
    const seen: Message[] = []
    await client.subscribe('news', (message) => seen.push(message)).ready
    const stored = [await client.publish('news', 1)]
    await until('the first message', () => seen.length === 1)
    balancer.away()
    await until('the client to notice', () => client.state.kind === 'offline')
    balancer.back()
    stored.push(await client.publish('news', 2))
    await until('the second message', () => seen.length === 2)
    expect(seen.map(({id}) => id)).toEqual(stored.map(({id}) => id))
    expect(client.state).toEqual({kind: 'live', url: balancer.url})
  })

  test.skipIf(isMissing)('is tried at once when the network of a page is back', async () => {
    const node = await startNode('--auto-create')
    const chromium = await Chromium.start({
      '/page.js': await bundle('tests/portable/page.ts'),
      '/page': '<!doctype html><script type="module" src="/page.js"></script>',
    })
    const page = await chromium.open('/page')
    await page.waitForFunction('globalThis.run')
    const [balancer, writer] = [await Balancer.start(currentTest(), [node]), startClient(node.url)]
    const start = (url: string): void => {
      const {createClient} = globalThis as unknown as {createClient: (options: object) => Client}
      // So patient that only an event can be what wakes it.
      const client = createClient({url, backoffMinMs: 3_600_000, backoffMaxMs: 3_600_000})
      const values: unknown[] = []
      client.subscribe('news', ({value}) => values.push(value))
      Object.assign(globalThis, {client, values})
    }
    await page.evaluate(start, balancer.url)
    await page.waitForFunction("client.state.kind === 'live'")
    balancer.away()
    await page.waitForFunction("client.state.kind === 'offline'")
    await chromium.setOffline(true)
    balancer.back()
    await writer.publish('news', 'meanwhile')
    await chromium.setOffline(false)
    await page.waitForFunction("values.includes('meanwhile')")
  })

  test.skipIf(isMissing).each(["new Event('online')", "new PageTransitionEvent('pageshow', {persisted: true})"])(
    'is asked for a new stream on %s, for the old one may be dead, and the page never goes offline',
    async (event) => {
      const node = await startNode('--auto-create')
      const page = await (
        await Chromium.start({
          '/page.js': await bundle('tests/portable/page.ts'),
          '/page': '<!doctype html><script type="module" src="/page.js"></script>',
        })
      ).open('/page')
      await page.waitForFunction('globalThis.run')
      await page.evaluate(`
        globalThis.states = []
        globalThis.client = createClient({url: ${JSON.stringify(node.url)}})
        client.onState(({kind}) => states.push(kind))
        client.subscribe('news', () => {}).ready`)
      const opened = async (): Promise<number> => {
        const metrics = await (await fetch(`${node.url}/metrics`)).text()
        return Number(/^repl_http_streams_opened_total\{result="served"\} (\d+)/m.exec(metrics)?.[1])
      }
      expect(await opened()).toBe(1)
      await page.evaluate(`dispatchEvent(new Event('visibilitychange')), dispatchEvent(${event})`)
      await until('a second stream', async () => (await opened()) === 2)
      await page.waitForFunction("client.state.kind === 'live'")
      expect(await page.evaluate('states')).not.toContain('offline')
    },
  )
})
