import assert from 'node:assert/strict'
import test from 'node:test'

import {Broker} from './support/broker.js'
import {openPage, skip, subscribe} from './support/page.js'
import {until} from './support/until.js'

test('a page from elsewhere can neither subscribe nor publish', {skip}, async (t) => {
  const node = await Broker.start(t)
  await node.create('news')
  const page = await openPage(t, {host: 'stranger.example'})
  const stream = await subscribe(page, `${node.url}/sse?topic=news`)
  await until('a refusal', async () => (await stream.state()).is === 'closed')
  const published = page.evaluate(async (url) => {
    const headers = {'Content-Type': 'application/json'}
    return (await fetch(url, {method: 'POST', headers, body: '{"value": 1}'})).status
  }, `${node.url}/topics/news`)
  await assert.rejects(published, /Failed to fetch/)
  assert.equal((await node.get('/topics/news')).messages, 0)
})

test('a page of an origin that --cors-origin names can subscribe, resume and publish', {skip}, async (t) => {
  const page = await openPage(t, {host: 'stranger.example'})
  const origin = await page.evaluate(() => location.origin)
  const node = await Broker.start(t, '--cors-origin', origin)
  await node.create('news')
  const stream = await subscribe(page, `${node.url}/sse?topic=news`)
  await stream.next('repl.ready')
  const publish = (value) => page.evaluate(async ({url, value}) => {
    const headers = {'Content-Type': 'application/json', 'Idempotency-Key': `key ${value}`}
    return (await fetch(url, {method: 'POST', headers, body: JSON.stringify({value})})).json()
  }, {url: `${node.url}/topics/news`, value})
  const first = await publish('first')
  await stream.message(first.id)
  await node.kill()
  await until('the page to notice', async () => (await stream.state()).failed > 0)
  await node.run()
  const second = await publish('second')
  await stream.message(second.id)
  assert.deepEqual((await stream.messages()).map(({data}) => data), [first, second])
})
