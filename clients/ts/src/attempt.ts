import type {Context} from './context.js'
import {RefusedError, ReplError, UnavailableError} from './error.js'
import type {Node} from './nodes.js'

/** What is to be done at a node. */
export interface Task<T> {
  /** Tries it. `served` says that the node does what it should, even if it should fail later. */
  attempt(url: string, token: string | undefined, served: () => void): Promise<T>
  /** Waits before the next attempt; `error` is why. Throws to give up. */
  pause(ms: number, error: ReplError): Promise<void>
  /** The nodes to try first. */
  preferred?(): readonly string[]
}

/**
 * Tries until it is done, at another node each time.
 *
 * @throws {RefusedError} It will be refused however often it is tried.
 * @throws What `pause` throws.
 */
export async function persist<T>({nodes, tokens, clock, backoffMs}: Context, task: Task<T>): Promise<T> {
  let [failures, isRenewed] = [0, false]
  let error = new UnavailableError('unreachable', 'no node can be reached')
  for (;;) {
    let node: Node | undefined
    let token: string | undefined
    let waitMs = 0
    try {
      const chosen = await nodes.choose(task.preferred?.())
      waitMs = chosen.notBefore - clock.now()
      if (waitMs <= 0) {
        token = await tokens.get()
        node = chosen
        return await task.attempt(node.url, token, () => {
          nodes.served(chosen)
          failures = 0
          isRenewed = false
        })
      }
    } catch (caught) {
      if (caught instanceof RefusedError) {
        // Another token may do, once.
        if (caught.status !== 401 || isRenewed || !(await tokens.refused(token).catch(() => false))) throw caught
        isRenewed = true
        continue
      }
      error =
        caught instanceof UnavailableError
          ? caught
          : new UnavailableError(node ? 'unreachable' : 'no-way', `${caught}`, caught)
      if (node) nodes.failed(node, error.retryMs)
      // Those whom a dead node leaves behind don't all come to another at once.
      waitMs = backoffMs(failures++)
    }
    await task.pause(waitMs, error)
  }
}
