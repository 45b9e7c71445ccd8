import {matches} from './pattern.js'
import type {Schema} from './schema.js'

/**
 * What the topics of a client hold: under a topic's name, or a pattern over names (`orders:*`), the type of its values,
 * or a schema for them.
 */
export type TopicMap = Record<string, unknown>

/** The names for which a key of a map stands, as far as types can say it. */
export type NamesOf<Key extends string> = Key extends `${infer Head}:**`
  ? `${Head}:${string}`
  : Key extends '*' | '**'
    ? string
    : Key extends `*:${infer Tail}`
      ? `${string}:${NamesOf<Tail>}`
      : Key extends `${infer Head}:*:${infer Tail}`
        ? `${Head}:${string}:${NamesOf<Tail>}`
        : Key extends `${infer Head}:*`
          ? `${Head}:${string}`
          : Key

/** The topics that a client with this map may name. */
export type TopicOf<Map extends TopicMap> = {[Key in keyof Map & string]: NamesOf<Key>}[keyof Map & string]

/** The patterns that stand in this map. */
export type PatternOf<Map extends TopicMap> = string extends keyof Map
  ? string
  : Extract<keyof Map & string, '*' | '**' | `${string}*${string}`>

/** What stands in a map for a topic: under its very name, else under the patterns that match it. */
export type EntryOf<Map extends TopicMap, Name extends string> = Name extends keyof Map
  ? Map[Name]
  : {[Key in keyof Map & string]: Name extends NamesOf<Key> ? Map[Key] : never}[keyof Map & string]

/** The values that a subscriber of a topic gets. */
export type ValueOf<Map extends TopicMap, Name extends string> =
  EntryOf<Map, Name> extends infer Found ? (Found extends Schema<infer _, infer Output> ? Output : Found) : never

/** The values that may be published to a topic. */
export type InputOf<Map extends TopicMap, Name extends string> =
  EntryOf<Map, Name> extends infer Found ? (Found extends Schema<infer Input, infer _> ? Input : Found) : never

/** Schemas by topic or pattern. What has none is taken as it comes. */
export type Schemas = Readonly<Record<string, Schema>>

/** The types that schemas give to topics. */
export type MapOf<Given extends Schemas> = {[Key in keyof Given]: Given[Key]}

/** The schema of a topic: under its very name, else the first pattern that matches it. */
export function schemaOf(schemas: Schemas | undefined, topic: string): Schema | undefined {
  if (!schemas) return undefined
  const key = topic in schemas ? topic : Object.keys(schemas).find((pattern) => matches(pattern, topic))
  return key === undefined ? undefined : schemas[key]
}
