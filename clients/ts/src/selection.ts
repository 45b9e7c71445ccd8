import type {Cursor} from './cursor.js'
import {matches} from './pattern.js'
import type {Sighting} from './sighting.js'

/** Topics by name, and patterns over names; and whose presence is watched: members of topics, and users. */
export interface Selection {
  readonly topics: readonly string[]
  readonly patterns: readonly string[]
  readonly presence: readonly string[]
  readonly users: readonly string[]
}

/**
 * Where a subscription starts: with what is published from now on, with the first message that is kept, behind a
 * cursor, with the last so many messages of each topic, or at a time.
 */
export type From = 'now' | 'earliest' | {readonly after: Cursor} | {readonly last: number} | {readonly since: Date}

/** Whether a topic belongs to a selection. */
export function selects({topics, patterns}: Selection, topic: string): boolean {
  return topics.includes(topic) || patterns.some((pattern) => matches(pattern, topic))
}

/** Whether who was seen is watched. */
export function watches({presence, users}: Selection, sighting: Sighting): boolean {
  return 'members' in sighting ? presence.includes(sighting.topic) : users.includes(sighting.user)
}

/** Whether a stream of `whole` has all that `part` selects. */
export function covers(whole: Selection, part: Selection): boolean {
  return (
    part.topics.every((topic) => selects(whole, topic)) &&
    part.patterns.every((pattern) => whole.patterns.includes(pattern)) &&
    part.presence.every((topic) => whole.presence.includes(topic)) &&
    part.users.every((user) => whole.users.includes(user))
  )
}

/** All that these select. */
export function union(several: Iterable<{readonly selection: Selection}>): Selection {
  const all = [...several].map(({selection}) => selection)
  return {
    topics: [...new Set(all.flatMap(({topics}) => topics))],
    patterns: [...new Set(all.flatMap(({patterns}) => patterns))],
    presence: [...new Set(all.flatMap(({presence}) => presence))],
    users: [...new Set(all.flatMap(({users}) => users))],
  }
}

/** What tells the starts of streams apart. Behind cursors several may start together: each knows what it has. */
export function startKey(from: From): string {
  return typeof from === 'object' && 'after' in from ? 'after' : JSON.stringify(from)
}

/** The path and query of a stream; `as` whom, where nobody is asked for a token. */
export function streamPath({topics, patterns, presence, users}: Selection, from: From, as?: string): string {
  const [name, value] =
    typeof from === 'string'
      ? ['after', from]
      : 'after' in from
        ? ['after', from.after]
        : 'last' in from
          ? ['tail', from.last]
          : ['after', from.since.toISOString()]
  const names = [
    ...topics.map((topic) => ['topic', topic]),
    ...patterns.map((pattern) => ['match', pattern]),
    ...presence.map((topic) => ['presence', topic]),
    ...users.map((user) => ['user', user]),
    ...(as === undefined ? [] : [['as', as]]),
  ]
  return `/sse?${new URLSearchParams([...names, [name, `${value}`]] as string[][])}`
}
