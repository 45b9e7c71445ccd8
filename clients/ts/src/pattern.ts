/** Whether a pattern stands for a topic: `*` is one level, a final `**` one or more, between `:`. */
export function matches(pattern: string, topic: string): boolean {
  const wanted = pattern.split(':')
  const found = topic.split(':')
  const rest = wanted.at(-1) === '**'
  if (rest ? found.length < wanted.length : found.length !== wanted.length) return false
  return wanted.every((level, n) => level === '*' || level === found[n] || (rest && n === wanted.length - 1))
}
