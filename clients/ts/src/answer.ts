import type {Clock} from './clock.js'
import {RefusedError, UnavailableError, type ReplError} from './error.js'

/** Refusals that may pass: the request took too long, came too early, or too often. */
const PASSING = [408, 425, 429]

/** What an answer means that is not the success that was asked for. */
export async function fault(response: Response, clock: Clock): Promise<ReplError> {
  const {status} = response
  // The body is read in any case: the connection is free for others only then.
  const text = await response.text()
  const isBusy = status >= 500 || PASSING.includes(status)
  if (!isBusy && (status >= 400 || status === 204)) return new RefusedError(status, problem(text))
  const trouble = isBusy ? 'busy' : 'not-a-broker'
  return new UnavailableError(trouble, `status ${status}`, undefined, retryAfter(response, clock))
}

/** What the body of an answer says, if it is a problem as the broker writes them. */
function problem(text: string): Record<string, unknown> {
  try {
    return Object(JSON.parse(text)) as Record<string, unknown>
  } catch {
    return {}
  }
}

/** `Retry-After` in milliseconds: it counts seconds, or names a date. */
function retryAfter({headers}: Response, clock: Clock): number {
  const value = headers.get('Retry-After') ?? ''
  return Number(value) * 1_000 || Math.max(0, Date.parse(value) - clock.date()) || 0
}
