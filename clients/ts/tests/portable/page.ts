import {createClient} from '../../src/index.js'
import {scenarios} from './scenarios.js'

/** For a page: `run(name, url)`. */
Object.assign(globalThis, {
  run: (name: string, url: string) => scenarios[name]?.({createClient, url}),
  createClient,
})
