import type {Clock} from '../../src/clock.js'

/** A clock that stands still until a test moves it. */
export class FakeClock implements Clock {
  #now = 0
  #date = Date.parse('2026-01-01T00:00:00Z')
  readonly #timers = new Set<{at: number; callback: () => void}>()
  /** What `random` answers next, over and over. */
  chances: number[] = [0.5]
  #drawn = 0

  now(): number {
    return this.#now
  }

  date(): number {
    return this.#date + this.#now
  }

  /** Somebody sets the time of day. */
  setDate(ms: number): void {
    this.#date = ms - this.#now
  }

  after(ms: number, callback: () => void): () => void {
    const timer = {at: this.#now + ms, callback}
    this.#timers.add(timer)
    return () => this.#timers.delete(timer)
  }

  random(): number {
    return this.chances[this.#drawn++ % this.chances.length] as number
  }

  /** How long until each timer that is set. */
  get timers(): number[] {
    return [...this.#timers].map(({at}) => at - this.#now).sort((a, b) => a - b)
  }

  /** Lets time pass. */
  pass(ms: number): void {
    const end = this.#now + ms
    for (;;) {
      const due = [...this.#timers].filter(({at}) => at <= end).sort((a, b) => a.at - b.at)[0]
      if (!due) break
      this.#timers.delete(due)
      this.#now = Math.max(this.#now, due.at)
      due.callback()
    }
    this.#now = end
  }

  /** The machine slept: time has passed, and every timer is late. */
  sleep(ms: number): void {
    this.#now += ms
    this.pass(0)
  }
}
