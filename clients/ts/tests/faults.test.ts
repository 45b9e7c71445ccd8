import {describe, expect, onTestFinished, test, vi} from 'vitest'

import {
  createClient,
  RefusedError,
  UnavailableError,
  type Client,
  type PlainOptions,
  type ConnectionState,
  type Message,
} from '../src/index.js'
import {systemClock} from '../src/clock.js'
import {FakeClock} from './support/clock.js'
import {until} from './support/cluster.js'
import {answer, frame, message, open, ready, Scripted, type Exchange} from './support/scripted.js'

/** A client of the scripted server that is quick about everything. */
function connect(server: Scripted, options: Partial<PlainOptions> = {}): Client & {states: ConnectionState[]} {
  const client = createClient({
    url: server.url,
    backoffMinMs: 1,
    backoffMaxMs: 20,
    keepAliveMs: 1_000,
    answerMs: 2_000,
    ...options,
  })
  const states: ConnectionState[] = []
  client.onState((state) => states.push(state))
  return Object.assign(Object.create(client) as Client, {states})
}

function collect(
  client: Client,
  wanted: string | string[] = 'news',
): {messages: Message[]; error?: unknown; gaps: unknown[]} {
  const seen: ReturnType<typeof collect> = {messages: [], gaps: []}
  client.subscribe(wanted, (message) => seen.messages.push(message), {
    onError: (error) => (seen.error = error),
    onGap: (gap) => seen.gaps.push(gap),
  })
  return seen
}

const values = ({messages}: {messages: Message[]}): unknown[] => messages.map(({value}) => value)

describe('a stream', () => {
  test('goes on from its cursor after every way to break, without a hole or a repetition', async () => {
    const server = await Scripted.start()
    server.onStream = ({response, url}, count) => {
      const after = Number(/-(\d+)$/.exec(url.searchParams.get('after') ?? '')?.[1] ?? 0)
      open(response)
      if (count === 1) response.write(ready(0))
      // It breaks behind an event, in the middle of one, and in the middle of a character.
      const next = Buffer.from(message(after + 2, 'news', 'ü'))
      response.write(message(after + 1))
      if (count % 3 === 0) return void response.end()
      response.write(next.subarray(0, count % 3 === 1 ? 20 : next.indexOf(0xc3) + 1), () => response.destroy())
    }
    const client = connect(server)
    const seen = collect(client)
    await until('ten messages', () => seen.messages.length >= 10)
    client.close()
    expect(values(seen)).toEqual(seen.messages.map((_, n) => n + 1))
    expect(server.streams[0]?.url.search).toBe('?topic=news&after=now')
    expect(server.streams[3]?.url.search).toBe('?topic=news&after=aaaaaaaa-3')
  })

  test.each([400, 401, 403, 404, 405, 410, 413, 414, 421, 422, 431, 451, 204])(
    'ends for good on %i',
    async (status) => {
      const server = await Scripted.start()
      server.onStream = ({response}) => answer(response, status, {code: 'why', detail: 'Because.'})
      const client = connect(server)
      const seen = collect(client)
      await until('the end', () => seen.error)
      expect(seen.error).toBeInstanceOf(RefusedError)
      expect(seen.error).toMatchObject(status === 204 ? {status, code: 'status-204'} : {status, code: 'why'})
      expect(client.state).toMatchObject({kind: 'denied', error: seen.error})
      // A 421 is repeated by fetch itself, over another connection.
      expect(server.streams.length).toBe(status === 421 ? 2 : 1)
    },
  )

  test.each([201, 206, 304, 408, 425, 429, 500, 501, 502, 503, 504, 507, 520, 529])('outlasts %i', async (status) => {
    const server = await Scripted.start()
    server.onStream = ({response}, count) => {
      if (count < 3) return answer(response, status, {}, status === 304 ? {} : {'Retry-After': '0'})
      open(response)
      response.write(ready(0) + message(1))
    }
    const client = connect(server)
    const seen = collect(client)
    await until('a message', () => seen.messages.length > 0)
    const [offline] = client.states.filter(({kind}) => kind === 'offline')
    expect(offline).toMatchObject({error: {code: status >= 400 ? 'busy' : 'not-a-broker'}})
    client.close()
  })

  test('outlasts what is no event stream', async () => {
    const server = await Scripted.start()
    server.onStream = ({response}, count) => {
      if (count === 1)
        return void response.writeHead(200, {'Content-Type': 'text/html'}).end('<h1>Pay for this network')
      open(response)
      response.write(count === 2 ? 'id: aaaaaaaa-9\ndata: no JSON\n\n' : ready(0) + message(1))
    }
    const client = connect(server)
    const seen = collect(client)
    await until('a message', () => seen.messages.length > 0)
    const troubles = client.states.flatMap((state) =>
      state.kind === 'offline' ? (state.error as UnavailableError).code : [],
    )
    expect(new Set(troubles)).toEqual(new Set(['not-a-broker']))
    client.close()
  })

  test('comes back no sooner than the server wants, be it by retry or by Retry-After', async () => {
    const server = await Scripted.start()
    const times: number[] = []
    server.onStream = ({response}, count) => {
      times.push(performance.now())
      if (count === 1) return answer(response, 503, {}, {'Retry-After': '1'})
      open(response, ':\nretry: 700\n')
      // A soft refusal: the node can't serve now.
      if (count === 2) return response.end()
      response.write(ready(0))
    }
    const client = connect(server)
    collect(client)
    await until('a live stream', () => client.state.kind === 'live')
    expect((times[1] ?? 0) - (times[0] ?? 0)).toBeGreaterThanOrEqual(990)
    expect((times[2] ?? 0) - (times[1] ?? 0)).toBeGreaterThanOrEqual(690)
    client.close()
  })

  test('is opened anew when the connection is half open, and a sign of life keeps it', async () => {
    const server = await Scripted.start()
    server.onStream = ({response}, count) => {
      open(response)
      response.write(ready(count))
      // The second gives signs of life, the first doesn't.
      if (count === 2) setInterval(() => response.write(':\n'), 50).unref()
    }
    const client = connect(server, {keepAliveMs: 150})
    collect(client)
    await until('a second stream', () => server.streams.length === 2 && client.state.kind === 'live')
    expect(client.states).toContainEqual(
      expect.objectContaining({kind: 'offline', error: expect.objectContaining({code: 'stalled'})}),
    )
    const since = performance.now()
    await until('six signs of life', () => performance.now() - since > 400)
    expect(server.streams.length).toBe(2)
    client.close()
  })

  test('that a proxy holds back is told from a node that does not answer', async () => {
    const server = await Scripted.start()
    const open: Exchange[] = []
    let isDead = false
    server.onStream = (exchange) => open.push(exchange)
    server.onRequest = ({response}) => isDead || answer(response, 200, {status: 'alive'})
    const client = connect(server, {answerMs: 100})
    collect(client)
    const trouble = (code: string) => () =>
      client.states.some((state) => state.kind === 'offline' && state.error.code === code)
    await until('the proxy to be blamed', trouble('buffered'))
    isDead = true
    await until('the node to be blamed', trouble('timeout'))
    client.close()

    // A proxy that says so for a dead node.
    server.onRequest = ({response}) => answer(response, 502, {})
    const other = connect(server, {answerMs: 100})
    collect(other)
    await until('an attempt to end', () => other.state.kind === 'offline')
    expect(other.state).toMatchObject({error: {code: 'timeout'}})
    other.close()
  })

  test('follows repl.move to a node that is named, before the old one has closed it', async () => {
    const [one, other, third] = [await Scripted.start(), await Scripted.start(), await Scripted.start()]
    const members = [one, other, third].map(({url}) => ({clientUrl: url, state: 'up', connections: 1}))
    one.members = other.members = members
    one.onStream = ({response}) => {
      open(response)
      response.write(ready(0) + message(1))
      response.write(frame(1, {nodes: [other.url], withinMs: 100}, 'repl.move'))
      // It still gives what comes meanwhile.
      response.write(message(2))
    }
    other.onStream = ({response, url}) => {
      open(response)
      const after = Number(url.searchParams.get('after')?.split('-')[1])
      for (let position = after + 1; position <= 3; position++) response.write(message(position))
      response.write(ready(3))
    }
    // Chance alone would take the third.
    const client = connect(one, {clock: {...systemClock, random: () => 0.99}})
    const seen = collect(client)
    await until('three messages', () => seen.messages.length === 3)
    await until('the first stream to be closed', () => one.streams[0]?.response.closed)
    expect(values(seen)).toEqual([1, 2, 3])
    expect(client.states.filter(({kind}) => kind === 'offline')).toEqual([])
    expect([one, other, third].map(({streams}) => streams.length)).toEqual([1, 1, 0])
    client.close()
  })

  test('does not mind what it does not know', async () => {
    const server = await Scripted.start()
    server.onStream = ({response}) => {
      open(response, ':\nretry: 20\nnews: field\n')
      response.write(
        ready(0) + frame(1, {any: 'thing'}, 'repl.something-new') + message(2) + frame(3, [], 'repl.cursor'),
      )
    }
    const client = connect(server)
    const seen = collect(client)
    await until('a message', () => seen.messages.length > 0)
    expect(values(seen)).toEqual([2])
    client.close()
  })

  test('whose topic is refused beside others that are not leaves those alone', async () => {
    const server = await Scripted.start()
    server.onStream = ({response, url}) => {
      if (url.searchParams.getAll('topic').includes('secret')) return answer(response, 403, {code: 'forbidden'})
      open(response)
      response.write(ready(0))
    }
    const client = connect(server)
    const seen = collect(client)
    await until('a live stream', () => client.state.kind === 'live')
    const secret = collect(client, 'secret')
    await until('a refusal', () => secret.error)
    expect(secret.error).toMatchObject({code: 'forbidden', status: 403})
    server.streams[0]?.response.write(message(1))
    await until('a message', () => seen.messages.length > 0)
    expect([client.state.kind, server.streams.length]).toEqual(['live', 2])
    client.close()
  })

  test('that is refused for the sake of one of its topics is not refused to the others', async () => {
    const server = await Scripted.start()
    server.onStream = ({response, url}) => {
      if (url.searchParams.getAll('topic').includes('*bad')) return answer(response, 400, {code: 'invalid-topic-name'})
      open(response)
      response.write(ready(0))
    }
    const client = connect(server)
    const bad = collect(client, '*bad')
    const good = ['a', 'b', 'c', 'd'].map((topic) => collect(client, topic))
    await until('the refusal', () => bad.error)
    const isWhole = ({url, response}: Exchange): boolean =>
      !response.closed && url.searchParams.getAll('topic').length === 4
    await until('one stream for the others', () => server.streams.filter(isWhole).length === 1)
    const whole = server.streams.find(isWhole)?.response
    whole?.write(['a', 'b', 'c', 'd'].map((topic, n) => message(n + 1, topic)).join(''))
    await until('the messages', () => good.every(({messages}) => messages.length === 1))
    expect(good.map(({error}) => error)).toEqual([undefined, undefined, undefined, undefined])
    expect(client.states.map(({kind}) => kind)).not.toContain('denied')
    client.close()
  })

  test('that is refused leaves nothing behind, not even the one that was to take over from it', async () => {
    const server = await Scripted.start()
    server.onStream = ({response}, count) => {
      if (count > 2) return answer(response, 403, {code: 'forbidden'})
      open(response)
      if (count === 1) response.write(ready(0))
    }
    const client = connect(server, {keepAliveMs: 60_000})
    const seen = collect(client)
    await until('a live stream', () => client.state.kind === 'live')
    const other = collect(client, 'other')
    await until('a second stream', () => server.streams.length === 2)
    server.streams[0]?.response.end()
    await until('the refusals', () => seen.error && other.error)
    expect(client.state.kind).toBe('denied')
    await until('the second to be closed', () => server.streams[1]?.response.closed)
    client.close()
  })

  test('gives all to who comes while the one that takes over is on its way', async () => {
    const server = await Scripted.start()
    server.onStream = ({response}, count) => {
      open(response)
      if (count === 1) response.write(ready(0))
    }
    const client = connect(server)
    const seen = [collect(client)]
    await until('a live stream', () => client.state.kind === 'live')
    seen.push(collect(client, 'other'))
    await until('a second stream', () => server.streams.length === 2)
    seen.push(collect(client), collect(client, 'other'))
    const write = (n: number, ...events: string[]) => server.streams[n]?.response.write(events.join(''))
    await Promise.resolve()
    write(0, message(1))
    await until('a message', () => seen[2]?.messages.length === 1)
    write(1, message(1), ready(1), message(2), message(3, 'other'))
    await until('two topics', () => seen[1]?.messages.length === 1)
    expect(seen.map(values)).toEqual([[1, 2], [3], [1, 2], [3]])

    // And who wants something that it doesn't have, gets it from the next.
    seen.push(collect(client, 'third'))
    await until('a third stream', () => server.streams.length === 3)
    seen.push(collect(client, 'fourth'))
    await Promise.resolve()
    write(2, ready(3), message(4, 'third'))
    await until('a fourth stream', () => server.streams.length === 4)
    expect(server.streams[3]?.url.search).toBe('?topic=news&topic=other&topic=third&topic=fourth&after=aaaaaaaa-3')
    write(3, message(4, 'third'), message(5, 'fourth'), ready(5), message(6))
    await until('the last message', () => seen[0]?.messages.length === 3)
    expect(seen.map(values)).toEqual([[1, 2, 6], [3], [1, 2, 6], [3], [4], [5]])
    client.close()
  })

  test('that is to move, where there is no other node, comes back as soon as it is served', async () => {
    const server = await Scripted.start()
    server.onStream = ({response}) => {
      open(response)
      response.write(ready(0))
    }
    const client = connect(server, {keepAliveMs: 60_000})
    collect(client)
    await until('the members to be asked for', () => server.asked === 1)
    const [first] = server.streams.map(({response}) => response)
    first?.write(frame(0, {nodes: ['http://127.0.0.1:9'], withinMs: 100}, 'repl.move'))
    await until('the members to be asked for again', () => server.asked === 2, 10_000)
    first?.end()
    await until('a second stream', () => server.streams.length > 1 && client.state.kind === 'live', 10_000)
    client.close()
  })

  test('drops a message that comes twice', async () => {
    const server = await Scripted.start()
    server.onStream = ({response, url}, count) => {
      open(response)
      response.write(count === 1 ? ready(0) + message(1) : message(1) + message(2) + ready(2))
      expect(url.searchParams.get('after')).toBe(count === 1 ? 'now' : 'aaaaaaaa-1')
    }
    const client = connect(server)
    const seen = collect(client)
    await until('the first message', () => seen.messages.length === 1)
    const other = collect(client, 'other')
    await until('the second message', () => seen.messages.length === 2)
    expect([values(seen), values(other)]).toEqual([[1, 2], []])
    client.close()
  })

  test('tells a gap to those whom it concerns, and none that is behind them', async () => {
    const server = await Scripted.start()
    const gap = (topics: string[]): string =>
      frame(5, {requested: 'aaaaaaaa-5', firstAvailable: 'aaaaaaaa-9', reason: 'retention', topics}, 'repl.gap')
    server.onStream = ({response}) => {
      open(response)
      response.write(ready(5) + gap(['news']) + gap([]))
    }
    const client = connect(server)
    const [news, other] = [collect(client), collect(client, 'other')]
    await until('the gaps', () => news.gaps.length === 2)
    const [first, second] = [{topics: ['news'], reason: 'retention'}, {topics: []}]
    expect(news.gaps).toMatchObject([first, second])
    expect(other.gaps).toMatchObject([second])
    client.close()
  })
})

describe('the world', () => {
  /** What a page would hear. */
  function stubWorld(): (event: string, what?: object) => void {
    const world = new EventTarget()
    vi.stubGlobal('addEventListener', world.addEventListener.bind(world))
    vi.stubGlobal('removeEventListener', world.removeEventListener.bind(world))
    onTestFinished(() => void vi.unstubAllGlobals())
    return (event, what = {}) => world.dispatchEvent(Object.assign(new Event(event), what))
  }

  test('does not disturb a stream on its way, unless the network is another', async () => {
    const dispatch = stubWorld()
    const server = await Scripted.start()
    server.onStream = () => {}
    // So patient that a failure would be noticed.
    const client = connect(server, {backoffMinMs: 3_600_000, backoffMaxMs: 3_600_000})
    collect(client)
    await until('a stream', () => server.streams.length === 1)
    vi.stubGlobal('document', {visibilityState: 'hidden'})
    dispatch('visibilitychange')
    dispatch('pageshow', {persisted: false})
    vi.stubGlobal('document', {visibilityState: 'visible'})
    dispatch('visibilitychange')
    server.onStream = ({response}) => {
      open(response)
      response.write(ready(0))
    }
    dispatch('online')
    await until('a live stream', () => client.state.kind === 'live')
    await until('the first to be given up', () => server.streams[0]?.response.closed)
    expect(server.streams.length).toBe(2)
    expect(client.states.map(({kind}) => kind)).not.toContain('offline')
    client.close()
  })

  test('that comes back makes one new stream, not two', async () => {
    const dispatch = stubWorld()
    const server = await Scripted.start()
    server.onStream = ({response}, count) => {
      if (count === 1) return void response.destroy()
      open(response)
      response.write(ready(0))
    }
    const client = connect(server, {backoffMinMs: 3_600_000, backoffMaxMs: 3_600_000})
    collect(client)
    await until('the client to wait', () => client.state.kind === 'offline')
    dispatch('online')
    await until('a live stream', () => client.state.kind === 'live')
    // Another would be asked for by now.
    await client.request({path: '/anything'})
    expect(server.streams.length).toBe(2)
    client.close()
  })
})

describe('a client that is closed', () => {
  test('asks for nothing more, and leaves no timer', async () => {
    const clock = new FakeClock()
    let asked = 0
    const lost = createClient({
      clock,
      url() {
        asked++
        throw new Error('no directory')
      },
    })
    lost.subscribe('news', () => {})
    await until('the client to wait', () => lost.state.kind === 'offline')
    lost.close()
    clock.pass(60_000)
    await new Promise((resolve) => setImmediate(resolve))
    expect([asked, clock.timers]).toEqual([1, []])

    const server = await Scripted.start()
    server.onStream = ({response}) => {
      open(response)
      response.write(ready(0) + frame(0, {nodes: [], withinMs: 60_000}, 'repl.move'))
    }
    const client = connect(server, {clock})
    collect(client)
    await until('the order to move', () => client.state.kind === 'live')
    client.close()
    await until('every timer to be taken back', () => clock.timers.length === 0)
  })

  test('reads no further, even if the fetch that it was given does not heed its signal', async () => {
    let read = 0
    const pull = (controller: ReadableStreamDefaultController<Uint8Array>): void =>
      controller.enqueue(new TextEncoder().encode(read++ ? message(read) : ready(0)))
    const headers = {'Content-Type': 'text/event-stream'}
    const body = new ReadableStream({pull})
    const client = createClient({
      url: 'http://127.0.0.1:9',
      fetch: () => Promise.resolve(new Response(body, {headers})),
    })
    for await (const _ of client.subscribe('news')) if (read > 10) break
    client.close()
    // An endless loop of microtasks would never come to this.
    await new Promise((resolve) => setImmediate(resolve))
    expect(client.state.kind).toBe('closed')
  })
})

describe('a clock', () => {
  test('that is set, be it by years, changes nothing; a machine that slept opens its stream anew', async () => {
    const server = await Scripted.start()
    server.onStream = ({response}, count) => {
      open(response)
      response.write(count === 1 ? ready(0) : message(1) + ready(1))
    }
    const clock = new FakeClock()
    const client = connect(server, {clock})
    const seen = collect(client)
    await until('a live stream', () => client.state.kind === 'live')
    for (const years of [10, -20]) {
      clock.setDate(clock.date() + years * 365 * 86_400_000)
      clock.pass(500)
    }
    expect([client.state.kind, server.streams.length]).toEqual(['live', 1])
    clock.sleep(3_600_000)
    await until('the client to notice', () => client.state.kind === 'offline')
    expect(client.state).toMatchObject({error: {code: 'stalled'}})
    await until('a second stream', () => {
      clock.pass(1_000)
      return seen.messages.length === 1
    })
    expect(server.streams[1]?.url.searchParams.get('after')).toBe('aaaaaaaa-0')
    client.close()
  })
})

describe('a token', () => {
  test('is sent, fetched anew once when it is refused, and once for all who wait for it', async () => {
    const server = await Scripted.start()
    let valid = 'second'
    server.onStream = ({request, response}) => {
      if (request.headers.authorization !== `Bearer ${valid}`) return answer(response, 401, {code: 'unauthorized'})
      open(response)
      response.write(ready(0))
    }
    server.onRequest = ({request, response}) => {
      const isKnown = request.headers.authorization === `Bearer ${valid}`
      answer(response, isKnown ? 201 : 401, isKnown ? {id: 'aaaaaaaa-1', seq: 1} : {code: 'unauthorized'})
    }
    const asked: string[] = []
    const tokens = ['first', 'second', 'third']
    const client = connect(server, {
      token: async (reason) => {
        asked.push(reason)
        return tokens[asked.length - 1] ?? 'last'
      },
    })
    collect(client)
    await Promise.all([client.publish('news', 1), client.publish('news', 2)])
    await until('a live stream', () => client.state.kind === 'live')
    expect(asked).toEqual(['first', 'refused'])

    valid = 'nothing that is ever fetched'
    await expect(client.publish('news', 3)).rejects.toMatchObject({code: 'unauthorized', status: 401})
    expect(asked).toEqual(['first', 'refused', 'refused'])
    client.close()
  })

  test('that can not be fetched is no refusal: it is asked for again', async () => {
    const server = await Scripted.start()
    server.onStream = ({request, response}) => {
      if (request.headers.authorization !== 'Bearer third') return answer(response, 401, {code: 'unauthorized'})
      open(response)
      response.write(ready(0))
    }
    let asked = 0
    const client = connect(server, {
      token() {
        if (++asked === 2) throw new Error('the one who gives tokens is away')
        return asked === 1 ? 'first' : 'third'
      },
    })
    const seen = collect(client)
    await until('a live stream', () => client.state.kind === 'live' || seen.error)
    expect([seen.error, asked]).toEqual([undefined, 3])
    client.close()
  })

  test('that is a JWT is replaced before it expires, without a moment offline', async () => {
    const server = await Scripted.start()
    const claims = (exp: number): string => `x.${Buffer.from(JSON.stringify({exp})).toString('base64url')}.x`
    let fetched = 0
    server.onStream = ({response}) => {
      open(response)
      response.write(ready(0))
    }
    const client = connect(server, {token: () => claims(Date.now() / 1000 + (fetched++ ? 3600 : 1.5))})
    collect(client)
    await until('a stream under the second token', () => server.streams.length === 2 && client.state.kind === 'live')
    const tokens = server.streams.map(({request}) => request.headers.authorization)
    expect(new Set(tokens).size).toBe(2)
    await until('the first to be closed', () => server.streams[0]?.response.closed)
    expect(client.states.filter(({kind}) => kind === 'offline')).toEqual([])
    client.close()
  })
})

describe('a publish', () => {
  test('is repeated under its key until it is stored', async () => {
    const server = await Scripted.start()
    server.onRequest = ({response}, count) => {
      if (count === 1) return response.destroy()
      if (count === 2) return answer(response, 503, {code: 'no-leader'}, {'Retry-After': '0'})
      if (count === 3) return answer(response, 504, {code: 'outcome-unknown'})
      answer(response, 200, {id: 'aaaaaaaa-1', seq: 1})
    }
    const client = connect(server)
    expect(await client.publish('a/b:ü', {n: 1}, {type: 'kind', headers: {a: 'b'}})).toEqual({
      id: 'aaaaaaaa-1',
      seq: 1,
      repeated: true,
    })
    const [first, ...others] = server.requests.map(({request, url, body}) => [
      url.pathname,
      body,
      request.headers['idempotency-key'],
    ])
    expect(first).toEqual([
      '/topics/a%2Fb%3A%C3%BC',
      '{"value":{"n":1},"headers":{"a":"b"},"type":"kind"}',
      expect.stringMatching(/^[0-9a-z]{16,}$/),
    ])
    expect(others).toEqual([first, first, first])
    client.close()
  })

  test('is given up by its signal, or when it has taken too long', async () => {
    const server = await Scripted.start()
    server.onRequest = ({response}) => answer(response, 503, {})
    const client = connect(server)
    const abort = new AbortController()
    const publish = client.publish('news', 1, {signal: abort.signal})
    await until('a few attempts', () => server.requests.length > 3)
    abort.abort(new Error('the user went away'))
    await expect(publish).rejects.toThrow('the user went away')
    await expect(client.publish('news', 1, {patienceMs: 50})).rejects.toMatchObject({
      name: 'UnavailableError',
      code: 'busy',
    })
    client.close()
  })

  test('is given up by its signal whatever it waits for, and no node is blamed', async () => {
    const nowhere = createClient({url: () => new Promise(() => {})})
    await expect(nowhere.publish('news', 1, {signal: AbortSignal.timeout(10)})).rejects.toMatchObject({
      name: 'TimeoutError',
    })
    const server = await Scripted.start()
    server.onRequest = ({response}, count) => count === 1 || answer(response, 201, {id: 'aaaaaaaa-1', seq: 1})
    const client = connect(server, {backoffMinMs: 3_600_000, backoffMaxMs: 3_600_000})
    const abort = new AbortController()
    const first = client.publish('news', 1, {signal: abort.signal})
    await until('the request', () => server.requests.length === 1)
    abort.abort()
    await expect(first).rejects.toMatchObject({name: 'AbortError'})
    await expect(client.publish('news', 1, {signal: abort.signal})).rejects.toMatchObject({name: 'AbortError'})
    expect((await client.publish('news', 2)).seq).toBe(1)
    client.close()
  })

  test('learns who else is there', async () => {
    const [one, other] = [await Scripted.start(), await Scripted.start()]
    one.members = other.members = [one, other].map(({url}) => ({clientUrl: url, state: 'up', connections: 1}))
    for (const node of [one, other]) node.onRequest = ({response}) => answer(response, 201, {id: 'aaaaaaaa-1', seq: 1})
    const client = connect(one)
    await client.publish('news', 1)
    await until('the members to be asked for', () => one.asked === 1)
    one.onRequest = ({response}) => response.destroy()
    await client.publish('news', 2)
    expect(other.requests.length).toBe(1)
    client.close()
  })

  test.each([400, 404, 413, 415, 422])('that is refused with %i is not repeated', async (status) => {
    const server = await Scripted.start()
    server.onRequest = ({response}) => answer(response, status, {code: 'why', detail: 'Because.'})
    const client = connect(server)
    await expect(client.publish('news', 1)).rejects.toMatchObject({
      name: 'RefusedError',
      status,
      message: 'why: Because.',
    })
    expect(server.requests.length).toBe(1)
    client.close()
  })
})

describe('a loop', () => {
  test('that is slow slows the stream down, is no silence, and gets everything', async () => {
    const server = await Scripted.start()
    const count = 20_000
    let isHeld = true
    server.onStream = ({response}) => {
      open(response)
      response.write(ready(0))
      const text = 'x'.repeat(1_000)
      let position = 0
      const write = (): void => {
        while (position < count) if (!response.write(message(++position, 'news', text))) break
        if (position < count) response.once('drain', write)
        else isHeld = false
      }
      write()
    }
    const clock = new FakeClock()
    const client = connect(server, {clock})
    const news = client.subscribe('news')
    const loop = news[Symbol.asyncIterator]()
    const first = await loop.next()
    expect(first.value).toMatchObject({seq: 1})
    // With a thousand that nobody has taken, the client reads nothing, and so hears nothing.
    await until('the client to wait for its reader', () => Number(news.cursor?.split('-')[1]) > 1_000)
    clock.pass(3_600_000)
    expect([isHeld, server.streams.length, client.state.kind]).toEqual([true, 1, 'live'])
    let last = 1
    while (last < count) {
      const {value} = await loop.next()
      expect((value as Message).seq).toBe(++last)
    }
    expect(server.streams.length).toBe(1)
    await loop.return?.()
    client.close()
  })

  test('can be left while it waits, and before it has begun', async () => {
    const server = await Scripted.start()
    server.onStream = ({response}) => {
      open(response)
      response.write(ready(0))
    }
    const client = connect(server)
    for (const isWaiting of [true, false]) {
      const stream = client.subscribe('news')
      await stream.ready
      const loop = stream[Symbol.asyncIterator]()
      const next = isWaiting ? loop.next() : undefined
      expect(await loop.return?.()).toEqual({done: true, value: undefined})
      expect((await (next ?? loop.next())).done).toBe(true)
      await until('nothing to be open', () => client.state.kind === 'idle')
    }
    client.close()
  })

  test('that asks for several messages at once gets them in order', async () => {
    const server = await Scripted.start()
    server.onStream = ({response}) => {
      open(response)
      response.write(ready(0))
    }
    const client = connect(server)
    const stream = client.subscribe('news')
    await stream.ready
    const [loop, same] = [stream[Symbol.asyncIterator](), stream[Symbol.asyncIterator]()]
    const asked = [loop.next(), same.next(), loop.next(), loop.next()]
    server.streams[0]?.response.write(message(1))
    await asked[0]
    server.streams[0]?.response.write(message(2) + message(3))
    const [one, two, three] = await Promise.all(asked.slice(0, 3))
    expect([one, two, three].map((result) => (result?.value as Message).seq)).toEqual([1, 2, 3])
    client.close()
    expect((await asked[3])?.done).toBe(true)
  })
})
