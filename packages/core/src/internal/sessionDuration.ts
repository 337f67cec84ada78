import * as Duration from "effect/Duration"

const longest = 400 * 24 * 60 * 60 * 1000

/** Milliseconds of a duration that a session can have. */
export const millisOf = (what: string, input: Duration.Input): number => {
  const millis = Math.floor(Duration.toMillis(Duration.fromInputUnsafe(input)))
  if (!(millis >= 1 && millis <= longest)) {
    throw new RangeError(`${what}: must be a duration of at least 1 millisecond and at most 400 days`)
  }
  return millis
}
