import type {Client} from './client.js'
import {RefusedError} from './error.js'
import type {Retention, Topic} from './message.js'
import {topicPath} from './publish.js'

/** How to ask. */
export interface AskOptions {
  /** Gives up. What was asked for may be done all the same. */
  readonly signal?: AbortSignal
  /** For how long it is tried, in milliseconds. Default 30,000. */
  readonly patienceMs?: number
}

/** Settings of a topic besides what it keeps. */
export interface TopicSettings {
  /** Whether the cluster knows who reads it. */
  readonly presence?: boolean
}

/** The open streams of a topic, on all nodes. */
export interface Occupancy {
  readonly topic: string
  readonly streams: number
  /** Whether all nodes have answered. */
  readonly complete: boolean
}

/** Whatever its topics are. */
export type AnyClient = Pick<Client, 'request'>

/**
 * Creates a topic. Bounds that are left out are the broker's defaults; one that is there with the same bounds is taken.
 *
 * @throws {RefusedError} `topic-exists`: with other bounds.
 */
export async function createTopic(
  client: AnyClient,
  name: string,
  retention: Retention = {},
  {presence, ...options}: AskOptions & TopicSettings = {},
): Promise<Topic> {
  return (await send(client, 'POST', '/topics', {name, retention, presence}, options)) as Topic
}

/** A topic, or `undefined` if there is none of this name. */
export async function getTopic(client: AnyClient, name: string, options?: AskOptions): Promise<Topic | undefined> {
  return (await send(client, 'GET', topicPath(name), undefined, options).catch(ifMissing)) as Topic | undefined
}

/** Changes what a topic keeps, and whether it has presence. What is left out stays. */
export async function changeTopic(
  client: AnyClient,
  name: string,
  retention: Retention,
  {presence, ...options}: AskOptions & TopicSettings = {},
): Promise<Topic> {
  return (await send(client, 'PATCH', topicPath(name), {retention, presence}, options)) as Topic
}

/** How many streams of a topic are open, or `undefined` if there is none of this name. */
export async function getOccupancy(
  client: AnyClient,
  name: string,
  options?: AskOptions,
): Promise<Occupancy | undefined> {
  const path = `${topicPath(name)}/occupancy`
  return (await send(client, 'GET', path, undefined, options).catch(ifMissing)) as Occupancy | undefined
}

/** Deletes a topic with its messages, if it is there; subscribers are told. */
export async function deleteTopic(client: AnyClient, name: string, options?: AskOptions): Promise<void> {
  await send(client, 'DELETE', topicPath(name), undefined, options).catch(ifMissing)
}

/** All topics, or those whose names start with a prefix, in the order of their names' bytes. */
export async function* listTopics(
  client: AnyClient,
  {prefix = '', ...options}: AskOptions & {readonly prefix?: string} = {},
): AsyncGenerator<Topic, void, void> {
  let page: {topics: readonly Topic[]; next?: string} | undefined
  do {
    const query = new URLSearchParams({prefix, ...(page?.next === undefined ? {} : {after: page.next})})
    page = (await send(client, 'GET', `/topics?${query}`, undefined, options)) as {
      topics: readonly Topic[]
      next?: string
    }
    yield* page.topics
  } while (page.next !== undefined)
}

async function send(
  client: AnyClient,
  method: string,
  path: string,
  body: unknown,
  options: AskOptions = {},
): Promise<unknown> {
  const content = body === undefined ? {} : {headers: {'Content-Type': 'application/json'}, body: JSON.stringify(body)}
  return (await client.request({method, path, ...content, ...options})).body
}

function ifMissing(error: unknown): undefined {
  if (!(error instanceof RefusedError) || error.code !== 'topic-not-found') throw error
}
