import {onTestFinished} from 'vitest'

import {Broker, startCluster} from '../../../../tests/browser/support/broker.js'

export {Balancer} from '../../../../tests/browser/support/balancer.js'
export {PATIENCE_MS, until} from '../../../../tests/browser/support/until.js'
export type {Broker}

/** The test that runs now, as the support of the browser tests knows one. */
const test = {after: (callback: () => unknown) => onTestFinished(async () => void (await callback()))}

/** A node that serves. It is gone after the test. */
export function startNode(...args: string[]): Promise<Broker> {
  return Broker.start(test, ...args)
}

/** Three nodes that all vote. They are gone after the test. */
export function startNodes(...args: string[]): Promise<Broker[]> {
  return startCluster(test, ...args)
}

/** What the browser tests' support wants of a test. */
export function currentTest(): typeof test {
  return test
}
