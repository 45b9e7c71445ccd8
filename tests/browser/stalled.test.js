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

/** Nothing is moved to the disk in the midst of it: what that needs for a moment is not what is measured. */
const NO_CHECKPOINT = ['--checkpoint-bytes', '1GiB', '--checkpoint-interval', '1h']

/** How many messages the publisher is ahead of the slowest that reads, so that nobody else falls behind. */
const AHEAD = 4

/** The first fills the topics, so each later one puts as much in the place of as much; the last is what is compared. */
const READ_ROUNDS = 4

/** The topics keep one of them, so what the one that doesn't read holds on to would be its own. */
const STALLED_ROUNDS = 4

/**
 * What one that doesn't read may cost the server: hyper's buffer, a page and a ring, less than 1 MiB together, and what the
 * peaks of like rounds differ by. What it has not taken is ten times as much, at least.
 */
const COST_MAX_KIB = 8192

test('one stalled subscriber among a thousand costs the others nothing and the server no memory', async (t) => {
  const node = await Broker.start(t, ...NO_CHECKPOINT)
  await node.create('news', {maxMessages: NEWS.messages})
  await node.create('bulk', {maxMessages: BULK.messages, maxBytes: 1024 ** 3})
  const special = new Reader(t, node, BOTH)
  const others = Array.from({length: SUBSCRIBERS - 1}, () => new Reader(t, node, '/sse?topic=news'))
  await until('all to be ready', () => [special, ...others].every(({isReady}) => isReady))

  const taken = []
  let whileReadKib
  for (let n = 0; n < READ_ROUNDS; n++) {
    taken.push(...(await round(node, others)))
    await until('the one to have read it', () => special.ids.length === taken.length)
    whileReadKib = peakKib(node)
  }
  special.socket.pause()
  const missed = []
  for (let n = 0; n < STALLED_ROUNDS; n++) missed.push(...(await round(node, others)))
  const whileStalledKib = peakKib(node)

  t.diagnostic(`the server took ${whileReadKib} KiB at the most while all read, ${whileStalledKib} KiB while one did not`)
  const costKib = whileStalledKib - whileReadKib
  assert.ok(costKib <= COST_MAX_KIB, `a stalled subscriber costs ${costKib} KiB`)

  const closed = /^repl_http_connections_closed_total\{reason="stalled"\} 1$/m
  await until('the stalled connection to be closed', async () => closed.test(await metrics(node)))
  assert.equal((await node.get('/topics/news')).subscribers, SUBSCRIBERS - 1)

  // It wakes up. What had reached its socket is there, and it resumes from there: with what is kept, and a word on the rest.
  special.socket.resume()
  await until('the end of its stream', () => special.socket.destroyed)
  const reached = special.ids.slice(taken.length)
  const missedKib = ((missed.length - reached.length - STALLED_ROUNDS * NEWS.messages) * BULK.valueBytes) / 1024
  t.diagnostic(`what it had not taken: ${missedKib} KiB`)
  assert.ok(missedKib > 10 * COST_MAX_KIB)
  assert.deepEqual(special.ids, [...taken, ...missed.slice(0, reached.length)])
  const resumed = new Reader(t, node, BOTH, special.ids.at(-1))
  await until('the rest', () => resumed.isReady)
  assert.deepEqual(resumed.gaps, [{reason: 'retention', topics: ['news', 'bulk']}])
  assert.deepEqual(resumed.ids, missed.slice(-BULK.messages - NEWS.messages))
})

/** Publishes, while all others follow. Returns the ids of what it has published. */
async function round(node, others) {
  const before = others[0].ids.length
  const [bulk, news] = [[], []]
  for (let n = 0; n < BULK.messages; n++) bulk.push((await node.publish('bulk', {value: 'x'.repeat(BULK.valueBytes)})).id)
  for (let n = 0; n < NEWS.messages; n++) {
    news.push((await node.publish('news', {value: 'x'.repeat(NEWS.valueBytes)})).id)
    await until('all others to follow', () => others.every(({ids}) => ids.length > before + n - AHEAD))
  }
  await until('all others to have everything', () => others.every(({ids}) => ids.length === before + news.length))
  for (const {ids} of others) assert.deepEqual(ids.slice(before), news)
  return [...bulk, ...news]
}

async function metrics(node) {
  return (await fetch(`${node.url}/metrics`)).text()
}

/** The most that the process has occupied since the last time this was asked. */
function peakKib({pid}) {
  const peak = /^VmHWM:\s+(\d+) kB$/m.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))[1]
  writeFileSync(`/proc/${pid}/clear_refs`, '5')
  return Number(peak)
}
