/**
 * Keeps sessions in a table of PostgreSQL 12 or newer.
 *
 * Works with any `SqlClient` of Effect that speaks to PostgreSQL, the one the
 * application has. Every step of a session is one statement, or one transaction
 * of its own: it does not join a transaction of the application, which could
 * undo the end of a session. A load that is due to record activity does so in the
 * statement that reads; any other is a plain read. Time is the database's, so that
 * the processes of an application agree on every lifetime. The store sees keyed
 * hashes of session ids only, and payloads that are sealed unless the preset says
 * otherwise.
 *
 * @stability unstable
 * @since 0.1.0
 */
import type { Crypto } from "@effect-session/core/Crypto"
import * as SessionBackend from "@effect-session/core/SessionBackend"
import type { SessionConfig } from "@effect-session/core/SessionConfig"
import { SessionQuery } from "@effect-session/core/SessionQuery"
import { SessionStore, type SessionStoreError } from "@effect-session/core/SessionStore"
import * as Clock from "effect/Clock"
import * as Config from "effect/Config"
import * as Context from "effect/Context"
import type * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import type * as Scope from "effect/Scope"
import { SqlClient } from "effect/sql/SqlClient"
import type { SqlError } from "effect/sql/SqlError"
import * as Stream from "effect/Stream"
import * as Activity from "./internal/activity.ts"
import * as Database from "./internal/database.ts"
import * as Runner from "./internal/runner.ts"
import * as SessionSteps from "./internal/sessionSteps.ts"
import * as SessionTable from "./internal/sessionTable.ts"
import * as SqlQuery from "./internal/sqlQuery.ts"

/**
 * Options of the SQL store.
 *
 * @stability unstable
 * @category options
 * @since 0.1.0
 */
export interface Options {
  /**
   * The table, `sessions` by default, with its schema or without: letters, digits
   * and underscores, at most 48 of them. Applications with a table each do not see
   * each other's sessions.
   */
  readonly table?: string | undefined
  /**
   * Whether a table that is missing is created at the start, `true` by default.
   * Without, {@link migration} creates it.
   */
  readonly createTable?: boolean | undefined
  /**
   * Longest time a step may take, 5 seconds by default, waiting for a connection
   * included.
   */
  readonly timeout?: Duration.Input | undefined
  /**
   * Time between two sweeps that remove expired sessions, 10 minutes by default,
   * give or take a fifth. An expired session is over before it is removed.
   */
  readonly sweepInterval?: Duration.Input | undefined
  /** Of how many sessions a process remembers the last activity, 20,000 by default. */
  readonly rememberedActivity?: number | undefined
}

/**
 * The services of one store.
 *
 * @stability unstable
 * @category models
 * @since 0.1.0
 */
export interface Services {
  readonly store: SessionStore["Service"]
  readonly query: SessionQuery["Service"]
}

const tableOf = (options: Pick<Options, "table">) => Database.tableOf("SqlStore", options.table ?? "sessions")

/**
 * Creates the table and its indexes, unless they are there: for applications
 * whose tables are created by migrations.
 *
 * **Details**
 *
 * Runs in the transaction of the migration, if there is one.
 *
 * **Gotchas**
 *
 * Throws a `RangeError` for a name of a table that the store refuses.
 *
 * @stability unstable
 * @category constructors
 * @since 0.1.0
 */
export const migration = (options: Pick<Options, "table"> = {}): Effect.Effect<void, SqlError, SqlClient> =>
  Database.migration(SessionTable.make(tableOf(options)))

/**
 * Makes a store whose sweep runs in the current scope.
 *
 * **Details**
 *
 * A table that is missing is created, and one that is not what this version
 * expects is refused.
 *
 * The user of the database needs to read, insert, update and delete rows of the
 * table, and to create it unless it is there.
 *
 * A session remembers the last 16 keys it was renewed away from with a grace
 * window, until it ends or is renewed without one; an earlier key is `Absent`.
 *
 * A scan is in the order of keys and holds 500 records at a time. It may meet a
 * session that is renewed meanwhile under both of its keys, or under none.
 *
 * **Gotchas**
 *
 * Subjects with a NUL character are refused, as PostgreSQL does.
 *
 * Throws a `RangeError` for options out of range.
 *
 * @stability unstable
 * @category constructors
 * @since 0.1.0
 */
export const make = (
  options: Options = {}
): Effect.Effect<Services, SessionStoreError, SqlClient | Scope.Scope> => {
  const statements = SessionTable.make(tableOf(options))
  const timeout = Database.waitOf("SqlStore", "timeout", options.timeout ?? "5 seconds")
  const sweepInterval = Database.waitOf("SqlStore", "sweepInterval", options.sweepInterval ?? "10 minutes")
  const remembered = options.rememberedActivity ?? 20_000
  if (!Number.isInteger(remembered) || remembered < 0) {
    throw new RangeError("SqlStore: rememberedActivity must be an integer, at least 0")
  }
  return Effect.gen(function*() {
    const client = yield* SqlClient
    const activity = Activity.make(yield* Clock.Clock, remembered)
    const runner = yield* Runner.make(client, timeout)
    const uniqueKeys = yield* Database.prepare(client, runner, statements, options.createTable ?? true)
    const query = SqlQuery.make(runner, statements)
    yield* Database.sweeping("SQL session store", sweepInterval, Stream.runDrain(query.purgeExpired))
    return { store: SessionSteps.make(runner, statements, uniqueKeys, activity), query }
  })
}

const contextOf = ({ query, store }: Services): Context.Context<SessionStore | SessionQuery> =>
  Context.add(Context.make(SessionStore, store), SessionQuery, query)

/**
 * Provides a SQL store: `SessionStore` and `SessionQuery`.
 *
 * **When to use**
 *
 * Use to put something between the store and the sessions, such as a guard
 * against outages; {@link layer} is the two together.
 *
 * **Gotchas**
 *
 * Throws a `RangeError` for options that {@link make} refuses.
 *
 * @stability unstable
 * @category layers
 * @since 0.1.0
 */
export const layerStore = (
  options?: Options
): Layer.Layer<SessionStore | SessionQuery, SessionStoreError, SqlClient> =>
  Layer.effectContext(Effect.map(make(options), contextOf))

/**
 * Provides a SQL store from wrapped configuration options.
 *
 * @stability unstable
 * @category layers
 * @since 0.1.0
 */
export const layerStoreConfig = (
  options: Config.Wrap<Options>
): Layer.Layer<SessionStore | SessionQuery, SessionStoreError | Config.ConfigError, SqlClient> =>
  Layer.effectContext(
    Effect.flatMap(Config.unwrap<Options>(options), (options) => Effect.map(make(options), contextOf))
  )

/**
 * Provides the seam that sessions stand on over the store below it, with payloads
 * sealed as the preset says: for compositions that put something between the two.
 *
 * @stability unstable
 * @category layers
 * @since 0.1.0
 */
export const layerBackend: Layer.Layer<
  SessionBackend.SessionBackend,
  never,
  SessionStore | Crypto | SessionConfig
> = SessionBackend.layer("sql", { sealByDefault: true })

/**
 * Provides a SQL store with the seam above it: everything sessions need of a
 * backend.
 *
 * **Gotchas**
 *
 * Throws a `RangeError` for options that {@link make} refuses.
 *
 * @stability unstable
 * @category layers
 * @since 0.1.0
 */
export const layer = (
  options?: Options
): Layer.Layer<
  SessionStore | SessionQuery | SessionBackend.SessionBackend,
  SessionStoreError,
  SqlClient | Crypto | SessionConfig
> => Layer.provideMerge(layerBackend, layerStore(options))

/**
 * Provides a SQL store with the seam above it from wrapped configuration options.
 *
 * @stability unstable
 * @category layers
 * @since 0.1.0
 */
export const layerConfig = (
  options: Config.Wrap<Options>
): Layer.Layer<
  SessionStore | SessionQuery | SessionBackend.SessionBackend,
  SessionStoreError | Config.ConfigError,
  SqlClient | Crypto | SessionConfig
> => Layer.provideMerge(layerBackend, layerStoreConfig(options))
