import {getCluster} from '/client/index.js'
import {byId, element} from './dom.js'

/** As nodes tell each other of themselves. */
const EVERY_MS = 1_000

/** Shows the nodes and what they have to do, for as long as it is open. */
export function showInfo(client) {
  const dialog = byId('info')
  dialog.showModal()
  const look = async () => {
    const {leader, nodes} = await getCluster(client, {patienceMs: EVERY_MS})
    const {url} = client.state
    byId('info-self').textContent = url ? `This page reads from ${url}.` : 'This page has no connection at the moment.'
    byId('nodes').replaceChildren(
      ...nodes.map(({id, role, state, cpu, cores, connections, version, clientUrl}) => {
        const load = cpu === undefined ? '–' : `${Math.round(cpu * 100)} %`
        const cells = [
          `${id} ${clientUrl}`,
          id === leader ? 'leader' : role,
          state,
          load,
          cores || '–',
          connections,
          version,
        ]
        return element('tr', {}, ...cells.map((cell) => element('td', {textContent: cell})))
      }),
    )
  }
  const again = () => look().catch(() => {})
  again()
  const timer = setInterval(again, EVERY_MS)
  dialog.addEventListener('close', () => clearInterval(timer), {once: true})
}
