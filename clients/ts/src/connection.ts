import {fault} from './answer.js'
import type {Context} from './context.js'
import {RefusedError, ReplError, UnavailableError} from './error.js'
import {ask, authorization} from './http.js'
import {createParser, type StreamEvent} from './parser.js'

/** A quiet stream may miss one sign of life: it may be on its way. */
const KEEP_ALIVES_MISSED_MAX = 2

/** What takes what comes over a connection. */
export interface ConnectionSink {
  event(event: StreamEvent): void
  /** Something was heard, and its events were given. The answer: when more can be taken, if not now. */
  heard(): Promise<unknown> | undefined
}

/** One stream from one node, until it breaks. */
export interface Connection {
  /** For how long nothing has been heard. */
  silenceMs(): number
  close(): void
  /**
   * Settles when it is closed here. Rejects with a `RefusedError` if the node will not serve this stream, however often
   * it is asked, and with an `UnavailableError` if it can't be reached, broke, or ended the stream.
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
  let [heardAt, retryMs] = [clock.now(), 0]
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
        throw new UnavailableError('not-a-broker', 'no event stream')
      }
      await read(response.body.getReader())
      throw new UnavailableError('ended', 'the node ended the stream')
    } catch (caught) {
      if (abort.signal.aborted && !isSilent) return
      const error = isSilent
        ? await silence()
        : caught instanceof ReplError
          ? caught
          : new UnavailableError('unreachable', `${caught}`, caught)
      if (error instanceof UnavailableError && !error.retryMs) Object.assign(error, {retryMs})
      throw error
    } finally {
      cancelWatch()
      close()
    }
  }

  const read = async (reader: ReadableStreamDefaultReader<Uint8Array>): Promise<void> => {
    const feed = createParser({event: sink.event, retry: (ms) => (retryMs = ms)})
    for (;;) {
      const {done, value} = await reader.read()
      // A `fetch` that was given may not heed the signal.
      if (done || abort.signal.aborted) return
      heardAt = clock.now()
      if (!isHeard) {
        isHeard = true
        cancelWatch()
        watch()
      }
      feed(value)
      // Whoever reads too slowly slows the stream down: buffers fill on the way, and the broker waits.
      isPaused = true
      await sink.heard()
      isPaused = false
      heardAt = clock.now()
    }
  }

  /** Why nothing was heard. */
  const silence = async (): Promise<UnavailableError> => {
    if (isHeard) return new UnavailableError('stalled', 'the stream fell silent')
    const answers = await ask(context, url, token, {path: '/livez'}).then(
      () => true,
      (error) => error instanceof RefusedError,
    )
    return answers
      ? new UnavailableError('buffered', 'a proxy holds back streams, not answers')
      : new UnavailableError('timeout', 'the node does not answer')
  }

  return {silenceMs, close, ended: run()}
}
