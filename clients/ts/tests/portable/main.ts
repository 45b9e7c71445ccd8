/// <reference types="node" />
import {createClient} from '../../src/index.js'
import {scenarios} from './scenarios.js'

/** Runs every scenario against the node that the first argument names, and writes a line for each. */
const url = process.argv[2] ?? ''
let failed = 0
for (const [name, scenario] of Object.entries(scenarios)) {
  const error: unknown = await scenario({createClient, url}).then(
    () => undefined,
    (error) => error,
  )
  console.log(error ? `failed ${name}: ${String(error)}` : `passed ${name}`)
  if (error) failed++
}
process.exit(failed)
