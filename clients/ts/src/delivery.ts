import {isAfter, type Cursor} from './cursor.js'
import {UnavailableError} from './error.js'
import type {Gap, Message} from './message.js'
import {covers, selects, union, watches, type Selection} from './selection.js'
import {createSightings} from './sighting.js'
import {guard, type Subscriber} from './subscriber.js'

/** Topics whose readers are remembered. */
const ROUTES_MAX = 10_000

/** What one stream gives to whom: which subscribers it serves, and how far it is. */
export interface Delivery {
  /** All up to here has been given. */
  cursor: Cursor | undefined
  /** Starts anew behind a cursor. What these subscribers select together is what the stream has to read. */
  begin(subscribers: Iterable<Subscriber>, cursor: Cursor | undefined): Selection
  /** Takes in one more, who goes on from here, if what it selects is read anyway. */
  add(subscriber: Subscriber): boolean
  remove(subscriber: Subscriber): void
  has(subscriber: Subscriber): boolean
  /** Whether it reads what these select, no less and no more. */
  fits(subscribers: Iterable<Subscriber>): boolean
  /** Gives an event, which stands at a place, to those who have not had it. */
  give(type: string, data: string, id: Cursor): void
  drained(): Promise<unknown> | undefined
}

export function createDelivery(): Delivery {
  const readers = new Set<Subscriber>()
  /** The readers of each topic that had a message. */
  const routes = new Map<string, readonly Subscriber[]>()
  const sightings = createSightings()
  let selection: Selection = union([])

  const route = (topic: string): readonly Subscriber[] => {
    let found = routes.get(topic)
    if (!found) {
      found = [...readers].filter((reader) => selects(reader.selection, topic))
      if (routes.size >= ROUTES_MAX) routes.clear()
      routes.set(topic, found)
    }
    return found
  }

  /** Whether this lies behind what a reader had from the stream before. */
  const isNew = (reader: Subscriber, id: Cursor): boolean => {
    if (reader.floor && !isAfter(id, reader.floor)) return false
    reader.floor = undefined
    reader.cursor = id
    return true
  }

  const delivery: Delivery = {
    cursor: undefined,
    begin(subscribers, cursor) {
      delivery.cursor = cursor
      readers.clear()
      for (const subscriber of subscribers) readers.add(subscriber)
      routes.clear()
      sightings.clear()
      return (selection = union(readers))
    },
    add(subscriber) {
      if (!covers(selection, subscriber.selection)) return false
      readers.add(subscriber)
      routes.clear()
      // The others have been told already.
      for (const one of sightings.all()) if (watches(subscriber.selection, one)) guard(() => subscriber.seen(one))
      return true
    },
    remove(subscriber) {
      readers.delete(subscriber)
      routes.clear()
    },
    has: (subscriber) => readers.has(subscriber),
    fits(subscribers) {
      const wanted = union(subscribers)
      return covers(selection, wanted) && covers(wanted, selection)
    },
    give(type, data, id) {
      const told = parse(data)
      if (!type.startsWith('repl.')) {
        const message = told as Message
        for (const reader of route(message.topic)) if (isNew(reader, id)) guard(() => reader.message(message))
      } else if (type === 'repl.topic') {
        for (const reader of route((told as Message).topic)) guard(() => reader.deleted((told as Message).topic))
      } else if (type === 'repl.presence') {
        const sighting = sightings.take(told, id)
        if (!sighting) return
        for (const reader of readers) if (watches(reader.selection, sighting)) guard(() => reader.seen(sighting))
      } else if (type === 'repl.gap') {
        const gap = told as Gap
        for (const reader of readers) {
          const topics = gap.topics.filter((topic) => selects(reader.selection, topic))
          // Who has seen what comes behind the hole has had what was in it.
          const misses = !reader.floor || isAfter(gap.firstAvailable, reader.floor)
          if (misses && (topics[0] || !gap.topics[0])) guard(() => reader.gap({...gap, topics}))
        }
      } else {
        for (const reader of readers) {
          isNew(reader, id)
          if (type === 'repl.ready') guard(() => reader.ready())
        }
      }
      delivery.cursor = id
    },
    drained() {
      const waits = [...readers].flatMap((reader) => reader.drained() ?? [])
      return waits[0] && Promise.all(waits)
    },
  }
  return delivery
}

/** The JSON that an event carries. */
export function parse(data: string): unknown {
  try {
    return JSON.parse(data)
  } catch (error) {
    throw new UnavailableError('not-a-broker', 'an event holds no JSON', error)
  }
}
