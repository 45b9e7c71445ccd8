/**
 * A place in the cluster's one order of messages. Hand it back as it came: it may be stored, and resumes any set of
 * topics on any node.
 */
export type Cursor = string

/** Whether two places are of one history: that of a cluster, until it is founded anew. */
export function isOfSameHistory(one: Cursor, other: Cursor): boolean {
  return one.slice(0, one.lastIndexOf('-')) === other.slice(0, other.lastIndexOf('-'))
}

/**
 * Whether a message that stands at `id` lies behind `cursor`. This is the one place that looks into cursors: several
 * subscriptions can share a stream only if it is known which of them has seen more. Cursors of different histories, and
 * such as it doesn't know, have no order; a message is then taken for new, as it is better seen twice than never.
 */
export function isAfter(id: Cursor, cursor: Cursor): boolean {
  const [a, b] = [id.lastIndexOf('-') + 1, cursor.lastIndexOf('-') + 1]
  if (id.slice(0, a) !== cursor.slice(0, b)) return true
  // Digits without leading zeros: the longer is the larger. They may not fit into a number.
  const longer = id.length - cursor.length
  return longer ? longer > 0 : id > cursor
}
