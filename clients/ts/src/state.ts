import type {ReplError} from './error.js'

/** How a client is connected. */
export type ConnectionState =
  /** Nothing is subscribed, so nothing is open. */
  | {readonly kind: 'idle'}
  /** On the way to a node; `attempt` counts from 0. */
  | {readonly kind: 'connecting'; readonly attempt: number}
  /** Connected; what was missed, or asked for, is coming in. */
  | {readonly kind: 'catching-up'; readonly url: string}
  /** Connected and up to date: messages arrive as they are published. */
  | {readonly kind: 'live'; readonly url: string}
  /** Waiting before the next attempt, because of `error`. Nothing is lost meanwhile. */
  | {readonly kind: 'offline'; readonly retryMs: number; readonly error: ReplError}
  /** The broker refused what was subscribed, and those subscriptions have ended. A new one tries again. */
  | {readonly kind: 'denied'; readonly error: ReplError}
  /** Closed by `close()`. */
  | {readonly kind: 'closed'}
