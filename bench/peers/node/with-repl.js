// The application takes messages and publishes them; its subscribers read from repl itself. It acknowledges what repl
// has stored.

import {Agent, request} from 'node:http'

import {serve, to} from './chat.js'

const agent = new Agent({keepAlive: true, maxSockets: 64})

function publish(message) {
  const body = `{"value":${message}}`
  const headers = {'Content-Type': 'application/json', 'Content-Length': Buffer.byteLength(body)}
  return new Promise((resolve, reject) => {
    const publishing = request(to, {agent, method: 'POST', headers}, (answer) => {
      answer.resume()
      answer.on('end', () => (answer.statusCode === 201 ? resolve() : reject(new Error(`${answer.statusCode}`))))
    })
    publishing.on('error', reject)
    publishing.end(body)
  })
}

serve(publish, new Set())
