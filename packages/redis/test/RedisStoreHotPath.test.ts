import { RedisClient, RedisStore } from "@effect-session/redis"
import { assert, layer } from "@effect/vitest"
import { Context, Effect, Layer, Schedule } from "effect"
import { AsyncLocalStorage } from "node:async_hooks"
import { change, commandCounts, keyIn, keyOf, layerServer, newRecord, open, Server } from "./StoreFixture.ts"

const hour = 3_600_000
const day = 24 * hour
const redisKey = (prefix: string, key: string) => `${prefix}{${key.slice(0, 2)}}${key.slice(2)}`

layer(layerServer, { excludeTestServices: true })("RedisStore in every request", (it) => {
  it.effect("reads, writes and records activity by one command each", () =>
    Effect.gen(function*() {
      const { server, store } = yield* open("one:", { events: false })
      const key = keyOf("ada", "a")
      yield* store.create(newRecord(key, { subject: "ada" }))
      yield* store.save(key, 1, change())
      yield* store.load(key, { touchAfter: 0 })
      yield* Effect.sleep(5)
      yield* store.load(key, { touchAfter: 1 })
      for (
        const [name, step, expected] of [
          ["load", store.load(key), { hmget: 1 }],
          ["save", store.save(key, 2, change()), { evalsha: 1, hget: 1, time: 1, hset: 1, pexpireat: 1 }],
          ["rolling", store.load(key, { touchAfter: 1 }), { evalsha: 1, hmget: 1, time: 1, hset: 1, pexpireat: 1 }]
        ] as const
      ) {
        yield* Effect.sleep(5)
        yield* server.admin("CONFIG", "RESETSTAT")
        yield* step
        const counts = [...yield* commandCounts(server)].filter(([name]) =>
          !["info", "config|resetstat"].includes(name)
        )
        assert.deepStrictEqual(Object.fromEntries(counts), expected, name)
      }
    }))

  it.effect("goes on when the server has forgotten its scripts", () =>
    Effect.gen(function*() {
      const { server, store } = yield* open("forgotten:")
      const key = keyIn("aa", "a")
      yield* store.create(newRecord(key))
      for (const version of [1, 2, 3]) {
        yield* server.admin("SCRIPT", "FLUSH")
        const saved = yield* store.save(key, version, change({ payload: `version ${version}`, active: version < 3 }))
        assert.isTrue(saved._tag === "Saved" && saved.record.version === version + 1)
        yield* Effect.sleep(5)
        const found = yield* store.load(key, { touchAfter: 1 })
        assert.isTrue(found._tag === "Live" && found.touched === true && found.record.payload === `version ${version}`)
      }
    }))

  it.effect("the expiry of a key moves with the deadline of its session, and only then", () =>
    Effect.gen(function*() {
      const { server, store } = yield* open("moves:", { events: false, linger: 0 })
      const expiry = (key: string) => Effect.map(server.admin("PEXPIRETIME", redisKey("moves:", key)), Number)
      const [bound, idle] = [keyIn("aa", "bound"), keyIn("aa", "idle")]
      yield* store.create(newRecord(bound, { idleTimeout: day, lifetime: hour }))
      const created = yield* store.create(newRecord(idle, { idleTimeout: hour, lifetime: day }))
      if (created._tag !== "Created") return assert.fail(created._tag)
      const before = yield* expiry(bound)
      yield* Effect.sleep(5)
      yield* store.save(bound, 1, change({ idleTimeout: day }))
      assert.strictEqual(yield* expiry(bound), before)
      yield* store.save(bound, 2, change({ idleTimeout: 2 * hour }))
      assert.strictEqual(yield* expiry(bound), before)

      const saved = yield* store.save(idle, 1, change({ idleTimeout: hour }))
      if (saved._tag !== "Saved") return assert.fail(saved._tag)
      assert.isAbove(saved.record.lastSeenAt, created.record.lastSeenAt)
      assert.strictEqual(yield* expiry(idle), saved.record.lastSeenAt + hour)
      yield* Effect.sleep(5)
      const quiet = yield* store.save(idle, 2, change({ idleTimeout: hour, active: false }))
      assert.deepStrictEqual(quiet, { _tag: "Saved", record: { ...saved.record, version: 3 } })
      assert.strictEqual(yield* expiry(idle), saved.record.lastSeenAt + hour)
      const shorter = yield* store.save(idle, 3, change({ idleTimeout: 600_000.5, active: false }))
      assert.isTrue(shorter._tag === "Saved" && shorter.record.idleTimeout === 600_000.5)
      assert.strictEqual(yield* expiry(idle), saved.record.lastSeenAt + 600_001)
      const touched = yield* store.load(idle, { touchAfter: 0 }).pipe(Effect.andThen(
        Effect.andThen(Effect.sleep(5), store.load(idle, { touchAfter: 1 }))
      ))
      assert.isTrue(touched._tag === "Live" && touched.touched === true && touched.now === touched.record.lastSeenAt)
      assert.strictEqual(yield* expiry(idle), touched._tag === "Live" ? touched.record.lastSeenAt + 600_001 : 0)
      // What can only be over at once is over at once.
      assert.strictEqual((yield* store.save(idle, 4, change({ idleTimeout: 0 })))._tag, "Saved")
      yield* Effect.sleep(5)
      assert.notStrictEqual((yield* store.load(idle))._tag, "Live")
    }))

  it.effect("a reply that comes too late goes to nobody", () =>
    Effect.gen(function*() {
      const { url, ...server } = yield* Server
      const context = yield* Layer.build(RedisClient.layer({ url, prefix: "late:", commandTimeout: "200 millis" }))
      const { store } = yield* Effect.provide(RedisStore.make(), context)
      const keys = Array.from({ length: 20 }, (_, i) => keyIn("aa", `${i}`))
      yield* Effect.forEach(keys, (key, i) => store.create(newRecord(key, { payload: `payload ${i}` })))
      yield* store.save(keys[19], 1, change({ payload: "payload 19" }))
      // Scripts wait, and nothing else does.
      yield* server.admin("CLIENT", "PAUSE", "60000", "WRITE")
      const failures = yield* Effect.forEach(
        keys.slice(0, 2),
        (key) => Effect.flip(store.save(key, 1, change({ payload: "late" }))),
        { concurrency: "unbounded" }
      )
      yield* server.admin("CLIENT", "UNPAUSE")
      assert.deepStrictEqual(failures.map(({ reason }) => [reason.applied, reason.transient, reason.infrastructure]), [
        ["unknown", true, true],
        ["unknown", true, true]
      ])
      const lookups = yield* Effect.forEach(
        keys,
        (key) => Effect.retry(store.load(key), { schedule: Schedule.spaced("20 millis"), times: 250 }),
        { concurrency: "unbounded" }
      )
      assert.deepStrictEqual(
        lookups.map((lookup) => lookup._tag === "Live" ? lookup.record.payload : lookup._tag).slice(2),
        keys.map((_, i) => `payload ${i}`).slice(2)
      )
    }))

  it.effect("a client that does something else about sending is asked for everything", () =>
    Effect.gen(function*() {
      const { client } = yield* open("wrapped:")
      const sent: Array<string> = []
      const wrapped: RedisClient.RedisClient["Service"] = {
        ...client,
        send: (command, ...args) =>
          Effect.suspend(() => {
            sent.push(command)
            return client.send(command, ...args)
          })
      }
      const { store } = yield* Effect.provide(
        RedisStore.make({ events: false }),
        Context.make(RedisClient.RedisClient, wrapped)
      )
      const key = keyIn("aa", "wrapped")
      yield* store.create(newRecord(key))
      sent.length = 0
      yield* store.load(key)
      yield* store.save(key, 1, change())
      yield* Effect.sleep(5)
      yield* store.load(key, { touchAfter: 1 })
      assert.deepStrictEqual(sent, ["HMGET", "SCRIPT", "EVALSHA", "SCRIPT", "EVALSHA"])
    }))

  it.effect("what a fiber does after a reply belongs to its own request", () =>
    Effect.gen(function*() {
      const { store } = yield* open("context:")
      const requests = new AsyncLocalStorage<number>()
      const keys = Array.from({ length: 100 }, (_, i) => keyIn("aa", `${i}`))
      yield* Effect.forEach(keys, (key) => store.create(newRecord(key)), { concurrency: "unbounded" })
      const found = yield* Effect.promise(() =>
        Promise.all(keys.map((key, i) =>
          requests.run(i, () =>
            Effect.runPromise(Effect.map(
              Effect.andThen(store.load(key), store.save(key, 1, change())),
              ({ _tag }) => [_tag, requests.getStore()]
            )))
        ))
      )
      assert.deepStrictEqual(found, keys.map((_, i) => ["Saved", i]))
    }))

  it.effect("a format that has no place in a record is refused before anything is sent", () =>
    Effect.gen(function*() {
      const { store } = yield* open("format:")
      const key = keyIn("aa", "a")
      for (const format of [-1, 0.5, 2 ** 32, Number.NaN]) {
        const steps = [
          Effect.asVoid(store.create(newRecord(key, { format }))),
          Effect.asVoid(store.save(key, 1, change({ format })))
        ]
        for (const step of steps) {
          const cause = yield* Effect.flip(Effect.sandbox(step))
          assert.include(String(cause), "a format is an integer")
        }
      }
      assert.strictEqual((yield* store.create(newRecord(key, { format: 2 ** 32 - 1 })))._tag, "Created")
      const lookup = yield* store.load(key)
      assert.isTrue(lookup._tag === "Live" && lookup.record.format === 2 ** 32 - 1)
    }))

  it.effect("a signed-in session takes at most 200 bytes more than an anonymous one, its index included", () =>
    Effect.gen(function*() {
      const { server, store } = yield* open("bytes:", { events: false })
      const payload = new Uint8Array(250).fill(255)
      const key = keyOf("user-12345", "a")
      yield* store.create(newRecord(key, { payload }))
      const usage = (name: string) => Effect.map(server.admin("MEMORY", "USAGE", name, "SAMPLES", 0), Number)
      const anonymous = yield* usage(redisKey("bytes:", key))
      yield* store.destroy(key)
      yield* store.create(newRecord(key, { payload, subject: "user-12345" }))
      const names = yield* server.admin("KEYS", "bytes:*")
      const all = yield* Effect.forEach(Array.isArray(names) ? names.map(String) : [], usage)
      assert.strictEqual(all.length, 2)
      assert.isAtMost(all[0] + all[1] - anonymous, 200)
    }))
})
