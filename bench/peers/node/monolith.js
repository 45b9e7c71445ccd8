// One process takes messages and hands them to its own subscribers. A second one would not see them.

import {deliver, serve} from './chat.js'

const subscribers = new Set()

serve((message) => deliver(message, subscribers), subscribers)
