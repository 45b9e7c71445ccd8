import {createHub, type Hub} from './hub.js'
import type {ToHub} from './protocol.js'

/** What a shared worker has, and ordinary libraries don't know. */
const scope = globalThis as unknown as {onconnect: (event: MessageEvent) => void}

const ports = new Map<string, MessagePort>()
const hub: Hub = createHub((tab, message) => ports.get(tab)?.postMessage(message))

scope.onconnect = ({ports: [port]}) => {
  if (!port) return
  port.onmessage = ({data}: MessageEvent<{from: string; message: ToHub}>) => {
    ports.set(data.from, port)
    hub.hear(data.from, data.message)
  }
}
