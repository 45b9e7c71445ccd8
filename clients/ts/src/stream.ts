import {persist} from './attempt.js'
import {connect, type Connection, type ConnectionSink} from './connection.js'
import type {Context} from './context.js'
import {isAfter, type Cursor} from './cursor.js'
import {createDelivery, parse, type Delivery} from './delivery.js'
import type {RefusedError, ReplError} from './error.js'
import {streamPath, type From} from './selection.js'
import type {ConnectionState} from './state.js'
import type {Subscriber} from './subscriber.js'

/** What a stream tells its owner. */
export interface StreamOwner {
  /** The first event of a connection is here, and not given to anybody yet. */
  opened(stream: Stream): void
  /** Its state is another, or it shall be replaced. */
  changed(): void
  /** The broker will not serve it, however often it is asked. It has ended. */
  refused(stream: Stream, error: RefusedError): void
}

/**
 * One stream, for all of its subscribers, kept going from cursor to cursor over however many connections and nodes. What
 * it reads is fixed while it is connected: to read something else without a hole, another stream is opened that takes
 * over from it.
 */
export interface Stream {
  readonly subscribers: Set<Subscriber>
  /** Those whose messages come over the present connection. */
  readonly delivery: Delivery
  /** Where it starts, as long as it has no cursor. */
  readonly from: From
  /** The streams that it takes over from, until it has. */
  replaces: readonly Stream[]
  state: ConnectionState
  /** The node it is at, or was last. */
  url: string
  /** It shall be replaced, although it works, */
  isOutdated: boolean
  /** and by one that is at one of these nodes, if one of them can be reached. */
  preferred: readonly string[]
  /** Whether it starts with a connection that is not under way yet. */
  isFresh(): boolean
  /** For how long it has been silent. */
  silenceMs(): number
  /** Gives it a subscriber. One that comes while it is live goes on from where the others are. */
  add(subscriber: Subscriber): void
  remove(subscriber: Subscriber): void
  /** Makes it outdated. */
  renew(preferred?: readonly string[]): void
  /** Goes on in place of the streams that it replaces. */
  takeOver(): void
  /** If it waits, it waits no longer; if it is on its way over a network that is gone, it sets out again. */
  wake(isNew: boolean): void
  close(): void
}

/** Starts at the end of the tick, with all subscribers that it has then. */
export function openStream(context: Context, owner: StreamOwner, from: From, replaces: readonly Stream[]): Stream {
  const {clock} = context
  const delivery = createDelivery()
  const subscribers = new Set<Subscriber>()
  const abort = new AbortController()
  const {signal} = abort
  let connection: Connection | undefined
  let attempts = 0
  let [wake, cancelMove] = [(): void => {}, (): void => {}]

  const become = (state: ConnectionState): void => {
    stream.state = state
    if (!signal.aborted) owner.changed()
  }

  /** Starts from where the one who has least is; the others know what they have had. */
  const begin = (): string => {
    for (const subscriber of subscribers) subscriber.floor ??= delivery.cursor
    const served = new Set<Subscriber>()
    let least: Cursor | undefined
    for (const source of [stream, ...stream.replaces]) {
      for (const subscriber of source.subscribers) {
        served.add(subscriber)
        const place = subscriber.floor ?? source.delivery.cursor
        if (place && (!least || isAfter(least, place))) least = place
      }
    }
    return streamPath(delivery.begin(served, least), least ? {after: least} : from, context.as)
  }

  const sink = (served: () => void): ConnectionSink => {
    let hasOpened = false
    return {
      event({type, data, id}) {
        if (signal.aborted) return
        if (!hasOpened) {
          hasOpened = true
          attempts = 0
          owner.opened(stream)
          become({kind: 'catching-up', url: stream.url})
        }
        if (type === 'repl.move') {
          const {nodes, withinMs} = parse(data) as {nodes: string[]; withinMs: number}
          context.nodes.avoid(stream.url)
          // Spread over the first third: in the second half the node closes who is still there.
          cancelMove = clock.after((clock.random() * withinMs) / 3, () => stream.renew(nodes))
        }
        if (type === 'repl.ready') become({kind: 'live', url: stream.url})
        delivery.give(type, data, id)
      },
      heard() {
        if (hasOpened) served()
        return delivery.drained()
      },
    }
  }

  const attempt = async (url: string, token: string | undefined, served: () => void): Promise<void> => {
    stream.url = url
    stream.preferred = []
    stream.isOutdated = false
    // It is that from the beginning.
    if (attempts > 0 || stream.state.kind !== 'connecting') become({kind: 'connecting', attempt: attempts})
    attempts++
    connection = connect(context, url, begin(), token, sink(served))
    try {
      await connection.ended
    } finally {
      connection = undefined
      cancelMove()
    }
  }

  const pause = (ms: number, error: ReplError): Promise<void> => {
    become({kind: 'offline', retryMs: ms, error})
    return new Promise((resolve) => {
      const cancel = clock.after(ms, resolve)
      wake = () => {
        cancel()
        resolve()
      }
    })
  }

  const run = async (): Promise<void> => {
    try {
      // A connection that was closed here is replaced by another, or has been the last.
      while (!signal.aborted) await persist(context, {attempt, pause, preferred: () => stream.preferred, signal})
    } catch (error) {
      if (!signal.aborted) owner.refused(stream, error as RefusedError)
    }
  }

  const stream: Stream = {
    subscribers,
    delivery,
    from,
    replaces,
    state: {kind: 'connecting', attempt: 0},
    url: '',
    isOutdated: false,
    preferred: [],
    isFresh: () => !connection && !delivery.cursor,
    silenceMs: () => connection?.silenceMs() ?? 0,
    add(subscriber) {
      subscribers.add(subscriber)
      if (stream.state.kind !== 'live') return
      if (delivery.add(subscriber)) subscriber.ready()
      else subscriber.floor = delivery.cursor
    },
    remove(subscriber) {
      subscribers.delete(subscriber)
      delivery.remove(subscriber)
    },
    renew(preferred = []) {
      Object.assign(stream, {isOutdated: true, preferred})
      owner.changed()
    },
    takeOver() {
      for (const replaced of stream.replaces) {
        replaced.close()
        for (const subscriber of replaced.subscribers) {
          subscriber.floor ??= replaced.delivery.cursor
          subscribers.add(subscriber)
          // Those who came while it was on its way. Who wants something else waits for the next stream.
          delivery.add(subscriber)
        }
      }
      stream.replaces = []
    },
    wake(isNew) {
      if (isNew && stream.state.kind !== 'live') connection?.close()
      wake()
    },
    close() {
      abort.abort()
      connection?.close()
      wake()
    },
  }
  queueMicrotask(() => void run())
  return stream
}
