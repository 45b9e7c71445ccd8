import {spawn} from 'node:child_process'
import {randomUUID} from 'node:crypto'
import {once} from 'node:events'
import {mkdtempSync, openSync, readFileSync, rmSync} from 'node:fs'
import {createServer} from 'node:net'
import {tmpdir} from 'node:os'
import {join} from 'node:path'

import {until} from './until.js'

export const PROGRAM = process.env.PROGRAM ?? new URL('../../../target/debug/repl', import.meta.url).pathname

/** Nodes of tests wait for a majority as long as an election may take on a machine that is busy. */
export const PATIENT = {REPL_PUBLISH_TIMEOUT: '1m'}

/** One node: a real process with ports and a data directory of its own, which outlive it. */
export class Broker {
  #dir = mkdtempSync(join(tmpdir(), 'repl-browser-'))
  #args
  #process

  constructor(port, args) {
    this.port = port
    this.url = `http://127.0.0.1:${port}`
    this.peer = `127.0.0.1:${port + 1}`
    this.#args = ['--listen', `127.0.0.1:${port}`, '--data-dir', join(this.#dir, 'data'), ...args]
  }

  /** A node that is not running yet. It is gone, with its data, after the test. */
  static async prepare(t, ...args) {
    const broker = new Broker(await freePorts(), args)
    t.after(async () => {
      await broker.kill()
      rmSync(broker.#dir, {recursive: true})
    })
    return broker
  }

  /** A node that serves. */
  static async start(t, ...args) {
    const broker = await Broker.prepare(t, ...args)
    await broker.run()
    return broker
  }

  get pid() {
    return this.#process.pid
  }

  /** Starts the process, and doesn't wait for it. */
  spawn() {
    const log = openSync(join(this.#dir, 'log'), 'a')
    this.#process = spawn(PROGRAM, this.#args, {env: {...process.env, ...PATIENT}, stdio: ['ignore', 'ignore', log]})
  }

  /** Starts the process, and waits until it serves. */
  async run() {
    this.spawn()
    await until('a node that serves', () => this.isReady())
  }

  async isReady() {
    if (this.#process.exitCode !== null) throw new Error(`the node has ended; it said:\n${this.#log()}`)
    return (await fetch(`${this.url}/readyz`).catch(() => undefined))?.ok
  }

  /** Ends the process as the kernel does it when memory is short: without a word. */
  async kill() {
    if (!this.#process || this.#process.exitCode !== null || this.#process.signalCode !== null) return
    this.#process.kill('SIGKILL')
    await once(this.#process, 'exit')
  }

  /** Asks the process to end, and waits until it has. */
  async stop() {
    const ended = once(this.#process, 'exit')
    this.#process.kill('SIGTERM')
    await ended
  }

  /** Orders something of the cluster, as an operator beside this node. */
  async order(...words) {
    const args = ['cluster', ...words, '--data-dir', join(this.#dir, 'data')]
    const child = spawn(PROGRAM, args, {stdio: ['ignore', 'ignore', 'pipe']})
    let said = ''
    child.stderr.setEncoding('utf8').on('data', (text) => (said += text))
    const [code] = await once(child, 'close')
    if (code !== 0) throw new Error(`repl cluster ${words.join(' ')} ended with ${code}: ${said}`)
  }

  #log() {
    return readFileSync(join(this.#dir, 'log'), 'utf8').split('\n').slice(-20).join('\n')
  }

  async get(path) {
    return (await fetch(this.url + path)).json()
  }

  async send(method, path, body, headers = {}) {
    const answer = await fetch(this.url + path, {
      method,
      headers: {'Content-Type': 'application/json', ...headers},
      body: body && JSON.stringify(body),
    })
    if (!answer.ok) throw new Error(`${method} ${path}: ${answer.status} ${await answer.text()}`)
    return answer.status === 204 ? undefined : answer.json()
  }

  create(name, retention) {
    return this.send('POST', '/topics', {name, retention})
  }

  /** Under a key: what meets the death of a leader is stored, and once. */
  publish(topic, message, headers = {'Idempotency-Key': randomUUID()}) {
    return this.send('POST', `/topics/${encodeURIComponent(topic)}`, message, headers)
  }

  delete(topic) {
    return this.send('DELETE', `/topics/${encodeURIComponent(topic)}`)
  }
}

/** Of these nodes the one that leads, in the opinion of the first that has one. */
export async function leaderOf(nodes) {
  for (const node of nodes) {
    const cluster = await node.get('/cluster').catch(() => undefined)
    const known = cluster?.nodes.find(({id}) => id === cluster.leader)
    const found = nodes.find(({url}) => url === known?.clientUrl)
    if (found) return found
  }
  return undefined
}

/** Three nodes that all vote. */
export async function startCluster(t, ...args) {
  const founder = await Broker.start(t, '--bootstrap', ...args)
  const joiner = () => Broker.start(t, '--join', founder.peer, ...args)
  const nodes = [founder, await joiner(), await joiner()]
  await until('three voters', async () => {
    const {nodes} = await founder.get('/cluster')
    return nodes.length === 3 && nodes.every(({role}) => role !== 'learner')
  })
  return nodes
}

/**
 * The first of two ports that are free, for clients and for other nodes; of several nodes that of the first, those of the
 * next are ten further on. They stay free while a node is dead: they are from below the range that systems take the ports
 * of outgoing connections from.
 */
export async function freePorts(nodes = 1) {
  for (;;) {
    const port = 10_000 + 2 * Math.floor(Math.random() * 10_000)
    const ports = Array.from({length: nodes}, (_, n) => [port + 10 * n, port + 10 * n + 1]).flat()
    if (ports.some((each) => given.has(each))) continue
    for (const each of ports) given.add(each)
    if ((await Promise.all(ports.map(isFree))).every(Boolean)) return port
  }
}

/** Ports that somebody was given, and may not have taken yet. */
const given = new Set()

async function isFree(port) {
  const server = createServer().listen(port, '127.0.0.1')
  const isListening = await once(server, 'listening').then(() => true, () => false)
  if (isListening) await once(server.close(), 'close')
  return isListening
}
