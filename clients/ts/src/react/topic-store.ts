import type {Client, From, Gap, Message, SubscribeOptions, Subscription} from '../index.js'

/** What is shown: another object whenever it is something else. */
export interface View {
  readonly messages: readonly Message[]
  readonly isReady: boolean
  readonly gap: Gap | undefined
}

/** The last messages of one topic, in the form in which React reads what is outside of it. */
export interface TopicStore {
  /** Callbacks for what is not shown. */
  options: SubscribeOptions
  subscribe(onChange: () => void): () => void
  view(): View
  emptyView(): View
}

const EMPTY: View = {messages: [], isReady: false, gap: undefined}

export function createTopicStore(client: Client, topic: string, keep: number, start: string): TopicStore {
  const listeners = new Set<() => void>()
  let subscription: Subscription | undefined
  let view = EMPTY
  let isTold = true

  /** Messages that come together are shown together. */
  const change = (next: Partial<View>): void => {
    view = {...view, ...next}
    if (!isTold) return
    isTold = false
    queueMicrotask(() => {
      isTold = true
      for (const listener of listeners) listener()
    })
  }

  const open = (): Subscription => {
    // One that comes back goes on from where it was: React mounts components twice in its strict mode.
    const cursor = view.messages.at(-1)?.id
    const opened = client.subscribe(topic, (message) => change({messages: [...view.messages, message].slice(-keep)}), {
      from: cursor ? {after: cursor} : parseFrom(start),
      onGap(gap) {
        change({gap})
        store.options.onGap?.(gap)
      },
      onDeleted: (name) => store.options.onDeleted?.(name),
      ...(store.options.onError ? {onError: (error) => store.options.onError?.(error)} : {}),
    })
    opened.ready.then(
      () => change({isReady: true}),
      () => {},
    )
    return opened
  }

  const store: TopicStore = {
    options: {},
    subscribe(onChange) {
      listeners.add(onChange)
      subscription ??= open()
      return () => {
        listeners.delete(onChange)
        if (listeners.size > 0) return
        subscription?.unsubscribe()
        subscription = undefined
      }
    },
    view: () => view,
    emptyView: () => EMPTY,
  }
  return store
}

/** Reads what went through JSON. */
function parseFrom(text: string): From {
  const from = JSON.parse(text) as From | {since: string}
  return typeof from === 'object' && 'since' in from ? {since: new Date(from.since)} : from
}
