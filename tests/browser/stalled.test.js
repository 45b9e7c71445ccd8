import assert from 'node:assert/strict'
import {readFileSync, writeFileSync} from 'node:fs'
import test from 'node:test'

import {Broker} from './support/broker.js'
import {Reader} from './support/reader.js'
import {until} from './support/until.js'

/** All of them read `news`. One reads `bulk` as well: more than its socket can hold if it doesn't read. */
const SUBSCRIBERS = 1_000
const BOTH = '/sse?topic=news&topic=bulk'
const BULK = {messages: 512, valueBytes: 60 * 1024}
const NEWS = {messages: 40, valueBytes: 16 * 1024}

/** How many messages the publisher is ahead of the slowest that reads, so that nobody else falls behind. */
const AHEAD = 4

/**
 * What one that doesn't read may cost the server: hyper's buffer and a ring, about 1 MiB, and what the measurements of two
 * processes differ by. What it has not taken is five times as much, at least.
 */
const COST_MAX_KIB = 4096

test('one stalled subscriber among a thousand costs the others nothing and the server no memory', async (t) => {
  const without = await run(t, {reads: true})
  const {node, special: stalled, published, grownKib} = await run(t, {reads: false})

  const costKib = grownKib - without.grownKib
  t.diagnostic(`the server grew by ${without.grownKib} KiB while all read, by ${grownKib} KiB while one did not`)
  assert.ok(costKib <= COST_MAX_KIB, `a stalled subscriber costs ${costKib} KiB`)

  const closed = /^repl_http_connections_closed_total\{reason="stalled"\} 1$/m
  await until('the stalled connection to be closed', async () => closed.test(await metrics(node)), 45_000)
  assert.equal((await node.get('/topics/news')).subscribers, SUBSCRIBERS - 1)

  // It wakes up. What had reached its socket is there, no news among it, and it resumes from there.
  stalled.socket.resume()
  await until('the end of its stream', () => stalled.socket.destroyed)
  const missedKib = ((BULK.messages - stalled.ids.length) * BULK.valueBytes) / 1024
  t.diagnostic(`what it had not taken: ${missedKib} KiB`)
  assert.ok(missedKib > 5 * COST_MAX_KIB, `it had ${stalled.ids.length} messages`)
  const resumed = new Reader(t, node, BOTH, stalled.ids.at(-1))
  await until('the rest', () => resumed.isReady)
  assert.deepEqual([...stalled.ids, ...resumed.ids], published)
})

/** Publishes to a thousand subscribers. Says what they got, and by how much the server's memory grew at the most. */
async function run(t, {reads}) {
  const node = await Broker.start(t)
  await node.create('news')
  await node.create('bulk', {maxBytes: 1024 ** 3})
  const special = new Reader(t, node, BOTH)
  const others = Array.from({length: SUBSCRIBERS - 1}, () => new Reader(t, node, '/sse?topic=news'))
  await until('all to be ready', () => [special, ...others].every(({isReady}) => isReady))
  if (!reads) special.socket.pause()

  const {residentKib} = memory(node)
  const [bulk, news] = [[], []]
  for (let n = 0; n < BULK.messages; n++) bulk.push((await node.publish('bulk', {value: 'x'.repeat(BULK.valueBytes)})).id)
  for (let n = 0; n < NEWS.messages; n++) {
    news.push((await node.publish('news', {value: 'x'.repeat(NEWS.valueBytes)})).id)
    await until('all others to follow', () => others.every(({ids}) => ids.length > n - AHEAD))
  }
  await until('all others to have everything', () => others.every(({ids}) => ids.length === news.length))
  const grownKib = memory(node).peakKib - residentKib
  for (const {ids} of others) assert.deepEqual(ids, news)
  return {node, special, published: [...bulk, ...news], grownKib}
}

async function metrics(node) {
  return (await fetch(`${node.url}/metrics`)).text()
}

/** What the process occupies now, and the most since the last time this was asked. */
function memory({pid}) {
  const status = readFileSync(`/proc/${pid}/status`, 'utf8')
  const kib = (name) => Number(new RegExp(`^${name}:\\s+(\\d+) kB$`, 'm').exec(status)[1])
  writeFileSync(`/proc/${pid}/clear_refs`, '5')
  return {residentKib: kib('VmRSS'), peakKib: kib('VmHWM')}
}
