import { assert, describe, it } from "@effect/vitest"
import { Clock, Effect, Exit, Fiber, Layer, Scope } from "effect"
import { TestClock } from "effect/testing"
import { DeadlineMap } from "../src/internal/deadlineMap.ts"
import { Generations } from "../src/internal/generations.ts"
import * as Revocations from "../src/Revocations.ts"

const minute = 60_000

const session = (key: string, subject?: string, at = 0): Revocations.Revocable => ({
  key,
  subject,
  authenticatedAt: subject === undefined ? undefined : at,
  issuedAt: at
})

describe("Revocations in memory", () => {
  it.effect("each epoch of a subject is after the one before, also within one millisecond and by a clock set back", () =>
    Effect.gen(function*() {
      yield* TestClock.setTime(10_000)
      const list = yield* Revocations.makeMemory({ acceptEarlier: true })
      assert.deepStrictEqual(
        [yield* list.revokeSubject("ada"), yield* list.revokeSubject("ada")],
        [10_000, 10_001]
      )
      yield* TestClock.setTime(5000)
      assert.strictEqual(yield* list.revokeSubject("ada"), 10_002)
      assert.isTrue(yield* list.isRevoked(session("a", "ada", 10_002)))
    }))

  it.effect("a full list refuses and forgets nothing, until something has run out", () =>
    Effect.gen(function*() {
      const list = yield* Revocations.makeMemory({ capacity: 2, sweepInterval: "400 days" })
      yield* list.revoke("a", 5 * minute)
      yield* list.revoke("b", 9 * minute)
      const error = yield* Effect.flip(list.revoke("c", 9 * minute))
      assert.strictEqual(error.reason._tag, "StoreUnavailable")
      assert.notInclude(error.message, "c\"")
      assert.isFalse(yield* list.revoke("a", 6 * minute))
      for (const key of ["a", "b"]) assert.isTrue(yield* list.isRevoked(session(key)))
      assert.isFalse(yield* list.isRevoked(session("c")))
      // Keys do not take the room of subjects.
      yield* list.revokeSubject("ada")
      yield* list.revokeSubject("bob")
      yield* list.revokeSubject("ada")
      assert.strictEqual((yield* Effect.flip(list.revokeSubject("eve"))).reason._tag, "StoreUnavailable")
      yield* TestClock.adjust(7 * minute)
      assert.isTrue(yield* list.revoke("c", 9 * minute))
      assert.strictEqual((yield* Effect.flip(list.revoke("d", 9 * minute))).reason._tag, "StoreUnavailable")
    }))

  it.effect("sessions in which nobody is signed in have room of their own, and make place for the next ones", () =>
    Effect.gen(function*() {
      const list = yield* Revocations.makeMemory({ capacity: 40, sweepInterval: "400 days" })
      const anonymous = { anonymous: true }
      yield* list.revoke("signed in", 9 * minute)
      for (let i = 0; i < 100; i++) assert.isTrue(yield* list.revoke(`visitor ${i}`, 9 * minute, anonymous))
      assert.isFalse(yield* list.revoke("visitor 99", 9 * minute, anonymous))
      assert.isTrue(yield* list.isRevoked(session("signed in")))
      const over = yield* Effect.filter(
        Array.from({ length: 100 }, (_, i) => i),
        (i) => list.isRevoked(session(`visitor ${i}`))
      )
      // The last ones are remembered, and never more than there is room for.
      assert.deepStrictEqual(over, Array.from({ length: over.length }, (_, i) => 100 - over.length + i))
      assert.isAbove(over.length, 30)
      assert.isAtMost(over.length, 40)
      // Whether a session is over does not depend on who says so.
      assert.isFalse(yield* list.revoke("signed in", 9 * minute, anonymous))
      assert.isFalse(yield* list.revoke("visitor 98", 9 * minute))
      yield* TestClock.adjust(9 * minute)
      for (const key of ["signed in", "visitor 99"]) assert.isFalse(yield* list.isRevoked(session(key)))
    }))

  it.effect("ten thousand users leave nothing behind", () =>
    Effect.gen(function*() {
      const list = yield* Revocations.makeMemory({ capacity: 10_000, subjectLifetime: "10 minutes" })
      for (let round = 1; round <= 3; round++) {
        for (let i = 0; i < 10_000; i++) {
          yield* list.revoke(`${round} ${i}`, round * 15 * minute - 2 * minute)
          yield* list.revokeSubject(`${round} ${i}`)
        }
        yield* TestClock.adjust("15 minutes")
      }
    }))

  it.effect("the sweep ends with its scope", () =>
    Effect.gen(function*() {
      const clock = yield* Clock.Clock
      let looks = 0
      const watched: Clock.Clock = {
        currentTimeMillisUnsafe: () => {
          looks++
          return clock.currentTimeMillisUnsafe()
        },
        currentTimeMillis: clock.currentTimeMillis,
        monotonicTimeNanosUnsafe: () => clock.monotonicTimeNanosUnsafe(),
        monotonicTimeNanos: clock.monotonicTimeNanos,
        currentTimeNanosUnsafe: () => clock.currentTimeNanosUnsafe(),
        currentTimeNanos: clock.currentTimeNanos,
        sleep: (duration) => clock.sleep(duration)
      }
      const scope = yield* Scope.make()
      yield* Layer.buildWithScope(Revocations.layerMemory(), scope).pipe(Effect.provideService(Clock.Clock, watched))
      yield* TestClock.adjust("10 minutes")
      assert.isAbove(looks, 9)
      yield* Scope.close(scope, Exit.void)
      looks = 0
      yield* TestClock.adjust("10 minutes")
      assert.strictEqual(looks, 0)
    }))

  it("options out of range throw", () => {
    for (
      const options of [
        { capacity: 0 },
        { capacity: 1.5 },
        { sweepInterval: 0 },
        { subjectLifetime: 0 },
        { subjectLifetime: "401 days" }
      ] as const
    ) {
      assert.throws(() => Revocations.makeMemory(options), RangeError)
    }
  })
})

describe("DeadlineMap", () => {
  it.effect("a sweep removes what has run out, in slices, and nothing else", () =>
    Effect.gen(function*() {
      const map = new DeadlineMap()
      for (let i = 0; i < 50_000; i++) map.set(`${i}`, i % 2 === 0 ? minute : 5 * minute)
      map.set("0", 5 * minute)
      let turns = 0
      const other = yield* Effect.forkChild(
        Effect.forever(Effect.andThen(Effect.sync(() => turns++), Effect.yieldNow))
      )
      yield* map.sweep(2 * minute)
      yield* Fiber.interrupt(other)
      assert.strictEqual(map.size, 25_001)
      assert.isAbove(turns, 5)
      assert.strictEqual(map.get("0", 2 * minute), 5 * minute)
      yield* map.sweep(6 * minute)
      assert.strictEqual(map.size, 0)
      yield* map.sweep(400 * 24 * 60 * minute)
      map.set("late", minute)
      yield* map.sweep(2 * minute)
      assert.strictEqual(map.size, 0)
    }))

  it("setting a name again and again takes no more room", () => {
    const map = new DeadlineMap()
    for (let i = 1; i <= 1000; i++) map.set("a", i * minute)
    assert.strictEqual(map.size, 1)
    assert.strictEqual(map.get("a", 0), 1000 * minute)
    assert.strictEqual(
      [...Reflect.get(map, "buckets").values()].reduce((sum: number, names: Set<string>) => sum + names.size, 0),
      1
    )
  })
})

describe("Generations", () => {
  it("holds at most its capacity, and keeps what is used", () => {
    const recent = new Generations<number>(10, 1000)
    for (let i = 0; i < 100; i++) {
      recent.set(`name ${i}`, i)
      assert.strictEqual(recent.get("name 0"), 0)
      assert.isAtMost(recent.size, 10)
    }
    assert.isUndefined(recent.get("name 50"))
    assert.strictEqual(recent.get("name 99"), 99)
  })

  it("counts a name once, however often it is set", () => {
    const recent = new Generations<number>(10, 100)
    for (const name of ["one", "two", "three"]) recent.set(name, 0)
    for (let i = 0; i < 100; i++) recent.set("often", i, 20)
    assert.deepStrictEqual(["one", "two", "three", "often"].map((name) => recent.get(name)), [0, 0, 0, 99])
    assert.strictEqual(recent.size, 4)
  })

  it("holds at most so many characters, and nothing with a capacity of 0", () => {
    const recent = new Generations<number>(1000, 100)
    for (let i = 0; i < 100; i++) recent.set("x".repeat(10) + i, i)
    assert.isAtMost(recent.size, 10)
    recent.set("x".repeat(51), 1)
    assert.isUndefined(recent.get("x".repeat(51)))
    const none = new Generations<number>(0, 100)
    none.set("a", 1)
    assert.isUndefined(none.get("a"))
  })
})
