// What centrifuge-js needs of Centrifugo, whose modules and images no package registry here has: `node centrifuge.js PORT`.
// Its JSON protocol, for one channel with history and recovery. What is measured is the client.
import {serveKept} from './kept.js'

const [channel, epoch] = ['news', `${process.pid}-${Date.now()}`]
const publication = (data, at) => ({data, offset: at + 1})

function answer(reader, {id, connect, subscribe}) {
  if (connect) reader.say(JSON.stringify({id, connect: {client: `${id}`, version: 'scripted', ping: 25, pong: true}}))
  if (!subscribe) return
  const end = reader.end()
  const isKnown = subscribe.recover && subscribe.epoch === epoch
  const recovery = subscribe.recover ? {was_recovering: true, recovered: isKnown} : {}
  reader.say(
    JSON.stringify({
      id,
      subscribe: {recoverable: true, positioned: true, epoch, offset: isKnown ? subscribe.offset : end, ...recovery},
    }),
  )
  reader.start(isKnown ? subscribe.offset : end)
}

serveKept(Number(process.argv[2]), {
  hear(text, reader) {
    for (const line of text.split('\n')) answer(reader, JSON.parse(line))
  },
  encode: (values, at) =>
    values.map((data, n) => JSON.stringify({push: {channel, pub: publication(data, at + n)}})).join('\n'),
})
