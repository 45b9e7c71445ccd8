// What the three chats have in common: messages are posted to /chat and read at /chat/sse.

import {createServer} from 'node:http'

const [port, to] = process.argv.slice(2)

/** What was named on the command line for an application to hand its messages to. */
export {to}

/**
 * Serves a chat. `publish` hands a message on and resolves when it may be acknowledged; `subscribers` are the responses
 * that read.
 */
export function serve(publish, subscribers) {
  const server = createServer((request, response) => {
    if (request.method === 'POST' && request.url === '/chat') {
      let message = ''
      request.setEncoding('utf8')
      request.on('data', (part) => (message += part))
      request.on('end', () => {
        Promise.resolve(publish(message)).then(
          () => response.writeHead(201, {'Content-Length': 0}).end(),
          (error) => response.writeHead(502).end(String(error)),
        )
      })
    } else if (request.method === 'GET' && request.url === '/chat/sse') {
      response.writeHead(200, {'Content-Type': 'text/event-stream', 'Cache-Control': 'no-cache'})
      subscribers.add(response)
      response.on('close', () => subscribers.delete(response))
      response.write(':\n\n')
    } else {
      response.writeHead(404).end()
    }
  })
  server.keepAliveTimeout = 600_000
  server.listen({host: '127.0.0.1', port: Number(port), backlog: 4096})
}

/** Writes a message to all subscribers. */
export function deliver(message, subscribers) {
  const event = `data: ${message}\n\n`
  for (const response of subscribers) response.write(event)
}
