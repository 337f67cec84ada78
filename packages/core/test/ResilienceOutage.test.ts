import { assert, describe, it } from "@effect/vitest"
import { Config, ConfigProvider, Deferred, Effect, Exit, Fiber, Layer, Logger, Metric, Scope, Stream } from "effect"
import { CircuitBreaker } from "effect/persistence"
import { TestClock } from "effect/testing"
import { inspect } from "node:util"
import * as MemoryStore from "../src/MemoryStore.ts"
import * as OutagePolicy from "../src/OutagePolicy.ts"
import * as Resilience from "../src/Resilience.ts"
import { Revocations } from "../src/Revocations.ts"
import { SessionStore, SessionStoreError, StoreUnavailable } from "../src/SessionStore.ts"
import * as FaultStore from "../src/testing/FaultStore.ts"
import { change, newRecord, numbers, replacement } from "./memoryStoreFixture.ts"
import { calm, layer, metric, reasonOf, setup, within } from "./ResilienceFixture.ts"

const once: Resilience.Options = { ...calm, attempts: 1 }
const stale = OutagePolicy.staleRead({ maxAge: "30 seconds" })
const withStale: Resilience.Options = { ...once, outage: stale }

const under = (policy: OutagePolicy.OutagePolicy) => Effect.provideService(OutagePolicy.Current, policy)

describe("an outage", () => {
  it.effect("fails by default, always says when to come back, and costs nobody a session", () =>
    Effect.gen(function*() {
      const { begin, faults, store, tag } = yield* setup
      yield* Effect.forEach(numbers(1000), (key) => begin(key))
      faults.always(FaultStore.failBefore)
      for (const key of numbers(1000)) assert.strictEqual((yield* Effect.flip(store.load(key))).reason.retryAfter, 1000)
      faults.heal()
      for (const key of numbers(1000)) assert.strictEqual(yield* tag(key), "Live")
    }).pipe(Effect.provide(layer(once))))

  it.effect("is not what a mistake of the program is: policies do not hide it", () =>
    Effect.gen(function*() {
      const { begin, faults, store } = yield* setup
      yield* begin("a")
      const mistake = new StoreUnavailable({ description: "no permission", transient: false, infrastructure: false })
      faults.always(FaultStore.failWith(new SessionStoreError({ reason: mistake })))
      for (const policy of [stale, OutagePolicy.anonymous]) {
        const { reason } = yield* Effect.flip(under(policy)(store.load("a")))
        assert.strictEqual(reason.description, "no permission")
        assert.isUndefined(reason.continueAs)
      }
    }).pipe(Effect.provide(layer(withStale))))

  it.effect("is answered as the policy of the route says, else as that of the store", () =>
    Effect.gen(function*() {
      const { begin, faults, store } = yield* setup
      yield* begin("a")
      faults.always(FaultStore.failBefore)
      assert.deepInclude(yield* store.load("a"), { _tag: "Live" })
      assert.isUndefined((yield* Effect.flip(under(OutagePolicy.fail)(store.load("a")))).reason.continueAs)
      const { reason } = yield* Effect.flip(under(OutagePolicy.anonymous)(store.load("a")))
      assert.strictEqual(reason.continueAs, "anonymous")
      const snapshot = yield* Metric.snapshot
      assert.strictEqual(metric("session.store.degraded", { policy: "StaleRead" })(snapshot), 1)
      assert.strictEqual(metric("session.store.degraded", { policy: "Anonymous" })(snapshot), 1)
    }).pipe(Effect.provide(layer(withStale))))
})

describe("stale reads", () => {
  it.effect("tell their age, end with it, and with the lifetime of the session", () =>
    Effect.gen(function*() {
      const { faults, store } = yield* setup
      yield* store.create(newRecord("a"))
      yield* store.create(newRecord("short", { idleTimeout: 5000 }))
      yield* TestClock.adjust("2 seconds")
      faults.always(FaultStore.failBefore)
      assert.deepInclude(yield* store.load("a"), { _tag: "Live", served: { _tag: "Stale", age: 2000 }, now: 2000 })
      yield* TestClock.adjust("3 seconds")
      yield* Effect.flip(store.load("short"))
      yield* TestClock.adjust("25 seconds")
      assert.deepInclude(yield* store.load("a"), { _tag: "Live" })
      yield* TestClock.adjust("1 millis")
      yield* Effect.flip(store.load("a"))
      yield* Effect.flip(store.load("never seen"))
    }).pipe(Effect.provide(layer(withStale))))

  it.effect("cannot be saved back, during the outage or after, and are not moved by others' changes", () =>
    Effect.gen(function*() {
      const { begin, faults, store } = yield* setup
      yield* begin("a")
      faults.always(FaultStore.failBefore)
      const lookup = yield* store.load("a")
      const version = lookup._tag === "Live" ? lookup.record.version : assert.fail()
      const refuse = Effect.gen(function*() {
        faults.forget()
        const save = yield* Effect.flip(store.save("a", version, change("stale")))
        const renew = yield* Effect.flip(store.renew("a", version, replacement("b")))
        for (const { reason } of [save, renew]) assert.deepInclude(reason, { problem: "readOnly", applied: "no" })
        assert.strictEqual(faults.count(), 0)
      })
      yield* refuse
      assert.isFalse(yield* store.touch("a"), "a read does not fail because its activity cannot be recorded")
      faults.heal()
      yield* refuse
      assert.deepInclude(yield* store.load("a"), { _tag: "Live" })
    }).pipe(Effect.provide(layer(withStale))))

  it.effect("are copies: nobody's change of a payload reaches the next reader", () =>
    Effect.gen(function*() {
      const { faults, store } = yield* setup
      yield* store.create(newRecord("a", { payload: Uint8Array.of(1, 2, 3) }))
      faults.always(FaultStore.failBefore)
      for (let i = 0; i < 2; i++) {
        const lookup = yield* store.load("a")
        const payload = lookup._tag === "Live" ? lookup.record.payload : assert.fail()
        assert.deepStrictEqual(payload, Uint8Array.of(1, 2, 3))
        if (typeof payload !== "string") payload.fill(9)
      }
    }).pipe(Effect.provide(layer(withStale))))

  it.effect("never serve a session that this process knows to be over", () =>
    Effect.gen(function*() {
      const { begin, faults, query, store } = yield* setup
      for (const key of ["destroyed", "failed", "renewed", "evicted", "revoked", "spared"]) {
        yield* begin(key, ["revoked", "spared"].includes(key) ? "ada" : key)
      }
      yield* store.destroy("destroyed")
      faults.next("destroy", FaultStore.failBefore)
      yield* Effect.flip(store.destroy("failed"))
      faults.next("renew", FaultStore.failAfter)
      yield* Effect.flip(store.renew("renewed", 1, replacement("successor")))
      yield* store.create(newRecord("other", { subject: "evicted" }), { max: 1, onLimit: "evict" })
      faults.next("destroyBySubject", FaultStore.failBefore)
      yield* Effect.flip(query.destroyBySubject("ada", { except: "spared" }))
      faults.always(FaultStore.failBefore)
      const served: Array<string> = []
      for (const key of ["destroyed", "failed", "renewed", "evicted", "revoked", "spared", "other"]) {
        const exit = yield* Effect.exit(store.load(key))
        if (Exit.isSuccess(exit) && exit.value._tag === "Live") served.push(key)
      }
      assert.deepStrictEqual(served, ["spared", "other"])
      faults.heal()
      yield* Stream.runDrain(query.clear)
      faults.always(FaultStore.failBefore)
      yield* Effect.flip(store.load("spared"))
    }).pipe(Effect.provide(layer({ ...withStale, recoveryCheck: "1 day" }))))

  it.effect("never serve a session that a write has ended whose answer was lost", () =>
    Effect.gen(function*() {
      const { begin, faults, store } = yield* setup
      const limit = { max: 1, onLimit: "evict" } as const
      for (const key of ["ada", "bob"]) yield* begin(`${key}-old`, key)
      yield* begin("anonymous")
      faults.next("renew", FaultStore.failAfter)
      const renewed = yield* within(
        "1 second",
        store.renew("anonymous", 1, replacement("ada-new", { subject: "ada", authenticated: true }), { limit })
      )
      faults.next("create", FaultStore.failAfter)
      const created = yield* within("1 second", store.create(newRecord("bob-new", { subject: "bob" }), limit))
      assert.isTrue(renewed && Exit.isSuccess(renewed) && created && Exit.isSuccess(created))
      faults.always(FaultStore.failBefore)
      for (const key of ["ada-old", "bob-old"]) {
        const exit = yield* within("1 second", store.load(key))
        assert.isTrue(exit && Exit.isFailure(exit), key)
      }
    }).pipe(Effect.provide(layer({ outage: stale, recoveryCheck: "1 day" }))))

  it.effect("are not brought back by a load that began before the end of the session", () =>
    Effect.gen(function*() {
      const { begin, faults, query, store } = yield* setup
      for (const [key, end] of [["a", store.destroy("a")], ["b", query.destroyBySubject("ada")]] as const) {
        yield* begin(key, "ada")
        const gate = yield* Deferred.make<void>()
        faults.next("load", FaultStore.followed(Deferred.await(gate)))
        const early = yield* Effect.forkChild(store.load(key), { startImmediately: true })
        yield* Effect.asVoid<unknown, SessionStoreError, never>(end)
        yield* Deferred.succeed(gate, undefined)
        assert.strictEqual((yield* Fiber.join(early))._tag, "Live")
        faults.next("load", FaultStore.failBefore)
        yield* Effect.flip(store.load(key))
      }
    }).pipe(Effect.provide(layer(withStale))))

  it.effect("never serve a session whose end was one of more than can be remembered", () =>
    Effect.gen(function*() {
      const { begin, faults, query, store } = yield* setup
      yield* begin("a", "ada")
      yield* begin("b", "ada")
      yield* begin("visitor")
      yield* query.destroyBySubject("ada", { except: "b" })
      for (const subject of numbers(20)) yield* query.destroyBySubject(`other ${subject}`)
      faults.always(FaultStore.failBefore)
      yield* Effect.flip(store.load("a"))
      assert.deepInclude(yield* store.load("visitor"), { _tag: "Live" })
    }).pipe(Effect.provide(layer({ ...withStale, maxCopies: 5 }))))

  it.effect("are not brought back by a load that began before more ends than can be remembered", () =>
    Effect.gen(function*() {
      const { begin, faults, query, store } = yield* setup
      const cases: ReadonlyArray<
        readonly [
          key: string,
          subject: string | undefined,
          end: (name: string) => Effect.Effect<unknown, SessionStoreError>
        ]
      > = [["a", undefined, store.destroy], ["b", "ada", (name) => query.destroyBySubject(name)]]
      for (const [key, subject, end] of cases) {
        yield* begin(key, subject)
        const gate = yield* Deferred.make<void>()
        faults.next("load", FaultStore.followed(Deferred.await(gate)))
        const early = yield* Effect.forkChild(store.load(key), { startImmediately: true })
        yield* end(subject ?? key)
        for (const other of numbers(20)) yield* end(`other ${other}`)
        yield* Deferred.succeed(gate, undefined)
        assert.strictEqual((yield* Fiber.join(early))._tag, "Live")
        faults.next("load", FaultStore.failBefore)
        yield* Effect.flip(store.load(key))
      }
    }).pipe(Effect.provide(layer({ ...withStale, maxCopies: 5 }))))

  it.effect("ask the list of revocations, and serve nobody when it cannot say", () =>
    Effect.gen(function*() {
      const { begin, faults, store } = yield* setup
      for (const key of ["live", "revoked", "unknown"]) yield* begin(key)
      faults.always(FaultStore.failBefore)
      assert.deepInclude(yield* store.load("live"), { _tag: "Live" })
      yield* Effect.flip(store.load("revoked"))
      yield* Effect.flip(store.load("unknown"))
    }).pipe(
      Effect.provide(
        layer(withStale).pipe(Layer.provide(Layer.succeed(Revocations, {
          subjectLifetime: 0,
          revoke: () => Effect.succeed(true),
          revokeSubject: () => Effect.succeed(0),
          epoch: () => Effect.succeed(undefined),
          isRevoked: ({ key }) =>
            key === "unknown"
              ? Effect.fail(new SessionStoreError({ reason: new StoreUnavailable({ description: "list" }) }))
              : Effect.succeed(key === "revoked")
        })))
      )
    ))

  it.effect("keep a bounded number of copies", () =>
    Effect.gen(function*() {
      const { begin, faults, store } = yield* setup
      for (const key of numbers(20)) yield* begin(key)
      faults.always(FaultStore.failBefore)
      const exits = yield* Effect.forEach(numbers(20), (key) => Effect.exit(store.load(key)))
      assert.deepStrictEqual(exits.map(Exit.isSuccess), numbers(20).map((_, i) => i >= 15))
    }).pipe(Effect.provide(layer({ ...withStale, maxCopies: 5 }))))

  it.effect("are not driven out by keys that nobody has", () =>
    Effect.gen(function*() {
      const { begin, faults, store, tag } = yield* setup
      for (const key of numbers(5)) yield* begin(key)
      for (const key of numbers(50)) assert.strictEqual(yield* tag(`stranger-${key}`), "Absent")
      faults.always(FaultStore.failBefore)
      for (const key of numbers(5)) assert.deepInclude(yield* store.load(key), { _tag: "Live" })
    }).pipe(Effect.provide(layer({ ...withStale, maxCopies: 5 }))))

  it.effect("that are written to are refused, which is counted", () =>
    Effect.gen(function*() {
      const { begin, faults, outcomes, store } = yield* setup
      yield* begin("a")
      faults.always(FaultStore.failBefore)
      yield* store.load("a")
      yield* Effect.flip(store.save("a", -1, change("x")))
      yield* Effect.flip(store.renew("a", -1, replacement("b")))
      assert.deepStrictEqual((yield* outcomes).slice(0, 2), ["readOnly", "readOnly"])
      for (const operation of ["save", "renew"]) {
        const counted = metric("session.store.operation_time", { operation, outcome: "readOnly" })
        assert.strictEqual(counted(yield* Metric.snapshot), 1)
      }
    }).pipe(Effect.provide(layer(withStale))))
})

describe("a fallback", () => {
  const withFallback = Effect.gen(function*() {
    const spare = yield* MemoryStore.make({ sweepInterval: "400 days" })
    const policy = OutagePolicy.fallback(spare.store, { name: "spare", query: spare.query })
    return { spare, policy }
  })

  it.effect("takes new sessions, leaves those of the store alone, and keeps what is its own afterwards", () =>
    Effect.gen(function*() {
      const { policy, spare } = yield* withFallback
      yield* Effect.gen(function*() {
        const { begin, faults, query, store, tag } = yield* setup
        yield* begin("home", "ada")
        faults.always(FaultStore.failBefore)
        yield* begin("guest", "ada")
        const guest = yield* store.load("guest")
        assert.deepInclude(guest, { _tag: "Live", served: { _tag: "Fallback", name: "spare" } })
        assert.strictEqual((yield* store.save("guest", 1, change("x")))._tag, "Saved")
        assert.isTrue(yield* store.touch("guest"))
        for (
          const write of [
            store.load("home"),
            store.save("home", 1, change("x")),
            store.touch("home"),
            store.renew("home", 1, replacement("new"))
          ]
        ) yield* Effect.flip(Effect.asVoid<unknown, SessionStoreError, never>(write))
        faults.heal()
        assert.deepInclude(yield* store.load("home"), { _tag: "Live" })
        assert.deepInclude(yield* store.load("guest"), { _tag: "Live", served: { _tag: "Fallback", name: "spare" } })
        assert.strictEqual((yield* store.save("guest", 2, change("y")))._tag, "Saved")
        assert.isTrue(yield* store.touch("guest"))
        assert.strictEqual((yield* store.renew("guest", 3, replacement("guest-2", { subject: "ada" })))._tag, "Renewed")
        assert.deepStrictEqual((yield* query.bySubject("ada")).map(({ key }) => key), ["home", "guest-2"])
        assert.deepStrictEqual(yield* query.destroyBySubject("ada"), ["home", "guest-2"])
        assert.strictEqual(yield* tag("guest-2"), "Absent")
        assert.strictEqual((yield* spare.store.load("guest-2"))._tag, "Absent")
      }).pipe(Effect.provide(layer({ ...once, outage: policy })))
    }))

  it.effect("ends sessions where they live, and both have to confirm", () =>
    Effect.gen(function*() {
      const { policy, spare } = yield* withFallback
      yield* Effect.gen(function*() {
        const { begin, faults, store } = yield* setup
        faults.always(FaultStore.failBefore)
        yield* begin("a")
        yield* begin("b")
        assert.isTrue(yield* store.destroy("a"))
        faults.heal()
        assert.isTrue(yield* store.destroy("b"))
        assert.isFalse(yield* store.destroy("b"))
        assert.strictEqual((yield* spare.store.load("b"))._tag, "Absent")
      }).pipe(Effect.provide(layer({ ...once, outage: policy })))
    }))

  it.effect("ends what was written down there too, before it is forgotten", () =>
    Effect.gen(function*() {
      const { policy, spare } = yield* withFallback
      yield* Effect.gen(function*() {
        const { begin, faults, resilience, store, tag } = yield* setup
        faults.always(FaultStore.failBefore)
        yield* begin("guest")
        // A route with a policy of its own does not ask the fallback.
        const { reason } = yield* Effect.flip(under(OutagePolicy.fail)(store.destroy("guest")))
        assert.isTrue(reason.queued)
        faults.heal()
        yield* TestClock.adjust("3 seconds")
        assert.strictEqual((yield* resilience.load).pendingDestroys, 0)
        assert.strictEqual(yield* tag("guest"), "Absent")
        assert.strictEqual((yield* spare.store.load("guest"))._tag, "Absent")
      }).pipe(Effect.provide(layer({ ...once, outage: policy })))
    }))

  it.effect("that is away too does not keep an end from being written down", () =>
    Effect.gen(function*() {
      const { spare } = yield* withFallback
      let away = false
      const policy = OutagePolicy.fallback(
        SessionStore.of({
          ...spare.store,
          destroy: (key) =>
            Effect.suspend(() =>
              away
                ? Effect.fail(new SessionStoreError({ reason: new StoreUnavailable({ description: "spare" }) }))
                : spare.store.destroy(key)
            )
        })
      )
      yield* Effect.gen(function*() {
        const { begin, faults, resilience, store, tag } = yield* setup
        yield* begin("home")
        faults.always(FaultStore.failBefore)
        yield* begin("guest")
        away = true
        for (const key of ["home", "guest"]) {
          assert.isTrue((yield* Effect.flip(store.destroy(key))).reason.queued)
        }
        faults.heal()
        yield* TestClock.adjust("3 seconds")
        assert.strictEqual((yield* resilience.load).pendingDestroys, 2)
        away = false
        yield* TestClock.adjust("3 seconds")
        assert.strictEqual((yield* resilience.load).pendingDestroys, 0)
        for (const key of ["home", "guest"]) assert.strictEqual(yield* tag(key), "Absent")
      }).pipe(Effect.provide(layer({ ...once, outage: policy })))
    }))
})

describe("a logout during an outage", () => {
  it.effect("fails loudly, is over for this process at once, and is ended in the store when it is back", () => {
    const logged: Array<string> = []
    return Effect.gen(function*() {
      const { begin, faults, query, resilience, store, tag } = yield* setup
      yield* begin("secret-key", "ada")
      faults.always(FaultStore.failBefore)
      const { reason } = yield* Effect.flip(store.destroy("secret-key"))
      assert.deepInclude(reason, { queued: true, applied: "no" })
      assert.lengthOf(logged, 1)
      assert.notInclude(logged[0], "secret-key")
      assert.strictEqual((yield* resilience.load).pendingDestroys, 1)
      faults.heal()
      faults.forget()
      assert.strictEqual(yield* tag("secret-key"), "Absent")
      assert.strictEqual((yield* store.save("secret-key", 1, change("x")))._tag, "Gone")
      assert.strictEqual((yield* store.renew("secret-key", 1, replacement("b")))._tag, "Gone")
      assert.isFalse(yield* store.touch("secret-key"))
      assert.strictEqual(faults.count(), 0)
      assert.deepStrictEqual(yield* query.bySubject("ada"), [])
      assert.deepStrictEqual(yield* Stream.runCollect(query.scan), [])
      yield* TestClock.adjust("2 seconds")
      assert.strictEqual((yield* resilience.load).pendingDestroys, 0)
      assert.strictEqual(faults.count("destroy"), 1)
      assert.strictEqual(yield* tag("secret-key"), "Absent")
      assert.strictEqual(faults.count("load"), 1, "the store is asked again")
      const snapshot = yield* Metric.snapshot
      for (const event of ["queued", "confirmed"]) {
        assert.strictEqual(metric("session.store.pending_destroy", { event })(snapshot), 1)
      }
      yield* TestClock.adjust("1 hour")
      assert.strictEqual(faults.count("destroy"), 1)
    }).pipe(
      Effect.provide(layer(once)),
      Effect.provide(Logger.layer([Logger.make(({ cause, message }) => {
        logged.push(inspect([message, cause]))
      })]))
    )
  })

  it.effect("is one for an id that was renewed away, too", () =>
    Effect.gen(function*() {
      const { begin, faults, store, tag } = yield* setup
      yield* begin("old")
      yield* store.renew("old", 1, replacement("new"), { grace: 60_000 })
      faults.always(FaultStore.failBefore, "destroy")
      yield* Effect.flip(store.destroy("new"))
      assert.deepStrictEqual([yield* tag("new"), yield* tag("old")], ["Absent", "Absent"])
    }).pipe(Effect.provide(layer(once))))

  it.effect("is refused, and nothing is written down, where the application says so or too many wait", () =>
    Effect.gen(function*() {
      for (const options of [{ onDestroyFailed: "refuse" }, { maxPendingDestroys: 0 }] as const) {
        yield* Effect.gen(function*() {
          const { begin, faults, resilience, store, tag } = yield* setup
          yield* begin("a")
          faults.next("destroy", FaultStore.failBefore)
          assert.isUndefined((yield* Effect.flip(store.destroy("a"))).reason.queued)
          assert.strictEqual((yield* resilience.load).pendingDestroys, 0)
          assert.strictEqual(yield* tag("a"), "Live")
        }).pipe(Effect.provide(layer({ ...once, ...options }), { local: true }))
      }
    }))

  it.effect("is given up after a stated time, and that is said", () =>
    Effect.gen(function*() {
      const { faults, resilience, store } = yield* setup
      faults.always(FaultStore.failBefore)
      yield* Effect.flip(store.destroy("a"))
      yield* TestClock.adjust("59 seconds")
      assert.strictEqual((yield* resilience.load).pendingDestroys, 1)
      yield* TestClock.adjust("3 seconds")
      assert.strictEqual((yield* resilience.load).pendingDestroys, 0)
      assert.strictEqual(metric("session.store.pending_destroy", { event: "abandoned" })(yield* Metric.snapshot), 1)
    }).pipe(Effect.provide(layer({ ...once, pendingDestroyAge: "1 minute" }))))
})

describe("shutdown", () => {
  const open = Effect.gen(function*() {
    const scope = yield* Scope.make()
    const context = yield* Layer.buildWithScope(layer({ ...once, shutdown: "2 seconds" }), scope)
    return { scope, parts: yield* Effect.provide(setup, context) }
  })

  it.effect("takes nothing new, and lets what is under way finish", () =>
    Effect.gen(function*() {
      const { parts: { begin, faults, store }, scope } = yield* open
      yield* begin("a")
      faults.next("save", FaultStore.latency("300 millis"))
      const save = yield* Effect.forkChild(store.save("a", 1, change("x")), { startImmediately: true })
      const closing = yield* Effect.forkChild(Scope.close(scope, Exit.void), { startImmediately: true })
      assert.strictEqual((yield* Effect.flip(store.load("a"))).reason.problem, "closing")
      assert.isUndefined(closing.pollUnsafe())
      yield* TestClock.adjust("300 millis")
      assert.strictEqual((yield* Fiber.join(save))._tag, "Saved")
      assert.isDefined(closing.pollUnsafe())
      yield* Scope.close(scope, Exit.void)
    }))

  it.effect("with a store that is frozen fails what is under way within its limit", () =>
    Effect.gen(function*() {
      const { parts: { faults, store }, scope } = yield* open
      faults.always(FaultStore.hang)
      const save = yield* Effect.forkChild(Effect.exit(store.save("a", 1, change("x"))), { startImmediately: true })
      const destroy = yield* Effect.forkChild(Effect.exit(store.destroy("b")), { startImmediately: true })
      yield* TestClock.adjust("900 millis")
      const closing = yield* Effect.forkChild(Scope.close(scope, Exit.void), { startImmediately: true })
      yield* TestClock.adjust("100 millis")
      assert.deepInclude(reasonOf(yield* Fiber.join(save)), { applied: "unknown" })
      assert.deepInclude(reasonOf(yield* Fiber.join(destroy)), { queued: true })
      yield* TestClock.adjust("2 seconds")
      assert.isDefined(closing.pollUnsafe())
    }))

  it.effect("cuts a call short that has more time than the shutdown", () =>
    Effect.gen(function*() {
      const scope = yield* Scope.make()
      const context = yield* Layer.buildWithScope(
        layer({ ...once, deadline: "1 minute", shutdown: "2 seconds" }),
        scope
      )
      const { faults, store } = yield* Effect.provide(setup, context)
      faults.always(FaultStore.hang)
      const save = yield* Effect.forkChild(Effect.exit(store.save("a", 1, change("x"))), { startImmediately: true })
      yield* Effect.forkChild(Scope.close(scope, Exit.void), { startImmediately: true })
      yield* TestClock.adjust("1 second")
      assert.deepInclude(reasonOf(save.pollUnsafe()?._tag === "Success" ? yield* Fiber.join(save) : undefined), {
        problem: "closing",
        applied: "unknown"
      })
    }))

  it.effect("turns away who waits for a place, and asks the store for nothing more", () =>
    Effect.gen(function*() {
      const scope = yield* Scope.make()
      const context = yield* Layer.buildWithScope(
        layer({ ...once, maxInFlight: 1, deadline: "1 minute", shutdown: "2 seconds" }),
        scope
      )
      const { faults, store } = yield* Effect.provide(setup, context)
      faults.always(FaultStore.hang)
      const under = yield* Effect.forkChild(Effect.exit(store.load("a")), { startImmediately: true })
      const waiting = yield* Effect.forEach(
        numbers(3),
        (key) => Effect.forkChild(Effect.flip(store.load(`w${key}`)), { startImmediately: true })
      )
      const closing = yield* Effect.forkChild(Scope.close(scope, Exit.void), { startImmediately: true })
      for (const fiber of waiting) assert.strictEqual((yield* Fiber.join(fiber)).reason.problem, "closing")
      yield* TestClock.adjust("1 second")
      assert.strictEqual(reasonOf(yield* Fiber.join(under))?.problem, "closing")
      yield* Fiber.join(closing)
      assert.strictEqual(faults.count(), 1)
    }))

  it.effect("tries once more to end what waits for the store", () =>
    Effect.gen(function*() {
      const { parts: { begin, faults, store }, scope } = yield* open
      yield* begin("a")
      faults.next("destroy", FaultStore.failBefore)
      yield* Effect.flip(store.destroy("a"))
      faults.forget()
      yield* Scope.close(scope, Exit.void)
      assert.strictEqual(faults.count("destroy"), 1)
    }))
})

describe("layers", () => {
  it.effect("over a layer keep its other services, and decorate the store above which they stand", () =>
    Effect.gen(function*() {
      const { begin, resilience } = yield* setup
      yield* begin("a")
      assert.strictEqual((yield* (yield* MemoryStore.MemoryStore).stats).total, 1)
      assert.lengthOf(yield* resilience.recent, 1)
    }).pipe(Effect.provide(layer())))

  it.effect("read their numbers from the configuration", () =>
    Effect.gen(function*() {
      const store = yield* SessionStore
      const faults = yield* FaultStore.FaultStore
      faults.always(FaultStore.hang)
      assert.isUndefined(yield* within("49 millis", store.load("a")))
      assert.strictEqual(reasonOf(yield* within("50 millis", store.load("a")))?.problem, "timeout")
      yield* store.load("a").pipe(Effect.flip, Effect.forkChild({ startImmediately: true }))
      yield* TestClock.adjust("50 millis")
      assert.strictEqual((yield* Effect.flip(store.load("a"))).reason.problem, "circuitOpen")
    }).pipe(
      Effect.provide(
        Resilience.layerConfig({ deadline: Config.Duration("DEADLINE") }, { tripPolicy: CircuitBreaker.consecutive(2) })
          .pipe(Layer.provideMerge(FaultStore.over(MemoryStore.layerStore())))
      ),
      Effect.provide(ConfigProvider.layer(ConfigProvider.fromUnknown({ DEADLINE: "50 millis" })))
    ))
})
