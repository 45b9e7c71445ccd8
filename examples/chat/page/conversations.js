/** Lines that a conversation shows. */
const LINES_MAX = 500

/** For how long somebody is shown as writing after the last sign of it. */
const TYPING_MS = 5_000

/**
 * What was said, by conversation: a room is `room:…`, two people are `@…`. Lines come in the broker's order, more than once
 * if they were asked for more than once, and are kept once.
 */
export class Conversations {
  #lines = new Map()
  #unread = new Map()
  #typing = new Map()
  #changed

  /** @param {(conversation: string) => void} changed Told of whatever changes. */
  constructor(changed) {
    this.#changed = changed
  }

  lines(conversation) {
    return [...(this.#lines.get(conversation)?.values() ?? [])]
  }

  unread(conversation) {
    return this.#unread.get(conversation) ?? 0
  }

  read(conversation) {
    this.#unread.delete(conversation)
  }

  names() {
    return [...this.#lines.keys()]
  }

  /** @param {{id: string, from?: string, text?: string, at?: string, gap?: string}} line */
  add(conversation, line, isNews) {
    const lines = this.#lines.get(conversation) ?? new Map()
    this.#lines.set(conversation, lines)
    if (lines.has(line.id)) return
    lines.set(line.id, line)
    if (lines.size > LINES_MAX) lines.delete(lines.keys().next().value)
    if (isNews) this.#unread.set(conversation, this.unread(conversation) + 1)
    this.#typing.get(conversation)?.delete(line.from)
    this.#changed(conversation)
  }

  typing(conversation) {
    return [...(this.#typing.get(conversation)?.keys() ?? [])]
  }

  isTyping(conversation, user) {
    const users = this.#typing.get(conversation) ?? new Map()
    this.#typing.set(conversation, users)
    clearTimeout(users.get(user))
    const forget = () => {
      users.delete(user)
      this.#changed(conversation)
    }
    users.set(user, setTimeout(forget, TYPING_MS))
    this.#changed(conversation)
  }
}
