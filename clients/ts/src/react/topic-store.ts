import type {Client, From, Gap, Message, ReplError, SubscribeOptions, Subscription} from '../index.js'

/** What is shown: another object whenever it is something else. */
export interface View {
  readonly messages: readonly Message[]
  readonly isReady: boolean
  readonly gap: Gap | undefined
}

/** The last messages of one topic, in the form in which React reads what is outside of it. */
export interface TopicStore {
  /** From now on these callbacks are told of what is not shown. */
  tell(options: SubscribeOptions): void
  subscribe(onChange: () => void): () => void
  view(): View
  emptyView(): View
}

const EMPTY: View = {messages: [], isReady: false, gap: undefined}

export function createTopicStore(client: Client, topic: string, keep: number, start: string): TopicStore {
  const listeners = new Set<() => void>()
  let subscription: Subscription | undefined
  let options: SubscribeOptions = {}
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
        options.onGap?.(gap)
      },
      onDeleted: (name) => options.onDeleted?.(name),
      ...(options.onError ? {onError: (error: ReplError) => options.onError?.(error)} : {}),
    })
    opened.ready.then(
      () => change({isReady: true}),
      () => {},
    )
    return opened
  }

  return {
    tell(next) {
      options = next
    },
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
}

/** Reads what went through JSON. */
function parseFrom(text: string): From {
  const from = JSON.parse(text) as From | {since: string}
  return typeof from === 'object' && 'since' in from ? {since: new Date(from.since)} : from
}
