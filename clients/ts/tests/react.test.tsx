import type {Page} from 'playwright-core'
import {renderToString} from 'react-dom/server'
import {expect, onTestFinished, test} from 'vitest'

import {createClient, getTopic} from '../src/index.js'
import {ReplProvider, useConnection, useTopic} from '../src/react/index.js'
import {bundle} from './support/bundle.js'
import {Chromium, isMissing} from './support/chromium.js'
import {startNode, until} from './support/cluster.js'

function Shown() {
  const {messages, isReady} = useTopic('a')
  return <p>{`${useConnection().kind}, ${messages.length} messages, ready: ${isReady}`}</p>
}

test('on a server nothing is opened, and what is shown is empty', () => {
  const fetch = () => Promise.reject(new Error('nobody should ask'))
  const client = createClient({url: 'http://127.0.0.1:9', fetch})
  const html = renderToString(<ReplProvider client={client}>{<Shown />}</ReplProvider>)
  expect(html).toBe('<p>idle, 0 messages, ready: false</p>')
  expect(() => renderToString(<Shown />)).toThrow('no ReplProvider')
})

test.skipIf(isMissing)('a component in strict mode shows the last messages of its topic, once', async () => {
  const node = await startNode('--auto-create')
  const client = createClient({url: node.url})
  onTestFinished(() => client.close())
  for (let n = 0; n < 5; n++) await client.publish('a', n)
  await client.publish('b', 'first')
  const chromium = await Chromium.start({
    '/page.js': await bundle('tests/react/page.tsx', {define: {'process.env.NODE_ENV': '"development"'}}),
    '/page': '<!doctype html><body></body><script type="module" src="/page.js"></script>',
  })
  const page = await chromium.open('/page')
  await page.waitForFunction('globalThis.start')
  await page.evaluate(`start(${JSON.stringify(node.url)})`)

  await shows(page, ['2', '3', '4'])
  await page.waitForFunction("document.querySelector('#ready').textContent === 'true'")
  await page.waitForFunction("document.querySelector('#state').textContent === 'live'")
  await client.publish('a', 5)
  await shows(page, ['3', '4', '5'])

  await page.evaluate("setTopic('b')")
  await shows(page, ['first'])
  await page.click('#publish', {force: true, noWaitAfter: true})
  await shows(page, ['first', 'from b'])
  await until('one stream, of one topic', async () => {
    const subscribers = await Promise.all(['a', 'b'].map(async (topic) => (await getTopic(client, topic))?.subscribers))
    return subscribers.join() === '0,1'
  })
  await page.evaluate('setTopic(undefined)')
  await page.waitForFunction("document.querySelector('#state').textContent === 'idle'")
})

async function shows(page: Page, wanted: readonly string[]): Promise<void> {
  const isShown = (wanted: string): boolean =>
    [...document.querySelectorAll('li')].map(({textContent}) => textContent).join() === wanted
  await page.waitForFunction(isShown, wanted.join())
}
