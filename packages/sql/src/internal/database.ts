/**
 * What the store and the list of revocations ask of a database before they use it, and what they accept as options.
 *
 * @internal
 */
import type { SessionStoreError } from "@effect-session/core/SessionStore"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Schedule from "effect/Schedule"
import type * as Scope from "effect/Scope"
import * as SqlClient from "effect/sql/SqlClient"
import type { SqlError } from "effect/sql/SqlError"
import type { Runner } from "./runner.ts"
import { closing, refused } from "./storeFault.ts"

/** The instant of a statement, in milliseconds, when it reaches the row: it may have waited for another one. */
export const now = "floor(date_part('epoch', clock_timestamp()) * 1000)::bigint"

const name = /^[A-Za-z_][A-Za-z0-9_]{0,47}$/

/** A table as statements name it, and the start of the names of its indexes. */
export interface Table {
  readonly name: string
  readonly base: string
}

/** Throws a `RangeError` for what is not a plain name, with its schema or without. */
export const tableOf = (who: string, text: string): Table => {
  const parts = text.split(".")
  if (parts.length > 2 || !parts.every((part) => name.test(part))) {
    throw new RangeError(
      `${who}: table must be letters, digits and underscores, at most 48, with a schema before a dot or without`
    )
  }
  return { name: parts.map((part) => `"${part}"`).join("."), base: parts[parts.length - 1] }
}

// The longest timer of the platform.
const longestTimer = 2_147_483_647

/** Throws a `RangeError` for what is no time to wait. */
export const waitOf = (who: string, option: string, input: Duration.Input): number => {
  const millis = Math.ceil(Duration.toMillis(Duration.fromInputUnsafe(input)))
  if (!(millis >= 1 && millis <= longestTimer)) {
    throw new RangeError(`${who}: ${option} must be from 1 millisecond to 24 days, got ${millis} ms`)
  }
  return millis
}

interface Server {
  readonly version: number
  readonly encoding: string
}

const serverOf =
  "SELECT current_setting('server_version_num')::integer AS version, current_setting('server_encoding') AS encoding"

/** Statements that make a table, and one that fails unless it is there as it should be. */
export interface Definition {
  readonly create: ReadonlyArray<string>
  readonly describe: string
  /** The name of the index that keeps keys unique. */
  readonly unique: string
}

/** Two sessions must not share a key. */
export const uniqueKeys = ({ name }: Table): string =>
  `SELECT c.relname AS name FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid
JOIN pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = i.indkey[0]
WHERE i.indrelid = '${name}'::regclass AND i.indisunique AND i.indisvalid AND i.indnkeyatts = 1 AND i.indpred IS NULL
  AND a.attname = 'key'`

/** Makes a table, in the transaction of the caller if there is one. */
export const migration = (definition: Definition): Effect.Effect<void, SqlError, SqlClient.SqlClient> =>
  Effect.flatMap(SqlClient.SqlClient, (client) => {
    const sql = client.withoutTransforms()
    return Effect.forEach(definition.create, (statement) => sql.unsafe(statement), { discard: true })
  })

/**
 * Makes sure that there is a database that can be used, with the table in it, and returns the name of the index that
 * keeps its keys unique.
 */
export const prepare = Effect.fnUntraced(function*(
  client: SqlClient.SqlClient,
  runner: Runner,
  definition: Definition,
  creates: boolean
) {
  if (!client.onDialectOrElse({ pg: () => true, orElse: () => false })) {
    return yield* Effect.fail(refused("the SQL client speaks another dialect than that of PostgreSQL"))
  }
  const [server] = yield* runner.step(runner.query<Server>(serverOf, []))
  if (server.version < 120_000) return yield* Effect.fail(refused("the database is older than PostgreSQL 12"))
  if (server.encoding !== "UTF8") return yield* Effect.fail(refused("the encoding of the database is not UTF8"))
  const describe = runner.step(runner.query(definition.describe, []))
  // Who may not create tables may use one that is there.
  const described = yield* Effect.exit(describe)
  if (described._tag === "Failure") {
    if (!creates) return yield* Effect.failCause(described.cause)
    yield* runner.step(runner.transaction(Effect.andThen(
      // Two processes that create it at the same time would get in each other's way.
      runner.query("SELECT pg_advisory_xact_lock(hashtextextended($1, 0))", [definition.describe]),
      Effect.forEach(definition.create, (statement) => runner.query(statement, []), { discard: true })
    )))
    yield* describe
  }
  const [index] = yield* runner.step(runner.query<{ readonly name: string }>(definition.unique, []))
  return index === undefined ? yield* Effect.fail(refused("the keys of the table are not unique")) : index.name
})

/** Runs a sweep again and again in the current scope. One that fails is said, and tried again. */
export const sweeping = (
  what: string,
  interval: number,
  sweep: Effect.Effect<void, SessionStoreError>
): Effect.Effect<void, never, Scope.Scope> =>
  sweep.pipe(
    Effect.catchTag("SessionStoreError", (error) =>
      // The layer is being closed, and this with it.
      error === closing ? Effect.void : Effect.logWarning(`${what}, sweep: ${error.message}`)),
    // Not all processes at the same time.
    Effect.schedule(Schedule.jittered(Schedule.spaced(interval))),
    Effect.forkScoped,
    Effect.asVoid
  )
