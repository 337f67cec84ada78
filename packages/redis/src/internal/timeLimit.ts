import * as Duration from "effect/Duration"

// The longest that a timer waits. It ends a longer one at once.
const longest = 2 ** 31 - 1

/** A time limit in milliseconds. Throws a `RangeError` for what no timer can wait. */
export const millis = (name: string, input: Duration.Input): number => {
  const value = Duration.toMillis(Duration.fromInputUnsafe(input))
  if (!(value >= 1 && value <= longest)) {
    throw new RangeError(`${name} must be at least 1 millisecond, and at most 24 days`)
  }
  return value
}
