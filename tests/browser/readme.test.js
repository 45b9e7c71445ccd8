import assert from 'node:assert/strict'
import {execFileSync, spawn} from 'node:child_process'
import {once} from 'node:events'
import {mkdtempSync, readFileSync, readdirSync, rmSync, writeFileSync} from 'node:fs'
import {tmpdir} from 'node:os'
import {delimiter, dirname, join} from 'node:path'
import test from 'node:test'

import {Broker, freePorts, PATIENT, PROGRAM, startCluster} from './support/broker.js'
import {Document, replaced} from './support/document.js'
import {browse, openPage, skip} from './support/page.js'
import {without} from './support/proxy.js'
import {Shell} from './support/shell.js'
import {until} from './support/until.js'

const ROOT = new URL('../../', import.meta.url)

const README = Document.of('README.md')
const CLIENT = Document.of('clients/ts/README.md')

const TOUR = README.take('A tour of 60 seconds', 'sh', 'subscribe', 'create', 'repeat', 'batch', 'program')
const PAGE = README.take('A tour of 60 seconds', 'js', 'lines')
const THREE = README.take('Three nodes on one machine', 'sh', 'start', 'look', 'subscribe', 'kill', 'again')
const OPERATE = README.take('Operate', 'sh', 'orders')
const GUARDED = README.take('Who may do what', 'sh', 'start', 'write')
const ENCRYPTED = Document.of('docs/security.md').take('TLS for clients', 'sh', 'serve', 'ask')
const TOKEN = README.take('Who may do what', 'json', 'claims')
const SYMPTOMS = Document.of('docs/operations.md').take('', 'sh', 'look')
const WHO = Document.of('docs/presence.md').take('', 'sh', 'commands')
const READER = Document.of('docs/protocol.md').take('A whole client', 'js', 'program')
const LIVE = {
  ...CLIENT.take('Five minutes to a live page', 'sh', 'start', 'project', 'publish'),
  ...CLIENT.take('Five minutes to a live page', 'ts', 'main'),
}
const SERVED = Document.of('examples/eventsource/README.md').take('', 'sh', 'serve')
const EXAMPLES = {
  chat: Document.of('examples/chat/README.md').take('', 'sh', 'run'),
  balance: Document.of('examples/balance/README.md').take('', 'sh', 'run'),
}

/** What is tested elsewhere, or isn't run: the page, the section unless all are meant, the language, and where or why. */
const ELSEWHERE = [
  ['README.md', '', 'sh', 'builds for minutes, and runs these tests'],
  ['README.md', 'Behind a reverse proxy', 'nginx', 'proxies.test.js'],
  ['README.md', 'Behind a reverse proxy', 'haproxy', 'proxies.test.js'],
  ['README.md', 'Behind a reverse proxy', 'caddyfile', 'proxies.test.js'],
  ['CONTRIBUTING.md', '', 'sh', 'builds for minutes, and runs these tests'],
  ['clients/ts/README.md', '', 'sh', 'clients/ts/tests/package.test.ts, with what is installed already'],
  ['clients/ts/README.md', undefined, 'ts', 'clients/ts/tests/package.test.ts'],
  ['clients/ts/README.md', undefined, 'tsx', 'clients/ts/tests/package.test.ts'],
  ['docs/reference/output.md', undefined, 'json', 'tests/it/output.rs'],
  ['docs/performance.md', '', 'sh', 'measures for minutes'],
  ['examples/nginx/README.md', '', 'sh', 'proxies.test.js, with nodes of its own'],
]

/** A shell that finds the program, and a node at its default ports. */
function shell(t, env = {}) {
  return new Shell(t, {PATH: dirname(PROGRAM) + delimiter + process.env.PATH, ...PATIENT, ...env})
}

test('the commands of the tour do what the README says', async (t) => {
  const node = await Broker.start(t)
  const here = (commands) => replaced(commands, {7375: node.port, 'target/release/': ''})
  const subscriber = shell(t)
  subscriber.start(here(TOUR.subscribe))
  await until('a stream', () => subscriber.output.includes('repl.ready'))

  const terminal = shell(t, {REPL_SERVER: node.url})
  const created = await terminal.run(here(TOUR.create))
  await until('the message', () => subscriber.output.includes('"value":{"text":"world"}'))
  assert.match(created, /"value":\{"text":"world"\}/)

  const ids = [...(await terminal.run(here(TOUR.repeat))).matchAll(/"id":"([^"]+)"/g)].map(([, id]) => id)
  assert.equal(ids.length, 2)
  assert.equal(ids[0], ids[1])

  assert.match(await terminal.run(here(TOUR.batch)), /"value":2,.*"value":1,/s)
  assert.equal((await node.get('/topics/hello')).messages, 4)

  const told = await terminal.run(here(TOUR.program))
  assert.match(told, /hello.*from the command line.*100/s)
  assert.equal((await node.get('/topics/hello')).messages, 4 + 1 + 100)
})

test('the lines for the browser do what the README says', {skip}, async (t) => {
  const node = await Broker.start(t)
  await node.create('hello')
  const page = await browse(t, `${node.url}/livez`)
  const said = []
  page.on('console', (message) => said.push(message.text()))
  await page.evaluate(`(async () => {${PAGE.lines}})()`)
  await until('the message', () => said.some((text) => text.endsWith('from a browser')))
  await until('the end of what was kept', () => said.includes('up to date'))
  await node.kill()
  await until('a sign', () => said.includes('away, coming back'))
  await node.run()
  await node.publish('hello', {value: 'after the restart'})
  await until('the next message', () => said.some((text) => text.endsWith('after the restart')))
})

test('the commands for three nodes do what the README says', async (t) => {
  const ports = [await freePorts(), await freePorts(), await freePorts()]
  const numbers = {7375: ports[0], 7376: ports[0] + 1, 7385: ports[1], 7395: ports[2]}
  const here = (commands) => replaced(commands, {...numbers, 'target/release/repl': PROGRAM})
  // The first node listens where it does by default.
  const terminal = shell(t, {REPL_LISTEN: `127.0.0.1:${ports[0]}`})
  await terminal.run(here(THREE.start))
  const members = async (port, of) => {
    const answer = await fetch(`http://127.0.0.1:${port}/cluster`).catch(() => undefined)
    return answer?.ok && (await answer.json()).nodes.map(of).sort().join()
  }
  await until('three voters', async () => (await members(ports[2], ({role}) => role)) === 'follower,follower,leader')
  await terminal.run(here(THREE.look))
  const subscriber = shell(t)
  subscriber.start(here(THREE.subscribe))
  await until('a stream', () => subscriber.output.includes('repl.ready'))

  await terminal.run(here(THREE.kill))
  await until('both messages', () => /"value":"before".*"value":"after"/s.test(subscriber.output))
  assert.match(await terminal.run(here(THREE.again)), /"value":"before".*"value":"after"/s)

  // What nodes know of one another is up to a second old.
  await until('the second to know that the first is back', async () => (await members(ports[1], ({state}) => state)) === 'up,up,up')
  assert.match(await terminal.run(here(OPERATE.orders)), /3 of 3 voters are up.*node \d leads/s)
})

test('the commands for tokens do what the README says', async (t) => {
  const port = await freePorts()
  const here = (commands) => replaced(commands, {7375: port, 'target/release/': ''})
  const [ada, bob] = [shell(t, {REPL_LISTEN: `127.0.0.1:${port}`}), shell(t)]
  ada.start(here(GUARDED.start))
  await until('a stream', () => ada.output.includes('repl.ready'))
  await bob.run(`cd ${ada.dir}; ${here(GUARDED.write)}`)
  await until('the message', () => ada.output.includes('"value":"hello, Ada"'))

  const [, claims] = /^ey[^.]+\.([^.]+)\./m.exec(await ada.run('echo "$ADA"'))
  const {sub, repl} = JSON.parse(Buffer.from(claims, 'base64url'))
  const shown = JSON.parse(TOKEN.claims)
  assert.deepEqual({sub, repl: {manage: [], admin: false, ...repl}}, {sub: shown.sub, repl: shown.repl})
  assert.equal((await fetch(`http://127.0.0.1:${port}/sse?topic=inbox:ada`)).status, 401)
})

test('the commands for certificates do what the page on security says', async (t) => {
  const port = await freePorts()
  const terminal = shell(t, {REPL_LISTEN: `127.0.0.1:${port}`})
  await terminal.run(ENCRYPTED.serve)
  const told = await terminal.run(replaced(ENCRYPTED.ask, {7375: port}))
  assert.match(told, /"ready".*TOPIC\tMESSAGES/s)
})

test('the commands for presence do what its page says', async (t) => {
  const node = await Broker.start(t)
  const [create, read, members, watch] = replaced(WHO.commands, {7375: node.port}).trim().split('\n')
  const terminal = shell(t)
  await terminal.run(create)
  await terminal.run(read)
  const [, shown] = members.split('# ')
  const form = (text) => text.replace(/"since":"[^"]*"/, '"since":"…"').trim()
  await until('a member', async () => form(await terminal.run(members)) === shown)
  const watcher = shell(t)
  watcher.start(watch)
  await until('who is there', () => /event: repl.presence\n.*\ndata: .*"members":\[\{"id":"ada"/.test(watcher.output))
})

test('the client on the page of the protocol goes from node to node and misses nothing', async (t) => {
  const nodes = await startCluster(t)
  await nodes[0].create('hello')
  const ports = Object.fromEntries([7375, 7385, 7395].map((port, n) => [port, nodes[n].port]))
  const reader = spawn('node', ['--input-type=module'], {stdio: ['pipe', 'pipe', 'inherit']})
  t.after(() => reader.kill('SIGKILL'))
  let said = ''
  reader.stdout.setEncoding('utf8').on('data', (text) => (said += text))
  reader.stdin.end(replaced(READER.program, ports))
  const expected = []
  const publish = async (node) => {
    const {id, value} = await node.publish('hello', {value: expected.length}, {'Idempotency-Key': `key-${expected.length}`})
    expected.push(`${id} ${value}`)
    await until('the message', () => said.includes(`${id} `))
  }
  await publish(nodes[0])
  for (const [n, node] of nodes.entries()) {
    await node.kill()
    await publish(nodes[(n + 1) % nodes.length])
    await node.run()
  }
  assert.deepEqual(said.trim().split('\n').filter((line) => !line.startsWith('away')), expected)
})

test('the commands that operators look with do what their page says', async (t) => {
  const port = await freePorts()
  const terminal = shell(t, {REPL_LISTEN: `127.0.0.1:${port}`})
  await terminal.run('repl >log 2>&1 &')
  await until('a node that serves', async () => (await fetch(`http://127.0.0.1:${port}/readyz`).catch(() => undefined))?.ok)
  await terminal.run('repl config defaults >repl.toml')
  // What systemd would do, where there is none.
  await terminal.run('touch repl.toml; systemctl() { :; }; journalctl() { tail -n 50 log; }')
  const here = {7375: port, '/var/lib/repl': 'repl-data', '/etc/repl/repl.toml': 'repl.toml'}
  assert.match(await terminal.run(replaced(SYMPTOMS.look, here)), /1 of 1 voters.*ready.*can start with these settings/s)
})

test("the five minutes of the client's page make a live page", {skip}, async (t) => {
  const port = await freePorts()
  const terminal = shell(t, {REPL_LISTEN: `127.0.0.1:${port}`})
  terminal.start(LIVE.start)
  const dir = terminal.dir
  execFileSync('npm', ['pack', '--silent', '--ignore-scripts', '--pack-destination', dir], {cwd: new URL('clients/ts', ROOT)})
  // Whoever is asked whether to install says yes.
  const project = shell(t, {npm_config_yes: 'true'})
  if ((await project.run('npm view --silent create-vite version || echo none')).includes('none')) {
    return t.skip('npm has no create-vite here')
  }
  await project.run(`(${replaced(LIVE.project, {'path/to': dir})}) </dev/null >&2`)
  writeFileSync(join(project.dir, 'live/src/main.ts'), replaced(LIVE.main, {7375: port}))
  const vite = await freePorts()
  // What `npm run dev` runs, as one process that ends with its shell.
  project.start(`live/node_modules/.bin/vite live --host 127.0.0.1 --port ${vite} --strictPort`)
  await until('a server', async () => (await fetch(`http://127.0.0.1:${vite}`).catch(() => undefined))?.ok)

  const page = await browse(t, `http://127.0.0.1:${vite}`)
  await page.getByText('Hello from a page').first().waitFor()
  assert.match(await shell(t).run(replaced(LIVE.publish, {7375: port})), /"text":"Hello from a terminal"/)
  await page.getByText('Hello from a terminal').waitFor()
})

test('the example page shows what is said in every window, and comes back after a restart', {skip}, async (t) => {
  const node = await Broker.start(t)
  const file = new URL('examples/eventsource/index.html', ROOT)
  const windows = await Promise.all([1, 2].map(() => openPage(t, {file, query: `?broker=${node.url}`})))
  // While the node is away, each attempt to reach it is a line.
  const shows = (page, text) => page.locator('li').getByText(text, {exact: true}).first().waitFor()
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

test('its folder is served as its page says', {skip: without('python3')}, async (t) => {
  const port = await freePorts()
  const terminal = shell(t)
  await terminal.run(`cd '${ROOT.pathname}'`)
  terminal.start(replaced(SERVED.serve, {8000: port}))
  const file = readFileSync(new URL('examples/eventsource/index.html', ROOT), 'utf8')
  await until('the page', async () => (await fetch(`http://localhost:${port}/`).then((answer) => answer.text(), () => '')) === file)
})

for (const [name, {run}] of Object.entries(EXAMPLES)) {
  test(`the ${name} starts, with three nodes, and stops by a key`, async (t) => {
    const dir = mkdtempSync(join(tmpdir(), 'repl-example-'))
    const port = await freePorts(3)
    const page = await freePorts()
    const env = {...process.env, PROGRAM, BROKER_PORT: String(port), PORT: String(page), TMPDIR: dir}
    const example = spawn('bash', ['-ec', run], {
      cwd: new URL(`examples/${name}`, ROOT),
      env,
      stdio: ['pipe', 'pipe', 'inherit'],
      detached: true,
    })
    const closed = once(example, 'close')
    t.after(() => {
      // All that it has started, should it not have ended.
      if (example.exitCode === null) process.kill(-example.pid, 'SIGKILL')
      rmSync(dir, {recursive: true})
    })
    let said = ''
    example.stdout.setEncoding('utf8').on('data', (text) => (said += text))
    await until('three voters', () => said.includes('node 3 votes'))
    await until('the page', async () => (await fetch(`http://localhost:${page}/`).catch(() => undefined))?.ok)
    example.stdin.write('q')
    assert.deepEqual(await closed, [0, null])
    assert.deepEqual(readdirSync(dir), [])
  })
}

test('every block of every page is run here or elsewhere, or it is said why not', () => {
  const paths = execFileSync('git', ['-c', 'safe.directory=*', 'ls-files', '*.md'], {cwd: ROOT, encoding: 'utf8'})
  const used = new Set()
  for (const page of paths.trim().split('\n').map(Document.of)) {
    for (const {section, language, line, text} of page.left()) {
      // So those of translations are the same.
      if (page !== README && README.has(text)) continue
      const row = ELSEWHERE.find(
        ([path, where, kind]) => path === page.path && (where ?? section) === section && kind === language,
      )
      assert.ok(row, `${page.path}:${line}: nobody tries this`)
      used.add(row)
      // What isn't run can be read, at least.
      if (language === 'sh') execFileSync('bash', ['-n'], {input: text})
    }
  }
  assert.deepEqual(ELSEWHERE.filter((row) => !used.has(row)), [])
})
