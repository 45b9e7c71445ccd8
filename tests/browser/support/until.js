import {setTimeout as pause} from 'node:timers/promises'

/** Between two looks. Short beside everything that is waited for. */
const LOOK_EVERY_MS = 20

/** The longest wait for anything: only what never comes takes so long, on the slowest machine. */
export const PATIENCE_MS = 120_000

/**
 * Asks until the answer is truthy, and returns it.
 *
 * @template T
 * @param {string} what What is waited for, for whoever reads the failure.
 * @param {() => T | Promise<T>} condition
 */
export async function until(what, condition) {
  const deadline = performance.now() + PATIENCE_MS
  for (;;) {
    const answer = await condition()
    if (answer) return answer
    if (performance.now() > deadline) throw new Error(`not within ${PATIENCE_MS} ms: ${what}`)
    await pause(LOOK_EVERY_MS)
  }
}
