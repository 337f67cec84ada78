/**
 * The table of the list of revocations, and every statement on it.
 *
 * A row is a session that is over (`k` and its key), the epoch of a subject (`s`
 * and a hash of it), or the marker, whose key is empty and whose epoch is the
 * time at which the list began.
 *
 * @internal
 */
import { now, type Table, uniqueKeys } from "./database.ts"

/** What the list knows of a session. */
export interface StateRow {
  readonly since: number | null
  readonly revoked: boolean
  readonly epoch: number | null
}

const encoder = new TextEncoder()

/** A subject as statements take it: text of PostgreSQL cannot hold every character. */
export const octetsOf = (subject: string): Uint8Array => encoder.encode(JSON.stringify(subject))

export const make = (table: Table) => {
  const t = table.name
  const subjectKey = (parameter: string) => `'s' || encode(sha256(${parameter}::bytea), 'hex')`
  return {
    create: [
      `CREATE TABLE IF NOT EXISTS ${t} (key text COLLATE "C" PRIMARY KEY, epoch bigint, until bigint NOT NULL)`,
      `CREATE INDEX IF NOT EXISTS "${table.base}_until" ON ${t} (until)`
    ],

    describe: `SELECT key, epoch, until FROM ${t} LIMIT 0`,

    // 1 when a list that begins now has begun, if it is not the time.
    begin:
      `INSERT INTO ${t} AS l (key, epoch, until) VALUES ('', coalesce($1::bigint, ${now}), ${Number.MAX_SAFE_INTEGER})
ON CONFLICT (key) DO UPDATE SET epoch = l.epoch RETURNING epoch::float8 AS epoch`,

    // 1 key, 2 until when. A row that is over is as good as none.
    revoke: `INSERT INTO ${t} AS l (key, until) SELECT 'k' || $1, $2::bigint WHERE $2::bigint > ${now}
ON CONFLICT (key) DO UPDATE SET until = excluded.until WHERE l.until <= ${now} RETURNING true AS revoked`,

    // 1 key, 2 until when.
    prolong:
      `UPDATE ${t} SET until = greatest(until, $2::bigint) WHERE key = 'k' || $1 AND until > ${now} RETURNING true AS prolonged`,

    // 1 subject, 2 time of the caller, 3 allowed skew, 4 lifetime.
    revokeSubject: `INSERT INTO ${t} AS l (key, epoch, until)
SELECT ${subjectKey("$1")}, epoch, epoch + $3::bigint + $4::bigint
FROM (SELECT greatest(${now}, $2::bigint) + $3::bigint AS epoch) AS clock
ON CONFLICT (key) DO UPDATE SET epoch = greatest(excluded.epoch, l.epoch + 1),
  until = greatest(excluded.epoch, l.epoch + 1) + $3::bigint + $4::bigint
RETURNING epoch::float8 AS epoch`,

    // 1 subject.
    epoch: `SELECT epoch::float8 AS epoch FROM ${t} WHERE key = ${subjectKey("$1")} AND until > ${now}`,

    // 1 key, 2 subject.
    state: `SELECT (SELECT epoch::float8 FROM ${t} WHERE key = '') AS since,
  EXISTS (SELECT FROM ${t} WHERE key = 'k' || $1 AND until > ${now}) AS revoked,
  (SELECT epoch::float8 FROM ${t} WHERE key = ${subjectKey("$2")} AND until > ${now}) AS epoch`,

    // 1 how many.
    sweep: `DELETE FROM ${t} WHERE key IN (
  SELECT key FROM ${t} WHERE until <= (SELECT ${now}) LIMIT $1::integer FOR UPDATE SKIP LOCKED) RETURNING true AS swept`,

    unique: uniqueKeys(table)
  }
}
