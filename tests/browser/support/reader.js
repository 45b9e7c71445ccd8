import {connect} from 'node:net'

/** Of an event, up to its data. The answer's own head stands before the first. */
const HEAD_BYTES = 1_000

/** A subscriber that is a socket and little else, so that there can be a thousand of them. */
export class Reader {
  /** Whether the server has said that what follows is live. */
  isReady = false
  /** The ids of its messages, in the order they came. */
  ids = []
  /** What it was told to have missed: why, and of which topics. */
  gaps = []
  #head
  #rest = Buffer.alloc(0)
  #isOver = false

  constructor(t, node, path, lastEventId) {
    const resume = lastEventId ? `Last-Event-ID: ${lastEventId}\r\n` : ''
    this.#head = `GET ${path} HTTP/1.1\r\nHost: localhost\r\n${resume}\r\n`
    this.#open(node)
    t.after(() => {
      this.#isOver = true
      this.socket.destroy()
    })
  }

  #open(node) {
    this.socket = connect(node.port, '127.0.0.1', () => this.socket.write(this.#head))
    this.socket.on('data', (bytes) => this.#take(bytes))
    // Whoever waits for events says what is missing when a connection breaks.
    this.socket.on('error', () => {})
    // One that was sent away comes back, as an EventSource does.
    this.socket.on('close', () => this.isReady || this.#isOver || this.#open(node))
  }

  #take(bytes) {
    this.#rest = this.#rest.length > 0 ? Buffer.concat([this.#rest, bytes]) : bytes
    let start = 0
    for (let end; (end = this.#rest.indexOf('\n\n', start)) >= 0; start = end + 2) {
      // Before an event may stand the answer's head, or the size of a chunk, which ends between events; no more.
      const head = this.#rest.latin1Slice(start, Math.min(end, start + HEAD_BYTES))
      if (!/^event: repl\./m.test(head)) this.ids.push(/^id: (.+)$/m.exec(head)[1])
      else if (/^event: repl\.ready$/m.test(head)) this.isReady = true
      else if (/^event: repl\.gap$/m.test(head)) this.gaps.push(gap(this.#rest.latin1Slice(start, end)))
    }
    this.#rest = this.#rest.subarray(start)
  }
}

function gap(block) {
  const {reason, topics} = JSON.parse(/^data: (.+)$/m.exec(block)[1])
  return {reason, topics}
}
