import {createContext} from '../context.js'
import {UnavailableError} from '../error.js'
import type {Feed} from '../feed.js'
import {randomKey} from '../publish.js'
import {createStreams} from '../streams.js'
import type {Subscriber} from '../subscriber.js'
import {packError, packState, type Happening, type HubOptions, type ToHub, type ToTab} from './protocol.js'

/** Where a hub reaches its tabs. */
export type Post = (tab: string, message: ToTab) => void

/** A tab, as the hub sees it. */
interface Tab {
  readonly subscribers: Map<number, Subscriber>
  /** What it is told at the end of this tick. */
  events: Happening[]
  /** What it was asked. */
  readonly asked: Map<number, {resolve: (value: never) => void; reject: (error: Error) => void}>
}

/** For a tab to answer. It may have to ask its user. */
const ANSWER_MS = 60_000

/** The one that holds the streams for all tabs: in a shared worker, or in one of the tabs. */
export interface Hub {
  /** Takes what a tab says. */
  hear(tab: string, message: ToHub): void
  close(): void
}

export function createHub(post: Post): Hub {
  const hub = randomKey()
  const tabs = new Map<string, Tab>()
  let [feed, asked]: [Feed | undefined, number] = [undefined, 0]

  /** Asks one of the tabs; if it goes away meanwhile, or is frozen, whoever wants to know tries again with another. */
  const ask = <T>(what: 'url' | 'token', reason?: string): Promise<T> =>
    new Promise((resolve, reject) => {
      const [name, tab] = [...tabs][++asked % tabs.size] ?? []
      if (!name || !tab) throw new UnavailableError('no-way', 'there is no tab to ask')
      tab.asked.set(asked, {resolve, reject})
      setTimeout(() => reject(new UnavailableError('no-way', 'the tab does not answer')), ANSWER_MS)
      post(name, {kind: 'ask', hub, id: asked, what, ...(reason ? {reason} : {})})
    })

  const open = ({hasToken, as, numbers}: HubOptions): Feed => {
    const token = hasToken ? {token: (reason: string) => ask<string>('token', reason)} : {}
    const opened = createStreams(createContext({...numbers, ...token, as, url: () => ask<string[]>('url')}))
    opened.onState((state) => {
      for (const name of tabs.keys()) post(name, {kind: 'state', hub, state: packState(state)})
    })
    return opened
  }

  const join = (name: string): Tab => {
    const tab: Tab = {subscribers: new Map(), events: [], asked: new Map()}
    tabs.set(name, tab)
    // The tab holds this lock for as long as it lives.
    void navigator.locks.request(lockOf(name), () => leave(name))
    return tab
  }

  const leave = (name: string): void => {
    const tab = tabs.get(name)
    tabs.delete(name)
    for (const subscriber of tab?.subscribers.values() ?? []) feed?.remove(subscriber)
    for (const {reject} of tab?.asked.values() ?? []) reject(new UnavailableError('no-way', 'the tab was closed'))
  }

  /** A subscription of a tab, which is told of everything at the end of each tick. */
  const represent = (name: string, tab: Tab, {at, selection, from}: ToHub & {kind: 'add'}): Subscriber => {
    const tell = (what: Happening[1], value?: unknown): void => {
      if (tab.events.push([at, what, value]) > 1) return
      queueMicrotask(() => {
        const events = tab.events
        tab.events = []
        post(name, {kind: 'events', hub, events})
      })
    }
    const subscriber: Subscriber = {
      selection,
      from,
      cursor: undefined,
      floor: typeof from === 'object' && 'after' in from ? from.after : undefined,
      message: (message) => tell('message', message),
      seen: (sighting) => tell('seen', sighting),
      gap: (gap) => tell('gap', gap),
      deleted: (topic) => tell('deleted', topic),
      ready: () => tell('ready', subscriber.cursor),
      end: (error) => tell('end', error && packError(error)),
      drained: () => undefined,
    }
    return subscriber
  }

  return {
    hear(name, message) {
      const tab = tabs.get(name) ?? (message.kind === 'hello' ? join(name) : undefined)
      if (message.kind === 'hello') {
        feed ??= open(message.options)
        post(name, {kind: 'welcome', hub})
        post(name, {kind: 'state', hub, state: packState(feed.state)})
      }
      if (!tab) return
      if (message.kind === 'add') {
        const subscriber = represent(name, tab, message)
        tab.subscribers.set(message.at, subscriber)
        feed?.add(subscriber)
      } else if (message.kind === 'remove') {
        const subscriber = tab.subscribers.get(message.at)
        tab.subscribers.delete(message.at)
        if (subscriber) feed?.remove(subscriber)
      } else if (message.kind === 'answer') {
        const waiting = tab.asked.get(message.to)
        tab.asked.delete(message.to)
        if (message.error === undefined) waiting?.resolve(message.value as never)
        else waiting?.reject(new Error(message.error))
      } else if (message.kind === 'bye') leave(name)
    },
    close: () => feed?.close(),
  }
}

/** The lock that a tab holds while it lives. */
export function lockOf(tab: string): string {
  return `repl tab ${tab}`
}
