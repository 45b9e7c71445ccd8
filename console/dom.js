// Elements, made of plain calls: text stays text, so nothing that a publisher wrote becomes markup.

const SVG = 'http://www.w3.org/2000/svg'

/** An element: `h('button', {type: 'button', onclick: pause}, 'Pause')`. */
export function h(name, attributes, ...children) {
  return filled(document.createElement(name), attributes, children)
}

/** The same of SVG. */
export function svg(name, attributes, ...children) {
  return filled(document.createElementNS(SVG, name), attributes, children)
}

function filled(element, attributes = {}, children) {
  set(element, attributes)
  element.append(...children)
  return element
}

/** Changes attributes; `undefined` and `false` take one away. */
export function set(element, attributes) {
  for (const [name, value] of Object.entries(attributes)) {
    if (name.startsWith('on')) element.addEventListener(name.slice(2), value)
    else if (value === undefined || value === false) element.removeAttribute(name)
    else element.setAttribute(name, value === true ? '' : value)
  }
}

/** Changes a text, if it is another one: who selects it keeps the selection. */
export function write(element, text) {
  if (element.textContent !== text) element.textContent = text
}

/** A field with its label above it. */
export function field(label, input, hint) {
  return h('label', {}, h('span', {}, label), input, ...(hint ? [h('small', {}, hint)] : []))
}

/**
 * Rows that stay what they are while others come and go: `make(key)` makes one, `update(row, item)` fills it in. A row is
 * whatever `make` returns, with the `element` that is shown.
 */
export class Rows {
  #rows = new Map()

  constructor(parent, make, update) {
    Object.assign(this, {parent, make, update})
  }

  show(items, keyOf) {
    const keys = new Set(items.map(keyOf))
    for (const [key, row] of this.#rows) {
      if (keys.has(key)) continue
      row.element.remove()
      this.#rows.delete(key)
    }
    let before = this.parent.firstElementChild
    for (const item of items) {
      const key = keyOf(item)
      if (!this.#rows.has(key)) this.#rows.set(key, this.make(key))
      const row = this.#rows.get(key)
      if (row.element === before) before = before.nextElementSibling
      else this.parent.insertBefore(row.element, before)
      this.update(row, item)
    }
  }
}

const whole = new Intl.NumberFormat('en', {maximumFractionDigits: 0})
const short = new Intl.NumberFormat('en', {notation: 'compact', maximumSignificantDigits: 3})

/** A number as people read it; a dash if it is not known. */
export function count(value) {
  if (value === undefined) return '–'
  return value < 100_000 ? whole.format(value) : short.format(value)
}

/** How many a second. */
export function rate(value) {
  return value !== undefined && value > 0 && value < 10 ? value.toFixed(1) : count(value)
}

export function bytes(value) {
  const units = ['B', 'KiB', 'MiB', 'GiB', 'TiB']
  let unit = 0
  for (; value >= 1024 && unit < units.length - 1; unit++) value /= 1024
  return `${value < 10 && unit > 0 ? value.toFixed(1) : Math.round(value)} ${units[unit]}`
}

/** A time given in microseconds. */
export function duration(micros) {
  if (micros === undefined) return '–'
  if (micros < 1000) return `${Math.round(micros)} µs`
  if (micros < 1_000_000) return `${(micros / 1000).toFixed(micros < 10_000 ? 1 : 0)} ms`
  return `${(micros / 1_000_000).toFixed(1)} s`
}

/** A time span given in seconds, as settings have it. */
export function span(seconds) {
  for (const [unit, size] of [['d', 86_400], ['h', 3_600], ['m', 60]]) {
    if (seconds >= size && seconds % size === 0) return `${seconds / size} ${unit}`
  }
  return `${seconds} s`
}

/** How long something has been so, given in seconds. */
export function age(seconds) {
  const [unit, size] = [['d', 86_400], ['h', 3_600], ['min', 60]].find(([, size]) => seconds >= size) ?? ['s', 1]
  return `${Math.max(0, Math.floor(seconds / size))} ${unit}`
}

export function plural(value, one, many = `${one}s`) {
  return `${count(value)} ${value === 1 ? one : many}`
}
