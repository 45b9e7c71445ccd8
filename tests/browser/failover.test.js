import assert from 'node:assert/strict'
import {randomUUID} from 'node:crypto'
import test from 'node:test'

import {Balancer} from './support/balancer.js'
import {leaderOf, startCluster} from './support/broker.js'
import {inOrder} from './support/history.js'
import {openPage, skip, subscribe} from './support/page.js'
import {until} from './support/until.js'

const TOPICS = ['orders:1', 'orders:2', 'chat']

test('a page behind a plain balancer sees every message once and in order while nodes are killed', {skip}, async (t) => {
  const nodes = await startCluster(t)
  for (const topic of TOPICS) await nodes[0].create(topic, {maxMessages: 1_000_000})
  const balancer = await Balancer.start(t, nodes)
  const stream = await subscribe(await openPage(t), `${balancer.url}/sse?topic=chat&match=orders:*`)
  await stream.next('repl.ready')

  const publishers = Array.from({length: 4}, () => new Publisher(nodes))
  t.after(() => publishers.forEach((publisher) => publisher.stop()))
  const killed = {leader: 0, serving: 0}
  for (let round = 0; round < 6; round++) {
    const before = publishers.map(({acknowledged}) => acknowledged.length)
    const target = round % 2 ? 'leader' : 'serving'
    const node = await until(`a node that is ${target}`, () => {
      return target === 'leader' ? leaderOf(nodes) : nodes.find((node) => balancer.serves(node))
    })
    await node.kill()
    killed[target]++
    // Publishing goes on without it, and the page follows, whoever has to serve it now.
    await until('every publisher to go on', () => publishers.every((each, n) => each.acknowledged.length > before[n] + 5))
    await stream.message(publishers[0].acknowledged.at(-1).id)
    await node.run()
  }
  const published = inOrder((await Promise.all(publishers.map((publisher) => publisher.stop()))).flat())
  await stream.message(published.at(-1).id)

  assert.deepEqual((await stream.messages()).map(({data}) => data), published)
  assert.deepEqual((await stream.events()).filter(({type}) => type === 'repl.gap'), [])
  assert.equal(new Set(published.map(({value}) => value.key)).size, published.length)
  const {opened} = await stream.state()
  assert.ok(opened > killed.serving, `opened ${opened} times`)
  t.diagnostic(`${published.length} messages, ${killed.serving + killed.leader} kills, the stream opened ${opened} times`)
})

test('a node that is cut off from its cluster does not close an EventSource for good', {skip}, async (t) => {
  const nodes = await startCluster(t)
  const [node, ...others] = nodes
  await node.create('chat')
  const balancer = await Balancer.start(t, [node])
  const stream = await subscribe(await openPage(t), `${balancer.url}/sse?topic=chat`)
  await stream.next('repl.ready')
  const first = await node.publish('chat', {value: 'first'})
  await stream.message(first.id)

  for (const other of others) await other.kill()
  await until('a node that is not ready', async () => !(await node.isReady()))
  balancer.away()
  balancer.back()
  await until('two refusals', async () => (await stream.state()).failed >= 3)
  assert.notEqual((await stream.state()).is, 'closed')

  for (const other of others) other.spawn()
  await until('the cluster to be back', () => node.isReady())
  const second = await node.publish('chat', {value: 'second'})
  await stream.message(second.id)
  assert.deepEqual((await stream.messages()).map(({data}) => data), [first, second])
})

/** Publishes until it is stopped, on any node, and repeats what was not acknowledged under the same key. */
class Publisher {
  acknowledged = []
  #isStopped = false
  #done

  constructor(nodes) {
    this.#done = this.#run(nodes)
  }

  stop() {
    this.#isStopped = true
    return this.#done
  }

  async #run(nodes) {
    while (!this.#isStopped) {
      const key = randomUUID()
      const topic = pick(TOPICS)
      const publish = () => pick(nodes).publish(topic, {value: {key}}, {'Idempotency-Key': key}).catch(() => undefined)
      this.acknowledged.push(await until('an acknowledgement', publish))
    }
    return this.acknowledged
  }
}

function pick(list) {
  return list[Math.floor(Math.random() * list.length)]
}
