import { ClusterStore, Invalidation, type InvalidationError } from "@effect-session/cluster"
import { SessionStore } from "@effect-session/core"
import { assert, describe, it } from "@effect/vitest"
import { Deferred, Effect, Exit, Fiber, Metric, Stream } from "effect"
import { TestClock } from "effect/testing"
import { AsyncLocalStorage } from "node:async_hooks"
import * as Nodes from "./Nodes.ts"

type Store = SessionStore.SessionStore["Service"]

const record = (key: string, fields?: Partial<SessionStore.NewRecord>) =>
  Nodes.newRecord(key, { subject: undefined, payload: "first", ...fields })

const change = (payload: SessionStore.Payload): SessionStore.RecordChange => ({
  format: 1,
  payload,
  idleTimeout: 600_000,
  lifetime: undefined,
  active: true
})

const outage = new SessionStore.SessionStoreError({
  reason: new SessionStore.StoreUnavailable({ description: "scripted" })
})

/** Counts loads, and lets each wait for something first or last. */
const counted = () => {
  const script = {
    loads: 0,
    before: Effect.void as Effect.Effect<void, SessionStore.SessionStoreError>,
    after: Effect.void as Effect.Effect<void, SessionStore.SessionStoreError>
  }
  const around = (store: Store): Store => ({
    ...store,
    load: (key, options) =>
      Effect.suspend(() => {
        script.loads++
        return Effect.tap(Effect.andThen(script.before, store.load(key, options)), () => script.after)
      })
  })
  return { script, around }
}

const payloadOf = (lookup: SessionStore.Lookup) => lookup._tag === "Live" ? lookup.record.payload : lookup._tag

describe("reads", () => {
  it.effect("a copy answers until it is 30 seconds old, each one up to a tenth earlier", () =>
    Effect.gen(function*() {
      const { around, script } = counted()
      const { nodes: [{ cluster, store }] } = yield* Nodes.make(1, {}, around)
      yield* store.create(record("key"))
      yield* TestClock.adjust("26 seconds")
      assert.strictEqual(payloadOf(yield* store.load("key")), "first")
      assert.strictEqual(script.loads, 0)
      yield* TestClock.adjust("4 seconds")
      yield* store.load("key")
      assert.strictEqual(script.loads, 1)
      const stats = yield* cluster.stats
      assert.deepInclude(stats, { hits: 1, misses: 1, expirations: 1, fills: 2, hitRate: 0.5, size: 1, trusted: true })
      assert.deepStrictEqual(stats.ages.filter(({ hits }) => hits > 0), [{ upTo: 30_000, hits: 1 }])
    }))

  it.effect("copies made at once are given up one after the other", () =>
    Effect.gen(function*() {
      const { around, script } = counted()
      const { nodes: [{ store }] } = yield* Nodes.make(1, {}, around)
      const keys = Array.from({ length: 200 }, (_, i) => `key-${i}`)
      for (const key of keys) yield* store.create(record(key))
      yield* TestClock.adjust("28500 millis")
      for (const key of keys) yield* store.load(key)
      assert.isAbove(script.loads, 50)
      assert.isBelow(script.loads, 150)
    }))

  it.effect("a session that runs out while it is cached is expired at its deadline", () =>
    Effect.gen(function*() {
      const { nodes: [a, b] } = yield* Nodes.make(2)
      yield* a.store.create(record("idle", { idleTimeout: 5000 }))
      yield* a.store.create(record("absolute", { lifetime: 5000 }))
      yield* TestClock.adjust(4999)
      for (const node of [a, b]) {
        assert.strictEqual(payloadOf(yield* node.store.load("idle")), "first")
        assert.strictEqual(payloadOf(yield* node.store.load("absolute")), "first")
      }
      yield* TestClock.adjust(1)
      for (const node of [a, b]) {
        for (const key of ["idle", "absolute"]) {
          assert.include(["Expired", "Absent"], (yield* node.store.load(key))._tag)
        }
      }
    }))

  it.effect("activity on one node keeps a session alive on another that has an older copy", () =>
    Effect.gen(function*() {
      const { nodes: [a, b] } = yield* Nodes.make(2)
      yield* a.store.create(record("key", { idleTimeout: 5000 }))
      yield* b.store.load("key")
      yield* TestClock.adjust(4000)
      yield* a.store.touch("key")
      yield* TestClock.adjust(4000)
      assert.strictEqual((yield* b.store.load("key"))._tag, "Live")
    }))

  it.effect("what a reader changes is not seen by the next one", () =>
    Effect.gen(function*() {
      const { nodes: [{ store }] } = yield* Nodes.make(1)
      yield* store.create(record("bytes", { payload: Uint8Array.of(1, 2, 3) }))
      yield* store.create(record("text"))
      for (let i = 0; i < 3; i++) {
        const lookup = yield* store.load("bytes")
        const payload = payloadOf(lookup)
        assert.deepStrictEqual(payload, Uint8Array.of(1, 2, 3))
        if (typeof payload !== "string") payload.fill(9)
        const text = yield* store.load("text")
        if (text._tag !== "Live") return assert.fail("not live")
        assert.isTrue(Object.isFrozen(text.record))
      }
    }))

  it.effect("failures are not cached", () =>
    Effect.gen(function*() {
      const { around, script } = counted()
      const { nodes: [{ store }], store: below } = yield* Nodes.make(1, {}, around)
      yield* below.create(record("key"))
      script.before = Effect.fail(outage)
      assert.strictEqual(yield* Effect.flip(store.load("key")), outage)
      script.before = Effect.void
      assert.strictEqual((yield* store.load("key"))._tag, "Live")
    }))

  it.effect("absence is cached for a second, and cleared by a create and a renewal on another node", () =>
    Effect.gen(function*() {
      const { around, script } = counted()
      const { nodes: [a, b] } = yield* Nodes.make(2, {}, around)
      for (const key of ["created", "renewed"]) {
        assert.strictEqual((yield* b.store.load(key))._tag, "Absent")
        assert.strictEqual((yield* b.store.load(key))._tag, "Absent")
      }
      assert.strictEqual(script.loads, 2)
      yield* a.store.create(record("created"))
      assert.strictEqual((yield* b.store.load("created"))._tag, "Live")
      yield* a.store.renew("created", 1, {
        key: "renewed",
        format: 1,
        payload: "second",
        subject: undefined,
        idleTimeout: 1000,
        lifetime: undefined,
        authenticated: false
      })
      assert.strictEqual((yield* b.store.load("renewed"))._tag, "Live")
      assert.strictEqual((yield* b.store.load("created"))._tag, "Absent")
      yield* b.store.load("missing")
      const before = script.loads
      yield* TestClock.adjust("1 second")
      yield* b.store.load("missing")
      assert.strictEqual(script.loads, before + 1)
    }))

  it.effect("a read on demand asks the store, and everybody else has what it found", () =>
    Effect.gen(function*() {
      const { around, script } = counted()
      const { nodes: [{ cluster, store }], store: below } = yield* Nodes.make(1, {}, around)
      yield* store.create(record("key"))
      yield* below.save("key", 1, change("second"))
      assert.strictEqual(payloadOf(yield* store.load("key")), "first")
      const fresh = Effect.provideService(store.load("key"), ClusterStore.Fresh, true)
      assert.strictEqual(payloadOf(yield* fresh), "second")
      assert.strictEqual(payloadOf(yield* store.load("key")), "second")
      assert.strictEqual(payloadOf(yield* cluster.fresh("key")), "second")
      assert.strictEqual(script.loads, 2)
    }))
})

describe("single flight", () => {
  it.effect("4,000 reads of 10 keys that miss ask the store 10 times", () =>
    Effect.gen(function*() {
      const { around, script } = counted()
      const { nodes: [{ cluster, store }], store: below } = yield* Nodes.make(1, {}, around)
      script.before = Effect.sleep(10)
      const keys = Array.from({ length: 10 }, (_, i) => `key${i}`)
      for (const key of keys) yield* below.create(record(key))
      const reads = yield* Effect.forkChild(
        Effect.forEach(Array.from({ length: 4000 }, (_, i) => keys[i % 10]), (key) => store.load(key), {
          concurrency: "unbounded"
        })
      )
      yield* TestClock.adjust(10)
      assert.isTrue((yield* Fiber.join(reads)).every((lookup) => lookup._tag === "Live"))
      assert.strictEqual(script.loads, 10)
      assert.strictEqual((yield* cluster.stats).joined, 3990)
    }))

  it.effect("who began a read may be interrupted, and the others have the answer", () =>
    Effect.gen(function*() {
      const { around, script } = counted()
      const { nodes: [{ store }], store: below } = yield* Nodes.make(1, {}, around)
      yield* below.create(record("key"))
      script.before = Effect.sleep(10)
      const first = yield* Effect.forkChild(store.load("key"), { startImmediately: true })
      const second = yield* Effect.forkChild(store.load("key"), { startImmediately: true })
      yield* TestClock.adjust(5)
      yield* Fiber.interrupt(first)
      yield* TestClock.adjust(5)
      assert.strictEqual((yield* Fiber.join(second))._tag, "Live")
      assert.strictEqual(script.loads, 1)
    }))

  it.effect("a read that fails is tried once more for those who joined it, together", () =>
    Effect.gen(function*() {
      const { around, script } = counted()
      const { nodes: [{ store }], store: below } = yield* Nodes.make(1, {}, around)
      yield* below.create(record("key"))
      script.before = Effect.andThen(Effect.sleep(10), Effect.fail(outage))
      const reads = yield* Effect.forEach(
        Array.from({ length: 50 }),
        () => Effect.forkChild(Effect.exit(store.load("key")), { startImmediately: true })
      )
      yield* TestClock.adjust(9)
      script.before = Effect.void
      yield* TestClock.adjust(1)
      const exits = yield* Effect.forEach(reads, Fiber.join)
      assert.isTrue(Exit.isFailure(exits[0]))
      assert.isTrue(exits.slice(1).every(Exit.isSuccess))
      assert.strictEqual(script.loads, 2)
    }))

  it.live("who waits keeps the asynchronous context of its own request", () =>
    Effect.gen(function*() {
      const { around, script } = counted()
      const { nodes: [{ store }], store: below } = yield* Nodes.make(1, {}, around)
      yield* below.create(record("key"))
      const request = new AsyncLocalStorage<string>()
      const seenBelow: Array<string | undefined> = []
      script.before = Effect.andThen(
        Effect.sync(() => seenBelow.push(request.getStore())),
        Effect.sleep(5)
      )
      const handle = (name: string) =>
        request.run(name, () => Effect.runPromise(Effect.map(store.load("key"), () => request.getStore())))
      const seen = yield* Effect.promise(() => Promise.all(["one", "two", "three"].map(handle)))
      assert.deepStrictEqual(seen, ["one", "two", "three"])
      assert.deepStrictEqual(seenBelow, [undefined])
    }))
})

describe("a slow read", () => {
  const overtaken = (
    what: string,
    prepare: (node: Nodes.Node) => Effect.Effect<unknown, SessionStore.SessionStoreError>,
    overtake: (
      a: Nodes.Node,
      b: Nodes.Node
    ) => Effect.Effect<unknown, SessionStore.SessionStoreError | InvalidationError.InvalidationError>
  ) =>
    it.effect(`does not bring back what ${what} meanwhile`, () =>
      Effect.gen(function*() {
        const { around, script } = counted()
        const { nodes: [a, b] } = yield* Nodes.make(2, {}, around)
        yield* prepare(a)
        yield* a.cluster.clear
        const [arrived, released] = [yield* Deferred.make<void>(), yield* Deferred.make<void>()]
        script.after = Effect.andThen(Deferred.succeed(arrived, undefined), Deferred.await(released))
        const slow = yield* Effect.forkChild(b.store.load("key"), { startImmediately: true })
        yield* Deferred.await(arrived)
        script.after = Effect.void
        yield* overtake(a, b)
        // Whoever asks from now on does not get the old answer either.
        const later = yield* b.store.load("key")
        yield* Deferred.succeed(released, undefined)
        assert.strictEqual(payloadOf(yield* Fiber.join(slow)), "first")
        assert.notStrictEqual(payloadOf(later), "first")
        assert.notStrictEqual(payloadOf(yield* b.store.load("key")), "first")
      }))

  const create = (node: Nodes.Node) => node.store.create(record("key", { subject: "ada" }))
  overtaken("was destroyed on another node", create, (a) => a.store.destroy("key"))
  overtaken("was destroyed on this node", create, (_, b) => b.store.destroy("key"))
  overtaken("was saved on another node", create, (a) => a.store.save("key", 1, change("second")))
  overtaken("was saved on this node", create, (_, b) => b.store.save("key", 1, change("second")))
  overtaken("was revoked with its subject", create, (a) => a.query.destroyBySubject("ada"))
  overtaken("was cleared", create, (a) => Stream.runDrain(a.query.clear))
  overtaken("ended where a predicate held", create, (a) => Stream.runDrain(a.query.destroyWhere(() => true)))
})

describe("writes", () => {
  it.effect("a write confirmed after the session was ended elsewhere leaves no copy behind", () =>
    Effect.gen(function*() {
      const [arrived, released] = [yield* Deferred.make<void>(), yield* Deferred.make<void>()]
      const { nodes: [a, b] } = yield* Nodes.make(2, {}, (store) => ({
        ...store,
        save: (key, version, change) =>
          Effect.tap(
            store.save(key, version, change),
            () => Effect.andThen(Deferred.succeed(arrived, undefined), Deferred.await(released))
          )
      }))
      yield* a.store.create(record("key"))
      const saving = yield* Effect.forkChild(a.store.save("key", 1, change("second")), { startImmediately: true })
      yield* Deferred.await(arrived)
      yield* b.store.destroy("key")
      yield* Deferred.succeed(released, undefined)
      assert.strictEqual((yield* Fiber.join(saving))._tag, "Saved")
      assert.isUndefined(yield* a.cluster.age("key"))
      assert.strictEqual((yield* a.store.load("key"))._tag, "Absent")
    }))

  it.effect("a write on a copy that is too old is a conflict, and the next read is fresh", () =>
    Effect.gen(function*() {
      const { nodes: [{ store }], store: below } = yield* Nodes.make(1)
      yield* store.create(record("key"))
      yield* below.save("key", 1, change("second"))
      assert.strictEqual(payloadOf(yield* store.load("key")), "first")
      assert.strictEqual((yield* store.save("key", 1, change("lost")))._tag, "Conflict")
      assert.strictEqual(payloadOf(yield* store.load("key")), "second")
    }))

  it.effect("no update is lost where many nodes count up from copies that may be old", () =>
    Effect.gen(function*() {
      // Every third message is lost, and nobody notices.
      let sent = 0
      const { nodes, store: below } = yield* Nodes.make(5, {}, undefined, (bus) => ({
        ...bus,
        sendUnsafe: (frame) => ++sent % 3 === 0 || bus.sendUnsafe(frame)
      }))
      yield* nodes[0].store.create(record("key", { payload: "0" }))
      const increment = (store: Store): Effect.Effect<void, SessionStore.SessionStoreError> =>
        Effect.gen(function*() {
          while (true) {
            const lookup = yield* store.load("key")
            if (lookup._tag !== "Live") return assert.fail("not live")
            yield* Effect.yieldNow
            const saved = yield* store.save(
              "key",
              lookup.record.version,
              change(String(Number(lookup.record.payload) + 1))
            )
            if (saved._tag === "Saved") return
          }
        })
      yield* Effect.forEach(
        Array.from({ length: 200 }, (_, i) => nodes[i % 5].store),
        increment,
        { concurrency: "unbounded" }
      )
      assert.strictEqual(payloadOf(yield* below.load("key")), "200")
    }))

  it.effect("a write whose outcome nobody knows is not read from a copy, here or elsewhere", () =>
    Effect.gen(function*() {
      let lost = false
      const { nodes: [a, b] } = yield* Nodes.make(2, {}, (store) => ({
        ...store,
        save: (key, version, change) =>
          Effect.flatMap(
            store.save(key, version, change),
            (saved) => lost ? Effect.fail(outage) : Effect.succeed(saved)
          ),
        destroy: (key) =>
          Effect.flatMap(store.destroy(key), (live) => lost ? Effect.fail(outage) : Effect.succeed(live))
      }))
      yield* a.store.create(record("key"))
      yield* b.store.load("key")
      lost = true
      yield* Effect.flip(a.store.save("key", 1, change("second")))
      for (const { store } of [a, b]) assert.strictEqual(payloadOf(yield* store.load("key")), "second")
      yield* Effect.flip(a.store.destroy("key"))
      for (const { store } of [a, b]) assert.strictEqual((yield* store.load("key"))._tag, "Absent")
    }))

  it.effect("ending a session by an earlier key ends the copies of the one it became", () =>
    Effect.gen(function*() {
      const { nodes: [a, b, c] } = yield* Nodes.make(3)
      const renewal = (key: string) => ({
        key,
        format: 1,
        payload: key,
        subject: undefined,
        idleTimeout: 600_000,
        lifetime: undefined,
        authenticated: false
      })
      yield* a.store.create(record("one"))
      yield* b.store.renew("one", 1, renewal("two"), { grace: 60_000 })
      yield* a.store.renew("two", 1, renewal("three"), { grace: 60_000 })
      for (const node of [a, b, c]) assert.strictEqual(payloadOf(yield* node.store.load("three")), "three")
      assert.isTrue(yield* c.store.destroy("one"))
      for (const node of [a, b, c]) assert.strictEqual((yield* node.store.load("three"))._tag, "Absent")
    }))

  it.effect("a sign-in that evicts others ends their copies on every node", () =>
    Effect.gen(function*() {
      const { nodes: [a, b] } = yield* Nodes.make(2)
      yield* a.store.create(record("one", { subject: "ada" }))
      yield* b.store.load("one")
      yield* a.store.create(record("two", { subject: "ada" }), { max: 1, onLimit: "evict" })
      assert.strictEqual((yield* b.store.load("one"))._tag, "Absent")
      assert.strictEqual((yield* a.store.load("one"))._tag, "Absent")
    }))

  it.effect("revoking a subject ends the copies of its sessions and no others", () =>
    Effect.gen(function*() {
      const { around, script } = counted()
      const { nodes: [a, b] } = yield* Nodes.make(2, {}, around)
      yield* a.store.create(record("ada", { subject: "ada" }))
      yield* a.store.create(record("bob", { subject: "bob" }))
      for (const key of ["ada", "bob"]) yield* b.store.load(key)
      yield* a.query.destroyBySubject("ada")
      const before = script.loads
      assert.strictEqual((yield* b.store.load("bob"))._tag, "Live")
      assert.strictEqual(script.loads, before)
      assert.strictEqual((yield* b.store.load("ada"))._tag, "Absent")
    }))
})

describe("what cannot be told", () => {
  const cut = () => {
    const wire = { closed: false }
    return {
      wire,
      wires: (bus: Invalidation.MemoryBus["Service"], node: number): Invalidation.MemoryBus["Service"] =>
        node === 0 ? { ...bus, sendUnsafe: (frame) => !wire.closed && bus.sendUnsafe(frame) } : bus
    }
  }
  const channel = { heartbeat: "1 second" } as const

  it.effect("makes the end of a session fail; the store has ended it, and to call again tells the others", () =>
    Effect.gen(function*() {
      const { wire, wires } = cut()
      const { nodes: [a, b] } = yield* Nodes.make(2, { channel }, undefined, wires)
      yield* TestClock.adjust("2 seconds")
      yield* a.store.create(record("key"))
      yield* b.store.load("key")
      wire.closed = true
      const error = yield* Effect.flip(a.store.destroy("key"))
      assert.match(error.message, /could not be told/)
      assert.strictEqual((yield* a.store.load("key"))._tag, "Absent")
      assert.strictEqual((yield* b.store.load("key"))._tag, "Live")
      wire.closed = false
      assert.isFalse(yield* a.store.destroy("key"))
      assert.strictEqual((yield* b.store.load("key"))._tag, "Absent")
      assert.strictEqual((yield* a.cluster.stats).publishFailures, 1)
    }))

  it.effect("shortens the copies of all others if so configured, within the bound", () =>
    Effect.gen(function*() {
      const { wire, wires } = cut()
      const { nodes: [a, b] } = yield* Nodes.make(
        2,
        { channel, cache: { onPublishFailed: "shorten" } },
        undefined,
        wires
      )
      yield* TestClock.adjust("2 seconds")
      yield* a.store.create(record("key"))
      yield* b.store.load("key")
      wire.closed = true
      assert.isTrue(yield* a.store.destroy("key"))
      yield* TestClock.adjust(Invalidation.faultyBound)
      assert.strictEqual((yield* b.store.load("key"))._tag, "Absent")
      assert.strictEqual((yield* a.cluster.stats).publishFailures, 1)
      assert.isFalse((yield* a.cluster.stats).trusted)
      yield* a.store.create(record("later"))
      yield* TestClock.adjust("50 seconds")
      assert.match((yield* Effect.flip(a.store.destroy("later"))).message, /could not be told/)
    }))

  it.effect("never fails a save, which the store has confirmed", () =>
    Effect.gen(function*() {
      const { wire, wires } = cut()
      const { nodes: [a] } = yield* Nodes.make(1, { channel }, undefined, wires)
      yield* TestClock.adjust("2 seconds")
      yield* a.store.create(record("key"))
      wire.closed = true
      assert.strictEqual((yield* a.store.save("key", 1, change("second")))._tag, "Saved")
      assert.strictEqual((yield* a.cluster.stats).publishFailures, 1)
    }))
})

describe("bounds", () => {
  it.effect("keeps so many copies and bytes, those used last", () =>
    Effect.gen(function*() {
      const { nodes: [{ cluster, store }] } = yield* Nodes.make(1, { cache: { maxEntries: 100, maxBytes: 20_000 } })
      for (let i = 0; i < 1000; i++) {
        yield* store.create(record(`key${i}`))
        yield* store.load("key0")
      }
      const { bytes, evictions, size } = yield* cluster.stats
      assert.isAtMost(bytes, 20_000)
      assert.isAtMost(size, 100)
      assert.strictEqual(evictions, 1000 - size)
      assert.isDefined(yield* cluster.age("key0"))
      assert.isDefined(yield* cluster.age("key999"))
      assert.isUndefined(yield* cluster.age("key1"))
    }))

  it.effect("copies that nobody asks for go when they are old, two with each new one", () =>
    Effect.gen(function*() {
      const { nodes: [{ cluster, store }] } = yield* Nodes.make(1)
      for (let i = 0; i < 1000; i++) yield* store.create(record(`old${i}`))
      yield* TestClock.adjust("20 seconds")
      yield* store.load("old0")
      yield* store.create(record("young"))
      assert.strictEqual((yield* cluster.stats).size, 1001)
      yield* TestClock.adjust("10 seconds")
      for (let i = 0; i < 400; i++) yield* store.create(record(`new${i}`))
      const { evictions, expirations, size } = yield* cluster.stats
      assert.strictEqual(size, 601)
      assert.strictEqual(expirations, 800)
      assert.strictEqual(evictions, 0)
      for (let i = 400; i < 600; i++) yield* store.create(record(`new${i}`))
      assert.strictEqual((yield* cluster.stats).size, 601)
      for (const key of ["young", "new0", "new599"]) assert.isDefined(yield* cluster.age(key))
    }))

  it.effect("many flushes in a row turn the cache off for a while, and stale copies are never served", () =>
    Effect.gen(function*() {
      const { around, script } = counted()
      const { nodes: [a, b], store: below } = yield* Nodes.make(2, {}, around)
      yield* a.store.create(record("key"))
      for (let i = 0; i < 50; i++) {
        yield* a.invalidation.publish({ _tag: "Flush" })
        yield* b.store.load("key")
      }
      assert.isAtMost((yield* b.cluster.stats).flushes, 10)
      yield* below.destroy("key")
      yield* a.invalidation.publish({ _tag: "Flush" })
      assert.strictEqual((yield* b.store.load("key"))._tag, "Absent")
      yield* TestClock.adjust("2 seconds")
      yield* a.store.create(record("other"))
      yield* b.store.load("other")
      const before = script.loads
      yield* b.store.load("other")
      assert.strictEqual(script.loads, before)
    }))

  it("refuses what contradicts itself", () => {
    assert.throws(() => ClusterStore.layer({ localTtl: 0 }), RangeError)
    assert.throws(() => ClusterStore.layer({ localTtl: "1 second", absentTtl: "2 seconds" }), RangeError)
    assert.throws(() => ClusterStore.layer({ maxEntries: 0 }), RangeError)
    assert.throws(() => ClusterStore.layer({ maxBytes: 0.5 }), RangeError)
  })
})

describe("on one node", () => {
  it.effect("evict and clear drop copies, and say nothing to the others", () =>
    Effect.gen(function*() {
      const { nodes: [a, b] } = yield* Nodes.make(2)
      yield* a.store.create(record("key"))
      yield* b.store.load("key")
      assert.isTrue(yield* a.cluster.evict("key"))
      assert.isFalse(yield* a.cluster.evict("key"))
      yield* a.store.load("key")
      yield* a.cluster.clear
      assert.strictEqual((yield* a.cluster.stats).size, 0)
      assert.strictEqual((yield* b.cluster.stats).size, 1)
    }))

  it.effect("what is counted shows as metrics", () =>
    Effect.gen(function*() {
      const { nodes: [{ store }] } = yield* Nodes.make(1, { cache: { name: "metrics-test" } })
      yield* store.create(record("key"))
      yield* store.load("key")
      yield* store.load("missing")
      yield* TestClock.adjust("5 seconds")
      const of = (id: string) =>
        Effect.map(Metric.snapshot, (all) =>
          all.filter((metric) =>
            metric.id === id && metric.attributes?.store === "metrics-test"
          )
            .reduce((sum, metric) => sum + Number(metric.type === "Counter" ? metric.state.count : 0), 0))
      assert.strictEqual(yield* of("session.cache.hits"), 1)
      assert.strictEqual(yield* of("session.cache.misses"), 1)
      assert.strictEqual(yield* of("session.cache.fills"), 2)
      assert.strictEqual(yield* of("session.cache.invalidations_out"), 1)
    }))
})
