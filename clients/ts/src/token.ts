import type {Clock} from './clock.js'

/** Why a token is asked for: it is the first, the present one is about to expire, or the broker refused it. */
export type TokenReason = 'first' | 'expiring' | 'refused'

/** A bearer token, or what fetches one. */
export type TokenSource = string | ((reason: TokenReason) => string | Promise<string>)

/** The share of its life after which a token is replaced. */
const RENEW_AFTER = 0.8

/** A token is never replaced sooner: one that is always about to expire must not make a busy loop. */
const RENEW_MS_MIN = 1_000

/** The token of a client: fetched once for all who wait for it, and anew before it expires. */
export interface Tokens {
  /** The present one, if the client has one at all. */
  get(): Promise<string | undefined>
  /** The broker has refused this one. The answer: whether another can be fetched, as is done when it is next asked for. */
  refused(token: string | undefined): boolean
  /** There is another than before: what was opened under that one should be opened anew. */
  onRenewed: () => void
  close(): void
}

export function createTokens(source: TokenSource | undefined, clock: Clock): Tokens {
  const isFetched = typeof source === 'function'
  let token = isFetched ? undefined : source
  /** Why it will be asked for the next time. */
  let reason: TokenReason = 'first'
  let coming: Promise<string | undefined> | undefined
  let cancel = (): void => {}
  let isClosed = false

  const renew = (): Promise<string | undefined> =>
    (coming ??= ask().finally(() => {
      coming = undefined
      plan()
    }))

  const ask = async (): Promise<string | undefined> => {
    if (!isFetched) return undefined
    const before = token
    token = await source(reason)
    reason = 'expiring'
    if (before !== undefined && token !== before) tokens.onRenewed()
    return token
  }

  /** Sees to it that there is another in time. If none is to be had then, what is left of that time is shared out again. */
  const plan = (): void => {
    cancel()
    const leftMs = expiry(token) - clock.date()
    // One that seems to have expired is the broker's to judge: the clock here may be wrong.
    if (isClosed || !(leftMs > 0)) return
    cancel = clock.after(Math.max(leftMs * RENEW_AFTER, RENEW_MS_MIN), () => void renew().catch(() => {}))
  }

  const tokens: Tokens = {
    get: async () => token ?? renew(),
    refused(refused) {
      if (isFetched && token === refused) {
        token = undefined
        reason = 'refused'
      }
      return isFetched
    },
    onRenewed: () => {},
    close() {
      isClosed = true
      cancel()
    },
  }
  return tokens
}

/** When a token expires, in milliseconds since 1970, if it is a JWT that says so. */
function expiry(token = ''): number {
  try {
    const claims = (token.split('.')[1] as string).replace(/-/g, '+').replace(/_/g, '/')
    return (JSON.parse(atob(claims)) as {exp: number}).exp * 1_000
  } catch {
    return NaN
  }
}
