import { assert, describe, it } from "@effect/vitest"
import { Effect, Exit, Fiber, Scope, Stream } from "effect"
import { TestClock } from "effect/testing"
import { SessionTable } from "../src/internal/sessionTable.ts"
import type { SessionEntry } from "../src/SessionQuery.ts"
import { change, hour, newRecord, numbers, open } from "./memoryStoreFixture.ts"

describe("MemoryStore capacity", () => {
  it.effect("holds no more sessions than its capacity", () =>
    Effect.gen(function*() {
      const { create, keys, query, stats } = yield* open({ capacity: 3 })
      yield* create("a", "b", "c", "d", "e")
      assert.deepStrictEqual(yield* keys, ["c", "d", "e"])
      assert.strictEqual(yield* query.count, 3)
      assert.include(yield* stats, { total: 3, evicted: 2, expired: 0, capacity: 3 })
    }))

  it.effect("evicts the session used longest ago, whatever the use was", () =>
    Effect.gen(function*() {
      const { create, keys, renew, store } = yield* open({ capacity: 5 })
      yield* create("a", "b", "c", "d", "e")
      yield* store.load("a")
      yield* store.save("b", 1, change("b"))
      yield* store.touch("c")
      yield* renew("d", "d+", hour)
      yield* create("f")
      assert.deepStrictEqual(yield* keys, ["a", "b", "c", "d+", "f"])
      yield* store.load("a")
      yield* create("g", "h")
      assert.deepStrictEqual(yield* keys, ["a", "d+", "f", "g", "h"])
      yield* store.load("d") // an alias within its grace
      yield* create("i")
      assert.deepStrictEqual(yield* keys, ["a", "d+", "g", "h", "i"])
    }))

  it.effect("what finds nothing to do is no use", () =>
    Effect.gen(function*() {
      const { create, keys, query, renew, store } = yield* open({ capacity: 3 })
      yield* create("a", "b", "c")
      yield* store.save("a", 7, change("a"))
      yield* store.create(newRecord("a"))
      yield* renew("a", "b")
      yield* query.bySubject("a")
      yield* Stream.runDrain(query.scan)
      yield* create("d")
      assert.deepStrictEqual(yield* keys, ["b", "c", "d"])
    }))

  it.effect("a flood of anonymous sessions signs nobody out", () =>
    Effect.gen(function*() {
      const { create, keys, signIn, stats } = yield* open({ capacity: 4 })
      yield* signIn("alice", "a1", "a2")
      yield* create(...numbers(100))
      assert.deepStrictEqual(yield* keys, ["98", "99", "a1", "a2"])
      yield* signIn("bob", "b1", "b2")
      assert.deepStrictEqual(yield* keys, ["a1", "a2", "b1", "b2"])
      assert.include(yield* stats, { total: 4, anonymous: 0, subjects: 2, evicted: 100 })
    }))

  it.effect("evicts sessions with a subject when there is no other", () =>
    Effect.gen(function*() {
      const { create, keys, query, signIn, store } = yield* open({ capacity: 2 })
      yield* signIn("alice", "a1", "a2")
      yield* store.touch("a1")
      yield* create("b")
      assert.deepStrictEqual(yield* keys, ["a1", "b"])
      assert.deepStrictEqual((yield* query.bySubject("alice")).map(({ key }) => key), ["a1"])
    }))

  it.effect("a session that signs in by renewal is protected from then on", () =>
    Effect.gen(function*() {
      const { create, keys, renew } = yield* open({ capacity: 2 })
      yield* create("a", "b")
      yield* renew("a", "a+", 0, "alice")
      yield* create("c", "d")
      assert.deepStrictEqual(yield* keys, ["a+", "d"])
      yield* renew("a+", "a++")
      yield* create("e", "f")
      assert.deepStrictEqual(yield* keys, ["e", "f"])
    }))

  it.effect("an expired session goes before an anonymous one that is live", () =>
    Effect.gen(function*() {
      const { create, keys, stats, store } = yield* open({ capacity: 2, sweepInterval: "1 day" })
      yield* store.create(newRecord("a", { subject: "alice", idleTimeout: 1000 }))
      yield* create("b")
      yield* TestClock.adjust(1000)
      yield* create("c")
      assert.deepStrictEqual(yield* keys, ["b", "c"])
      assert.include(yield* stats, { evicted: 0, expired: 1, subjects: 0 })
    }))

  it.effect("a creation that is refused evicts nothing", () =>
    Effect.gen(function*() {
      const { create, keys, signIn, store } = yield* open({ capacity: 2 })
      yield* signIn("alice", "a")
      yield* create("b")
      const limit = { max: 1, onLimit: "refuse" } as const
      assert.strictEqual((yield* store.create(newRecord("c", { subject: "alice" }), limit))._tag, "LimitReached")
      assert.strictEqual((yield* store.create(newRecord("b")))._tag, "KeyTaken")
      assert.deepStrictEqual(yield* keys, ["a", "b"])
    }))

  it.effect("an evicted session takes its aliases with it", () =>
    Effect.gen(function*() {
      const { create, renew, stats, tag } = yield* open({ capacity: 1 })
      yield* create("a")
      yield* renew("a", "b", hour)
      yield* create("c")
      assert.deepStrictEqual([yield* tag("a"), yield* tag("b")], ["Absent", "Absent"])
      assert.strictEqual((yield* stats).aliases, 0)
    }))

  it("the place of a session that ended is used again", () => {
    const table = new SessionTable(10)
    const { key: _, lifetime, ...rest } = newRecord("a")
    const times = { createdAt: 0, issuedAt: 0, authenticatedAt: undefined, lastSeenAt: 0, expiresAt: lifetime }
    const record = { ...rest, ...times, version: 1 }
    const slots = ["a", "b", "c"].map((key) => table.insert(key, record))
    const { end } = table
    for (let i = 0; i < 1000; i++) {
      table.remove(slots[i % 3])
      slots[i % 3] = table.insert(`${i}`, record)
    }
    assert.strictEqual(table.end, end)
    assert.strictEqual(table.total, 3)
  })

  it.effect("gives its memory back when it is empty, and goes on", () =>
    Effect.gen(function*() {
      const { create, keys, query, stats, store } = yield* open()
      for (let round = 0; round < 3; round++) {
        yield* create(...numbers(10_000))
        yield* Effect.forEach(numbers(9_998), (key) => store.destroy(key), { discard: true })
        assert.deepStrictEqual(yield* keys, ["9998", "9999"])
        yield* Stream.runDrain(query.clear)
        assert.include(yield* stats, { total: 0, anonymous: 0 })
      }
    }))
})

describe("MemoryStore expiry", () => {
  it.effect("a session is live strictly before its deadline", () =>
    Effect.gen(function*() {
      const { stats, store, tag } = yield* open({ sweepInterval: "1 day" })
      yield* store.create(newRecord("idle", { idleTimeout: 1000 }))
      yield* store.create(newRecord("absolute", { lifetime: 1000 }))
      yield* TestClock.adjust(999)
      assert.deepStrictEqual([yield* tag("idle"), yield* tag("absolute")], ["Live", "Live"])
      yield* TestClock.adjust(1)
      assert.deepStrictEqual([yield* tag("idle"), yield* tag("absolute")], ["Expired", "Expired"])
      assert.deepStrictEqual([yield* tag("idle"), yield* tag("absolute")], ["Absent", "Absent"])
      assert.include(yield* stats, { total: 0, expired: 2, evicted: 0 })
    }))

  it.effect("a sweep removes what has expired, with its aliases and its index entry", () =>
    Effect.gen(function*() {
      const { create, renew, signIn, stats, store } = yield* open({ sweepInterval: "10 seconds" })
      yield* create("a")
      yield* renew("a", "b", hour)
      yield* store.create(newRecord("c", { subject: "carol", idleTimeout: 5000 }))
      yield* signIn("dave", "d")
      yield* TestClock.adjust(9999)
      assert.include(yield* stats, { total: 3, subjects: 2, expired: 0 })
      yield* TestClock.adjust(1)
      assert.include(yield* stats, { total: 2, subjects: 1, aliases: 1, expired: 1 })
      yield* TestClock.adjust(hour)
      assert.include(yield* stats, { total: 0, anonymous: 0, subjects: 0, aliases: 0, expired: 3 })
    }))

  it.effect("a sweep works in slices and lets others run between them", () =>
    Effect.gen(function*() {
      const batches: Array<number> = []
      const { create, stats } = yield* open({ sweepInterval: "2 hours" }, {
        onExpired: (entries) => Effect.sync(() => void batches.push(entries.length))
      })
      yield* create(...numbers(3000))
      let [turns, counting] = [0, true]
      const other = yield* Effect.forkChild(
        Effect.whileLoop({
          while: () => counting,
          body: () => Effect.yieldNow,
          step: () => {
            if (batches.length > 0 && batches.length < 12) turns++
          }
        })
      )
      yield* TestClock.adjust("2 hours")
      while ((yield* stats).total > 0) yield* Effect.yieldNow
      counting = false
      yield* Fiber.join(other)
      assert.isAtMost(Math.max(...batches), 256)
      assert.strictEqual(batches.reduce((sum, n) => sum + n, 0), 3000)
      assert.isAtLeast(turns, 10)
    }))

  it.effect("the hook is told each expired session once, as it was", () =>
    Effect.gen(function*() {
      const seen: Array<SessionEntry> = []
      const { query, signIn, store } = yield* open({ sweepInterval: "1 minute" }, {
        onExpired: (entries) => Effect.sync(() => void seen.push(...entries))
      })
      yield* store.create(newRecord("a", { idleTimeout: 1000, subject: "alice" }))
      yield* signIn("bob", "b")
      yield* TestClock.adjust("5 minutes")
      assert.deepStrictEqual(seen.map(({ key, record }) => [key, record.subject, record.payload]), [
        ["a", "alice", "payload of a"]
      ])
      yield* TestClock.adjust(hour - 300_000)
      assert.deepStrictEqual(yield* Stream.runLast(query.purgeExpired), yield* Stream.runLast(query.purgeExpired))
      assert.deepStrictEqual(seen.map(({ key }) => key), ["a", "b"])
    }))

  it.effect("purgeExpired tells the hook, too", () =>
    Effect.gen(function*() {
      const seen: Array<string> = []
      const { create, query } = yield* open({ sweepInterval: "1 day" }, {
        onExpired: (entries) => Effect.sync(() => void seen.push(...entries.map(({ key }) => key)))
      })
      yield* create("a")
      yield* TestClock.adjust(hour)
      const steps = yield* Stream.runCollect(query.purgeExpired)
      assert.deepStrictEqual([...steps], [{ scanned: 1, removed: 1 }])
      assert.deepStrictEqual(seen, ["a"])
    }))

  for (
    const [name, onExpired] of [
      ["dies", () => Effect.die("hook")],
      ["throws", () => {
        throw new Error("hook")
      }],
      ["interrupts itself", () => Effect.interrupt],
      ["hangs", () => Effect.never]
    ] as const
  ) {
    it.effect(`a hook that ${name} does not stop the sweep`, () =>
      Effect.gen(function*() {
        const { create, stats } = yield* open({ sweepInterval: "2 hours" }, { onExpired })
        yield* create(...numbers(1000))
        yield* TestClock.adjust("2 hours")
        yield* TestClock.adjust("1 minute")
        assert.include(yield* stats, { total: 0, expired: 1000 })
        yield* create("again")
        yield* TestClock.adjust("4 hours")
        assert.include(yield* stats, { total: 0, expired: 1001 })
      }))
  }

  for (const hanging of [false, true]) {
    it.effect(`the sweep ends with its scope${hanging ? ", also while a hook hangs" : ""}`, () =>
      Effect.gen(function*() {
        const scope = yield* Scope.make()
        const onExpired = hanging ? () => Effect.never : undefined
        const { create, stats, store } = yield* Scope.provide(open({ sweepInterval: "1 second" }, { onExpired }), scope)
        yield* store.create(newRecord("a", { idleTimeout: 500 }))
        yield* create("b")
        yield* TestClock.adjust("1 second")
        assert.include(yield* stats, { total: 1, expired: 1 })
        yield* Scope.close(scope, Exit.void)
        yield* TestClock.adjust("2 hours")
        assert.include(yield* stats, { total: 1, expired: 1 })
      }))
  }
})
