// What the page shows: one stream of samples, from this node or, when it is away, from another.

import {Refused, events, session} from './api.js'

/** A sample comes each second. */
const SILENCE_MS = 4_000

/** Between two rounds over all nodes that are known. */
const PAUSE_MS = 1_000

/**
 * Tells what nodes say, for as long as the page lives.
 *
 * @param {{sample: Function, away: Function, locked: Function}} told What is called with a sample, when no node answers,
 *   and with the refusal of one that wants another token. That one ends it.
 */
export async function watch(told) {
  let urls = [session.url]
  for (;;) {
    let wasHeard = false
    for (const url of urls) {
      try {
        for await (const {data} of events(`${url}/console/feed`, {silenceMs: SILENCE_MS})) {
          const sample = JSON.parse(data)
          session.url = url
          urls = inTurn(url, sample.cluster.nodes)
          wasHeard = true
          told.sample(sample)
        }
      } catch (error) {
        if (error instanceof Refused && (error.status === 401 || error.status === 403)) return told.locked(error)
      }
      // Whoever has just lost a node asks the next one at once, in the order that it knew last.
      if (wasHeard) break
    }
    if (wasHeard) {
      urls.push(urls.shift())
      continue
    }
    told.away()
    await new Promise((resolve) => setTimeout(resolve, PAUSE_MS))
  }
}

/**
 * The nodes to ask: first the one that answers, then those that are up. The page's own is always among them; and it is the
 * only one to get a token, which was given to it and to no other.
 */
function inTurn(url, nodes) {
  if (session.token) return [location.origin]
  const up = nodes.filter(({state}) => state === 'up').map(({clientUrl}) => clientUrl)
  const all = nodes.map(({clientUrl}) => clientUrl)
  return [...new Set([url, ...up, location.origin, ...all])]
}
