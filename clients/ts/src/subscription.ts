import type {Cursor} from './cursor.js'
import {InvalidValueError, ReplError} from './error.js'
import type {Feed} from './feed.js'
import type {Gap, Message} from './message.js'
import {check, type Schema} from './schema.js'
import type {From, Selection} from './selection.js'
import type {Sighting} from './sighting.js'
import {report, type Subscriber} from './subscriber.js'
import {schemaOf, type Schemas} from './topic-map.js'

/** What to subscribe to: a topic, several, or patterns over their names, in which `*` is one level and a final `**` the rest. */
export type Wanted<Name extends string = string, Pattern extends string = string> =
  Name | readonly Name[] | {readonly topics?: Name | readonly Name[]; readonly match: Pattern | readonly Pattern[]}

/** How to subscribe. */
export interface SubscribeOptions {
  /** Default `now`. */
  readonly from?: From
  /** Messages are missing, in front of the next one. */
  readonly onGap?: (gap: Gap) => void
  /** A topic was deleted. The subscription has it again once it is created. */
  readonly onDeleted?: (topic: string) => void
  /**
   * A value was left out because it is not what its schema says, or the broker has refused the subscription and it is
   * over. Without this, the error is reported as uncaught; the second, only if nobody reads messages with `for await`.
   */
  readonly onError?: (error: ReplError) => void
  /** Ends the subscription. */
  readonly signal?: AbortSignal
}

/** Topics that somebody listens to, until he unsubscribes. */
export interface Subscription {
  /** Settles when it is up to date: what was kept, as far as it was asked for, has come. Rejects if it ends before. */
  readonly ready: Promise<void>
  /** The last place it knows. Another subscription can go on `{after: cursor}`. */
  readonly cursor: Cursor | undefined
  unsubscribe(): void
}

/** A subscription whose messages are read with `for await`. Leaving the loop unsubscribes. */
export interface MessageStream<M extends Message = Message> extends Subscription, AsyncIterable<M> {
  [Symbol.asyncIterator](): AsyncIterator<M, void>
}

/** Messages that wait for their reader before the stream is slowed down. */
const WAITING_MAX = 1_000

/** What the client gives to each of its subscriptions. */
export interface Surroundings {
  readonly feed: Feed
  readonly schemas: Schemas | undefined
  readonly onGap: ((gap: Gap) => void) | undefined
}

/** Whose presence is watched, and who is told. */
export interface Watching extends Pick<Selection, 'presence' | 'users'> {
  /** Whether somebody is called back: whoever is not, learns of the end elsewhere. */
  readonly isCalledBack: boolean
  seen(sighting: Sighting): void
  ended(): void
}

/** A subscription, as those see it that are made of one. */
export interface Ending {
  /** Why it has ended; `true` if it was to. */
  end(): ReplError | true | undefined
}

export function subscribe(
  {feed, schemas, onGap = warn}: Surroundings,
  wanted: Wanted,
  handler: ((message: Message) => void) | undefined,
  options: SubscribeOptions,
  watching?: Watching,
): MessageStream & Ending {
  const {from = 'now', signal, onError = report} = options
  const {topics = [], match = []} = typeof wanted === 'object' && 'match' in wanted ? wanted : {topics: wanted}
  /** Messages for who reads the iterator, */
  const queue: Message[] = []
  /** what he waits for, */
  let coming: Promise<void> | undefined
  let wake = (): void => {}
  /** and what the stream waits for. */
  let room: Promise<void> | undefined
  let relieve = (): void => {}
  let end: ReplError | true | undefined
  let resolve!: () => void
  let reject!: (error: ReplError) => void
  const ready = new Promise<void>((...settle) => ([resolve, reject] = settle))
  // Not everybody waits for it, and who does not hears of the end elsewhere.
  ready.catch(() => {})

  const subscriber: Subscriber = {
    selection: {
      topics: [topics].flat(),
      patterns: [match].flat(),
      presence: watching?.presence ?? [],
      users: watching?.users ?? [],
    },
    from,
    cursor: undefined,
    floor: typeof from === 'object' && 'after' in from ? from.after : undefined,
    message(message) {
      if (end) return
      const schema = schemaOf(schemas, message.topic)
      const valid = schema ? validate(schema, message, onError) : message
      if (!valid) return
      if (handler) return handler(valid)
      queue.push(valid)
      wake()
    },
    seen: (sighting) => end || watching?.seen(sighting),
    gap: (gap) => end || (options.onGap ?? onGap)(gap),
    deleted: (topic) => end || options.onDeleted?.(topic),
    ready: () => resolve(),
    end(error) {
      if (end) return
      close(error ?? true)
      reject(error ?? new ReplError('closed', 'the client was closed'))
      // Who reads a loop is told there.
      if (error && (handler || watching?.isCalledBack || options.onError)) onError(error)
    },
    drained() {
      if (queue.length < WAITING_MAX || end) return undefined
      // One for all streams that wait.
      return (room ??= new Promise((resolve) => (relieve = resolve)))
    },
  }

  const close = (why: ReplError | true): void => {
    end ??= why
    signal?.removeEventListener('abort', unsubscribe)
    wake()
    relieve()
    watching?.ended()
  }
  const unsubscribe = (): void => {
    if (end) return
    feed.remove(subscriber)
    queue.length = 0
    close(true)
    reject(new ReplError('closed', 'unsubscribed'))
  }

  const reader: AsyncIterator<Message, void> = {
    async next() {
      for (;;) {
        const value = queue.shift()
        if (value) return {value}
        room = undefined
        relieve()
        if (end) {
          const error = end
          end = true
          if (error !== true) throw error
          return {done: true, value: undefined}
        }
        await (coming ??= new Promise((resolve) => {
          wake = () => {
            coming = undefined
            resolve()
          }
        }))
      }
    },
    async return() {
      unsubscribe()
      return {done: true, value: undefined}
    },
  }

  if (signal?.aborted) unsubscribe()
  else feed.add(subscriber)
  signal?.addEventListener('abort', unsubscribe)
  return {
    ready,
    get cursor() {
      return subscriber.cursor
    },
    unsubscribe,
    end: () => end,
    [Symbol.asyncIterator]: () => reader,
  }
}

function validate(schema: Schema, message: Message, onError: (error: ReplError) => void): Message | undefined {
  try {
    return {...message, value: check(schema, message.topic, message.value)}
  } catch (error) {
    if (!(error instanceof InvalidValueError)) throw error
    onError(error)
    return undefined
  }
}

function warn(gap: Gap): void {
  console.warn('repl: messages are missing, and nobody listens to onGap', gap)
}
