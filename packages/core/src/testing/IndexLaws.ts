/**
 * Laws of the subject index: what a subject's sessions are, and that revoking
 * them is complete.
 *
 * @internal
 */
import * as Effect from "effect/Effect"
import type { SessionEntry } from "../SessionQuery.ts"
import { type Definition, everyByte, newRecord, type QueryTrial, replacement } from "./Trial.ts"

const fromIndex = "the index holds the live sessions of a subject, oldest sign-in first"
const revocation = "revocation is complete: the index changes in the step of the record"
const liveOnly = "results hold live records only"

const keysOf = (entries: ReadonlyArray<SessionEntry>): ReadonlyArray<string> => entries.map((entry) => entry.key)

const times = <A>(n: number, f: (i: number) => A): Array<A> => Array.from({ length: n }, (_, i) => f(i))

const indexed = Effect.fnUntraced(
  function*(t: QueryTrial, what: string, subject: string, expected: ReadonlyArray<string>) {
    yield* t.same(what, keysOf(yield* t.query.bySubject(subject)), expected)
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
