import { assert, describe, it } from "@effect/vitest"
import { Cause, Deferred, Duration, Effect, Exit, Fiber, Metric, Random, Schedule } from "effect"
import { TestClock } from "effect/testing"
import { RetryBudget } from "../src/internal/retryBudget.ts"
import * as MemoryStore from "../src/MemoryStore.ts"
import * as Resilience from "../src/Resilience.ts"
import { type Replacement, SessionStore, SessionStoreError, StoreUnavailable } from "../src/SessionStore.ts"
import * as StoreFault from "../src/StoreFault.ts"
import * as FaultStore from "../src/testing/FaultStore.ts"
import * as StoreConformance from "../src/testing/StoreConformance.ts"
import * as StoreModelTest from "../src/testing/StoreModelTest.ts"
import { change, newRecord, numbers, replacement } from "./memoryStoreFixture.ts"
import { calm, layer, metric, reasonOf, setup, within } from "./ResilienceFixture.ts"

const operations = Object.keys(StoreFault.table) as ReadonlyArray<StoreFault.Operation>
const error = (fields: Partial<Pick<StoreUnavailable, "applied" | "transient" | "infrastructure" | "retryAfter">>) =>
  new SessionStoreError({ reason: new StoreUnavailable({ description: "scripted", ...fields }) })

describe("a decorated store without faults", () => {
  for (const law of StoreConformance.laws({ elapse: TestClock.adjust, races: 20 })) {
    it.effect(law.name, () => Effect.provide(law.run, layer({ copies: true })))
  }

  it.effect("does what the model of a store does, one call after the other and at once", () =>
    Effect.gen(function*() {
      const options = { elapse: TestClock.adjust, runs: 300 }
      yield* StoreModelTest.sequential(options)
      yield* StoreModelTest.parallel(options)
    }).pipe(Effect.provide(layer({ copies: true }))), 60_000)
})

describe("deadline", () => {
  for (const operation of operations) {
    it.effect(`ends a ${operation} that hangs, and says whether it may have taken effect`, () =>
      Effect.gen(function*() {
        const { begin, faults, operations, outcomes } = yield* setup
        yield* begin("a", "ada")
        faults.always(FaultStore.hang)
        assert.isUndefined(yield* within("999 millis", operations("a")[operation]))
        const reason = reasonOf(yield* within("1 second", operations("a")[operation]))
        const reads = operation === "load" || operation === "bySubject"
        assert.deepInclude(reason, { problem: "timeout", applied: reads ? "no" : "unknown" })
        assert.strictEqual((yield* outcomes)[0], "timeout")
        const snapshot = yield* Metric.snapshot
        assert.strictEqual(metric("session.store.operation_time", { operation, outcome: "timeout" })(snapshot), 1)
        faults.heal()
      }).pipe(Effect.provide(layer(calm))))
  }

  it.effect("covers the wait for a place, for two hundred calls at once, and leaves nothing behind", () =>
    Effect.gen(function*() {
      const { faults, resilience, store } = yield* setup
      faults.always(FaultStore.hang)
      const all = Effect.forEach(numbers(200), (key) => Effect.exit(store.load(key)), { concurrency: "unbounded" })
      const exit = yield* within("1 second", all)
      assert.isDefined(exit)
      const problems = Exit.isSuccess(exit!) ? exit.value.map((exit) => reasonOf(exit)?.problem) : []
      assert.strictEqual(problems.filter((problem) => problem === "timeout").length, 50)
      assert.strictEqual(problems.filter((problem) => problem === "overloaded").length, 150)
      assert.deepInclude(yield* resilience.load, { inFlight: 0, queued: 0 })
    }).pipe(Effect.provide(layer({ ...calm, maxInFlight: 50 }))))

  it.effect("holds for callers that cannot be interrupted, and covers the retries", () =>
    Effect.gen(function*() {
      const { faults, store } = yield* setup
      faults.always((call, asked) => FaultStore.failBefore(call, asked).pipe(Effect.delay("300 millis")))
      const reason = reasonOf(yield* within("1 second", Effect.uninterruptible(store.touch("a"))))
      assert.isDefined(reason)
      assert.isAtMost(faults.count("touch"), 3)
    }).pipe(Effect.provide(layer(calm))))
})

describe("retries", () => {
  it.effect("hide a fault that passes, and are counted", () =>
    Effect.gen(function*() {
      const { begin, faults, outcomes, tag } = yield* setup
      yield* begin("a")
      faults.next("load", FaultStore.failBefore, FaultStore.failAfter)
      const exit = yield* within("1 second", tag("a"))
      assert.deepStrictEqual(exit, Exit.succeed("Live"))
      assert.strictEqual(faults.count("load"), 3)
      assert.strictEqual((yield* outcomes)[0], "retried")
      const snapshot = yield* Metric.snapshot
      assert.strictEqual(metric("session.store.retries", { operation: "load" })(snapshot), 2)
      assert.strictEqual(metric("session.store.operation_time", { outcome: "retried" })(snapshot), 1)
    }).pipe(Effect.provide(layer())))

  for (const operation of operations) {
    for (const applied of ["no", "unknown"] as const) {
      const retried = applied === "no" || StoreFault.table[operation] !== "giveUp"
      it.effect(
        `${retried ? "try" : "do not try"} a ${operation} again that ${
          applied === "no" ? "did not happen" : "may have happened"
        }`,
        () =>
          Effect.gen(function*() {
            const { begin, faults, operations } = yield* setup
            yield* begin("a", "ada")
            faults.forget()
            faults.next(operation, applied === "no" ? FaultStore.failBefore : FaultStore.failAfter)
            const exit = yield* within("1 second", operations("a")[operation])
            assert.strictEqual(faults.count(operation), retried ? 2 : 1)
            assert.strictEqual(exit?._tag, retried ? "Success" : "Failure")
            if (!retried) assert.strictEqual(reasonOf(exit)?.applied, "unknown")
          }).pipe(Effect.provide(layer()))
      )
    }
  }

  it.effect("give up a save whose answer was lost, and never see its own effect as a conflict", () =>
    Effect.gen(function*() {
      const { begin, faults, store } = yield* setup
      yield* begin("a")
      faults.next("save", FaultStore.failAfter)
      const lost = yield* Effect.flip(store.save("a", 1, change("x")))
      assert.strictEqual(lost.reason.applied, "unknown")
      assert.strictEqual((yield* store.save("a", 2, change("y")))._tag, "Saved")
    }).pipe(Effect.provide(layer())))

  it.effect("recognize the record that a lost create has left, also at a limit, and no other", () =>
    Effect.gen(function*() {
      const { begin, faults, query, store } = yield* setup
      faults.next("create", FaultStore.failAfter)
      const limit = { max: 1, onLimit: "refuse" } as const
      const own = yield* within("1 second", store.create(newRecord("a", { subject: "ada" }), limit))
      assert.deepInclude(Exit.isSuccess(own!) ? own.value : {}, { _tag: "Created", evicted: [] })
      assert.strictEqual((yield* query.bySubject("ada")).length, 1)
      yield* begin("b")
      faults.next("create", FaultStore.failBefore)
      const foreign = yield* within("1 second", store.create(newRecord("b", { payload: "another" })))
      assert.deepStrictEqual(foreign, Exit.succeed({ _tag: "KeyTaken" }))
      faults.next("create", FaultStore.failAfter)
      const taken = yield* within("1 second", store.create(newRecord("b", { payload: "another" })))
      assert.deepStrictEqual(taken, Exit.succeed({ _tag: "KeyTaken" }))
    }).pipe(Effect.provide(layer())))

  it.effect("recognize the session that a lost renewal has left under its new key, and no other", () =>
    Effect.gen(function*() {
      const { begin, faults, store, tag } = yield* setup
      const renewed = (key: string, to: string, fields?: Partial<Replacement>) =>
        Effect.map(
          within("1 second", store.renew(key, 1, replacement(to, fields), { grace: 60_000 })),
          (exit) => exit !== undefined && Exit.isSuccess(exit) ? exit.value : reasonOf(exit)
        )
      const nobodyKnows = FaultStore.failWith(error({ applied: "unknown" }))
      yield* begin("a")
      faults.next("renew", FaultStore.failAfter)
      const own = yield* renewed("a", "a2")
      assert.strictEqual(faults.count("renew"), 2)
      const there = yield* store.load("a2")
      assert.strictEqual(there._tag, "Live")
      assert.deepStrictEqual<unknown>(own, {
        _tag: "Renewed",
        record: there._tag === "Live" ? there.record : undefined,
        evicted: []
      })
      assert.deepInclude(yield* store.load("a"), { _tag: "Live", alias: "a2" })
      // Another request was faster: nothing of this one is there.
      yield* begin("b")
      yield* store.save("b", 1, change("x"))
      faults.next("renew", nobodyKnows)
      assert.deepStrictEqual(yield* renewed("b", "b2"), { _tag: "Conflict" })
      // The key is somebody else's.
      yield* begin("c")
      faults.next("renew", nobodyKnows)
      assert.deepStrictEqual(yield* renewed("c", "a2", { payload: "another" }), { _tag: "KeyTaken" })
      // It has ended meanwhile.
      faults.next(
        "renew",
        (call, asked) => Effect.tapError(FaultStore.failAfter(call, asked), () => store.destroy("c2"))
      )
      assert.deepStrictEqual(yield* renewed("c", "c2"), { _tag: "Gone" })
      assert.strictEqual(yield* tag("c2"), "Absent")
      // A store of several steps has taken the key, and not finished.
      yield* begin("e")
      const unfinished = (to: string): FaultStore.Fault => (call) =>
        Effect.ensuring(Effect.andThen(begin(to), call), Effect.ignore(store.destroy(to)))
      faults.next("renew", nobodyKnows, unfinished("e2"), unfinished("e2"))
      assert.deepInclude(yield* renewed("e", "e2"), { applied: "unknown" })
      faults.next("renew", nobodyKnows, unfinished("e3"))
      assert.deepInclude(yield* renewed("e", "e3"), { _tag: "Renewed", evicted: [] })
    }).pipe(Effect.provide(layer())))

  it.effect("are made for faults that pass only", () =>
    Effect.gen(function*() {
      const { faults, store } = yield* setup
      faults.always(FaultStore.failWith(error({ transient: false, applied: "no" })))
      assert.isDefined(reasonOf(yield* within("1 second", store.load("a"))))
      assert.strictEqual(faults.count(), 1)
    }).pipe(Effect.provide(layer(calm))))

  it.effect("follow the schedule, and not what clients are told to wait", () =>
    Effect.gen(function*() {
      const { faults, tag } = yield* setup
      faults.next("load", FaultStore.failWith(error({ applied: "no", retryAfter: 5000 })))
      assert.deepStrictEqual(yield* within("1 second", tag("a")), Exit.succeed("Absent" as const))
    }).pipe(Effect.provide(layer(calm))))

  it.effect("say unknown when any try may have taken effect", () =>
    Effect.gen(function*() {
      const { faults, store } = yield* setup
      faults.next("destroy", FaultStore.failAfter)
      faults.always(FaultStore.failBefore, "destroy")
      assert.strictEqual(reasonOf(yield* within("1 second", store.destroy("a")))?.applied, "unknown")
    }).pipe(Effect.provide(layer({ ...calm, onDestroyFailed: "refuse" }))))

  it.effect("wait as the schedule of the application says", () =>
    Effect.gen(function*() {
      const { faults, store } = yield* setup
      faults.always(FaultStore.failBefore)
      yield* within("100 millis", store.load("a"))
      assert.strictEqual(faults.count(), 6)
    }).pipe(Effect.provide(layer({ ...calm, retry: Schedule.spaced("20 millis").pipe(Schedule.upTo({ times: 5 })) }))))

  it.effect("have full jitter: their delays are spread evenly up to the cap", () =>
    Effect.gen(function*() {
      const buckets = [0, 0, 0, 0, 0]
      const runs = 5000
      for (let i = 0; i < runs; i++) {
        const step = yield* Schedule.toStep(Resilience.retrySchedule({ attempts: 9, base: "40 seconds" }))
        const [, delay] = yield* step(0, error({})).pipe(Effect.catch(() => Effect.die("done")))
        assert.isTrue(Duration.toMillis(delay) >= 0 && Duration.toMillis(delay) < 5000)
        buckets[Math.floor(Duration.toMillis(delay) / 1000)]++
      }
      const expected = runs / buckets.length
      const chiSquare = buckets.reduce((sum, n) => sum + (n - expected) ** 2 / expected, 0)
      assert.isBelow(chiSquare, 18.5, `${buckets}`)
    }).pipe(Random.withSeed(1)))

  it("stay within a tenth of the traffic, and ten", () => {
    for (const calls of [1, 50, 100, 1000, 10_000]) {
      const budget = new RetryBudget(0.1, 10)
      let retries = 0
      for (let i = 0; i < calls; i++) {
        budget.call()
        while (budget.take()) retries++
      }
      assert.isAtMost(retries, Math.max(10, calls / 10))
      assert.isAtLeast(retries, Math.min(10, calls))
    }
  })

  it("do not save up for a storm", () => {
    const budget = new RetryBudget(0.1, 10)
    for (let i = 0; i < 1_000_000; i++) budget.call()
    assert.isAtMost(budget.left, 40)
  })

  it.effect("send a dead store at most 1.1 times as many commands as there were calls", () =>
    Effect.gen(function*() {
      const { faults, store } = yield* setup
      faults.always(FaultStore.failBefore)
      const calls = 10_000
      yield* within("20 seconds", Effect.forEach(numbers(calls), (key) => Effect.exit(store.load(key))))
      assert.isAbove(faults.count(), calls)
      assert.isAtMost(faults.count(), calls * 1.1)
      assert.isAbove(metric("session.store.retries_refused")(yield* Metric.snapshot), 1000)
    }).pipe(Effect.provide(layer({ ...calm, retryDelay: "1 millis" }))))

  it.effect("can be switched off", () =>
    Effect.gen(function*() {
      const { faults, store } = yield* setup
      faults.always(FaultStore.failBefore)
      yield* within("1 second", store.load("a"))
      assert.strictEqual(faults.count(), 1)
    }).pipe(Effect.provide(layer({ ...calm, attempts: 1 }))))
})

describe("single flight", () => {
  it.effect("asks the store once for loads of one key that overlap, and answers all", () =>
    Effect.gen(function*() {
      const { begin, faults, tag } = yield* setup
      yield* begin("a")
      faults.always(FaultStore.latency("100 millis"), "load")
      const all = Effect.forEach(numbers(20), () => tag("a"), { concurrency: "unbounded" })
      assert.deepStrictEqual(yield* within("100 millis", all), Exit.succeed(numbers(20).map(() => "Live")))
      assert.strictEqual(faults.count("load"), 1)
      yield* within("100 millis", tag("a"))
      assert.strictEqual(faults.count("load"), 2)
    }).pipe(Effect.provide(layer())))

  it.effect("never gives a load that begins after a write what was read before it", () =>
    Effect.gen(function*() {
      const { begin, faults, store, tag } = yield* setup
      yield* begin("a")
      const read = yield* Deferred.make<void>()
      faults.next("load", FaultStore.followed(Deferred.await(read)))
      const early = yield* Effect.forkChild(tag("a"), { startImmediately: true })
      yield* store.destroy("a")
      assert.strictEqual(yield* tag("a"), "Absent")
      yield* Deferred.succeed(read, undefined)
      assert.strictEqual(yield* Fiber.join(early), "Live")
    }).pipe(Effect.provide(layer())))

  it.effect("goes on for those who wait when one is interrupted, and ends when all are", () =>
    Effect.gen(function*() {
      const { begin, faults, outcomes, resilience, tag } = yield* setup
      yield* begin("a")
      faults.always(FaultStore.latency("100 millis"), "load")
      const start = Effect.forkChild(tag("a"), { startImmediately: true })
      const [first, second] = [yield* start, yield* start]
      yield* Fiber.interrupt(first)
      yield* TestClock.adjust("100 millis")
      assert.strictEqual(yield* Fiber.join(second), "Live")
      const [third, fourth] = [yield* start, yield* start]
      yield* Fiber.interrupt(third)
      yield* Fiber.interrupt(fourth)
      assert.strictEqual((yield* outcomes)[0], "interrupted")
      assert.strictEqual((yield* resilience.load).inFlight, 0)
      const fifth = yield* start
      yield* TestClock.adjust("100 millis")
      assert.strictEqual(yield* Fiber.join(fifth), "Live")
      assert.strictEqual(faults.count("load"), 3)
    }).pipe(Effect.provide(layer())))
})

describe("a load that everybody has left", () => {
  it.effect("is not joined while it cleans up", () =>
    Effect.gen(function*() {
      const { faults, tag } = yield* setup
      faults.next("load", () => Effect.onInterrupt(Effect.never, () => Effect.sleep("100 millis")))
      const left = yield* Effect.forkChild(tag("a"), { startImmediately: true })
      yield* Fiber.interrupt(left)
      assert.strictEqual(yield* tag("a"), "Absent")
      assert.strictEqual(faults.count("load"), 2)
      yield* TestClock.adjust("100 millis")
    }).pipe(Effect.provide(layer())))
})

describe("bulkhead", () => {
  it.effect("lets a bounded number in, makes a bounded number wait in order, and refuses the rest at once", () =>
    Effect.gen(function*() {
      const { faults, resilience, store } = yield* setup
      faults.always(FaultStore.latency("300 millis"))
      const fibers = yield* Effect.forEach(
        numbers(5),
        (key) => Effect.forkChild(Effect.exit(store.touch(key)), { startImmediately: true })
      )
      assert.deepInclude(yield* resilience.load, { inFlight: 2, queued: 2 })
      assert.strictEqual(reasonOf(yield* Fiber.join(fibers[4]))?.problem, "overloaded")
      yield* TestClock.adjust("300 millis")
      assert.isDefined(fibers[1].pollUnsafe())
      assert.isUndefined(fibers[2].pollUnsafe())
      assert.deepStrictEqual(faults.calls.map(({ key }) => key), ["0", "1", "2", "3"])
      yield* TestClock.adjust("300 millis")
      for (const fiber of fibers.slice(0, 4)) assert.deepStrictEqual(yield* Fiber.join(fiber), Exit.succeed(false))
      assert.deepInclude(yield* resilience.load, { inFlight: 0, queued: 0 })
      const snapshot = yield* Metric.snapshot
      assert.strictEqual(metric("session.store.operation_time", { outcome: "overloaded" })(snapshot), 1)
    }).pipe(Effect.provide(layer({ ...calm, maxInFlight: 2, maxQueued: 2 }))))

  it.effect("shows in the gauges how many are under way, how many wait, and what is left of the budget", () =>
    Effect.gen(function*() {
      const { faults, store } = yield* setup
      faults.next("touch", FaultStore.failBefore)
      yield* within("1 second", store.touch("retried"))
      faults.always(FaultStore.hang)
      const fibers = yield* Effect.forEach(
        numbers(5),
        (key) => Effect.forkChild(Effect.exit(store.touch(key)), { startImmediately: true })
      )
      yield* TestClock.adjust("5 seconds")
      yield* Fiber.interruptAll(fibers)
      const snapshot = yield* Metric.snapshot
      const gauges = ["in_flight", "queued", "retry_budget", "pending_destroys"]
      assert.deepStrictEqual(gauges.map((name) => metric(`session.store.${name}`)(snapshot)), [3, 2, 9, 0])
      assert.isTrue(
        snapshot.filter(({ id }) => id.startsWith("session.store.")).every(({ attributes }) =>
          attributes?.["store"] === "main"
        )
      )
    }).pipe(Effect.provide(layer({ ...calm, name: "main", deadline: "1 minute", maxInFlight: 3 }))))

  it.effect("loses no place and no timer to ten thousand interruptions", () =>
    Effect.gen(function*() {
      const { faults, resilience, store, tag } = yield* setup
      faults.always(FaultStore.latency("10 millis"))
      for (let round = 0; round < 100; round++) {
        const fibers = yield* Effect.forEach(
          numbers(100),
          (key) => Effect.forkChild(round % 2 === 0 ? Effect.exit(store.load(key)) : Effect.exit(store.touch(key))),
          { concurrency: "unbounded" }
        )
        for (const fiber of fibers) {
          const random = yield* Random.next
          if (random < 0.1) yield* Effect.yieldNow
          if (random > 0.99) yield* TestClock.adjust("10 millis")
          yield* Effect.forkChild(Fiber.interrupt(fiber))
        }
        yield* Effect.forEach(fibers, Fiber.await)
      }
      yield* TestClock.adjust("2 seconds")
      assert.deepInclude(yield* resilience.load, { inFlight: 0, queued: 0 })
      faults.heal()
      assert.strictEqual(yield* tag("a"), "Absent")
    }).pipe(Random.withSeed("interruptions"), Effect.provide(layer({ ...calm, maxInFlight: 7, maxQueued: 20 }))))
})

describe("defects and interruptions of the store", () => {
  it.effect("reach the caller as they are", () =>
    Effect.gen(function*() {
      const { faults, outcomes, store } = yield* setup
      faults.next("load", () => Effect.die("boom"))
      const exit = yield* Effect.exit(store.load("a"))
      assert.isTrue(Exit.isFailure(exit) && Cause.hasDies(exit.cause))
      assert.strictEqual((yield* outcomes)[0], "defect")
      assert.strictEqual(faults.count(), 1)
    }).pipe(Effect.provide(layer())))
})

describe("a store that throws", () => {
  it.effect("takes no place and no probe for ever, and the caller gets the defect", () =>
    Effect.gen(function*() {
      const { store } = yield* MemoryStore.make()
      let broken = true
      const throwing = SessionStore.of({
        ...store,
        load: (key) => {
          if (broken) throw new RangeError("not well-formed")
          return store.load(key)
        }
      })
      const guarded = yield* Effect.provideService(
        Resilience.make({ ...calm, maxInFlight: 3, maxQueued: 0 }),
        SessionStore,
        throwing
      )
      for (const key of ["1", "2", "3", "4", "5"]) {
        const exit = yield* Effect.exit(guarded.store.load(key))
        assert.isTrue(Exit.isFailure(exit) && Cause.hasDies(exit.cause))
      }
      assert.deepInclude(yield* guarded.resilience.load, { inFlight: 0, queued: 0 })
      broken = false
      assert.strictEqual((yield* guarded.store.load("6"))._tag, "Absent")
    }))
})

describe("options", () => {
  it("out of range are refused when the layer is made", () => {
    const wrong: ReadonlyArray<Resilience.Options> = [
      { deadline: 0 },
      { deadline: Infinity },
      { slowCall: -1 },
      { attempts: 0 },
      { attempts: 1.5 },
      { retryBudget: 2 },
      { retryBudget: NaN },
      { openDuration: 0 },
      { probes: 0 },
      { maxInFlight: 0 },
      { maxQueued: -1 },
      { maxPendingDestroys: -1 },
      { maxCopies: 0 },
      { shutdown: 0 }
    ]
    for (const options of wrong) {
      assert.throws(() => Resilience.make(options), RangeError, undefined, JSON.stringify(options))
    }
  })

  it.effect("of a replaced session and of a key that is taken stay what they are: answers", () =>
    Effect.gen(function*() {
      const { begin, outcomes, store } = yield* setup
      yield* begin("a")
      assert.strictEqual((yield* store.save("a", 7, change("x")))._tag, "Conflict")
      assert.strictEqual((yield* store.save("b", 1, change("x")))._tag, "Gone")
      assert.strictEqual((yield* begin("a"))._tag, "KeyTaken")
      assert.strictEqual((yield* store.renew("b", 1, replacement("c")))._tag, "Gone")
      assert.isTrue((yield* outcomes).every((outcome) => outcome === "success"))
    }).pipe(Effect.provide(layer())))
})
