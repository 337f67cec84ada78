/**
 * Laws of simultaneous calls: every method is one atomic step.
 *
 * @internal
 */
import * as Effect from "effect/Effect"
import type { Created, Lookup, Renewed, Saved, SessionLimit } from "../SessionStore.ts"
import { change, type Definition, newRecord, replacement, type Trial, type TrialError } from "./Trial.ts"

const noLostUpdate = "no lost update: of the writes on one version one succeeds"
const insertOnly = "create is insert-only, also under a race"
const atomicRenewal = "a renewal is atomic: at every instant one key of the session is live"
const finality = "logout is final, whatever was in flight"
const exactLimit = "a limit holds under simultaneous sign-ins"

const tally = (results: ReadonlyArray<{ readonly _tag: string }>): Record<string, number> => {
  const counts: Record<string, number> = {}
  for (const { _tag } of results) counts[_tag] = (counts[_tag] ?? 0) + 1
  return counts
}

const times = <A>(n: number, f: (i: number) => A): Array<A> => Array.from({ length: n }, (_, i) => f(i))

// A race is run many times: each round has its own keys and its own interleaving.
const rounds = (round: (t: Trial, id: number) => Effect.Effect<void, TrialError>) =>
  Effect.fnUntraced(function*(t: Trial) {
    for (let id = 0; id < t.races; id++) yield* round(t, id)
  })

const isLive = (lookup: Lookup): boolean => lookup._tag === "Live"

type Outcome =
  | { readonly _tag: "Destroy"; readonly ended: boolean }
  | { readonly _tag: "Save"; readonly result: Saved }
  | { readonly _tag: "Touch"; readonly moved: boolean }
  | { readonly _tag: "Renew"; readonly result: Renewed }

const destroyRace = (withGrace: boolean) =>
  rounds(Effect.fnUntraced(function*(t, id) {
    const [a, b] = [t.key(`${id}:a`), t.key(`${id}:b`)]
    const subject = t.subject(`${id}`)
    yield* t.create(a, { subject })
    const outcomes = yield* t.race<Outcome, TrialError, never>([
      Effect.map(t.store.save(a, 1, change(t.long, { lifetime: t.long })), (result) => ({ _tag: "Save", result })),
      Effect.map(t.store.touch(a), (moved) => ({ _tag: "Touch", moved })),
      Effect.map(t.store.destroy(a), (ended) => ({ _tag: "Destroy", ended })),
      Effect.map(
        t.store.renew(a, 1, replacement(b, t.long, { subject, lifetime: t.long }), {
          grace: withGrace ? t.long : undefined
        }),
        (result) => ({ _tag: "Renew", result })
      ),
      Effect.map(t.store.touch(a), (moved) => ({ _tag: "Touch", moved }))
    ])
    const ended = outcomes.some((outcome) => outcome._tag === "Destroy" && outcome.ended)
    const renewed = outcomes.some((outcome) => outcome._tag === "Renew" && outcome.result._tag === "Renewed")
    const saved = outcomes.some((outcome) => outcome._tag === "Save" && outcome.result._tag === "Saved")
    yield* t.that("not both a save and a renewal on one version", !(saved && renewed), outcomes)
    if (renewed && !withGrace) {
      // The renewal came first and the old key was forgotten: there was nothing to destroy.
      yield* t.same("destroy through a forgotten key", ended, false)
      yield* t.live("the renewed session", b)
    } else {
      // Either the destroy came first, or it reached the successor through the alias.
      yield* t.that("the destroy ended the session", ended, outcomes)
      yield* t.ended("the new key", b)
      yield* t.same("touch of the old key", yield* t.store.touch(a), false)
      yield* t.same("touch of the new key", yield* t.store.touch(b), false)
    }
  }))

const limitRace = (onLimit: SessionLimit["onLimit"]) =>
  rounds(Effect.fnUntraced(function*(t, id) {
    const subject = t.subject(`${id}`)
    const keys = times(20, (i) => t.key(`${id}:${i}`))
    const results = yield* t.race(
      keys.map((key) => t.store.create(newRecord(key, t.long, { subject }), { max: 3, onLimit }))
    )
    const live: Array<string> = []
    for (const key of keys) if ((yield* t.store.load(key))._tag === "Live") live.push(key)
    yield* t.same("live sessions", live.length, 3)
    if (onLimit === "refuse") {
      yield* t.same("results", tally(results), { Created: 3, LimitReached: 17 })
      const created = keys.filter((_, i) => results[i]._tag === "Created")
      yield* t.same("the created ones are the live ones", live, created)
    } else {
      yield* t.same("results", tally(results), { Created: 20 })
      const evicted = results.flatMap((result) => result._tag === "Created" ? result.evicted : [])
      yield* t.same("every session ended once", evicted.toSorted(), keys.filter((k) => !live.includes(k)).toSorted())
    }
  }))

/** @internal */
export const raceLaws: ReadonlyArray<Definition<Trial>> = [
  {
    name: "of simultaneous creates with one key one is Created",
    law: insertOnly,
    check: rounds(Effect.fnUntraced(function*(t, id) {
      const key = t.key(`${id}`)
      const results: ReadonlyArray<Created> = yield* t.race(
        times(10, (i) => t.store.create(newRecord(key, t.long, { payload: `p${i}`, subject: t.subject(`${id}:${i}`) })))
      )
      yield* t.same("results", tally(results), { Created: 1, KeyTaken: 9 })
      const winner = results.find((result) => result._tag === "Created")
      yield* t.same("the record", (yield* t.live("live", key)).record, winner?.record)
    }))
  },
  {
    name: "of simultaneous saves of one version one is Saved",
    law: noLostUpdate,
    check: rounds(Effect.fnUntraced(function*(t, id) {
      const key = t.key(`${id}`)
      yield* t.create(key)
      const results: ReadonlyArray<Saved> = yield* t.race(
        times(20, (i) => t.store.save(key, 1, change(t.long, { payload: `p${i}` })))
      )
      yield* t.same("results", tally(results), { Saved: 1, Conflict: 19 })
      const winner = results.find((result) => result._tag === "Saved")
      yield* t.same("the record", (yield* t.live("live", key)).record, winner?.record)
    }))
  },
  {
    name: "fifty fibers that read, add one and save again on conflict count to fifty",
    law: noLostUpdate,
    check: Effect.fnUntraced(function*(t) {
      const key = t.key("counter")
      yield* t.create(key, { payload: "0" })
      const increment = Effect.fnUntraced(function*() {
        for (let attempt = 0; attempt < 5000; attempt++) {
          const { record } = yield* t.live("the counter", key)
          yield* t.pause
          const payload = String(Number(record.payload) + 1)
          const result = yield* t.store.save(key, record.version, change(t.long, { payload }))
          if (result._tag === "Saved") return
          yield* t.same("a lost race", result, { _tag: "Conflict" })
        }
        return yield* t.fail("a save that succeeds in the end", "5,000 conflicts in a row")
      })
      yield* t.race(times(50, increment))
      const { record } = yield* t.live("the counter", key)
      yield* t.same("payload and version", [record.payload, record.version], ["50", 51])
    })
  },
  {
    name: "touches beside saves change neither the outcome nor the version",
    law: "touch never changes the version",
    check: rounds(Effect.fnUntraced(function*(t, id) {
      const key = t.key(`${id}`)
      yield* t.create(key)
      const results = yield* t.race([
        ...times(10, () => t.store.touch(key)),
        Effect.map(t.store.save(key, 1, change(t.long)), (result) => result._tag === "Saved"),
        ...times(10, () => t.store.touch(key))
      ])
      yield* t.that("every call succeeds", results.every((done) => done), results)
      const { record } = yield* t.live("live", key)
      yield* t.same("version and payload", [record.version, record.payload], [2, "second"])
    }))
  },
  ...[false, true].map((withGrace): Definition<Trial> => ({
    name: `of fifty simultaneous renewals ${withGrace ? "with grace " : ""}one wins`,
    law: atomicRenewal,
    check: rounds(Effect.fnUntraced(function*(t, id) {
      const old = t.key(`${id}`)
      const keys = times(50, (i) => t.key(`${id}:${i}`))
      const subject = t.subject(`${id}`)
      yield* t.create(old, { subject })
      const options = { grace: withGrace ? t.long : undefined }
      const results: ReadonlyArray<Renewed> = yield* t.race(
        keys.map((key) => t.store.renew(old, 1, replacement(key, t.long, { subject }), options))
      )
      yield* t.same("winners", results.filter((result) => result._tag === "Renewed").length, 1)
      const losers = results.filter((result) => result._tag !== "Renewed")
      yield* t.that("all others are Gone", losers.every((result) => result._tag === "Gone"), tally(losers))
      for (const [i, key] of keys.entries()) {
        if (results[i]._tag === "Renewed") yield* t.live("the winner", key)
        else yield* t.same("a loser's key", yield* t.store.load(key), { _tag: "Absent" })
      }
      yield* t.same("touch of the old key", yield* t.store.touch(old), false)
    }))
  })),
  {
    name: "readers beside a renewal always find one live key",
    law: atomicRenewal,
    check: rounds(Effect.fnUntraced(function*(t, id) {
      const [a, b] = [t.key(`${id}:a`), t.key(`${id}:b`)]
      yield* t.create(a)
      const oldThenNew = Effect.fnUntraced(function*() {
        const first = yield* t.store.load(a)
        const second = yield* t.store.load(b)
        yield* t.that("the new key is live once the old one is not", isLive(first) || isLive(second), [first, second])
      })
      const newThenOld = Effect.fnUntraced(function*() {
        const first = yield* t.store.load(b)
        const second = yield* t.store.load(a)
        yield* t.that("the old key is gone once the new one is live", !(isLive(first) && isLive(second)), [
          first,
          second
        ])
      })
      yield* t.race([
        ...times(6, oldThenNew),
        ...times(6, newThenOld),
        Effect.asVoid(t.renew(a, b)),
        ...times(6, oldThenNew),
        ...times(6, newThenOld)
      ])
    }))
  },
  {
    name: "a save beside a renewal is either in the new record's past or refused",
    law: noLostUpdate,
    check: rounds(Effect.fnUntraced(function*(t, id) {
      const [a, b] = [t.key(`${id}:a`), t.key(`${id}:b`)]
      yield* t.create(a)
      const results = yield* t.race<Saved | Renewed, TrialError, never>([
        t.store.save(a, 1, change(t.long)),
        t.store.renew(a, 1, replacement(b, t.long))
      ])
      const [saved, renewed] = results.map((result) => result._tag)
      const allowed = (saved === "Saved" && renewed === "Conflict") || (saved === "Gone" && renewed === "Renewed")
      yield* t.that("Saved and Conflict, or Gone and Renewed", allowed, [saved, renewed])
      yield* t.live("the session", saved === "Saved" ? a : b)
      yield* t.ended("its other key", saved === "Saved" ? b : a)
    }))
  },
  {
    name: "nothing is live after a destroy that raced writes",
    law: finality,
    check: rounds(Effect.fnUntraced(function*(t, id) {
      const key = t.key(`${id}`)
      yield* t.create(key, { subject: t.subject(`${id}`) })
      const results = yield* t.race([
        ...times(5, (i) => Effect.asVoid(t.store.save(key, i + 1, change(t.long, { lifetime: t.long })))),
        Effect.asVoid(t.store.touch(key)),
        Effect.flatMap(t.store.destroy(key), (ended) => t.same("the destroy", ended, true)),
        Effect.asVoid(t.store.touch(key)),
        ...times(5, (i) => Effect.asVoid(t.store.save(key, i + 1, change(t.long, { lifetime: t.long }))))
      ])
      yield* t.same("calls", results.length, 13)
      yield* t.ended("the key", key)
    }))
  },
  {
    name: "a destroy that races a renewal ends the session or came too late",
    law: finality,
    check: destroyRace(false)
  },
  {
    name: "a destroy that races a renewal with grace ends the session",
    law: finality,
    check: destroyRace(true)
  },
  {
    name: "of simultaneous destroys one ended the session",
    law: finality,
    check: rounds(Effect.fnUntraced(function*(t, id) {
      const [a, b] = [t.key(`${id}:a`), t.key(`${id}:b`)]
      yield* t.create(a)
      yield* t.renew(a, b, {}, t.long)
      const results = yield* t.race(times(10, (i) => t.store.destroy(i % 2 === 0 ? a : b)))
      yield* t.same("destroys that ended a live session", results.filter((ended) => ended).length, 1)
      yield* t.ended("the session", b)
    }))
  },
  {
    name: "twenty simultaneous sign-ins leave three sessions under evict",
    law: exactLimit,
    check: limitRace("evict")
  },
  {
    name: "twenty simultaneous sign-ins leave three sessions under refuse",
    law: exactLimit,
    check: limitRace("refuse")
  },
  {
    name: "twenty simultaneous sign-ins by renewal keep the limit",
    law: exactLimit,
    check: rounds(Effect.fnUntraced(function*(t, id) {
      const subject = t.subject(`${id}`)
      yield* Effect.forEach(times(20, (i) => t.key(`${id}:${i}`)), (key) => t.create(key), { discard: true })
      const results: ReadonlyArray<Renewed> = yield* t.race(times(20, (i) =>
        t.store.renew(
          t.key(`${id}:${i}`),
          1,
          replacement(t.key(`${id}:${i}+`), t.long, { subject, authenticated: true }),
          { limit: { max: 3, onLimit: "refuse" } }
        )))
      yield* t.same("results", tally(results), { Renewed: 3, LimitReached: 17 })
      for (let i = 0; i < 20; i++) {
        const key = results[i]._tag === "Renewed" ? t.key(`${id}:${i}+`) : t.key(`${id}:${i}`)
        yield* t.live("the session under the key it should have", key)
      }
    }))
  }
]
