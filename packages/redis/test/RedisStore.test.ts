import { SessionStore, SessionToken } from "@effect-session/core"
import { RedisClient, RedisStore } from "@effect-session/redis"
import { assert, layer } from "@effect/vitest"
import { Context, Effect, Layer, Schedule, Stream } from "effect"
import * as RedisServer from "./RedisServer.ts"
import {
  change,
  commandCounts,
  keyIn,
  keyOf,
  layerServer,
  lifetimes,
  newRecord,
  open,
  replacement
} from "./StoreFixture.ts"

const ok = <A extends { readonly _tag: string }>(result: A, tag: string) => assert.strictEqual(result._tag, tag)

layer(layerServer, { excludeTestServices: true })("RedisStore", (it) => {
  it.effect("a key that has lost its expiry in Redis ends at its deadline, and is removed", () =>
    Effect.gen(function*() {
      const { query, server, store } = yield* open("persist:")
      for (const [label, times] of [["idle", { idleTimeout: 200 }], ["absolute", { lifetime: 200 }]] as const) {
        const key = keyOf("ada", label)
        yield* store.create(newRecord(key, { subject: "ada", ...times }))
        yield* server.admin("PERSIST", `persist:{${key.slice(0, 2)}}${key.slice(2)}`)
        ok(yield* store.load(key), "Live")
        yield* Effect.sleep(250)
        assert.isFalse(yield* store.touch(keyIn("aa", label)))
        assert.deepStrictEqual(yield* store.load(key), { _tag: "Expired" })
        assert.deepStrictEqual(yield* store.load(key), { _tag: "Absent" })
        assert.strictEqual(yield* server.admin("EXISTS", `persist:{${key.slice(0, 2)}}${key.slice(2)}`), 0)
        assert.deepStrictEqual(yield* query.bySubject("ada"), [])
      }
    }))

  it.effect("activity does not move the absolute limit", () =>
    Effect.gen(function*() {
      const { store } = yield* open("absolute:")
      const key = keyIn("aa", "a")
      yield* store.create(newRecord(key, { idleTimeout: 10_000, lifetime: 400 }))
      for (let i = 0; i < 5; i++) {
        yield* Effect.sleep(60)
        yield* store.load(key, { touchAfter: 0 })
      }
      yield* Effect.sleep(200)
      assert.notStrictEqual((yield* store.load(key))._tag, "Live")
    }))

  it.effect("every key has an expiry after every operation", () =>
    Effect.gen(function*() {
      const prefix = "ttl:"
      const { query, server, store } = yield* open(prefix)
      const key = (label: string) => keyOf("ada", label)
      const steps: ReadonlyArray<Effect.Effect<unknown, unknown>> = [
        store.create(newRecord(keyIn("aa", "anonymous"))),
        store.create(newRecord(key("a"), { subject: "ada" }), { max: 5, onLimit: "evict" }),
        store.create(newRecord(key("short"), { subject: "ada", lifetime: 1000 }), { max: 5, onLimit: "evict" }),
        store.save(key("a"), 1, change()),
        store.save(key("a"), 2, change({ lifetime: 7_200_000, idleTimeout: 7_200_000 })),
        store.touch(key("a")),
        store.load(key("a"), { touchAfter: 0 }),
        store.renew(key("a"), 3, replacement(key("b"), { subject: "ada" }), { grace: 10_000 }),
        store.renew(key("b"), 1, replacement(key("c"), { subject: "bob", authenticated: true }), { grace: 1 }),
        Effect.sleep(5),
        store.load(key("b")),
        store.renew(key("c"), 1, replacement(key("d"))),
        store.renew(keyIn("aa", "anonymous"), 1, replacement(key("e"), { subject: "ada", authenticated: true })),
        store.create(newRecord(key("f"), { subject: "ada" }), { max: 1, onLimit: "evict" }),
        query.destroyBySubject("ada"),
        store.destroy(key("d")),
        Stream.runDrain(query.purgeExpired)
      ]
      for (const [i, step] of steps.entries()) {
        yield* step
        const left = yield* lifetimes(server, prefix)
        assert.deepStrictEqual(left.filter(([, ttl]) => ttl <= 0), [], `after step ${i}`)
        if (i < 14) assert.isAbove(left.length, 0)
      }
    }))

  it.effect("a record's expiry in Redis follows its deadline", () =>
    Effect.gen(function*() {
      const { server, store } = yield* open("deadline:", { events: false, linger: 0 })
      const key = keyIn("aa", "a")
      yield* store.create(newRecord(key, { idleTimeout: 50_000, lifetime: 30_000 }))
      const left = Effect.map(lifetimes(server, "deadline:"), ([[, ttl]]) => ttl)
      assert.isTrue(Math.abs((yield* left) - 30_000) < 1000)
      yield* store.save(key, 1, change({ idleTimeout: 10_000 }))
      assert.isTrue(Math.abs((yield* left) - 10_000) < 1000)
    }))

  it.effect("a hundred reads cost a hundred reads and no write", () =>
    Effect.gen(function*() {
      const { server, store } = yield* open("reads:")
      const key = keyOf("ada", "a")
      yield* store.create(newRecord(key, { subject: "ada" }))
      yield* server.admin("CONFIG", "RESETSTAT")
      for (let i = 0; i < 100; i++) ok(yield* store.load(key, { touchAfter: 60_000 }), "Live")
      const counts = yield* commandCounts(server)
      assert.strictEqual(counts.get("hmget"), 100)
      const others = [...counts].filter(([name]) => !["hmget", "info", "config|resetstat"].includes(name))
      assert.deepStrictEqual(others, [])
    }))

  it.effect("a load that is due for a touch is one round trip", () =>
    Effect.gen(function*() {
      const { server, store } = yield* open("rolling:")
      const key = keyIn("aa", "a")
      yield* store.create(newRecord(key))
      yield* store.load(key, { touchAfter: 0 })
      yield* Effect.sleep(30)
      yield* server.admin("CONFIG", "RESETSTAT")
      const lookup = yield* store.load(key, { touchAfter: 20 })
      assert.isTrue(lookup._tag === "Live" && lookup.touched === true)
      const counts = yield* commandCounts(server)
      assert.strictEqual(counts.get("evalsha"), 1)
      assert.isFalse(counts.has("eval") || counts.has("script|load"))
    }))

  it.effect("touches and saves of missing sessions create nothing", () =>
    Effect.gen(function*() {
      const { server, store } = yield* open("missing:")
      const key = keyIn("aa", "a")
      assert.isFalse(yield* store.touch(key))
      ok(yield* store.save(key, 1, change()), "Gone")
      ok(yield* store.renew(key, 1, replacement(keyIn("aa", "b"))), "Gone")
      ok(yield* store.load(key, { touchAfter: 0 }), "Absent")
      assert.isFalse(yield* store.destroy(key))
      assert.deepStrictEqual(yield* lifetimes(server, "missing:"), [])
    }))

  it.effect("scripts that the server has forgotten are sent again", () =>
    Effect.gen(function*() {
      const { server, store } = yield* open("noscript:")
      const key = keyIn("aa", "a")
      yield* store.create(newRecord(key))
      assert.isTrue(yield* store.touch(key))
      yield* server.admin("SCRIPT", "FLUSH")
      const results = yield* Effect.all(Array.from({ length: 10 }, () => store.touch(key)), {
        concurrency: "unbounded"
      })
      assert.deepStrictEqual(results, Array.from({ length: 10 }, () => true))
      yield* server.admin("CONFIG", "RESETSTAT")
      yield* store.touch(key)
      assert.isFalse((yield* commandCounts(server)).has("eval"))
    }))

  it.effect("the index of a subject takes at most 200 bytes for each session", () =>
    Effect.gen(function*() {
      const { server, store } = yield* open("memory:", { events: false })
      const usage = (key: string) => Effect.map(server.admin("MEMORY", "USAGE", key, "SAMPLES", 0), Number)
      for (const n of [1, 2, 10, 100, 1000]) {
        const subject = `subject ${n}`
        yield* Effect.forEach(
          Array.from({ length: n }),
          (_, i) => store.create(newRecord(keyOf(subject, `${i}`), { subject })),
          { concurrency: 50, discard: true }
        )
        const indexes = yield* server.admin("KEYS", `memory:{${SessionToken.bucketOfSubject(subject)}}@*`)
        assert.isTrue(Array.isArray(indexes) && indexes.length === 1)
        const bytes = yield* usage(Array.isArray(indexes) ? String(indexes[0]) : "")
        process.stdout.write(`index of ${n} sessions: ${Math.round(bytes / n)} bytes for each\n`)
        assert.isAtMost(bytes / n, 200)
      }
    }))

  it.effect("an index forgets sessions that have expired in Redis as others are added", () =>
    Effect.gen(function*() {
      const { server, store } = yield* open("forget:", { events: false, linger: 0 })
      const subject = "ada"
      for (let round = 0; round < 20; round++) {
        yield* Effect.forEach(
          Array.from({ length: 10 }),
          (_, i) => store.create(newRecord(keyOf(subject, `${round}/${i}`), { subject, idleTimeout: 30 })),
          { concurrency: 10, discard: true }
        )
        yield* Effect.sleep(40)
      }
      const indexes = yield* server.admin("KEYS", `forget:*@*`)
      const size = Number(yield* server.admin("ZCARD", Array.isArray(indexes) ? String(indexes[0]) : ""))
      assert.isBelow(size, 40)
    }))

  it.effect("ten simultaneous sign-ins on two clients leave ten entries, and revoke-all leaves none", () =>
    Effect.gen(function*() {
      const [one, two] = [yield* open("two:"), yield* open("two:")]
      const subject = "ada"
      const keys = Array.from({ length: 10 }, (_, i) => keyOf(subject, `${i}`))
      yield* Effect.forEach(keys, (key, i) => (i % 2 === 0 ? one : two).store.create(newRecord(key, { subject })), {
        concurrency: "unbounded"
      })
      assert.strictEqual((yield* two.query.bySubject(subject)).length, 10)
      assert.deepStrictEqual([...yield* one.query.destroyBySubject(subject)].toSorted(), keys.toSorted())
      for (const key of keys) ok(yield* two.store.load(key), "Absent")
      assert.deepStrictEqual(yield* two.query.bySubject(subject), [])
    }))

  it.effect("a hundred fibers on four clients that update one session lose no update", () =>
    Effect.gen(function*() {
      const clients = yield* Effect.all(Array.from({ length: 4 }, () => open("lost:")))
      const key = keyIn("aa", "counter")
      yield* clients[0].store.create(newRecord(key, { payload: "0" }))
      const increment = Effect.fnUntraced(function*({ store }: (typeof clients)[number]) {
        while (true) {
          const lookup = yield* store.load(key)
          if (lookup._tag !== "Live") return assert.fail("the session is gone")
          const payload = String(Number(lookup.record.payload) + 1)
          const saved = yield* store.save(key, lookup.record.version, change({ payload }))
          if (saved._tag === "Saved") return
        }
      })
      yield* Effect.forEach(Array.from({ length: 100 }), (_, i) => increment(clients[i % 4]), {
        concurrency: "unbounded",
        discard: true
      })
      const lookup = yield* clients[1].store.load(key)
      assert.isTrue(lookup._tag === "Live" && lookup.record.payload === "100" && lookup.record.version === 101)
    }), 60_000)

  it.effect(
    "of a thousand sessions, those that were ended while others wrote stay ended",
    () =>
      Effect.gen(function*() {
        const [one, two] = [yield* open("race:", { events: false }), yield* open("race:", { events: false })]
        let seed = 7
        const random = (n: number) => (seed = (seed * 1_103_515_245 + 12_345) % 2_147_483_648) % n
        const round = Effect.fnUntraced(function*(id: number) {
          const subject = `subject ${id}`
          const key = keyOf(subject, "old")
          const moved = keyOf(subject, "new")
          const how = random(5)
          yield* one.store.create(newRecord(key, { subject, ...how === 3 ? { lifetime: 40 } : {} }))
          const lookup = yield* two.store.load(key)
          const version = lookup._tag === "Live" ? lookup.record.version : 0
          const wait = () => Effect.sleep(random(4))
          const writers = [
            Effect.andThen(wait(), two.store.save(key, version, change({ payload: "late" }))),
            Effect.andThen(wait(), two.store.touch(key)),
            Effect.andThen(wait(), two.store.load(key, { touchAfter: 0 })),
            Effect.andThen(
              wait(),
              two.store.renew(key, version, replacement(moved, { subject }), { grace: how === 1 ? 5000 : 0 })
            )
          ]
          const enders: ReadonlyArray<Effect.Effect<unknown, unknown>> = [
            one.store.destroy(key),
            // A renewal with grace, and a logout with the old key.
            one.store.destroy(key),
            one.query.destroyBySubject(subject),
            Effect.sleep(60),
            Stream.runDrain(one.query.destroyWhere((entry) => entry.record.subject === subject))
          ]
          const before = yield* Effect.all([Effect.andThen(wait(), enders[how]), ...writers], {
            concurrency: "unbounded"
          })
          const renewed = before[4]
          const escaped = typeof renewed === "object" && renewed !== null && "_tag" in renewed &&
            renewed._tag === "Renewed"
          // The late ones come again, after the end.
          yield* two.store.save(key, version, change({ payload: "later", lifetime: 3_600_000 }))
          yield* two.store.save(key, version + 1, change({ payload: "later", lifetime: 3_600_000 }))
          yield* two.store.touch(key)
          yield* two.store.renew(key, version, replacement(keyOf(subject, "later"), { lifetime: 3_600_000 }))
          // A logout that came after a renewal without grace, or a scan that had passed, did not end the new session.
          const survivor = escaped && (how === 0 || how === 2 || how === 4)
          for (const at of [key, moved, keyOf(subject, "later")]) {
            const found = yield* two.store.load(at)
            if (found._tag !== "Live") continue
            if (survivor && at === moved) {
              yield* one.store.destroy(moved)
              continue
            }
            assert.fail(`round ${id}, way ${how}: ${at === key ? "the old" : "a new"} key is live`)
          }
          return how
        })
        const ways = yield* Effect.forEach(Array.from({ length: 1000 }), (_, id) => round(id), { concurrency: 20 })
        assert.strictEqual(new Set(ways).size, 5)
      }),
    120_000
  )

  it.effect("a save that timed out cannot bring back what was ended after it", () =>
    Effect.gen(function*() {
      const server = yield* RedisServer.make()
      const context = yield* Layer.build(
        RedisStore.layerStore().pipe(
          Layer.provide(
            RedisClient.layer({ url: server.url, commandTimeout: "150 millis", maxReconnectDelay: "50 millis" })
          )
        )
      )
      const store = Context.get(context, SessionStore.SessionStore)
      for (let round = 0; round < 5; round++) {
        const key = keyIn("aa", `${round}`)
        yield* store.create(newRecord(key))
        yield* server.pause
        const { reason } = yield* Effect.flip(store.save(key, 1, change({ payload: "late" })))
        assert.strictEqual(reason.applied, "unknown")
        yield* server.resume
        yield* Effect.retry(store.destroy(key), Schedule.max([Schedule.spaced("20 millis"), Schedule.recurs(100)]))
        yield* Effect.sleep(50)
        assert.deepStrictEqual(yield* store.load(key), { _tag: "Absent" })
      }
    }))

  it.effect("a scan stops with its reader, and reads in steps", () =>
    Effect.gen(function*() {
      const { query, server, store } = yield* open("scan:", { events: false })
      yield* Effect.forEach(
        Array.from({ length: 3000 }),
        (_, i) => store.create(newRecord(keyIn("aa", `${i}`))),
        { concurrency: 100, discard: true }
      )
      yield* server.admin("CONFIG", "RESETSTAT")
      const first = yield* Stream.runCollect(Stream.take(query.scan, 10))
      assert.strictEqual(first.length, 10)
      const counts = yield* commandCounts(server)
      assert.isBelow(counts.get("hmget") ?? 0, 1000)
      const steps = yield* Stream.runCollect(query.destroyWhere(() => true))
      assert.isAbove(steps.length, 5)
      assert.deepStrictEqual(steps[steps.length - 1], { scanned: 3000, removed: 3000 })
    }), 60_000)
})
