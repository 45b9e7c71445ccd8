import {spawn, spawnSync} from 'node:child_process'
import {once} from 'node:events'
import {mkdtempSync, rmSync, writeFileSync} from 'node:fs'
import {tmpdir} from 'node:os'
import {join} from 'node:path'

import {until} from './until.js'

/** How each is started with a configuration. */
const COMMANDS = {
  nginx: (dir) => ['nginx', '-p', dir, '-c', join(dir, 'config')],
  haproxy: (dir) => ['haproxy', '-db', '-f', join(dir, 'config')],
  caddy: (dir) => ['caddy', 'run', '--adapter', 'caddyfile', '--config', join(dir, 'config')],
}

/** Why a test of this proxy is skipped, if it is. */
export function without(name) {
  return spawnSync('sh', ['-c', `command -v ${name}`]).status === 0 ? false : `${name} is not installed`
}

/** A proxy with this configuration, which listens at this port, until the test ends. */
export async function startProxy(t, name, configuration, port) {
  const dir = mkdtempSync(join(tmpdir(), `repl-${name}-`))
  writeFileSync(join(dir, 'config'), configuration)
  const [program, ...args] = COMMANDS[name](dir)
  // Caddy keeps its files where the environment says.
  const env = {...process.env, XDG_DATA_HOME: dir, XDG_CONFIG_HOME: dir, HOME: dir}
  const child = spawn(program, args, {env, stdio: ['ignore', 'ignore', 'pipe']})
  let log = ''
  child.stderr.setEncoding('utf8').on('data', (text) => (log += text))
  t.after(async () => {
    const ended = child.exitCode === null && once(child, 'exit')
    // Not SIGKILL: nginx has processes of its own, which would go on.
    child.kill('SIGTERM')
    await ended
    rmSync(dir, {recursive: true})
  })
  const url = `http://127.0.0.1:${port}`
  await until(`${name} to serve`, async () => {
    if (child.exitCode !== null) throw new Error(`${name} has ended; it said:\n${log}`)
    return (await fetch(`${url}/livez`).catch(() => undefined))?.ok
  })
  return url
}
