import type {Subscriber} from './subscriber.js'
import type {ConnectionState} from './state.js'

/** What feeds the subscriptions of a client: its own streams, or those of another tab. */
export interface Feed {
  readonly state: ConnectionState
  /** Told of every change of state; the answer ends that. */
  onState(listener: (state: ConnectionState) => void): () => void
  add(subscriber: Subscriber): void
  remove(subscriber: Subscriber): void
  close(): void
}
