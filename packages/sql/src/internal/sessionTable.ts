/**
 * The table of sessions, and every statement on it.
 *
 * A row is a session, or a key that a session was renewed away from: it names
 * the session in `successor`, and holds nothing else. Both kinds share the
 * primary key, so that no key is ever taken twice. A renewal changes the key of
 * the session's row and leaves the row in its place: who waits for it, to end
 * the sessions of a subject for instance, still finds it.
 *
 * @internal
 */
import type { Payload } from "@effect-session/core/SessionStore"
import { now, type Table, uniqueKeys } from "./database.ts"

const deadline = (row: string) => `least(${row}last_seen_at + ${row}idle_timeout, ${row}expires_at)`

// What the sweep looks for. Indexes on what every activity changes would make each write a new entry in all of them.
const coarse = 300_000
const coarseDeadline = `(${deadline("")} / ${coarse} + 1) * ${coarse}`

const live = (row: string) => `${deadline(row)} > ${now}`

// Drivers read integers of 64 bits as text or as `bigint`, and these as numbers. They are exact up to 2^53.
const record = (row: string) =>
  [
    ...["version", "created_at", "issued_at", "authenticated_at", "last_seen_at", "idle_timeout", "expires_at"].map(
      (name) => `${row}${name}::float8 AS ${name}`
    ),
    `${row}subject AS subject`,
    `${row}format AS format`
  ].join(", ")

const payload = (row: string) => `${row}payload AS payload, ${row}is_text AS is_text`

/** The columns of a record but its payload. */
export interface RecordRow {
  readonly version: number
  readonly created_at: number
  readonly issued_at: number
  readonly authenticated_at: number | null
  readonly last_seen_at: number
  readonly idle_timeout: number
  readonly expires_at: number
  readonly subject: string | null
  readonly format: number
}

/** The columns of a whole record. */
export interface SessionRow extends RecordRow {
  readonly payload: Uint8Array
  readonly is_text: boolean
}

/** What a load reads: a session, and how its key leads there. */
export interface LoadedRow extends SessionRow {
  readonly successor: string | null
  readonly until: number | null
  readonly now: number
}

/** What a load reads that records activity where it is due. */
export interface TouchedRow extends LoadedRow {
  readonly touched: boolean
}

export interface EntryRow extends SessionRow {
  readonly key: string
}

/** A key, and whether its session was live. */
export interface EndedRow {
  readonly key: string
  readonly live: boolean
}

const encoder = new TextEncoder()
const decoder = new TextDecoder("utf-8", { ignoreBOM: true })

/** A payload of the store's own, and what stands in its columns. */
export const copied = (
  given: Payload
): { readonly payload: Payload; readonly columns: readonly [bytes: Uint8Array, isText: boolean] } => {
  if (typeof given === "string") return { payload: given, columns: [encoder.encode(given), true] }
  const payload = new Uint8Array(given)
  return { payload, columns: [payload, false] }
}

/** The payload of a row, which is the caller's own. */
export const payloadOf = ({ is_text, payload }: SessionRow): Payload =>
  is_text ? decoder.decode(payload) : new Uint8Array(payload)

/** The statements on one table. */
export type Statements = ReturnType<typeof make>

/**
 * Number of keys a session keeps that it was renewed away from, the newest ones.
 */
export const maxAliases = 16

export const make = (table: Table) => {
  const t = table.name
  const index = (suffix: string) => `"${table.base}_${suffix}"`
  const session = "successor IS NULL"
  const lockOf = (subject: string) => `hashtextextended(${subject}, '${t}'::regclass::oid::bigint)`
  const signIn = "coalesce(authenticated_at, created_at), issued_at, key"
  const loaded = `${record("")}, ${payload("")}, successor, until::float8 AS until`
  const loadedNow = `${loaded}, (${now})::float8 AS now`
  const touch = `UPDATE ${t} SET last_seen_at = greatest(last_seen_at, ${now})
WHERE key = $1 AND ${session} AND ${live("")}`
  return {
    create: [
      `CREATE TABLE IF NOT EXISTS ${t} (
  key text COLLATE "C" PRIMARY KEY,
  version bigint NOT NULL DEFAULT 0,
  created_at bigint NOT NULL DEFAULT 0,
  issued_at bigint NOT NULL DEFAULT 0,
  authenticated_at bigint,
  last_seen_at bigint NOT NULL DEFAULT 0,
  idle_timeout bigint NOT NULL DEFAULT 0,
  expires_at bigint NOT NULL DEFAULT 0,
  subject text COLLATE "C",
  format integer NOT NULL DEFAULT 0,
  payload bytea NOT NULL DEFAULT '',
  is_text boolean NOT NULL DEFAULT true,
  successor text COLLATE "C",
  until bigint,
  over_by bigint GENERATED ALWAYS AS (${coarseDeadline}) STORED
) WITH (fillfactor = 80)`,
      `CREATE INDEX IF NOT EXISTS ${index("subject")} ON ${t} (subject) WHERE subject IS NOT NULL`,
      `CREATE INDEX IF NOT EXISTS ${index("successor")} ON ${t} (successor, key) WHERE successor IS NOT NULL`,
      `CREATE INDEX IF NOT EXISTS ${index("over_by")} ON ${t} (over_by) WHERE successor IS NULL`
    ],

    describe: `SELECT key, ${record("")}, ${payload("")}, successor, until, over_by FROM ${t} LIMIT 0`,

    // 1 key. Of one that was renewed away, where it leads and nothing else.
    load: `SELECT ${loadedNow} FROM ${t} WHERE key = $1`,

    // 1 key, 2 milliseconds since the last activity. Where there is nothing to record, it reads as a load does.
    loadAndTouch: `WITH touched AS (${touch} AND ${now} - last_seen_at >= $2::float8
RETURNING ${loaded}, last_seen_at::float8 AS now)
SELECT *, true AS touched FROM touched
UNION ALL SELECT ${loadedNow}, false FROM ${t} WHERE key = $1 AND NOT EXISTS (SELECT FROM touched)`,

    // 1 key. The session that a key leads to, in one view of the table.
    follow: `SELECT ${record("r.")}, ${payload("r.")}, s.successor, s.until::float8 AS until, (${now})::float8 AS now
FROM ${t} s JOIN ${t} r ON r.key = coalesce(s.successor, s.key) AND r.successor IS NULL WHERE s.key = $1`,

    // 1 key.
    expire: `WITH gone AS (DELETE FROM ${t} WHERE key = $1 AND ${session} AND NOT ${live("")} RETURNING key),
forgotten AS (DELETE FROM ${t} WHERE successor IN (SELECT key FROM gone))
SELECT key FROM gone`,

    // 1 key, 2 idle timeout, 3 lifetime, 4 subject, 5 format, 6 payload, 7 whether it is text.
    // Subjects take turns with those who lock them, and not with each other.
    insert: `WITH turn AS MATERIALIZED (SELECT pg_advisory_xact_lock_shared(${
      lockOf("$4::text")
    }) WHERE $4::text IS NOT NULL),
clock AS MATERIALIZED (SELECT ${now} AS now FROM (SELECT count(*) FROM turn) AS turns)
INSERT INTO ${t} AS s (key, version, created_at, issued_at, authenticated_at, last_seen_at, idle_timeout, expires_at,
  subject, format, payload, is_text)
SELECT $1, 1, now, now, CASE WHEN $4::text IS NULL THEN NULL ELSE now END, now, $2::bigint, now + $3::bigint,
  $4::text, $5::integer, $6::bytea, $7::boolean FROM clock
ON CONFLICT (key) DO NOTHING RETURNING ${record("s.")}`,

    // 1 key. What is over, and what led to it, frees its key.
    vacate: `WITH gone AS (DELETE FROM ${t} WHERE key = $1 AND ${session} AND NOT ${live("")} RETURNING key),
forgotten AS (DELETE FROM ${t} WHERE successor IN (SELECT key FROM gone))
DELETE FROM ${t} a WHERE a.key = $1 AND a.successor IS NOT NULL AND NOT EXISTS (
  SELECT FROM ${t} r WHERE r.key = a.successor AND r.successor IS NULL AND ${live("r.")})`,

    // 1 key, 2 version, 3 whether it counts as activity, 4 idle timeout, 5 lifetime, 6 format, 7 payload, 8 whether it is text.
    save: `UPDATE ${t} SET version = version + 1,
  last_seen_at = CASE WHEN $3::boolean THEN greatest(last_seen_at, ${now}) ELSE last_seen_at END,
  idle_timeout = $4::bigint, expires_at = coalesce(${now} + $5::bigint, expires_at),
  format = $6::integer, payload = $7::bytea, is_text = $8::boolean
WHERE key = $1 AND ${session} AND version = $2::bigint AND ${live("")} RETURNING ${record("")}`,

    // 1 key.
    versionOf: `SELECT version::float8 AS version FROM ${t} WHERE key = $1 AND ${session} AND ${live("")}`,

    // 1 key.
    touch: `${touch} RETURNING true AS live`,

    // 1 old key, 2 version, 3 key, 4 subject, 5 whether it has just proved who it is, 6 idle timeout, 7 lifetime,
    // 8 format, 9 payload, 10 whether it is text.
    renew: `WITH held AS MATERIALIZED (SELECT FROM ${t} WHERE key = $1 AND version = $2::bigint FOR UPDATE),
clock AS MATERIALIZED (SELECT ${now} AS now FROM held)
UPDATE ${t} SET key = $3, version = 1, issued_at = now,
  authenticated_at = CASE WHEN $4::text IS NULL THEN NULL WHEN $5::boolean THEN now ELSE authenticated_at END,
  last_seen_at = greatest(last_seen_at, now), idle_timeout = $6::bigint,
  expires_at = coalesce(now + $7::bigint, expires_at), subject = $4::text,
  format = $8::integer, payload = $9::bytea, is_text = $10::boolean
FROM clock WHERE key = $1 AND ${session} AND version = $2::bigint AND ${live("")} RETURNING ${record("")}`,

    // 1 old key, 2 key, 3 end of the grace window, 4 time of the renewal. The result is how many keys led to it before.
    alias: `WITH earlier AS (UPDATE ${t} SET successor = $2 WHERE successor = $1 RETURNING key),
added AS (INSERT INTO ${t} (key, successor, until, issued_at) VALUES ($1, $2, $3::bigint, $4::bigint))
SELECT count(*)::integer AS earlier FROM earlier`,

    // 1 key.
    trim: `DELETE FROM ${t} WHERE key IN (
  SELECT key FROM ${t} WHERE successor = $1 ORDER BY issued_at DESC, until DESC OFFSET ${maxAliases})`,

    // 1 key.
    forget: `DELETE FROM ${t} WHERE successor = $1`,

    // 1 key.
    destroy: `WITH gone AS (DELETE FROM ${t} WHERE key = $1 AND ${session} RETURNING key, ${live("")} AS live),
forgotten AS (DELETE FROM ${t} WHERE successor IN (SELECT key FROM gone))
SELECT key, live FROM gone`,

    // 1 key.
    successorOf: `SELECT successor FROM ${t} WHERE key = $1 AND successor IS NOT NULL`,

    // 1 subject. Who adds a session to a subject under a limit, renews one or ends all, waits for all others that add one.
    lockSubject: `SELECT pg_advisory_xact_lock(${lockOf("$1")})`,

    // 1 subject, 2 key to leave out. The oldest first.
    keysOfSubject: `SELECT key FROM ${t} WHERE subject = $1 AND key <> $2 AND ${live("")} ORDER BY ${signIn}`,

    // 1 keys.
    end: `WITH gone AS (DELETE FROM ${t} WHERE key = ANY($1::text[]) AND ${session} RETURNING key),
forgotten AS (DELETE FROM ${t} WHERE successor IN (SELECT key FROM gone))
SELECT key FROM gone`,

    // 1 subject.
    bySubject: `SELECT key, ${record("")}, ${payload("")} FROM ${t} WHERE subject = $1 AND ${
      live("")
    } ORDER BY ${signIn}`,

    // 1 subject, 2 key to leave out.
    destroyBySubject: `WITH gone AS (DELETE FROM ${t} WHERE subject = $1 AND key <> $2 RETURNING key, ${
      live("")
    } AS live),
forgotten AS (DELETE FROM ${t} WHERE successor IN (SELECT key FROM gone))
SELECT key, live FROM gone`,

    // 1 last key, 2 how many.
    page: `SELECT key, ${record("")}, ${payload("")} FROM ${t}
WHERE key > $1 AND ${session} AND ${live("")} ORDER BY key LIMIT $2::integer`,

    count: `SELECT count(*)::float8 AS count FROM ${t} WHERE ${session} AND ${live("")}`,

    // 1 key, 2 version, 3 last activity.
    destroyIf: `WITH gone AS (
  DELETE FROM ${t} WHERE key = $1 AND ${session} AND version = $2::bigint AND last_seen_at = $3::bigint AND ${live("")}
  RETURNING key),
forgotten AS (DELETE FROM ${t} WHERE successor IN (SELECT key FROM gone))
SELECT key FROM gone`,

    // 1 how many.
    clear: `WITH gone AS (
  DELETE FROM ${t} WHERE key IN (SELECT key FROM ${t} ORDER BY key LIMIT $1::integer FOR UPDATE)
  RETURNING ${session} AS session)
SELECT count(*)::integer AS rows, count(*) FILTER (WHERE session)::integer AS sessions FROM gone`,

    // 1 how many. Those that another one works on are left to it.
    purge: `WITH gone AS (
  DELETE FROM ${t} WHERE key IN (
    SELECT key FROM ${t} WHERE ${session} AND over_by <= (SELECT ${now} + ${coarse}) AND NOT ${live("")}
    LIMIT $1::integer FOR UPDATE SKIP LOCKED)
  RETURNING key),
forgotten AS (DELETE FROM ${t} WHERE successor IN (SELECT key FROM gone))
SELECT count(*)::integer AS sessions FROM gone`,

    // 1 successor and 2 key of the last one looked at, 3 how many. What leads nowhere goes.
    purgeAliases: `WITH page AS MATERIALIZED (
  SELECT key, successor FROM ${t} WHERE successor IS NOT NULL AND (successor, key) > ($1, $2)
  ORDER BY successor, key LIMIT $3::integer),
gone AS (
  DELETE FROM ${t} WHERE successor IS NOT NULL AND key = ANY (ARRAY(
    SELECT p.key FROM page p WHERE NOT EXISTS (SELECT FROM ${t} r WHERE r.key = p.successor AND r.successor IS NULL))))
SELECT key, successor FROM page ORDER BY successor DESC, key DESC LIMIT 1`,

    unique: uniqueKeys(table)
  }
}
