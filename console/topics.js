// Topics: what they hold, how fast they grow, and new ones.

import {ask} from './api.js'
import {Rows, bytes, count, field, h, plural, rate, set, span, write} from './dom.js'
import {pages} from './pages.js'
import {rates} from './series.js'

/** Where there are more than a sample holds, so many are shown at once. */
const PAGE = 100

/** Between two letters that somebody types. */
const PAUSE_MS = 200

/** Name, whether it counts, and what to sort by. */
const COLUMNS = [
  ['Topic', false, (one, other) => (one.name < other.name ? -1 : 1)],
  ['Messages a second', true, (one, other) => (other.rate ?? 0) - (one.rate ?? 0)],
  ['Kept', true, (one, other) => other.messages - one.messages],
  ['Size', true, (one, other) => other.bytes - one.bytes],
  ['Streams here', true, (one, other) => other.subscribers - one.subscribers],
  ['Retention', false],
]

export function topicHref(name) {
  return `#/topics/${encodeURIComponent(name)}`
}

/** What a topic keeps, in words. */
export function retentionText({maxMessages, maxBytes, maxAgeSeconds}) {
  if (maxMessages === 0) return 'nothing, live only'
  return `${plural(maxMessages, 'message')}, ${bytes(maxBytes)}, ${span(maxAgeSeconds)}`
}

export function topicsView() {
  let sortedBy = 0
  /** What the names shown have in them: not yet all that is in the field, while somebody types. */
  let wanted = ''
  let sample
  let topics = []
  let perSecond = new Map()
  let pagedAt
  let timer
  const filter = h('input', {type: 'search', placeholder: 'orders:', oninput: search, autocomplete: 'off', spellcheck: 'false'})
  const summary = h('p', {class: 'summary', role: 'status'})
  const body = h('tbody', {})
  const heads = COLUMNS.map(([name, isNumber, order], column) => h('th', {scope: 'col', class: isNumber && 'number'},
    order ? h('button', {type: 'button', onclick: () => sort(column)}, name) : name))
  const rows = new Rows(body, (name) => {
    const cells = COLUMNS.slice(1).map(([, isNumber]) => h('td', {class: isNumber && 'number'}))
    return {element: h('tr', {}, h('th', {scope: 'row'}, h('a', {href: topicHref(name)}, name)), ...cells), cells}
  }, ({cells}, topic) => {
    const texts = [rate(topic.rate), count(topic.messages), bytes(topic.bytes), count(topic.subscribers), retentionText(topic.retention)]
    texts.forEach((text, column) => write(cells[column], text))
  })
  const list = pages('topics', PAGE, () => ['/topics', {prefix: wanted}], takePage)
  const element = h('div', {class: 'view'},
    h('h1', {tabindex: '-1'}, 'Topics'), summary,
    h('div', {class: 'bar'}, field('Filter by name', filter)), newTopic(),
    h('div', {class: 'panel scroll', tabindex: '0', role: 'region', 'aria-label': 'Topics'},
      h('table', {}, h('caption', {class: 'unseen'}, 'Topics'), h('thead', {}, h('tr', {}, ...heads)), body)), list.element)
  sort(0)

  function sort(column) {
    sortedBy = column
    heads.forEach((head, row) => set(head, {'aria-sort': row === column && (COLUMNS[row][1] ? 'descending' : 'ascending')}))
    draw()
  }

  /** A sample has all topics, or the first of many. Of many, the node finds those that begin with what is looked for. */
  function hasMore() {
    return sample.topicCount > sample.topics.length
  }

  function search() {
    clearTimeout(timer)
    if (sample && hasMore()) timer = setTimeout(look, PAUSE_MS)
    else look()
  }

  function look() {
    wanted = filter.value
    if (!sample) return
    if (hasMore()) list.restart()
    else takeSample()
  }

  function takeSample() {
    topics = sample.topics.filter(({name}) => name.includes(wanted))
    write(summary, wanted ? `${count(topics.length)} of ${plural(sample.topicCount, 'topic')}` : plural(sample.topicCount, 'topic'))
    draw()
  }

  /** A page tells no rates; they are what has come since it was here before. */
  function takePage(page, isOnly) {
    const at = performance.now()
    perSecond = rates(topics, page.topics, (at - pagedAt) / 1000)
    pagedAt = at
    topics = page.topics
    const all = plural(sample.topicCount, 'topic')
    write(summary, !wanted ? `${all}, by name.` : isOnly ? `${count(topics.length)} of ${all} begin with ${wanted}` : `Those of ${all} that begin with ${wanted}`)
    draw()
  }

  function draw() {
    const rated = topics.map((topic) => ({...topic, rate: perSecond.get(topic.name)}))
    rows.show(rated.sort(COLUMNS[sortedBy][2]), ({name}) => name)
  }

  function update(newest, series) {
    sample = newest
    if (hasMore()) return list.refresh()
    list.hide()
    perSecond = series.topics
    takeSample()
  }

  return {element, title: 'Topics', update, close: () => clearTimeout(timer)}
}

/** A form that makes a topic, and goes there. */
function newTopic() {
  const name = h('input', {required: true, autocomplete: 'off', spellcheck: 'false'})
  const bound = () => h('input', {type: 'number', min: '0', inputmode: 'numeric'})
  const bounds = {maxMessages: bound(), maxBytes: bound(), maxAgeSeconds: bound()}
  const said = h('p', {role: 'status', class: 'said'})
  const form = h('form', {onsubmit: create},
    field('Name', name), field('Messages', bounds.maxMessages, '0: keep none'), field('Bytes', bounds.maxBytes),
    field('Seconds', bounds.maxAgeSeconds), h('button', {}, 'Create'), said)

  async function create(event) {
    event.preventDefault()
    const given = Object.entries(bounds).filter(([, {value}]) => value !== '')
    const retention = Object.fromEntries(given.map(([bound, {value}]) => [bound, Number(value)]))
    try {
      const topic = await ask('POST', '/topics', {body: JSON.stringify({name: name.value, retention})})
      location.hash = topicHref(topic.name)
    } catch (error) {
      write(said, error.message)
    }
  }

  return h('details', {class: 'panel'}, h('summary', {}, 'New topic'),
    h('p', {class: 'hint'}, 'It keeps its newest messages, up to the bound that is reached first. Those left empty are as the node has them.'), form)
}
