/**
 * What is promised of a read that a node has answered from a copy: it may tell
 * what was true some time ago, and never what was true before a call of the same
 * node that concerned the same key.
 *
 * @internal
 */
import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import type { Event } from "./Linearizability.ts"
import type { Call } from "./StoreOperation.ts"

/** A call that was made on one of several nodes. */
export interface NodeEvent extends Event<Call> {
  readonly node: number
  /** The key, if a copy has answered. */
  readonly copyOf: string | undefined
  /** Milliseconds that the process had been awake at the invocation. */
  readonly invokedAt: number
  /** The same at the return. */
  readonly returnedAt: number
}

// Keys of which the node that made the call knows, when it returns, what the store has said or what has become of them.
const settledKeys = (call: Call): ReadonlyArray<string> => {
  switch (call._tag) {
    case "Load":
    case "Save":
    case "Touch":
    case "Destroy":
      return [call.operation.key]
    case "Create":
      return [call.operation.record.key, ...call.result._tag === "Created" ? call.result.evicted : []]
    case "Renew": {
      const { key, replacement } = call.operation
      return [key, replacement.key, ...call.result._tag === "Renewed" ? call.result.evicted : []]
    }
    case "DestroyBySubject":
      return call.result
    case "BySubject":
    case "Advance":
      return []
  }
}

/**
 * The order that nodes with copies keep: of calls that the store answers all of it, of a read that a copy answers what
 * has returned longer ago than the bound, and what has concerned its key on its own node.
 */
export const precedes = (staleFor: number) => (earlier: NodeEvent, later: NodeEvent): boolean =>
  earlier.returned < later.invoked && (
    later.copyOf === undefined || later.invokedAt - earlier.returnedAt >= staleFor ||
    (earlier.node === later.node && settledKeys(earlier.call).includes(later.copyOf))
  )

const period = 5

/**
 * Counts the milliseconds for which this process is awake, as long as the effect runs. While it stands still no message
 * can reach anybody in it: such time must not count against a bound.
 */
export const makeAwake = (): { readonly millis: () => number; readonly run: Effect.Effect<never> } => {
  let awake = 0
  return {
    millis: () => awake,
    run: Effect.gen(function*() {
      const clock = yield* Clock.Clock
      const now = () => Number(clock.monotonicTimeNanosUnsafe()) / 1e6
      let last = now()
      while (true) {
        yield* Effect.sleep(period)
        const at = now()
        awake += Math.min(at - last, 2 * period)
        last = at
      }
    })
  }
}
