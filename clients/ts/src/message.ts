import type {Cursor} from './cursor.js'

/** A message as the cluster keeps it. */
export interface Message<T = unknown, Topic extends string = string> {
  /** Its place in the cluster's one order: reading may go on behind it, on any node. */
  readonly id: Cursor
  readonly topic: Topic
  /** Its number within the topic: 1, 2, 3 … */
  readonly seq: number
  readonly value: T
  /** Strings that travel with it. */
  readonly headers: Readonly<Record<string, string>>
  /** RFC 3339, in milliseconds, by the leader's clock. */
  readonly createdAt: string
  /** What kind of message its publisher said it is. */
  readonly type?: string
}

/** What became of a publish: the message is on the disks of most nodes. */
export interface Acknowledgement {
  readonly id: Cursor
  readonly seq: number
  /** Whether it had been stored before under the same key: an earlier attempt had succeeded. */
  readonly repeated: boolean
}

/** Messages that a subscription will not get. */
export interface Gap {
  /** Where it wanted to go on. */
  readonly requested: Cursor
  /** The first message that it can still get. */
  readonly firstAvailable: Cursor
  /**
   * `retention`: they are older than what the topic keeps. `overrun`: the reader was slower than that. `epoch`: the
   * cursor is of another cluster. `recreated`: the topic was deleted, and another has its name.
   */
  readonly reason: 'retention' | 'overrun' | 'epoch' | 'recreated'
  /** The topics concerned; none if it could be any. */
  readonly topics: readonly string[]
}

/** What a topic keeps, whichever bound is reached first. */
export interface Retention {
  /** 0: none, the topic is live only. */
  readonly maxMessages?: number
  readonly maxBytes?: number
  readonly maxAgeSeconds?: number
}

/** A topic. */
export interface Topic {
  readonly name: string
  readonly messages: number
  readonly bytes: number
  /** The `seq` of the first message kept, or `nextSeq` if none is. */
  readonly firstSeq: number
  readonly nextSeq: number
  /** Streams on the node that answered. */
  readonly subscribers: number
  readonly retention: Required<Retention>
  /** Whether the cluster knows who reads it. */
  readonly presence: boolean
  readonly createdAt: string
}

/** A member of the cluster. */
export interface ClusterNode {
  readonly id: number
  readonly role: 'leader' | 'follower' | 'learner'
  readonly clientUrl: string
  /** For operators only. */
  readonly peerAddr?: string
  readonly state: 'up' | 'suspect' | 'down' | 'draining'
  /** How long nothing was heard of it; absent if it answers. */
  readonly silentMs?: number
  readonly applied: number
  /** Messages that it is behind the leader; absent if it has not been heard of lately. */
  readonly lag?: number
  /** The share of its processors that is in use, 0 to 1. */
  readonly cpu?: number
  /** Its processors; 0 if not known. */
  readonly cores: number
  readonly connections: number
  readonly version: string
}

/** The cluster as one node sees it. */
export interface Cluster {
  readonly cluster: string
  readonly leader: number | null
  readonly term: number
  readonly nodes: readonly ClusterNode[]
}
