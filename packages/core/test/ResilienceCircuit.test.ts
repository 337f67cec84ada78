import { assert, describe, it } from "@effect/vitest"
import { Deferred, Effect, Exit, Fiber, Metric, Random, Schedule, Stream } from "effect"
import { CircuitBreaker } from "effect/persistence"
import { TestClock } from "effect/testing"
import { Circuit, refused } from "../src/internal/circuit.ts"
import type * as Resilience from "../src/Resilience.ts"
import { SessionStoreError, StoreUnavailable } from "../src/SessionStore.ts"
import * as FaultStore from "../src/testing/FaultStore.ts"
import { change, newRecord, numbers } from "./memoryStoreFixture.ts"
import { layer, metric, reasonOf, setup, within } from "./ResilienceFixture.ts"

/** Opens after two failures in a row for exactly ten seconds, and looks after nothing in the meantime. */
const touchy: Resilience.Options = {
  attempts: 1,
  tripPolicy: CircuitBreaker.consecutive(2),
  openSchedule: Schedule.spaced("10 seconds"),
  recoveryCheck: Infinity
}

/** Fails some loads, so that the circuit for reads opens. */
const trip = Effect.gen(function*() {
  const { faults, store } = yield* setup
  faults.always(FaultStore.failBefore)
  yield* Effect.flip(store.load("x"))
  yield* Effect.flip(store.load("x"))
  faults.heal()
  faults.forget()
})

describe("circuit", () => {
  it.effect("opens on failures, refuses without asking the store, and says when to come back", () =>
    Effect.gen(function*() {
      const { faults, resilience, store, states } = yield* setup
      yield* trip
      assert.deepStrictEqual(yield* states, ["Open", "Closed"])
      yield* TestClock.adjust("4 seconds")
      const { reason } = yield* Effect.flip(store.load("x"))
      assert.deepInclude(reason, { problem: "circuitOpen", applied: "no", retryAfter: 6000 })
      assert.strictEqual(faults.count(), 0)
      const snapshot = yield* Metric.snapshot
      assert.strictEqual(metric("session.store.operation_time", { outcome: "circuitOpen" })(snapshot), 1)
      assert.strictEqual(metric("session.store.circuit_transitions", { from: "Closed", to: "Open" })(snapshot), 1)
      assert.strictEqual(metric("session.store.circuit_state", { circuit: "store:read" })(snapshot), 2)
      assert.isTrue(yield* resilience.ready, "writes are let through")
    }).pipe(Effect.provide(layer(touchy))))

  it.effect("has one for reads and one for writes: a store that refuses to write still reads", () =>
    Effect.gen(function*() {
      const { begin, faults, resilience, store, states, tag } = yield* setup
      yield* begin("a")
      faults.always(FaultStore.failBefore, "save")
      yield* Effect.flip(store.save("a", 1, change("x")))
      yield* Effect.flip(store.save("a", 1, change("x")))
      assert.deepStrictEqual(yield* states, ["Closed", "Open"])
      assert.isFalse(yield* resilience.ready)
      assert.strictEqual(yield* tag("a"), "Live")
      assert.strictEqual((yield* Effect.flip(store.touch("a"))).reason.problem, "circuitOpen")
    }).pipe(Effect.provide(layer(touchy))))

  it.effect("for writes opens when loads may not record activity, which are read without it then", () =>
    Effect.gen(function*() {
      const { begin, faults, states, store } = yield* setup
      yield* begin("a")
      faults.forget()
      faults.always(
        FaultStore.only(
          ({ args }) => Reflect.get(Object(args[1]), "touchAfter") !== undefined,
          FaultStore.failWith(
            new SessionStoreError({
              reason: new StoreUnavailable({ description: "misconf", applied: "no", transient: false })
            })
          )
        ),
        "load"
      )
      for (let i = 0; i < 10; i++) {
        assert.strictEqual((yield* store.load("a", { touchAfter: 0 }))._tag, "Live")
      }
      assert.deepStrictEqual(yield* states, ["Closed", "Open"])
      assert.strictEqual(faults.count("load"), 12, "two refusals, and ten reads")
      faults.heal()
      yield* TestClock.adjust("10 seconds")
      assert.isTrue(yield* store.touch("a"))
      faults.forget()
      yield* store.load("a", { touchAfter: 0 })
      assert.deepStrictEqual(faults.calls[0].args[1], { touchAfter: 0 })
    }).pipe(Effect.provide(layer(touchy))))

  it.effect("counts no answer, no mistake and no defect: only failures of the infrastructure", () =>
    Effect.gen(function*() {
      const { begin, faults, query, states, store, tag } = yield* setup
      yield* begin("a", "ada")
      for (const key of numbers(20_000)) yield* store.load(key)
      for (let i = 0; i < 5000; i++) yield* store.save("a", 7, change("x"))
      for (let i = 0; i < 100; i++) {
        yield* store.save("gone", 1, change("x"))
        yield* store.create(newRecord("a"))
        yield* store.create(newRecord(`b${i}`, { subject: "ada" }), { max: 1, onLimit: "refuse" })
        faults.next("load", () => Effect.die("boom"))
        yield* Effect.exit(store.load("a"))
        faults.next(
          "load",
          FaultStore.failWith(
            new SessionStoreError({
              reason: new StoreUnavailable({ description: "mistake", transient: false, infrastructure: false })
            })
          )
        )
        yield* Effect.flip(store.load("a"))
        faults.next("load", FaultStore.hang)
        const fiber = yield* Effect.forkChild(store.load("a"), { startImmediately: true })
        yield* Fiber.interrupt(fiber)
        yield* Effect.exit(Stream.runDrain(query.destroyWhere(() => {
          throw new Error("boom")
        })))
      }
      assert.deepStrictEqual(yield* states, ["Closed", "Closed"])
      assert.strictEqual(yield* tag("a"), "Live")
    }).pipe(Effect.provide(layer(touchy))))

  for (const probes of [1, 3]) {
    it.effect(`admits exactly ${probes} of a thousand calls when it is half open, and closes once they succeed`, () =>
      Effect.gen(function*() {
        const { faults, states, store } = yield* setup
        yield* trip
        yield* TestClock.adjust("10 seconds")
        faults.always(FaultStore.latency("100 millis"))
        const all = yield* Effect.forkChild(
          Effect.forEach(numbers(1000), (key) => Effect.exit(store.load(key)), { concurrency: "unbounded" }),
          { startImmediately: true }
        )
        yield* TestClock.adjust(0)
        assert.strictEqual((yield* states)[0], "HalfOpen")
        assert.strictEqual(faults.count(), probes)
        yield* TestClock.adjust("100 millis")
        assert.strictEqual((yield* Fiber.join(all)).filter(Exit.isSuccess).length, probes)
        assert.strictEqual((yield* states)[0], "Closed")
      }).pipe(Effect.provide(layer({ ...touchy, probes }))))
  }

  it.effect("gets the permit of a probe back after a failure, a defect, a timeout and a thousand interruptions", () =>
    Effect.gen(function*() {
      const { faults, states, store } = yield* setup
      yield* trip
      yield* TestClock.adjust("10 seconds")
      for (let i = 0; i < 1000; i++) {
        faults.next("load", FaultStore.hang)
        const probe = yield* Effect.forkChild(store.load("a"), { startImmediately: true })
        assert.strictEqual((yield* Effect.flip(store.load("b"))).reason.problem, "circuitOpen")
        yield* Fiber.interrupt(probe)
      }
      assert.strictEqual(faults.count(), 1000)
      faults.next("load", () => Effect.die("boom"))
      assert.isTrue(Exit.isFailure(yield* Effect.exit(store.load("a"))))
      assert.strictEqual((yield* states)[0], "HalfOpen")
      faults.next("load", FaultStore.failBefore)
      yield* Effect.flip(store.load("a"))
      assert.strictEqual((yield* states)[0], "Open")
      yield* TestClock.adjust("10 seconds")
      faults.next("load", FaultStore.hang)
      assert.strictEqual(reasonOf(yield* within("1 second", store.load("a")))?.problem, "timeout")
      assert.strictEqual((yield* states)[0], "Open")
      yield* TestClock.adjust("10 seconds")
      yield* store.load("a")
      assert.strictEqual((yield* states)[0], "Closed")
    }).pipe(Effect.provide(layer(touchy))))

  for (const late of ["succeeds", "fails"] as const) {
    it.effect(`ignores a call from before that ${late} while it is half open`, () =>
      Effect.gen(function*() {
        const { faults, states, store } = yield* setup
        const gate = yield* Deferred.make<void>()
        faults.next(
          "load",
          late === "fails"
            ? () =>
              Effect.andThen(
                Deferred.await(gate),
                Effect.fail(
                  new SessionStoreError({ reason: new StoreUnavailable({ description: "late" }) })
                )
              )
            : FaultStore.preceded(Deferred.await(gate))
        )
        const held = yield* Effect.forkChild(Effect.exit(store.load("a")), { startImmediately: true })
        yield* trip
        yield* TestClock.adjust("10 seconds")
        faults.next("load", FaultStore.hang)
        const probe = yield* Effect.forkChild(Effect.exit(store.load("b")), { startImmediately: true })
        assert.strictEqual((yield* states)[0], "HalfOpen")
        yield* Deferred.succeed(gate, undefined)
        yield* Fiber.join(held)
        assert.strictEqual((yield* states)[0], "HalfOpen")
        assert.strictEqual((yield* Effect.flip(store.load("c"))).reason.problem, "circuitOpen", "the probe is out")
        yield* Fiber.interrupt(probe)
      }).pipe(Effect.provide(layer({ ...touchy, deadline: "1 hour" }))))
  }

  it.effect("runs on monotonic time: a wall clock that jumps by an hour changes nothing", () =>
    Effect.gen(function*() {
      const { clock, states, store } = yield* setup
      yield* trip
      for (const jump of [3_600_000, -7_200_000]) {
        clock.jump(jump)
        assert.strictEqual((yield* Effect.flip(store.load("x"))).reason.retryAfter, 10_000)
      }
      yield* TestClock.adjust("10 seconds")
      yield* store.load("x")
      assert.strictEqual((yield* states)[0], "Closed")
    }).pipe(Effect.provide(layer(touchy))))

  it.effect("counts slow answers as failures", () =>
    Effect.gen(function*() {
      const { faults, outcomes, states, store } = yield* setup
      faults.always(FaultStore.latency("300 millis"))
      yield* within("300 millis", store.load("a"))
      yield* within("300 millis", store.load("b"))
      assert.deepStrictEqual(yield* outcomes, ["slow", "slow"])
      assert.strictEqual((yield* states)[0], "Open")
    }).pipe(Effect.provide(layer({ ...touchy, slowCall: "200 millis" }))))

  it.effect("by default opens at half of the calls, not at one in a hundred", () =>
    Effect.gen(function*() {
      const { faults, states, store } = yield* setup
      faults.always(FaultStore.share(0.01, FaultStore.failBefore))
      for (const key of numbers(5000)) yield* Effect.exit(store.load(key))
      assert.strictEqual((yield* states)[0], "Closed")
      faults.always(FaultStore.share(0.9, FaultStore.failBefore))
      for (const key of numbers(30)) yield* Effect.exit(store.load(key))
      assert.strictEqual((yield* states)[0], "Open")
    }).pipe(Random.withSeed(3), Effect.provide(layer({ attempts: 1 }))))

  it.effect("by default needs five calls to judge, and stays open for thirty seconds and a random fifth", () =>
    Effect.gen(function*() {
      const times: Array<number> = []
      for (let round = 0; round < 20; round++) {
        yield* Effect.gen(function*() {
          const { faults, resilience, states, store } = yield* setup
          faults.always(FaultStore.failBefore)
          for (const key of numbers(4)) yield* Effect.exit(store.load(key))
          assert.strictEqual((yield* states)[0], "Closed")
          yield* Effect.exit(store.load("last"))
          assert.strictEqual((yield* states)[0], "Open")
          times.push((yield* Effect.flip(store.load("a"))).reason.retryAfter!)
          assert.deepInclude((yield* resilience.circuits)[0], { consecutiveOpenings: 1 })
        }).pipe(Effect.provide(layer({ attempts: 1 }), { local: true }))
      }
      assert.isTrue(times.every((time) => time >= 24_000 && time <= 36_000), `${times}`)
      assert.isAbove(new Set(times).size, 15)
    }))

  it.effect("stays open longer each time in a row, as its schedule says", () =>
    Effect.gen(function*() {
      const { faults, store } = yield* setup
      faults.always(FaultStore.failBefore)
      const waits: Array<number> = []
      for (const _ of numbers(4)) {
        for (const _ of numbers(2)) yield* Effect.flip(store.load("a"))
        const wait = (yield* Effect.flip(store.load("a"))).reason.retryAfter!
        waits.push(wait)
        yield* TestClock.adjust(wait)
      }
      assert.deepStrictEqual(waits, [1000, 2000, 4000, 8000])
    }).pipe(Effect.provide(layer({ ...touchy, openSchedule: Schedule.exponential("1 second") }))))

  it.effect("is one per shard: a dead one leaves the others alone", () =>
    Effect.gen(function*() {
      const { faults, store } = yield* setup
      faults.always(FaultStore.only(({ key }) => key.startsWith("b"), FaultStore.failBefore))
      let served = 0
      for (const key of numbers(1000)) {
        yield* Effect.exit(store.load(`b${key}`))
        if (Exit.isSuccess(yield* Effect.exit(store.load(`a${key}`)))) served++
      }
      assert.strictEqual(served, 1000)
      assert.strictEqual(faults.calls.filter(({ key }) => key.startsWith("b")).length, 2)
    }).pipe(Effect.provide(layer({ ...touchy, shardOf: (key) => key.slice(0, 1) }))))

  it.effect("finds out by itself that the store is back, long before the open time ends", () =>
    Effect.gen(function*() {
      const { faults, states, store } = yield* setup
      faults.always(FaultStore.failBefore)
      yield* Effect.flip(store.load("x"))
      yield* Effect.flip(store.load("x"))
      faults.forget()
      yield* TestClock.adjust("5 seconds")
      assert.isTrue(faults.count() >= 5 && faults.count() <= 10, `${faults.count()} reads in 5 seconds`)
      yield* Effect.flip(store.load("x"))
      faults.heal()
      yield* TestClock.adjust("1 second")
      yield* store.load("x")
      assert.strictEqual((yield* states)[0], "Closed")
      faults.forget()
      yield* TestClock.adjust("1 minute")
      assert.strictEqual(faults.count(), 0, "nobody looks after a store that serves")
    }).pipe(
      Effect.provide(
        layer({ ...touchy, openDuration: "10 minutes", openSchedule: undefined, recoveryCheck: "1 second" })
      )
    ))

  it.effect("publishes its transitions", () =>
    Effect.gen(function*() {
      const { resilience, store } = yield* setup
      const seen = yield* Effect.forkChild(Stream.runCollect(Stream.take(resilience.transitions, 3)), {
        startImmediately: true
      })
      yield* trip
      yield* TestClock.adjust("10 seconds")
      yield* store.load("x")
      assert.deepStrictEqual((yield* Fiber.join(seen)).map(({ from, key, to }) => `${key} ${from} ${to}`), [
        "store:read Closed Open",
        "store:read Open HalfOpen",
        "store:read HalfOpen Closed"
      ])
    }).pipe(Effect.provide(layer(touchy))))
})

describe("the machine of a circuit", () => {
  it("counts no result of a call that was admitted before it opened, also once it is closed again", () => {
    const circuit = new Circuit("k", CircuitBreaker.consecutive(2), 1, () => {})
    const early = circuit.admit(0)
    for (let i = 0; i < 2; i++) {
      const permit = circuit.admit(0)
      if (circuit.fail(permit) !== undefined) circuit.open(permit, 10, 0)
    }
    circuit.succeed(circuit.admit(10), 10)
    assert.strictEqual(circuit.snapshot(10)._tag, "Closed")
    const now = circuit.admit(10)
    assert.isUndefined(circuit.fail(now))
    circuit.succeed(early, 10)
    assert.isUndefined(circuit.fail(early))
    assert.strictEqual(circuit.fail(now), 2, "one success in between would have broken the streak")
  })

  it("never admits more probes than it may, whatever happens in whatever order", () => {
    let seed = 7
    const random = () => (seed = (seed * 48_271) % 2_147_483_647) / 2_147_483_647
    for (let run = 0; run < 300; run++) {
      const probes = 1 + Math.floor(random() * 3)
      let now = 0
      const states: Array<string> = ["Closed"]
      const circuit = new Circuit(
        "k",
        { _tag: "Rate", threshold: 0.5, minimumCalls: 2, size: 4 },
        probes,
        ({ from, to }) => {
          assert.strictEqual(from, states.at(-1))
          states.push(to)
        }
      )
      const out: Array<{ readonly permit: number; readonly probe: boolean }> = []
      for (let step = 0; step < 200; step++) {
        now += random() * 3
        const roll = random()
        if (roll < 0.5) {
          const permit = circuit.admit(now)
          if (permit !== refused) out.push({ permit, probe: circuit.snapshot(now)._tag === "HalfOpen" })
          const current = out.filter((call) => call.probe && call.permit === permit).length
          assert.isAtMost(current, probes)
        } else if (out.length > 0) {
          const [{ permit }] = out.splice(Math.floor(random() * out.length), 1)
          if (roll < 0.65) circuit.succeed(permit, now)
          else if (roll < 0.75) circuit.ignore(permit)
          else if (circuit.fail(permit) !== undefined) circuit.open(permit, 5, now)
        }
      }
      // Once everybody is back and the time is over, there is a way to Closed.
      for (const { permit } of out) circuit.ignore(permit)
      now += 10
      for (let i = 0; i < probes; i++) {
        const permit = circuit.admit(now)
        if (permit !== refused) circuit.succeed(permit, now)
      }
      assert.strictEqual(circuit.snapshot(now)._tag, "Closed")
    }
  })
})
