import assert from 'node:assert/strict'
import {readFileSync} from 'node:fs'
import {createRequire} from 'node:module'
import test from 'node:test'

import {Broker} from './support/broker.js'
import {browse, skip} from './support/page.js'

test('everybody can read the manual: light on a desktop, dark on a phone', {skip}, async (t) => {
  const node = await Broker.start(t)
  const axe = readFileSync(createRequire(import.meta.url).resolve('axe-core/axe.min.js'), 'utf8')
  const urls = []
  const page = await browse(t, `${node.url}/livez`)
  page.on('request', (request) => urls.push(request.url()))
  await page.goto(`${node.url}/docs`)
  const pages = await page.locator('header nav a').evaluateAll((links) => links.map(({href}) => href))
  assert.ok(pages.length > 10)
  for (const [colorScheme, width, height] of [['light', 1280, 800], ['dark', 390, 844]]) {
    await page.emulateMedia({colorScheme})
    await page.setViewportSize({width, height})
    for (const url of pages) {
      await page.goto(url)
      await page.evaluate(axe)
      const {violations} = await page.evaluate(() => window.axe.run())
      assert.deepEqual(violations.map(({id, nodes}) => `${id}: ${nodes.map(({html}) => html)}`), [], `${url}, ${colorScheme}`)
      const overflow = await page.evaluate(() => document.documentElement.scrollWidth - innerWidth)
      assert.ok(overflow <= 0, `${url} at ${width} is ${overflow} too wide`)
    }
  }
  assert.deepEqual(urls.filter((url) => !url.startsWith(node.url)), [])
})

test('the manual is searched by keyboard, and read without scripts', {skip}, async (t) => {
  const node = await Broker.start(t)
  const axe = readFileSync(createRequire(import.meta.url).resolve('axe-core/axe.min.js'), 'utf8')
  const page = await browse(t, `${node.url}/docs`)
  const field = page.getByRole('searchbox', {name: 'Search'})
  await field.waitFor()
  await page.keyboard.press('/')
  await page.keyboard.type('stream reconnect')
  const first = page.getByRole('region', {name: 'Search results'}).getByRole('link').first()
  await first.waitFor()
  assert.equal(await first.textContent(), 'Questions: Why does my stream reconnect?')
  await page.evaluate(axe)
  const {violations} = await page.evaluate(() => window.axe.run())
  assert.deepEqual(violations.map(({id, nodes}) => `${id}: ${nodes.map(({html}) => html)}`), [])
  await page.keyboard.press('Escape')
  await page.getByRole('region', {name: 'Search results'}).waitFor({state: 'hidden'})
  await page.keyboard.type('stream reconnect')
  await first.waitFor()
  await page.keyboard.press('ArrowDown')
  await page.keyboard.press('Enter')
  await page.getByRole('heading', {name: 'Why does my stream reconnect?'}).waitFor()

  await page.reload()
  await page.route('**/docs/search.json', (route) => route.abort())
  await field.fill('stream')
  await page.getByText('No search: the node doesn’t answer.').waitFor()
  await page.unroute('**/docs/search.json')
  await field.fill('stream reconnect')
  await first.waitFor()

  const plain = await browse(t, `${node.url}/docs/faq`, {javaScriptEnabled: false})
  await plain.getByRole('heading', {level: 1, name: 'Questions'}).waitFor()
  assert.equal(await plain.getByRole('searchbox').count(), 0)
})

test('the manual is used by keyboard alone, and a problem leads into it', {skip}, async (t) => {
  const node = await Broker.start(t)
  const page = await browse(t, `${node.url}/problems/no-leader`)
  await page.getByRole('heading', {name: 'no-leader'}).waitFor()
  assert.ok(page.url().endsWith('/docs/problems#no-leader'))
  await page.goto(`${node.url}/docs`)
  const focused = () => page.evaluate(() => document.activeElement.textContent)
  await page.keyboard.press('Tab')
  assert.equal(await focused(), 'Skip to content')
  for (const name of ['Documentation', 'repl', '@repl-broker/client', 'What repl promises']) {
    await page.keyboard.press('Tab')
    assert.equal(await focused(), name)
  }
  await page.keyboard.press('Enter')
  await page.getByRole('heading', {level: 1, name: 'What repl promises'}).waitFor()
})
