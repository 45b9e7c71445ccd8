import type {Context} from './context.js'
import {RefusedError, ReplError, UnavailableError} from './error.js'
import {ask} from './http.js'
import type {Cluster} from './message.js'
import type {Node} from './nodes.js'

/** What is to be done at a node. */
export interface Task<T> {
  /** Tries it. `served` says that the node does what it should, even if it should fail later. */
  attempt(url: string, token: string | undefined, served: () => void): Promise<T>
  /** Waits before the next attempt; `error` is why. Throws to give up. */
  pause(ms: number, error: ReplError): Promise<void>
  /** The nodes to try first. */
  preferred?(): readonly string[]
  /** Gives up. */
  readonly signal?: AbortSignal | undefined
}

/**
 * Tries until it is done, at another node each time.
 *
 * @throws {RefusedError} It will be refused however often it is tried.
 * @throws What `pause` throws, or the signal's reason.
 */
export async function persist<T>(context: Context, {attempt, pause, preferred, signal}: Task<T>): Promise<T> {
  const {nodes, tokens, clock, backoffMs} = context
  let [failures, isRenewed] = [0, false]
  let error = new UnavailableError('unreachable', 'no node can be reached')
  for (;;) {
    let node: Node | undefined
    let token: string | undefined
    let waitMs = 0
    try {
      const chosen = await nodes.choose(preferred?.())
      waitMs = chosen.notBefore - clock.now()
      if (waitMs <= 0) {
        token = await tokens.get()
        signal?.throwIfAborted()
        node = chosen
        return await attempt(node.url, token, () => {
          failures = 0
          isRenewed = false
          if (nodes.served(chosen)) void learn(context, chosen.url, token)
        })
      }
    } catch (caught) {
      // It is no fault of the node.
      signal?.throwIfAborted()
      if (caught instanceof RefusedError) {
        // Another token may do, once.
        if (caught.status !== 401 || isRenewed || !tokens.refused(token)) throw caught
        isRenewed = true
        continue
      }
      error =
        caught instanceof UnavailableError
          ? caught
          : new UnavailableError(node ? 'unreachable' : 'no-way', `${caught}`, caught)
      if (node) nodes.failed(node, error.retryMs)
      isRenewed = false
      // Those whom a dead node leaves behind don't all come to another at once.
      waitMs = backoffMs(failures++)
    }
    await pause(waitMs, error)
  }
}

/** Asks a node who else is there. It is hearsay, and so never worth an error. */
async function learn(context: Context, url: string, token: string | undefined): Promise<void> {
  try {
    context.nodes.learn((await ask(context, url, token, {path: '/cluster'})).body as Cluster)
  } catch {}
}
