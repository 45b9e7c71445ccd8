import {expect, expectTypeOf, test} from 'vitest'
import {z} from 'zod'

import {createClient, createPublisher, history, InvalidValueError, type Message} from '../src/index.js'
import {until} from './support/cluster.js'
import {message, open, ready, Scripted} from './support/scripted.js'

const url = 'http://127.0.0.1:9'

/** Only its types matter. */
const unused = (code: () => unknown): boolean => typeof code === 'function'

test('a map types topics, patterns and everything that is done with them', () => {
  interface Chat {
    text: string
  }
  const client = createClient<{chat: Chat; 'orders:*': number; 'orders:vip': string; 'log:**': boolean}>({url})
  unused(() => {
    client.subscribe('chat', (message) => expectTypeOf(message).toEqualTypeOf<Message<Chat, 'chat'>>())
    client.subscribe('orders:7', ({value}) => expectTypeOf(value).toEqualTypeOf<number>())
    client.subscribe('orders:vip', ({value}) => expectTypeOf(value).toEqualTypeOf<string>())
    client.subscribe('log:a:b', ({value}) => expectTypeOf(value).toEqualTypeOf<boolean>())
    client.subscribe(['chat', 'log:x'], ({value}) => expectTypeOf(value).toEqualTypeOf<Chat | boolean>())
    client.subscribe({match: 'orders:*'}, ({value}) => expectTypeOf(value).toEqualTypeOf<number>())
    client.subscribe({topics: ['chat'], match: ['log:**']}, ({value}) =>
      expectTypeOf(value).toEqualTypeOf<Chat | boolean>(),
    )
    // @ts-expect-error There is no such topic.
    client.subscribe('chats', () => {})
    // @ts-expect-error A pattern is not a topic, and has to stand in the map.
    client.subscribe({match: 'chat:*'}, () => {})
    void client.publish('chat', {text: 'hello'})
    // @ts-expect-error Not what the topic holds.
    void client.publish('chat', {txt: 'hello'})
    // @ts-expect-error Not what the topic holds.
    void createPublisher(client, 'orders:1').publish('one')
    expectTypeOf(history(client, 'chat')).toEqualTypeOf<AsyncGenerator<Message<Chat, 'chat'>, void, void>>()
  })
  client.close()
})

test('without a map every topic may be named, and values are unknown until they are looked at', () => {
  const client = createClient({url})
  unused(() => {
    client.subscribe('anything', ({value}) => expectTypeOf(value).toEqualTypeOf<unknown>())
    client.subscribe({match: ['any:*', '**']}, ({value}) => expectTypeOf(value).toEqualTypeOf<unknown>())
    void client.publish('anything', {any: 'thing'})
  })
  client.close()
})

test('schemas type what is read and what is written, which may be different things', () => {
  const order = z.object({at: z.string().transform((text) => new Date(text)), note: z.string().default('none')})
  const client = createClient({url, topics: {'orders:*': order, price: z.number()}})
  unused(() => {
    client.subscribe('orders:1', ({value}) => expectTypeOf(value).toEqualTypeOf<{at: Date; note: string}>())
    client.subscribe('price', ({value}) => expectTypeOf(value).toEqualTypeOf<number>())
    void client.publish('orders:1', {at: '2026-01-01'})
    // @ts-expect-error A price is a number.
    void client.publish('price', '1')
    // @ts-expect-error There is no such topic.
    void client.publish('prices', 1)
  })
  client.close()
})

test('schemas check what is read and what is written', async () => {
  const server = await Scripted.start()
  server.onStream = ({response}) => {
    open(response)
    response.write(
      ready(0) + message(1, 'even', 2) + message(2, 'even', 3) + message(3, 'other', 3) + message(4, 'even', 4),
    )
  }
  const even = z
    .number()
    .refine((number) => number % 2 === 0, 'odd')
    .transform(String)
  const slow = z.number().refine(async () => true)
  const client = createClient({url: server.url, topics: {even, other: z.number(), slow}})
  const values: unknown[] = []
  const errors: unknown[] = []
  client.subscribe(['even', 'other'], ({value}) => values.push(value), {onError: (error) => errors.push(error)})
  await until('three values', () => values.length === 3)
  expect(values).toEqual(['2', 3, '4'])
  expect(errors).toEqual([
    expect.objectContaining({
      name: 'InvalidValueError',
      topic: 'even',
      issues: [expect.objectContaining({message: 'odd'})],
    }),
  ])
  await expect(client.publish('even', 5)).rejects.toBeInstanceOf(InvalidValueError)
  await expect(createPublisher(client, 'even').publish(5)).rejects.toThrow('invalid-value: even: odd')
  await expect(client.publish('slow', 5)).rejects.toThrow('asynchronous')
  expect(server.requests).toEqual([])
  client.close()
})
