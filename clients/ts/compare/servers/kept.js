import {createServer} from 'node:http'

import {WebSocketServer} from 'ws'

/** Values that go out together at most, and bytes that may wait in a connection: it is slow then, and gets more when it drains. */
const TOGETHER = 100
const WAITING_BYTES_MAX = 1024 * 1024

/**
 * A channel over WebSocket, for protocols whose real server can't be had from a package registry: it keeps in memory, as a
 * list, each line that is posted to it, and gives every reader what stands behind the place where he is.
 *
 * `hear(message, reader, url)` takes what a client says; `reader.start(at)` gives him all from there on, in the form that
 * `encode(values, at)` makes, and `reader.say` anything else.
 */
export function serveKept(port, {greet = () => {}, hear, encode}) {
  const kept = []
  const readers = new Set()

  const http = createServer(async (request, response) => {
    let body = ''
    for await (const chunk of request) body += chunk
    if (request.method === 'POST') {
      kept.push(...body.split('\n'))
      for (const reader of readers) reader.give()
    }
    response.writeHead(200, {'Access-Control-Allow-Origin': '*', 'Content-Type': 'text/plain'}).end('yes')
  })

  new WebSocketServer({server: http}).on('connection', (socket, request) => {
    const reader = {
      at: undefined,
      end: () => kept.length,
      say: (text) => socket.send(text),
      start(at) {
        reader.at = at
        reader.give()
      },
      give() {
        while (reader.at < kept.length && socket.bufferedAmount < WAITING_BYTES_MAX) {
          const values = kept.slice(reader.at, reader.at + TOGETHER)
          socket.send(encode(values, reader.at), reader.give)
          reader.at += values.length
        }
      },
    }
    readers.add(reader)
    socket.on('error', () => {})
    socket.on('close', () => readers.delete(reader))
    socket.on('message', (text) => hear(String(text), reader))
    greet(reader, new URL(request.url, 'http://kept'))
  })
  http.listen(port, '127.0.0.1')
}
