import type {Page} from 'playwright-core'
import {expect, onTestFinished, test} from 'vitest'

import {createClient, createTopic, getOccupancy, type Client, type Member, type PlainOptions} from '../src/index.js'
import {bundle} from './support/bundle.js'
import {Chromium, isMissing} from './support/chromium.js'
import {startNode, startNodes, until} from './support/cluster.js'

const GRACE = ['--presence-grace', '200ms']

function connect(url: string | string[], options: Partial<PlainOptions> = {}): Client {
  const client = createClient({url, ...options})
  onTestFinished(() => client.close())
  return client
}

async function startRoom(): Promise<string> {
  const {url} = await startNode(...GRACE)
  await createTopic(connect(url), 'room', {}, {presence: true})
  return url
}

const ids = (members: ReadonlyMap<string, Member>): string => [...members.keys()].sort().join()

test('a roster is what it is at first, and tells who comes and goes', async () => {
  const url = await startRoom()
  const ada = connect(url, {as: 'ada'})
  await ada.subscribe('room', () => {}).ready
  const seen: string[] = []
  const watcher = connect(url)
  const room = watcher.presence('room', {
    onJoin: ({id}) => seen.push(`+${id}`),
    onLeave: ({id}) => seen.push(`-${id}`),
  })
  await room.ready
  await until('Ada is there', () => ids(room.members) === 'ada')

  const bob = connect(url, {as: 'bob'})
  bob.subscribe('room', () => {})
  await until('Bob comes', () => ids(room.members) === 'ada,bob')
  bob.close()
  await until('Bob goes', () => ids(room.members) === 'ada')
  expect(seen.slice(-2)).toEqual(['+bob', '-bob'])

  // Whoever watches the same over the same stream is given what is known.
  const again = watcher.presence('room')
  await again.ready
  expect(ids(again.members)).toBe('ada')
  again.unsubscribe()
  expect(await getOccupancy(watcher, 'room')).toEqual({topic: 'room', streams: 1, complete: true})
  expect(await getOccupancy(watcher, 'none')).toBe(undefined)
})

test('it is read in a loop, which gives the latest', async () => {
  const url = await startRoom()
  const room = connect(url).presence('room')
  const users = ['ada', 'bob', 'carl']
  for (const as of users) connect(url, {as}).subscribe('room', () => {})
  let last = ''
  for await (const members of room) {
    last = ids(members)
    if (members.size === users.length) break
  }
  expect(last).toBe('ada,bob,carl')
  await expect(room[Symbol.asyncIterator]().next()).resolves.toEqual({done: true, value: undefined})
})

test('users are online as long as they are anywhere', async () => {
  const url = await startRoom()
  const seen: string[] = []
  const watcher = connect(url)
  const status = watcher.status(['ada', 'bob'], ({user, online, since}) =>
    seen.push(`${user} ${online ? `since ${typeof since}` : 'away'}`),
  )
  await status.ready
  expect(seen).toEqual(['ada away', 'bob away'])
  const ada = connect(url, {as: 'ada'})
  ada.subscribe('room', () => {})
  await until('Ada is online', () => seen.length === 3)
  ada.close()
  await until('Ada is away', () => seen.length === 4)
  expect(seen.slice(2)).toEqual(['ada since string', 'ada away'])
  status.unsubscribe()
})

test('nobody seems to leave while nodes are killed under members and watchers', async () => {
  const nodes = await startNodes('--presence-grace', '15s')
  const url = nodes.map((node) => node.url)
  const watcher = connect(url)
  await createTopic(watcher, 'room', {}, {presence: true})
  const seen: string[] = []
  const room = watcher.presence('room', {onLeave: ({id}) => seen.push(id)})
  const users = ['ada', 'bob', 'carl', 'dan']
  for (const as of users) connect(url, {as}).subscribe('room', () => {})
  await until('all are there', () => room.members.size === users.length)

  for (const node of nodes) {
    await node.kill()
    const others = connect(nodes.filter((other) => other !== node).map((other) => other.url))
    const everybody = others.presence('room')
    await everybody.ready
    expect(ids(everybody.members)).toBe(users.join())
    others.close()
    await node.run()
  }
  await until('the watcher is up to date', () => watcher.state.kind === 'live')
  expect([ids(room.members), seen]).toEqual([users.join(), []])
})

test.skipIf(isMissing)('a component shows who is there, over the stream that tabs share', async () => {
  const url = await startRoom()
  const chromium = await Chromium.start({
    '/page.js': await bundle('tests/react/roster.tsx', {define: {'process.env.NODE_ENV': '"development"'}}),
    '/page': '<!doctype html><body></body><script type="module" src="/page.js"></script>',
  })
  const page = await chromium.open('/page')
  await page.waitForFunction('globalThis.start')
  await page.evaluate(`start(${JSON.stringify(url)})`)
  await shows(page, 'me')
  const ada = connect(url, {as: 'ada'})
  ada.subscribe('room', () => {})
  await shows(page, 'me,ada')
  ada.close()
  await shows(page, 'me')
})

async function shows(page: Page, wanted: string): Promise<void> {
  const isShown = (wanted: string): boolean =>
    [...document.querySelectorAll('li')].map(({textContent}) => textContent).join() === wanted
  await page.waitForFunction(isShown, wanted)
}
