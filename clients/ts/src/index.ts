export {createClient, type Client, type ListedIn, type MessageOf, type NamedIn} from './client.js'
export type {Clock} from './clock.js'
export {getCluster} from './cluster.js'
export type {Cursor} from './cursor.js'
export {InvalidValueError, RefusedError, ReplError, UnavailableError, type Trouble} from './error.js'
export {history, type HistoryOptions} from './history.js'
export type {Answer, Request} from './http.js'
export type {Acknowledgement, Cluster, ClusterNode, Gap, Message, Retention, Topic} from './message.js'
export type {UrlSource} from './nodes.js'
export type {ClientOptions, PlainOptions} from './options.js'
export type {Member, Presence, PresenceOptions, UserStatus} from './presence.js'
export type {MessageOptions, PublishOptions} from './publish.js'
export {createPublisher, type Publisher, type PublisherOptions} from './publisher.js'
export type {Schema, SchemaResult} from './schema.js'
export type {From} from './selection.js'
export type {ConnectionState} from './state.js'
export type {MessageStream, SubscribeOptions, Subscription, Wanted} from './subscription.js'
export type {TokenReason, TokenSource} from './token.js'
export {
  changeTopic,
  createTopic,
  deleteTopic,
  getOccupancy,
  getTopic,
  listTopics,
  type AnyClient,
  type AskOptions,
  type Occupancy,
  type TopicSettings,
} from './topics.js'
export type {EntryOf, InputOf, MapOf, NamesOf, PatternOf, Schemas, TopicMap, TopicOf, ValueOf} from './topic-map.js'
