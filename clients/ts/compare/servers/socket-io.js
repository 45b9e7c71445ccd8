// socket.io: `node socket-io.js PORT SETTINGS`. Emits each line that is posted to it.
import {readFileSync} from 'node:fs'
import {createServer} from 'node:http'

import {Server} from 'socket.io'

const [port, settings] = process.argv.slice(2)
const http = createServer(async (request, response) => {
  if (request.method !== 'POST' || request.url !== '/publish') return
  let body = ''
  for await (const chunk of request) body += chunk
  for (const line of body.split('\n')) io.emit('news', line)
  response.end()
})
const io = new Server(http, {cors: {origin: '*'}, ...JSON.parse(readFileSync(settings, 'utf8'))})
http.listen(Number(port), '127.0.0.1')
