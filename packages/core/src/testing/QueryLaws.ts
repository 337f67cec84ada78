/**
 * Laws of the queries across sessions, and of the subject index.
 *
 * @internal
 */
import * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Stream from "effect/Stream"
import type { Progress, SessionEntry } from "../SessionQuery.ts"
import type { SessionStoreError } from "../SessionStore.ts"
import { type Definition, everyByte, newRecord, type QueryTrial, replacement } from "./Trial.ts"

const fromIndex = "the index holds the live sessions of a subject, oldest sign-in first"
const revocation = "revocation is complete: the index changes in the step of the record"
const boundedScan = "a scan sees a session that lives through it exactly once"
const liveOnly = "results hold live records only"
const totals = "a long operation ends with its totals, also when there was nothing to do"

const keysOf = (entries: ReadonlyArray<SessionEntry>): ReadonlyArray<string> => entries.map((entry) => entry.key)

const times = <A>(n: number, f: (i: number) => A): Array<A> => Array.from({ length: n }, (_, i) => f(i))

const indexed = Effect.fnUntraced(
  function*(t: QueryTrial, what: string, subject: string, expected: ReadonlyArray<string>) {
    yield* t.same(what, keysOf(yield* t.query.bySubject(subject)), expected)
  }
)

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
export const indexLaws: ReadonlyArray<Definition<QueryTrial>> = [
  {
    name: "bySubject lists the live sessions of a subject, oldest sign-in first",
    law: fromIndex,
    check: Effect.fnUntraced(function*(t) {
      const subject = t.subject("a")
      yield* indexed(t, "an unknown subject", subject, [])
      const labels = ["d", "a", "c", "b"]
      for (const label of labels) {
        yield* t.create(t.key(label), { subject })
        yield* t.elapse(t.unit)
      }
      yield* t.create(t.key("anonymous"))
      yield* t.create(t.key("foreign"), { subject: t.subject("b") })
      yield* indexed(t, "four sessions", subject, labels.map(t.key))
      yield* t.save(t.key("d"), 1, { payload: everyByte.slice(), format: 5 })
      yield* t.store.touch(t.key("a"))
      const entries = yield* t.query.bySubject(subject)
      yield* t.same("activity is no sign-in", keysOf(entries), labels.map(t.key))
      for (const { key, record } of entries) {
        yield* t.same("the record of an entry", record, (yield* t.live("live", key)).record)
        if (record.payload instanceof Uint8Array) record.payload.fill(0)
      }
      yield* t.same("bytes changed by a reader", (yield* t.live("live", t.key("d"))).record.payload, everyByte)
      yield* t.elapse(t.unit)
      yield* t.store.renew(t.key("d"), 2, replacement(t.key("d+"), t.long, { subject, authenticated: true }))
      yield* indexed(t, "a new sign-in is the newest", subject, ["a", "c", "b", "d+"].map(t.key))
    })
  },
  {
    name: "subjects that look alike stay apart",
    law: fromIndex,
    check: Effect.fnUntraced(function*(t) {
      const root = t.subject("a")
      const subjects = [
        "",
        ":",
        "*",
        "?",
        "{a}",
        "{b}",
        " ",
        "\n",
        "A",
        "a",
        "\u00e9",
        "e\u0301",
        "%3A",
        "\\",
        "'",
        "\""
      ]
        .map((suffix) => `${root}${suffix}`)
      for (const subject of subjects) yield* t.create(t.key(subject), { subject })
      for (const subject of subjects) {
        yield* indexed(t, subject, subject, [t.key(subject)])
        yield* t.same("its record", (yield* t.live("live", t.key(subject))).record.subject, subject)
      }
      yield* t.same("the ended", yield* t.query.destroyBySubject(`${root}*`), [t.key(`${root}*`)])
      yield* t.live("another subject", t.key(`${root}?`))
    })
  },
  {
    name: "the index drops what was destroyed, evicted or has expired",
    law: liveOnly,
    check: Effect.fnUntraced(function*(t) {
      const subject = t.subject("a")
      yield* t.create(t.key("evicted"), { subject })
      yield* t.elapse(t.unit)
      yield* t.create(t.key("destroyed"), { subject })
      yield* t.elapse(t.unit)
      yield* t.create(t.key("expired"), { subject, idleTimeout: 6 * t.unit })
      yield* t.elapse(t.unit)
      yield* t.store.create(newRecord(t.key("kept"), t.long, { subject }), { max: 3, onLimit: "evict" })
      yield* indexed(t, "after the eviction", subject, ["destroyed", "expired", "kept"].map(t.key))
      yield* t.store.destroy(t.key("destroyed"))
      yield* indexed(t, "after the destroy", subject, ["expired", "kept"].map(t.key))
      yield* t.approach(5 * t.unit)
      yield* t.reach(5 * t.unit)
      yield* indexed(t, "after the deadline", subject, [t.key("kept")])
      yield* t.same("destroyBySubject", yield* t.query.destroyBySubject(subject), [t.key("kept")])
    })
  },
  {
    name: "an expired key that is taken again is indexed under its new subject only",
    law: fromIndex,
    check: Effect.fnUntraced(function*(t) {
      const [alice, bob] = [t.subject("alice"), t.subject("bob")]
      yield* t.create(t.key("created"), { subject: alice, idleTimeout: 6 * t.unit })
      yield* t.create(t.key("renewed"), { subject: alice, idleTimeout: 6 * t.unit })
      yield* t.create(t.key("old"))
      yield* t.approach(6 * t.unit)
      yield* t.reach(6 * t.unit)
      yield* t.create(t.key("created"), { subject: bob })
      yield* t.elapse(t.unit)
      yield* t.renew(t.key("old"), t.key("renewed"), { subject: bob, authenticated: true })
      yield* indexed(t, "the first subject", alice, [])
      yield* indexed(t, "the second subject", bob, [t.key("created"), t.key("renewed")])
      yield* t.same("revoking the first subject", yield* t.query.destroyBySubject(alice), [])
      yield* t.live("a session of the second", t.key("created"))
      yield* t.live("a session of the second", t.key("renewed"))
    })
  },
  {
    name: "the index follows a renewal, a sign-in and a change of subject",
    law: revocation,
    check: Effect.fnUntraced(function*(t) {
      const [alice, bob] = [t.subject("alice"), t.subject("bob")]
      yield* t.create(t.key("1"))
      yield* t.renew(t.key("1"), t.key("2"), { subject: alice, authenticated: true })
      yield* indexed(t, "after the sign-in", alice, [t.key("2")])
      yield* t.renew(t.key("2"), t.key("3"), { subject: alice }, 10 * t.unit)
      yield* indexed(t, "after a renewal with grace", alice, [t.key("3")])
      yield* t.renew(t.key("3"), t.key("4"), { subject: bob, authenticated: true }, 10 * t.unit)
      yield* indexed(t, "the first subject", alice, [])
      yield* indexed(t, "the second subject", bob, [t.key("4")])
      yield* t.same("revoking the first subject", yield* t.query.destroyBySubject(alice), [])
      yield* t.live("the session of the second", t.key("4"))
      yield* t.renew(t.key("4"), t.key("5"))
      yield* indexed(t, "after the subject has left", bob, [])
      yield* t.same("revoking the second subject", yield* t.query.destroyBySubject(bob), [])
      yield* t.live("the anonymous session", t.key("5"))
    })
  },
  {
    name: "destroyBySubject ends every session but the excepted one",
    law: revocation,
    check: Effect.fnUntraced(function*(t) {
      const subject = t.subject("a")
      yield* t.same("an unknown subject", yield* t.query.destroyBySubject(subject), [])
      for (const label of ["a", "b", "c"]) yield* t.create(t.key(label), { subject })
      yield* t.create(t.key("foreign"), { subject: t.subject("b") })
      yield* t.renew(t.key("a"), t.key("a+"), { subject }, 10 * t.unit)
      const ended = yield* t.query.destroyBySubject(subject, { except: t.key("b") })
      yield* t.same("the ended keys", [...ended].toSorted(), ["a+", "c"].map(t.key).toSorted())
      for (const label of ["a", "a+", "c"]) yield* t.ended(label, t.key(label))
      yield* t.live("the excepted session", t.key("b"))
      yield* t.live("a session of another subject", t.key("foreign"))
      const foreign = yield* t.query.destroyBySubject(subject, { except: t.key("foreign") })
      yield* t.same("except a key of another subject", foreign, [t.key("b")])
      yield* t.same("again", yield* t.query.destroyBySubject(subject), [])
      yield* t.live("a session of another subject", t.key("foreign"))
      yield* t.create(t.key("new"), { subject })
      yield* t.live("a session added afterwards", t.key("new"))
      yield* indexed(t, "a session added afterwards", subject, [t.key("new")])
    })
  },
  {
    name: "ten simultaneous sign-ins leave ten entries, and revoke-all leaves none",
    law: revocation,
    check: Effect.fnUntraced(function*(t) {
      for (let id = 0; id < t.races; id++) {
        const subject = t.subject(`${id}`)
        const keys = times(10, (i) => t.key(`${id}:${i}`))
        yield* Effect.forEach(keys.slice(5), (key) => t.create(`${key}`, {}), { discard: true })
        yield* t.race([
          ...keys.slice(0, 5).map((key) => t.create(key, { subject })),
          ...keys.slice(5).map((key) => t.renew(key, t.key(`${key}+`), { subject, authenticated: true }))
        ])
        const live = [...keys.slice(0, 5), ...keys.slice(5).map((key) => t.key(`${key}+`))].toSorted()
        yield* t.same("entries", keysOf(yield* t.query.bySubject(subject)).toSorted(), live)
        yield* t.same("ended", [...yield* t.query.destroyBySubject(subject)].toSorted(), live)
        yield* indexed(t, "after revoke-all", subject, [])
        for (const key of live) yield* t.ended("after revoke-all", key)
      }
    })
  },
  {
    name: "a revoke-all that races renewals and sign-ins ends all that came before it",
    law: revocation,
    check: Effect.fnUntraced(function*(t) {
      for (let id = 0; id < t.races; id++) {
        const subject = t.subject(`${id}`)
        const old = times(5, (i) => t.key(`${id}:${i}`))
        yield* Effect.forEach(old, (key) => t.create(key, { subject }), { discard: true })
        const ended = yield* t.race([
          ...old.map((key) =>
            Effect.as(t.store.renew(key, 1, replacement(t.key(`${key}+`), t.long, { subject })), undefined)
          ),
          t.query.destroyBySubject(subject),
          ...times(3, (i) => Effect.as(t.create(t.key(`${id}:new${i}`), { subject }), undefined))
        ])
        // A renewal neither escapes the revocation nor outlives it: all five end, under one key or the other.
        const gone = ended.flatMap((keys) => keys ?? [])
        for (const key of old) {
          const hits = gone.filter((other) => other === key || other === t.key(`${key}+`)).length
          yield* t.same("ended under one of its two keys", hits, 1)
          yield* t.ended("the old key", key)
          yield* t.ended("the new key", t.key(`${key}+`))
        }
        const created = times(3, (i) => t.key(`${id}:new${i}`)).filter((key) => !gone.includes(key))
        const left = keysOf(yield* t.query.bySubject(subject)).toSorted()
        yield* t.same("sessions added afterwards", left, created.toSorted())
      }
    })
  }
]

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
      yield* indexed(t, "the index", subject, [])
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
      yield* indexed(t, "the index", t.subject("a"), [])
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
