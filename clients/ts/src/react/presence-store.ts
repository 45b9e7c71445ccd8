import type {Client, Member, Presence} from '../index.js'

/** What is shown: another object whenever it is something else. */
export interface Present {
  /** In the order in which they came. */
  readonly members: readonly Member[]
  readonly isReady: boolean
}

/** The members of one topic, in the form in which React reads what is outside of it. */
export interface PresenceStore {
  subscribe(onChange: () => void): () => void
  view(): Present
  emptyView(): Present
}

const EMPTY: Present = {members: [], isReady: false}

export function createPresenceStore(client: Client, topic: string): PresenceStore {
  const listeners = new Set<() => void>()
  let presence: Presence | undefined
  let view = EMPTY

  const show = (members: ReadonlyMap<string, Member>): void => {
    const inOrder = [...members.values()].sort((one, other) => (one.since < other.since ? -1 : 1))
    view = {members: inOrder, isReady: true}
    for (const listener of listeners) listener()
  }

  return {
    subscribe(onChange) {
      listeners.add(onChange)
      presence ??= client.presence(topic, {onChange: show})
      return () => {
        listeners.delete(onChange)
        if (listeners.size > 0) return
        presence?.unsubscribe()
        presence = undefined
      }
    },
    view: () => view,
    emptyView: () => EMPTY,
  }
}
