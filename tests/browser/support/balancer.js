import {once} from 'node:events'
import {connect, createServer} from 'node:net'

/**
 * What a load balancer in front of a cluster does, and no more: one address, and a connection goes to the next node that
 * takes it. It knows nothing of HTTP.
 */
export class Balancer {
  /** Where clients connect. */
  url = ''
  #ports
  #next = 0
  #server = createServer((client) => this.#forward(client))
  /** The port of the node behind each connection. */
  #connections = new Map()
  #isAway = false

  static async start(t, nodes) {
    const balancer = new Balancer()
    balancer.#ports = nodes.map(({port}) => port)
    balancer.#server.listen(0, '127.0.0.1')
    await once(balancer.#server, 'listening')
    balancer.url = `http://127.0.0.1:${balancer.#server.address().port}`
    t.after(() => {
      balancer.away()
      balancer.#server.close()
    })
    return balancer
  }

  /** Cuts every connection and lets none through: the client's network is down. */
  away() {
    this.#isAway = true
    for (const client of this.#connections.keys()) client.destroy()
  }

  back() {
    this.#isAway = false
  }

  /** Whether a client is connected to this node. */
  serves(node) {
    return [...this.#connections.values()].includes(node.port)
  }

  async #forward(client) {
    client.on('error', () => client.destroy())
    if (this.#isAway) return client.destroy()
    for (let tries = 0; tries < this.#ports.length; tries++) {
      const port = this.#ports[this.#next++ % this.#ports.length]
      const node = await open(port)
      if (!node) continue
      // It may have gone meanwhile, and would never be told from one that is here.
      if (this.#isAway || client.destroyed) {
        client.destroy()
        return node.destroy()
      }
      this.#connections.set(client, port)
      client.once('close', () => {
        this.#connections.delete(client)
        node.destroy()
      })
      node.once('close', () => client.destroy())
      client.pipe(node).pipe(client)
      return
    }
    client.destroy()
  }
}

function open(port) {
  const socket = connect(port, '127.0.0.1').setNoDelay()
  return new Promise((resolve) => {
    socket.once('connect', () => resolve(socket))
    socket.on('error', () => {
      socket.destroy()
      resolve(undefined)
    })
  })
}
