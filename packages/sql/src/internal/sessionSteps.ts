/**
 * The six steps of a session on the table of the SQL store.
 *
 * A step that changes one row is one statement, and the row decides it: what it
 * finds there when it reaches it. A step that a limit or a renewal makes longer
 * is one transaction, in which sessions of one subject are added one after the
 * other.
 *
 * A load writes nothing and locks no row, unless activity is due by what the
 * process remembers.
 *
 * @internal
 */
import * as Lifetime from "@effect-session/core/Lifetime"
import type {
  Created,
  Lookup,
  NewRecord,
  Payload,
  Renewed,
  Replacement,
  Saved,
  SessionLimit,
  SessionRecord,
  SessionStore,
  SessionStoreError
} from "@effect-session/core/SessionStore"
import * as Effect from "effect/Effect"
import type { SqlError } from "effect/sql/SqlError"
import type { Activity } from "./activity.ts"
import type { Runner } from "./runner.ts"
import * as SessionTable from "./sessionTable.ts"
import { contended, wasRefused } from "./storeFault.ts"

type Step<A> = Effect.Effect<A, SqlError | SessionStoreError>

/** The record of a row. */
export const recordOf = (row: SessionTable.RecordRow, payload: Payload): SessionRecord => ({
  version: row.version,
  createdAt: row.created_at,
  issuedAt: row.issued_at,
  authenticatedAt: row.authenticated_at ?? undefined,
  lastSeenAt: row.last_seen_at,
  idleTimeout: row.idle_timeout,
  expiresAt: row.expires_at,
  subject: row.subject ?? undefined,
  format: row.format,
  payload
})

// Of a step that has to start over because another one was faster each time.
const attempts = 20

const again = <A>(left: number, retry: (left: number) => Step<A>): Step<A> =>
  left > 0 ? retry(left - 1) : Effect.fail(contended)

// Ends a transaction, of which nothing remains.
class Undone<out A> {
  readonly result: A
  constructor(result: A) {
    this.result = result
  }
}

const absent: Lookup = { _tag: "Absent" }
const expired: Lookup = { _tag: "Expired" }

export const make = (
  runner: Runner,
  statements: SessionTable.Statements,
  uniqueKeys: string,
  activity: Activity
): SessionStore["Service"] => {
  const { query, step } = runner

  const transaction = <A>(body: Effect.Effect<A, SqlError | SessionStoreError | Undone<A>>): Step<A> =>
    Effect.catchIf(
      runner.transaction(body),
      (error): error is Undone<A> => error instanceof Undone,
      (undone) => Effect.succeed(undone.result)
    )

  // The table may have a rule of somebody else's that says the same. A driver need not tell which rule it was.
  const isOfKeys = ({ reason }: SqlError): boolean =>
    reason._tag === "UniqueViolation" && (reason.constraint === uniqueKeys || reason.constraint === "unknown")

  const lock = (subject: string | undefined) =>
    subject === undefined ? Effect.void : query(statements.lockSubject, [subject])

  // Ends the sessions that have to go so that a subject may have this one. In a transaction that has locked the subject.
  const makeRoom = <A>(
    subject: string | undefined,
    limit: SessionLimit | undefined,
    key: string,
    reached: A
  ): Effect.Effect<ReadonlyArray<string>, SqlError | Undone<A>> => {
    if (subject === undefined || limit === undefined) return Effect.succeed([])
    return Effect.flatMap(query<{ readonly key: string }>(statements.keysOfSubject, [subject, key]), (
      others
    ): Effect.Effect<ReadonlyArray<string>, SqlError | Undone<A>> => {
      const over = others.length + 1 - limit.max
      if (over <= 0) return Effect.succeed([])
      if (limit.onLimit === "refuse") return Effect.fail(new Undone(reached))
      const oldest = others.slice(0, over).map(({ key }) => key)
      return Effect.map(query<{ readonly key: string }>(statements.end, [oldest]), (rows) => {
        // One of them may have ended, or gone over to another subject, by itself.
        const ended = new Set(rows.map(({ key }) => key))
        return oldest.filter((key) => ended.has(key))
      })
    })
  }

  const load = (key: string, left: number): Step<Lookup> =>
    Effect.flatMap(query<SessionTable.LoadedRow>(statements.load, [key]), ([row]) => judge(key, row, left))

  const judge = (key: string, found: SessionTable.LoadedRow | undefined, left: number): Step<Lookup> =>
    found === undefined || found.successor === null
      ? judgeSession(key, found, left)
      : Effect.flatMap(
        query<SessionTable.LoadedRow>(statements.follow, [key]),
        ([row]) => judgeSession(key, row, left)
      )

  const judgeSession = (key: string, row: SessionTable.LoadedRow | undefined, left: number): Step<Lookup> => {
    if (row === undefined) return Effect.succeed(absent)
    const { now, successor, until } = row
    const record = recordOf(row, SessionTable.payloadOf(row))
    if (!Lifetime.isLive(record, now)) {
      // A save that has not been confirmed yet may have been in time: its row decides.
      return Effect.flatMap(query(statements.expire, [successor ?? key]), (gone) =>
        gone.length === 0
          ? again(left, (left) => load(key, left))
          : Effect.succeed(successor === null ? expired : absent))
    }
    if (successor === null) return Effect.succeed({ _tag: "Live", record, alias: undefined, now })
    return Effect.succeed(
      until !== null && now < until
        ? { _tag: "Live", record, alias: successor, now }
        : { _tag: "Superseded", successor }
    )
  }

  const loadAndTouch = (key: string, touchAfter: number): Step<Lookup> =>
    Effect.matchEffect(query<SessionTable.TouchedRow>(statements.loadAndTouch, [key, touchAfter]), {
      // Who may not write now may still read.
      onFailure: (error): Step<Lookup> => wasRefused(error) ? load(key, attempts) : Effect.fail(error),
      onSuccess: ([row]): Step<Lookup> => {
        if (row === undefined) return Effect.succeed(absent)
        const { now, successor, touched } = row
        const record = recordOf(row, SessionTable.payloadOf(row))
        if (touched) return Effect.succeed({ _tag: "Live", record, alias: undefined, now, touched })
        // It has waited for another one, and read what was there before.
        return successor === null && Lifetime.isLive(record, now) && Lifetime.isTouchDue(record, now, touchAfter)
          ? load(key, attempts)
          : judge(key, row, attempts)
      }
    })

  const loadRolling = (key: string, touchAfter: number): Step<Lookup> =>
    Effect.map(
      Effect.suspend(() => activity.isOlder(key, touchAfter) ? loadAndTouch(key, touchAfter) : load(key, attempts)),
      (lookup) => {
        if (lookup._tag !== "Live" || lookup.alias !== undefined) activity.forget(key)
        else activity.note(key, lookup.now - lookup.record.lastSeenAt)
        return lookup
      }
    )

  const noted = <A>(key: string, step: Step<A>, isActivity: (result: A) => boolean): Step<A> =>
    Effect.map(step, (result) => {
      if (isActivity(result)) activity.note(key, 0)
      return result
    })

  const create = (record: NewRecord, limit: SessionLimit | undefined): Step<Created> => {
    const { columns, payload } = SessionTable.copied(record.payload)
    const insert = Effect.map(
      query<SessionTable.RecordRow>(statements.insert, [
        record.key,
        record.idleTimeout,
        record.lifetime,
        record.subject ?? null,
        record.format,
        ...columns
      ]),
      ([row]): Created =>
        row === undefined
          ? { _tag: "KeyTaken" }
          : { _tag: "Created", record: recordOf(row, payload), evicted: [] }
    )
    if (limit === undefined || record.subject === undefined) return insert
    return transaction<Created>(Effect.gen(function*() {
      yield* lock(record.subject)
      const created = yield* insert
      if (created._tag !== "Created") return created
      const evicted = yield* makeRoom<Created>(record.subject, limit, record.key, { _tag: "LimitReached" })
      return { ...created, evicted }
    }))
  }

  // A key that is held by what is over is free.
  const withFreeKey = <A extends { readonly _tag: string }>(key: string, attempt: Step<A>): Step<A> =>
    Effect.flatMap(attempt, (result) =>
      result._tag === "KeyTaken"
        ? Effect.andThen(query(statements.vacate, [key]), attempt)
        : Effect.succeed(result))

  // Why a row of a session was not there with a version.
  const refusal = <A>(
    key: string,
    version: number,
    left: number,
    retry: (left: number) => Step<A>
  ): Step<A | { readonly _tag: "Conflict" } | { readonly _tag: "Gone" }> =>
    Effect.flatMap(
      query<{ readonly version: number }>(statements.versionOf, [key]),
      ([row]): Step<A | { readonly _tag: "Conflict" } | { readonly _tag: "Gone" }> => {
        if (row === undefined) return Effect.succeed({ _tag: "Gone" })
        return row.version === version ? again(left, retry) : Effect.succeed({ _tag: "Conflict" })
      }
    )

  const save = (
    key: string,
    version: number,
    change: Parameters<SessionStore["Service"]["save"]>[2],
    left: number
  ): Step<Saved> => {
    const { columns, payload } = SessionTable.copied(change.payload)
    const params = [
      key,
      version,
      change.active,
      change.idleTimeout,
      change.lifetime ?? null,
      change.format,
      ...columns
    ]
    return Effect.flatMap(
      query<SessionTable.RecordRow>(statements.save, params),
      ([row]): Step<Saved> =>
        row === undefined
          ? refusal<Saved>(key, version, left, (left) => save(key, version, change, left))
          : Effect.succeed({ _tag: "Saved", record: recordOf(row, payload) })
    )
  }

  const renew = (
    oldKey: string,
    version: number,
    replacement: Replacement,
    options: Parameters<SessionStore["Service"]["renew"]>[3],
    left: number
  ): Step<Renewed> => {
    const { key, subject } = replacement
    if (key === oldKey) return refusal<Renewed>(oldKey, version, left, () => Effect.succeed({ _tag: "KeyTaken" }))
    const grace = options?.grace ?? 0
    const { columns, payload } = SessionTable.copied(replacement.payload)
    const attempt = transaction<Renewed | undefined>(Effect.gen(function*() {
      yield* lock(subject)
      const [row] = yield* query<SessionTable.RecordRow>(statements.renew, [
        oldKey,
        version,
        key,
        subject ?? null,
        replacement.authenticated,
        replacement.idleTimeout,
        replacement.lifetime ?? null,
        replacement.format,
        ...columns
      ])
      if (row === undefined) return undefined
      if (grace > 0) {
        const [counted] = yield* query<{ readonly earlier: number }>(statements.alias, [
          oldKey,
          key,
          row.issued_at + grace,
          row.issued_at
        ])
        if (counted.earlier >= SessionTable.maxAliases) yield* query(statements.trim, [key])
      } else {
        yield* query(statements.forget, [oldKey])
      }
      const evicted = yield* makeRoom<Renewed>(subject, options?.limit, key, { _tag: "LimitReached" })
      return { _tag: "Renewed", record: recordOf(row, payload), evicted }
    }))
    return attempt.pipe(
      Effect.catchIf(
        (error) => error._tag === "SqlError" && isOfKeys(error),
        () => Effect.succeed<Renewed>({ _tag: "KeyTaken" })
      ),
      Effect.flatMap((renewed): Step<Renewed> =>
        renewed === undefined
          ? refusal<Renewed>(oldKey, version, left, (left) => renew(oldKey, version, replacement, options, left))
          : Effect.succeed(renewed)
      )
    )
  }

  const destroy = (key: string, left: number): Step<boolean> =>
    Effect.flatMap(query<SessionTable.EndedRow>(statements.destroy, [key]), ([ended]): Step<boolean> => {
      if (ended !== undefined) return Effect.succeed(ended.live)
      return Effect.flatMap(
        query<{ readonly successor: string }>(statements.successorOf, [key]),
        ([row]): Step<boolean> =>
          row === undefined
            ? Effect.succeed(false)
            : Effect.flatMap(query<SessionTable.EndedRow>(statements.destroy, [row.successor]), ([ended]) =>
              // It may have been renewed once more.
              ended === undefined ? gone(key, row.successor, left) : Effect.succeed(ended.live))
      )
    })

  // Whether a key leads nowhere; if it leads somewhere else by now, that ends.
  const gone = (key: string, successor: string, left: number): Step<boolean> =>
    Effect.flatMap(
      query<{ readonly successor: string }>(statements.successorOf, [key]),
      ([row]): Step<boolean> =>
        row === undefined || row.successor === successor
          ? Effect.succeed(false)
          : again(left, (left) => destroy(key, left))
    )

  return {
    load: (key, options) =>
      step(options?.touchAfter === undefined ? load(key, attempts) : loadRolling(key, options.touchAfter)),
    create: (record, limit) =>
      step(noted(record.key, withFreeKey(record.key, create(record, limit)), ({ _tag }) => _tag === "Created")),
    save: (key, version, change) =>
      step(noted(key, save(key, version, change, attempts), ({ _tag }) => change.active && _tag === "Saved")),
    touch: (key) =>
      step(noted(key, Effect.map(query(statements.touch, [key]), (rows) => rows.length > 0), (touched) => touched)),
    renew: (oldKey, version, replacement, options) =>
      step(noted(
        replacement.key,
        withFreeKey(replacement.key, renew(oldKey, version, replacement, options, attempts)),
        ({ _tag }) => _tag === "Renewed"
      )),
    destroy: (key) => step(destroy(key, attempts))
  }
}
