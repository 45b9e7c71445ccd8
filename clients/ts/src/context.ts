import {systemClock, type Clock} from './clock.js'
import {createNodes, type Nodes} from './nodes.js'
import type {ClientOptions} from './options.js'
import {createTokens, type Tokens} from './token.js'

/** What the parts of one client share. */
export interface Context {
  readonly clock: Clock
  readonly fetch: typeof globalThis.fetch
  readonly nodes: Nodes
  readonly tokens: Tokens
  /** How long to wait after so many failures before: at random up to a bound ("full jitter"), so that clients spread. */
  readonly backoffMs: (failures: number) => number
  readonly keepAliveMs: number
  readonly answerMs: number
  readonly as: string | undefined
}

export function createContext({
  url,
  token,
  clock = systemClock,
  // Called as a plain function: the browsers' own refuses to be a method of anything else.
  fetch = (input, init) => globalThis.fetch(input, init),
  backoffMinMs = 200,
  backoffMaxMs = 15_000,
  keepAliveMs = 15_000,
  answerMs = 10_000,
  as,
}: ClientOptions): Context {
  const backoffMs = (failures: number): number => clock.random() * Math.min(backoffMaxMs, backoffMinMs * 2 ** failures)
  const [nodes, tokens] = [createNodes(url, clock, backoffMs), createTokens(token, clock)]
  return {clock, fetch, nodes, tokens, backoffMs, keepAliveMs, answerMs, as}
}
