import type {Cursor} from './cursor.js'
import type {Member, UserStatus} from './presence.js'

/** Who is there, as a stream knows it: the members of a topic, or whether a user is a member of any. */
export type Sighting = ({readonly topic: string; readonly members: ReadonlyMap<string, Member>} | UserStatus) & {
  /** Rises with every change in the cluster. */
  readonly version: number
  /** Where the stream was. */
  readonly at: Cursor
}

/** What a `repl.presence` event says. */
type Told =
  | {readonly topic: string; readonly version: number; readonly members: readonly Member[]}
  | {
      readonly topic: string
      readonly version: number
      readonly joined: readonly Member[]
      readonly updated: readonly Member[]
      readonly left: readonly string[]
    }
  | (UserStatus & {readonly version: number})

/** Who is there, of all that one stream watches. */
export interface Sightings {
  /** Takes what an event says. Answers what is known then, if that is news. */
  take(told: unknown, at: Cursor): Sighting | undefined
  all(): Iterable<Sighting>
  clear(): void
}

export function createSightings(): Sightings {
  const known = new Map<string, Sighting>()

  const observe = (before: Sighting | undefined, told: Told, at: Cursor): Sighting | undefined => {
    if ('user' in told) return {...told, at}
    const {topic, version} = told
    if ('members' in told) return {topic, version, at, members: new Map(told.members.map((one) => [one.id, one]))}
    // A change that the list contains is told once more; without a list there is nothing to change.
    if (!before || !('members' in before) || version <= before.version) return undefined
    const members = new Map(before.members)
    for (const one of [...told.joined, ...told.updated]) members.set(one.id, one)
    for (const id of told.left) members.delete(id)
    return {topic, version, at, members}
  }

  return {
    take(told, at) {
      const key =
        'user' in (told as Told) ? `user ${(told as UserStatus).user}` : `topic ${(told as {topic: string}).topic}`
      const sighting = observe(known.get(key), told as Told, at)
      if (sighting) known.set(key, sighting)
      return sighting
    },
    all: () => known.values(),
    clear: () => known.clear(),
  }
}
