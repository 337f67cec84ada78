/**
 * Laws of what looks at all sessions: scan, count and the long operations.
 *
 * @internal
 */
import * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Stream from "effect/Stream"
import type { Progress, SessionEntry } from "../SessionQuery.ts"
import type { SessionStoreError } from "../SessionStore.ts"
import { type Definition, everyByte, newRecord, type QueryTrial } from "./Trial.ts"

const boundedScan = "a scan sees a session that lives through it exactly once"
const liveOnly = "results hold live records only"
const totals = "a long operation ends with its totals, also when there was nothing to do"

const keysOf = (entries: ReadonlyArray<SessionEntry>): ReadonlyArray<string> => entries.map((entry) => entry.key)

const times = <A>(n: number, f: (i: number) => A): Array<A> => Array.from({ length: n }, (_, i) => f(i))

// Runs a long operation and returns its totals.
const finish = Effect.fnUntraced(
  function*(t: QueryTrial, what: string, stream: Stream.Stream<Progress, SessionStoreError>) {
    const steps = yield* Stream.runCollect(stream)
    if (steps.length === 0) return yield* t.fail(`${what}: totals`, "an empty stream")
    for (let i = 1; i < steps.length; i++) {
      const grows = steps[i].scanned >= steps[i - 1].scanned && steps[i].removed >= steps[i - 1].removed
      yield* t.that(`${what}: totals that grow`, grows, steps.slice(i - 1, i + 1))
    }
    return steps[steps.length - 1]
  }
)

/** @internal */
export const scanLaws: ReadonlyArray<Definition<QueryTrial>> = [
  {
    name: "scan sees each live session exactly once beside inserts and deletes",
    law: boundedScan,
    check: Effect.fnUntraced(function*(t) {
      const stable = times(150, (i) => t.key(`stable${i}`))
      const doomed = times(150, (i) => t.key(`doomed${i}`))
      const added = times(150, (i) => t.key(`added${i}`))
      const ended = times(20, (i) => t.key(`ended${i}`))
      const options = { concurrency: 16, discard: true } as const
      // Interleaved, so that what a scan has passed goes away beside what it has not.
      const mixed = doomed.flatMap((key, i) => [key, stable[i]])
      yield* Effect.forEach([...mixed, ...ended], (key) => t.create(key), options)
      yield* Effect.forEach(ended, (key) => t.store.destroy(key), options)
      const seen = new Map<string, number>()
      const scan = Stream.runForEach(t.query.scan, (entry) => {
        seen.set(entry.key, (seen.get(entry.key) ?? 0) + 1)
        return t.pause
      })
      const churn = Effect.forEach(
        doomed,
        (key, i) => Effect.andThen(t.pause, Effect.andThen(t.store.destroy(key), t.create(added[i]))),
        { discard: true }
      )
      yield* Effect.all([scan, churn], { concurrency: "unbounded", discard: true })
      const wrong = stable.filter((key) => seen.get(key) !== 1)
      yield* t.same("sessions not seen exactly once", wrong, [])
      yield* t.same("destroyed sessions seen", ended.filter((key) => seen.has(key)), [])
    })
  },
  {
    name: "scan gives each key with its record, live ones only",
    law: liveOnly,
    check: Effect.fnUntraced(function*(t) {
      yield* t.create(t.key("a"), { subject: t.subject("a"), payload: everyByte.slice() })
      yield* t.create(t.key("b"))
      yield* t.create(t.key("expired"), { idleTimeout: 6 * t.unit })
      yield* t.create(t.key("old"))
      yield* t.renew(t.key("old"), t.key("new"), {}, 30 * t.unit)
      yield* t.approach(6 * t.unit)
      yield* t.reach(6 * t.unit)
      const mine = new Set(["a", "b", "expired", "old", "new"].map(t.key))
      const entries = (yield* Stream.runCollect(t.query.scan)).filter((entry) => mine.has(entry.key))
      const expected = ["a", "b", "new"].map(t.key).toSorted()
      yield* t.same("the scanned keys", keysOf(entries).toSorted(), expected)
      for (const { key, record } of entries) {
        yield* t.same("a scanned record", record, (yield* t.live("live", key)).record)
        if (record.payload instanceof Uint8Array) record.payload.fill(0)
      }
      yield* t.same("bytes changed by a reader", (yield* t.live("live", t.key("a"))).record.payload, everyByte)
      yield* t.same("one element is enough", (yield* Stream.runCollect(Stream.take(t.query.scan, 1))).length, 1)
    })
  },
  {
    name: "destroyWhere ends what the predicate chooses",
    law: liveOnly,
    check: Effect.fnUntraced(function*(t) {
      const subject = t.subject("a")
      const chosen = times(30, (i) => t.key(`chosen${i}`))
      const kept = times(30, (i) => t.key(`kept${i}`))
      yield* Effect.forEach(chosen, (key) => t.create(key, { subject, payload: everyByte.slice() }), { discard: true })
      yield* Effect.forEach(kept, (key) => t.create(key), { discard: true })
      yield* t.create(t.key("expired"), { idleTimeout: 6 * t.unit })
      yield* t.approach(6 * t.unit)
      yield* t.reach(6 * t.unit)
      const asked: Array<string> = []
      const progress = yield* finish(
        t,
        "destroyWhere",
        t.query.destroyWhere(({ key, record }) => {
          asked.push(key)
          return record.subject === subject
        })
      )
      yield* t.same("removed", progress.removed, 30)
      yield* t.that("at least 60 scanned", progress.scanned >= 60, progress)
      yield* t.same("expired sessions shown to the predicate", asked.filter((key) => key === t.key("expired")), [])
      for (const key of chosen) yield* t.ended("a chosen session", key)
      for (const key of kept) yield* t.live("another session", key)
      yield* t.same("the index", yield* t.query.bySubject(subject), [])
      const none = yield* finish(t, "destroyWhere without a match", t.query.destroyWhere(() => false))
      yield* t.same("removed without a match", none.removed, 0)
    })
  },
  {
    name: "a predicate that throws ends destroyWhere with its defect",
    law: "a failure is a failure: no result is silently shortened",
    check: Effect.fnUntraced(function*(t) {
      yield* t.create(t.key("a"))
      const defect = new Error("predicate")
      const exit = yield* Effect.exit(Stream.runDrain(t.query.destroyWhere(({ key }) => {
        if (key === t.key("a")) throw defect
        return false
      })))
      const propagated = Exit.isFailure(exit) &&
        exit.cause.reasons.some((reason) => Cause.isDieReason(reason) && reason.defect === defect)
      yield* t.that("the stream dies with the thrown error", propagated, exit)
      yield* t.live("the session", t.key("a"))
    })
  },
  {
    name: "count is the number of live sessions",
    law: liveOnly,
    exclusive: true,
    check: Effect.fnUntraced(function*(t) {
      yield* finish(t, "clear", t.query.clear)
      yield* t.same("an empty store", yield* t.query.count, 0)
      yield* t.create(t.key("a"))
      yield* t.create(t.key("b"), { subject: t.subject("a") })
      yield* t.create(t.key("destroyed"), { subject: t.subject("a") })
      yield* t.create(t.key("expired"), { idleTimeout: 6 * t.unit })
      yield* t.create(t.key("old"))
      yield* t.same("five sessions", yield* t.query.count, 5)
      yield* t.store.destroy(t.key("destroyed"))
      yield* t.renew(t.key("old"), t.key("new"), {}, 30 * t.unit)
      yield* t.same("one destroyed, one renewed", yield* t.query.count, 4)
      yield* t.approach(6 * t.unit)
      yield* t.same("just before a deadline", yield* t.query.count, 4)
      yield* t.reach(6 * t.unit)
      yield* t.same("at the deadline", yield* t.query.count, 3)
    })
  },
  {
    name: "clear removes everything",
    law: totals,
    exclusive: true,
    check: Effect.fnUntraced(function*(t) {
      const keys = times(60, (i) => t.key(`${i}`))
      yield* Effect.forEach(keys, (key, i) => t.create(key, { subject: i % 2 === 0 ? t.subject("a") : undefined }), {
        discard: true
      })
      yield* t.create(t.key("old"))
      yield* t.renew(t.key("old"), t.key("new"), {}, 30 * t.unit)
      const progress = yield* finish(t, "clear", t.query.clear)
      yield* t.that("at least 61 removed", progress.removed >= 61, progress)
      yield* t.same("count", yield* t.query.count, 0)
      yield* t.same("scan", yield* Stream.runCollect(t.query.scan), [])
      yield* t.same("the index", yield* t.query.bySubject(t.subject("a")), [])
      for (const key of [...keys, t.key("old"), t.key("new")]) {
        yield* t.same("load", yield* t.store.load(key), { _tag: "Absent" })
      }
      const limit = { max: 1, onLimit: "refuse" } as const
      const created = yield* t.store.create(newRecord(t.key("next"), t.long, { subject: t.subject("a") }), limit)
      yield* t.same("a session added afterwards", created._tag, "Created")
      yield* t.live("a session added afterwards", t.key("next"))
    })
  },
  {
    name: "long operations on an empty store end with their totals",
    law: totals,
    exclusive: true,
    check: Effect.fnUntraced(function*(t) {
      yield* finish(t, "clear", t.query.clear)
      const nothing = { scanned: 0, removed: 0 }
      yield* t.same("clear", yield* finish(t, "clear", t.query.clear), nothing)
      yield* t.same("purgeExpired", yield* finish(t, "purgeExpired", t.query.purgeExpired), nothing)
      const destroyed = yield* finish(t, "destroyWhere", t.query.destroyWhere(() => true))
      yield* t.same("destroyWhere", destroyed, nothing)
      yield* t.same("scan", yield* Stream.runCollect(t.query.scan), [])
    })
  },
  {
    name: "purgeExpired removes what is past its deadline and counts it",
    law: totals,
    exclusive: true,
    check: Effect.fnUntraced(function*(t) {
      yield* finish(t, "clear", t.query.clear)
      const expired = times(12, (i) => t.key(`expired${i}`))
      const live = times(5, (i) => t.key(`live${i}`))
      yield* Effect.forEach(expired, (key) => t.create(key, { idleTimeout: 6 * t.unit, subject: t.subject("a") }), {
        discard: true
      })
      yield* Effect.forEach(live, (key) => t.create(key, { subject: t.subject("a") }), { discard: true })
      yield* t.approach(6 * t.unit)
      const early = yield* finish(t, "purgeExpired before the deadline", t.query.purgeExpired)
      yield* t.same("removed before the deadline", early.removed, 0)
      yield* t.reach(6 * t.unit)
      // The store may have dropped some by itself.
      const late = yield* finish(t, "purgeExpired", t.query.purgeExpired)
      yield* t.that("at most 12 removed", late.removed <= 12, late)
      const again = yield* finish(t, "purgeExpired again", t.query.purgeExpired)
      yield* t.same("removed the second time", again.removed, 0)
      for (const key of expired) yield* t.same("an expired session", yield* t.store.load(key), { _tag: "Absent" })
      for (const key of live) yield* t.live("a live session", key)
      yield* t.same("the index", keysOf(yield* t.query.bySubject(t.subject("a"))).toSorted(), live.toSorted())
      yield* t.same("count", yield* t.query.count, 5)
    })
  }
]
