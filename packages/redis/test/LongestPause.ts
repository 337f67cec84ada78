import { Effect } from "effect"
import { monitorEventLoopDelay } from "node:perf_hooks"

/**
 * The longest, so far, that this process has waited for its turn, in milliseconds: what it may be late by without having
 * done anything wrong.
 */
export const make = Effect.map(
  Effect.acquireRelease(
    Effect.sync(() => {
      const delay = monitorEventLoopDelay({ resolution: 10 })
      delay.enable()
      return delay
    }),
    (delay) => Effect.sync(() => delay.disable())
  ),
  (delay) => () => delay.max / 1e6
)
