import {expect, test} from 'vitest'

import {isAfter} from '../src/cursor.js'
import {matches} from '../src/pattern.js'
import {covers, streamPath} from '../src/selection.js'

test.each([
  ['orders:*', 'orders:1', true],
  ['orders:*', 'orders', false],
  ['orders:*', 'orders:1:2', false],
  ['orders:**', 'orders:1:2', true],
  ['orders:**', 'orders', false],
  ['**', 'anything:at:all', true],
  ['*', 'one', true],
  ['*', 'one:two', false],
  ['*:x', 'a:x', true],
  ['a*', 'ab', false],
  ['a*', 'a*', true],
  ['a', 'a', true],
  ['a:', 'a:', true],
  ['a:*', 'a:', true],
])('the pattern %s over %s: %s, as the broker has it', (pattern, topic, expected) => {
  expect(matches(pattern, topic)).toBe(expected)
})

test('places are in the order of their numbers, however large, and those of other histories are always new', () => {
  const [nine, ten, huge] = ['k7qmaaaa-9', 'k7qmaaaa-10', 'k7qmaaaa-18446744073709551615']
  expect([isAfter(ten, nine), isAfter(nine, ten), isAfter(nine, nine)]).toEqual([true, false, false])
  expect([isAfter(huge, ten), isAfter(huge, huge), isAfter('k7qmaaaa-18446744073709551614', huge)]).toEqual([
    true,
    false,
    false,
  ])
  expect([isAfter('bbbbbbbb-1', nine), isAfter('whatever', nine), isAfter(nine, 'whatever')]).toEqual([
    true,
    true,
    true,
  ])
})

test('a selection covers another if it has each of its topics, by name or pattern, and each pattern', () => {
  const whole = {topics: ['a'], patterns: ['b:*']}
  expect(covers(whole, {topics: ['a', 'b:1'], patterns: ['b:*']})).toBe(true)
  expect(covers(whole, {topics: ['c'], patterns: []})).toBe(false)
  expect(covers(whole, {topics: [], patterns: ['a']})).toBe(false)
})

test('whatever stands in a name reaches the broker as it is', () => {
  const path = streamPath({topics: ['a&b=c', 'ü +/%'], patterns: ['x:*']}, {since: new Date(0)})
  expect(new URL(path, 'http://x').searchParams.toString()).toBe(path.slice('/sse?'.length))
  expect([...new URL(path, 'http://x').searchParams]).toEqual([
    ['topic', 'a&b=c'],
    ['topic', 'ü +/%'],
    ['match', 'x:*'],
    ['after', '1970-01-01T00:00:00.000Z'],
  ])
})
