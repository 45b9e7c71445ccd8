import type {Clock} from './clock.js'

/** Settles as a promise does, unless a signal comes first: then it rejects with its reason. */
export function unless<T>(signal: AbortSignal | undefined, promise: Promise<T>): Promise<T> {
  if (!signal) return promise
  return new Promise<T>((resolve, reject) => {
    const stop = (): void => reject(signal.reason)
    if (signal.aborted) stop()
    signal.addEventListener('abort', stop)
    promise.then(resolve, reject).finally(() => signal.removeEventListener('abort', stop))
  })
}

/** Waits, unless a signal comes first. */
export function wait(clock: Clock, ms: number, signal: AbortSignal | undefined): Promise<void> {
  let cancel: () => void
  const over = new Promise<void>((resolve) => (cancel = clock.after(ms, resolve)))
  return unless(signal, over).finally(() => cancel())
}
