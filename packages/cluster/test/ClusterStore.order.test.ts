/** What changes below a node is what another node has changed, before this one has heard of it. */
import { ClusterStore } from "@effect-session/cluster"
import type { SessionStore } from "@effect-session/core"
import { assert, describe, it } from "@effect/vitest"
import { Deferred, Effect, Fiber } from "effect"
import * as Records from "../../core/test/Records.ts"
import * as Nodes from "./Nodes.ts"

const record = (key: string, subject?: string) => Records.newRecord(key, { subject })

const change = (payload: string) => Records.change({ payload })

const { replacement } = Records

const payloadOf = (lookup: SessionStore.Lookup) => lookup._tag === "Live" ? lookup.record.payload : lookup._tag

const fresh = Effect.provideService(ClusterStore.Fresh, true)

// A node whose reads are held up before they reach the store, and whose saves of this payload are answered late.
const held = Effect.gen(function*() {
  const [asked, reached] = [yield* Deferred.make<void>(), yield* Deferred.make<void>()]
  const [saved, released] = [yield* Deferred.make<void>(), yield* Deferred.make<void>()]
  let holds = true
  const { nodes: [node], store: below } = yield* Nodes.make(1, {}, (store) => ({
    ...store,
    load: (key, options) =>
      holds
        ? Effect.andThen(
          Effect.andThen(Deferred.succeed(asked, undefined), Deferred.await(reached)),
          store.load(key, options)
        )
        : store.load(key, options),
    save: (key, version, change) =>
      Effect.tap(
        store.save(key, version, change),
        () => Effect.andThen(Deferred.succeed(saved, undefined), Deferred.await(released))
      )
  }))
  return {
    below,
    node,
    reading: (load: ReturnType<typeof node.store.load>) =>
      Effect.tap(Effect.forkChild(load, { startImmediately: true }), () => Deferred.await(asked)),
    saving: Effect.tap(
      Effect.forkChild(node.store.save("key", 1, change("slow")), { startImmediately: true }),
      () => Deferred.await(saved)
    ),
    read: Effect.suspend(() => {
      holds = false
      return Deferred.succeed(reached, undefined)
    }),
    answer: Deferred.succeed(released, undefined)
  }
})

// A node whose creations and saves of this payload are answered late.
const slow = Effect.gen(function*() {
  const [arrived, released] = [yield* Deferred.make<void>(), yield* Deferred.make<void>()]
  const late = <A, E>(call: Effect.Effect<A, E>, isLate: boolean) =>
    isLate
      ? Effect.tap(call, () => Effect.andThen(Deferred.succeed(arrived, undefined), Deferred.await(released)))
      : call
  const { nodes: [node], store: below } = yield* Nodes.make(1, {}, (store) => ({
    ...store,
    create: (record, limit) => late(store.create(record, limit), record.key === "slow"),
    save: (key, version, change) => late(store.save(key, version, change), change.payload === "slow")
  }))
  const begun = <A, E>(call: Effect.Effect<A, E>) =>
    Effect.tap(Effect.forkChild(call, { startImmediately: true }), () => Deferred.await(arrived))
  return { node, below, begun, release: Deferred.succeed(released, undefined) }
})

describe("what a node has seen it goes on seeing", () => {
  for (const grace of [0, 60_000]) {
    it.effect(`after a read of the store that found the session renewed, grace ${grace}`, () =>
      Effect.gen(function*() {
        const { nodes: [node], store: below } = yield* Nodes.make(1)
        yield* node.store.create(record("key"))
        yield* below.renew("key", 1, replacement("next"), { grace })
        assert.strictEqual(payloadOf(yield* node.store.load("key")), "first")
        const seen = payloadOf(yield* fresh(node.store.load("key")))
        assert.notStrictEqual(seen, "first")
        assert.strictEqual(payloadOf(yield* node.store.load("key")), seen)
      }))
  }

  it.effect("after a read beside a sign-in of the same subject", () =>
    Effect.gen(function*() {
      const { begun, below, node, release } = yield* slow
      yield* node.store.create(record("key", "ada"))
      const signIn = yield* begun(node.store.create(record("slow", "ada"), { max: 5, onLimit: "evict" }))
      yield* below.save("key", 1, change("second"))
      assert.strictEqual(payloadOf(yield* node.store.load("key")), "second")
      yield* release
      yield* Fiber.join(signIn)
      assert.strictEqual(payloadOf(yield* node.store.load("key")), "second")
    }))

  it.effect("after a read beside a save, whose answer is older", () =>
    Effect.gen(function*() {
      const { begun, below, node, release } = yield* slow
      yield* node.store.create(record("key"))
      const save = yield* begun(node.store.save("key", 1, change("slow")))
      yield* below.save("key", 2, change("third"))
      assert.strictEqual(payloadOf(yield* node.store.load("key")), "third")
      yield* release
      yield* Fiber.join(save)
      assert.strictEqual(payloadOf(yield* node.store.load("key")), "third")
    }))

  for (const how of ["a read", "a fresh read"] as const) {
    it.effect(`after ${how} that began before a save, whose answer is older`, () =>
      Effect.gen(function*() {
        const { answer, below, node, read, reading, saving } = yield* held
        yield* below.create(record("key"))
        const load = node.store.load("key")
        const seen = yield* reading(how === "a read" ? load : fresh(load))
        const save = yield* saving
        yield* below.save("key", 2, change("third"))
        yield* read
        assert.strictEqual(payloadOf(yield* Fiber.join(seen)), "third")
        yield* answer
        yield* Fiber.join(save)
        assert.strictEqual(payloadOf(yield* node.store.load("key")), "third")
      }))
  }

  it.effect("after a read that began before a save, and found the session ended", () =>
    Effect.gen(function*() {
      const { answer, below, node, read, reading, saving } = yield* held
      yield* below.create(record("key"))
      const seen = yield* reading(node.store.load("key"))
      const save = yield* saving
      yield* below.destroy("key")
      yield* read
      assert.strictEqual(payloadOf(yield* Fiber.join(seen)), "Absent")
      yield* answer
      yield* Fiber.join(save)
      assert.strictEqual(payloadOf(yield* node.store.load("key")), "Absent")
    }))

  it.effect("after a read through the key from before a renewal", () =>
    Effect.gen(function*() {
      const { nodes: [node], store: below } = yield* Nodes.make(1)
      yield* node.store.create(record("key"))
      yield* node.store.renew("key", 1, replacement("next"), { grace: 60_000 })
      assert.strictEqual(payloadOf(yield* node.store.load("next")), "renewed")
      yield* below.save("next", 1, change("third"))
      assert.strictEqual(payloadOf(yield* node.store.load("key")), "third")
      assert.strictEqual(payloadOf(yield* node.store.load("next")), "third")
    }))

  it.effect("after a read through the key from before a renewal, beside a save, whose answer is older", () =>
    Effect.gen(function*() {
      const { begun, below, node, release } = yield* slow
      yield* node.store.create(record("key"))
      yield* node.store.renew("key", 1, replacement("next"), { grace: 60_000 })
      const save = yield* begun(node.store.save("next", 1, change("slow")))
      yield* below.save("next", 2, change("third"))
      assert.strictEqual(payloadOf(yield* node.store.load("key")), "third")
      yield* release
      yield* Fiber.join(save)
      assert.strictEqual(payloadOf(yield* node.store.load("next")), "third")
    }))
})
