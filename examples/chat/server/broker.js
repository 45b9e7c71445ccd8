import {createClient, createTopic} from '../../../clients/ts/dist/index.js'

/** As long as a page waits for an answer. */
const WITHIN = {patienceMs: 10_000}

/**
 * What the chat writes: all of it, on behalf of people who have signed in. So nobody can speak in the name of another one, and
 * pages need no right but to read.
 */
export class Broker {
  #client

  constructor(urls, tokens) {
    const claims = {sub: 'chat', repl: {publish: ['**'], manage: ['**']}}
    this.#client = createClient({url: urls, token: () => tokens.sign(claims, 3600)})
  }

  /** A room that anybody may enter, and the topic of who is writing there, which keeps nothing. */
  async makeRoom(room, within = WITHIN) {
    await createTopic(this.#client, `room:${room}`, {maxMessages: 10_000}, {...within, presence: true})
    await createTopic(this.#client, `typing:${room}`, {maxMessages: 0}, within)
  }

  /** @param {string} key The page's own: who sends a line twice, because the answer got lost, has said it once. */
  sayInRoom(room, from, text, key) {
    return this.#client.publish(`room:${room}`, {from, text}, {key: `${from} ${key}`, ...WITHIN})
  }

  /** To the inboxes of both, so that both have it after a reload. */
  async sayTo(to, from, text, key) {
    for (const user of new Set([to, from])) {
      await this.#client.publish(`inbox:${user}`, {from, to, text}, {key: `${from} ${key}`, ...WITHIN})
    }
  }

  isTyping(room, from) {
    return this.#client.publish(`typing:${room}`, {from}, WITHIN)
  }

  close() {
    this.#client.close()
  }
}
