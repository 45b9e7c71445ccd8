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
  const look = async (url) => (await scene.look()).nodes.find(({clientUrl}) => clientUrl === url)
  const busy = nodes[1].url
  scene.load(busy, true)
  await until('the others know that it is busy', async () => {
    const {nodes} = await scene.look()
    const [here, ...others] = nodes.sort((one, other) => (one.clientUrl === busy ? -1 : other.cpu - one.cpu))
    return here.cpu > Math.max(...others.map(({cpu}) => cpu)) + 0.2
  })
  await scene.invite(NEWCOMERS)
  const {newcomers} = await look(busy)
  t.diagnostic(`${newcomers} of ${NEWCOMERS} newcomers came to the busy node`)
  // An even share would be ten.
  assert.ok(newcomers < NEWCOMERS / 6, `${newcomers} came to the busy node`)

  scene.dismiss()
  scene.load(busy, false)
  await until('it is not busy any more', async () => (await look(busy)).cpu < 0.1)
  await scene.invite(NEWCOMERS)
  const counts = (await scene.look()).nodes.map(({newcomers}) => newcomers)
  t.diagnostic(`and ${counts} came to each when it was not`)
  assert.ok(
    counts.every((count) => count > 0),
    `${counts}`,
  )
})
