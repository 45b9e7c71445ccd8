import type {Clock} from './clock.js'
import type {Gap} from './message.js'
import type {UrlSource} from './nodes.js'
import type {Schemas} from './topic-map.js'
import type {TokenSource} from './token.js'

/** How a client finds the broker, and behaves. All times are in milliseconds. */
export interface ClientOptions {
  /**
   * Where the broker is: any node, several, a proxy in front of them, or a function that finds them (asked again when
   * none of those it named can be reached). Further members are learned from the cluster.
   */
  readonly url: UrlSource
  /** A bearer token, or a function that fetches one: at first, before it expires, and once when it is refused. */
  readonly token?: TokenSource
  /**
   * Who the user is, of a broker that asks nobody for a token (in development): a member of the topics that are subscribed by
   * name and have presence. Elsewhere the token says it.
   */
  readonly as?: string | undefined
  /** Schemas by topic or pattern: values are checked against them, and typed. */
  readonly topics?: Schemas
  /** Told of every gap for which the subscription has no `onGap` of its own. Without either, the console is. */
  readonly onGap?: (gap: Gap) => void
  /** How often the broker gives a sign of life on a quiet stream (its `--keep-alive`). Two without one end it. Default 15,000. */
  readonly keepAliveMs?: number
  /** For a node to answer. Default 10,000. */
  readonly answerMs?: number
  /** After a node's first failure it is left alone for a random time up to this; doubled with each further one. Default 200. */
  readonly backoffMinMs?: number
  /** Bound of the former. Default 15,000. */
  readonly backoffMaxMs?: number
  /** Stands in for the global one. */
  readonly fetch?: typeof globalThis.fetch
  /** Stands in for the machine's. */
  readonly clock?: Clock
}

/** The options of a client without schemas. */
export type PlainOptions = ClientOptions & {readonly topics?: undefined}
