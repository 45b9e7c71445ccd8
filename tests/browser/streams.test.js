import assert from 'node:assert/strict'
import test from 'node:test'

import {Balancer} from './support/balancer.js'
import {Broker} from './support/broker.js'
import {inOrder, position} from './support/history.js'
import {openPage, skip, subscribe} from './support/page.js'
import {until} from './support/until.js'

test('several topics and a pattern arrive complete and in the one order of the cluster', {skip}, async (t) => {
  const node = await Broker.start(t, '--auto-create')
  const stream = await subscribe(await openPage(t), `${node.url}/sse?topic=news&topic=chat&match=orders:*`)
  await stream.next('repl.ready')

  const wanted = ['news', 'chat', 'orders:1', 'orders:2']
  const others = ['weather', 'orders', 'orders:1:items']
  const publisher = async (_, publisher) => {
    const published = []
    for (let n = 0; n < 100; n++) {
      const topic = [...wanted, ...others][(n + publisher) % 7]
      published.push(await node.publish(topic, {value: {publisher, n, text: 'ü\u2028"\\\n'}}))
    }
    return published
  }
  const published = inOrder((await Promise.all(Array.from({length: 8}, publisher))).flat())
  const expected = published.filter(({topic}) => wanted.includes(topic))

  await stream.message(expected.at(-1).id)
  assert.deepEqual((await stream.messages()).map(({data}) => data), expected)
  assert.deepEqual(await stream.state(), {opened: 1, failed: 0, is: 'open'})
})

test('what is kept comes first, then repl.ready, then what is published', {skip}, async (t) => {
  const node = await Broker.start(t)
  await node.create('news')
  const old = await node.publish('news', {value: 'old'})
  const stream = await subscribe(await openPage(t), `${node.url}/topics/news/sse?after=earliest`)
  await stream.next('repl.ready')
  const fresh = await node.publish('news', {value: 'new'})
  await stream.message(fresh.id)
  const ready = {type: 'repl.ready', id: old.id, data: {cursor: old.id}}
  const message = (data) => ({type: 'message', id: data.id, data})
  assert.deepEqual(await stream.events(), [message(old), ready, message(fresh)])
})

test('who is there is known to a bare EventSource, and again when it has come back', {skip}, async (t) => {
  const node = await Broker.start(t, '--presence-grace', '1s')
  await node.send('POST', '/topics', {name: 'room', presence: true})
  const stream = await subscribe(await openPage(t), `${node.url}/sse?topic=room&presence=room`)
  await stream.next('repl.ready')
  const members = async () => {
    const known = {version: 0, ids: new Set()}
    for (const {type, data} of await stream.events()) {
      if (type !== 'repl.presence' || (!data.members && data.version <= known.version)) continue
      known.version = data.version
      if (data.members) known.ids = new Set(data.members.map(({id}) => id))
      for (const {id} of data.joined ?? []) known.ids.add(id)
      for (const id of data.left ?? []) known.ids.delete(id)
    }
    return [...known.ids].sort().join()
  }
  const reads = async (user) => (await subscribe(await openPage(t), `${node.url}/sse?topic=room&as=${user}`)).next('repl.ready')
  await reads('ada')
  await until('Ada is there', async () => (await members()) === 'ada')
  const message = await node.publish('room', {value: 1})
  await stream.message(message.id)

  await node.kill()
  await node.run()
  await reads('bob')
  await until('both are there again', async () => (await members()) === 'ada,bob')
  assert.equal((await stream.messages()).length, 1, 'the last id is one of messages')
})

test('a message with a type arrives as that event', {skip}, async (t) => {
  const node = await Broker.start(t)
  await node.create('shop')
  const stream = await subscribe(await openPage(t), `${node.url}/sse?topic=shop`, ['order-placed'])
  await stream.next('repl.ready')
  await node.publish('shop', {value: 1, type: 'order-placed'})
  await node.publish('shop', {value: 2, type: 'nobody-listens'})
  const last = await node.publish('shop', {value: 3})
  await stream.message(last.id)
  const messages = (await stream.messages()).map(({type, data}) => [type, data.value])
  assert.deepEqual(messages, [['order-placed', 1], ['message', 3]])
})

test('the deletion of a topic is told as repl.topic, and the topic is followed when it is there again', {skip}, async (t) => {
  const node = await Broker.start(t)
  await node.create('news')
  const stream = await subscribe(await openPage(t), `${node.url}/sse?topic=news`)
  await stream.next('repl.ready')
  await node.delete('news')
  assert.deepEqual((await stream.next('repl.topic')).data, {topic: 'news', deleted: true})
  await node.create('news')
  await stream.message((await node.publish('news', {value: 'again'})).id)
  assert.deepEqual(await stream.state(), {opened: 1, failed: 0, is: 'open'})
})

test('what retention removed while the page was away is told as repl.gap, before the next message', {skip}, async (t) => {
  const node = await Broker.start(t)
  await node.create('news', {maxMessages: 5})
  const balancer = await Balancer.start(t, [node])
  const stream = await subscribe(await openPage(t), `${balancer.url}/sse?topic=news`)
  await stream.next('repl.ready')
  const seen = await node.publish('news', {value: 'seen'})
  await stream.message(seen.id)

  balancer.away()
  const missed = []
  for (let n = 0; n < 20; n++) missed.push(await node.publish('news', {value: n}))
  balancer.back()

  const kept = missed.slice(-5)
  await stream.message(kept.at(-1).id)
  const events = (await stream.events()).slice(2)
  const {type, data: gap} = events.shift()
  assert.equal(type, 'repl.gap')
  assert.deepEqual(gap, {requested: seen.id, firstAvailable: kept[0].id, reason: 'retention', topics: ['news']})
  assert.deepEqual(events.filter(({type}) => type === 'message').map(({data}) => data), kept)
})

test('a quiet page is told how far the others are, and resumes from there', {skip}, async (t) => {
  const node = await Broker.start(t, '--keep-alive', '200ms')
  await node.create('quiet')
  await node.create('busy', {maxMessages: 1})
  const stream = await subscribe(await openPage(t), `${node.url}/sse?topic=quiet`)
  await stream.next('repl.ready')
  for (let n = 0; n < 10; n++) await node.publish('busy', {value: n})
  const newest = await node.publish('busy', {value: 'newest'})
  await until('a cursor beyond it', async () => position(await stream.next('repl.cursor')) >= position(newest))
  assert.deepEqual((await stream.messages()), [])
})

test('a page comes back by itself to its only node, killed and started again, and misses nothing', {skip}, async (t) => {
  const node = await Broker.start(t)
  await node.create('news')
  const stream = await subscribe(await openPage(t), `${node.url}/sse?topic=news`)
  await stream.next('repl.ready')
  const published = []
  for (let life = 0; life < 3; life++) {
    for (let n = 0; n < 10; n++) published.push(await node.publish('news', {value: `${life}:${n}`}))
    await node.kill()
    await until('the page to notice', async () => (await stream.state()).failed > life)
    await node.run()
  }
  published.push(await node.publish('news', {value: 'last'}))
  await stream.message(published.at(-1).id)
  assert.deepEqual((await stream.messages()).map(({data}) => data), published)
})

test('a node that is still starting does not close an EventSource for good', {skip}, async (t) => {
  const founder = await Broker.start(t, '--bootstrap')
  await founder.create('news')
  await founder.kill()
  // It can't become ready before it is let in, and nobody is there to do so.
  const joining = await Broker.prepare(t, '--join', founder.peer)
  joining.spawn()
  await until('a port that answers', () => fetch(`${joining.url}/livez`).then(({ok}) => ok, () => false))
  assert.equal((await fetch(`${joining.url}/readyz`)).status, 503)

  const stream = await subscribe(await openPage(t), `${joining.url}/sse?topic=news`)
  await until('two refusals', async () => (await stream.state()).failed >= 2)
  assert.notEqual((await stream.state()).is, 'closed')
  assert.deepEqual(await stream.events(), [])

  await founder.run()
  await stream.next('repl.ready')
  const published = await founder.publish('news', {value: 'here'})
  await stream.message(published.id)
})
