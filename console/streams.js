// The open streams of the node that answers: whose they are, what they read, and which are slow.

import {Rows, age, bytes, count, h, plural, set, write} from './dom.js'
import {pages} from './pages.js'

const PAGE = 50

const COLUMNS = ['Stream', 'State', 'Reader', 'Reads', 'Open for', 'Sent', 'Behind']

const PHASES = {waiting: 'waits for this node', history: 'reads history', 'catching-up': 'catches up', live: 'live'}

export function streamsView() {
  let node
  let isSlowOnly = false
  const summary = h('p', {class: 'summary'})
  const only = h('button', {type: 'button', 'aria-pressed': 'false', onclick: toggle}, 'Slow ones only')
  const none = h('p', {class: 'hint', hidden: true})
  const table = streamTable()
  const list = pages('streams', PAGE, () => ['/streams', {slow: isSlowOnly}], ({streams}) => {
    table.show(streams)
    set(none, {hidden: streams.length > 0})
    write(none, isSlowOnly ? 'No stream is slow.' : 'Nobody reads anything from this node.')
  })
  const element = h('div', {class: 'view'},
    h('h1', {tabindex: '-1'}, 'Streams'), summary,
    h('div', {class: 'bar'}, only),
    h('div', {class: 'panel scroll', tabindex: '0', role: 'region', 'aria-label': 'Streams'}, table.element, none), list.element)

  function toggle() {
    isSlowOnly = !isSlowOnly
    set(only, {'aria-pressed': String(isSlowOnly)})
    list.restart()
  }

  return {
    element,
    title: 'Streams',
    update({cluster, node: {streams}}) {
      write(summary, `${plural(streams, 'stream')} on node ${cluster.node}. Slow is one that takes less than there is for it; it holds up nobody else.`)
      // Another node has other streams.
      if (node === cluster.node) list.refresh()
      else list.restart()
      node = cluster.node
    },
  }
}

function streamTable() {
  const body = h('tbody', {})
  const element = h('table', {class: 'cards'},
    h('caption', {class: 'unseen'}, 'Streams'),
    h('thead', {}, h('tr', {}, ...COLUMNS.map((name) => h('th', {scope: 'col'}, name)))), body)
  const rows = new Rows(body, (id) => {
    const cells = COLUMNS.slice(1).map((label) => h('td', {'data-label': label}))
    return {element: h('tr', {}, h('th', {scope: 'row'}, `${id}`), ...cells), cells}
  }, ({element, cells}, stream) => {
    const {user, address, since, bytes: sent, behind, slow} = stream
    const reader = [user, address].filter(Boolean).join(' at ') || '–'
    const seconds = (Date.now() - Date.parse(since)) / 1000
    const texts = [stateOf(stream), reader, readsOf(stream), age(seconds), bytes(sent), behind ? plural(behind, 'message') : '–']
    texts.forEach((text, column) => write(cells[column], text))
    set(element, {class: slow && 'slow', 'data-stream': stream.id})
  })
  return {element, show: (streams) => rows.show(streams, ({id}) => id)}
}

/** In words and with a sign, so that colour is not all that tells it. */
function stateOf({phase, slow, blockedMs}) {
  if (!slow) return PHASES[phase]
  return `▲ slow: ${blockedMs >= 1000 ? `takes nothing for ${age(blockedMs / 1000)}` : PHASES[phase]}`
}

function readsOf({topics, match, more, watched}) {
  const parts = [...topics, ...match]
  if (more > 0) parts.push(`${count(more)} more`)
  if (watched > 0) parts.push(`presence of ${count(watched)}`)
  return parts.join(', ')
}
