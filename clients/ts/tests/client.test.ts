import {describe, expect, onTestFinished, test, vi} from 'vitest'

import {createClient, type Message} from '../src/index.js'
import {collect, connect} from './support/client.js'
import {FakeClock} from './support/clock.js'
import {until} from './support/cluster.js'
import {answer, frame, message, open, ready, Scripted} from './support/scripted.js'

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

describe('a publish', () => {
  test('that is redirected is not done, and goes to another node', async () => {
    const server = await Scripted.start()
    server.onRequest = ({request, response}, count) => {
      if (count === 1) return answer(response, 301, {}, {Location: '/topics/news'})
      answer(response, request.method === 'POST' ? 201 : 200, {id: 'aaaaaaaa-1', seq: 1})
    }
    const client = connect(server)
    expect(await client.publish('news', 1)).toEqual({id: 'aaaaaaaa-1', seq: 1, repeated: false})
    expect(server.requests.map(({request}) => request.method)).toEqual(['POST', 'POST'])
    client.close()
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
