/** The network came back; the page came back, from the cache or into view. */
const CHANGES = ['online', 'pageshow', 'visibilitychange'] as const

/**
 * Listens to what says that connections may be dead, or possible again. `isNew`: those that are open can't be trusted.
 * The answer ends it.
 */
export function listenToWorld(onChange: (isNew: boolean) => void): () => void {
  // Servers have none of this.
  const {addEventListener, removeEventListener} = globalThis as Partial<typeof globalThis>
  const listener = ({type, persisted}: Event & {persisted?: boolean}): void => {
    // A page that is only being loaded, or that goes out of view, is no change.
    const isBack = type === 'pageshow' ? persisted : type === 'online' || document.visibilityState === 'visible'
    if (isBack) onChange(type !== 'visibilitychange')
  }
  for (const change of CHANGES) addEventListener?.(change, listener)
  return () => {
    for (const change of CHANGES) removeEventListener?.(change, listener)
  }
}
