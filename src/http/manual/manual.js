// Search in the manual. Without it the pages are the same, and have no field to search in.

const RESULTS_MAX = 20
const SNIPPET = 160

const label = make('label', {className: 'search'}, 'Search ')
const field = make('input', {type: 'search', autocomplete: 'off', placeholder: 'press /'})
const results = make('section', {className: 'results', hidden: true, ariaLabel: 'Search results'})
const count = make('p', {role: 'status'})
const list = make('ol', {})
label.append(field)
document.querySelector('header').append(label)
results.append(count, list)
document.querySelector('main').prepend(results)

/** Fetched when somebody begins to search, and again if that failed. */
let sections

field.addEventListener('focus', load)
field.addEventListener('input', search)
addEventListener('keydown', (event) => {
  if (event.key === '/' && document.activeElement !== field && !event.ctrlKey && !event.metaKey && !event.altKey) {
    event.preventDefault()
    field.focus()
  } else if (event.key === 'Escape' && !results.hidden) {
    field.value = ''
    field.focus()
    search()
  } else if ((event.key === 'ArrowDown' || event.key === 'ArrowUp') && !results.hidden) {
    const stops = [field, ...list.querySelectorAll('a')]
    const at = stops.indexOf(document.activeElement)
    if (at < 0) return
    event.preventDefault()
    stops[at + (event.key === 'ArrowDown' ? 1 : -1)]?.focus()
  }
})
// A result on this page is shown, and not what was found.
list.addEventListener('click', () => (results.hidden = true))

function load() {
  sections ??= fetch('/docs/search.json')
    .then((answer) => answer.json())
    .catch(() => (sections = undefined))
  return sections
}

async function search() {
  const words = field.value.toLowerCase().split(/\s+/).filter(Boolean)
  const all = await load()
  results.hidden = words.length === 0
  if (!all) {
    count.textContent = 'No search: the node doesn’t answer.'
    return list.replaceChildren()
  }
  const found = all.filter(({heading, text}) => has(`${heading} ${text}`, words))
  // Those whose heading says it first.
  found.sort((a, b) => has(b.heading, words) - has(a.heading, words))
  count.textContent = found.length === 1 ? '1 section' : `${found.length} sections`
  list.replaceChildren(...found.slice(0, RESULTS_MAX).map((section) => entry(section, words[0])))
}

function has(text, words) {
  const lower = text.toLowerCase()
  return words.every((word) => lower.includes(word))
}

function entry({url, page, heading, text}, word) {
  const at = Math.max(0, text.toLowerCase().indexOf(word) - SNIPPET / 3)
  const snippet = (at > 0 ? '…' : '') + text.slice(at, at + SNIPPET)
  const item = make('li', {})
  item.append(make('a', {href: url}, heading === page ? page : `${page}: ${heading}`), make('p', {}, snippet))
  return item
}

function make(name, properties, text = '') {
  const element = Object.assign(document.createElement(name), properties)
  element.textContent = text
  return element
}
