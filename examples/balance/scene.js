import {Agent, get} from 'node:http'

import {createClient, getCluster} from '../../clients/ts/dist/index.js'

/** The topic that newcomers read, and whose history keeps a node busy. */
const TOPIC = 'balance'

/** Messages that a page of history holds, and requests for one that are made at once: enough for a processor. */
const PAGE = 1_000
const AT_ONCE = 4

/** The load scene: nodes that are kept busy, and newcomers who choose where to go. */
export class Scene {
  #brokers
  #client
  #busy = new Map()
  #newcomers = []

  constructor(brokers) {
    this.#brokers = brokers
    this.#client = createClient({url: brokers})
  }

  /** Makes the topic, with a page of history. */
  async prepare(options) {
    const path = `/topics/${TOPIC}`
    const lines = Array.from({length: PAGE}, (_, n) => JSON.stringify({value: n, key: `${n}`}))
    const headers = {'Content-Type': 'application/json'}
    const topic = {method: 'POST', path: '/topics', headers, body: JSON.stringify({name: TOPIC})}
    await this.#client.request({...topic, ...options})
    const batch = {method: 'POST', path, headers: {'Content-Type': 'application/x-ndjson'}, body: lines.join('\n')}
    await this.#client.request({...batch, ...options})
  }

  /** The cluster, with what the scene does to each node. */
  async look(options) {
    const {nodes, leader} = await getCluster(this.#client, options)
    return {leader, nodes: nodes.map((node) => ({...node, ...this.#of(node)}))}
  }

  #of({clientUrl}) {
    const here = this.#newcomers.filter(({state}) => state.url === clientUrl)
    return {isBusy: this.#busy.has(clientUrl), newcomers: here.length}
  }

  /** Keeps a node busy with reading its history, or no longer. */
  load(url, isBusy) {
    this.#busy.get(url)?.abort()
    this.#busy.delete(url)
    if (!isBusy) return
    const stop = new AbortController()
    this.#busy.set(url, stop)
    for (let n = 0; n < AT_ONCE; n++) this.#read(url, stop.signal)
  }

  /** Not by `fetch`, which would be busier than the node. */
  #read(url, signal) {
    const agent = new Agent({keepAlive: true, maxSockets: 1})
    signal.addEventListener('abort', () => agent.destroy())
    const again = () => {
      if (signal.aborted) return
      const request = get(`${url}/topics/${TOPIC}/messages?limit=${PAGE}`, {agent}, (response) => {
        response.resume().on('end', again)
      })
      // A node that is dead is not busy.
      request.on('error', () => this.load(url, false))
    }
    again()
  }

  /** So many come, one after the other, as strangers do: each asks any node where it had better go. */
  async invite(count) {
    for (let n = 0; n < count; n++) {
      const newcomer = createClient({url: () => this.#placeForOne()})
      const {ready} = newcomer.subscribe(TOPIC, () => {})
      this.#newcomers.push(newcomer)
      await ready
    }
  }

  async #placeForOne() {
    const {body} = await this.#client.request({path: '/cluster/nodes?for=stream'})
    return body.nodes[0].clientUrl
  }

  /** All newcomers go. */
  dismiss() {
    for (const newcomer of this.#newcomers.splice(0)) newcomer.close()
  }

  close() {
    this.dismiss()
    for (const url of [...this.#busy.keys()]) this.load(url, false)
    this.#client.close()
  }
}
