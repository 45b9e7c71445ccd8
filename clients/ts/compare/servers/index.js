import {Broker, freePorts} from '../../../../tests/browser/support/broker.js'
import {until} from '../../../../tests/browser/support/until.js'
import {open, Process} from './process.js'

export async function repl(t) {
  const node = await Broker.start(t)
  await node.create('news', {maxMessages: 1_000_000, maxBytes: 1_000_000_000})
  node.publish = async (values) => {
    for (let at = 0; at < values.length; at += 1_000) {
      const lines = values.slice(at, at + 1_000).map((value) => JSON.stringify({value}))
      await post(`${node.url}/topics/news`, lines.join('\n'), {'Content-Type': 'application/x-ndjson'})
    }
  }
  return node
}

export async function nats(t) {
  const port = await freePorts()
  const settings = `listen: "127.0.0.1:${port + 1}"\nwebsocket {listen: "127.0.0.1:${port}", no_tls: true}\n`
  const server = new Process(t, port, ['nats-server', '-c'], settings)
  await server.run()
  let socket
  server.publish = async (values) => {
    if (!socket?.writable) {
      socket = await until('nats-server', () => open(port + 1))
      socket.on('error', () => {})
      socket.on('data', (data) => String(data).includes('PING') && socket.write('PONG\r\n'))
      socket.write('CONNECT {"verbose":false}\r\n')
      t.after(() => socket.destroy())
    }
    const lines = values.map((value) => `PUB news ${value.length}\r\n${value}\r\n`)
    await new Promise((done) => socket.write(lines.join(''), done))
  }
  return server
}

/** A server that is a script beside this one, and is posted what it shall give. */
const script = (name, settings) => async (t) => {
  const port = await freePorts()
  const file = new URL(name, import.meta.url).pathname
  const server = new Process(t, port, [process.execPath, file, String(port)], JSON.stringify(settings))
  await server.run()
  server.publish = (values) => post(`http://127.0.0.1:${port}/publish`, values.join('\n'))
  return server
}

export const socketIo = (settings) => script('socket-io.js', settings)
export const centrifuge = script('centrifuge.js', {})
export const ably = script('ably.js', {})

async function post(url, body, headers = {}) {
  const answer = await fetch(url, {method: 'POST', body, headers})
  if (!answer.ok) throw new Error(`${url}: ${answer.status} ${await answer.text()}`)
}
