import type {Client} from './client.js'
import {RefusedError, ReplError} from './error.js'
import type {Acknowledgement} from './message.js'
import {messageJson, PUBLISH_PATIENCE_MS, randomKey, topicPath, type MessageOptions} from './publish.js'
import type {InputOf, TopicMap, TopicOf} from './topic-map.js'

/** The broker's bounds of a batch: lines, and bytes with a little left for line ends. */
const BATCH_LINES_MAX = 1_000
const BATCH_BYTES_MAX = 4 * 1024 * 1024 - 2 * BATCH_LINES_MAX

/** How a publisher collects. */
export interface PublisherOptions {
  /** Messages that are sent together, 1 to 1,000. Default 1,000. */
  readonly batchMax?: number
  /** How long a message may wait for company, in milliseconds. Default 0: for the end of the present tick. */
  readonly lingerMs?: number
  /** Messages that may wait; further ones are refused with `queue-full`. Default 100,000. */
  readonly queueMax?: number
  /** For how long a batch is tried, in milliseconds. Default: nine minutes, since the broker knows keys for ten. */
  readonly patienceMs?: number
  /** Gives up what is not acknowledged. It may be stored all the same. */
  readonly signal?: AbortSignal
}

/**
 * Publishes many messages of one topic, in the order in which they were given: what comes while a batch is under way is
 * the next one. Each message is stored once, and all of a batch or none.
 */
export interface Publisher<Value = unknown> {
  /** Settles when the message is on the disks of most nodes, or is given up. */
  publish(value: Value, options?: MessageOptions): Promise<Acknowledgement>
  /** Settles when nothing is under way any more, acknowledged or given up. */
  flush(): Promise<void>
}

interface Line {
  readonly text: string
  readonly bytes: number
  readonly resolve: (acknowledgement: Acknowledgement) => void
  readonly reject: (error: unknown) => void
}

/** Makes a publisher. */
export function createPublisher<Map extends TopicMap, Name extends TopicOf<Map>>(
  client: Client<Map>,
  topic: Name,
  {
    batchMax = BATCH_LINES_MAX,
    lingerMs = 0,
    queueMax = 100_000,
    patienceMs = PUBLISH_PATIENCE_MS,
    signal,
  }: PublisherOptions = {},
): Publisher<InputOf<Map, Name>> {
  const utf8 = new TextEncoder()
  const queue: Line[] = []
  let sending: Promise<void> | undefined

  /** The next batch: as many as may go together. */
  const take = (): Line[] => {
    let bytes = 0
    const end = queue.findIndex((line, n) => n >= batchMax || ((bytes += line.bytes) > BATCH_BYTES_MAX && n > 0))
    return queue.splice(0, end < 0 ? queue.length : end)
  }

  const send = async (lines: Line[]): Promise<void> => {
    try {
      const {body} = await client.request({
        method: 'POST',
        path: topicPath(topic),
        headers: {'Content-Type': 'application/x-ndjson'},
        body: lines.map(({text}) => text).join('\n'),
        signal,
        patienceMs,
      })
      const {messages} = body as {messages: Acknowledgement[]}
      lines.forEach(({resolve}, n) => resolve(messages[n] as Acknowledgement))
    } catch (error) {
      // One line that can't be stored holds up its batch: the others are sent without it.
      const at = error instanceof RefusedError ? Number(error.problem['line']) : NaN
      const refused = at > 0 ? lines.splice(at - 1, 1) : lines.splice(0)
      for (const {reject} of refused) reject(error)
      if (lines.length > 0) return send(lines)
    }
  }

  const sendAll = async (): Promise<void> => {
    await new Promise<void>((resolve) => (lingerMs > 0 ? setTimeout(resolve, lingerMs) : resolve()))
    while (queue.length > 0) await send(take())
    sending = undefined
  }

  return {
    publish: (value, {key = randomKey(), headers, type} = {}) =>
      new Promise((resolve, reject) => {
        if (queue.length >= queueMax) throw new ReplError('queue-full', `${queueMax} messages wait`)
        const text = messageJson({value: client.check(topic, value), headers, type, key})
        queue.push({text, bytes: utf8.encode(text).length + 1, resolve, reject})
        sending ??= sendAll()
      }),
    flush: async () => sending,
  }
}
