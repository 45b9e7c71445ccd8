// A long list of a node, a page at a time: the page holds no more than it shows.

import {ask} from './api.js'
import {h, set, write} from './dom.js'

/**
 * @param {string} label What the pages are of.
 * @param {number} limit Rows on a page.
 * @param {() => [string, object]} question The path to ask, and what is looked for there.
 * @param {(answer: object, isOnly: boolean) => void} show Is given a page when it comes, and whether there is no other.
 */
export function pages(label, limit, question, show) {
  /** Behind what each page begins, from the first one to this. */
  let starts = [undefined]
  let next
  /** Counts questions: an answer to one that isn't the last is not shown. */
  let asked = 0
  let isWaiting = false
  const at = h('span', {role: 'status'})
  const [back, onward] = [['Previous', () => starts.slice(0, -1)], ['Next', () => [...starts, next]]].map(([name, there]) =>
    h('button', {type: 'button', class: 'quiet', onclick: ({currentTarget}) => {
      if (currentTarget.getAttribute('aria-disabled') !== 'true') turn(there())
    }}, name))
  const element = h('div', {class: 'bar pages', role: 'group', 'aria-label': `Pages of ${label}`, hidden: true}, back, onward, at)

  function turn(there) {
    starts = there
    // Where they lead is known when the page is there.
    for (const button of [back, onward]) set(button, {'aria-disabled': 'true'})
    load()
  }

  async function load() {
    const mine = ++asked
    isWaiting = true
    const [path, query] = question()
    const after = starts.at(-1)
    const all = new URLSearchParams({...query, limit, ...(after !== undefined && {after})})
    const answer = await ask('GET', `${path}?${all}`).catch(() => undefined)
    if (mine !== asked) return
    isWaiting = false
    if (!answer) return
    next = answer.next
    const [isFirst, isLast] = [starts.length === 1, next === undefined]
    // Not `disabled`: whoever has come to the last page by the keyboard stays where he is.
    set(back, {'aria-disabled': String(isFirst)})
    set(onward, {'aria-disabled': String(isLast)})
    set(element, {hidden: isFirst && isLast})
    write(at, `Page ${starts.length}`)
    show(answer, isFirst && isLast)
  }

  return {
    element,
    /** Asks for the same page again, unless its answer is on the way. */
    refresh: () => isWaiting || load(),
    /** Asks for the first page. */
    restart: () => turn([undefined]),
    hide() {
      asked++
      isWaiting = false
      set(element, {hidden: true})
    },
  }
}
