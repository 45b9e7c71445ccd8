// One topic: what it is, what comes in, and a way to publish.

import {ask, topicPath} from './api.js'
import {bytes, count, field, h, plural, rate, set, write} from './dom.js'
import {indented, members} from './json.js'
import {follow} from './tail.js'
import {retentionText} from './topics.js'

/** Messages that the page holds. Older ones are a jump away. */
const ROWS_MAX = 500

/** Under load, rows come in groups: drawing is what costs. */
const DRAW_EVERY_MS = 100

const NOTICES = {
  retention: 'Messages are missing here: retention has removed them.',
  overrun: 'Messages are missing here: this page was too slow for them.',
  epoch: 'The id is not of this cluster. What follows is from its start.',
  recreated: 'Messages are missing here: they were deleted with their topic.',
}

export function topicView(name) {
  const facts = h('p', {class: 'summary'})
  const tail = tailPanel(name)
  const element = h('div', {class: 'view'},
    h('p', {class: 'back'}, h('a', {href: '#/topics'}, 'Topics')),
    h('div', {class: 'bar'}, h('h1', {tabindex: '-1'}, name),
      h('button', {type: 'button', class: 'quiet end', onclick: () => deleteTopic(name)}, 'Delete …')),
    facts,
    h('div', {class: 'columns'}, tail.element, publishPanel(name)))
  let asked = 0

  return {
    element,
    title: name,
    close: tail.close,
    async update({topics, topicCount, timeMs}, series) {
      let topic = topics.find((topic) => topic.name === name)
      // It may be one of those that a sample has no room for.
      if (!topic && topicCount > topics.length && timeMs !== asked) {
        asked = timeMs
        topic = await ask('GET', topicPath(name)).catch(() => undefined)
      }
      write(facts, topic ? factsOf(topic, series.topics.get(name)) : 'There is no such topic.')
    },
  }
}

function factsOf({messages, bytes: size, nextSeq, subscribers, retention}, perSecond) {
  const speed = perSecond === undefined ? '' : `, ${rate(perSecond)} a second`
  return `${plural(nextSeq - 1, 'message')} so far${speed}. Kept: ${count(messages)}, ${bytes(size)}; at most ${retentionText(retention)}. ${plural(subscribers, 'stream')} on this node.`
}

/** The live tail, newest first. */
function tailPanel(name) {
  let stop = new AbortController()
  let isPaused = false
  let waiting = []
  let passed = 0
  let timer
  const list = h('ol', {class: 'tail', tabindex: '0', 'aria-label': 'Messages, newest first'})
  const state = h('p', {class: 'said', role: 'status'})
  const amount = h('p', {class: 'hint'})
  const pause = h('button', {type: 'button', 'aria-pressed': 'false', onclick: toggle}, 'Pause')
  const filter = h('input', {type: 'search', autocomplete: 'off', spellcheck: 'false', oninput: sift})
  const from = h('input', {list: 'starts', autocomplete: 'off', spellcheck: 'false', placeholder: 'the last 50'})
  const jump = h('form', {class: 'bar', onsubmit: (event) => {
    event.preventDefault()
    start()
  }}, field('Start at', from), h('button', {class: 'quiet'}, 'Go'))
  const starts = h('datalist', {id: 'starts'}, ...['earliest', '10m', '1h', 'now'].map((value) => h('option', {value})))
  const element = h('section', {class: 'panel', 'aria-labelledby': 'tail-title'},
    h('h2', {id: 'tail-title'}, 'Messages'),
    h('div', {class: 'bar'}, field('Filter', filter), jump, starts, pause),
    h('p', {class: 'hint'}, 'Start at an id, a time such as 2027-01-31T12:00:00Z, a time ago such as 10m, or earliest.'),
    h('div', {class: 'bar'}, state, amount), list)
  start()

  function start() {
    stop.abort()
    stop = new AbortController()
    waiting = []
    passed = 0
    list.replaceChildren()
    write(amount, '')
    write(state, 'connecting')
    const query = new URLSearchParams(from.value.trim() ? {after: from.value.trim()} : {tail: 50})
    follow(name, query, stop.signal, {event: take, state: (text) => write(state, text)})
  }

  function take(event) {
    const row = rowOf(event)
    if (!row) return
    waiting.push(row)
    if (waiting.length > ROWS_MAX) {
      waiting.shift()
      passed++
    }
    timer ??= setTimeout(draw, DRAW_EVERY_MS)
  }

  function draw() {
    clearTimeout(timer)
    timer = undefined
    if (!isPaused) {
      for (const row of waiting) match(row)
      list.prepend(...waiting.reverse().map(({element}) => element))
      waiting = []
      while (list.childElementCount > ROWS_MAX) {
        list.lastElementChild.remove()
        passed++
      }
    }
    tell()
  }

  function toggle() {
    // What came before is still to be seen.
    draw()
    isPaused = !isPaused
    set(pause, {'aria-pressed': String(isPaused)})
    write(pause, isPaused ? 'Resume' : 'Pause')
    draw()
  }

  function sift() {
    for (const element of list.children) match({element})
    tell()
  }

  function match({element}) {
    const wanted = filter.value.toLowerCase()
    element.hidden = wanted !== '' && !(element.dataset.text ?? '').includes(wanted)
  }

  function tell() {
    const shown = [...list.children].filter(({hidden}) => !hidden).length
    const all = list.childElementCount
    const parts = [filter.value ? `${count(shown)} of ${plural(all, 'message')}` : plural(all, 'message')]
    if (waiting.length > 0) parts.push(`${count(waiting.length)} waiting`)
    if (passed > 0) parts.push(`${count(passed)} older ones let go`)
    write(amount, parts.join(', '))
  }

  return {element, close: () => stop.abort()}
}

/** A row of the tail; undefined for events that only the stream needs. */
function rowOf({event, data, id}) {
  if (event === 'repl.gap') return {element: h('li', {class: 'notice'}, NOTICES[JSON.parse(data).reason] ?? 'Messages are missing here.')}
  if (event === 'repl.topic') return {element: h('li', {class: 'notice'}, 'The topic was deleted here.')}
  if (event?.startsWith('repl.')) return undefined
  const parts = members(data)
  const at = new Date(JSON.parse(parts.get('createdAt')))
  const all = h('pre', {tabindex: '0'})
  const details = h('details', {ontoggle: () => write(all, indented(data))},
    h('summary', {},
      h('time', {datetime: at.toISOString(), title: at.toLocaleString()}, clock(at)),
      h('span', {class: 'seq'}, `#${parts.get('seq')}`),
      ...(event ? [h('span', {class: 'type'}, event)] : []),
      h('code', {}, parts.get('value'))),
    all)
  return {element: h('li', {'data-id': id, 'data-text': data.toLowerCase()}, details)}
}

function clock(at) {
  const two = (number) => String(number).padStart(2, '0')
  return `${two(at.getHours())}:${two(at.getMinutes())}:${two(at.getSeconds())}.${String(at.getMilliseconds()).padStart(3, '0')}`
}

/** A form that publishes what is written into it, byte for byte. */
function publishPanel(name) {
  const value = h('textarea', {rows: 6, spellcheck: 'false', required: true, placeholder: '{"text": "hello"}'})
  const type = h('input', {autocomplete: 'off', spellcheck: 'false'})
  const key = h('input', {autocomplete: 'off', spellcheck: 'false'})
  const said = h('p', {class: 'said', role: 'status'})
  const form = h('form', {class: 'stack', onsubmit: publish},
    field('Value, as JSON', value), field('Type', type, 'Optional: the name of its event.'),
    field('Idempotency key', key, 'Optional: under one key, one message is stored, however often it is sent.'),
    h('button', {}, 'Publish'), said)

  async function publish(event) {
    event.preventDefault()
    try {
      JSON.parse(value.value)
    } catch {
      write(said, `This is not JSON. Text stands in quotes: ${JSON.stringify(value.value)}`)
      return
    }
    const body = `{"value": ${value.value}${type.value ? `, "type": ${JSON.stringify(type.value)}` : ''}}`
    const headers = key.value ? {'Idempotency-Key': key.value} : {}
    try {
      const {id} = await ask('POST', topicPath(name), {body, headers})
      write(said, `Stored as ${id}.`)
    } catch (error) {
      write(said, error.message)
    }
  }

  return h('section', {class: 'panel', 'aria-labelledby': 'publish-title'}, h('h2', {id: 'publish-title'}, 'Publish'), form)
}

/** Asks whether it is meant, and deletes. */
function deleteTopic(name) {
  const said = h('p', {role: 'status', class: 'said'})
  const dialog = h('dialog', {'aria-labelledby': 'delete-title'},
    h('h2', {id: 'delete-title'}, `Delete ${name}?`),
    h('p', {}, 'Its messages are gone for good, on all nodes. Its readers are told.'), said,
    h('div', {class: 'bar'},
      h('button', {type: 'button', class: 'danger', onclick: confirm}, 'Delete'),
      h('button', {type: 'button', class: 'quiet', onclick: () => dialog.close()}, 'Keep')))
  dialog.addEventListener('close', () => dialog.remove())

  async function confirm() {
    try {
      await ask('DELETE', topicPath(name))
      dialog.close()
      location.hash = '#/topics'
    } catch (error) {
      write(said, error.message)
    }
  }

  document.body.append(dialog)
  dialog.showModal()
}
