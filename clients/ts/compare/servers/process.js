import {spawn} from 'node:child_process'
import {once} from 'node:events'
import {mkdtempSync, rmSync, writeFileSync} from 'node:fs'
import {connect} from 'node:net'
import {tmpdir} from 'node:os'
import {join} from 'node:path'

import {until} from '../../../../tests/browser/support/until.js'

/** A server: a program that is given a file of settings, can be killed, and has a port that outlives it. */
export class Process {
  #command
  #process
  #dir = mkdtempSync(join(tmpdir(), 'repl-compare-'))
  port

  constructor(t, port, [program, ...args], settings) {
    this.port = port
    const file = join(this.#dir, 'settings')
    writeFileSync(file, settings)
    this.#command = [program, [...args, file]]
    t.after(async () => {
      await this.kill()
      rmSync(this.#dir, {recursive: true})
    })
  }

  async run() {
    this.#process = spawn(...this.#command, {stdio: 'ignore'})
    await until(`${this.#command[0]} to listen`, async () => (await open(this.port))?.destroy())
  }

  async kill() {
    if (!this.#process || this.#process.exitCode !== null || this.#process.signalCode !== null) return
    this.#process.kill('SIGKILL')
    await once(this.#process, 'exit')
  }
}

/** A connection to a port of this machine, if something listens there. */
export function open(port) {
  const socket = connect(port, '127.0.0.1')
  return new Promise((resolve) => socket.once('connect', () => resolve(socket)).once('error', () => resolve(undefined)))
}
