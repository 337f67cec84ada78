import { Effect } from "effect"
import { monitorEventLoopDelay } from "node:perf_hooks"

const resolution = 10

/**
 * Tells the longest that this process has had to wait for its turn since, in milliseconds: what it may be late by without
 * having done anything wrong.
 */
export const make = Effect.map(
  Effect.acquireRelease(
    Effect.sync(() => {
      const delay = monitorEventLoopDelay({ resolution })
      delay.enable()
      return delay
    }),
    (delay) => Effect.sync(() => delay.disable())
  ),
  // A pause counts when the next turn has come.
  (delay) => Effect.delay(Effect.sync(() => Math.max(0, delay.max / 1e6 - resolution)), 2 * resolution)
)
