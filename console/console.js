// The page: which view is shown, and what it is told.

import {session} from './api.js'
import {clusterView} from './cluster.js'
import {field, h, set, write} from './dom.js'
import {watch} from './feed.js'
import {loadView} from './load.js'
import {Series} from './series.js'
import {streamsView} from './streams.js'
import {topicView} from './topic.js'
import {topicsView} from './topics.js'

const [main, state, notice, theme] = ['main', 'state', 'notice', 'theme'].map((id) => document.getElementById(id))
/** Views by the first part of the address behind its hash. */
const VIEWS = {topics: topicsView, streams: streamsView, load: loadView}
const series = new Series()
let sample
let view

function route() {
  const [, page = '', ...rest] = location.hash.split('/')
  const name = decoded(rest.join('/'))
  view?.close?.()
  view = page === 'topics' && name ? topicView(name) : (VIEWS[page] ?? clusterView)()
  document.title = `${view.title} · repl`
  for (const link of document.querySelectorAll('nav a')) {
    const isHere = link.hash.split('/')[1] === page
    set(link, {'aria-current': isHere && (name ? 'true' : 'page')})
  }
  main.replaceChildren(view.element)
  if (sample) view.update(sample, series)
}

function decoded(text) {
  try {
    return decodeURIComponent(text)
  } catch {
    return text
  }
}

function run() {
  write(state, 'Connecting …')
  watch({
    sample(newest) {
      sample = newest
      series.add(sample)
      view.update(sample, series)
      const elsewhere = session.url !== location.origin
      tell('live', `Node ${sample.cluster.node}`)
      set(notice, {hidden: !elsewhere})
      write(notice, elsewhere ? `The node that this page came from went away. Node ${sample.cluster.node} answers now.` : '')
    },
    away() {
      tell('away', 'No answer')
      set(notice, {hidden: false})
      notice.replaceChildren('No node answers. The page goes on by itself as soon as one does. ', ...otherNodes())
    },
    locked(refusal) {
      tell('away', 'Locked')
      askForToken(refusal)
    },
  })
}

function tell(is, text) {
  set(state, {class: is})
  write(state, text)
}

/** Where else there is a console: a page may not ask every node, but whoever reads it can go there. */
function otherNodes() {
  const others = (sample?.cluster.nodes ?? []).filter(({clientUrl}) => clientUrl !== location.origin)
  return others.flatMap(({id, clientUrl}) => [h('a', {href: `${clientUrl}/console`}, `Node ${id}`), ' '])
}

function askForToken(refusal) {
  view?.close?.()
  const token = h('input', {type: 'password', autocomplete: 'off', spellcheck: 'false', required: true})
  const form = h('form', {class: 'stack', onsubmit: (event) => {
    event.preventDefault()
    session.token = token.value.trim()
    route()
    run()
  }}, field('Token', token, 'It is kept in this tab only, and sent to this node only.'), h('button', {}, 'Open'))
  main.replaceChildren(h('div', {class: 'view narrow panel'},
    h('h1', {tabindex: '-1'}, 'Who are you?'),
    h('p', {}, 'This node asks for a token. The console takes one with the right admin; what else it may do, the token says.'),
    h('p', {class: 'said', role: 'alert'}, session.token ? refusal.message : ''), form))
  token.focus()
}

/** As the system has it, unless somebody said otherwise here. */
function showTheme() {
  const dark = matchMedia('(prefers-color-scheme: dark)').matches
  const chosen = localStorage.getItem('repl.theme') ?? undefined
  set(document.documentElement, {'data-theme': chosen})
  const isDark = chosen ? chosen === 'dark' : dark
  write(theme, isDark ? 'Light' : 'Dark')
  set(theme, {'aria-label': isDark ? 'Switch to light colours' : 'Switch to dark colours'})
  return isDark
}

theme.addEventListener('click', () => {
  localStorage.setItem('repl.theme', showTheme() ? 'light' : 'dark')
  showTheme()
})
matchMedia('(prefers-color-scheme: dark)').addEventListener('change', showTheme)
showTheme()

addEventListener('hashchange', () => {
  route()
  main.querySelector('h1')?.focus()
})
route()
run()
