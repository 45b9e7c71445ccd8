// The cluster as a picture and as a table.

import {spark} from './chart.js'
import {Rows, age, count, duration, h, plural, rate, set, svg, write} from './dom.js'

const RADIUS = 46

/** Nodes tell each other once a second where they are: so much may have come since, and is no lag. */
const HEARSAY_SECONDS = 2

/** How a node fares, in words. */
const STATES = {up: 'up', suspect: 'silent', down: 'down', draining: 'leaving'}

const TILES = [
  ['Messages a second', 'messages', rate, 'stored by the cluster'],
  ['Deliveries a second', 'deliveries', rate, 'by this node'],
  ['Streams', 'streams', count, 'open on this node'],
  ['Publish, median', 'median', duration, 'on this node, stored by a majority'],
]

export function clusterView() {
  const tiles = TILES.map(([label, of, format, hint]) => ({of, format, value: h('dd', {}), spark: spark(of), label, hint}))
  const summary = h('p', {class: 'summary'})
  const picture = map()
  const table = nodeTable()
  const element = h('div', {class: 'view'},
    h('h1', {tabindex: '-1'}, 'Cluster'), summary,
    h('dl', {class: 'tiles'}, ...tiles.map(({label, value, spark, hint}) =>
      h('div', {class: 'panel'}, h('dt', {}, label), value, h('dd', {class: 'hint'}, hint), spark.element))),
    h('div', {class: 'panel'}, picture.element),
    h('div', {class: 'panel scroll', tabindex: '0', role: 'region', 'aria-label': 'Nodes'}, table.element))

  return {
    element,
    title: 'Cluster',
    update({cluster}, series) {
      write(summary, summarise(cluster))
      for (const {of, format, value, spark} of tiles) {
        write(value, format(series.newest[of]))
        spark.update(series.points)
      }
      picture.update(cluster, series.newest.messages)
      table.update(cluster, series.newest.messages)
    },
  }
}

/** What an operator wants to know first. */
function summarise({nodes, leader, term}) {
  return [outlook({nodes, leader, term}), ...advice(nodes)].join(' ')
}

/** What to do about each node that is down. One can be removed only as long as most voters are there to agree. */
function advice(nodes) {
  const voters = nodes.filter(isVoter)
  const isStuck = voters.filter(({state}) => state !== 'down').length < majority(voters)
  const each = nodes.filter(({state}) => state === 'down').map((node) => {
    const removal = isStuck ? '' : `, or “repl cluster remove ${node.id}” if it is gone for good`
    return `Node ${node.id} is down, ${lagText(node)}: start it again${removal}.`
  })
  return isStuck ? [...each, 'If most voters are gone for good, see “repl recover --help”.'] : each
}

function outlook({nodes, leader, term}) {
  const voters = nodes.filter(isVoter)
  const up = voters.filter(isUp)
  const spare = up.length - majority(voters)
  const lead = leader === null ? 'No node leads now.' : `Node ${leader} leads, in term ${term}.`
  const voices = `${up.length} of ${plural(voters.length, 'voter')} ${up.length === 1 ? 'is' : 'are'} up.`
  if (voters.length === 1) return `${lead} ${voices} A single node: nothing is lost when it dies, but nothing is served until it is back.`
  if (spare < 0) return `${lead} ${voices} No majority: nothing can be written until ${plural(-spare, 'more node')} ${spare === -1 ? 'is' : 'are'} back.`
  return `${lead} ${voices} ${spare === 0 ? 'None of them may be lost.' : `${plural(spare, 'node')} may be lost.`}`
}

function isVoter({role}) {
  return role !== 'learner'
}

/** How many of the voters decide. */
function majority(voters) {
  return Math.floor(voters.length / 2) + 1
}

function isUp({state}) {
  return state === 'up' || state === 'draining'
}

/** How far a node is behind, but for what came in the time that is not known of it. */
function lagText({lag, silentMs = 0}, perSecond = 0) {
  if (lag === undefined) return `no answer for ${age(silentMs / 1000)}`
  return lag <= HEARSAY_SECONDS * perSecond ? 'in step' : `${count(lag)} behind`
}

function loadText({cpu}) {
  return cpu === undefined ? '–' : `${Math.round(cpu * 100)} %`
}

/** Nodes on an ellipse, in the order of their ids, so that none moves when another one leads. */
function map() {
  const links = svg('g', {})
  const nodes = svg('g', {})
  const picture = svg('svg', {class: 'map', role: 'img'}, links, nodes)
  const element = h('figure', {class: 'picture'}, picture,
    h('figcaption', {}, 'The ring round a node is the share of its processors in use. Lines lead from the leader to those that copy it; dashed, to one without a vote.'))
  const linkRows = new Rows(links, () => {
    const line = svg('line', {class: 'link'})
    const flow = svg('line', {class: 'flow'})
    return {element: svg('g', {}, line, flow), lines: [line, flow]}
  }, ({element, lines}, {node, ends, flows}) => {
    set(element, {class: `${node.role} ${node.state} ${flows ? 'flowing' : ''}`})
    for (const line of lines) set(line, ends)
  })
  const nodeRows = new Rows(nodes, drawNode, (row, {node, at, here, perSecond}) => row.update(node, at, here, perSecond))
  let last

  function update(cluster, perSecond) {
    last = [cluster, perSecond]
    const width = Math.max(element.clientWidth, 280)
    const height = width < 560 ? 360 : 340
    set(picture, {width, height, viewBox: `0 0 ${width} ${height}`, 'aria-label': describe(cluster)})
    const places = new Map(cluster.nodes.map(({id}, row) => [id, place(row, cluster.nodes.length, width, height)]))
    const leader = places.get(cluster.leader)
    const others = leader ? cluster.nodes.filter(({id}) => id !== cluster.leader) : []
    linkRows.show(others.map((node) => ({node, ends: between(leader, places.get(node.id)), flows: perSecond > 0 && isUp(node)})), ({node}) => node.id)
    nodeRows.show(cluster.nodes.map((node) => ({node, at: places.get(node.id), here: node.id === cluster.node, perSecond})), ({node}) => node.id)
  }

  new ResizeObserver(() => last && update(...last)).observe(element)
  return {element, update}
}

/** Evenly round an ellipse that fills the height. */
function place(row, nodes, width, height) {
  const angle = (row) => (nodes === 2 ? Math.PI : -Math.PI / 2) + (2 * Math.PI * row) / nodes
  const heights = Array.from({length: nodes}, (_, row) => Math.sin(angle(row)))
  const [top, bottom] = [Math.min(...heights), Math.max(...heights)]
  const [first, last] = [RADIUS + 8, height - RADIUS - 46]
  const part = bottom - top < 1e-6 ? 0.5 : (heights[row] - top) / (bottom - top)
  const wide = nodes === 1 ? 0 : Math.min(width / 2 - 62, 260)
  return {x: width / 2 + wide * Math.cos(angle(row)), y: first + (last - first) * part}
}

/** From edge to edge. */
function between(from, to) {
  const length = Math.hypot(to.x - from.x, to.y - from.y) || 1
  const [x, y] = [(to.x - from.x) / length, (to.y - from.y) / length]
  const gap = RADIUS + 10
  return {x1: from.x + x * gap, y1: from.y + y * gap, x2: to.x - x * gap, y2: to.y - y * gap}
}

function drawNode() {
  const ring = {r: RADIUS, pathLength: 100}
  const load = svg('circle', {class: 'load', ...ring, transform: 'rotate(-90)'})
  const name = svg('text', {class: 'name', y: -2})
  const role = svg('text', {class: 'role', y: 16})
  const state = svg('text', {class: 'fares', y: RADIUS + 20})
  const more = svg('text', {class: 'more', y: RADIUS + 37})
  const disc = svg('circle', {class: 'disc', r: RADIUS - 7})
  const element = svg('g', {}, svg('circle', {class: 'track', ...ring}), load, disc, name, role, state, more)
  function update(node, {x, y}, here, perSecond) {
    set(element, {class: `node ${node.role} ${node.state}`, transform: `translate(${x.toFixed(1)} ${y.toFixed(1)})`})
    set(load, {'stroke-dasharray': `${isUp(node) ? 100 * (node.cpu ?? 0) : 0} 100`})
    write(name, `node ${node.id}`)
    write(role, node.state === 'up' ? node.role : STATES[node.state])
    write(state, lagText(node, perSecond))
    write(more, here ? 'answers this page' : isUp(node) ? plural(node.connections, 'connection') : '')
  }
  return {element, update}
}

/** What the picture shows, for those who don't see it. The table below has it in full. */
function describe({nodes}) {
  return nodes.map(({id, role, state}) => `Node ${id}: ${role}, ${STATES[state]}`).join('. ')
}

const COLUMNS = ['Node', 'Role', 'State', 'Position', 'Lag', 'Load', 'Connections', 'Version', 'Address']

function nodeTable() {
  const body = h('tbody', {})
  const element = h('table', {},
    h('caption', {class: 'unseen'}, 'Nodes'),
    h('thead', {}, h('tr', {}, ...COLUMNS.map((name) => h('th', {scope: 'col'}, name)))), body)
  const rows = new Rows(body, () => {
    const head = h('th', {scope: 'row'})
    const cells = COLUMNS.slice(1, -1).map(() => h('td', {}))
    const link = h('a', {})
    return {element: h('tr', {}, head, ...cells, h('td', {}, link)), head, cells, link}
  }, ({element, head, cells, link}, {node, here, perSecond}) => {
    set(element, {class: `node ${node.state}`, 'data-node': node.id})
    write(head, here ? `${node.id}, answers this page` : `${node.id}`)
    const {role, state, applied, cpu, cores, connections, version} = node
    const load = cpu === undefined ? '–' : `${loadText({cpu})} of ${plural(cores, 'core')}`
    // Of one that doesn't answer, none that may have changed since.
    const [position, open] = [applied, connections].map((figure) => count(isUp(node) ? figure : undefined))
    const texts = [role, STATES[state], position, lagText(node, perSecond), load, open, version || '–']
    texts.forEach((text, column) => write(cells[column], text))
    set(link, {href: `${node.clientUrl}/console`})
    write(link, node.clientUrl.replace(/^https?:\/\//, ''))
  })
  const update = ({nodes, node: answering}, perSecond) =>
    rows.show(nodes.map((node) => ({node, here: node.id === answering, perSecond})), ({node}) => node.id)
  return {element, update}
}
