import {assemble, createClient, type Client} from '../client.js'
import {createContext} from '../context.js'
import type {ClientOptions, PlainOptions} from '../options.js'
import {randomKey} from '../publish.js'
import type {MapOf, Schemas, TopicMap} from '../topic-map.js'
import {link} from './link.js'
import {createRemote} from './remote.js'

/** How tabs share. */
export interface SharedOptions {
  /**
   * Tabs of the same origin and of this name share one stream, under the token of one of them: put the user into it, if
   * users have different rights. Default: by address of the broker.
   */
  readonly name?: string
  /**
   * Makes the shared worker, for bundlers that don't find it by themselves: of a module that imports
   * `@repl-broker/client/shared/worker`. `false`: none; one of the tabs has the stream.
   */
  readonly worker?: false | ((name: string) => SharedWorker)
}

/**
 * A client that shares its stream with the other tabs of the same origin: through a shared worker, else through the tab
 * that holds a lock. Without Web Locks (outside of browsers, or in pages that came neither over TLS nor from localhost)
 * it has a stream of its own.
 */
export function createSharedClient<const Given extends Schemas>(
  options: ClientOptions & SharedOptions & {readonly topics: Given},
): Client<MapOf<Given>>
export function createSharedClient<Map extends TopicMap = TopicMap>(options: PlainOptions & SharedOptions): Client<Map>
export function createSharedClient(options: ClientOptions & SharedOptions): Client {
  if (!globalThis.navigator?.locks) return createClient(options as PlainOptions)
  const {url, name = `repl ${typeof url === 'function' ? '' : [url].flat().join(' ')}`, worker = findWorker} = options
  const context = createContext(options)
  const abort = new AbortController()
  const remote = createRemote(options, () => abort.abort())
  const hasWorker = worker && (worker !== findWorker || typeof SharedWorker === 'function')
  const make = hasWorker ? () => worker(name) : undefined
  void link(remote, randomKey(), {name, worker: make, signal: abort.signal})
  return assemble(options, context, remote)
}

function findWorker(name: string): SharedWorker {
  return new SharedWorker(new URL('./worker.js', import.meta.url), {type: 'module', name})
}
