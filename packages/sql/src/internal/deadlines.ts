/**
 * Ends the waits of a store that take too long. All are given the same time, so they end in the order in which they
 * began, and one timer for all costs less than one each.
 *
 * @internal
 */
import type * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import * as Latch from "effect/Latch"

/** Somebody who waits. */
export interface Wait {
  readonly until: number
  readonly end: () => void
}

export interface Deadlines {
  readonly begin: (end: () => void) => Wait
  readonly done: (wait: Wait) => void
  /** Watches the time. */
  readonly run: Effect.Effect<never>
}

export const make = (clock: Clock.Clock, limit: number): Deadlines => {
  const some = Latch.makeUnsafe(false)
  const waits = new Set<Wait>()
  const now = () => Number(clock.monotonicTimeNanosUnsafe()) / 1e6
  return {
    begin: (end) => {
      const wait = { until: now() + limit, end }
      waits.add(wait)
      if (waits.size === 1) some.openUnsafe()
      return wait
    },
    done: (wait) => void waits.delete(wait),
    run: Effect.gen(function*() {
      while (true) {
        yield* some.await
        const [first] = waits
        if (first === undefined) {
          some.closeUnsafe()
          continue
        }
        const left = first.until - now()
        if (left > 0) {
          yield* Effect.sleep(left)
        } else {
          // A process that was itself held up reads what has come in meanwhile before it gives up on it.
          yield* Effect.sleep(1)
          if (waits.delete(first)) first.end()
        }
      }
    })
  }
}
