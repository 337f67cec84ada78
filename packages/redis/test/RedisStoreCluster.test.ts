import { type SessionStore, SessionToken } from "@effect-session/core"
import { StoreConformance } from "@effect-session/core/testing"
import * as StoreModelTest from "@effect-session/core/testing/StoreModelTest"
import { RedisClient, RedisStore, SessionStream } from "@effect-session/redis"
import { assert, describe, layer } from "@effect/vitest"
import { Context, Effect, Layer, Stream } from "effect"
import * as RedisCluster from "./RedisCluster.ts"
import { change, keyIn, keyOf, newRecord, replacement, subjectIn } from "./StoreFixture.ts"

class Cluster extends Context.Service<Cluster, RedisCluster.RedisCluster>()("test/Cluster") {}

const layerClient = (prefix: string) =>
  Layer.unwrap(
    Effect.map(Cluster, ({ nodes }) =>
      RedisClient.layerCluster({
        nodes: nodes.map(({ url }) => url),
        prefix,
        commandTimeout: "5 seconds"
      }))
  )

const layerStore = (prefix: string, options?: RedisStore.Options) =>
  RedisStore.layerStore(options).pipe(Layer.provideMerge(layerClient(prefix)))

// All that a law or a sequence works with lives in one bucket, as the sessions of a subject do.
const bucket = "xY"
const options = {
  elapse: Effect.sleep,
  unit: 50,
  exactTime: false,
  races: 5,
  keyOf: (text: string) => keyIn(bucket, text),
  subjectOf: (text: string) => subjectIn(bucket, text)
}
// It makes subjects out of others, which live elsewhere.
const laws = StoreConformance.laws(options).filter(({ name }) => name !== "subjects that look alike stay apart")

/** A client that is cut off after some commands: the rest fail before they are sent. */
const cutAfter = (client: RedisClient.RedisClient["Service"], scripts: number): RedisClient.RedisClient["Service"] => {
  let left = scripts
  return {
    ...client,
    send: (command, ...args) =>
      Effect.suspend(() => command !== "EVALSHA" || left-- > 0 ? client.send(command, ...args) : Effect.die("cut off"))
  }
}

const open = Effect.fnUntraced(function*(prefix: string, cut?: number) {
  const client = Context.get(yield* Layer.build(layerClient(prefix)), RedisClient.RedisClient)
  const make = (client: RedisClient.RedisClient["Service"]) =>
    Effect.provideService(RedisStore.make(), RedisClient.RedisClient, client)
  const { query, store } = yield* make(client)
  return { client, query, store, cut: cut === undefined ? store : (yield* make(cutAfter(client, cut))).store }
})

const live = (store: SessionStore.SessionStore["Service"], key: string) =>
  Effect.map(store.load(key), ({ _tag }) => _tag === "Live")

const subject = "ada"
const fresh = { subject, authenticated: true }

layer(Layer.effect(Cluster, RedisCluster.make()), { excludeTestServices: true })("Redis Cluster", (it) => {
  it.layer(layerStore("cluster:"))("one bucket", (it) => {
    describe.concurrent("laws", () => {
      for (const law of laws.filter(({ exclusive }) => !exclusive)) it.effect(law.name, () => law.run)
    })

    for (const law of laws.filter(({ exclusive }) => exclusive)) it.effect(law.name, () => law.run)

    it.effect("does what its model does", () => StoreModelTest.sequential({ ...options, runs: 100 }), 60_000)

    it.effect("does everything in atomic steps", () => StoreModelTest.parallel({ ...options, runs: 100 }), 60_000)
  })

  it.effect("an anonymous session signs in and moves to the bucket of its subject", () =>
    Effect.gen(function*() {
      const { query, store } = yield* open("move:")
      for (const grace of [0, 10_000]) {
        const [a, b] = [keyIn("aa", `a${grace}`), keyOf(subject, `b${grace}`)]
        const before = yield* store.create(newRecord(a))
        if (before._tag !== "Created") return assert.fail(before._tag)
        assert.deepStrictEqual(yield* store.renew(a, 2, replacement(b, fresh)), { _tag: "Conflict" })
        const renewed = yield* store.renew(a, 1, replacement(b, { ...fresh, payload: Uint8Array.of(1, 255) }), {
          grace
        })
        if (renewed._tag !== "Renewed") return assert.fail(renewed._tag)
        const { record } = renewed
        assert.deepStrictEqual(record, {
          ...before.record,
          issuedAt: record.issuedAt,
          lastSeenAt: record.issuedAt,
          authenticatedAt: record.issuedAt,
          subject,
          payload: Uint8Array.of(1, 255)
        })
        const found = yield* store.load(b)
        assert.deepStrictEqual(found._tag === "Live" && found.record, record)
        const through = yield* store.load(a)
        if (grace === 0) assert.deepStrictEqual(through, { _tag: "Absent" })
        else assert.isTrue(through._tag === "Live" && through.alias === b)
        assert.deepStrictEqual(yield* store.save(a, 1, change()), { _tag: "Gone" })
        assert.deepStrictEqual((yield* query.bySubject(subject)).map(({ key }) => key), [b])
        assert.deepStrictEqual(yield* store.renew(a, 1, replacement(keyOf(subject, "c"), fresh)), { _tag: "Gone" })
        // A logout through the old key ends the session if the old key still reads it.
        assert.strictEqual(yield* store.destroy(a), grace > 0)
        assert.strictEqual(yield* live(store, b), grace === 0)
        yield* store.destroy(b)
        assert.deepStrictEqual(yield* query.bySubject(subject), [])
      }
    }))

  for (const cut of [0, 1, 2, 3]) {
    for (const grace of [0, 10_000]) {
      it.effect(`a move cut off after ${cut} of its scripts, with a grace of ${grace}, leaves one live key`, () =>
        Effect.gen(function*() {
          const prefix = `cut${cut}${grace}:`
          const { query, store, ...rest } = yield* open(prefix, cut)
          const [a, b] = [keyIn("aa", "a"), keyOf(subject, "b")]
          yield* store.create(newRecord(a))
          const exit = yield* Effect.exit(rest.cut.renew(a, 1, replacement(b, fresh), { grace }))
          assert.strictEqual(exit._tag, cut === 3 ? "Success" : "Failure")
          const moved = cut >= 2
          const old = yield* store.load(a)
          const now = yield* store.load(b)
          assert.strictEqual(now._tag, moved ? "Live" : "Absent")
          if (moved) assert.strictEqual(old._tag, grace === 0 ? "Absent" : "Live")
          else assert.isTrue(old._tag === "Live" && old.alias === undefined && old.record.version === 1)
          // Every way to look agrees.
          assert.deepStrictEqual((yield* query.bySubject(subject)).map(({ key }) => key), moved ? [b] : [])
          assert.deepStrictEqual((yield* Stream.runCollect(query.scan)).map(({ key }) => key), [moved ? b : a])
          assert.strictEqual(yield* query.count, 1)
          // Who is not live cannot be written, who is can, and another try works.
          assert.strictEqual(yield* store.touch(b), moved)
          assert.strictEqual(yield* store.touch(a), !moved)
          if (!moved) {
            assert.deepStrictEqual(yield* store.save(b, 1, change()), { _tag: "Gone" })
            const c = keyOf(subject, "c")
            assert.strictEqual((yield* store.renew(a, 1, replacement(c, fresh)))._tag, "Renewed")
            assert.isFalse(yield* live(store, b))
            assert.deepStrictEqual(yield* query.destroyBySubject(subject), [c])
          } else {
            assert.strictEqual((yield* store.save(b, 1, change()))._tag, "Saved")
            assert.deepStrictEqual(yield* query.destroyBySubject(subject), [b])
          }
          for (const key of [a, b]) assert.isFalse(yield* live(store, key))
        }))
    }
  }

  for (const cut of [0, 1, 2]) {
    for (const onLimit of ["evict", "refuse"] as const) {
      it.effect(`a move cut off after ${cut} of its scripts is done by the same move once more, limit: ${onLimit}`, () =>
        Effect.gen(function*() {
          const { query, store, ...rest } = yield* open(`again${cut}${onLimit}:`, cut)
          const [a, b] = [keyIn("aa", "a"), keyOf(subject, "b")]
          const created = yield* store.create(newRecord(a))
          if (created._tag !== "Created") return assert.fail(created._tag)
          const options = { grace: 10_000, limit: { max: 1, onLimit } }
          yield* Effect.exit(rest.cut.renew(a, 1, replacement(b, fresh), options))
          const again = yield* store.renew(a, 1, replacement(b, fresh), options)
          // Once it is decided, it is told by the record under the new key.
          assert.strictEqual(again._tag, cut < 2 ? "Renewed" : "Gone")
          const found = yield* store.load(b)
          if (found._tag !== "Live") return assert.fail(found._tag)
          const { record } = found
          assert.deepStrictEqual(record, {
            ...created.record,
            issuedAt: record.issuedAt,
            lastSeenAt: record.issuedAt,
            authenticatedAt: record.issuedAt,
            subject,
            payload: replacement(b, fresh).payload
          })
          const through = yield* store.load(a)
          assert.isTrue(through._tag === "Live" && through.alias === b)
          assert.deepStrictEqual((yield* query.bySubject(subject)).map(({ key }) => key), [b])
          assert.deepStrictEqual(yield* query.destroyBySubject(subject), [b])
          for (const key of [a, b]) assert.isFalse(yield* live(store, key))
        }))
    }
  }

  it.effect("a move to a key that another session moves to is refused, and leaves it alone", () =>
    Effect.gen(function*() {
      const { store, ...rest } = yield* open("taken:", 1)
      const [a, b, c] = [keyIn("aa", "a"), keyOf(subject, "b"), keyIn("aa", "c")]
      for (const key of [a, c]) yield* store.create(newRecord(key))
      yield* Effect.exit(rest.cut.renew(a, 1, replacement(b, fresh)))
      assert.deepStrictEqual(yield* store.renew(c, 1, replacement(b, fresh)), { _tag: "KeyTaken" })
      assert.strictEqual((yield* store.renew(a, 1, replacement(b, fresh)))._tag, "Renewed")
      assert.isTrue(yield* live(store, c))
      assert.isTrue(yield* live(store, b))
    }))

  it.effect("a move keeps the earlier keys of its session, also when it is done once more", () =>
    Effect.gen(function*() {
      const prefix = "earlier:"
      const { store } = yield* open(prefix)
      const { cut } = yield* open(prefix, 1)
      const [first, second, third] = [keyOf(subject, "1"), keyIn("aa", "2"), keyOf(subject, "3")]
      yield* store.create(newRecord(first))
      const grace = { grace: 10_000 }
      assert.strictEqual((yield* store.renew(first, 1, replacement(second), grace))._tag, "Renewed")
      yield* Effect.exit(cut.renew(second, 1, replacement(third, fresh), grace))
      assert.strictEqual((yield* store.renew(second, 1, replacement(third, fresh), grace))._tag, "Renewed")
      for (const key of [first, second]) {
        const found = yield* store.load(key)
        assert.isTrue(found._tag === "Live" && found.alias === third, key)
      }
    }))

  it.effect("a revoke-all right after the decision of a move ends the session", () =>
    Effect.gen(function*() {
      const { cut, query, store } = yield* open("revoke:", 2)
      const [a, b] = [keyIn("aa", "a"), keyOf(subject, "b")]
      yield* store.create(newRecord(a))
      yield* Effect.exit(cut.renew(a, 1, replacement(b, fresh), { grace: 10_000 }))
      assert.deepStrictEqual(yield* query.destroyBySubject(subject), [b])
      for (const key of [a, b]) assert.isFalse(yield* live(store, key))
    }))

  it.effect("limits hold for sessions that move in", () =>
    Effect.gen(function*() {
      const { query, store } = yield* open("limit:")
      const signIn = Effect.fnUntraced(function*(i: number, onLimit: "evict" | "refuse") {
        const a = keyIn(`a${i % 10}`, `${onLimit}${i}`)
        yield* store.create(newRecord(a))
        const limit = { max: 3, onLimit }
        return yield* store.renew(a, 1, replacement(keyOf(onLimit, `${i}`), { ...fresh, subject: onLimit }), { limit })
      })
      for (const onLimit of ["evict", "refuse"] as const) {
        const results = yield* Effect.forEach(Array.from({ length: 20 }), (_, i) => signIn(i, onLimit), {
          concurrency: "unbounded"
        })
        const tags = results.map(({ _tag }) => _tag)
        if (onLimit === "refuse") assert.strictEqual(tags.filter((tag) => tag === "Renewed").length, 3)
        assert.strictEqual((yield* query.bySubject(onLimit)).length, 3)
      }
    }))

  it.effect("of twenty simultaneous moves of one session one wins", () =>
    Effect.gen(function*() {
      const { store } = yield* open("twenty:")
      for (let round = 0; round < 20; round++) {
        const a = keyIn("aa", `${round}`)
        yield* store.create(newRecord(a))
        const keys = Array.from({ length: 20 }, (_, i) => keyOf(`user ${i}`, `${round}`))
        const results = yield* Effect.forEach(
          keys,
          (key, i) => store.renew(a, 1, replacement(key, { ...fresh, subject: `user ${i}` })),
          { concurrency: "unbounded" }
        )
        const winners = keys.filter((_, i) => results[i]._tag === "Renewed")
        assert.strictEqual(winners.length, 1)
        const alive = yield* Effect.filter(keys, (key) => live(store, key))
        assert.deepStrictEqual(alive, winners)
        assert.isFalse(yield* live(store, a))
      }
    }))

  it.effect("sessions ended while they move stay ended", () =>
    Effect.gen(function*() {
      const { query, store } = yield* open("ended:")
      const round = Effect.fnUntraced(function*(id: number) {
        const user = `user ${id}`
        const [a, b] = [keyIn("aa", `${id}`), keyOf(user, "b")]
        yield* store.create(newRecord(a))
        const wait = Effect.sleep(id % 5)
        const [renewed] = yield* Effect.all([
          store.renew(a, 1, replacement(b, { ...fresh, subject: user }), { grace: 10_000 }),
          Effect.andThen(wait, store.destroy(a)),
          Effect.andThen(Effect.sleep(id % 3), store.touch(b))
        ], { concurrency: "unbounded" })
        // With grace the old key reaches the session before and after the move.
        assert.include(["Renewed", "Gone"], renewed._tag)
        assert.isFalse(yield* live(store, a), `${id}`)
        assert.isFalse(yield* live(store, b), `${id}`)
        assert.deepStrictEqual(yield* query.bySubject(user), [])
      })
      yield* Effect.forEach(Array.from({ length: 300 }), (_, id) => round(id), { concurrency: 10, discard: true })
    }), 60_000)

  it.effect("sessions and indexes are spread over the masters, scans see all of them, and every key has an expiry", () =>
    Effect.gen(function*() {
      const { client, query, store } = yield* open("spread:")
      const keys = Array.from({ length: 120 }, (_, i) => keyOf(`user ${i}`, "a"))
      yield* Effect.forEach(keys, (key, i) => store.create(newRecord(key, { subject: `user ${i}` })), {
        concurrency: "unbounded",
        discard: true
      })
      const masters = yield* client.masters
      for (const master of masters) {
        const names = yield* master.send("KEYS", "spread:*")
        assert.isTrue(Array.isArray(names) && names.length > 30)
        for (const name of Array.isArray(names) ? names.map(String) : []) {
          assert.isAbove(Number(yield* master.send("PTTL", name)), 0, name)
        }
      }
      const found = yield* Stream.runCollect(query.scan)
      assert.deepStrictEqual(found.map(({ key }) => key).toSorted(), keys.toSorted())
      const steps = yield* Stream.runCollect(query.clear)
      assert.deepStrictEqual(steps[steps.length - 1], { scanned: 120, removed: 120 })
    }))

  it.effect("sessions stay usable while their slot moves to another master", () =>
    Effect.gen(function*() {
      const cluster = yield* Cluster
      const prefix = "slot:"
      const { query, store } = yield* open(prefix)
      const keys = Array.from({ length: 50 }, (_, i) => keyOf(subject, `${i}`))
      yield* Effect.forEach(keys, (key) => store.create(newRecord(key, { subject })), { discard: true })
      const slot = RedisCluster.slotOf(`${prefix}{${SessionToken.bucketOfSubject(subject)}}x`)
      const from = yield* cluster.masterOf(slot)
      const to = cluster.nodes.slice(0, 3).find((node) => node !== from)!
      const { begin, finish, moveKeys } = yield* cluster.migration(slot, to)
      yield* begin
      yield* moveKeys(25)
      // Reads of one key work; what needs several of them may have to wait, and says so.
      for (const key of keys) assert.isTrue(yield* live(store, key))
      const tags = yield* Effect.forEach(keys, (key) =>
        Effect.match(store.touch(key), {
          onSuccess: (touched) => touched,
          onFailure: ({ reason }) => reason.transient === true && reason.applied === "no"
        }))
      assert.isTrue(tags.every(Boolean))
      while ((yield* moveKeys(100)) > 0) { /* until none is left */ }
      yield* finish
      for (const key of keys) assert.isTrue(yield* store.touch(key))
      assert.strictEqual((yield* query.destroyBySubject(subject)).length, 50)
    }), 60_000)

  it.effect("events of all buckets reach a reader", () =>
    Effect.gen(function*() {
      const { client, store } = yield* open("events:")
      const keys = Array.from({ length: 30 }, (_, i) => keyOf(`user ${i}`, "a"))
      yield* Effect.forEach(keys, (key, i) => store.create(newRecord(key, { subject: `user ${i}` })), { discard: true })
      yield* store.create(newRecord(keyIn("aa", "a")))
      yield* store.renew(keyIn("aa", "a"), 1, replacement(keyOf(subject, "b"), fresh))
      const events = yield* SessionStream.consume({ group: "app", consumer: "one", interval: "50 millis" }).pipe(
        Stream.take(32),
        Stream.runCollect,
        Effect.provideService(RedisClient.RedisClient, client)
      )
      const names = events.map(({ key, name }) => `${name} ${key}`)
      assert.deepStrictEqual(
        names.toSorted(),
        [
          ...[...keys, keyIn("aa", "a")].map((key) => `created ${key}`),
          `renewed ${keyOf(subject, "b")}`
        ].toSorted()
      )
    }))

  it.effect("a key outside of its subject's bucket is a defect", () =>
    Effect.gen(function*() {
      const { store } = yield* open("outside:")
      const exit = yield* Effect.exit(store.create(newRecord(keyIn("zz", "a"), { subject })))
      assert.isTrue(exit._tag === "Failure" && exit.cause.reasons[0]._tag === "Die")
    }))
})
