// Lines over the last minutes.

import {h, set, svg, write} from './dom.js'

/** What a chart shows from its left edge to its right one: all there is, within these. */
const SPAN_MS = {min: 30_000, max: 300_000}

/** The same of a line beside a figure. */
const SPARK_MS = {min: 10_000, max: 60_000}

/** Longer than this between two points, and nothing is known of the time between. */
const HOLE_MS = 5_000

const HEIGHT = 120

/**
 * A chart with a title and its newest values in figures.
 *
 * @param {string} title
 * @param {{of: string, name?: string}[]} lines Which members of a point to draw. The first is drawn with what is below it.
 * @param {(value?: number) => string} format
 */
export function chart(title, lines, format) {
  const top = h('span', {class: 'top'})
  const paths = lines.map((_, row) => svg('path', {class: `line line-${row}`}))
  const area = svg('path', {class: 'area'})
  const picture = svg('svg', {viewBox: `0 0 1000 ${HEIGHT}`, preserveAspectRatio: 'none', role: 'img'}, area, ...paths)
  const figures = lines.map(({name}, row) => ({name, value: h('strong', {}), mark: `mark-${row}`}))
  const legend = figures.map(({name, value, mark}) => h('span', {class: mark}, value, name ? ` ${name}` : ''))
  const start = h('span', {})
  const element = h('figure', {class: 'chart panel'},
    h('figcaption', {}, h('h2', {}, title), h('p', {}, ...legend)),
    h('div', {class: 'plot'}, top, picture),
    h('p', {class: 'axis', 'aria-hidden': 'true'}, start, h('span', {}, 'now')))

  function update(points) {
    const {now, span, seen} = within(points, SPAN_MS)
    const highest = roundUp(Math.max(0, ...seen.flatMap((point) => lines.map(({of}) => point[of] ?? 0))))
    const place = ({at}, value) => {
      const x = 1000 * (1 - (now - at) / span)
      const y = HEIGHT - 2 - (HEIGHT - 4) * (highest ? value / highest : 0)
      return `${x.toFixed(1)} ${y.toFixed(1)}`
    }
    lines.forEach(({of}, row) => {
      const runs = unbroken(seen, of)
      set(paths[row], {d: runs.map((run) => `M${run.map((point) => place(point, point[of])).join('L')}`).join('')})
      if (row > 0) return
      const below = (run) => `M${place(run[0], 0)}L${run.map((point) => place(point, point[of])).join('L')}L${place(run.at(-1), 0)}Z`
      set(area, {d: runs.map(below).join('')})
    })
    write(start, span < 60_000 ? `${Math.round(span / 1000)} s ago` : `${Math.round(span / 60_000)} min ago`)
    write(top, highest ? format(highest) : '')
    figures.forEach(({value}, row) => write(value, format(points.at(-1)?.[lines[row].of])))
    const told = figures.map(({name, value}) => [name, value.textContent].filter(Boolean).join(' ')).join(', ')
    set(picture, {'aria-label': `${title}: ${told} now, less than ${format(highest)} since ${start.textContent}`})
  }

  return {element, update}
}

/** The same without a frame, for a place beside a figure. */
export function spark(of) {
  const path = svg('path', {class: 'line'})
  const element = svg('svg', {class: 'spark', viewBox: '0 0 120 28', preserveAspectRatio: 'none', 'aria-hidden': 'true'}, path)
  const update = (points) => {
    const {now, span, seen} = within(points, SPARK_MS)
    const highest = Math.max(...seen.map((point) => point[of] ?? 0), Number.EPSILON)
    const place = (point) => `${(120 * (1 - (now - point.at) / span)).toFixed(1)} ${(26 - 24 * (point[of] / highest)).toFixed(1)}`
    set(path, {d: unbroken(seen, of).map((run) => `M${run.map(place).join('L')}`).join('')})
  }
  return {element, update}
}

/** The points to show, and over how much time. */
function within(points, {min, max}) {
  const now = points.at(-1)?.at ?? 0
  const seen = points.filter(({at}) => at > now - max)
  return {now, seen, span: Math.max(min, now - (seen[0]?.at ?? now))}
}

/** Points that follow one another with what is to be drawn. */
function unbroken(points, of) {
  const runs = []
  let last
  for (const point of points) {
    if (point[of] === undefined) continue
    if (!last || point.at - last.at > HOLE_MS) runs.push([])
    runs.at(-1).push(point)
    last = point
  }
  return runs
}

/** The next of 1, 2 or 5, at its power of ten. */
function roundUp(value) {
  if (value <= 0) return 0
  const power = 10 ** Math.floor(Math.log10(value))
  return [1, 2, 5, 10].map((step) => step * power).find((bound) => bound >= value)
}
