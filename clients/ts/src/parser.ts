/** Characters of one event, at most. A server that sends more is not a broker. */
export const EVENT_CHARS_MAX = 16 * 1024 * 1024

/** What a parser found. `id` is the last one that the stream gave, as the standard has it. */
export interface StreamEvent {
  readonly type: string
  readonly data: string
  readonly id: string
}

/** What a parser tells. */
export interface StreamSink {
  event(event: StreamEvent): void
  /** The server said how long to wait before coming back, in milliseconds. */
  retry(ms: number): void
}

/**
 * Reads `text/event-stream`, exactly as the HTML standard says (section 9.2.6): bytes in, whole events out, wherever the
 * network cut them. What follows the last blank line is never an event.
 *
 * @returns What takes the next bytes. It throws a `RangeError` if an event is larger than {@link EVENT_CHARS_MAX}.
 */
export function createParser(sink: StreamSink): (chunk: Uint8Array) => void {
  // Takes a byte order mark away, and holds back a character that is not whole yet.
  const decoder = new TextDecoder()
  /** A line without its end, and whether the line before ended in a CR to which an LF may belong. */
  let [rest, isAfterCr] = ['', false]
  let [type, id] = ['', '']
  let data: string | undefined

  const line = (text: string): void => {
    if (!text) {
      if (data !== undefined) sink.event({type: type || 'message', data, id})
      type = ''
      data = undefined
      return
    }
    const colon = text.indexOf(':')
    const field = colon < 0 ? text : text.slice(0, colon)
    const value = colon < 0 ? '' : text.slice(colon + (text[colon + 1] === ' ' ? 2 : 1))
    if (field === 'data') data = data === undefined ? value : `${data}\n${value}`
    else if (field === 'id' && !value.includes('\0')) id = value
    else if (field === 'event') type = value
    else if (field === 'retry' && /^\d+$/.test(value)) sink.retry(Number(value))
  }

  return (chunk) => {
    let text = decoder.decode(chunk, {stream: true})
    if (!text) return
    if (isAfterCr && text[0] === '\n') text = text.slice(1)
    isAfterCr = text.endsWith('\r')
    let start = 0
    // What was searched for line ends is not searched again.
    for (const end of text.matchAll(LINE_END)) {
      line(rest + text.slice(start, end.index))
      rest = ''
      start = end.index + end[0].length
    }
    rest += text.slice(start)
    if (rest.length + (data?.length ?? 0) > EVENT_CHARS_MAX) throw new RangeError('an event is too large')
  }
}

const LINE_END = /\r\n|\n|\r/g
