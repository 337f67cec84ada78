/**
 * Looks across the sessions of the table.
 *
 * Long operations go through the table page by page, in the order of its keys:
 * each page is a statement of its own, and nothing is held between two.
 *
 * @internal
 */
import type * as SessionQuery from "@effect-session/core/SessionQuery"
import type { SessionStoreError } from "@effect-session/core/SessionStore"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import type { SqlError } from "effect/sql/SqlError"
import * as Stream from "effect/Stream"
import type { Runner } from "./runner.ts"
import { recordOf } from "./sessionSteps.ts"
import * as SessionTable from "./sessionTable.ts"

const rowsPerPage = 500

const entryOf = (row: SessionTable.EntryRow): SessionQuery.SessionEntry => ({
  key: row.key,
  record: recordOf(row, SessionTable.payloadOf(row))
})

const isLive = ({ live }: SessionTable.EndedRow): boolean => live

export const make = (runner: Runner, statements: SessionTable.Statements): SessionQuery.SessionQuery["Service"] => {
  const { query, step } = runner

  const pages: Stream.Stream<ReadonlyArray<SessionQuery.SessionEntry>, SessionStoreError> = Stream.paginate(
    "",
    (last: string) =>
      Effect.map(
        step(query<SessionTable.EntryRow>(statements.page, [last, rowsPerPage])),
        (rows) =>
          [
            [rows.map(entryOf)],
            rows.length < rowsPerPage ? Option.none<string>() : Option.some(rows[rows.length - 1].key)
          ] as const
      )
  )

  // Repeats a step until it finds nothing more, and says after each time how far it is.
  const working = (
    once: Effect.Effect<{ readonly sessions: number; readonly more: boolean }, SqlError>
  ): Stream.Stream<SessionQuery.Progress, SessionStoreError> =>
    Stream.paginate(0, (before: number) =>
      Effect.map(step(once), ({ more, sessions }) => {
        const total = before + sessions
        return [[{ scanned: total, removed: total }], more ? Option.some(total) : Option.none<number>()] as const
      }))

  // The row decides: what has changed since it was read is looked at again.
  const endIf = (
    entry: SessionQuery.SessionEntry,
    predicate: (entry: SessionQuery.SessionEntry) => boolean
  ): Effect.Effect<boolean, SqlError> =>
    predicate(entry)
      ? Effect.flatMap(
        query(statements.destroyIf, [entry.key, entry.record.version, entry.record.lastSeenAt]),
        (gone) =>
          gone.length > 0
            ? Effect.succeed(true)
            : Effect.flatMap(query<SessionTable.LoadedRow>(statements.load, [entry.key]), ([row]) =>
              row === undefined || row.successor !== null ||
                (row.version === entry.record.version && row.last_seen_at === entry.record.lastSeenAt)
                ? Effect.succeed(false)
                : endIf({ key: entry.key, record: recordOf(row, SessionTable.payloadOf(row)) }, predicate))
      )
      : Effect.succeed(false)

  return {
    bySubject: (subject) =>
      Effect.map(step(query<SessionTable.EntryRow>(statements.bySubject, [subject])), (rows) => rows.map(entryOf)),

    destroyBySubject: (subject, options) =>
      Effect.map(
        step(runner.transaction(Effect.andThen(
          query(statements.lockSubject, [subject]),
          query<SessionTable.EndedRow>(statements.destroyBySubject, [subject, options?.except ?? ""])
        ))),
        (ended) => ended.filter(isLive).map(({ key }) => key)
      ),

    scan: Stream.flatMap(pages, Stream.fromIterable),

    count: Effect.map(
      step(query<{ readonly count: number }>(statements.count, [])),
      ([{ count }]) => count
    ),

    destroyWhere: (predicate) =>
      Stream.suspend(() => {
        let scanned = 0
        let removed = 0
        return Stream.mapEffect(pages, (entries) =>
          Effect.map(
            Effect.forEach(entries, (entry) => step(endIf(entry, predicate)), { concurrency: 4 }),
            (ended): SessionQuery.Progress => {
              scanned += entries.length
              for (const one of ended) if (one) removed++
              return { scanned, removed }
            }
          ))
      }),

    clear: working(
      Effect.map(
        query<{ readonly rows: number; readonly sessions: number }>(statements.clear, [rowsPerPage]),
        ([{ rows, sessions }]) => ({ sessions, more: rows > 0 })
      )
    ),

    purgeExpired: Stream.concat(
      working(
        Effect.map(
          query<{ readonly sessions: number }>(statements.purge, [rowsPerPage]),
          ([{ sessions }]) => ({ sessions, more: sessions > 0 })
        )
      ),
      Stream.drain(Stream.paginate(["", ""], (last: ReadonlyArray<string>) =>
        Effect.map(
          step(query<{ readonly key: string; readonly successor: string }>(statements.purgeAliases, [
            ...last,
            rowsPerPage
          ])),
          ([row]) => [[], row === undefined ? Option.none() : Option.some([row.successor, row.key])] as const
        )))
    )
  }
}
