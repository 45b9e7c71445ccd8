import {expect, test} from 'vitest'

import {isAfter} from '../src/cursor.js'
import {matches} from '../src/pattern.js'
import {covers, streamPath} from '../src/selection.js'
import {createSightings} from '../src/sighting.js'

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
  const nothing = {topics: [], patterns: [], presence: [], users: []}
  const whole = {topics: ['a'], patterns: ['b:*'], presence: ['a'], users: ['ada']}
  expect(covers(whole, {...nothing, topics: ['a', 'b:1'], patterns: ['b:*'], presence: ['a']})).toBe(true)
  expect(covers(whole, {...nothing, topics: ['c']})).toBe(false)
  expect(covers(whole, {...nothing, patterns: ['a']})).toBe(false)
  expect(covers(whole, {...nothing, presence: ['b:1']})).toBe(false)
  expect(covers(whole, {...nothing, users: ['bob']})).toBe(false)
})

test('whatever stands in a name reaches the broker as it is', () => {
  const path = streamPath(
    {topics: ['a&b=c', 'ü +/%'], patterns: ['x:*'], presence: ['r'], users: ['u']},
    {since: new Date(0)},
    'me & you',
  )
  expect(new URL(path, 'http://x').searchParams.toString()).toBe(path.slice('/sse?'.length))
  expect([...new URL(path, 'http://x').searchParams]).toEqual([
    ['topic', 'a&b=c'],
    ['topic', 'ü +/%'],
    ['match', 'x:*'],
    ['presence', 'r'],
    ['user', 'u'],
    ['as', 'me & you'],
    ['after', '1970-01-01T00:00:00.000Z'],
  ])
})

test('who is there is known from a list and the changes behind it', () => {
  const [member, sightings] = [(id: string) => ({id, since: 's'}), createSightings()]
  const change = {topic: 'a', joined: [], updated: [], left: []}
  const shown = (told: unknown): unknown => {
    const sighting = sightings.take(told, 'k7qmaaaa-9')
    return sighting && 'members' in sighting ? [...sighting.members.keys()].join() : sighting
  }
  expect(shown({...change, version: 3, joined: [member('x')]})).toBe(undefined)
  expect(shown({topic: 'a', version: 5, members: [member('x'), member('y')]})).toBe('x,y')
  expect(shown({...change, version: 5, left: ['x']})).toBe(undefined)
  expect(shown({...change, version: 6, joined: [member('z')], left: ['x']})).toBe('y,z')
  expect(shown({...change, topic: 'b', version: 7, left: ['y']})).toBe(undefined)
  expect(shown({topic: 'a', version: 7, members: []})).toBe('')
  expect(shown({user: 'x', version: 8, online: false})).toMatchObject({user: 'x', online: false})
})
