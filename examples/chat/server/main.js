import {readFileSync} from 'node:fs'

import {Accounts} from './accounts.js'
import {createApp} from './app.js'
import {Broker} from './broker.js'
import {Tokens} from './tokens.js'

const {
  PORT = '8080',
  HOST = '127.0.0.1',
  BROKERS = 'http://127.0.0.1:7375',
  SECRET_FILE,
  ACCOUNTS_FILE = 'accounts.json',
} = process.env
if (!SECRET_FILE) {
  console.error('SECRET_FILE names the file with the secret that the brokers were given (--token-secret-file)')
  process.exit(2)
}

/** As long as brokers may take that start beside this server. */
const STARTING = {patienceMs: 60_000}

// As the broker reads it: without the line's end.
const tokens = new Tokens(readFileSync(SECRET_FILE, 'utf8').trim())
const brokers = BROKERS.split(',')
const broker = new Broker(brokers, tokens)
const app = createApp({accounts: new Accounts(ACCOUNTS_FILE), tokens, broker, brokers})
app.listen(Number(PORT), HOST, () => console.log(`the chat is at http://localhost:${app.address().port}/`))
await broker.makeRoom('lobby', STARTING).catch((error) => console.error(`the lobby can't be made: ${error.message}`))
