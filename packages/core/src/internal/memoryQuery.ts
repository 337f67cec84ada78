/**
 * What the memory store does across its sessions, in slices.
 *
 * @internal
 */
import type * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Stream from "effect/Stream"
import type { Progress, SessionEntry, SessionQuery } from "../SessionQuery.ts"
import type { SessionTable } from "./sessionTable.ts"

// A slice takes about a millisecond at most: then whatever else waits gets its turn.
const visitsPerSlice = 8192
const sessionsPerSlice = 256
const entriesPerChunk = 128

interface Pass extends Progress {
  /** The slot to go on with. */
  readonly next: number
}

const start: Pass = { next: 0, scanned: 0, removed: 0 }

// Visits used slots until `limit` of the visits have been work. A visit may change the table.
const slice = (table: SessionTable, from: number, limit: number, visit: (slot: number) => boolean): number => {
  const last = from + visitsPerSlice
  let slot = from
  for (let work = 0; work < limit && slot < last && slot < table.end; slot++) {
    if (table.isUsed(slot) && visit(slot)) work++
  }
  return slot
}

const entryOf = (table: SessionTable, slot: number): SessionEntry => ({
  key: table.keyOf(slot),
  record: table.read(slot)
})

/**
 * Removes expired sessions of one slice and returns them, if they are wanted.
 *
 * @internal
 */
export const sweepSlice = (
  table: SessionTable,
  now: number,
  pass: Pass,
  wanted: boolean
): { readonly pass: Pass; readonly entries: ReadonlyArray<SessionEntry> } => {
  const entries: Array<SessionEntry> = []
  let { removed, scanned } = pass
  const next = slice(table, pass.next, sessionsPerSlice, (slot) => {
    scanned++
    if (table.isLive(slot, now)) return false
    if (wanted) entries.push(entryOf(table, slot))
    table.expire(slot)
    removed++
    return true
  })
  return { pass: { next, scanned, removed }, entries }
}

/** @internal */
export interface Sweeper {
  /** Sweeps the whole table. */
  readonly sweep: Effect.Effect<void>
  /** Sweeps the whole table and reports each slice. */
  readonly progress: Stream.Stream<Progress>
}

const paused = <A>(pass: Pass, step: Effect.Effect<A>): Effect.Effect<A> =>
  pass === start ? step : Effect.andThen(Effect.yieldNow, step)

/** @internal */
export const makeSweeper = (
  table: SessionTable,
  clock: Clock.Clock,
  onExpired: ((entries: ReadonlyArray<SessionEntry>) => Effect.Effect<void>) | undefined
): Sweeper => {
  const notify = (entries: ReadonlyArray<SessionEntry>): Effect.Effect<void> =>
    onExpired === undefined || entries.length === 0
      ? Effect.void
      : Effect.suspend(() => onExpired(entries)).pipe(Effect.timeoutOption("5 seconds"), Effect.ignoreCause)
  const step = (pass: Pass): Effect.Effect<Pass> =>
    paused(
      pass,
      Effect.suspend(() => {
        const swept = sweepSlice(table, clock.currentTimeMillisUnsafe(), pass, onExpired !== undefined)
        return Effect.as(notify(swept.entries), swept.pass)
      })
    )
  return {
    sweep: Effect.suspend(() => {
      let pass = start
      return Effect.whileLoop({
        while: () => pass === start || pass.next < table.end,
        body: () => step(pass),
        step: (next) => {
          pass = next
        }
      })
    }),
    progress: Stream.paginate(start, (pass) => Effect.map(step(pass), (next) => emit(table, next)))
  }
}

const emit = (table: SessionTable, pass: Pass): readonly [ReadonlyArray<Progress>, Option.Option<Pass>] => [
  [{ scanned: pass.scanned, removed: pass.removed }],
  pass.next < table.end ? Option.some(pass) : Option.none()
]

/** @internal */
export const make = (
  table: SessionTable,
  clock: Clock.Clock,
  sweeper: Sweeper
): SessionQuery["Service"] => {
  const scan = Stream.paginate(start, (pass) =>
    paused(
      pass,
      Effect.sync(() => {
        const now = clock.currentTimeMillisUnsafe()
        const entries: Array<SessionEntry> = []
        const next = slice(table, pass.next, entriesPerChunk, (slot) => {
          if (!table.isLive(slot, now)) return false
          entries.push(entryOf(table, slot))
          return true
        })
        return [entries, next < table.end ? Option.some({ ...pass, next }) : Option.none<Pass>()] as const
      })
    ))

  // Visits every session in slices and removes those for which `remove` says so.
  const removing = (limit: number, remove: (slot: number) => boolean): Stream.Stream<Progress> =>
    Stream.paginate(start, (pass) =>
      paused(
        pass,
        Effect.sync(() => {
          let { removed, scanned } = pass
          const next = slice(table, pass.next, limit, (slot) => {
            scanned++
            if (remove(slot)) removed++
            return true
          })
          return emit(table, { next, scanned, removed })
        })
      ))

  return {
    bySubject: (subject) =>
      Effect.sync(() => table.ofSubject(subject, clock.currentTimeMillisUnsafe()).map((slot) => entryOf(table, slot))),
    destroyBySubject: (subject, options) =>
      Effect.sync(() => {
        const ended: Array<string> = []
        for (const slot of table.ofSubject(subject, clock.currentTimeMillisUnsafe())) {
          const key = table.keyOf(slot)
          if (key === options?.except) continue
          table.remove(slot)
          ended.push(key)
        }
        return ended
      }),
    scan,
    count: Effect.sync(() => {
      const now = clock.currentTimeMillisUnsafe()
      let live = 0
      for (let slot = 0; slot < table.end; slot++) {
        if (table.isUsed(slot) && table.isLive(slot, now)) live++
      }
      return live
    }),
    destroyWhere: (predicate) =>
      removing(entriesPerChunk, (slot) => {
        if (!table.isLive(slot, clock.currentTimeMillisUnsafe())) return false
        const entry = entryOf(table, slot)
        // The predicate may itself have ended or renewed the session.
        if (!predicate(entry) || table.find(entry.key) !== slot) return false
        table.remove(slot)
        return true
      }),
    clear: removing(sessionsPerSlice, (slot) => {
      table.remove(slot)
      return true
    }),
    purgeExpired: sweeper.progress
  }
}
