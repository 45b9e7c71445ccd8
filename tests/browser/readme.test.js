import assert from 'node:assert/strict'
import {existsSync, readFileSync} from 'node:fs'
import test from 'node:test'

import {Broker, freePorts, PROGRAM} from './support/broker.js'
import {browse, openPage, skip} from './support/page.js'
import {Shell} from './support/shell.js'
import {until} from './support/until.js'

const ROOT = new URL('../../', import.meta.url)
const README = readFileSync(new URL('README.md', ROOT), 'utf8')

test('the commands of the tour do what the README says', async (t) => {
  const node = await Broker.start(t)
  const [subscribe, create, repeat, batch] = blocks('A tour of 60 seconds', 'sh', {7375: node.port})
  const subscriber = new Shell(t)
  subscriber.start(subscribe)
  await until('a stream', () => subscriber.output.includes('repl.ready'))

  const shell = new Shell(t)
  const created = await shell.run(create)
  await until('the message', () => subscriber.output.includes('"value":{"text":"world"}'))
  assert.match(created, /"value":\{"text":"world"\}/)

  const ids = [...(await shell.run(repeat)).matchAll(/"id":"([^"]+)"/g)].map(([, id]) => id)
  assert.equal(ids.length, 2)
  assert.equal(ids[0], ids[1])

  assert.match(await shell.run(batch), /"value":2,.*"value":1,/s)
  assert.equal((await node.get('/topics/hello')).messages, 4)
})

test('the lines for the browser do what the README says', {skip}, async (t) => {
  const node = await Broker.start(t)
  await node.create('hello')
  const page = await browse(t, `${node.url}/livez`)
  const said = []
  page.on('console', (message) => said.push(message.text()))
  const [lines] = blocks('A tour of 60 seconds', 'js')
  await page.evaluate(`(async () => {${lines}})()`)
  await until('the message', () => said.some((text) => text.endsWith('from a browser')))
  assert.ok(said.includes('up to date'))
  await node.kill()
  await until('a sign', () => said.includes('away, coming back'))
  await node.run()
  await node.publish('hello', {value: 'after the restart'})
  await until('the next message', () => said.some((text) => text.endsWith('after the restart')))
})

test('the commands for three nodes do what the README says', async (t) => {
  const ports = [await freePorts(), await freePorts(), await freePorts()]
  const replace = {7375: ports[0], 7376: ports[0] + 1, 7385: ports[1], 7395: ports[2], 'target/release/repl': PROGRAM}
  const [start, look, subscribe, kill, again] = blocks('Three nodes on one machine', 'sh', replace)
  // The first node listens where it does by default.
  const shell = new Shell(t, {REPL_LISTEN: `127.0.0.1:${ports[0]}`})
  await shell.run(start)
  const roles = async () => {
    const answer = await fetch(`http://127.0.0.1:${ports[2]}/cluster`).catch(() => undefined)
    return answer?.ok && (await answer.json()).nodes.map(({role}) => role).sort().join()
  }
  await until('three voters', async () => (await roles()) === 'follower,follower,leader')
  await shell.run(look)
  const subscriber = new Shell(t)
  subscriber.start(subscribe)
  await until('a stream', () => subscriber.output.includes('repl.ready'))

  await shell.run(kill)
  await until('both messages', () => /"value":"before".*"value":"after"/s.test(subscriber.output))
  assert.match(await shell.run(again), /"value":"before".*"value":"after"/s)

  const [operate] = blocks('Operate', 'sh', replace)
  assert.match(await shell.run(operate), /3 of 3 voters are up.*node \d leads/s)
})

test('the example page shows what is said in every window, and comes back after a restart', {skip}, async (t) => {
  const node = await Broker.start(t)
  const file = new URL('examples/eventsource/index.html', ROOT)
  const windows = await Promise.all([1, 2].map(() => openPage(t, {file, query: `?broker=${node.url}`})))
  const shows = (page, text) => page.locator('li').getByText(text, {exact: true}).waitFor()
  const say = async (page, text) => {
    await page.locator('input').fill(text)
    await page.locator('button').click()
    for (const each of windows) await shows(each, text)
  }
  await say(windows[0], 'hello')
  await say(windows[1], '<b>hello</b> yourself')
  await node.kill()
  for (const each of windows) await shows(each, '— away, coming back —')
  await node.run()
  await say(windows[0], 'still there')
  const lines = (await windows[1].locator('li').allTextContents()).filter((text) => !text.startsWith('—'))
  assert.deepEqual(lines, ['hello', '<b>hello</b> yourself', 'still there'])
})

test('every file and every test that README and ARCHITECTURE name is there', () => {
  const architecture = readFileSync(new URL('ARCHITECTURE.md', ROOT), 'utf8')
  const links = [...(README + architecture).matchAll(/\[([^\]]+)\]\(([^):]+)\)/g)]
  assert.ok(links.length > 20)
  for (const [, name, path] of links) {
    const target = new URL(path, ROOT)
    assert.ok(existsSync(target), path)
    const [, tested] = /^`([a-z_]+)`$/.exec(name) ?? []
    if (tested) assert.ok(readFileSync(target, 'utf8').includes(`fn ${tested}(`), `${tested} in ${path}`)
  }
})

/** The blocks of a language in a section, with ports and paths replaced by those of this test. */
function blocks(heading, language, replacements = {}) {
  const section = README.split(/^## /m).find((section) => section.startsWith(`${heading}\n`))
  const found = [...section.matchAll(new RegExp(`^\`\`\`${language}\n(.*?)^\`\`\`$`, 'gms'))].map(([, text]) => text)
  const from = new RegExp(Object.keys(replacements).join('|') || '$^', 'g')
  return found.map((text) => text.replace(from, (word) => replacements[word]))
}
