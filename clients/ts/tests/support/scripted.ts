import {once} from 'node:events'
import {createServer, type IncomingMessage, type ServerResponse} from 'node:http'
import type {AddressInfo} from 'node:net'

import {onTestFinished} from 'vitest'

/** A request, and what a script answers to it. */
export interface Exchange {
  readonly request: IncomingMessage
  readonly response: ServerResponse
  /** Path and query. */
  readonly url: URL
  readonly body: string
}

/** Plays exactly what a test says: for bytes and statuses that a broker doesn't send, or not on demand. */
export class Scripted {
  url = ''
  /** Every stream that was asked for. */
  readonly streams: Exchange[] = []
  /** How often it was asked for the members of its cluster. */
  asked = 0
  /** Every other request. */
  readonly requests: Exchange[] = []
  onStream: (exchange: Exchange, count: number) => void = ({response}) => open(response)
  onRequest: (exchange: Exchange, count: number) => void = ({response}) => answer(response, 200, {})

  static async start(): Promise<Scripted> {
    const scripted = new Scripted()
    const server = createServer(async (request, response) => {
      let body = ''
      for await (const chunk of request) body += chunk
      const exchange = {request, response, body, url: new URL(request.url ?? '', 'http://scripted')}
      if (exchange.url.pathname === '/sse') scripted.onStream(exchange, scripted.streams.push(exchange))
      else if (exchange.url.pathname === '/cluster') {
        scripted.asked++
        answer(response, 200, {nodes: scripted.members})
      } else scripted.onRequest(exchange, scripted.requests.push(exchange))
    })
    server.listen(0, '127.0.0.1')
    await once(server, 'listening')
    scripted.url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`
    onTestFinished(() => {
      server.closeAllConnections()
      server.close()
    })
    return scripted
  }

  /** What it tells of its cluster. */
  members: object[] = []
}

/** Begins a stream as the broker does. */
export function open(response: ServerResponse, text = ':\nretry: 20\n'): void {
  response.writeHead(200, {'Content-Type': 'text/event-stream; charset=utf-8'})
  response.write(text)
}

export function answer(
  response: ServerResponse,
  status: number,
  body: unknown,
  headers: Record<string, string> = {},
): void {
  response.writeHead(status, {'Content-Type': 'application/json', ...headers})
  response.end(status === 204 ? undefined : JSON.stringify(body))
}

/** An event as the broker writes it. */
export function frame(position: number, data: object, type?: string, epoch = 'aaaaaaaa'): string {
  return `${type ? `event: ${type}\n` : ''}id: ${epoch}-${position}\ndata: ${JSON.stringify(data)}\n\n`
}

export function message(position: number, topic = 'news', value: unknown = position): string {
  const id = `aaaaaaaa-${position}`
  return frame(position, {id, topic, seq: position, value, headers: {}, createdAt: '2026-01-01T00:00:00.000Z'})
}

export function ready(position: number): string {
  return frame(position, {cursor: `aaaaaaaa-${position}`}, 'repl.ready')
}
