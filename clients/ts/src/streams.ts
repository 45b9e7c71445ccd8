import type {Context} from './context.js'
import type {Feed} from './feed.js'
import {startKey, type From} from './selection.js'
import type {ConnectionState} from './state.js'
import {openStream, type Stream, type StreamOwner} from './stream.js'
import {guard, type Subscriber} from './subscriber.js'
import {listenToWorld} from './world.js'

/**
 * Streams at once, without the one that takes over. Browsers give six connections to a server that speaks HTTP/1.1, and
 * requests need one, too.
 */
const STREAMS_MAX = 3

/** Refusals that don't depend on what is subscribed: of whoever asks, and of everybody. */
const WHOLE = [401, 204]

/** Of several streams, the state of the worst is that of the client. */
const WORST_FIRST: readonly ConnectionState['kind'][] = ['offline', 'connecting', 'catching-up', 'live']

/**
 * The streams of a client: one, but for passing reasons. A change of what is subscribed opens a stream that takes over
 * from the present one when its first event is here; until then the present one goes on. Who wants history reads it over
 * a stream of his own, so that the others don't get it again, and joins them when he is up to date.
 */
export function createStreams(context: Context): Feed {
  const {nodes, tokens, keepAliveMs} = context
  const streams = new Set<Stream>()
  /** The stream that is about to take over. */
  let heir: Stream | undefined
  /** Those who have no stream yet. */
  const waiting = new Set<Subscriber>()
  const listeners = new Set<(state: ConnectionState) => void>()
  let state: ConnectionState = {kind: 'idle'}
  let [isSettling, isClosed] = [false, false]
  let forgetWorld: (() => void) | undefined

  const all = (): Stream[] => [...streams, ...(heir ? [heir] : [])]
  const members = (stream: Stream): Subscriber[] =>
    [stream, ...stream.replaces].flatMap(({subscribers}) => [...subscribers])
  const isLive = (stream: Stream): boolean => stream.state.kind === 'live'

  const become = (next: ConnectionState): void => {
    if (next === state || (next.kind === 'idle' && state.kind === 'idle')) return
    state = next
    for (const listener of listeners) guard(() => listener(state))
  }

  /** Changes within one tick become one. */
  const settleSoon = (): void => {
    if (isSettling) return
    isSettling = true
    queueMicrotask(() => {
      isSettling = false
      if (!isClosed) settle()
    })
  }

  /** Makes the streams what the subscribers need. */
  const settle = (): void => {
    for (const subscriber of waiting) place(subscriber)
    for (const stream of streams) {
      if (stream.subscribers.size > 0) continue
      stream.close()
      streams.delete(stream)
    }
    if (heir && !members(heir)[0]) {
      heir.close()
      heir = undefined
    }
    const live = [...streams].filter(isLive)
    const isDue = live[1] || live.some((stream) => stream.isOutdated || !stream.delivery.fits(stream.subscribers))
    if (isDue && !heir) {
      heir = openStream(context, owner, 'now', live)
      heir.preferred = live.flatMap(({preferred}) => preferred)
    }
    follow()
  }

  /** Gives a subscriber a stream, if there is one for him now. */
  const place = (subscriber: Subscriber): void => {
    const {from} = subscriber
    const [key, isNow] = [startKey(from), from === 'now']
    const same = [...streams].filter((stream) => startKey(stream.from) === key)
    const stream = (isNow && [...streams].find(isLive)) || same.find((stream) => stream.isFresh())
    // One that is on its way will be live soon. And not every newcomer can have a stream of his own.
    const mustWait = streams.size >= STREAMS_MAX || (isNow && same.some(({delivery}) => !delivery.cursor))
    if (!stream && mustWait) return
    waiting.delete(subscriber)
    const chosen = stream ?? openStream(context, owner, from, [])
    streams.add(chosen)
    chosen.add(subscriber)
  }

  /** All were refused, perhaps because of one: tries one half of them without the other. */
  const divide = (from: From, subscribers: readonly Subscriber[]): void => {
    const middle = subscribers.length >> 1
    for (const half of [subscribers.slice(0, middle), subscribers.slice(middle)]) {
      const stream = openStream(context, owner, from, [])
      for (const one of half) stream.add(one)
      streams.add(stream)
    }
  }

  /** Tells the state, and follows what happens to the machine while there are streams. */
  const follow = (): void => {
    const states = [...streams].map((stream) => stream.state)
    if (states[0]) {
      forgetWorld ??= listenToWorld(probe)
      become(WORST_FIRST.flatMap((kind) => states.filter((state) => state.kind === kind))[0] ?? states[0])
    } else {
      forgetWorld?.()
      forgetWorld = undefined
      if (state.kind !== 'denied') become({kind: 'idle'})
    }
  }

  /** The network is another (`isNew`), or the page was asleep. */
  const probe = (isNew: boolean): void => {
    nodes.forgive()
    for (const stream of all()) stream.wake(isNew)
    for (const stream of streams) if (isNew || stream.silenceMs() > keepAliveMs) stream.renew()
  }

  const owner: StreamOwner = {
    opened(stream) {
      if (stream !== heir) return
      for (const replaced of stream.replaces) streams.delete(replaced)
      stream.takeOver()
      streams.add(stream)
      heir = undefined
    },
    changed: settleSoon,
    refused(stream, error) {
      // Those whom the present streams serve go on with them: it may be what is new that is refused.
      const lost = members(stream).filter((one) => !stream.replaces.some(({delivery}) => delivery.has(one)))
      for (const replaced of stream.replaces) replaced.isOutdated = false
      for (const one of lost) {
        one.floor ??= stream.delivery.cursor
        feed.remove(one)
      }
      if (stream === heir) heir = undefined
      streams.delete(stream)
      if (lost.length > 1 && !WHOLE.includes(error.status)) return divide(stream.from, lost)
      for (const one of lost) guard(() => one.end(error))
      if (streams.size === 0) become({kind: 'denied', error})
    },
  }

  const feed: Feed = {
    get state() {
      return state
    },
    onState(listener) {
      listeners.add(listener)
      return () => listeners.delete(listener)
    },
    add(subscriber) {
      if (isClosed) return subscriber.end()
      waiting.add(subscriber)
      settleSoon()
    },
    remove(subscriber) {
      waiting.delete(subscriber)
      for (const stream of all()) stream.remove(subscriber)
      settleSoon()
    },
    close() {
      isClosed = true
      const subscribers = new Set([...waiting, ...all().flatMap(members)])
      for (const stream of all()) stream.close()
      streams.clear()
      forgetWorld?.()
      become({kind: 'closed'})
      for (const subscriber of subscribers) guard(() => subscriber.end())
    },
  }
  tokens.onRenewed = () => {
    for (const stream of streams) stream.renew()
  }
  return feed
}
