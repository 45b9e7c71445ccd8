import {execFileSync} from 'node:child_process'
import {mkdtempSync, readFileSync, rmSync, writeFileSync} from 'node:fs'
import {tmpdir} from 'node:os'
import {join} from 'node:path'
import {gzipSync} from 'node:zlib'

import {build} from 'esbuild'
import {describe, expect, onTestFinished, test} from 'vitest'

import {startNode} from './support/cluster.js'
import {snippets} from './support/snippets.js'

const root = new URL('..', import.meta.url).pathname
const {name} = JSON.parse(readFileSync(`${root}/package.json`, 'utf8')) as {name: string}

/** What a client may cost a page, in bytes, compressed; the others, what they may cost on top. Why: docs/clients.md. */
const CORE_BYTES_MAX = 8_050
const SHARED_BYTES_MAX = 2_000
const REACT_BYTES_MAX = 800

/** What a page downloads for this program, in bytes. */
async function size(program: string): Promise<number> {
  const options = {
    bundle: true,
    minify: true,
    format: 'esm',
    target: 'es2022',
    write: false,
    legalComments: 'none',
  } as const
  const stdin = {contents: program, resolveDir: root}
  const {outputFiles} = await build({...options, stdin, external: ['react']})
  return gzipSync(outputFiles[0]?.contents ?? '', {level: 9}).length
}

describe('the package', () => {
  test('is small', async ({annotate}) => {
    const core = await size(`export {createClient} from './dist/index.js'`)
    const all = await size(`export * from './dist/index.js'`)
    const both = `export {createClient} from './dist/index.js'; export`
    const shared = (await size(`${both} {createSharedClient} from './dist/shared/index.js'`)) - core
    const react = (await size(`${both} * from './dist/react/index.js'`)) - core
    await annotate(JSON.stringify({core, all, shared, react}))
    expect(core).toBeLessThanOrEqual(CORE_BYTES_MAX)
    expect(shared).toBeLessThanOrEqual(SHARED_BYTES_MAX)
    expect(react).toBeLessThanOrEqual(REACT_BYTES_MAX)
  })

  test('installs and works in a fresh project, and has the types that it says', async () => {
    const dir = mkdtempSync(join(tmpdir(), 'repl-package-'))
    onTestFinished(() => rmSync(dir, {recursive: true}))
    const run = (program: string, ...args: string[]): string =>
      execFileSync(program, args, {cwd: dir, encoding: 'utf8'})
    const tarball = execFileSync('npm', ['pack', '--silent', '--ignore-scripts', '--pack-destination', dir], {
      cwd: root,
      encoding: 'utf8',
    }).trim()
    const bin = join(root, 'node_modules/.bin')
    expect(run(join(bin, 'publint'), 'run', '--strict', join(dir, tarball))).toContain('All good!')
    run(join(bin, 'attw'), join(dir, tarball), '--profile', 'esm-only', '--no-emoji')

    writeFileSync(join(dir, 'package.json'), JSON.stringify({type: 'module'}))
    run('npm', 'install', '--silent', '--offline', '--no-audit', '--no-fund', join(dir, tarball))
    const {url} = await startNode('--auto-create')
    const program = `
      import {createClient, type Message} from '${name}'
      import '${name}/shared'
      const client = createClient<{news: {text: string}}>({url: '${url}'})
      const arrived = new Promise<Message<{text: string}>>((resolve) => {
        client.subscribe('news', resolve).ready.then(() => client.publish('news', {text: 'hello'}))
      })
      console.log((await arrived).value.text)
      client.close()`
    writeFileSync(join(dir, 'main.ts'), program)
    const options = [
      '--strict',
      '--exactOptionalPropertyTypes',
      '--module',
      'NodeNext',
      '--target',
      'ES2022',
      '--lib',
      'ES2022,DOM',
    ]
    run(join(bin, 'tsc'), ...options, 'main.ts')
    expect(run('node', 'main.js')).toBe('hello\n')
  })

  test('touches nothing of the page when it is imported', async () => {
    const {outputFiles} = await build({
      stdin: {contents: `export * from './dist/index.js'; export * from './dist/shared/index.js'`, resolveDir: root},
      bundle: true,
      format: 'iife',
      globalName: 'client',
      write: false,
      logLevel: 'silent',
    })
    // Neither a browser's globals nor a server's: only the language.
    const check = `const {Script, createContext} = require('node:vm')
      const context = createContext({}, {codeGeneration: {strings: false, wasm: false}})
      new Script(require('node:fs').readFileSync(0, 'utf8') + ';this.names = Object.keys(client)').runInContext(context)
      console.log(context.names.includes('createClient'))`
    expect(execFileSync('node', ['-e', check], {input: outputFiles[0]?.text ?? '', encoding: 'utf8'})).toBe('true\n')
  })
})

describe('the README', () => {
  test('says nothing that does not compile', () => {
    const dir = mkdtempSync(join(root, 'node_modules/.readme-'))
    onTestFinished(() => rmSync(dir, {recursive: true}))
    const found = snippets()
    expect(found.length).toBeGreaterThan(5)
    found.forEach(({language, text}, n) => writeFileSync(join(dir, `snippet${n}.${language}`), `${text}\nexport {}\n`))
    const paths = Object.fromEntries(
      ['', '/shared', '/react'].map((path) => [name + path, [`${root}/dist${path}/index.d.ts`]]),
    )
    const compilerOptions = {
      strict: true,
      module: 'esnext',
      moduleResolution: 'bundler',
      target: 'es2022',
      lib: ['es2022', 'dom', 'dom.iterable'],
      jsx: 'react-jsx',
      noEmit: true,
      skipLibCheck: true,
      paths,
    }
    writeFileSync(join(dir, 'tsconfig.json'), JSON.stringify({compilerOptions, include: ['*']}))
    execFileSync(join(root, 'node_modules/.bin/tsc'), ['-p', dir], {stdio: 'inherit'})
  })

  test('says nothing that does not run', async () => {
    const {url} = await startNode('--auto-create')
    const runnable = snippets().filter(({language, text}) => language === 'ts' && !text.includes('React'))
    for (const {text} of runnable) {
      const contents = `${text.replaceAll('http://127.0.0.1:7375', url)}\n`
      const alias = {[`${name}/shared`]: `${root}/dist/shared/index.js`, [name]: `${root}/dist/index.js`}
      const options = {bundle: true, format: 'esm', write: false, platform: 'node', logLevel: 'silent'} as const
      const {outputFiles} = await build({...options, stdin: {contents, loader: 'ts', resolveDir: root}, alias})
      const file = join(mkdtempSync(join(tmpdir(), 'repl-readme-')), 'snippet.mjs')
      // It ends by itself, or else once everything that it began has had its time.
      writeFileSync(file, `${outputFiles[0]?.text}\nsetTimeout(() => process.exit(), 1_000)\n`)
      execFileSync('node', [file], {stdio: ['ignore', 'ignore', 'inherit'], timeout: 120_000})
      rmSync(join(file, '..'), {recursive: true})
    }
  })
})
