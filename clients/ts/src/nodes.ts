import type {Clock} from './clock.js'
import {UnavailableError} from './error.js'
import type {Cluster, ClusterNode} from './message.js'

/** Where the broker is: an address, several, or what finds them. */
export type UrlSource =
  string | readonly string[] | (() => string | readonly string[] | Promise<string | readonly string[]>)

/** A node that may be asked. */
export interface Node {
  readonly url: string
  /** In a row. */
  failures: number
  /** It is left alone until then. */
  notBefore: number
  /** What it has to do, as far as known: see {@link loadOf}. */
  load: number
  /** Whether its cluster hears from it and it takes newcomers, as far as known. */
  isUp: boolean
}

/**
 * Which nodes there are, and which to take. Of two that were drawn at random the less loaded one is taken: clients that
 * all know the same must not all run to the same node. One that fails is left alone for a while. One that is not up is
 * asked if no other can be: a node that tells so may be mistaken, above all one that has only just started.
 */
export interface Nodes {
  /** The node to ask next. If all are left alone it is the one that may be asked first. */
  choose(preferred?: readonly string[]): Promise<Node>
  /** It did not serve, and does not want to be asked again before. */
  failed(node: Node, retryMs: number): void
  /** It served. The answer: whether it should be asked for the members, as what is known of them is old. */
  served(node: Node): boolean
  /** It wants its clients to be elsewhere. */
  avoid(url: string): void
  /** Something has changed, such as the network: every node may be asked at once. */
  forgive(): void
  /**
   * What a node tells of its cluster. Members are used only if the addresses given are such themselves: else these lead
   * to something that stands in front of the cluster, and that is the way to go.
   */
  learn(cluster: Cluster): void
}

/** For so long, what was learned is believed while nothing fails. */
const LEARNED_MS = 5 * 60_000

export function createNodes(source: UrlSource, clock: Clock, backoffMs: (failures: number) => number): Nodes {
  let known: Node[] = []
  let given: string[] = []
  let finding: Promise<void> | undefined
  /** When what is known of members is old. */
  let staleAt = 0

  const know = (urls: readonly string[]): void => {
    known = [...new Set(urls)].map(
      (url) => known.find((node) => node.url === url) ?? {url, failures: 0, notBefore: 0, load: 0, isUp: true},
    )
  }

  const find = async (): Promise<void> => {
    try {
      given = [typeof source === 'function' ? await source() : source].flat().map(normal)
      if (!given[0]) throw new Error('there is none')
      know(given)
    } catch (error) {
      finding = undefined
      throw new UnavailableError('no-way', 'no address of a broker', error)
    }
  }

  const draw = (nodes: readonly Node[]): Node | undefined => nodes[Math.floor(clock.random() * nodes.length)]

  return {
    async choose(preferred = []) {
      await (finding ??= find())
      const free = known.filter(({notBefore}) => notBefore <= clock.now())
      const wanted = free.filter(({url}) => preferred.includes(url))
      const up = free.filter(({isUp}) => isUp)
      const nodes = [wanted, up].find(([first]) => first) ?? free
      const one = draw(nodes)
      if (one) {
        const other = draw(nodes.filter((node) => node !== one)) ?? one
        return other.load < one.load ? other : one
      }
      // None can be reached: the next time, look again where they are.
      if (typeof source === 'function') finding = undefined
      return known.reduce((first, node) => (node.notBefore < first.notBefore ? node : first))
    },
    failed(node, retryMs) {
      node.notBefore = clock.now() + Math.max(retryMs, backoffMs(node.failures++))
    },
    served(node) {
      node.failures = node.notBefore = 0
      const isStale = staleAt <= clock.now()
      if (isStale) staleAt = clock.now() + LEARNED_MS
      return isStale
    },
    avoid(url) {
      staleAt = 0
      for (const node of known) if (node.url === url) node.isUp = false
    },
    forgive() {
      for (const node of known) node.notBefore = 0
    },
    learn({nodes}) {
      const members = nodes.map((node) => ({url: normal(node.clientUrl), state: node.state, load: loadOf(node)}))
      if (!members.some(({url}) => given.includes(url))) return
      know([...given, ...members.map(({url}) => url)])
      for (const node of known) {
        const member = members.find(({url}) => url === node.url)
        node.load = member?.load ?? 0
        node.isUp = member?.state === 'up'
      }
    },
  }
}

/** As the nodes themselves order it: a sixth of all processors counts more than any number of connections for each of them. */
function loadOf({cpu = 0, cores, connections}: ClusterNode): number {
  return Math.round(cpu * 6) * 1e6 + connections / (cores || 1)
}

function normal(url: string): string {
  return url.replace(/\/+$/, '')
}
