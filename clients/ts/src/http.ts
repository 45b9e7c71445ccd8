import {fault} from './answer.js'
import type {Context} from './context.js'
import {ReplError, UnavailableError} from './error.js'

/** A request to whichever node answers. Only for what may be done twice. */
export interface Request {
  readonly path: string
  /** Default `GET`. */
  readonly method?: string
  readonly headers?: Readonly<Record<string, string>>
  readonly body?: string
  /** Gives up. What was asked for may be done all the same. */
  readonly signal?: AbortSignal | undefined
  /** For how long it is tried, in milliseconds. Default 30,000: longer than a cluster needs for another leader. */
  readonly patienceMs?: number | undefined
}

/** What a node answered. */
export interface Answer {
  readonly status: number
  /** The JSON of its body; `undefined` if it had none. */
  readonly body: unknown
}

/** Asks one node, once. */
export async function ask(context: Context, url: string, token: string | undefined, request: Request): Promise<Answer> {
  const {fetch, clock, answerMs} = context
  const {path, headers, signal} = request
  const abort = new AbortController()
  const stop = (): void => abort.abort()
  const cancel = clock.after(answerMs, stop)
  signal?.addEventListener('abort', stop)
  try {
    const response = await fetch(url + path, {
      ...request,
      headers: {...headers, ...authorization(token)},
      signal: abort.signal,
      // A redirection would make a GET of a POST, whose success is not the one that was asked for.
      redirect: 'manual',
    })
    if (!response.ok) throw await fault(response, clock)
    const text = await response.text()
    return {status: response.status, body: text ? JSON.parse(text) : undefined}
  } catch (error) {
    if (error instanceof ReplError) throw error
    const trouble = error instanceof SyntaxError ? 'not-a-broker' : abort.signal.aborted ? 'timeout' : 'unreachable'
    throw new UnavailableError(trouble, `${error}`, error)
  } finally {
    cancel()
    signal?.removeEventListener('abort', stop)
  }
}

/** The headers that say who asks. */
export function authorization(token: string | undefined): Record<string, string> {
  return token ? {Authorization: `Bearer ${token}`} : {}
}
