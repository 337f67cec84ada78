/** A connection that is replaced when it is lost. */
import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Random from "effect/Random"
import type * as Scope from "effect/Scope"
import { type RedisErrorReason, table } from "../RedisError.ts"
import type { Connection } from "./connection.ts"

export interface Source {
  /** One attempt to connect. */
  readonly open: Effect.Effect<Connection, RedisErrorReason, Scope.Scope>
  /** Ends when another attempt is worth it at once. */
  readonly changed: Effect.Effect<void>
}

export interface Options {
  /** Longest delay between attempts, in milliseconds. */
  readonly maxDelay: number
  /** Called after each attempt to connect, with its failure. */
  readonly attempted: (failure: RedisErrorReason | undefined) => void
}

export interface Link {
  /** Connects, and connects again. */
  readonly run: Effect.Effect<never>
  readonly connection: () => Connection | undefined
  /** Why there is no connection. */
  readonly down: () => RedisErrorReason
  /** Gives out the connection no more; it stays open until `run` ends. */
  readonly retire: () => void
}

const shortestLimit = 100

/** As seen by a command that comes while there is no connection: it was not sent. */
export const whileDown = (reason: RedisErrorReason): RedisErrorReason =>
  reason._tag === "ConnectionLost" || reason._tag === "Timeout"
    ? { ...table.NotConnected, code: reason.code }
    : { ...reason, outcomeUnknown: false }

/** Creates a link, which works as long as its `run` does. */
export const make = (source: Source, { attempted, maxDelay }: Options): Link => {
  let connection: Connection | undefined
  let down: RedisErrorReason = table.NotConnected
  let openedAt: bigint | undefined
  let retired = false

  const life = Effect.scoped(Effect.gen(function*() {
    const opened = yield* source.open
    openedAt = yield* Clock.monotonicTimeNanos
    down = table.NotConnected
    if (!retired) connection = opened
    attempted(undefined)
    return yield* opened.closed
  })).pipe(
    Effect.catch((reason) =>
      Effect.sync(() => {
        down = whileDown(reason)
        attempted(down)
        return reason
      })
    ),
    Effect.onExit((exit) =>
      Effect.sync(() => {
        connection = undefined
        if (Exit.isSuccess(exit) && !retired) down = whileDown(exit.value)
      })
    )
  )

  const run = Effect.gen(function*() {
    let limit = shortestLimit
    while (true) {
      openedAt = undefined
      yield* life
      // A connection that ends soon is no recovery: a replica, say, that loses it with every write.
      if (openedAt !== undefined && Number((yield* Clock.monotonicTimeNanos) - openedAt) / 1e6 >= maxDelay) {
        limit = shortestLimit
      }
      const delay = (yield* Random.next) * Math.min(limit, maxDelay)
      limit = Math.min(limit * 2, maxDelay)
      yield* Effect.raceFirst(Effect.sleep(delay), source.changed)
    }
  })

  return {
    run,
    connection: () => connection,
    down: () => down,
    retire: () => {
      retired = true
      connection = undefined
      down = table.NotConnected
    }
  }
}
