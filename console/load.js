// Throughput, latency and connections over the last minutes.

import {chart} from './chart.js'
import {count, duration, h, rate, write} from './dom.js'

/** What a node counts of its streams, and what that means. */
const COUNTS = [
  ['Open streams', 'streams', 'Readers that are connected to this node.'],
  ['Client connections', 'connections', 'Streams, and whoever asks or publishes.'],
  ['Fell behind', 'behind', 'Times since the start that a stream was too slow for what is in memory and went on from history. It loses nothing by that.'],
  ['Cut off', 'stalled', 'Connections closed since the start because their client took nothing for 25 seconds.'],
]

export function loadView() {
  const charts = [
    chart('Messages a second', [{of: 'messages'}], rate),
    chart('Deliveries a second', [{of: 'deliveries'}], rate),
    chart('Publish', [{of: 'median', name: 'median'}, {of: 'slowest', name: '99 %'}], duration),
    chart('Fsync', [{of: 'fsync', name: 'mean'}], duration),
    chart('Streams', [{of: 'streams'}], count),
    chart('Connections', [{of: 'connections'}], count),
  ]
  const rows = COUNTS.map(([name, of, meaning]) => ({of, value: h('td', {}), name, meaning}))
  const summary = h('p', {class: 'summary'})
  const element = h('div', {class: 'view'},
    h('h1', {tabindex: '-1'}, 'Load'), summary,
    h('div', {class: 'charts'}, ...charts.map(({element}) => element)),
    h('div', {class: 'panel'},
      h('h2', {}, 'Streams and connections'),
      h('table', {class: 'facts'}, h('tbody', {}, ...rows.map(({name, value, meaning}) =>
        h('tr', {}, h('th', {scope: 'row'}, name), value, h('td', {class: 'hint'}, meaning)))))))

  return {
    element,
    title: 'Load',
    update({cluster, node}, series) {
      write(summary, `What node ${cluster.node} counts, since this page was opened. Messages are those of the whole cluster.`)
      for (const {update} of charts) update(series.points)
      for (const {of, value} of rows) write(value, count(node[of]))
    },
  }
}
