import {persist} from './attempt.js'
import type {Context} from './context.js'
import {ask, type Answer, type Request} from './http.js'
import {unless, wait} from './signal.js'

/**
 * Asks until a node answers, another one each time.
 *
 * @throws {RefusedError} It will be refused however often it is asked.
 * @throws {UnavailableError} No node answered in time. What was asked for may be done all the same.
 * @throws The signal's reason.
 */
export function request(context: Context, {patienceMs = 30_000, ...wanted}: Request): Promise<Answer> {
  const {clock} = context
  const {signal} = wanted
  const deadline = clock.now() + patienceMs
  const answer = persist(context, {
    attempt: async (url, token, served) => {
      const answer = await ask(context, url, token, wanted)
      served()
      return answer
    },
    pause: (ms, error) => {
      if (clock.now() + ms > deadline) throw error
      return wait(clock, ms, signal)
    },
    signal,
  })
  // Who is asked for addresses or a token may take his time.
  return unless(signal, answer)
}
