// JSON as it was written. Parsing it and writing it anew would round its numbers.

/** The members of an object, as text, by name. */
export function members(object) {
  const found = new Map()
  let depth = 0
  let start = 1
  let name
  for (const {0: token, index} of tokens(object)) {
    if (token === '{' || token === '[') depth++
    else if (token === ':' && depth === 1) {
      name = JSON.parse(object.slice(start, index))
      start = index + 1
    } else if (depth === 1 && (token === ',' || token === '}')) {
      if (name !== undefined) found.set(name, object.slice(start, index).trim())
      start = index + 1
    }
    if (token === '}' || token === ']') depth--
  }
  return found
}

/** The same JSON, a member or an element a line. */
export function indented(json) {
  let text = ''
  let depth = 0
  let opened = false
  const line = () => `\n${'  '.repeat(depth)}`
  for (const [token] of tokens(json)) {
    const closes = token === '}' || token === ']'
    if (closes) depth--
    if (opened !== closes && (opened || closes)) text += line()
    text += token
    opened = token === '{' || token === '['
    if (opened) depth++
    else if (token === ',') text += line()
    else if (token === ':') text += ' '
  }
  return text
}

/** Strings, marks, and words such as numbers. */
function tokens(json) {
  return json.matchAll(/"(?:[^"\\]|\\.)*"|[{}[\],:]|[^\s{}[\],:"]+/g)
}
