import {createReadStream} from 'node:fs'
import {createServer} from 'node:http'

import {Scene} from './scene.js'

const {PORT = '8081', BROKERS = 'http://127.0.0.1:7375'} = process.env

const FILES = {
  '/': ['index.html', 'text/html; charset=utf-8'],
  '/main.js': ['main.js', 'text/javascript; charset=utf-8'],
  '/style.css': ['style.css', 'text/css; charset=utf-8'],
}

const scene = new Scene(BROKERS.split(','))
const orders = {
  '/load': ({url, isBusy}) => scene.load(url, isBusy),
  '/invite': ({count}) => scene.invite(Math.min(count, 100)),
  '/dismiss': () => scene.dismiss(),
}

async function answer(request, response) {
  const [file, type] = FILES[request.url] ?? []
  if (file) {
    response.writeHead(200, {'Content-Type': type})
    return createReadStream(new URL(`page/${file}`, import.meta.url)).pipe(response)
  }
  let body = {}
  if (request.method === 'GET' && request.url === '/scene') body = await scene.look({patienceMs: 1_000})
  else if (request.method === 'POST' && orders[request.url]) await orders[request.url](await read(request))
  else response.statusCode = 404
  response.setHeader('Content-Type', 'application/json')
  response.end(JSON.stringify(body))
}

async function read(request) {
  let text = ''
  for await (const piece of request) text += piece
  return JSON.parse(text)
}

const server = createServer((request, response) => {
  answer(request, response).catch(({message}) => response.writeHead(502).end(message))
})
await scene.prepare({patienceMs: 60_000})
server.listen(Number(PORT), '127.0.0.1', () =>
  console.log(`the scene is at http://localhost:${server.address().port}/`),
)
