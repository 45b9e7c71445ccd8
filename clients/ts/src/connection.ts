import {fault} from './answer.js'
import type {Context} from './context.js'
import {ReplError, UnavailableError} from './error.js'
import {ask, authorization} from './http.js'
import {createParser, type StreamSink} from './parser.js'

/** A quiet stream may miss one sign of life: it may be on its way. */
const KEEP_ALIVES_MISSED_MAX = 2

/** What takes the events of a connection. */
export interface ConnectionSink extends StreamSink {
  /** When it can take more, if it can't now. */
  drained(): Promise<unknown> | undefined
}

/** One stream from one node, until it breaks. */
export interface Connection {
  /** For how long nothing has been heard. */
  silenceMs(): number
  close(): void
  /**
   * Settles when the node ends the stream. Rejects with a `RefusedError` if it will not serve this stream, however often
   * it is asked, and with an `UnavailableError` if it can't be reached, broke, or was closed.
   */
  readonly ended: Promise<void>
}

export function connect(
  context: Context,
  url: string,
  path: string,
  token: string | undefined,
  sink: ConnectionSink,
): Connection {
  const {clock, fetch, answerMs, keepAliveMs} = context
  const abort = new AbortController()
  const close = (): void => abort.abort()
  let heardAt = clock.now()
  let [isHeard, isPaused, isSilent] = [false, false, false]
  let cancelWatch: () => void

  const silenceMs = (): number => (isPaused ? 0 : clock.now() - heardAt)

  /** Ends the stream when nothing was heard for too long. */
  const watch = (): void => {
    const leftMs = (isHeard ? KEEP_ALIVES_MISSED_MAX * keepAliveMs : answerMs) - silenceMs()
    isSilent = leftMs <= 0
    if (isSilent) close()
    else cancelWatch = clock.after(leftMs, watch)
  }

  const run = async (): Promise<void> => {
    watch()
    try {
      const headers = {Accept: 'text/event-stream', ...authorization(token)}
      const response = await fetch(url + path, {headers, cache: 'no-store', signal: abort.signal})
      if (response.status !== 200) throw await fault(response, clock)
      if (!response.headers.get('Content-Type')?.startsWith('text/event-stream') || !response.body) {
        throw new UnavailableError('not-a-broker', 'the answer is no event stream')
      }
      await read(response.body.getReader())
    } catch (error) {
      if (isSilent) throw await silence()
      throw error instanceof ReplError ? error : new UnavailableError('unreachable', `${error}`, error)
    } finally {
      cancelWatch()
      close()
    }
  }

  const read = async (reader: ReadableStreamDefaultReader<Uint8Array>): Promise<void> => {
    const feed = createParser(sink)
    for (;;) {
      const {done, value} = await reader.read()
      if (done) return
      heardAt = clock.now()
      if (!isHeard) {
        isHeard = true
        cancelWatch()
        watch()
      }
      feed(value)
      // Whoever reads too slowly slows the stream down: buffers fill on the way, and the broker waits.
      isPaused = true
      await sink.drained()
      isPaused = false
      heardAt = clock.now()
    }
  }

  /** Why nothing was heard. */
  const silence = async (): Promise<UnavailableError> => {
    if (isHeard) return new UnavailableError('stalled', 'the stream fell silent')
    const code = await ask(context, url, token, {path: '/livez'}).then(
      () => '',
      (error: ReplError) => error.code,
    )
    return code === 'unreachable' || code === 'timeout'
      ? new UnavailableError('timeout', 'the node does not answer')
      : new UnavailableError('buffered', 'the node answers, but its streams are held back by a proxy')
  }

  return {silenceMs, close, ended: run()}
}
