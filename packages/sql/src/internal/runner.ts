/**
 * Runs the statements of the store: each step on its own, and in time.
 *
 * A step that met another one and was undone, by a deadlock for instance, is
 * taken again: nothing of it is there.
 *
 * A step never joins a transaction of the application. It would be undone with
 * it, and the end of a session is final once it was said.
 *
 * A driver may wait for a database that has fallen silent, also to cancel what
 * it was asked. Nobody waits for that: a step runs in a fiber of the layer, and
 * its caller has an answer when the time is over.
 *
 * @internal
 */
import type { SessionStoreError } from "@effect-session/core/SessionStore"
import * as Cause from "effect/Cause"
import * as Clock from "effect/Clock"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import type * as Fiber from "effect/Fiber"
import type * as Scope from "effect/Scope"
import { BeginTransaction, type SqlClient } from "effect/sql/SqlClient"
import { isSqlError, type SqlError } from "effect/sql/SqlError"
import * as Deadlines from "./deadlines.ts"
import { closing, fromSql, sqlState, timedOut } from "./storeFault.ts"

export interface Runner {
  /** Rows of one statement, as they are in the database. */
  readonly query: <A extends object>(
    statement: string,
    params: ReadonlyArray<unknown>
  ) => Effect.Effect<ReadonlyArray<A>, SqlError>
  /** Several statements as one. */
  readonly transaction: <A, E>(statements: Effect.Effect<A, E>) => Effect.Effect<A, E | SqlError>
  /** Runs a step in time. */
  readonly step: <A>(step: Effect.Effect<A, SqlError | SessionStoreError>) => Effect.Effect<A, SessionStoreError>
}

// Also a statement that the database, or a pooler before it, has forgotten, without which there was no step.
const wasUndone = ({ reason }: SqlError): boolean =>
  reason._tag === "DeadlockError" || reason._tag === "SerializationError" || sqlState(reason) === "26000"

// A transaction whose connection was lost dies of its rollback.
const sqlErrorOf = (cause: Cause.Cause<SqlError | SessionStoreError>): SqlError | undefined => {
  let found: SqlError | undefined
  for (const reason of cause.reasons) {
    const problem = Cause.isFailReason(reason) ? reason.error : Cause.isDieReason(reason) ? reason.defect : undefined
    if (!isSqlError(problem)) return undefined
    found ??= problem
  }
  return found
}

const settled = <A>(
  step: Effect.Effect<A, SqlError | SessionStoreError>,
  left: number
): Effect.Effect<A, SessionStoreError> =>
  Effect.catchCause(step, (cause) => {
    const error = sqlErrorOf(cause)
    if (error !== undefined) return left > 0 && wasUndone(error) ? settled(step, left - 1) : Effect.fail(fromSql(error))
    return Effect.failCause(Cause.map(cause, (error) => error._tag === "SqlError" ? fromSql(error) : error))
  })

// Spans of the driver end with what the database says of an error, and that quotes the row.
const quiet = Effect.withTracerEnabled(false)

// What a statement sees must not be older than the lock that it waited for.
const begin = "BEGIN ISOLATION LEVEL READ COMMITTED"

/** Makes a runner whose steps are given so many milliseconds, in a scope that ends those that still run. */
export const make = Effect.fnUntraced(function*(
  client: SqlClient,
  limit: number
): Effect.fn.Return<Runner, never, Scope.Scope> {
  const scope = yield* Effect.scope
  const deadlines = Deadlines.make(yield* Clock.Clock, limit)
  yield* Effect.forkScoped(deadlines.run)
  const sql = client.withoutTransforms()
  const alone = (context: Context.Context<never>): Context.Context<never> =>
    Context.omit(client.transactionService)(context)
  const late = Effect.fail(timedOut(limit))
  const closed = Effect.fail(closing)

  const inTime = <A>(fiber: Fiber.Fiber<A, SessionStoreError>): Effect.Effect<A, SessionStoreError> =>
    Effect.callback((resume) => {
      const wait = deadlines.begin(() => {
        resume(late)
        fiber.interruptUnsafe()
      })
      fiber.addObserver((exit) => {
        deadlines.done(wait)
        // Nobody else interrupts it: its layer is closed.
        resume(Exit.hasInterrupts(exit) ? closed : exit)
      })
      return Effect.sync(() => {
        deadlines.done(wait)
        fiber.interruptUnsafe()
      })
    })

  return {
    query: <A extends object>(statement: string, params: ReadonlyArray<unknown>) => sql.unsafe<A>(statement, params),
    transaction: (statements) => Effect.provideService(sql.withTransaction(statements), BeginTransaction, begin),
    step: (step) =>
      Effect.flatMap(
        Effect.forkIn(quiet(Effect.updateContext(settled(step, 10), alone)), scope, { startImmediately: true }),
        inTime
      )
  }
})
