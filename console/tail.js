// The messages of a topic as they come: a stream that goes on wherever it broke.

import {Refused, events, session, topicPath} from './api.js'

const PAUSE_MS = 1_000

/**
 * Follows a topic until the signal says stop.
 *
 * @param {string} start The query that says where to start.
 * @param {{event: Function, state: Function}} told What is called with each event, and with how the stream fares, in words.
 */
export async function follow(name, start, signal, told) {
  let lastEventId
  while (!signal.aborted) {
    try {
      for await (const event of events(`${session.url}${topicPath(name)}/sse?${start}`, {signal, lastEventId})) {
        if (signal.aborted) return
        lastEventId = event.id ?? lastEventId
        if (event.event === 'repl.ready') told.state('live')
        told.event(event)
      }
    } catch (error) {
      if (signal.aborted) return
      if (error instanceof Refused && error.status < 500) return told.state(error.message)
    }
    told.state('interrupted, coming back')
    await new Promise((resolve) => setTimeout(resolve, PAUSE_MS))
  }
}
