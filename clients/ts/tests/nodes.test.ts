import {expect, test} from 'vitest'

import type {Cluster, ClusterNode} from '../src/message.js'
import {createNodes, type Nodes} from '../src/nodes.js'
import {FakeClock} from './support/clock.js'

const URLS = ['http://a', 'http://b', 'http://c']

/** A cluster of nodes with so many connections each. */
function cluster(
  load: Record<string, number>,
  state: Partial<Record<string, ClusterNode['state']>> = {},
  more: Partial<Record<string, Partial<ClusterNode>>> = {},
): Cluster {
  const nodes = Object.entries(load).map(([clientUrl, connections]) => ({
    clientUrl,
    connections,
    state: state[clientUrl] ?? 'up',
    ...more[clientUrl],
  }))
  return {nodes} as unknown as Cluster
}

async function draws(nodes: Nodes, clock: FakeClock, preferred?: string[]): Promise<string[]> {
  const urls = new Set<string>()
  // Every combination of the two nodes that are drawn.
  for (const one of [0, 0.4, 0.8]) {
    for (const other of [0, 0.5, 0.9]) {
      clock.chances = [one, other]
      urls.add((await nodes.choose(preferred)).url)
    }
  }
  return [...urls].sort()
}

const backoff = (failures: number): number => 100 * 2 ** failures

test('of two that are drawn the one with fewer connections is taken, so never the one with most', async () => {
  const clock = new FakeClock()
  const nodes = createNodes(URLS, clock, backoff)
  expect(await draws(nodes, clock)).toEqual(URLS)
  nodes.learn(cluster({'http://a': 5, 'http://b': 9, 'http://c/': 7}))
  expect(await draws(nodes, clock)).toEqual(['http://a', 'http://c'])
})

test('one whose processors are busy is not taken, and one with more of them has room for more', async () => {
  const clock = new FakeClock()
  const nodes = createNodes(URLS, clock, backoff)
  await nodes.choose()
  const connections = {'http://a': 1, 'http://b': 90, 'http://c': 90}
  nodes.learn(cluster(connections, {}, {'http://a': {cpu: 0.9}, 'http://b': {cpu: 0.05}, 'http://c': {cpu: 0.02}}))
  expect(await draws(nodes, clock)).toEqual(['http://b', 'http://c'])
  nodes.learn(
    cluster(
      {...connections, 'http://a': 50},
      {},
      {'http://a': {cores: 2}, 'http://b': {cores: 8}, 'http://c': {cores: 4}},
    ),
  )
  expect(await draws(nodes, clock)).toEqual(['http://b', 'http://c'])
})

test('one that fails is left alone for longer each time, and not before it wants to be asked', async () => {
  const clock = new FakeClock()
  const nodes = createNodes(['http://a'], clock, backoff)
  const a = await nodes.choose()
  nodes.failed(a, 0)
  nodes.failed(a, 0)
  expect(a.notBefore).toBe(200)
  nodes.failed(a, 5_000)
  expect(a.notBefore).toBe(5_000)
  // There is no other: it is the one to wait for.
  expect(await nodes.choose()).toBe(a)
  nodes.served(a)
  nodes.failed(a, 0)
  expect(a.notBefore).toBe(100)
  nodes.forgive()
  expect(a.notBefore).toBe(0)
})

test('those that are left alone are not taken while there are others, whatever is preferred', async () => {
  const clock = new FakeClock()
  const nodes = createNodes(URLS, clock, backoff)
  clock.chances = [0]
  nodes.failed(await nodes.choose(), 1_000)
  expect(await draws(nodes, clock)).toEqual(['http://b', 'http://c'])
  expect(await draws(nodes, clock, ['http://b'])).toEqual(['http://b'])
  expect(await draws(nodes, clock, ['http://a', 'http://unknown'])).toEqual(['http://b', 'http://c'])
  clock.pass(1_000)
  expect(await draws(nodes, clock)).toEqual(URLS)
})

test('members are learned from a member, and not past a proxy', async () => {
  const clock = new FakeClock()
  const direct = createNodes('http://a/', clock, backoff)
  await direct.choose()
  direct.learn(cluster({'http://a': 0, 'http://b': 0, 'http://c': 0}, {'http://c': 'draining'}))
  expect(await draws(direct, clock)).toEqual(['http://a', 'http://b'])
  const behind = createNodes('http://proxy', clock, backoff)
  await behind.choose()
  behind.learn(cluster({'http://a': 0, 'http://b': 0}))
  expect(await draws(behind, clock)).toEqual(['http://proxy'])
})

test('a member that its cluster does not hear from is the last resort, and is not forgotten', async () => {
  const clock = new FakeClock()
  const nodes = createNodes('http://a', clock, backoff)
  const a = await nodes.choose()
  nodes.learn(cluster({'http://a': 9, 'http://b': 0, 'http://c': 0}, {'http://b': 'suspect', 'http://c': 'down'}))
  expect(await draws(nodes, clock)).toEqual(['http://a'])
  nodes.failed(a, 0)
  expect(await draws(nodes, clock)).toEqual(['http://b', 'http://c'])
  nodes.learn(cluster({'http://a': 9, 'http://b': 0, 'http://c': 0}, {'http://c': 'down'}))
  expect(await draws(nodes, clock)).toEqual(['http://b'])
})

test('one that wants its clients elsewhere is the last resort, until it is heard that it is up', async () => {
  const clock = new FakeClock()
  const nodes = createNodes(URLS, clock, backoff)
  await nodes.choose()
  nodes.avoid('http://a')
  expect(await draws(nodes, clock)).toEqual(['http://b', 'http://c'])
  nodes.learn(cluster({'http://a': 0, 'http://b': 0, 'http://c': 0}))
  expect(await draws(nodes, clock)).toEqual(URLS)
  // Where there is no other, it is taken at once: it may be a proxy, or be back soon.
  const behind = createNodes('http://proxy', clock, backoff)
  await behind.choose()
  behind.avoid('http://proxy')
  expect((await behind.choose()).notBefore).toBe(0)
})

test('the members are asked for at first, every five minutes, and when a node wants its clients elsewhere', async () => {
  const clock = new FakeClock()
  const nodes = createNodes('http://a', clock, backoff)
  const a = await nodes.choose()
  const asks = (): boolean[] => [nodes.served(a), nodes.served(a)]
  expect(asks()).toEqual([true, false])
  clock.pass(299_999)
  expect(asks()).toEqual([false, false])
  clock.pass(1)
  expect(asks()).toEqual([true, false])
  nodes.avoid('http://a')
  expect(asks()).toEqual([true, false])
})

test('a function is asked where they are at first, and again when none can be reached', async () => {
  const clock = new FakeClock()
  const answers = [['http://a'], ['http://b']]
  let asked = 0
  const nodes = createNodes(async () => answers[asked++] ?? [], clock, backoff)
  const [a] = await Promise.all([nodes.choose(), nodes.choose()])
  expect([a?.url, asked]).toEqual(['http://a', 1])
  if (a) nodes.failed(a, 0)
  expect((await nodes.choose()).url).toBe('http://a')
  expect([(await nodes.choose()).url, asked]).toEqual(['http://b', 2])
})

test('no address is an error that may pass', async () => {
  const nodes = createNodes(() => Promise.reject(new Error('no directory')), new FakeClock(), backoff)
  await expect(nodes.choose()).rejects.toMatchObject({name: 'UnavailableError', code: 'no-way'})
  await expect(createNodes([], new FakeClock(), backoff).choose()).rejects.toMatchObject({code: 'no-way'})
})
