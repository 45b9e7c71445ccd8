// What a page downloads for each client, minified and compressed, in bytes.
import {readFileSync} from 'node:fs'
import {gzipSync} from 'node:zlib'

import {build} from 'esbuild'

const CLIENTS = {
  '@repl-broker/client': `export {createClient} from '../dist/index.js'`,
  '@repl-broker/client, all of it': `export * from '../dist/index.js'`,
  centrifuge: `export {Centrifuge} from 'centrifuge'`,
  '@nats-io/nats-core': `export {wsconnect} from '@nats-io/nats-core'`,
  'nats.ws': `export {connect} from 'nats.ws'`,
  ably: `export {Realtime} from 'ably'`,
  'ably/modular': `export {BaseRealtime, WebSocketTransport, FetchRequest} from 'ably/modular'`,
  'socket.io-client': `export {io} from 'socket.io-client'`,
}

const resolveDir = new URL('.', import.meta.url).pathname
const {devDependencies} = JSON.parse(readFileSync(`${resolveDir}package.json`, 'utf8'))
for (const [name, contents] of Object.entries(CLIENTS)) {
  const options = {bundle: true, minify: true, format: 'esm', target: 'es2022', platform: 'browser', write: false}
  // What is of Node.js in a package for browsers stays outside: it can't be bundled.
  const {outputFiles} = await build({
    ...options,
    stdin: {contents, resolveDir},
    external: ['crypto', 'node:*'],
    logLevel: 'error',
  })
  const version = devDependencies[name.split('/modular')[0]] ?? 'here'
  console.log(`${name} ${version}: ${gzipSync(outputFiles[0].contents, {level: 9}).length} bytes`)
}
