/** Why the broker can't be reached, or not be understood, at the moment. */
export type Trouble =
  /** No connection, or one that broke. */
  | 'unreachable'
  /** No answer in time. */
  | 'timeout'
  /** A stream fell silent: the connection is half open. */
  | 'stalled'
  /** A proxy on the way holds the stream back, while it passes other answers on. It has to be told not to. */
  | 'buffered'
  /** The node ended the stream, or serves none at the moment. */
  | 'ended'
  /** What answers is not the broker: a captive portal, an error page. */
  | 'not-a-broker'
  /** The node said that it can't now, with a status such as 503. */
  | 'busy'
  /** No address of a broker is known, or no token was to be had. */
  | 'no-way'

/** What this package throws. `code` is stable. */
export class ReplError extends Error {
  override readonly name: string = 'ReplError'
  /** What it is: of a {@link Trouble}, of the broker's problem, or `closed`, `queue-full`, `invalid-value`. */
  readonly code: string

  constructor(code: string, message: string, cause?: unknown) {
    super(`${code}: ${message}`, {cause})
    this.code = code
  }
}

/** It may work later: what waits goes on by itself, and what was given up may be tried again. */
export class UnavailableError extends ReplError {
  override readonly name = 'UnavailableError'
  declare readonly code: Trouble
  /** When the node would like to be asked again, if it said so. */
  readonly retryMs: number

  constructor(code: Trouble, message: string, cause?: unknown, retryMs = 0) {
    super(code, message, cause)
    this.retryMs = retryMs
  }
}

/** The broker refused the request, and will again: the request has to change. */
export class RefusedError extends ReplError {
  override readonly name = 'RefusedError'
  /** The HTTP status. */
  readonly status: number
  /** All that the answer said (RFC 9457). */
  readonly problem: Readonly<Record<string, unknown>>

  constructor(status: number, problem: Readonly<Record<string, unknown>>) {
    super(String(problem['code'] ?? `status-${status}`), String(problem['detail'] ?? status))
    this.status = status
    this.problem = problem
  }
}

/** A value is not what the schema of its topic says. */
export class InvalidValueError extends ReplError {
  override readonly name = 'InvalidValueError'
  readonly topic: string
  /** What the schema said. */
  readonly issues: readonly {readonly message: string}[]

  constructor(topic: string, issues: readonly {readonly message: string}[]) {
    super('invalid-value', `${topic}: ${issues.map(({message}) => message).join('; ')}`)
    this.topic = topic
    this.issues = issues
  }
}
