import {randomBytes, scrypt, timingSafeEqual} from 'node:crypto'
import {existsSync, readFileSync, renameSync, writeFileSync} from 'node:fs'
import {promisify} from 'node:util'

const derive = promisify(scrypt)

/** Bytes of a derived key. */
const KEY_BYTES = 32

/** Who may sign in, in a file. Passwords are kept as scrypt makes them, with a salt each. */
export class Accounts {
  #file
  #accounts

  constructor(file) {
    this.#file = file
    this.#accounts = new Map(existsSync(file) ? Object.entries(JSON.parse(readFileSync(file, 'utf8'))) : [])
  }

  names() {
    return [...this.#accounts.keys()].sort()
  }

  has(name) {
    return this.#accounts.has(name)
  }

  /** `false` if somebody has this name. */
  async create(name, password) {
    const salt = randomBytes(16)
    const key = await derive(password, salt, KEY_BYTES)
    if (this.has(name)) return false
    this.#accounts.set(name, {salt: salt.toString('base64'), key: key.toString('base64')})
    const written = `${this.#file}.new`
    writeFileSync(written, JSON.stringify(Object.fromEntries(this.#accounts)), {mode: 0o600})
    renameSync(written, this.#file)
    return true
  }

  async verify(name, password) {
    const {salt, key} = this.#accounts.get(name) ?? {salt: '', key: Buffer.alloc(KEY_BYTES).toString('base64')}
    const derived = await derive(password, Buffer.from(salt, 'base64'), KEY_BYTES)
    return timingSafeEqual(derived, Buffer.from(key, 'base64')) && this.has(name)
  }
}
