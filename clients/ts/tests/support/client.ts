import {createClient, type Client, type ConnectionState, type Message, type PlainOptions} from '../../src/index.js'
import type {Scripted} from './scripted.js'

/** A client of the scripted server that comes back quickly, and bears the silence of a machine that is busy. */
export function connect(server: Scripted, options: Partial<PlainOptions> = {}): Client & {states: ConnectionState[]} {
  const client = createClient({
    url: server.url,
    backoffMinMs: 1,
    backoffMaxMs: 20,
    keepAliveMs: 60_000,
    answerMs: 60_000,
    ...options,
  })
  const states: ConnectionState[] = []
  client.onState((state) => states.push(state))
  return Object.assign(Object.create(client) as Client, {states})
}

export function collect(
  client: Client,
  wanted: string | string[] = 'news',
): {messages: Message[]; error?: unknown; gaps: unknown[]} {
  const seen: ReturnType<typeof collect> = {messages: [], gaps: []}
  client.subscribe(wanted, (message) => seen.messages.push(message), {
    onError: (error) => (seen.error = error),
    onGap: (gap) => seen.gaps.push(gap),
  })
  return seen
}

/** What the messages say. */
export const values = ({messages}: {messages: Message[]}): unknown[] => messages.map(({value}) => value)
