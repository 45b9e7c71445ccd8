import {
  changeTopic,
  createPublisher,
  createTopic,
  deleteTopic,
  getCluster,
  getTopic,
  history,
  listTopics,
  type Client,
  type ConnectionState,
  type Message,
  type PlainOptions,
} from '../../src/index.js'

/** What a scenario is given: any runtime has it. */
export interface Surroundings {
  readonly createClient: (options: PlainOptions) => Client
  /** A real node. */
  readonly url: string
}

/** Throws if something is not as it should be. Runs wherever there is `fetch`. */
export type Scenario = (surroundings: Surroundings) => Promise<void>

/** The longest wait for anything: only what never comes takes so long, on the slowest machine. */
const PATIENCE_MS = 120_000

/** What holds in every runtime, with a real node. Each uses topics of its own. */
export const scenarios: Record<string, Scenario> = {
  'messages of several topics and a pattern arrive complete, in order, over one stream': async ({
    createClient,
    url,
  }) => {
    const client = createClient({url})
    const seen: Message[] = []
    const subscription = client.subscribe({topics: ['one:a', 'one:b'], match: ['one:c:*', 'one:d:**']}, (message) =>
      seen.push(message),
    )
    await subscription.ready
    const published: string[] = []
    for (const topic of ['one:a', 'one:b', 'one:c:x', 'one:d:x:y', 'one:c:x:y', 'one']) {
      for (let n = 0; n < 20; n++)
        published.push((await client.publish(topic, {n, text: 'ü\u2028"\n'}, {type: 'kind'})).id)
    }
    await eventually('80 messages', () => seen.length === 80)
    same(
      seen.map(({id}) => id),
      published.slice(0, 80),
    )
    same(seen[0], {...seen[0], topic: 'one:a', value: {n: 0, text: 'ü\u2028"\n'}, headers: {}, type: 'kind'})
    same(subscription.cursor, published[79])
    client.close()
  },

  'what is kept comes first, then what is published, to callbacks and loops alike': async ({createClient, url}) => {
    const client = createClient({url})
    for (let n = 0; n < 5; n++) await client.publish('two', n)
    const starts = ['earliest', {last: 2}, {since: new Date(0)}, 'now'] as const
    const seen = starts.map(() => [] as unknown[])
    const subscriptions = starts.map((from, n) => client.subscribe('two', ({value}) => seen[n]?.push(value), {from}))
    await Promise.all(subscriptions.map(({ready}) => ready))
    same(seen, [[0, 1, 2, 3, 4], [3, 4], [0, 1, 2, 3, 4], []])
    await client.publish('two', 5)
    const loop: unknown[] = []
    for await (const {value} of client.subscribe('two', {from: 'earliest'})) if (loop.push(value) === 6) break
    same(loop, [0, 1, 2, 3, 4, 5])
    await eventually('the message', () => seen.every((values) => values.at(-1) === 5))
    const behind = client.subscribe('two', ({value}) => loop.push(value), {
      from: {after: subscriptions[0]?.cursor ?? ''},
    })
    await behind.ready
    await client.publish('two', 6)
    await eventually('the last message', () => loop.at(-1) === 6)
    same(loop, [0, 1, 2, 3, 4, 5, 6])
    client.close()
  },

  'subscriptions that come and go leave no hole and make no repetition': async ({createClient, url}) => {
    const client = createClient({url})
    const topics = Array.from({length: 10}, (_, n) => `three:${n}`)
    const seen = new Map(topics.map((topic) => [topic, [] as unknown[]]))
    const listen = (topic: string) => client.subscribe(topic, ({value}) => seen.get(topic)?.push(value))
    await listen('three:0').ready
    let isDone = false
    const publishing = (async () => {
      for (let n = 0; !isDone; n++) await client.publish('three:0', n)
    })()
    for (const topic of topics.slice(1)) {
      await listen(topic).ready
      const passing = client.subscribe(`${topic}:passing`, () => {})
      await passing.ready
      await client.publish(topic, topic)
      passing.unsubscribe()
    }
    isDone = true
    await publishing
    const last = await client.publish('three:0', 'last')
    await eventually('the last message', () => seen.get('three:0')?.at(-1) === 'last')
    same(seen.get('three:0'), [...Array.from({length: last.seq - 1}, (_, n) => n), 'last'])
    await eventually('one of each', () => topics.slice(1).every((topic) => seen.get(topic)?.length === 1))
    await eventually('one stream', async () => (await getTopic(client, 'three:0'))?.subscribers === 1)
    client.close()
  },

  'a hundred thousand messages arrive, in order, at a callback and at a slow loop': async ({createClient, url}) => {
    const client = createClient({url})
    await createTopic(client, 'four', {maxMessages: 200_000, maxBytes: 256 * 1024 * 1024})
    let [count, isOrdered] = [0, true]
    const callback = client.subscribe('four', ({value}) => (isOrdered &&= value === count++))
    await callback.ready
    const loop = (async () => {
      let read = 0
      for await (const {value} of client.subscribe('four', {from: 'earliest'})) {
        if (value !== read++) throw new Error(`${value} came as number ${read}`)
        // As slow as something that has to be asked for.
        if (read % 1_000 === 0) await new Promise((resolve) => setTimeout(resolve, 1))
        if (read === 100_000) return
      }
    })()
    const publisher = createPublisher(client, 'four')
    const acknowledged = await Promise.all(Array.from({length: 100_000}, (_, n) => publisher.publish(n)))
    same(acknowledged.at(-1)?.seq, 100_000)
    await loop
    await eventually('all at the callback', () => count === 100_000)
    same(isOrdered, true)
    client.close()
  },

  'topics are created, inspected, changed, listed and deleted, and subscribers are told': async ({
    createClient,
    url,
  }) => {
    const client = createClient({url})
    same((await createTopic(client, 'five:a', {maxMessages: 3})).retention.maxMessages, 3)
    await createTopic(client, 'five:a', {maxMessages: 3})
    const refusal = await createTopic(client, 'five:a', {maxMessages: 4}).catch((error: unknown) => error)
    same((refusal as {code?: unknown}).code, 'topic-exists')
    same((await changeTopic(client, 'five:a', {maxMessages: 2})).retention.maxMessages, 2)
    await createTopic(client, 'five:b')
    const names: string[] = []
    for await (const {name} of listTopics(client, {prefix: 'five:'})) names.push(name)
    same(names, ['five:a', 'five:b'])
    const deleted: string[] = []
    await client.subscribe('five:a', () => {}, {onDeleted: (topic) => deleted.push(topic)}).ready
    await deleteTopic(client, 'five:a')
    await deleteTopic(client, 'five:a')
    same(await getTopic(client, 'five:a'), undefined)
    await eventually('the news', () => deleted.length > 0)
    same(deleted, ['five:a'])
    client.close()
  },

  'history is read in pages, in both directions': async ({createClient, url}) => {
    const client = createClient({url})
    const publisher = createPublisher(client, 'six', {batchMax: 10})
    const [, second] = await Promise.all(Array.from({length: 25}, (_, n) => publisher.publish(n)))
    const read = async (options: Parameters<typeof history>[2]): Promise<unknown[]> => {
      const values: unknown[] = []
      for await (const {value} of history(client, 'six', options)) values.push(value)
      return values
    }
    const all = Array.from({length: 25}, (_, n) => n)
    same(await read({pageSize: 10}), all)
    same(await read({pageSize: 10, reverse: true}), [...all].reverse())
    same(await read({after: second?.id ?? '', pageSize: 7}), all.slice(2))
    same(await read({before: second?.id ?? ''}), [0])
    same((await getCluster(client)).nodes.length, 1)
    client.close()
  },

  'a batch that holds a line which can not be stored is stored without it': async ({createClient, url}) => {
    const client = createClient({url})
    const publisher = createPublisher(client, 'seven')
    const all = await Promise.allSettled([1, 'x'.repeat(100_000), 3].map((value) => publisher.publish(value)))
    same(
      all.map(({status}) => status),
      ['fulfilled', 'rejected', 'fulfilled'],
    )
    same((all[1] as {reason: {code: string}}).reason.code, 'too-large')
    same(
      [all[0], all[2]].map((one) => (one as {value: {seq: number}}).value.seq),
      [1, 2],
    )
    client.close()
  },

  'a key makes a publish that is repeated one message': async ({createClient, url}) => {
    const client = createClient({url})
    const first = await client.publish('eight', 1, {key: 'eight'})
    same(await client.publish('eight', 1, {key: 'eight'}), {...first, repeated: true})
    const reused = await client.publish('eight', 2, {key: 'eight'}).catch((error: unknown) => error)
    same((reused as {code?: unknown}).code, 'key-reused')
    client.close()
  },

  'a gap is told in front of the next message': async ({createClient, url}) => {
    const client = createClient({url})
    await createTopic(client, 'nine', {maxMessages: 2})
    const {id} = await client.publish('nine', 0)
    for (let n = 1; n < 6; n++) await client.publish('nine', n)
    const seen: unknown[] = []
    const options = {
      from: {after: id},
      onGap: ({reason, topics}: {reason: string; topics: readonly string[]}) => seen.push([reason, ...topics]),
    }
    await client.subscribe('nine', ({value}) => seen.push(value), options).ready
    same(seen, [['retention', 'nine'], 4, 5])
    client.close()
  },

  'its states are told, and closing ends everything': async ({createClient, url}) => {
    const client = createClient({url})
    const states: ConnectionState['kind'][] = []
    client.onState(({kind}) => states.push(kind))
    same(client.state, {kind: 'idle'})
    const subscription = client.subscribe('ten', () => {})
    const abort = new AbortController()
    client.subscribe('ten', () => {}, {signal: abort.signal})
    await subscription.ready
    await eventually('a live stream', () => client.state.kind === 'live')
    // What lasts no longer than a tick is not told.
    same(
      states.filter((kind) => kind !== 'catching-up'),
      ['connecting', 'live'],
    )
    abort.abort()
    subscription.unsubscribe()
    await eventually('nothing to do', () => client.state.kind === 'idle')
    const loop = (async () => {
      for await (const _ of client.subscribe('ten')) return 'a message'
      return 'the end'
    })()
    await eventually('a live stream', () => client.state.kind === 'live')
    client.close()
    same(await loop, 'the end')
    same([states[0], states.at(-1)], ['connecting', 'closed'])
    const late = await client.subscribe('ten', () => {}).ready.catch((error: unknown) => error)
    same((late as {code?: unknown}).code, 'closed')
  },
}

/** Compares as JSON. */
export function same(found: unknown, expected: unknown): void {
  const [one, other] = [JSON.stringify(found), JSON.stringify(expected)]
  if (one !== other) throw new Error(`found    ${one}\nexpected ${other}`)
}

/** Asks until it is so. */
export async function eventually(what: string, condition: () => boolean | Promise<boolean>): Promise<void> {
  const deadline = performance.now() + PATIENCE_MS
  while (!(await condition())) {
    if (performance.now() > deadline) throw new Error(`not within ${PATIENCE_MS} ms: ${what}`)
    await new Promise((resolve) => setTimeout(resolve, 10))
  }
}
