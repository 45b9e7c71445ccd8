import type {Cursor} from './cursor.js'
import type {ReplError} from './error.js'
import type {Gap, Message} from './message.js'
import type {From, Selection} from './selection.js'
import type {Sighting} from './sighting.js'

/** A subscription, as whoever feeds it sees it. */
export interface Subscriber {
  readonly selection: Selection
  readonly from: From
  /** The last place it knows. */
  cursor: Cursor | undefined
  /** It has all up to here. Without it, it has what its stream has. */
  floor: Cursor | undefined
  message(message: Message): void
  gap(gap: Gap): void
  /** Somebody who is watched came or went, or this is who is there at first. */
  seen(sighting: Sighting): void
  deleted(topic: string): void
  /** It is up to date. Told after each time that it was not. */
  ready(): void
  /** It is over, because of an error, or because the client was closed. */
  end(error?: ReplError): void
  /** When it can take more messages, if it can't now. */
  drained(): Promise<unknown> | undefined
}

/** A fault in somebody's callback is reported as uncaught, and disturbs nobody else. */
export function guard(callback: () => void): void {
  try {
    callback()
  } catch (error) {
    report(error)
  }
}

/** Lets an error go where uncaught ones go. */
export function report(error: unknown): void {
  queueMicrotask(() => {
    throw error
  })
}
