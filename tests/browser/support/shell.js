import {spawn} from 'node:child_process'
import {once} from 'node:events'
import {mkdtempSync, rmSync, writeFileSync} from 'node:fs'
import {tmpdir} from 'node:os'
import {join} from 'node:path'

import {until} from './until.js'

/** A shell in a directory of its own, such as a person has in a terminal. A command that fails ends it. */
export class Shell {
  /** What was written to the terminal. */
  output = ''
  #process
  #commands = 0

  constructor(t, env = {}) {
    const dir = (this.dir = mkdtempSync(join(tmpdir(), 'repl-shell-')))
    // An answer that is a problem is a failure, and progress is not to be seen.
    writeFileSync(join(dir, '.curlrc'), 'fail-with-body\nsilent\nshow-error\n')
    this.#process = spawn('bash', ['-e'], {cwd: dir, env: {...process.env, ...env, CURL_HOME: dir}})
    for (const stream of [this.#process.stdout, this.#process.stderr]) {
      stream.setEncoding('utf8').on('data', (text) => (this.output += text))
    }
    // Its death is noticed by whoever waits for a command.
    this.#process.stdin.on('error', () => {})
    // Whatever it has started ends with it, and it ends with this process.
    this.#process.stdin.write('trap \'kill -9 $(jobs -p) 2>&- || true\' EXIT\n')
    const closed = once(this.#process, 'close')
    t.after(async () => {
      this.#process.stdin.end()
      await closed
      rmSync(dir, {recursive: true})
    })
  }

  /** Runs a command that goes on by itself, such as a stream. */
  start(command) {
    this.#process.stdin.write(`${command.trim()} &\n`)
  }

  /** Runs commands, waits until the last is done, and returns what was written meanwhile. */
  async run(commands) {
    const start = this.output.length
    const mark = `--- ${++this.#commands} done ---`
    this.#process.stdin.write(`${commands}\necho '${mark}'\n`)
    await until(`the end of:\n${commands}`, () => {
      if (this.#process.exitCode !== null) throw new Error(`failed:\n${commands}\n${this.output}`)
      return this.output.includes(mark, start)
    })
    return this.output.slice(start, this.output.indexOf(mark, start))
  }
}
