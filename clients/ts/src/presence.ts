import {isOfSameHistory, type Cursor} from './cursor.js'
import {subscribe, type SubscribeOptions, type Subscription, type Surroundings} from './subscription.js'
import {guard} from './subscriber.js'
import type {Sighting} from './sighting.js'

/** A member of a topic: a user who reads it, by whatever node and in however many tabs. */
export interface Member<Data = unknown> {
  /** Who it is: the `sub` of the token. */
  readonly id: string
  /** When he came. RFC 3339. */
  readonly since: string
  /** What his token says that others should see (`repl.data`). */
  readonly data?: Data
}

/** How to watch the members of a topic. */
export interface PresenceOptions<Data = unknown> extends Pick<SubscribeOptions, 'onError' | 'signal'> {
  /** Somebody came who was not there before. Not told of those who are there at first. */
  readonly onJoin?: (member: Member<Data>) => void
  /** Somebody went. */
  readonly onLeave?: (member: Member<Data>) => void
  /** Somebody has other data. */
  readonly onUpdate?: (member: Member<Data>) => void
  /** All members, at first and whenever something has changed; in front of the other callbacks. */
  readonly onChange?: (members: ReadonlyMap<string, Member<Data>>) => void
}

/**
 * The members of a topic. To be read with `for await`, too: all of them, at first and whenever something has changed; who
 * reads slowly is given the latest.
 */
export interface Presence<Data = unknown> extends Subscription, AsyncIterable<ReadonlyMap<string, Member<Data>>> {
  /** As they are now, by id. Empty until `ready`. */
  readonly members: ReadonlyMap<string, Member<Data>>
  [Symbol.asyncIterator](): AsyncIterator<ReadonlyMap<string, Member<Data>>, void>
}

/** Whether a user is a member of any topic. */
export interface UserStatus {
  readonly user: string
  readonly online: boolean
  /** Since when he is. RFC 3339. */
  readonly since?: string
}

export function watchTopic(surroundings: Surroundings, topic: string, options: PresenceOptions = {}): Presence {
  let members: ReadonlyMap<string, Member> = new Map()
  const isNews = latest()
  let isFirst = true
  /** For who reads the iterator: whether there is something that he has not seen, and what he waits for. */
  let [isUnread, wake] = [false, (): void => {}]

  const subscription = subscribe(surroundings, [], undefined, options, {
    presence: [topic],
    users: [],
    isCalledBack: Object.values(options).some((option) => typeof option === 'function'),
    seen(sighting) {
      if (!('members' in sighting) || !isNews(sighting)) return
      const before = members
      members = sighting.members
      isUnread = true
      wake()
      options.onChange?.(members)
      if (!isFirst) tell(before, members, options)
      isFirst = false
    },
    ended: () => wake(),
  })
  const reader: AsyncIterator<ReadonlyMap<string, Member>, void> = {
    async next() {
      while (!isUnread) {
        const end = subscription.end()
        if (end instanceof Error) throw end
        if (end) return {done: true, value: undefined}
        await new Promise<void>((resolve) => (wake = resolve))
      }
      isUnread = false
      return {value: members}
    },
    async return() {
      subscription.unsubscribe()
      return {done: true, value: undefined}
    },
  }
  return {
    ready: subscription.ready,
    get cursor() {
      return subscription.cursor
    },
    get members() {
      return members
    },
    unsubscribe: () => subscription.unsubscribe(),
    [Symbol.asyncIterator]: () => reader,
  }
}

export function watchUsers(
  surroundings: Surroundings,
  users: readonly string[],
  handler: (status: UserStatus) => void,
  options: Pick<SubscribeOptions, 'onError' | 'signal'> = {},
): Subscription {
  const known = new Map(users.map((user) => [user, latest()]))
  return subscribe(surroundings, [], undefined, options, {
    presence: [],
    users,
    isCalledBack: true,
    seen(sighting) {
      if ('members' in sighting || !known.get(sighting.user)?.(sighting)) return
      const {user, online, since} = sighting
      handler({user, online, ...(since === undefined ? {} : {since})})
    },
    ended: () => {},
  })
}

/**
 * Passes over what is older than what was seen before: the stream may have come to a node that is a bit behind, and will
 * tell what is missing. In another history versions begin anew.
 */
function latest(): (sighting: Sighting) => boolean {
  let seen: {readonly version: number; readonly at: Cursor} | undefined
  return (sighting) => {
    if (seen && isOfSameHistory(seen.at, sighting.at) && sighting.version <= seen.version) return false
    seen = sighting
    return true
  }
}

function tell(
  before: ReadonlyMap<string, Member>,
  now: ReadonlyMap<string, Member>,
  {onJoin, onLeave, onUpdate}: PresenceOptions,
): void {
  for (const [id, member] of before) if (!now.has(id)) guard(() => onLeave?.(member))
  for (const [id, member] of now) {
    const was = before.get(id)
    if (!was || was.since !== member.since) guard(() => onJoin?.(member))
    else if (JSON.stringify(was.data) !== JSON.stringify(member.data)) guard(() => onUpdate?.(member))
  }
}
