// What ably-js needs of Ably, which is a service: `node ably.js PORT`. Its JSON protocol, for one channel: connect, resume,
// attach where the client was. What is measured is the client.
import {serveKept} from './kept.js'

const [HEARTBEAT, CONNECTED, ATTACH, ATTACHED, MESSAGE] = [0, 4, 10, 11, 15]
const RESUMED = 1 << 2
const [channel, epoch] = ['news', `${process.pid}-${Date.now()}`]
const serial = (at) => `${epoch}:${at}`

serveKept(Number(process.argv[2]), {
  greet(reader, {searchParams}) {
    const connectionKey = searchParams.get('resume') ?? `${Math.random()}`
    const connectionDetails = {
      connectionKey,
      clientId: '*',
      maxMessageSize: 65_536,
      connectionStateTtl: 120_000,
      maxIdleInterval: 15_000,
    }
    reader.say(JSON.stringify({action: CONNECTED, connectionId: connectionKey, connectionKey, connectionDetails}))
  },
  hear(text, reader) {
    const {action, channelSerial = ''} = JSON.parse(text)
    if (action === HEARTBEAT) reader.say(JSON.stringify({action}))
    if (action !== ATTACH) return
    const isKnown = channelSerial.startsWith(`${epoch}:`)
    const at = isKnown ? Number(channelSerial.split(':')[1]) : reader.end()
    reader.say(JSON.stringify({action: ATTACHED, channel, channelSerial: serial(at), flags: isKnown ? RESUMED : 0}))
    reader.start(at)
  },
  encode: (values, at) =>
    JSON.stringify({
      action: MESSAGE,
      channel,
      channelSerial: serial(at + values.length),
      id: `${epoch}:${at}`,
      timestamp: Date.now(),
      messages: values.map((data) => ({name: channel, data})),
    }),
})
