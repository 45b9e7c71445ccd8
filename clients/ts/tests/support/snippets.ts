import {readFileSync} from 'node:fs'

/** The programs that stand in the README. */
export function snippets(): {language: string; text: string}[] {
  const readme = readFileSync(new URL('../../README.md', import.meta.url), 'utf8')
  return [...readme.matchAll(/```(tsx?)\n([^]*?)```/g)].map(([, language = '', text = '']) => ({language, text}))
}
