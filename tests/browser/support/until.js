import {setTimeout as pause} from 'node:timers/promises'

/** Between two looks. Short beside everything that is waited for. */
const LOOK_EVERY_MS = 20

/**
 * Asks until the answer is truthy, and returns it.
 *
 * @template T
 * @param {string} what What is waited for, for whoever reads the failure.
 * @param {() => T | Promise<T>} condition
 */
export async function until(what, condition, withinMs = 30_000) {
  const deadline = performance.now() + withinMs
  for (;;) {
    const answer = await condition()
    if (answer) return answer
    if (performance.now() > deadline) throw new Error(`not within ${withinMs} ms: ${what}`)
    await pause(LOOK_EVERY_MS)
  }
}
