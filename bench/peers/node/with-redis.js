// The usual way to more than one process: messages go through Redis Pub/Sub, which keeps nothing.

import {createClient} from 'redis'

import {deliver, serve, to} from './chat.js'

const subscribers = new Set()
const publisher = await createClient({url: to}).connect()
const subscriber = await createClient({url: to}).connect()
await subscriber.subscribe('chat', (message) => deliver(message, subscribers))

serve((message) => publisher.publish('chat', message), subscribers)
