import {createHmac, randomUUID} from 'node:crypto'
import {mkdtempSync, rmSync, writeFileSync} from 'node:fs'
import {tmpdir} from 'node:os'
import {join} from 'node:path'

import {describe, expect, onTestFinished, test} from 'vitest'

import {createClient, type Client, type PlainOptions, type RefusedError, type TokenReason} from '../src/index.js'
import {bundle} from './support/bundle.js'
import {Chromium, isMissing} from './support/chromium.js'
import {startNode, until, type Broker} from './support/cluster.js'

const SECRET = '0123456789abcdef0123456789abcdef'

interface Rights {
  readonly publish?: readonly string[]
  readonly subscribe?: readonly string[]
  readonly admin?: boolean
}

/** A token as an application would make it. */
function sign(repl: Rights, seconds = 600, secret = SECRET): string {
  const part = (value: object): string => Buffer.from(JSON.stringify(value)).toString('base64url')
  const now = Math.floor(Date.now() / 1000)
  const claims = {sub: 'ada', jti: randomUUID(), iat: now, exp: now + seconds, repl}
  const signed = `${part({alg: 'HS256', typ: 'JWT'})}.${part(claims)}`
  return `${signed}.${createHmac('sha256', secret).update(signed).digest('base64url')}`
}

/** A node that asks for tokens, and lets everybody read `public:**`. */
function startGuarded(...args: string[]): Promise<Broker> {
  const directory = mkdtempSync(join(tmpdir(), 'repl-secret-'))
  onTestFinished(() => rmSync(directory, {recursive: true}))
  writeFileSync(join(directory, 'secret'), SECRET)
  return startNode(
    '--auto-create',
    '--token-secret-file',
    join(directory, 'secret'),
    '--anonymous-subscribe',
    'public:**',
    ...args,
  )
}

function startClient(node: Broker, token: PlainOptions['token'] & {}): Client {
  const client = createClient({url: node.url, token})
  onTestFinished(() => client.close())
  return client
}

const writer = (node: Broker): Client => startClient(node, () => sign({publish: ['**']}))

test('a token is replaced before it expires, and the stream goes on without a hole', async () => {
  const node = await startGuarded('--max-messages', '1000000')
  const reasons: TokenReason[] = []
  const reader = startClient(node, (reason) => {
    reasons.push(reason)
    return sign({subscribe: ['news']}, 4)
  })
  const seen: unknown[] = []
  reader.subscribe('news', ({value}) => seen.push(value))
  const publisher = writer(node)
  await until('a live stream', () => reader.state.kind === 'live')
  let published = 0
  // Longer than one token lives.
  while (reasons.length < 4) await publisher.publish('news', published++)
  await until('the last message', () => seen.at(-1) === published - 1)
  expect(seen).toEqual(Array.from({length: published}, (_, n) => n))
  // On a busy machine one may come too late, and be asked for again.
  expect(reasons[0]).toBe('first')
  expect(reasons).toContain('expiring')
})

test('a token that is refused is replaced once, for streams and for requests', async () => {
  const node = await startGuarded()
  const reasons: TokenReason[] = []
  const client = startClient(node, (reason) => {
    reasons.push(reason)
    return sign({publish: ['news'], subscribe: ['news']}, 600, reason === 'first' ? 'x'.repeat(32) : SECRET)
  })
  const seen: unknown[] = []
  client.subscribe('news', ({value}) => seen.push(value))
  await until('a live stream', () => client.state.kind === 'live')
  await client.publish('news', 1)
  await until('the message', () => seen.length === 1)
  expect(reasons).toEqual(['first', 'refused'])
})

test('who has no token that is accepted is denied, and asks no more', async () => {
  const node = await startGuarded()
  let asked = 0
  const client = startClient(node, () => {
    asked++
    return sign({subscribe: ['news']}, 600, 'x'.repeat(32))
  })
  let error: unknown
  client.subscribe('news', () => {}, {onError: (told) => (error = told)})
  await until('the refusal', () => client.state.kind === 'denied')
  expect(error).toMatchObject({code: 'invalid-token', status: 401} satisfies Partial<RefusedError>)
  await expect(client.publish('news', 1)).rejects.toMatchObject({code: 'invalid-token'})
  // One for the stream, one for the publish, and for each the one that it was refused with.
  expect(asked).toBeLessThanOrEqual(4)
})

test('what a token does not allow is denied to whom it concerns, and the others go on', async () => {
  const node = await startGuarded()
  const client = startClient(node, sign({subscribe: ['news:*'], publish: ['news:1']}))
  const errors: Record<string, unknown> = {}
  const seen: unknown[] = []
  for (const topic of ['news:1', 'inbox:7', 'public:x']) {
    client.subscribe(topic, ({value}) => seen.push(value), {onError: (error) => (errors[topic] = error)})
  }
  await until('two refusals', () => Object.keys(errors).length === 2)
  expect(errors).toMatchObject({'inbox:7': {code: 'forbidden', status: 403}, 'public:x': {code: 'forbidden'}})
  await until('a live stream', () => client.state.kind === 'live')
  await client.publish('news:1', 'for all')
  await until('the message', () => seen.length === 1)
  await expect(client.publish('news:2', 1)).rejects.toMatchObject({code: 'forbidden'})
  await expect(client.publish('inbox:7', 1)).rejects.toMatchObject({code: 'topic-not-found'})
})

describe.skipIf(isMissing)('a page in Chromium', () => {
  test('uses the client with tokens that its application fetches', async () => {
    const node = await startGuarded()
    const chromium = await Chromium.start({
      '/page.js': await bundle('tests/portable/page.ts'),
      '/page': '<!doctype html><script type="module" src="/page.js"></script>',
    })
    const page = await chromium.open('/page')
    await page.waitForFunction('globalThis.run')
    const reasons: string[] = []
    await page.exposeFunction('fetchToken', (reason: string) => {
      reasons.push(reason)
      return sign({publish: ['news'], subscribe: ['news']}, 4)
    })
    await page.evaluate(`
      globalThis.client = createClient({url: ${JSON.stringify(node.url)}, token: (reason) => fetchToken(reason)})
      globalThis.seen = []
      client.subscribe('news', ({value}) => seen.push(value)).ready.then(() => client.publish('news', 'from the page'))
    `)
    await page.waitForFunction("seen.join() === 'from the page'")
    await until('a token for the one that expires', () => reasons.includes('expiring'))
    await writer(node).publish('news', 'from elsewhere')
    await page.waitForFunction("seen.join() === 'from the page,from elsewhere'")
    await page.evaluate('client.close()')
  })

  test('gets a ticket for a bare EventSource, which comes back with it until it is revoked', async () => {
    const node = await startGuarded()
    const publisher = writer(node)
    const chromium = await Chromium.start({})
    const page = await chromium.open()
    const token = sign({subscribe: ['news']})
    const ticket = await page.evaluate(
      async ({url, token}) => {
        const answer = await fetch(`${url}/tickets`, {
          method: 'POST',
          headers: {'Content-Type': 'application/json', Authorization: `Bearer ${token}`},
          body: JSON.stringify({topics: ['news']}),
        })
        const {ticket} = (await answer.json()) as {ticket: string}
        const stream = new EventSource(`${url}/sse?topic=news&ticket=${ticket}`)
        const seen: unknown[] = []
        stream.onmessage = ({data}) => seen.push((JSON.parse(data as string) as {value: unknown}).value)
        stream.addEventListener('repl.ready', () => Object.assign(globalThis, {isReady: true}))
        stream.addEventListener('repl.auth', ({data}) => Object.assign(globalThis, {told: data as string}))
        Object.assign(globalThis, {stream, seen})
        return ticket
      },
      {url: node.url, token},
    )
    await page.waitForFunction('globalThis.isReady')
    await publisher.publish('news', 1)
    await page.waitForFunction("seen.join() === '1'")

    // By itself, and it has missed nothing.
    await node.kill()
    await node.run()
    await publisher.publish('news', 2)
    await page.waitForFunction("seen.join() === '1,2'")

    const operator = startClient(node, sign({admin: true}))
    await operator.request({
      method: 'POST',
      path: '/revocations',
      headers: {'Content-Type': 'application/json'},
      body: JSON.stringify({ticket}),
    })
    await page.waitForFunction(`globalThis.told === '{"reason":"revoked"}'`)
    await publisher.publish('news', 3)
    // A 401 is the last word.
    await page.waitForFunction('stream.readyState === 2')
    expect(await page.evaluate('seen.join()')).toBe('1,2')
  })
})
