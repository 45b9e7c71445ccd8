import {describe, expect, test} from 'vitest'

import {RefusedError, UnavailableError} from '../src/index.js'
import {systemClock} from '../src/clock.js'
import {collect, connect, values} from './support/client.js'
import {FakeClock} from './support/clock.js'
import {until} from './support/cluster.js'
import {answer, frame, message, open, ready, Scripted, type Exchange} from './support/scripted.js'

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
    }
    let heard = 0
    const counting = async (...request: Parameters<typeof fetch>): Promise<Response> => {
      const response = await fetch(...request)
      if (!response.headers.get('Content-Type')?.startsWith('text/event-stream')) return response
      const transform: Transformer<Uint8Array, Uint8Array>['transform'] = (chunk, next) => {
        heard++
        next.enqueue(chunk)
      }
      return new Response(response.body?.pipeThrough(new TransformStream({transform})) ?? null, response)
    }
    const clock = new FakeClock()
    const client = connect(server, {clock, fetch: counting, keepAliveMs: 1_000})
    collect(client)
    await until('a live stream', () => client.state.kind === 'live')
    clock.pass(1_999)
    expect(client.state.kind).toBe('live')
    clock.pass(1)
    await until('the silence to be noticed', () => client.state.kind === 'offline')
    expect(client.state).toMatchObject({error: {code: 'stalled'}})
    await until('a second stream', () => {
      clock.pass(1)
      return server.streams.length === 2 && client.state.kind === 'live'
    })
    for (let sign = 0; sign < 3; sign++) {
      const before = heard
      server.streams[1]?.response.write(':\n')
      await until('a sign of life to be heard', () => heard > before)
      clock.pass(1_500)
    }
    expect([server.streams.length, client.state.kind]).toEqual([2, 'live'])
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
    let chance = 0
    one.onStream = ({response}) => {
      // Chance took this one. It alone would take the third next.
      chance = 0.99
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
    const url = [one, other, third].map(({url}) => url)
    const client = connect(one, {url, clock: {...systemClock, random: () => chance}})
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
    const client = connect(server)
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
    const client = connect(server)
    collect(client)
    await until('the members to be asked for', () => server.asked === 1)
    const [first] = server.streams.map(({response}) => response)
    first?.write(frame(0, {nodes: ['http://127.0.0.1:9'], withinMs: 100}, 'repl.move'))
    await until('the members to be asked for again', () => server.asked === 2)
    first?.end()
    await until('a second stream', () => server.streams.length > 1 && client.state.kind === 'live')
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
