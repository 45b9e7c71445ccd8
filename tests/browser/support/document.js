import assert from 'node:assert/strict'
import {readFileSync} from 'node:fs'

const ROOT = new URL('../../../', import.meta.url)

/** A page of the documentation, whose blocks of code tests take to run them. */
export class Document {
  static #opened = new Map()
  #blocks

  /**
   * The same one for whoever asks.
   *
   * @param {string} path From the root of the repository.
   */
  static of(path) {
    if (!Document.#opened.has(path)) Document.#opened.set(path, new Document(path))
    return Document.#opened.get(path)
  }

  constructor(path) {
    this.path = path
    this.#blocks = blocksOf(readFileSync(new URL(path, ROOT), 'utf8'))
  }

  /**
   * The blocks of a language in a section, under the names that a test gives them: as many as there are.
   *
   * @param {string} section Its heading, or nothing for what stands above the first.
   */
  take(section, language, ...names) {
    const blocks = this.#blocks.filter((block) => block.section === section && block.language === language)
    assert.equal(blocks.length, names.length, `${this.path}: ${language} in “${section}” is ${names.join(', ')}`)
    for (const block of blocks) block.taken = true
    return Object.fromEntries(blocks.map(({text}, n) => [names[n], text]))
  }

  /** Whether a block has exactly this text. */
  has(text) {
    return this.#blocks.some((block) => block.text === text)
  }

  /** The blocks that nobody has taken. What is `text` is for people. */
  left() {
    return this.#blocks.filter(({taken, language}) => !taken && language !== 'text')
  }
}

function blocksOf(page) {
  const blocks = []
  let section = ''
  let block
  for (const [n, line] of page.split('\n').entries()) {
    const [, fence] = /^\s*```(.*)$/.exec(line) ?? []
    if (block && fence === '') block = undefined
    else if (block) block.text += `${line}\n`
    else if (fence !== undefined) blocks.push((block = {section, language: fence, line: n + 1, text: ''}))
    else if (line.startsWith('## ')) section = line.slice(3)
  }
  return blocks
}

/** A text in which some words, such as ports, are those of a test. */
export function replaced(text, replacements) {
  const from = new RegExp(Object.keys(replacements).join('|'), 'g')
  return text.replace(from, (word) => replacements[word])
}
