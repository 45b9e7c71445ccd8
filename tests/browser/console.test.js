import assert from 'node:assert/strict'
import {execFileSync} from 'node:child_process'
import {randomUUID} from 'node:crypto'
import {mkdtempSync, readFileSync, rmSync, writeFileSync} from 'node:fs'
import {createRequire} from 'node:module'
import {tmpdir} from 'node:os'
import {join} from 'node:path'
import test from 'node:test'
import {gzipSync} from 'node:zlib'

import {Broker, leaderOf, PROGRAM, startCluster} from './support/broker.js'
import {browse, skip} from './support/page.js'
import {Reader} from './support/reader.js'
import {until} from './support/until.js'

/** Beyond this the console would be an application of its own. */
const GZIPPED_BYTES_MAX = 60_000

/** Where the pictures of the documents go: `make pictures`. Otherwise they are taken and let go. */
const PICTURES = process.env.CONSOLE_PICTURES

/** More is not tracked: see tests/it/tidy.rs. */
const PICTURE_BYTES_MAX = 200_000

/** Of every view the heading, the address behind the hash, and what is there once it has heard from the node. */
const VIEWS = [
  ['Cluster', '', '.map .leader'],
  ['Topics', 'topics', 'tbody tr'],
  ['prices', 'topics/prices', '.tail li'],
  ['Streams', 'streams', 'tbody tr'],
  ['Load', 'load', '.line[d]:not([d=""])'],
]

test('three nodes: a killed one is shown as down, its successor as the leader, and all as up again', {skip}, async (t) => {
  const nodes = await startCluster(t)
  const page = await open(t, nodes[1])
  await shows(page, nodes, ['up', 'up', 'up'])
  await until('the node that leads', async () => {
    const {leader} = await nodes[1].get('/cluster')
    const [told, shown] = [page.getByText(`Node ${leader} leads`), page.locator('.map .leader', {hasText: `node ${leader}`})]
    return (await told.count()) === 1 && (await shown.count()) === 1
  })

  const victim = nodes.find((node) => node !== nodes[1])
  const {id} = (await nodes[1].get('/cluster')).nodes.find(({clientUrl}) => clientUrl === victim.url)
  await victim.kill()
  await shows(page, nodes, nodes.map((node) => (node === victim ? 'down' : 'up')))
  await page.locator('.map .node.down', {hasText: `node ${id}`}).getByText('no answer').waitFor()
  await page.getByText('2 of 3 voters are up. None of them may be lost.').waitFor()
  await page.getByText(new RegExp(`Node ${id} is down, no answer for \\d+ (s|min): start it again, or “repl cluster remove ${id}”`)).waitFor()
  assert.match(await page.locator(`tr[data-node="${id}"]`).innerText(), /down\s+–\s+no answer for \d+ (s|min)\s+–\s+–/)
  await page.locator('.map .node.up.leader').waitFor()

  const second = nodes.find((node) => node !== nodes[1] && node !== victim)
  await second.kill()
  await page.getByText(/ is down, no answer for \d+ (s|min): start it again\. If most voters are gone for good/).waitFor()
  await victim.run()
  await second.run()
  await shows(page, nodes, ['up', 'up', 'up'])
  await page.getByText('1 node may be lost.').waitFor()
})

test('a page whose node dies goes on at another one, with its tail', {skip}, async (t) => {
  const nodes = await startCluster(t)
  await nodes[0].create('news')
  const page = await open(t, nodes[0], '#/topics/news')
  await page.getByText('live', {exact: true}).waitFor()
  await nodes[0].kill()
  await page.getByText('went away').waitFor()
  const {id} = await nodes[1].publish('news', {value: 'after'})
  await page.locator(`[data-id="${id}"]`).waitFor()
  await page.getByRole('link', {name: 'Cluster'}).click()
  await shows(page, nodes, ['down', 'up', 'up'])
})

test('a page whose only node dies says so, and comes back with it', {skip}, async (t) => {
  const node = await Broker.start(t)
  const page = await open(t, node)
  await node.kill()
  await page.getByText('No node answers.').waitFor()
  await node.run()
  await page.getByText('No node answers.').waitFor({state: 'hidden'})
  await page.locator('#state.live').waitFor()
})

test('topics are created, found and deleted', {skip}, async (t) => {
  const node = await Broker.start(t)
  for (const name of ['news', 'orders:1042', 'orders:1043']) await node.create(name)
  const page = await open(t, node, '#/topics')
  await page.getByText('3 topics', {exact: true}).waitFor()
  await page.getByLabel('Filter by name').fill('1043')
  await page.getByText('1 of 3 topics').waitFor()
  assert.deepEqual(await page.locator('tbody th').allTextContents(), ['orders:1043'])

  await page.getByText('New topic').click()
  await page.getByLabel('Name', {exact: true}).fill('a b/ü?')
  await page.getByLabel('Messages').fill('7')
  await page.getByRole('button', {name: 'Create'}).click()
  await page.getByRole('heading', {name: 'a b/ü?'}).waitFor()
  await page.getByText('at most 7 messages').waitFor()
  assert.equal((await node.get('/topics/a%20b%2F%C3%BC%3F')).retention.maxMessages, 7)

  await page.getByRole('button', {name: 'Delete …'}).click()
  await page.getByRole('dialog').getByRole('button', {name: 'Delete'}).click()
  await page.getByRole('heading', {name: 'Topics'}).waitFor()
  assert.equal((await fetch(`${node.url}/topics/a%20b%2F%C3%BC%3F`)).status, 404)
})

test('of thousands of topics the page holds those that it shows, and the node finds the others', {skip}, async (t) => {
  const node = await Broker.start(t)
  const names = Array.from({length: 3000}, (_, n) => `orders:${1000 + n}`)
  while (names.length > 0) await Promise.all(names.splice(0, 200).map((name) => node.create(name)))
  const page = await open(t, node, '#/topics')
  const rows = page.locator('tbody th')
  const shows = (first, amount) => until(`${amount} topics from ${first} on`, async () => {
    const names = await rows.allTextContents()
    return names.length === amount && names.every((name, n) => name === `orders:${first + n}`)
  })
  await page.getByText('3,000 topics, by name.').waitFor()
  await shows(1000, 100)
  const [previous, next] = ['Previous', 'Next'].map((name) => page.getByRole('button', {name}))
  await next.click()
  await page.getByText('Page 2').waitFor()
  await shows(1100, 100)
  await node.publish('orders:1105', {value: 1})
  await page.locator('tr', {hasText: 'orders:1105'}).getByText('1', {exact: true}).waitFor()
  await previous.click()
  await shows(1000, 100)

  const filter = page.getByLabel('Filter by name')
  await filter.pressSequentially('orders:399')
  await page.getByText('10 of 3,000 topics begin with orders:399').waitFor()
  await shows(3990, 10)
  await next.waitFor({state: 'hidden'})
  await filter.press('Backspace')
  await page.getByText('100 of 3,000 topics begin with orders:39').waitFor()
  await filter.press('Backspace')
  await page.getByText('Those of 3,000 topics that begin with orders:3').waitFor()
  await shows(3000, 100)
  await next.focus()
  for (let number = 2; number <= 10; number++) {
    await page.keyboard.press('Enter')
    await page.getByText(`Page ${number}`, {exact: true}).waitFor()
  }
  await shows(3900, 100)
  assert.equal(await next.getAttribute('aria-disabled'), 'true')
  await page.keyboard.press('Enter')
  await filter.fill('none')
  await page.getByText('0 of 3,000 topics begin with none').waitFor()
  assert.equal(await rows.count(), 0)
})

test('while somebody types, the page is kept fresh as it is', {skip}, async (t) => {
  const node = await Broker.start(t)
  await Promise.all(Array.from({length: 300}, (_, n) => node.create(`orders:${1000 + n}`)))
  const page = await open(t, node, '#/topics')
  await page.getByRole('button', {name: 'Next'}).click()
  await page.getByText('Page 2', {exact: true}).waitFor()
  const asked = (prefix) => page.waitForRequest((request) => new URL(request.url()).searchParams.get('prefix') === prefix)
  // From here on no pause of somebody who types ends by itself.
  await page.clock.install()
  await page.clock.pauseAt(new Date(Date.now() + 60_000))
  await page.getByLabel('Filter by name').fill('orders:12')
  await node.publish('orders:1105', {value: 1})
  await page.locator('tr', {hasText: 'orders:1105'}).getByText('1', {exact: true}).waitFor()
  await page.getByText('300 topics, by name.').waitFor()
  await page.getByText('Page 2', {exact: true}).waitFor()

  const searched = asked('orders:12')
  await page.clock.runFor(1000)
  assert.equal(new URL((await searched).url()).searchParams.get('after'), null)
  await page.getByText('100 of 300 topics begin with orders:12').waitFor()
})

test('streams are listed with their readers, and those that take nothing are marked', {skip}, async (t) => {
  const node = await Broker.start(t)
  await node.create('bulk')
  const page = await open(t, node, '#/streams')
  await page.getByText('Nobody reads anything from this node.').waitFor()
  const stalled = new Reader(t, node, '/sse?topic=bulk&as=ada')
  // Before the others, so that it is on the first page: those who come at once are numbered as the node gets to them.
  await until('it to be ready', () => stalled.isReady)
  const others = Array.from({length: 60}, () => new Reader(t, node, '/sse?topic=news&topic=prices&match=orders:*'))
  await until('the others to be ready', () => others.every(({isReady}) => isReady))
  await page.getByText('61 streams on node 1.').waitFor()
  const rows = page.locator('tbody tr')
  await until('a page', async () => (await rows.count()) === 50)
  await rows.getByText('news, prices, orders:*').first().waitFor()
  await page.getByRole('button', {name: 'Next'}).click()
  await until('the last page', async () => (await rows.count()) === 11)
  await page.getByRole('button', {name: 'Previous'}).click()

  await stall(node, stalled, 'bulk')
  const marked = rows.filter({hasText: '▲ slow'})
  await marked.getByText(`ada at 127.0.0.1:${stalled.socket.localPort}`).waitFor()
  await page.getByRole('button', {name: 'Slow ones only'}).focus()
  await page.keyboard.press('Space')
  await until('the slow one alone', async () => (await rows.count()) === 1 && (await marked.count()) === 1)
  await marked.getByText(/^\d+ messages?$/).waitFor()
  stalled.socket.destroy()
  await page.getByText('No stream is slow.').waitFor()
  await page.getByRole('button', {name: 'Slow ones only'}).click()
  await until('the others', async () => (await rows.count()) === 50)
})

test('the tail shows what is published elsewhere, filters, pauses and jumps', {skip}, async (t) => {
  const node = await Broker.start(t)
  await node.create('news')
  const old = []
  for (let n = 0; n < 60; n++) old.push(await node.publish('news', {value: {n}}))
  const page = await open(t, node, '#/topics/news')
  const rows = page.locator('.tail li')
  await until('the last 50', async () => (await rows.count()) === 50)

  const markup = await node.publish('news', {value: '<img src=x onerror=alert(1)>', type: 'strange'})
  await row(page, markup).getByText('"<img src=x onerror=alert(1)>"').waitFor()
  const opened = await node.publish('news', {value: {n: 'N'}})
  await row(page, opened).locator('summary').click()
  const indented = /^\{\n {2}"id": .*\n {2}"value": \{\n {4}"n": "N"\n {2}\},/s
  await until('the message, a member a line', async () => indented.test(await row(page, opened).locator('pre').textContent()))

  await page.getByLabel('Filter', {exact: true}).fill('ONERROR')
  await page.getByText('1 of 52 messages').waitFor()
  assert.deepEqual(await rows.filter({visible: true}).evaluateAll((rows) => rows.map(({dataset}) => dataset.id)), [markup.id])
  await page.getByLabel('Filter', {exact: true}).fill('')

  await page.getByRole('button', {name: 'Pause'}).click()
  const held = await node.publish('news', {value: 'held'})
  await page.getByText('1 waiting').waitFor()
  assert.equal(await row(page, held).count(), 0)
  await page.getByRole('button', {name: 'Resume'}).click()
  await row(page, held).waitFor()

  await page.getByLabel('Start at').fill(old[4].id)
  await page.getByRole('button', {name: 'Go', exact: true}).click()
  await row(page, old[5]).waitFor()
  assert.equal(await row(page, old[4]).count(), 0)
  await page.getByLabel('Start at').fill('yesterday')
  await page.getByRole('button', {name: 'Go', exact: true}).click()
  await page.getByText(/after.*is/).first().waitFor()
})

test('what is published from the page is stored as it was written', {skip}, async (t) => {
  const node = await Broker.start(t)
  await node.create('news')
  const page = await open(t, node, '#/topics/news')
  const value = page.getByLabel('Value, as JSON')
  const publish = page.getByRole('button', {name: 'Publish'})
  await value.fill('hello')
  await publish.click()
  await page.getByText('This is not JSON. Text stands in quotes: "hello"').waitFor()

  await value.fill('{"price": 12345678901234567890.10}')
  await page.getByLabel('Type').fill('tick')
  await page.getByLabel('Idempotency key').fill('once')
  await publish.click()
  await page.getByText(/^Stored as /).waitFor()
  await page.locator('.tail li').getByText('{"price":12345678901234567890.10}').waitFor()
  const repeated = page.waitForResponse((response) => response.request().method() === 'POST')
  await publish.click()
  assert.equal((await repeated).status(), 200)
  const answer = await (await fetch(`${node.url}/topics/news/messages`)).text()
  assert.ok(answer.includes('"price":12345678901234567890.10'), answer)
  assert.equal((await node.get('/topics/news')).messages, 1)

  await page.getByLabel('Idempotency key').fill('again')
  await value.fill('2')
  await publish.click()
  await until('the second', async () => (await node.get('/topics/news')).messages === 2)
})

test('where tokens are asked for, the page asks for one, and shows an operator all', {skip}, async (t) => {
  const dir = mkdtempSync(join(tmpdir(), 'repl-console-'))
  t.after(() => rmSync(dir, {recursive: true}))
  const secret = join(dir, 'secret')
  writeFileSync(secret, 'a-secret-of-more-than-32-bytes-without-spaces', {mode: 0o600})
  const token = (...rights) => execFileSync(PROGRAM, ['token', 'create', '--secret-file', secret, '--subject', 'ada', ...rights]).toString().trim()
  const node = await Broker.start(t, '--token-secret-file', secret)
  const page = await open(t, node)
  const enter = async (token) => {
    await page.getByLabel('Token').fill(token)
    await page.getByRole('button', {name: 'Open'}).click()
  }
  await enter(token('--subscribe', '**'))
  await page.getByText('This is for operators').waitFor()
  await enter(token('--admin', '--manage', '**', '--subscribe', '**', '--publish', 'news'))
  await page.locator('.map .node.up').waitFor()
  await page.reload()
  await page.locator('.map .node.up').waitFor()
  assert.equal(new URL(page.url()).search, '', 'no token in the address')

  await page.getByRole('link', {name: 'Topics'}).click()
  await page.getByText('New topic').click()
  await page.getByLabel('Name', {exact: true}).fill('news')
  await page.getByRole('button', {name: 'Create'}).click()
  await page.getByText('live', {exact: true}).waitFor()
  await page.getByLabel('Value, as JSON').fill('1')
  await page.getByRole('button', {name: 'Publish'}).click()
  await page.locator('.tail li').waitFor()
})

test('JSON is set out without being changed', {skip}, async (t) => {
  const page = await open(t, await Broker.start(t))
  const texts = [
    String.raw`{"a":[],"b":{},"c":[1,{"d":"{\"x\":[1]}\\"}]}`, '12345678901234567890', String.raw`"\\"`, '[]', '{"a":{"a":1e400},"é":-0}',
  ]
  const shown = await page.evaluate(async (texts) => {
    const {indented, members} = await import('/console/json.js')
    return texts.map((text) => [text, indented(text), [...(text.startsWith('{') ? members(text) : [])]])
  }, texts)
  for (const [text, set] of shown) assert.equal(set.replaceAll(/\s/g, ''), text)
  assert.deepEqual(shown[0][1].split('\n').slice(0, 5), ['{', '  "a": [],', '  "b": {},', '  "c": [', '    1,'])
  assert.deepEqual(shown[4][2], [['a', '{"a":1e400}'], ['é', '-0']])
})

test('rates are made of what one node has counted, in one life of it', {skip}, async (t) => {
  const page = await open(t, await Broker.start(t))
  const [points, perTopic] = await page.evaluate(async () => {
    const {Series} = await import('/console/series.js')
    const series = new Series()
    const sample = (timeMs, node, count, publishes = []) => ({
      timeMs, cluster: {node}, topics: [{name: 'news', nextSeq: count}],
      node: {position: count, deliveries: 3 * count, publishes, fsyncs: 0, fsyncMicros: 0},
    })
    series.add(sample(1000, 1, 10, [[100, 7]]))
    series.add(sample(3000, 1, 30, [[100, 8], [200, 1], [900, 1]]))
    const perTopic = [...series.topics]
    // Another node; the first again, which has started anew.
    series.add(sample(9000, 2, 40))
    series.add(sample(500, 2, 50))
    return [series.points.map(({messages, deliveries, median, slowest}) => [messages, deliveries, median, slowest]), perTopic]
  })
  const unknown = [undefined, undefined, undefined, undefined]
  assert.deepEqual(points, [unknown, [10, 30, 200, 900], unknown, unknown])
  assert.deepEqual(perTopic, [['news', 10]])
})

test('it is used by keyboard alone', {skip}, async (t) => {
  const node = await Broker.start(t)
  await node.create('news')
  const page = await open(t, node)
  const focused = () => page.evaluate(() => `${document.activeElement.localName} ${document.activeElement.textContent}`)
  for (const name of ['Skip to content', 'Cluster', 'Topics']) {
    await page.keyboard.press('Tab')
    assert.equal(await focused(), `a ${name}`)
  }
  await page.keyboard.press('Enter')
  await until('the heading', async () => (await focused()) === 'h1 Topics')
  await page.getByRole('link', {name: 'news'}).focus()
  await page.keyboard.press('Enter')
  await until('the next heading', async () => (await focused()) === 'h1 news')
})

test('everybody can use it: light and dark, on a phone and on a desktop', {skip}, async (t) => {
  const nodes = await startCluster(t)
  for (const name of ['chat:lobby', 'orders:1042', 'orders:1043', 'prices', 'sensors:hall']) await nodes[0].create(name)
  const axe = readFileSync(createRequire(import.meta.url).resolve('axe-core/axe.min.js'), 'utf8')
  const page = await open(t, nodes[0])
  const reader = new Reader(t, nodes[0], '/sse?topic=prices')
  await until('a stream to be listed', () => reader.isReady)
  const stop = keepBusy(t, nodes)
  for (const [width, height] of [[1280, 800], [360, 740]]) {
    for (const colorScheme of ['light', 'dark']) {
      await page.setViewportSize({width, height})
      await page.emulateMedia({colorScheme})
      for (const [view, path, ready] of VIEWS) {
        await page.goto(`${nodes[0].url}/console#/${path}`)
        // Another view may have the same for as long as it is there.
        await page.getByRole('heading', {level: 1, name: view, exact: true}).waitFor()
        await page.locator(ready).first().waitFor({state: 'attached'})
        await page.evaluate(axe)
        const {violations} = await page.evaluate(() => window.axe.run())
        assert.deepEqual(violations.map(({id, nodes}) => `${id}: ${nodes.map(({html}) => html)}`), [], `${view} ${width} ${colorScheme}`)
        const overflow = await page.evaluate(() => document.documentElement.scrollWidth - innerWidth)
        assert.ok(overflow <= 0, `${view} at ${width} is ${overflow} too wide`)
      }
    }
  }
  await stop()
})

test('it loads its own files and no others, and they are small', {skip}, async (t) => {
  const node = await Broker.start(t)
  const urls = []
  const page = await open(t, node, '', (page) => page.on('request', (request) => urls.push(request.url())))
  await page.locator('.map .leader').waitFor()
  assert.deepEqual(urls.filter((url) => !url.startsWith(`${node.url}/console`)), [])
  const files = await Promise.all(urls.filter((url) => !url.endsWith('/feed')).map(async (url) => (await fetch(url)).text()))
  const size = files.reduce((sum, text) => sum + gzipSync(text).length, 0)
  assert.ok(files.length > 10 && size <= GZIPPED_BYTES_MAX, `${files.length} files, ${size} bytes`)
})

test('the pictures of the documents can be taken again', {skip}, async (t) => {
  const nodes = await startCluster(t)
  for (const name of ['chat:lobby', 'orders:1042', 'orders:1043', 'prices', 'sensors:hall']) await nodes[0].create(name)
  const page = await open(t, nodes[1])
  keepBusy(t, nodes)
  const take = async (name) => {
    const picture = await page.screenshot({path: PICTURES && join(PICTURES, `${name}.png`), fullPage: true})
    assert.ok(picture.length < PICTURE_BYTES_MAX, `${name}: ${picture.length} bytes`)
  }
  await until('some history', async () => {
    const line = await page.locator('.spark .line').first().getAttribute('d')
    return line?.split('L').length > (PICTURES ? 20 : 2)
  })
  await take('cluster')
  await page.setViewportSize({width: 390, height: 844})
  await page.emulateMedia({colorScheme: 'dark'})
  await take('cluster-phone')
  await page.emulateMedia({colorScheme: 'light'})
  await page.setViewportSize({width: 1280, height: 800})
  await page.getByRole('link', {name: 'Load'}).click()
  await take('load')
  const stalled = new Reader(t, nodes[1], '/sse?topic=sensors:hall&as=ana')
  await until('it to be ready', () => stalled.isReady)
  await stall(nodes[1], stalled, 'sensors:hall')
  await page.getByRole('link', {name: 'Streams'}).click()
  await page.locator('tbody tr.slow', {hasText: 'ana at'}).waitFor()
  await take('streams')
  await page.emulateMedia({colorScheme: 'dark'})
  await page.getByRole('link', {name: 'Topics'}).click()
  await page.getByRole('link', {name: 'prices'}).click()
  await page.locator('.tail summary').nth(2).waitFor()
  await page.getByRole('button', {name: 'Pause'}).click()
  await page.locator('.tail summary').nth(2).click()
  await page.getByLabel('Value, as JSON').fill('{"symbol": "REPL", "price": 101.5}')
  await take('topic')
  await page.emulateMedia({colorScheme: 'light'})
  await page.getByRole('link', {name: 'Cluster'}).click()
  const leader = await until('a leader', () => leaderOf(nodes))
  await (leader === nodes[1] ? nodes[0] : leader).kill()
  await page.locator('.map .node.down').waitFor()
  await page.locator('.map .node.up.leader').waitFor()
  await take('cluster-node-down')
})

/** A console that has heard from its node, unless that asks for a token. What goes wrong in it fails the test. */
async function open(t, node, hash = '', prepare = () => {}) {
  const page = await browse(t, 'about:blank')
  await page.setViewportSize({width: 1280, height: 800})
  const errors = []
  page.on('pageerror', (error) => errors.push(error.message))
  page.on('console', (message) => /Content Security Policy|TrustedHTML/.test(message.text()) && errors.push(message.text()))
  t.after(() => assert.deepEqual(errors, []))
  prepare(page)
  await page.goto(`${node.url}/console${hash}`)
  await page.locator('#state:not(:text("Connecting …"))').waitFor()
  return page
}

/** Waits until the table has these states, in the order of the nodes. */
async function shows(page, nodes, states) {
  for (const [row, state] of states.entries()) {
    const address = nodes[row].url.replace('http://', '')
    await page.locator('tr.node', {hasText: address}).and(page.locator(`.${state}`)).waitFor()
  }
}

function row(page, {id}) {
  return page.locator(`[data-id="${id}"]`)
}

/**
 * Lets a reader take nothing, and publishes until its node has noticed: more than the kernel keeps for a connection on both
 * sides. In pieces that a busy node stores in time, and no more than it needs: who takes nothing is closed after 25 seconds.
 */
async function stall(node, reader, topic) {
  reader.socket.pause()
  const line = () => JSON.stringify({value: 'x'.repeat(60_000), key: randomUUID()})
  await until('a stream that takes nothing', async () => {
    const body = Array.from({length: 10}, line).join('\n')
    const answer = await fetch(`${node.url}/topics/${topic}`, {method: 'POST', headers: {'Content-Type': 'application/x-ndjson'}, body})
    assert.equal(answer.status, 201)
    const {streams} = await node.get('/streams?slow=true')
    return streams.some(({address}) => address === `127.0.0.1:${reader.socket.localPort}`)
  })
}

/** Publishes and reads until the test ends, or until what this returns is called. */
function keepBusy(t, nodes) {
  const stop = new AbortController()
  for (const node of nodes) {
    for (let reader = 0; reader < 3; reader++) {
      fetch(`${node.url}/sse?topic=prices&topic=chat:lobby`, {signal: stop.signal}).then((answer) => answer.text()).catch(() => {})
    }
  }
  const publish = async (n) => {
    const node = nodes[n % nodes.length]
    const price = {symbol: ['REPL', 'RAFT', 'SSE'][n % 3], price: 100 + (n * 7) % 23 / 4}
    await Promise.all(Array.from({length: 1 + n % 6}, () => node.publish('prices', {value: price, type: 'tick'})))
    await node.publish('chat:lobby', {value: {from: 'ana', text: `hello ${n}`}})
  }
  const publishing = (async () => {
    for (let n = 0; !stop.signal.aborted; n++) await publish(n).catch(() => {})
  })()
  const end = () => (stop.abort(), publishing)
  t.after(end)
  return end
}
