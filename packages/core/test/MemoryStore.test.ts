import { assert, describe, it } from "@effect/vitest"
import { Config, ConfigProvider, Context, Duration, Effect, Layer, Stream } from "effect"
import { TestClock } from "effect/testing"
import * as MemoryStore from "../src/MemoryStore.ts"
import { SessionQuery } from "../src/SessionQuery.ts"
import { type Payload, SessionStore } from "../src/SessionStore.ts"
import { change, hour, newRecord, numbers, open, replacement } from "./memoryStoreFixture.ts"

describe("MemoryStore aliases", () => {
  it.effect("a chain of renewals leads to the live successor", () =>
    Effect.gen(function*() {
      const { create, renew, stats, store } = yield* open()
      yield* create("a")
      yield* renew("a", "b", 1000)
      yield* TestClock.adjust(600)
      yield* renew("b", "c", 1000)
      yield* TestClock.adjust(600)
      assert.deepStrictEqual(yield* store.load("a"), { _tag: "Superseded", successor: "c" })
      const lookup = yield* store.load("b")
      assert.deepStrictEqual(lookup._tag === "Live" && [lookup.alias, lookup.record.payload], ["c", "payload of c"])
      yield* TestClock.adjust(400)
      assert.deepStrictEqual(yield* store.load("b"), { _tag: "Superseded", successor: "c" })
      assert.strictEqual((yield* stats).aliases, 2)
      yield* TestClock.adjust(hour)
      assert.deepStrictEqual([yield* store.load("a"), yield* store.load("b")], [{ _tag: "Absent" }, { _tag: "Absent" }])
    }))

  it.effect("none is left when its session ends, in whichever way", () =>
    Effect.gen(function*() {
      const { create, query, renew, signIn, stats, store } = yield* open({ sweepInterval: "1 day" })
      const ends: ReadonlyArray<Effect.Effect<unknown, unknown>> = [
        store.destroy("b"),
        store.destroy("a"),
        query.destroyBySubject("alice"),
        Stream.runDrain(query.destroyWhere(() => true)),
        Stream.runDrain(query.clear),
        store.create(newRecord("z", { subject: "alice" }), { max: 1, onLimit: "evict" }),
        Effect.andThen(TestClock.adjust(hour), store.load("b")),
        Effect.andThen(TestClock.adjust(hour), store.create(newRecord("a"))),
        Effect.andThen(TestClock.adjust(hour), Stream.runDrain(query.purgeExpired))
      ]
      for (const end of ends) {
        yield* signIn("alice", "a")
        yield* renew("a", "b", 1000, "alice")
        assert.strictEqual((yield* stats).aliases, 1)
        yield* end
        assert.strictEqual((yield* stats).aliases, 0)
        yield* Stream.runDrain(query.clear)
        yield* create("a")
        yield* store.destroy("a")
      }
      assert.include(yield* stats, { total: 0, anonymous: 0, subjects: 0, aliases: 0 })
    }))

  it.effect("a session remembers its last sixteen keys", () =>
    Effect.gen(function*() {
      const { create, renew, stats, store, tag } = yield* open()
      yield* create("0")
      for (let i = 0; i < 40; i++) yield* renew(`${i}`, `${i + 1}`, 1)
      yield* TestClock.adjust(1)
      assert.strictEqual((yield* stats).aliases, 16)
      assert.deepStrictEqual([yield* tag("23"), yield* tag("24"), yield* tag("39")], [
        "Absent",
        "Superseded",
        "Superseded"
      ])
      assert.isTrue(yield* store.destroy("24"))
      assert.include(yield* stats, { total: 0, aliases: 0 })
    }))
})

describe("MemoryStore records", () => {
  it.effect("bytes are copied on the way in and on the way out", () =>
    Effect.gen(function*() {
      const { query, renew, store } = yield* open()
      // A view of a larger buffer, of a subclass whose own `slice` does not copy.
      const mine = Buffer.from([9, 1, 2, 3, 9]).subarray(1, 4)
      const expected = Uint8Array.of(1, 2, 3)
      const check = Effect.fnUntraced(function*(key: string, returned: Payload) {
        if (typeof returned !== "string") returned.fill(7)
        mine.fill(8)
        const lookup = yield* store.load(key)
        assert.deepStrictEqual(lookup._tag === "Live" && lookup.record.payload, expected)
        if (lookup._tag === "Live" && typeof lookup.record.payload !== "string") lookup.record.payload.fill(7)
        for (const { record } of yield* Stream.runCollect(query.scan)) {
          assert.deepStrictEqual(record.payload, expected)
          if (typeof record.payload !== "string") record.payload.fill(7)
        }
        const again = yield* store.load(key)
        assert.deepStrictEqual(again._tag === "Live" && again.record.payload, expected)
        mine.set(expected)
      })
      const created = yield* store.create(newRecord("a", { payload: mine }))
      yield* check("a", created._tag === "Created" ? created.record.payload : "")
      const saved = yield* store.save("a", 1, change(mine))
      yield* check("a", saved._tag === "Saved" ? saved.record.payload : "")
      const renewed = yield* store.renew("a", 2, replacement("b", { payload: mine }))
      yield* check("b", renewed._tag === "Renewed" ? renewed.record.payload : "")
      yield* store.save("b", 1, change("text"))
      const text = yield* store.load("b")
      assert.strictEqual(text._tag === "Live" && text.record.payload, "text")
      assert.strictEqual((yield* renew("b", "c"))._tag, "Conflict")
    }))

  it.effect("the last activity does not move back with the clock", () =>
    Effect.gen(function*() {
      const { create, store } = yield* open()
      yield* TestClock.setTime(2000)
      yield* create("a")
      yield* TestClock.setTime(1000)
      assert.isTrue(yield* store.touch("a"))
      yield* store.save("a", 1, change("later"))
      const lookup = yield* store.load("a")
      assert.strictEqual(lookup._tag === "Live" && lookup.record.lastSeenAt, 2000)
    }))

  it.effect("a record that was handed out does not change, and changes nothing", () =>
    Effect.gen(function*() {
      const { signIn, store } = yield* open()
      yield* signIn("alice", "a")
      const before = yield* store.load("a")
      yield* TestClock.adjust(1000)
      yield* store.touch("a")
      yield* store.save("a", 1, change("later"))
      const record = before._tag === "Live" ? before.record : undefined
      assert.include(record, { version: 1, lastSeenAt: 0, payload: "payload of a" })
      const current = yield* store.load("a")
      if (current._tag === "Live") {
        Object.assign(current.record, { version: 9, expiresAt: 0, subject: "mallory", payload: "forged" })
      }
      const after = yield* store.load("a")
      assert.include(after._tag === "Live" ? after.record : {}, { version: 2, subject: "alice", payload: "later" })
    }))
})

describe("MemoryStore queries", () => {
  it.effect("a scan meets a session that is renewed meanwhile once", () =>
    Effect.gen(function*() {
      const { create, query, renew } = yield* open()
      yield* create(...numbers(1000))
      const seen: Array<string> = []
      yield* Stream.runForEach(query.scan, ({ key }) =>
        Effect.suspend(() => {
          seen.push(key.replace("+", ""))
          return seen.length === 300 ? Effect.forEach(numbers(1000), (key) => renew(key, `${key}+`, hour)) : Effect.void
        }))
      assert.deepStrictEqual(seen.toSorted(), numbers(1000).toSorted())
    }))

  it.effect("a scan ends although sessions are added and destroyed behind and before it", () =>
    Effect.gen(function*() {
      const { create, query, store } = yield* open()
      yield* create(...numbers(1000))
      let next = 1000
      const seen = new Set<string>()
      yield* Stream.runForEach(query.scan, ({ key }) => {
        seen.add(key)
        const i = Number(key)
        return i < 1000 && i % 2 === 1
          ? Effect.andThen(store.destroy(key), create(`${next++}`))
          : Effect.void
      })
      assert.deepStrictEqual(numbers(1000).filter((key) => !seen.has(key)), [])
    }))

  it.effect("a predicate may use the store", () =>
    Effect.gen(function*() {
      const { create, keys, query, stats, store } = yield* open()
      yield* create(...numbers(500))
      // Every call of the predicate ends all sessions, the one it was asked about included.
      const services = yield* Effect.context<never>()
      let asked = 0
      const last = yield* Stream.runLast(query.destroyWhere(() => {
        asked++
        Effect.runSyncWith(services)(Effect.forEach(numbers(500), (key) => store.destroy(key), { discard: true }))
        return true
      }))
      assert.strictEqual(asked, 1)
      assert.deepStrictEqual(last._tag === "Some" && last.value, { scanned: 1, removed: 0 })
      assert.deepStrictEqual(yield* keys, [])
      assert.include(yield* stats, { total: 0, anonymous: 0 })
    }))

  it.effect("long operations report one slice after the other", () =>
    Effect.gen(function*() {
      const { create, query } = yield* open()
      yield* create(...numbers(1000))
      const steps = yield* Stream.runCollect(query.clear)
      assert.deepStrictEqual(steps.map(({ removed }) => removed), [256, 512, 768, 1000])
    }))
})

describe("MemoryStore construction", () => {
  for (
    const [name, options] of [
      ["a capacity of zero", { capacity: 0 }],
      ["a negative capacity", { capacity: -1 }],
      ["a capacity that is no integer", { capacity: 1.5 }],
      ["a capacity that is no number", { capacity: Number.NaN }],
      ["an endless capacity", { capacity: Number.POSITIVE_INFINITY }],
      ["a sweep interval of zero", { sweepInterval: 0 }]
    ] as ReadonlyArray<readonly [string, MemoryStore.Options]>
  ) {
    it(`refuses ${name}`, () => {
      assert.throws(() => MemoryStore.make(options), RangeError, "MemoryStore")
      assert.throws(() => MemoryStore.layerStore(options), RangeError, "MemoryStore")
    })
  }

  it.effect("layerStoreConfig reads its options", () =>
    Effect.gen(function*() {
      const store = yield* SessionStore
      const { stats } = yield* MemoryStore.MemoryStore
      for (const key of ["a", "b", "c"]) yield* store.create(newRecord(key, { idleTimeout: 1000 }))
      assert.include(yield* stats, { total: 2, capacity: 2 })
      yield* TestClock.adjust("5 seconds")
      assert.include(yield* stats, { total: 0, expired: 2 })
    }).pipe(
      Effect.provide(MemoryStore.layerStoreConfig({
        capacity: Config.Int("CAPACITY"),
        sweepInterval: Config.Duration("SWEEP").pipe(Config.withDefault(Duration.minutes(1)))
      })),
      Effect.provideService(
        ConfigProvider.ConfigProvider,
        ConfigProvider.fromUnknown({ CAPACITY: "2", SWEEP: "5 seconds" })
      )
    ))

  it.effect("layerStoreConfig fails without a value it needs", () =>
    Effect.gen(function*() {
      const error = yield* Effect.flip(
        Layer.build(MemoryStore.layerStoreConfig({ capacity: Config.Int("CAPACITY") }))
      )
      assert.strictEqual(error._tag, "ConfigError")
    }).pipe(Effect.provideService(ConfigProvider.ConfigProvider, ConfigProvider.fromUnknown({}))))

  it.effect("two layers share nothing", () =>
    Effect.gen(function*() {
      const [one, two] = [
        yield* Layer.build(MemoryStore.layerStore()),
        yield* Layer.build(MemoryStore.layerStore())
      ]
      yield* Context.get(one, SessionStore).create(newRecord("a", { subject: "alice" }))
      assert.strictEqual((yield* Context.get(two, SessionStore).load("a"))._tag, "Absent")
      assert.deepStrictEqual(yield* Context.get(two, SessionQuery).bySubject("alice"), [])
      assert.include(yield* Context.get(one, MemoryStore.MemoryStore).stats, { total: 1 })
      assert.include(yield* Context.get(two, MemoryStore.MemoryStore).stats, { total: 0 })
    }))
})
