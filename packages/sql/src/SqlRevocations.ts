/**
 * A list of sessions that are over, in a table of PostgreSQL: what cookie mode
 * needs where several processes serve one application.
 *
 * What is revoked in one process is revoked in all of them with the next request.
 * Keys are keyed hashes of session ids; subjects are hashed. A sweep removes what
 * is over by itself, everything but one marker.
 *
 * A list that has lost what it knew, because its table was emptied, notices it by
 * the missing marker, and refuses every session that was issued before.
 *
 * @stability unstable
 * @since 0.1.0
 */
import * as Revocations from "@effect-session/core/Revocations"
import type { SessionStoreError } from "@effect-session/core/SessionStore"
import * as Clock from "effect/Clock"
import * as Config from "effect/Config"
import type * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import type * as Scope from "effect/Scope"
import { SqlClient } from "effect/sql/SqlClient"
import type { SqlError } from "effect/sql/SqlError"
import * as Database from "./internal/database.ts"
import * as RevocationTable from "./internal/revocationTable.ts"
import * as Runner from "./internal/runner.ts"

/**
 * Options of the list.
 *
 * @stability unstable
 * @category options
 * @since 0.1.0
 */
export interface Options extends Revocations.SharedOptions {
  /**
   * The table, `session_revocations` by default, with its schema or without:
   * letters, digits and underscores, at most 48 of them.
   */
  readonly table?: string | undefined
  /**
   * Whether a table that is missing is created at the start, `true` by default.
   * Without, {@link migration} creates it.
   */
  readonly createTable?: boolean | undefined
  /**
   * Longest time a question may take, 5 seconds by default, waiting for a
   * connection included.
   */
  readonly timeout?: Duration.Input | undefined
  /** Time between two sweeps, 10 minutes by default, give or take a fifth. */
  readonly sweepInterval?: Duration.Input | undefined
}

const rowsPerSweep = 1000

const tableOf = (options: Pick<Options, "table">) =>
  Database.tableOf("SqlRevocations", options.table ?? "session_revocations")

/**
 * Creates the table and its index, unless they are there: for applications whose
 * tables are created by migrations. Runs in the transaction of the migration.
 *
 * **Gotchas**
 *
 * Throws a `RangeError` for a name of a table that the list refuses.
 *
 * @stability unstable
 * @category constructors
 * @since 0.1.0
 */
export const migration = (options: Pick<Options, "table"> = {}): Effect.Effect<void, SqlError, SqlClient> =>
  Database.migration(RevocationTable.make(tableOf(options)))

/**
 * Creates the list from the client in the context. Its sweep runs in the current
 * scope.
 *
 * **Gotchas**
 *
 * Throws a `RangeError` for options out of range: `subjectLifetime` is from 1
 * millisecond to 400 days, `clockSkew` from 0 to an hour.
 *
 * @stability unstable
 * @category constructors
 * @since 0.1.0
 */
export const make = (
  options: Options = {}
): Effect.Effect<Revocations.Revocations["Service"], SessionStoreError, SqlClient | Scope.Scope> => {
  const statements = RevocationTable.make(tableOf(options))
  const timeout = Database.waitOf("SqlRevocations", "timeout", options.timeout ?? "5 seconds")
  const sweepInterval = Database.waitOf("SqlRevocations", "sweepInterval", options.sweepInterval ?? "10 minutes")
  const { clockSkew, subjectLifetime } = Revocations.times("SqlRevocations", options)
  return Effect.gen(function*() {
    const client = yield* SqlClient
    const clock = yield* Clock.Clock
    const runner = yield* Runner.make(client, timeout)
    const { query, step } = runner
    yield* Database.prepare(client, runner, statements, options.createTable ?? true)
    const sweep: Effect.Effect<void, SessionStoreError> = Effect.flatMap(
      step(query(statements.sweep, [rowsPerSweep])),
      (rows) => rows.length > 0 ? sweep : Effect.void
    )
    yield* Database.sweeping("SQL list of revocations", sweepInterval, sweep)

    const begin = Effect.map(
      query<{ readonly epoch: number }>(statements.begin, [options.acceptEarlier === true ? 0 : null]),
      ([{ epoch }]) => epoch
    )
    // Earlier sessions are refused from the start, not from the first question on.
    yield* step(begin)

    // One whose time has passed has no entry. An entry that is over meanwhile makes room for a new one.
    const revoke = (key: string, until: number, left: number): Effect.Effect<boolean, SqlError> =>
      Effect.flatMap(query(statements.revoke, [key, until]), (added) =>
        added.length > 0
          ? Effect.succeed(true)
          : Effect.flatMap(query(statements.prolong, [key, until]), (prolonged) =>
            prolonged.length > 0 || left === 0 ? Effect.succeed(false) : revoke(key, until, left - 1)))

    return Revocations.Revocations.of({
      subjectLifetime,
      revoke: (key, until) => Effect.suspend(() => step(revoke(key, Math.ceil(until) + clockSkew, 1))),
      revokeSubject: (subject) =>
        Effect.suspend(() =>
          Effect.map(
            step(query<{ readonly epoch: number }>(statements.revokeSubject, [
              RevocationTable.octetsOf(subject),
              clock.currentTimeMillisUnsafe(),
              clockSkew,
              subjectLifetime
            ])),
            ([{ epoch }]) => epoch
          )
        ),
      epoch: (subject) =>
        Effect.map(
          step(query<{ readonly epoch: number }>(statements.epoch, [RevocationTable.octetsOf(subject)])),
          (rows) => rows[0]?.epoch
        ),
      isRevoked: ({ authenticatedAt, issuedAt, key, subject }) =>
        step(Effect.flatMap(
          query<RevocationTable.StateRow>(statements.state, [
            key,
            subject === undefined ? null : RevocationTable.octetsOf(subject)
          ]),
          ([{ epoch, revoked, since }]) => {
            if (revoked) return Effect.succeed(true)
            if (epoch !== null && (authenticatedAt ?? -Infinity) <= epoch) return Effect.succeed(true)
            return Effect.map(since === null ? begin : Effect.succeed(since), (since) => issuedAt < since)
          }
        ))
    })
  })
}

/**
 * Provides the list. Fails when the database does not answer.
 *
 * **Example** (Cookie mode in several processes)
 *
 * ```ts
 * import { CookieStore } from "@effect-session/core"
 * import { SqlRevocations } from "@effect-session/sql"
 * import * as PgClient from "@effect/sql-pg/PgClient"
 * import { Config, Layer } from "effect"
 *
 * const Sessions = CookieStore.layer().pipe(
 *   Layer.provide(SqlRevocations.layer()),
 *   Layer.provide(PgClient.layerConfig({ url: Config.Redacted("DATABASE_URL") }))
 * )
 * console.log(Layer.isLayer(Sessions)) // => true
 * ```
 *
 * **Gotchas**
 *
 * Throws a `RangeError` for options that {@link make} refuses. A database that is
 * restored from a backup has forgotten what was revoked since: empty the table
 * then, and every earlier session is refused.
 *
 * @stability unstable
 * @category layers
 * @since 0.1.0
 */
export const layer = (options?: Options): Layer.Layer<Revocations.Revocations, SessionStoreError, SqlClient> =>
  Layer.effect(Revocations.Revocations, make(options))

/**
 * Provides the list from wrapped configuration options.
 *
 * @stability unstable
 * @category layers
 * @since 0.1.0
 */
export const layerConfig = (
  options: Config.Wrap<Options>
): Layer.Layer<Revocations.Revocations, SessionStoreError | Config.ConfigError, SqlClient> =>
  Layer.effect(Revocations.Revocations, Effect.flatMap(Config.unwrap<Options>(options), make))
