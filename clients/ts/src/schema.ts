import {InvalidValueError} from './error.js'

/**
 * What zod, valibot, arktype and others make: the part of Standard Schema (https://standardschema.dev) that is used
 * here. Its check must answer at once, since messages stay in order.
 */
export interface Schema<Input = unknown, Output = Input> {
  readonly '~standard': {
    readonly version: 1
    readonly vendor: string
    readonly validate: (value: unknown) => SchemaResult<Output> | Promise<SchemaResult<Output>>
    readonly types?: {readonly input: Input; readonly output: Output} | undefined
  }
}

/** What a check answers. */
export type SchemaResult<Output> =
  {readonly value: Output; readonly issues?: undefined} | {readonly issues: readonly {readonly message: string}[]}

/**
 * The value as its schema makes it.
 *
 * @throws {InvalidValueError} It is not what the schema says.
 * @throws {TypeError} The schema needs time for its answer.
 */
export function check<Output>(schema: Schema<unknown, Output>, topic: string, value: unknown): Output {
  const result = schema['~standard'].validate(value)
  if (result instanceof Promise) throw new TypeError(`the schema of ${topic} is asynchronous`)
  if (result.issues) throw new InvalidValueError(topic, result.issues)
  return result.value
}
