import {createParser as createReference} from 'eventsource-parser'
import {describe, expect, test} from 'vitest'

import {createParser, EVENT_CHARS_MAX, type StreamEvent} from '../src/parser.js'

const utf8 = new TextEncoder()

interface Heard {
  events: StreamEvent[]
  retries: number[]
}

function listen(...chunks: readonly (string | Uint8Array)[]): Heard {
  const heard: Heard = {events: [], retries: []}
  const feed = createParser({event: (event) => heard.events.push(event), retry: (ms) => heard.retries.push(ms)})
  for (const chunk of chunks) feed(typeof chunk === 'string' ? utf8.encode(chunk) : chunk)
  return heard
}

/** The algorithm of the standard, line by line and as slowly as it is written there. */
function byTheBook(bytes: Uint8Array): Heard {
  const heard: Heard = {events: [], retries: []}
  const lines = new TextDecoder()
    .decode(bytes)
    .replace(/\r\n|\r/g, '\n')
    .split('\n')
    .slice(0, -1)
  let [data, type, id] = ['', '', '']
  for (const line of lines) {
    if (line === '') {
      if (data !== '') heard.events.push({type: type || 'message', data: data.replace(/\n$/, ''), id})
      ;[data, type] = ['', '']
      continue
    }
    if (line.startsWith(':')) continue
    const [, field = line, value = ''] = /^([^:]*): ?([^]*)$/.exec(line) ?? []
    if (field === 'event') type = value
    if (field === 'data') data += `${value}\n`
    if (field === 'id' && !value.includes('\0')) id = value
    if (field === 'retry' && /^[0-9]+$/.test(value)) heard.retries.push(Number(value))
  }
  return heard
}

const FIXTURES: Record<string, string> = {
  'as the broker writes it':
    ':\nretry: 1500\nid: k7qmaaaa-1\ndata: {"value":"ü \u2028"}\n\n:\nevent: repl.ready\nid: k7qmaaaa-1\ndata: {}\n\n',
  'every kind of line end': 'data: a\rdata: b\ndata: c\r\n\r\n\rdata: d\n\ndata: e\r\r\ndata: f\n\n',
  'a byte order mark': '\ufeffdata: first\n\n\ufeffdata: not a field\ndata: second\n\n',
  'fields without colon or value': 'data\n\ndata:\n\ndata: \n\ndata:  two\n\nevent\ndata: x\n\nid\ndata: y\n\n',
  'ids that stay, and such as are none':
    'id: 1\ndata: a\n\ndata: b\n\nid: 2\n\ndata: c\n\nid: 3\0\ndata: d\n\nid:\ndata: e\n\n',
  'events without data': 'event: ghost\n\n: comment\n\nretry: 5\n\nevent: a\ndata: b\n\ndata: c\n\n',
  'retries that are none': 'retry: 1.5\nretry: x\nretry: \nretry: 007\nretry: -1\ndata: a\n\n',
  'four bytes a character': 'data: 😀😀\nid: 😀\n\ndata: \ud83d lonely\n\n',
  'an end without a blank line': 'data: whole\n\ndata: half\nid: 9\n',
}

describe('the parser', () => {
  test.each(Object.entries(FIXTURES))('reads %s, wherever it is cut', (_, text) => {
    const bytes = utf8.encode(text)
    const expected = byTheBook(bytes)
    expect(listen(bytes)).toEqual(expected)
    expect(listen(...Array.from(bytes, (byte) => Uint8Array.of(byte)))).toEqual(expected)
    for (let cut = 0; cut <= bytes.length; cut++) {
      expect(listen(bytes.slice(0, cut), bytes.slice(cut)), `cut at ${cut}`).toEqual(expected)
    }
  })

  test('shows what is not UTF-8 as the standard does, and not what is not whole yet', () => {
    const bytes = Uint8Array.of(...utf8.encode('data: a'), 0xff, 0xe2, 0x82, ...utf8.encode('b\n\ndata: '), 0xf0, 0x9f)
    for (let cut = 0; cut <= bytes.length; cut++) {
      expect(listen(bytes.slice(0, cut), bytes.slice(cut)).events).toEqual([
        {type: 'message', data: 'a\ufffd\ufffdb', id: ''},
      ])
    }
  })

  test('agrees with the standard, and with eventsource-parser, on 20,000 streams made at random', () => {
    const next = seeded(7)
    const pieces = [
      'data',
      'id',
      'event',
      'retry',
      ':',
      ': ',
      ' ',
      '\n',
      '\r',
      '\r\n',
      '\n\n',
      'x',
      '1',
      'ü',
      '😀',
      '\ufeff',
      '\0',
    ]
    for (let round = 0; round < 20_000; round++) {
      const text = Array.from({length: next(30)}, () => pieces[next(pieces.length)]).join('')
      const bytes = utf8.encode(text)
      const cuts = Array.from({length: next(4)}, () => next(bytes.length + 1)).sort((a, b) => a - b)
      const chunks = [0, ...cuts].map((cut, n) => bytes.slice(cut, cuts[n] ?? bytes.length))
      const {events, retries} = listen(...chunks)
      expect({events, retries}, JSON.stringify(text)).toEqual(byTheBook(bytes))

      const reference: {type: string; data: string}[] = []
      const parser = createReference({onEvent: ({event, data}) => reference.push({type: event || 'message', data})})
      // It takes text; it reads a byte order mark only at the very start, and a CR at the end only with what follows.
      parser.feed(new TextDecoder().decode(bytes))
      if (text.endsWith('\r')) continue
      expect(
        events.map(({type, data}) => ({type, data})),
        JSON.stringify(text),
      ).toEqual(reference)
    }
  })

  test('gives up on an event that is larger than any broker sends', () => {
    const chunk = utf8.encode('x'.repeat(1024 * 1024))
    const chunks = (count: number): Uint8Array[] => Array.from({length: count}, () => chunk)
    expect(() => listen('data: ', ...chunks(EVENT_CHARS_MAX / chunk.length))).toThrow(RangeError)
    const line = [utf8.encode('data: '), chunk, utf8.encode('\n')]
    expect(() => listen(...Array.from({length: 17}, () => line).flat())).toThrow(RangeError)
    expect(listen('data: ', ...chunks(15), '\n\n').events[0]?.data.length).toBe(15 * chunk.length)
  })
})

/** The same numbers below a bound, each time. */
function seeded(seed: number): (bound: number) => number {
  let state = seed
  return (bound) => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0
    return Math.floor((state / 2 ** 32) * bound)
  }
}
