import {RefusedError, ReplError, UnavailableError, type Trouble} from '../error.js'
import type {From, Selection} from '../selection.js'
import type {ConnectionState} from '../state.js'
import type {ClientOptions} from '../options.js'

/** What a tab tells the hub. */
export type ToHub =
  /** It is there. `options` are those that can be sent; the rest is asked for. */
  | {readonly kind: 'hello'; readonly options: HubOptions}
  | {readonly kind: 'add'; readonly at: number; readonly selection: Selection; readonly from: From}
  | {readonly kind: 'remove'; readonly at: number}
  | {readonly kind: 'answer'; readonly to: number; readonly value?: unknown; readonly error?: string}
  | {readonly kind: 'bye'}

/** What the hub tells a tab. `hub` names it: who speaks for a hub that is gone is not heard. */
export type ToTab =
  /** It is there, and knows nothing of the tab. */
  | {readonly kind: 'welcome'; readonly hub: string}
  | {readonly kind: 'state'; readonly hub: string; readonly state: Plain}
  /** What happened to subscriptions, in order. */
  | {readonly kind: 'events'; readonly hub: string; readonly events: readonly Happening[]}
  /** It wants to know something that only a tab can tell. */
  | {
      readonly kind: 'ask'
      readonly hub: string
      readonly id: number
      readonly what: 'url' | 'token'
      readonly reason?: string
    }

/** Which subscription, what of a `Subscriber` is to be called, and with what. */
export type Happening = readonly [
  at: number,
  what: 'message' | 'seen' | 'gap' | 'deleted' | 'ready' | 'end',
  value?: unknown,
]

/** The options that can be sent. */
export interface HubOptions {
  readonly hasToken: boolean
  readonly as?: string | undefined
  readonly numbers: Pick<ClientOptions, 'keepAliveMs' | 'answerMs' | 'backoffMinMs' | 'backoffMaxMs'>
}

/** Something that can be sent. */
type Plain = Readonly<Record<string, unknown>>

/** A state as it can be sent: errors lose their class on the way. */
export function packState(state: ConnectionState): Plain {
  return 'error' in state ? {...state, error: packError(state.error)} : {...state}
}

export function unpackState(state: Plain): ConnectionState {
  return ('error' in state ? {...state, error: unpackError(state['error'])} : state) as unknown as ConnectionState
}

export function packError(error: ReplError): Plain {
  return {...error, code: error.code, message: error.message.slice(error.code.length + 2)}
}

export function unpackError(packed: unknown): ReplError {
  const {code, message, status, problem, retryMs} = packed as {
    code: string
    message: string
    status?: number
    problem?: Record<string, unknown>
    retryMs?: number
  }
  if (problem) return new RefusedError(status as number, problem)
  return retryMs === undefined
    ? new ReplError(code, message)
    : new UnavailableError(code as Trouble, message, undefined, retryMs)
}
