/** Time and chance, so that tests can choose them. */
export interface Clock {
  /** Milliseconds that never run backwards, whatever happens to the time of day. */
  now(): number
  /** The time of day, in milliseconds since 1970. */
  date(): number
  /** Calls back once, after so many milliseconds. The answer takes it back. */
  after(ms: number, callback: () => void): () => void
  /** At least 0 and below 1. */
  random(): number
}

/** `setTimeout` fires at once for anything longer. */
const TIMER_MS_MAX = 2 ** 31 - 1

/** The clock of the machine. */
export const systemClock: Clock = {
  now: () => performance.now(),
  date: () => Date.now(),
  after: (ms, callback) => {
    const timer = setTimeout(callback, Math.min(ms, TIMER_MS_MAX))
    return () => clearTimeout(timer)
  },
  random: () => Math.random(),
}
