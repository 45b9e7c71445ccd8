import {createHub, lockOf} from './hub.js'
import type {ToHub, ToTab} from './protocol.js'
import type {Remote} from './remote.js'

/** How tabs find one another. */
export interface LinkOptions {
  /** Tabs of one name share a stream. */
  readonly name: string
  readonly worker: (() => SharedWorker) | undefined
  /** Ends everything. */
  readonly signal: AbortSignal
}

/** For a worker to answer. One that does not start tells nobody. */
const WELCOME_MS = 5_000

/** What goes over the channel that all tabs hear. */
type Heard =
  {readonly to: string; readonly message: ToTab} | {readonly from: string; readonly message: ToHub} | 'anybody'

/**
 * Brings a tab together with a hub: in a shared worker, and where there is none, in whichever tab holds the lock. When
 * that one is closed, the next tab in line takes over, and each subscription goes on from its own cursor.
 */
export async function link(remote: Remote, tab: string, {name, worker, signal}: LinkOptions): Promise<void> {
  // Whoever waits for this lock learns that the tab is gone.
  await new Promise<void>((held) => {
    const hold = (): Promise<void> => {
      held()
      return new Promise((resolve) => signal.addEventListener('abort', () => resolve()))
    }
    void navigator.locks.request(lockOf(tab), hold)
  })
  const share = (): void => linkTabs(remote, tab, name, signal)
  if (!worker) return share()
  try {
    linkWorker(remote, tab, worker(), share)
  } catch {
    // The script is of another origin, or a policy forbids it.
    share()
  }
}

function linkWorker(remote: Remote, tab: string, worker: SharedWorker, otherwise: () => void): void {
  const giveUp = (): void => {
    clearTimeout(timer)
    // In case it hears that later.
    worker.port.postMessage({from: tab, message: {kind: 'bye'}})
    worker.port.close()
    otherwise()
  }
  const timer = setTimeout(giveUp, WELCOME_MS)
  worker.onerror = giveUp
  worker.port.onmessage = ({data}: MessageEvent<ToTab>) => {
    clearTimeout(timer)
    remote.hear(data)
  }
  remote.attach((message) => worker.port.postMessage({from: tab, message}))
}

function linkTabs(remote: Remote, tab: string, name: string, signal: AbortSignal): void {
  const channel = new BroadcastChannel(name)
  const say = (message: ToHub): void => channel.postMessage({from: tab, message} satisfies Heard)
  channel.onmessage = ({data}: MessageEvent<Heard>) => {
    if (data === 'anybody') remote.attach(say)
    else if ('to' in data && data.to === tab) remote.hear(data.message)
  }
  signal.addEventListener('abort', () => channel.close())

  const lead = (): Promise<void> => {
    // A channel of its own: what this tab says has to come here, too.
    const lectern = new BroadcastChannel(name)
    const hub = createHub((to, message) => lectern.postMessage({to, message} satisfies Heard))
    lectern.onmessage = ({data}: MessageEvent<Heard>) => {
      if (data !== 'anybody' && 'from' in data) hub.hear(data.from, data.message)
    }
    lectern.postMessage('anybody' satisfies Heard)
    return new Promise((resolve) => {
      signal.addEventListener('abort', () => {
        hub.close()
        lectern.close()
        resolve()
      })
    })
  }
  navigator.locks.request(name, {signal}, lead).catch(() => {})
  remote.attach(say)
}
