/** A message's number in the one order of its cluster. Clients don't look into cursors; these tests check them. */
export function position({id}) {
  return Number(id.split('-').at(-1))
}

export function inOrder(messages) {
  return messages.toSorted((one, other) => position(one) - position(other))
}
