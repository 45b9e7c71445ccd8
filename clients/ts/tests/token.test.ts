import {expect, test} from 'vitest'

import {createTokens} from '../src/token.js'
import {FakeClock} from './support/clock.js'

const jwt = (exp: number): string => `e30.${Buffer.from(JSON.stringify({exp})).toString('base64url')}.x`

/** What was asked for at once has come. */
const settled = (): Promise<void> => new Promise((resolve) => setImmediate(resolve))

test('a token is replaced after four fifths of its life, and at most once a second', async () => {
  const clock = new FakeClock()
  const asked: string[] = []
  const tokens = createTokens((reason) => {
    asked.push(reason)
    return jwt(clock.date() / 1000 + (asked.length < 3 ? 100 : 0.1))
  }, clock)
  await tokens.get()
  expect(clock.timers).toEqual([80_000])
  clock.pass(80_000)
  await settled()
  expect(asked).toEqual(['first', 'expiring'])
  clock.pass(80_000)
  await settled()
  expect(clock.timers).toEqual([1_000])
  tokens.close()
  expect(clock.timers).toEqual([])
})

test('a clock that is wrong makes no loop: a token that seems to have expired is used until it is refused', async () => {
  const clock = new FakeClock()
  let asked = 0
  const tokens = createTokens(() => `${jwt(clock.date() / 1000 - 3_600)}${asked++}`, clock)
  const first = await tokens.get()
  expect([clock.timers, asked]).toEqual([[], 1])
  expect([tokens.refused(first), tokens.refused(first)]).toEqual([true, true])
  const [one, other] = await Promise.all([tokens.get(), tokens.get()])
  expect([one === other, asked]).toEqual([true, 2])
  // Who is refused with an old one need not fetch: there is another by now.
  expect([tokens.refused(first), await tokens.get(), asked]).toEqual([true, one, 2])
})

test('a token that is no function can not be replaced, and one that is no JWT is kept', async () => {
  const clock = new FakeClock()
  const fixed = createTokens('fixed', clock)
  expect([await fixed.get(), fixed.refused('fixed'), await fixed.get()]).toEqual(['fixed', false, 'fixed'])
  expect(await createTokens(undefined, clock).get()).toBe(undefined)
  const opaque = createTokens(() => 'opaque', clock)
  expect([await opaque.get(), clock.timers]).toEqual(['opaque', []])
})

test('one that can not be replaced in time is tried again while there is time left', async () => {
  const clock = new FakeClock()
  const asked: string[] = []
  const renewed: number[] = []
  const tokens = createTokens((reason) => {
    if (asked.push(reason) === 2) throw new Error('no network')
    return jwt(clock.date() / 1000 + 100)
  }, clock)
  tokens.onRenewed = () => renewed.push(clock.now())
  await tokens.get()
  clock.pass(80_000)
  await settled()
  expect([asked, clock.timers]).toEqual([['first', 'expiring'], [16_000]])
  clock.pass(16_000)
  await settled()
  expect([asked.length, renewed, clock.timers]).toEqual([3, [96_000], [80_000]])
})

test('a token that could not be fetched is asked for again', async () => {
  let count = 0
  const tokens = createTokens(() => {
    if (count++ === 0) throw new Error('no network')
    return 'token'
  }, new FakeClock())
  await expect(tokens.get()).rejects.toThrow('no network')
  expect(await tokens.get()).toBe('token')
})
