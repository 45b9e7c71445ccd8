/** The element with this id. */
export const byId = (id) => document.getElementById(id)

/** Makes an element of properties and children. */
export function element(name, properties = {}, ...children) {
  const {attributes = {}, ...rest} = properties
  const made = Object.assign(document.createElement(name), rest)
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value)
  made.append(...children)
  return made
}

/** Shows these in a list. What it shows already stays, and so does the focus that is on it, and the press of a button. */
export function show(list, elements) {
  for (const [n, element] of elements.entries()) {
    const shown = list.children[n]
    if (!shown) list.append(element)
    else if (!shown.isEqualNode(element)) shown.replaceWith(element)
  }
  while (list.children.length > elements.length) list.lastElementChild.remove()
}

/** Asks the chat's own server. */
export async function ask(method, path, body) {
  const content = body && {headers: {'Content-Type': 'application/json'}, body: JSON.stringify(body)}
  const response = await fetch(path, {method, ...content})
  const answer = await response.json()
  if (!response.ok) throw Object.assign(new Error(answer.error), {status: response.status})
  return answer
}
