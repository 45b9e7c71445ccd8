import type {Feed} from '../feed.js'
import type {Gap, Message} from '../message.js'
import type {ClientOptions} from '../options.js'
import type {ConnectionState} from '../state.js'
import type {Sighting} from '../sighting.js'
import {guard, type Subscriber} from '../subscriber.js'
import {unpackError, unpackState, type Happening, type HubOptions, type ToHub, type ToTab} from './protocol.js'

/** A feed that is somewhere else, with a hub. */
export interface Remote extends Feed {
  /** From now on the hub is reached so. Whatever it says goes to `hear`. */
  attach(post: (message: ToHub) => void): void
  hear(message: ToTab): void
}

export function createRemote(options: ClientOptions, onClose: () => void): Remote {
  const subscribers = new Map<number, Subscriber>()
  const listeners = new Set<(state: ConnectionState) => void>()
  let post: (message: ToHub) => void = () => {}
  let [hub, count] = ['', 0]
  let state: ConnectionState = {kind: 'idle'}

  const become = (next: ConnectionState): void => {
    if (state.kind === 'closed') return
    state = next
    for (const listener of listeners) guard(() => listener(state))
  }

  /** Asks for a subscription: from where it is, if it has begun. */
  const ask = (at: number, {selection, from, cursor}: Subscriber): void =>
    post({kind: 'add', at, selection, from: cursor ? {after: cursor} : from})

  const happen = ([at, what, value]: Happening): void => {
    const subscriber = subscribers.get(at)
    if (!subscriber) return
    if (what === 'message') {
      subscriber.cursor = (value as Message).id
      subscriber.message(value as Message)
    } else if (what === 'ready') {
      subscriber.cursor = value as string | undefined
      subscriber.ready()
    } else if (what === 'seen') subscriber.seen(value as Sighting)
    else if (what === 'gap') subscriber.gap(value as Gap)
    else if (what === 'deleted') subscriber.deleted(value as string)
    else {
      subscribers.delete(at)
      subscriber.end(value === undefined ? undefined : unpackError(value))
    }
  }

  const tell = async (what: 'url' | 'token', reason = ''): Promise<unknown> => {
    const source: unknown = options[what]
    return typeof source === 'function' ? source(reason) : source
  }

  const hello = (): void => {
    const {keepAliveMs, answerMs, backoffMinMs, backoffMaxMs, token, as} = options
    const numbers = Object.entries({keepAliveMs, answerMs, backoffMinMs, backoffMaxMs}).filter(
      ([, number]) => number !== undefined,
    )
    const sent: HubOptions = {hasToken: token !== undefined, as, numbers: Object.fromEntries(numbers)}
    post({kind: 'hello', options: sent})
  }

  return {
    get state() {
      return state
    },
    onState(listener) {
      listeners.add(listener)
      return () => listeners.delete(listener)
    },
    add(subscriber) {
      if (state.kind === 'closed') return subscriber.end()
      subscribers.set(++count, subscriber)
      if (hub) ask(count, subscriber)
    },
    remove(subscriber) {
      for (const [at, one] of subscribers) {
        if (one !== subscriber) continue
        subscribers.delete(at)
        post({kind: 'remove', at})
      }
    },
    close() {
      post({kind: 'bye'})
      become({kind: 'closed'})
      for (const subscriber of subscribers.values()) guard(() => subscriber.end())
      subscribers.clear()
      onClose()
    },
    attach(next) {
      post = next
      hub = ''
      hello()
    },
    hear(message) {
      if (message.kind === 'welcome') {
        if (message.hub === hub) return
        hub = message.hub
        for (const [at, subscriber] of subscribers) ask(at, subscriber)
      }
      if (message.hub !== hub) return
      if (message.kind === 'state') become(unpackState(message.state))
      else if (message.kind === 'events') for (const event of message.events) guard(() => happen(event))
      else if (message.kind === 'ask') {
        const {id, what, reason} = message
        tell(what, reason).then(
          (value) => post({kind: 'answer', to: id, value}),
          (error) => post({kind: 'answer', to: id, error: String(error)}),
        )
      }
    },
  }
}
