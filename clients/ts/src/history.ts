import type {Client, MessageOf} from './client.js'
import type {Cursor} from './cursor.js'
import {topicPath} from './publish.js'
import type {AskOptions} from './topics.js'
import type {TopicMap, TopicOf} from './topic-map.js'

/** Which part of a topic's history to read. */
export interface HistoryOptions extends AskOptions {
  /** Only messages behind this one. */
  readonly after?: Cursor
  /** Only messages in front of this one. */
  readonly before?: Cursor
  /** Newest first. */
  readonly reverse?: boolean
  /** Messages to fetch at a time, 1 to 1,000. Default 100. */
  readonly pageSize?: number
}

/** What a topic keeps: oldest first, unless asked for in reverse; fetched page by page, as it is read. */
export async function* history<Topics extends TopicMap, Name extends TopicOf<Topics>>(
  client: Client<Topics>,
  topic: Name,
  {after, before, reverse = false, pageSize = 100, ...options}: HistoryOptions = {},
): AsyncGenerator<MessageOf<Topics, Name>, void, void> {
  const range = new Map<string, string>()
  if (after) range.set('after', after)
  if (before) range.set('before', before)
  for (;;) {
    const query = new URLSearchParams([...range, ['limit', `${pageSize}`], ['reverse', `${reverse}`]])
    const {body} = await client.request({path: `${topicPath(topic)}/messages?${query}`, ...options})
    const {messages, next} = body as {messages: MessageOf<Topics, Name>[]; next?: Cursor}
    yield* messages
    if (!next) return
    range.set(reverse ? 'before' : 'after', next)
  }
}
