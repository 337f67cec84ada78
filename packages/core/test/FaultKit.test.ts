import { assert, describe, it } from "@effect/vitest"
import { Clock, Effect, Fiber, Layer } from "effect"
import { TestClock } from "effect/testing"
import * as MemoryStore from "../src/MemoryStore.ts"
import { SessionQuery } from "../src/SessionQuery.ts"
import { SessionStore } from "../src/SessionStore.ts"
import * as FaultStore from "../src/testing/FaultStore.ts"
import * as StoreConformance from "../src/testing/StoreConformance.ts"
import { change, newRecord, replacement } from "./memoryStoreFixture.ts"

const layer = FaultStore.over(MemoryStore.layerStore({ sweepInterval: "400 days" }))

const setup = Effect.gen(function*() {
  const store = yield* SessionStore
  return { store, query: yield* SessionQuery, faults: yield* FaultStore.FaultStore }
})

describe("fault kit", () => {
  for (const law of StoreConformance.laws({ elapse: TestClock.adjust, races: 5 })) {
    it.effect(`without faults: ${law.name}`, () => Effect.provide(law.run, layer))
  }

  it.effect("fails before the effect took place, for every operation", () =>
    Effect.gen(function*() {
      const { faults, query, store } = yield* setup
      yield* store.create(newRecord("a", { subject: "ada" }))
      faults.always(FaultStore.failBefore)
      for (
        const call of [
          store.load("a"),
          store.create(newRecord("b")),
          store.save("a", 1, change("x")),
          store.touch("a"),
          store.renew("a", 1, replacement("c")),
          store.destroy("a"),
          query.bySubject("ada"),
          query.destroyBySubject("ada")
        ]
      ) {
        const error = yield* Effect.flip(
          Effect.asVoid<unknown, typeof call extends Effect.Effect<unknown, infer E> ? E : never, never>(call)
        )
        assert.strictEqual(error.reason.applied, "no")
      }
      faults.heal()
      const lookup = yield* store.load("a")
      assert.deepInclude(lookup, { _tag: "Live" })
      assert.deepInclude(lookup._tag === "Live" ? lookup.record : {}, { version: 1, payload: "payload of a" })
      assert.strictEqual((yield* store.load("b"))._tag, "Absent")
    }).pipe(Effect.provide(layer)))

  it.effect("fails after the effect took place", () =>
    Effect.gen(function*() {
      const { faults, store } = yield* setup
      yield* store.create(newRecord("a"))
      faults.next("save", FaultStore.failAfter)
      const error = yield* Effect.flip(store.save("a", 1, change("x")))
      assert.strictEqual(error.reason.applied, "unknown")
      assert.strictEqual((yield* store.save("a", 1, change("y")))._tag, "Conflict")
    }).pipe(Effect.provide(layer)))

  it.effect("hangs with and without effect, and is slow, on the test's clock", () =>
    Effect.gen(function*() {
      const { faults, store } = yield* setup
      faults.next("create", FaultStore.hang, FaultStore.hangAfter, FaultStore.latency("3 seconds"))
      const start = (key: string) => Effect.forkChild(store.create(newRecord(key)), { startImmediately: true })
      const [hangs, hangsAfter, slow] = [yield* start("a"), yield* start("b"), yield* start("c")]
      yield* TestClock.adjust("2999 millis")
      assert.isUndefined(slow.pollUnsafe())
      yield* TestClock.adjust("1 day")
      assert.strictEqual((yield* Fiber.join(slow))._tag, "Created")
      assert.isUndefined(hangs.pollUnsafe())
      assert.isUndefined(hangsAfter.pollUnsafe())
      yield* TestClock.adjust(0)
      assert.strictEqual((yield* store.load("a"))._tag, "Absent")
      assert.strictEqual((yield* store.create(newRecord("b")))._tag, "Created", "the record has expired by now")
    }).pipe(Effect.provide(layer)))

  it.effect("is half down: for some keys, or for a share of the calls", () =>
    Effect.gen(function*() {
      const { faults, store } = yield* setup
      faults.always(FaultStore.only(({ key }) => key.startsWith("1"), FaultStore.failBefore), "load")
      assert.strictEqual((yield* store.load("2"))._tag, "Absent")
      yield* Effect.flip(store.load("1"))
      yield* store.touch("1")
      faults.always(FaultStore.share(0.5, FaultStore.failBefore), "load")
      let failed = 0
      for (let i = 0; i < 2000; i++) {
        yield* Effect.matchEffect(store.load("k"), {
          onFailure: () => Effect.sync(() => failed++),
          onSuccess: () => Effect.void
        })
      }
      assert.isTrue(failed > 800 && failed < 1200, `${failed} of 2000`)
    }).pipe(Effect.provide(layer)))

  it.effect("writes down what it was asked, and lets something happen before and after", () =>
    Effect.gen(function*() {
      const { faults, store } = yield* setup
      const seen: Array<string> = []
      faults.next("destroy", FaultStore.preceded(Effect.sync(() => seen.push("before"))))
      faults.next("destroy", FaultStore.followed(Effect.sync(() => seen.push("after"))))
      yield* store.destroy("a")
      yield* store.destroy("b")
      assert.deepStrictEqual(seen, ["before", "after"])
      assert.deepStrictEqual(faults.calls.map(({ key, operation }) => [operation, key]), [["destroy", "a"], [
        "destroy",
        "b"
      ]])
      assert.strictEqual(faults.count("destroy"), 2)
      assert.strictEqual(faults.count("load"), 0)
      faults.forget()
      assert.strictEqual(faults.count(), 0)
    }).pipe(Effect.provide(layer)))

  it.effect("makes the wall clock jump, for the store and for the test, while waits and monotonic time go on", () =>
    Effect.gen(function*() {
      const { store } = yield* setup
      const clock = yield* FaultStore.FaultClock
      const monotonic = yield* Clock.monotonicTimeNanos
      const now = yield* Clock.currentTimeMillis
      yield* store.create(newRecord("a", { idleTimeout: 1000 }))
      clock.jump(3_600_000)
      assert.strictEqual(yield* Clock.currentTimeMillis, now + 3_600_000)
      assert.strictEqual(yield* Clock.monotonicTimeNanos, monotonic)
      assert.strictEqual((yield* store.load("a"))._tag, "Expired")
      clock.jump(-7_200_000)
      assert.strictEqual(yield* Clock.currentTimeMillis, now - 3_600_000)
      const fiber = yield* Effect.forkChild(Effect.sleep("1 second"), { startImmediately: true })
      yield* TestClock.adjust("1 second")
      assert.isDefined(fiber.pollUnsafe())
    }).pipe(Effect.provide(layer.pipe(Layer.provideMerge(FaultStore.layerClock)))))
})
