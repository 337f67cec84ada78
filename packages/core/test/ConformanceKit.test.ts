import { assert, describe, it } from "@effect/vitest"
import { Clock, Effect, Exit, Layer } from "effect"
import { TestClock } from "effect/testing"
import { SessionStore } from "../src/SessionStore.ts"
import * as StoreConformance from "../src/testing/StoreConformance.ts"
import * as StoreModelTest from "../src/testing/StoreModelTest.ts"
import { type Fault, faults } from "./ReferenceFaults.ts"
import { layer } from "./ReferenceStore.ts"

const options = { elapse: TestClock.adjust, races: 5 }

describe("conformance kit on the reference store", () => {
  for (const law of StoreConformance.laws(options)) {
    it.effect(law.name, () => Effect.provide(law.run, layer()))
  }

  it.effect("holds with the margins of inexact time", () =>
    Effect.forEach(
      StoreConformance.laws({ ...options, exactTime: false, unit: 50 }),
      (law) => Effect.provide(law.run, layer(), { local: true }),
      { discard: true }
    ))

  // A machine that stands still for a while, in the middle of every step, until it has done so a few times.
  const heldUp = (millis: number, times: number, fault?: Fault) =>
    Layer.effect(
      SessionStore,
      Effect.map(SessionStore, (store) => {
        let left = times
        const late = <A, E>(step: Effect.Effect<A, E>) =>
          Effect.suspend(() => left-- > 0 ? Effect.andThen(TestClock.adjust(millis), step) : step)
        return { ...store, save: (...args) => late(store.save(...args)), touch: (key) => late(store.touch(key)) }
      })
    ).pipe(Layer.provideMerge(layer(fault)))
  const named = (name: string, exactTime: boolean) =>
    StoreConformance.laws({ ...options, exactTime, unit: 50 }).find((law) => law.name === name)!.run
  const keptAlive = "a session kept alive ends at its absolute deadline"

  it.effect("tries a law again that was held up", () =>
    Effect.gen(function*() {
      yield* Effect.provide(named(keptAlive, false), heldUp(450, 2))
      const error = yield* Effect.flip(Effect.provide(named(keptAlive, true), heldUp(450, 2)))
      assert.strictEqual(error._tag, "ConformanceError")
    }))

  it.effect("does not try again what failed in time, and gives up in the end", () =>
    Effect.gen(function*() {
      const touching = named("touch moves the last activity and nothing else", false)
      const began = yield* Clock.currentTimeMillis
      yield* Effect.flip(Effect.provide(touching, layer("touch bumps the version")))
      assert.isBelow((yield* Clock.currentTimeMillis) - began, 200)
      yield* Effect.flip(Effect.provide(touching, heldUp(60, 4, "touch bumps the version"), { local: true }))
      // No time passes in it: whatever it took, it has seen what it has seen.
      const unknown = named("an unknown key is absent and no operation makes it known", false)
      const before = yield* Clock.currentTimeMillis
      yield* Effect.flip(Effect.provide(unknown, heldUp(60, Infinity, "save upserts"), { local: true }))
      assert.isBelow((yield* Clock.currentTimeMillis) - before, 400)
      const error = yield* Effect.flip(Effect.provide(named(keptAlive, false), heldUp(1e6, Infinity), { local: true }))
      assert.strictEqual(error._tag, "ConformanceError")
    }))

  // As a cache tells the time: each read is off by something else.
  const estimated = (off: number) =>
    Layer.effect(
      SessionStore,
      Effect.gen(function*() {
        const store = yield* SessionStore
        let reads = 0
        return {
          ...store,
          load: (key, options) =>
            Effect.map(store.load(key, options), (lookup) =>
              lookup._tag === "Live" ? { ...lookup, now: lookup.now + (reads++ % 2 === 0 ? off : -off) } : lookup)
        }
      })
    ).pipe(Layer.provideMerge(layer()))

  it.effect("holds where reads estimate the store's time, within a tolerance and not beyond", () =>
    Effect.gen(function*() {
      const laws = StoreConformance.laws({ ...options, clockTolerance: 10 })
      for (const law of laws) yield* Effect.provide(law.run, estimated(5), { local: true })
      let caught = 0
      for (const law of laws) {
        const exit = yield* Effect.exit(Effect.provide(law.run, estimated(15), { local: true }))
        if (Exit.isFailure(exit)) caught++
      }
      assert.isAbove(caught, 0)
    }))

  it.effect("lets laws share a store one after the other", () =>
    Effect.forEach(StoreConformance.laws(options), (law) => law.run, { discard: true }).pipe(
      Effect.andThen(Effect.forEach(StoreConformance.laws(options), (law) => law.run, { discard: true })),
      Effect.provide(layer())
    ))

  it("gives every law its own name", () => {
    const names = StoreConformance.laws(options).map((law) => law.name)
    assert.strictEqual(new Set(names).size, names.length)
  })
})

describe("conformance kit on a broken store", () => {
  const laws = StoreConformance.laws(options)
  const broken = new Set<string>()
  for (const fault of faults) {
    it.effect(fault, () =>
      Effect.gen(function*() {
        let caught = 0
        for (const law of laws) {
          const exit = yield* Effect.exit(Effect.provide(law.run, layer(fault), { local: true }))
          if (Exit.isSuccess(exit)) continue
          caught++
          broken.add(law.name)
        }
        assert.isAbove(caught, 0)
      }))
  }

  it("breaks every law at least once", () => {
    assert.deepStrictEqual(laws.map((law) => law.name).filter((name) => !broken.has(name)), [])
  })

  it.effect("names the law, what it promised and what was seen", () =>
    Effect.gen(function*() {
      const law = laws.find((law) => law.name === "touch moves the last activity and nothing else")!
      const error = yield* Effect.flip(Effect.provide(law.run, layer("touch bumps the version")))
      assert.strictEqual(error._tag, "ConformanceError")
      assert.include(error.message, law.name)
      assert.match(error.message, /expected: .*"version":2,/)
      assert.match(error.message, /seen: .*"version":3,/)
    }))
})

// A message without its instants.
const shape = (message: string): string => message.replaceAll(/\d{4,}/g, "time")

describe("model test", () => {
  const runs = { elapse: TestClock.adjust, runs: 2000, seed: 7 }
  const steps: ReadonlyArray<Fault> = [
    "create ignores aliases",
    "save checks no version",
    "save revives expired",
    "touch through an alias",
    "live at the idle deadline",
    "live at the absolute deadline",
    "grace ends one millisecond late",
    "never superseded",
    "superseded is forgotten at the idle deadline",
    "alias outlives the session",
    "destroy follows one hop",
    "index keeps the entry of a key taken again",
    "index by creation",
    "limit counts expired",
    "evict takes the newest",
    "destroyBySubject ignores except"
  ]
  const races: ReadonlyArray<Fault> = [
    "create races itself",
    "save races itself",
    "renew in two steps, gap",
    "renew in two steps, overlap",
    "renew checks the version outside its step",
    "index entry lost under a race",
    "limit outside the step",
    "destroyBySubject in many steps"
  ]

  it.effect("accepts the reference store", () =>
    Effect.gen(function*() {
      const sequential = yield* StoreModelTest.sequential({ elapse: TestClock.adjust, runs: 1000 })
      const parallel = yield* StoreModelTest.parallel({ elapse: TestClock.adjust, runs: 1000 })
      assert.deepStrictEqual([sequential.runs, parallel.runs], [1000, 1000])
      yield* StoreModelTest.sequential({ elapse: TestClock.adjust, runs: 500, exactTime: false })
      yield* StoreModelTest.parallel({ elapse: TestClock.adjust, runs: 500, exactTime: false })
    }).pipe(Effect.provide(layer())))

  for (const fault of steps) {
    it.effect(`notices in sequence: ${fault}`, () =>
      Effect.gen(function*() {
        const error = yield* Effect.flip(Effect.provide(StoreModelTest.sequential(runs), layer(fault)))
        assert.strictEqual(error._tag, "ConformanceError")
        assert.include(error.message, "seed 7, ")
      }))
  }

  for (const fault of races) {
    it.effect(`notices only in parallel: ${fault}`, () =>
      Effect.gen(function*() {
        yield* Effect.provide(StoreModelTest.sequential({ ...runs, runs: 500 }), layer(fault))
        const error = yield* Effect.flip(Effect.provide(StoreModelTest.parallel(runs), layer(fault)))
        assert.strictEqual(error._tag, "ConformanceError")
        assert.include(error.message, "seed 7, ")
      }))
  }

  it.effect("finds the same counterexample for the same seed, and names keys shortly", () =>
    Effect.gen(function*() {
      const failure = Effect.flip(
        Effect.provide(StoreModelTest.sequential(runs), layer("touch bumps the version"), { local: true })
      )
      const first = yield* failure
      const second = yield* failure
      assert.match(first.message, /"_tag":"Touch","key":"k\d+"/)
      assert.strictEqual(shape(first.message), shape(second.message))
    }))
})
