import { RedisClient, SessionStream } from "@effect-session/redis"
import { assert, layer } from "@effect/vitest"
import { Effect, Fiber, Stream } from "effect"
import { keyIn, keyOf, layerServer, lifetimes, newRecord, open, replacement } from "./StoreFixture.ts"

const reader = { group: "app", consumer: "one", interval: "50 millis", claimAfter: "200 millis" } as const

layer(layerServer, { excludeTestServices: true })("SessionStream", (it) => {
  it.effect("tells everything that happens to sessions, with hashed keys", () =>
    Effect.gen(function*() {
      const { client, query, store } = yield* open("told:")
      const key = (label: string) => keyOf("ada", label)
      const subject = "ada"
      yield* store.create(newRecord(key("a"), { subject }))
      yield* store.renew(key("a"), 1, replacement(key("b"), { subject }), { grace: 5 })
      yield* Effect.sleep(10)
      assert.strictEqual((yield* store.load(key("a")))._tag, "Superseded")
      yield* store.destroy(key("b"))
      yield* store.create(newRecord(key("c"), { subject }))
      yield* store.create(newRecord(key("d"), { subject }), { max: 1, onLimit: "evict" })
      yield* query.destroyBySubject(subject)
      yield* store.create(newRecord(keyIn("aa", "e")))
      yield* Stream.runDrain(query.destroyWhere(() => true))
      yield* store.create(newRecord(keyIn("aa", "f"), { idleTimeout: 20 }))
      yield* store.create(newRecord(keyIn("aa", "g"), { idleTimeout: 20 }))
      yield* Effect.sleep(30)
      yield* store.load(keyIn("aa", "f"))
      yield* Stream.runDrain(query.purgeExpired)
      const events = yield* SessionStream.consume(reader).pipe(
        Stream.take(14),
        Stream.runCollect,
        Effect.provideService(RedisClient.RedisClient, client)
      )
      assert.deepStrictEqual(
        events.map(({ key, name, reason, subject }) => [name, key, subject, reason]),
        [
          ["created", key("a"), subject, undefined],
          ["renewed", key("b"), subject, undefined],
          ["theftSuspected", key("b"), subject, undefined],
          ["destroyed", key("b"), subject, undefined],
          ["created", key("c"), subject, undefined],
          ["revoked", key("c"), subject, "limit"],
          ["created", key("d"), subject, undefined],
          ["revoked", key("d"), subject, "subject"],
          ["created", keyIn("aa", "e"), undefined, undefined],
          ["revoked", keyIn("aa", "e"), undefined, "predicate"],
          ["created", keyIn("aa", "f"), undefined, undefined],
          ["created", keyIn("aa", "g"), undefined, undefined],
          ["expired", keyIn("aa", "f"), undefined, undefined],
          ["expired", keyIn("aa", "g"), undefined, undefined]
        ]
      )
    }))

  it.effect("an event that was not handled comes again, and one that was does not", () =>
    Effect.gen(function*() {
      const { client, store } = yield* open("again:")
      for (let i = 0; i < 5; i++) yield* store.create(newRecord(keyIn("aa", `${i}`)))
      const handled: Array<string> = []
      const read = (fail: number) =>
        SessionStream.consume(reader).pipe(
          Stream.take(5),
          Stream.runForEach(({ key }) =>
            Effect.suspend(() => {
              if (handled.length === fail) return Effect.fail("stop" as const)
              handled.push(key)
              return Effect.void
            })
          ),
          Effect.provideService(RedisClient.RedisClient, client)
        )
      assert.strictEqual(yield* Effect.flip(read(3)), "stop")
      yield* Effect.timeoutOption(read(5), "500 millis").pipe(Effect.ignore)
      assert.deepStrictEqual(handled, Array.from({ length: 5 }, (_, i) => keyIn("aa", `${i}`)))
    }))

  it.effect("another reader takes over what a dead one has left", () =>
    Effect.gen(function*() {
      const { client, store } = yield* open("dead:")
      for (let i = 0; i < 3; i++) yield* store.create(newRecord(keyIn("aa", `${i}`)))
      const read = (consumer: string, n: number) =>
        SessionStream.consume({ ...reader, consumer }).pipe(
          Stream.take(n),
          Stream.runCollect,
          Effect.provideService(RedisClient.RedisClient, client)
        )
      yield* read("dead", 1)
      yield* Effect.sleep(250)
      const events = yield* read("alive", 3)
      assert.deepStrictEqual(events.map(({ key }) => key), [0, 1, 2].map((i) => keyIn("aa", `${i}`)))
    }))

  it.effect("a reader waits for what is to come, and every group gets everything", () =>
    Effect.gen(function*() {
      const { client, server, store } = yield* open("wait:")
      const read = (group: string) =>
        SessionStream.consume({ ...reader, group }).pipe(
          Stream.take(2),
          Stream.runCollect,
          Effect.provideService(RedisClient.RedisClient, client)
        )
      const readers = yield* Effect.forkChild(Effect.all([read("a"), read("b")], { concurrency: 2 }))
      yield* Effect.sleep(200)
      assert.deepStrictEqual((yield* lifetimes(server, "wait:")).filter(([, ttl]) => ttl <= 0), [])
      yield* store.create(newRecord(keyIn("aa", "a")))
      yield* store.destroy(keyIn("aa", "a"))
      const [a, b] = yield* Fiber.join(readers)
      assert.deepStrictEqual(a.map(({ name }) => name), ["created", "destroyed"])
      assert.deepStrictEqual(b, a)
    }))

  it.effect("can be switched off, and is capped", () =>
    Effect.gen(function*() {
      const off = yield* open("off:", { events: false })
      yield* off.store.create(newRecord(keyIn("aa", "a")))
      assert.strictEqual(yield* off.server.admin("EXISTS", "off:!events"), 0)
      const capped = yield* open("capped:", { eventCapacity: 100 })
      yield* Effect.forEach(
        Array.from({ length: 1000 }),
        (_, i) => capped.store.create(newRecord(keyIn("aa", `${i}`))),
        { concurrency: 50, discard: true }
      )
      const length = Number(yield* capped.server.admin("XLEN", "capped:!events"))
      assert.isTrue(length >= 100 && length < 300, `${length}`)
    }))
})
