import assert from 'node:assert/strict'
import test from 'node:test'

import {Scene} from '../../examples/balance/scene.js'
import {startCluster} from './support/broker.js'
import {until} from './support/until.js'

const NEWCOMERS = 30

test('newcomers pass over the node that is busy, and come to it when it is not', async (t) => {
  const nodes = await startCluster(t)
  const scene = new Scene(nodes.map(({url}) => url))
  t.after(() => scene.close())
  await scene.prepare()
  const busy = nodes[1].url
  // Each newcomer asks any of the nodes, and what they know of one another is up to a second old. Nodes of which one uses
  // up to 0.15 of its processors more than the other count as equal; and others on this machine decide what a node gets, too.
  const all = async (condition) => (await Promise.all(nodes.map((node) => node.get('/cluster')))).every(condition)
  const standsOut = ({nodes}) => {
    const {cpu: most} = nodes.find(({clientUrl}) => clientUrl === busy)
    return nodes.every(({clientUrl, cpu}) => clientUrl === busy || most - cpu > 0.2)
  }
  scene.load(busy, true)
  for (let n = 0; n < NEWCOMERS; n++) {
    await until('all know that it is busy, and no other', () => all(standsOut))
    await scene.invite(1)
  }
  const {newcomers} = (await scene.look()).nodes.find(({clientUrl}) => clientUrl === busy)
  t.diagnostic(`${newcomers} of ${NEWCOMERS} newcomers came to the busy node`)
  // An even share would be ten.
  assert.ok(newcomers < NEWCOMERS / 6, `${newcomers} came to the busy node`)

  scene.dismiss()
  scene.load(busy, false)
  await until('all know that none is busy', () => all(({nodes}) => nodes.every(({cpu}) => cpu < 0.1)))
  await scene.invite(NEWCOMERS)
  const counts = (await scene.look()).nodes.map(({newcomers}) => newcomers)
  t.diagnostic(`and ${counts} came to each when it was not`)
  assert.ok(
    counts.every((count) => count > 0),
    `${counts}`,
  )
})
