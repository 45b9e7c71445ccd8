import {createReadStream, statSync} from 'node:fs'
import {createServer} from 'node:http'
import {extname, normalize} from 'node:path'
import {fileURLToPath} from 'node:url'

const COOKIE = 'chat_session'

/** A week. */
const SESSION_SECONDS = 7 * 24 * 3600

/** How long a page may read before it has to ask again. */
const TOKEN_SECONDS = 600

/** Names are levels of topics, so they have no `:` and no `*`. */
const NAME = /^[\p{L}\p{N}][\p{L}\p{N}._-]{0,31}$/u

const TEXT_MAX = 4_000
const PASSWORD_MIN = 8
const BODY_BYTES_MAX = 32 * 1024

const TYPES = {
  '.html': 'text/html; charset=utf-8',
  '.css': 'text/css; charset=utf-8',
  '.js': 'text/javascript; charset=utf-8',
  '.svg': 'image/svg+xml',
}

/** Where files of a path are. */
const FOLDERS = {
  '/client/': fileURLToPath(new URL('../../../clients/ts/dist/', import.meta.url)),
  '/': fileURLToPath(new URL('../page/', import.meta.url)),
}

/** What the page is told of its request, as the broker tells it: a status and a sentence. */
class Refusal extends Error {
  constructor(status, message) {
    super(message)
    this.status = status
  }
}

/**
 * The server of the chat: the page, who signs in, and what is said. It keeps nothing but accounts: what was said is the
 * broker's, and so is who is there.
 */
export function createApp({accounts, tokens, broker, brokers, isSecure = false}) {
  const routes = {
    'POST /sign-up': async ({body}) => {
      const {name, password} = credentials(body)
      if (!(await accounts.create(name, password))) throw new Refusal(409, 'Somebody has this name.')
      return signedIn(name)
    },
    'POST /sign-in': async ({body}) => {
      const {name, password} = credentials(body)
      if (!(await accounts.verify(name, password))) throw new Refusal(401, 'Name and password don’t go together.')
      return signedIn(name)
    },
    'POST /sign-out': async () => ({cookie: cookie('', 0)}),
    'GET /session': async ({user}) => ({body: {user, brokers}}),
    'GET /token': async ({user}) => ({body: {token: tokens.sign(reader(user), TOKEN_SECONDS)}}),
    'GET /people': async () => ({body: {people: accounts.names()}}),
    'POST /rooms': async ({body}) => {
      await broker.makeRoom(named(body.room))
      return {status: 201}
    },
    'POST /say': async ({user, body}) => {
      const {text, key} = body
      if (typeof text !== 'string' || !text.trim() || text.length > TEXT_MAX) {
        throw new Refusal(400, `Say something, in at most ${TEXT_MAX} characters.`)
      }
      if (typeof key !== 'string' || !/^[\w-]{8,64}$/.test(key)) throw new Refusal(400, 'The line needs a key.')
      if (body.to === undefined) await broker.sayInRoom(named(body.room), user, text, key)
      else if (accounts.has(body.to)) await broker.sayTo(body.to, user, text, key)
      else throw new Refusal(404, 'Nobody has this name.')
      return {status: 201}
    },
    'POST /typing': async ({user, body}) => {
      await broker.isTyping(named(body.room), user)
      return {status: 201}
    },
  }
  const open = new Set(['POST /sign-up', 'POST /sign-in', 'POST /sign-out'])

  function signedIn(name) {
    return {
      body: {user: name, brokers},
      cookie: cookie(tokens.sign({sub: name, use: 'session'}, SESSION_SECONDS), SESSION_SECONDS),
    }
  }

  function cookie(value, seconds) {
    return `${COOKIE}=${value}; Path=/; HttpOnly; SameSite=Strict; Max-Age=${seconds}${isSecure ? '; Secure' : ''}`
  }

  /** Whose cookie it is. A token for the broker is none. */
  function userOf(request) {
    const cookies = (request.headers.cookie ?? '').split('; ')
    const found = cookies.find((cookie) => cookie.startsWith(`${COOKIE}=`))
    const claims = found && tokens.read(found.slice(COOKIE.length + 1))
    return claims?.use === 'session' && accounts.has(claims.sub) ? claims.sub : undefined
  }

  async function answer(request, response) {
    const {pathname} = new URL(request.url, 'http://localhost')
    const route = `${request.method} ${pathname}`
    const handler = routes[route]
    if (!handler) return sendFile(request, response, pathname)
    const user = userOf(request)
    if (!user && !open.has(route)) throw new Refusal(401, 'Sign in first.')
    const {status = 200, body = {}, cookie} = await handler({user, body: await read(request)})
    if (cookie) response.setHeader('Set-Cookie', cookie)
    sendJson(response, status, body)
  }

  return createServer((request, response) => {
    response.setHeader('X-Content-Type-Options', 'nosniff')
    answer(request, response).catch((error) => {
      // Nobody waits for it any more.
      if (response.destroyed) return
      const status = error.status ?? 502
      if (status === 502) console.error(error)
      sendJson(response, status, {error: status === 502 ? 'The brokers can’t be reached.' : error.message})
    })
  })

  /** The rights of a page: to read rooms and who writes there, its own inbox, and who is there. */
  function reader(user) {
    return {sub: user, repl: {subscribe: ['room:*', 'typing:*', `inbox:${user}`], presence: ['*']}}
  }

  function sendFile(request, response, path) {
    const base = Object.keys(FOLDERS).find((base) => path.startsWith(base))
    const rest = normalize(`/${decodeURIComponent(path.slice(base.length))}`)
    const file = FOLDERS[base] + (rest === '/' ? 'index.html' : rest.slice(1))
    const type = TYPES[extname(file)]
    const isThere = type && statSync(file, {throwIfNoEntry: false})?.isFile()
    if (!isThere || request.method !== 'GET') throw new Refusal(404, 'There is no such page.')
    const policy = `default-src 'self'; connect-src 'self' http: https:; frame-ancestors 'none'; base-uri 'none'`
    response.writeHead(200, {'Content-Type': type, 'Cache-Control': 'no-cache', 'Content-Security-Policy': policy})
    createReadStream(file).pipe(response)
  }
}

function credentials({name, password}) {
  if (typeof password !== 'string' || password.length < PASSWORD_MIN) {
    throw new Refusal(400, `A password has at least ${PASSWORD_MIN} characters.`)
  }
  return {name: named(name), password}
}

function named(name) {
  if (typeof name === 'string' && NAME.test(name)) return name
  throw new Refusal(400, 'A name has up to 32 letters and digits, dots, lines and underscores.')
}

/** The body as JSON. Only pages of this server send any: others can't set this type without asking (CORS). */
async function read(request) {
  if (request.method === 'GET') return {}
  if (request.headers['content-type'] !== 'application/json') throw new Refusal(415, 'Send JSON.')
  let text = ''
  for await (const piece of request.setEncoding('utf8')) {
    text += piece
    if (text.length > BODY_BYTES_MAX) throw new Refusal(413, 'That is too much.')
  }
  try {
    return Object(JSON.parse(text))
  } catch {
    throw new Refusal(400, 'That is no JSON.')
  }
}

function sendJson(response, status, body) {
  response.writeHead(status, {'Content-Type': 'application/json', 'Cache-Control': 'no-store'})
  response.end(JSON.stringify(body))
}
