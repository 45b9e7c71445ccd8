import {readdirSync, readFileSync} from 'node:fs'

const root = new URL('../../dist/', import.meta.url).pathname

/** The package as it is published, as files of a web server. */
export function distFiles(): Record<string, string> {
  const names = readdirSync(root, {recursive: true})
    .map(String)
    .filter((name) => name.endsWith('.js'))
  return Object.fromEntries(names.map((name) => [`/dist/${name}`, readFileSync(root + name, 'utf8')]))
}
