import assert from 'node:assert/strict'
import {readFileSync} from 'node:fs'
import test from 'node:test'

import {Broker, freePorts, startCluster} from './support/broker.js'
import {openPage, skip, subscribe} from './support/page.js'
import {startProxy, without} from './support/proxy.js'
import {until} from './support/until.js'

const ROOT = new URL('../../', import.meta.url)
const README = readFileSync(new URL('README.md', ROOT), 'utf8')

/** The ports in the README's settings: where each proxy listens, and where it finds the nodes. */
const PROXIES = {
  nginx: {
    language: 'nginx',
    port: 8001,
    around: (text) => `daemon off; pid pid; error_log stderr; events {} http { ${text} }`,
  },
  haproxy: {language: 'haproxy', port: 8002, around: (text) => text},
  caddy: {language: 'caddyfile', port: 8003, around: (text) => `{\n  admin off\n  auto_https off\n}\n${text}`},
}
const NODES = [7375, 7385, 7395, 7405]

for (const [name, {language, port, around}] of Object.entries(PROXIES)) {
  test(`a page behind ${name} has every message while nodes die`, {skip: skip || without(name)}, async (t) => {
    const nodes = await startCluster(t)
    await nodes[0].create('chat')
    const listen = await freePorts()
    const settings = README.match(new RegExp(`^\`\`\`${language}\n(.*?)^\`\`\`$`, 'ms'))[1]
    const url = await startProxy(t, name, around(withPorts(settings, nodes, {[port]: listen})), listen)
    const stream = await subscribe(await openPage(t), `${url}/sse?topic=chat`)
    await stream.next('repl.ready')
    const published = []
    const publish = async () => {
      const key = `key-${published.length}`
      const message = {value: published.length}
      const answer = await until('a publish that is answered', async () => {
        const response = await fetch(`${url}/topics/chat`, {
          method: 'POST',
          headers: {'Content-Type': 'application/json', 'Idempotency-Key': key},
          body: JSON.stringify(message),
        }).catch(() => undefined)
        return response?.ok && response.json()
      })
      published.push(answer)
      await stream.message(answer.id)
    }
    await publish()
    for (const node of nodes) {
      await node.kill()
      await publish()
      await node.run()
      await publish()
    }
    assert.deepEqual(
      (await stream.messages()).map(({data}) => data),
      published,
    )
    assert.equal((await stream.state()).is, 'open')
  })
}

test(
  'nginx shares streams out evenly among four nodes, and a path has its own',
  {skip: without('nginx')},
  async (t) => {
    // Node.js closes a stream whose response nobody holds any more, when it collects garbage.
    const streams = []
    t.after(() => Promise.all(streams.map(({body}) => body.cancel())))
    const nodes = await startCluster(t)
    nodes.push(await Broker.start(t, '--join', nodes[0].peer))
    await nodes[0].create('chat')
    const listen = await freePorts()
    const settings = readFileSync(new URL('examples/nginx/nginx.conf', ROOT), 'utf8')
    const url = await startProxy(t, 'nginx', withPorts(settings, nodes, {8000: listen}), listen)
    const open = async (path) => {
      const response = await fetch(url + path)
      streams.push(response)
      assert.equal(response.status, 200)
    }
    const counts = () => Promise.all(nodes.map(openStreams))

    // The look whether nginx serves was a request, and so moved its turn: 40 are ten rounds wherever they begin.
    for (let n = 0; n < 40; n++) await open('/sse?topic=chat')
    assert.deepEqual(await counts(), [10, 10, 10, 10])
    for (let n = 0; n < 10; n++) await open('/readers/sse?topic=chat')
    assert.deepEqual(await counts(), [10, 10, 15, 15])
  },
)

async function openStreams(node) {
  const text = await (await fetch(`${node.url}/metrics`)).text()
  return Number(/^repl_http_streams (\d+)$/m.exec(text)[1])
}

/** Settings with the ports of this test. */
function withPorts(settings, nodes, more) {
  const ports = {...Object.fromEntries(nodes.map(({port}, n) => [NODES[n], port])), ...more}
  return settings.replace(/\b\d{4}\b/g, (port) => ports[port] ?? port)
}
