import {
  createContext,
  createElement,
  useCallback,
  useContext,
  useEffect,
  useMemo,
  useSyncExternalStore,
  type FunctionComponent,
  type ReactNode,
} from 'react'

import type {
  Client,
  ConnectionState,
  Gap,
  InputOf,
  Member,
  MessageOf,
  SubscribeOptions,
  TopicMap,
  TopicOf,
} from '../index.js'
import {createPresenceStore, type PresenceStore} from './presence-store.js'
import {createTopicStore, type TopicStore} from './topic-store.js'

/** The broker gives no more of the last messages at once. */
const LAST_MAX = 1_000

const Context = createContext<Client | undefined>(undefined)

/** Gives a client to all components inside. */
export const ReplProvider: FunctionComponent<{
  // A client of any topics: which ones is said where it is used.
  readonly client: Pick<Client, keyof Client>
  readonly children?: ReactNode
}> = ({client, children}) => createElement(Context.Provider, {value: client}, children)

/** The client of the provider around. */
export function useClient<Map extends TopicMap = TopicMap>(): Client<Map> {
  const client = useContext(Context)
  if (!client) throw new Error('there is no ReplProvider around this component')
  return client as Client<Map>
}

/** How the client is connected. On a server: `idle`. */
export function useConnection(): ConnectionState {
  const client = useClient()
  return useSyncExternalStore(client.onState, () => client.state, idle)
}

const IDLE: ConnectionState = {kind: 'idle'}
const idle = (): ConnectionState => IDLE

/** What a component shows of a topic. */
export interface TopicOptions extends Pick<SubscribeOptions, 'from' | 'onGap' | 'onDeleted' | 'onError'> {
  /** Messages that are kept for the component: the last so many. Default 100. */
  readonly keep?: number
}

/** A topic, as a component sees it. */
export interface TopicView<Message, Input> {
  /** The oldest first. */
  readonly messages: readonly Message[]
  /** Whether all that was kept, as far as it was asked for, is here. */
  readonly isReady: boolean
  /** Messages are missing: the last gap, if there was one. */
  readonly gap: Gap | undefined
  readonly publish: (value: Input) => Promise<unknown>
}

/**
 * The last messages of a topic. Starts with what is kept, as many as `keep`, unless `from` says otherwise; a component
 * that names another topic starts anew.
 */
export function useTopic<Map extends TopicMap = TopicMap, Name extends TopicOf<Map> = TopicOf<Map>>(
  topic: Name,
  {keep = 100, ...options}: TopicOptions = {},
): TopicView<MessageOf<Map, Name>, InputOf<Map, Name>> {
  const client = useClient<Map>()
  const start = JSON.stringify(options.from ?? {last: Math.min(keep, LAST_MAX)})
  const store: TopicStore = useMemo(
    () => createTopicStore(client as Client, topic, keep, start),
    [client, topic, keep, start],
  )
  // They may be made anew for each rendering: the latest are used.
  useEffect(() => store.tell(options))
  const view = useSyncExternalStore(store.subscribe, store.view, store.emptyView)
  const publish = useCallback((value: InputOf<Map, Name>) => client.publish(topic, value), [client, topic])
  return {...view, publish} as TopicView<MessageOf<Map, Name>, InputOf<Map, Name>>
}

/** Who is there, as a component sees it. */
export interface PresenceView<Data = unknown> {
  /** In the order in which they came. */
  readonly members: readonly Member<Data>[]
  /** Whether it is known who is there. */
  readonly isReady: boolean
}

/** The members of a topic that has presence. Whoever only watches them is none: that comes of `useTopic`. */
export function usePresence<Data = unknown>(topic: string): PresenceView<Data> {
  const client = useClient()
  const store: PresenceStore = useMemo(() => createPresenceStore(client, topic), [client, topic])
  return useSyncExternalStore(store.subscribe, store.view, store.emptyView) as PresenceView<Data>
}
