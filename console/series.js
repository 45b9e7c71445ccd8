// The last minutes, made of counters: what happened between one sample and the next.

/** Five minutes. */
const POINTS_MAX = 300

export class Series {
  /** By time, oldest first; what is not known is undefined. */
  points = []
  /** Messages a second, by topic. */
  topics = new Map()
  #last

  add(sample) {
    const last = this.#last
    this.#last = sample
    const {node, topics, cluster} = sample
    const seconds = last && follows(sample, last) ? (sample.timeMs - last.timeMs) / 1000 : undefined
    const rise = (counter) => seconds && (counter(sample) - counter(last)) / seconds
    const took = seconds && difference(node.publishes, last.node.publishes)
    const fsyncs = seconds && node.fsyncs - last.node.fsyncs
    this.points.push({
      at: Date.now(),
      messages: rise(({node}) => node.position),
      deliveries: rise(({node}) => node.deliveries),
      publishes: rise(({node}) => node.publishes.reduce((sum, [, count]) => sum + count, 0)),
      median: took && quantile(took, 0.5),
      slowest: took && quantile(took, 0.99),
      fsync: fsyncs ? (node.fsyncMicros - last.node.fsyncMicros) / fsyncs : undefined,
      streams: node.streams,
      connections: node.connections,
      node: cluster.node,
    })
    if (this.points.length > POINTS_MAX) this.points.shift()
    this.topics = rates(seconds ? last.topics : [], topics, seconds)
  }

  get newest() {
    return this.points.at(-1) ?? {}
  }
}

/** How many messages came to topics in the seconds between two looks at them, by name. */
export function rates(then, now, seconds) {
  const before = new Map(then.map(({name, nextSeq}) => [name, nextSeq]))
  return new Map(now.flatMap(({name, nextSeq}) => {
    const risen = nextSeq - before.get(name)
    return risen >= 0 ? [[name, risen / seconds]] : []
  }))
}

/** Whether the counters of two samples go on: of the same node, in the same life of it. */
function follows(sample, last) {
  return sample.cluster.node === last.cluster.node && sample.timeMs > last.timeMs
    && sample.node.position >= last.node.position && sample.node.deliveries >= last.node.deliveries
}

/** What was counted in between. */
function difference(now, then) {
  const before = new Map(then)
  return now.map(([end, count]) => [end, count - (before.get(end) ?? 0)]).filter(([, count]) => count > 0)
}

/** The time that a share of all took no longer than; undefined if there were none. */
function quantile(counts, share) {
  let left = Math.ceil(counts.reduce((sum, [, count]) => sum + count, 0) * share)
  return counts.find(([, count]) => (left -= count) <= 0)?.[0]
}
