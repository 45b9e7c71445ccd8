import {spawn} from 'node:child_process'
import {once} from 'node:events'
import {mkdtempSync, rmSync, writeFileSync} from 'node:fs'
import {tmpdir} from 'node:os'
import {join} from 'node:path'

import {describe, expect, onTestFinished, test} from 'vitest'

import {createClient} from '../src/index.js'
import {scenarios} from './portable/scenarios.js'
import {bundle} from './support/bundle.js'
import {Chromium, isMissing} from './support/chromium.js'
import {startNode} from './support/cluster.js'

describe('in Node.js', () => {
  test.each(Object.entries(scenarios))('%s', async (_, scenario) => {
    await scenario({createClient, url: (await startNode('--auto-create')).url})
  })
})

test.skipIf(isMissing)('every scenario holds in Chromium', async ({annotate}) => {
  const {url} = await startNode('--auto-create')
  const chromium = await Chromium.start({
    '/page.js': await bundle('tests/portable/page.ts'),
    '/page': '<!doctype html><script type="module" src="/page.js"></script>',
  })
  const page = await chromium.open('/page')
  await page.waitForFunction('globalThis.run')
  for (const name of Object.keys(scenarios)) {
    const run = (name: string) => page.evaluate(`run(${JSON.stringify(name)}, ${JSON.stringify(url)})`)
    await expect(run(name), name).resolves.toBeUndefined()
  }
  await annotate(`${Object.keys(scenarios).length} scenarios`)
})

/** Programs that `./run` has found; it tells which it has not. */
const RUNTIMES = {
  Deno: [process.env['DENO'] ?? '', 'run', '--allow-all'],
  Bun: [process.env['BUN'] ?? '', 'run'],
}

describe.each(Object.entries(RUNTIMES))('in %s', (_, [program = '', ...args]) => {
  test.skipIf(!program)(`every scenario holds`, async () => {
    const {url} = await startNode('--auto-create')
    const dir = mkdtempSync(join(tmpdir(), 'repl-client-'))
    onTestFinished(() => rmSync(dir, {recursive: true}))
    const file = join(dir, 'main.mjs')
    writeFileSync(file, await bundle('tests/portable/main.ts'))
    const child = spawn(program, [...args, file, url], {stdio: ['ignore', 'pipe', 'pipe']})
    let output = ''
    for (const stream of [child.stdout, child.stderr]) stream.setEncoding('utf8').on('data', (text) => (output += text))
    await once(child, 'close')
    expect(output.trim().split('\n')).toEqual(Object.keys(scenarios).map((name) => `passed ${name}`))
  })
})
