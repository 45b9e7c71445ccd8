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
  /** The broker has refused this one. The answer tells whether there is another. */
  refused(token: string | undefined): Promise<boolean>
  /** There is another than before: what was opened under that one should be opened anew. */
  onRenewed: () => void
  close(): void
}

export function createTokens(source: TokenSource | undefined, clock: Clock): Tokens {
  let token: string | undefined
  let coming: Promise<string | undefined> | undefined
  let cancel = (): void => {}

  const renew = (reason: TokenReason): Promise<string | undefined> =>
    (coming ??= ask(reason).finally(() => (coming = undefined)))

  const ask = async (reason: TokenReason): Promise<string | undefined> => {
    const isFetched = typeof source === 'function'
    const before = token
    token = isFetched ? await source(reason) : source
    cancel()
    const leftMs = expiry(token) - clock.date()
    // One that seems to have expired is the broker's to judge: the clock here may be wrong.
    if (isFetched && leftMs > 0) {
      // The present one serves until it is refused, and whoever is refused asks again.
      cancel = clock.after(Math.max(leftMs * RENEW_AFTER, RENEW_MS_MIN), () => void renew('expiring').catch(() => {}))
    }
    if (reason === 'expiring' && token !== before) tokens.onRenewed()
    return token
  }

  const tokens: Tokens = {
    get: async () => token ?? renew('first'),
    refused: async (refused) =>
      typeof source === 'function' && (token === refused ? await renew('refused') : token) !== refused,
    onRenewed: () => {},
    close: () => cancel(),
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
