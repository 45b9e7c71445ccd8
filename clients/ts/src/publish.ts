import type {Answer, Request} from './http.js'
import type {Acknowledgement} from './message.js'

/**
 * For how long a publish is tried unless said otherwise. The broker remembers keys for ten minutes; trying longer could
 * store a message twice.
 */
export const PUBLISH_PATIENCE_MS = 9 * 60_000

/** What goes with a value. */
export interface MessageOptions {
  /**
   * The message is stored once under this key, however often it is sent. Default: one at random. A key of your own makes
   * publishes safe to repeat over reloads and restarts, for ten minutes.
   */
  readonly key?: string
  /** Strings that travel with it. */
  readonly headers?: Readonly<Record<string, string>>
  /** What kind of message it is: the name of its event in a bare `EventSource`. */
  readonly type?: string
}

/** How to publish. */
export interface PublishOptions extends MessageOptions {
  /** Gives up. The message may be stored all the same. */
  readonly signal?: AbortSignal
  /** For how long it is tried, in milliseconds. Default: nine minutes, since the broker knows keys for ten. */
  readonly patienceMs?: number
}

/** Publishes one message, and waits until it is on the disks of most nodes. */
export async function publish(
  request: (request: Request) => Promise<Answer>,
  topic: string,
  value: unknown,
  {key = randomKey(), headers, type, signal, patienceMs = PUBLISH_PATIENCE_MS}: PublishOptions = {},
): Promise<Acknowledgement> {
  const {status, body} = await request({
    method: 'POST',
    path: topicPath(topic),
    headers: {'Content-Type': 'application/json', 'Idempotency-Key': key},
    body: messageJson({value, headers, type}),
    signal,
    patienceMs,
  })
  const {id, seq} = body as Acknowledgement
  return {id, seq, repeated: status === 200}
}

/** Where a topic is. */
export function topicPath(topic: string): string {
  return `/topics/${encodeURIComponent(topic)}`
}

/** A message as the broker takes it. There is no `undefined` in JSON: as a value it is `null`, elsewhere it is left out. */
export function messageJson({value = null, ...rest}: {value: unknown; [name: string]: unknown}): string {
  return JSON.stringify({value, ...rest})
}

/** 128 bits at random. `randomUUID` is missing in pages that were not served over TLS. */
export function randomKey(): string {
  return Array.from(crypto.getRandomValues(new Uint32Array(4)), (word) => word.toString(36)).join('')
}
