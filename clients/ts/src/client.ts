import {createContext, type Context} from './context.js'
import type {Feed} from './feed.js'
import type {Answer, Request} from './http.js'
import type {Acknowledgement, Message} from './message.js'
import type {ClientOptions, PlainOptions} from './options.js'
import {watchTopic, watchUsers, type Presence, type PresenceOptions, type UserStatus} from './presence.js'
import {publish, type PublishOptions} from './publish.js'
import {request} from './request.js'
import {check} from './schema.js'
import type {ConnectionState} from './state.js'
import {createStreams} from './streams.js'
import {subscribe, type MessageStream, type SubscribeOptions, type Subscription, type Wanted} from './subscription.js'
import {
  schemaOf,
  type InputOf,
  type MapOf,
  type NamesOf,
  type PatternOf,
  type Schemas,
  type TopicMap,
  type TopicOf,
  type ValueOf,
} from './topic-map.js'

/** The topics whose messages a subscription may bring. */
export type NamedIn<W> = W extends string
  ? W
  : W extends readonly (infer Name extends string)[]
    ? Name
    : W extends {readonly match: infer Patterns}
      ? NamesOf<Extract<Patterns extends readonly (infer Each)[] ? Each : Patterns, string>> | ListedIn<W>
      : string

/** The topics that stand beside patterns. */
export type ListedIn<W> = W extends {readonly topics: infer Topics} ? NamedIn<Topics> : never

/** The message of a topic. */
export type MessageOf<Map extends TopicMap, Name extends string> = Message<ValueOf<Map, Name>, Name>

/**
 * A broker, seen from an application. Nothing is open until something is subscribed; then all subscriptions share one
 * stream.
 */
export interface Client<Map extends TopicMap = TopicMap> {
  /** How it is connected. */
  readonly state: ConnectionState
  /** Told of every change of `state`. The answer ends that. */
  onState(listener: (state: ConnectionState) => void): () => void
  /** Calls back with each message. */
  subscribe<const W extends Wanted<TopicOf<Map>, PatternOf<Map>>>(
    wanted: W,
    handler: (message: MessageOf<Map, NamedIn<W>>) => void,
    options?: SubscribeOptions,
  ): Subscription
  /** To be read with `for await`. A reader who is slow slows down the whole stream, and loses nothing. */
  subscribe<const W extends Wanted<TopicOf<Map>, PatternOf<Map>>>(
    wanted: W,
    options?: SubscribeOptions,
  ): MessageStream<MessageOf<Map, NamedIn<W>>>
  /** Watches who reads a topic that has presence; not to be confused with reading it, by which one is a member. */
  presence<Data = unknown>(topic: TopicOf<Map>, options?: PresenceOptions<Data>): Presence<Data>
  /** Calls back with whether a user is a member of any topic, or each of several: at first, and whenever that changes. */
  status(
    users: string | readonly string[],
    handler: (status: UserStatus) => void,
    options?: Pick<SubscribeOptions, 'onError' | 'signal'>,
  ): Subscription
  /** Publishes a message: sends it, under one key, until it is stored or refused. */
  publish<Name extends TopicOf<Map>>(
    topic: Name,
    value: InputOf<Map, Name>,
    options?: PublishOptions,
  ): Promise<Acknowledgement>
  /** Anything else that the broker can do (see its `/openapi.json`): asks until a node answers. */
  request(request: Request): Promise<Answer>
  /**
   * The value, if it may be published to this topic.
   *
   * @throws {InvalidValueError} The topic's schema says that it may not.
   */
  check<Name extends TopicOf<Map>>(topic: Name, value: InputOf<Map, Name>): InputOf<Map, Name>
  /** Ends all subscriptions. What is being published goes on. */
  close(): void
}

/** A client whose topics are typed, and checked, by schemas. */
export function createClient<const Given extends Schemas>(
  options: ClientOptions & {readonly topics: Given},
): Client<MapOf<Given>>
/** A client; `createClient<{chat: ChatMessage}>(…)` types its topics. */
export function createClient<Map extends TopicMap = TopicMap>(options: PlainOptions): Client<Map>
export function createClient(options: ClientOptions): Client {
  const context = createContext(options)
  return assemble(options, context, createStreams(context))
}

/** Makes a client of its parts. */
export function assemble({topics, onGap}: ClientOptions, context: Context, feed: Feed): Client {
  const surroundings = {feed, schemas: topics, onGap}
  const client: Client = {
    get state() {
      return feed.state
    },
    onState: feed.onState,
    subscribe: (
      wanted: Wanted,
      handler?: ((message: never) => void) | SubscribeOptions,
      options?: SubscribeOptions,
    ) => {
      const isCalledBack = typeof handler === 'function'
      const take = isCalledBack ? (handler as (message: Message) => void) : undefined
      return subscribe(surroundings, wanted, take, (isCalledBack ? options : handler) ?? {}) as never
    },
    presence: (topic, options) => watchTopic(surroundings, topic, options as PresenceOptions) as never,
    status: (users, handler, options) => watchUsers(surroundings, [users].flat(), handler, options),
    publish: async (topic, value, options) => publish(client.request, topic, client.check(topic, value), options),
    request: (wanted) => request(context, wanted),
    check(topic, value) {
      // It is sent as it was given: if its schema transforms it, that is done where it is read.
      const schema = schemaOf(topics, topic)
      if (schema) check(schema, topic, value)
      return value
    },
    close() {
      feed.close()
      context.tokens.close()
    },
  }
  return client
}
