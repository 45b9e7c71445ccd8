// Requests to a node, and streams from it.

const TOKEN = 'repl.token'

/** The longest a stream may be silent before it counts as broken. Nodes send something every 15 seconds, the feed each second. */
const SILENCE_MS = 40_000

/** The longest that an answer may take: longer than a node waits for a majority. */
const ANSWER_MS = 10_000

/** A node has answered, and it was no. */
export class Refused extends Error {
  constructor(status, problem) {
    super(problem.detail || problem.title || `The node answered ${status}.`)
    this.status = status
  }
}

/** Whom the page asks, and under which token. */
export const session = {
  /** The node that is asked. The page's own, until that is away. */
  url: location.origin,

  get token() {
    return sessionStorage.getItem(TOKEN) ?? undefined
  },

  /** Kept as long as the tab is open. */
  set token(token) {
    sessionStorage.setItem(TOKEN, token)
  },
}

function headers(more) {
  return session.token ? {...more, Authorization: `Bearer ${session.token}`} : more
}

/** Asks the node, and returns what it answers. */
export async function ask(method, path, {body, headers: more = {}} = {}) {
  const type = body === undefined ? {} : {'Content-Type': 'application/json'}
  const signal = AbortSignal.timeout(ANSWER_MS)
  const answer = await fetch(session.url + path, {method, body, headers: headers({...type, ...more}), signal, cache: 'no-store'})
  if (!answer.ok) throw await refusal(answer)
  return answer.status === 204 ? undefined : answer.json()
}

async function refusal(answer) {
  return new Refused(answer.status, await answer.json().catch(() => ({})))
}

export function topicPath(name) {
  return `/topics/${encodeURIComponent(name)}`
}

/**
 * The events of a stream, until it ends. Breaks off after silence.
 *
 * An `EventSource` can't send a token in a header, and a URL is no place for one.
 */
export async function* events(url, {signal, silenceMs = SILENCE_MS, lastEventId} = {}) {
  const silence = new AbortController()
  const timer = {id: 0}
  const restart = () => {
    clearTimeout(timer.id)
    timer.id = setTimeout(() => silence.abort(), silenceMs)
  }
  restart()
  try {
    const answer = await fetch(url, {
      headers: headers(lastEventId ? {'Last-Event-ID': lastEventId} : {}),
      signal: signal ? AbortSignal.any([signal, silence.signal]) : silence.signal,
      cache: 'no-store',
    })
    if (!answer.ok) throw await refusal(answer)
    const reader = answer.body.pipeThrough(new TextDecoderStream()).getReader()
    let text = ''
    for (;;) {
      const {value, done} = await reader.read()
      if (done) return
      restart()
      const blocks = (text + value).split('\n\n')
      text = blocks.pop()
      for (const block of blocks) {
        const event = parse(block)
        if (event.data !== undefined) yield event
      }
    }
  } finally {
    clearTimeout(timer.id)
    silence.abort()
  }
}

/** An event of a node: each field at most once, and data on one line. */
function parse(block) {
  const event = {}
  for (const line of block.split('\n')) {
    const colon = line.indexOf(': ')
    if (colon > 0) event[line.slice(0, colon)] = line.slice(colon + 2)
  }
  return event
}
