import { ClusterStore, SessionEnd } from "@effect-session/cluster"
import {
  Crypto,
  Session,
  SessionBackend,
  SessionConfig,
  SessionManager,
  SessionQuery,
  SessionStore
} from "@effect-session/core"
import { assert, describe, it } from "@effect/vitest"
import { Effect, Fiber, Layer, Schema, Stream } from "effect"
import { TestClock } from "effect/testing"
import * as Nodes from "./Nodes.ts"

const record = Nodes.newRecord

const renewal = (key: string, subject: string): SessionStore.Replacement => ({
  key,
  format: 1,
  payload: "renewed",
  subject,
  idleTimeout: 600_000,
  lifetime: undefined,
  authenticated: false
})

/** Work that never ends by itself, open on a node for a session. */
const open = (node: Nodes.Node, key: string) =>
  Effect.never.pipe(
    SessionEnd.endsWith(key),
    Effect.flip,
    Effect.map(({ reason }) => reason),
    Effect.provideService(ClusterStore.ClusterStore, node.cluster),
    Effect.forkChild({ startImmediately: true })
  )

const isOpen = (fiber: Fiber.Fiber<unknown, unknown>) =>
  Effect.map(Effect.forEach(Array.from({ length: 20 }), () => Effect.yieldNow), () => fiber.pollUnsafe() === undefined)

const ends: ReadonlyArray<
  readonly [string, (a: Nodes.Node) => Effect.Effect<unknown, SessionStore.SessionStoreError>]
> = [
  ["is destroyed", (a) => a.store.destroy("key")],
  ["is revoked with its subject", (a) => a.query.destroyBySubject("ada")],
  ["is evicted by a limit", (a) => a.store.create(record("other"), { max: 1, onLimit: "evict" })],
  ["is cleared away", (a) => Stream.runDrain(a.query.clear)],
  ["ends where a predicate held", (a) => Stream.runDrain(a.query.destroyWhere(({ key }) => key === "key"))]
]

describe("work that is open for a session", () => {
  for (const [what, end] of ends) {
    it.effect(`is interrupted on every node when it ${what}`, () =>
      Effect.gen(function*() {
        const { nodes: [a, b, c] } = yield* Nodes.make(3)
        yield* a.store.create(record("key"))
        yield* a.store.create(record("bystander", { subject: "bob" }))
        const work = yield* Effect.forEach([a, b, c], (node) => open(node, "key"))
        const bystander = yield* open(b, "bystander")
        for (const fiber of work) assert.isTrue(yield* isOpen(fiber))
        yield* end(a)
        for (const fiber of work) assert.strictEqual(yield* Fiber.join(fiber), "ended")
        assert.strictEqual(yield* isOpen(bystander), what !== "is cleared away")
      }))
  }

  it.effect("goes on while the session is renewed, and ends with its successor", () =>
    Effect.gen(function*() {
      const { nodes: [a, b, c] } = yield* Nodes.make(3)
      yield* a.store.create(record("key"))
      const work = yield* open(b, "key")
      yield* a.store.renew("key", 1, renewal("next", "ada"), { grace: 10_000 })
      assert.isTrue(yield* isOpen(work))
      yield* c.store.destroy("next")
      assert.strictEqual(yield* Fiber.join(work), "ended")
    }))

  it.effect("ends when the session goes on for somebody else", () =>
    Effect.gen(function*() {
      const { nodes: [a, b] } = yield* Nodes.make(2)
      yield* a.store.create(record("key"))
      const work = yield* open(b, "key")
      yield* a.store.renew("key", 1, renewal("next", "bob"), { grace: 10_000 })
      assert.strictEqual(yield* Fiber.join(work), "handedOver")
    }))

  it.effect("ends at the deadline of the session, which activity elsewhere may move", () =>
    Effect.gen(function*() {
      const { nodes: [a, b] } = yield* Nodes.make(2)
      yield* a.store.create(record("key", { idleTimeout: 10_000 }))
      const work = yield* open(b, "key")
      yield* TestClock.adjust(8000)
      yield* a.store.touch("key")
      yield* TestClock.adjust(8000)
      assert.isTrue(yield* isOpen(work))
      yield* TestClock.adjust(2001)
      assert.strictEqual(yield* Fiber.join(work), "expired")
    }))

  it.effect("ends within the bound also where no message arrives", () =>
    Effect.gen(function*() {
      let deaf = false
      const { nodes: [a, b] } = yield* Nodes.make(
        2,
        { channel: { heartbeat: "1 second" } },
        undefined,
        (bus, node) => ({
          ...bus,
          join: (onFrame) => bus.join((frame) => node === 1 && deaf ? undefined : onFrame(frame))
        })
      )
      yield* TestClock.adjust("3 seconds")
      yield* a.store.create(record("key"))
      const work = yield* open(b, "key")
      deaf = true
      yield* a.store.destroy("key")
      assert.isTrue(yield* isOpen(work))
      yield* TestClock.adjust("5 seconds")
      assert.strictEqual(yield* Fiber.join(work), "ended")
    }))

  it.effect("outlives an outage of the store, up to the absolute deadline", () =>
    Effect.gen(function*() {
      let down = false
      const outage = new SessionStore.SessionStoreError({
        reason: new SessionStore.StoreUnavailable({ description: "scripted" })
      })
      const { nodes: [a, b] } = yield* Nodes.make(2, {}, (store) => ({
        ...store,
        load: (key) => Effect.suspend(() => down ? Effect.fail(outage) : store.load(key))
      }))
      yield* a.store.create(record("key", { idleTimeout: 10_000, lifetime: 60_000 }))
      const work = yield* open(b, "key")
      down = true
      yield* TestClock.adjust(50_000)
      assert.isTrue(yield* isOpen(work))
      yield* TestClock.adjust(15_000)
      assert.strictEqual(yield* Fiber.join(work), "expired")
    }))

  it.effect("is left alone by what ends by itself", () =>
    Effect.gen(function*() {
      const { nodes: [a] } = yield* Nodes.make(1)
      yield* a.store.create(record("key"))
      const value = yield* Effect.succeed(42).pipe(
        SessionEnd.endsWith("key"),
        Effect.provideService(ClusterStore.ClusterStore, a.cluster)
      )
      assert.strictEqual(value, 42)
    }))

  it.effect("as a stream ends without an error", () =>
    Effect.gen(function*() {
      const { nodes: [a, b] } = yield* Nodes.make(2)
      yield* a.store.create(record("key"))
      const reading = yield* Stream.concat(Stream.make(1, 2), Stream.never).pipe(
        SessionEnd.endsStreamWith("key"),
        Stream.runCollect,
        Effect.provideService(ClusterStore.ClusterStore, b.cluster),
        Effect.forkChild({ startImmediately: true })
      )
      assert.isTrue(yield* isOpen(reading))
      yield* a.store.destroy("key")
      assert.deepStrictEqual(yield* Fiber.join(reading), [1, 2])
    }))
})

describe("the stream of ends", () => {
  it.effect("has those of other nodes and its own, and no renewals", () =>
    Effect.gen(function*() {
      const { nodes: [a, b] } = yield* Nodes.make(2)
      const reading = yield* SessionEnd.stream.pipe(
        Stream.take(3),
        Stream.runCollect,
        Effect.provideService(ClusterStore.ClusterStore, b.cluster),
        Effect.forkChild({ startImmediately: true })
      )
      yield* Effect.yieldNow
      for (const key of ["one", "two", "three"]) yield* a.store.create(record(key, { subject: key }))
      yield* a.store.renew("one", 1, renewal("four", "one"))
      yield* a.store.destroy("four")
      yield* b.store.destroy("two")
      yield* a.query.destroyBySubject("three")
      const [first, second, third] = yield* Fiber.join(reading)
      assert.deepStrictEqual([first, second], [{ _tag: "Session", key: "four" }, { _tag: "Session", key: "two" }])
      assert.strictEqual(third._tag, "Subject")
      assert.notInclude(JSON.stringify(third), "three")
    }))
})

describe("a request's session", () => {
  class UserSession extends Session.Service<UserSession>()("test/UserSession", {
    data: Schema.Struct({ n: Schema.Number }),
    initial: { n: 0 }
  }) {}

  it.effect("has a store key, and what goes on for it ends with it", () =>
    Effect.gen(function*() {
      const { nodes: [a] } = yield* Nodes.make(1)
      const services = Layer.mergeAll(
        Layer.succeed(SessionStore.SessionStore, a.store),
        Layer.succeed(SessionQuery.SessionQuery, a.query)
      )
      const layer = SessionBackend.layer("cluster").pipe(
        Layer.provideMerge(services),
        Layer.provideMerge(Nodes.crypto),
        Layer.provideMerge(SessionConfig.layer({ preset: "development", secrets: Nodes.secret }))
      )
      yield* Effect.gen(function*() {
        const manager = yield* SessionManager.make(UserSession)
        const crypto = yield* Crypto.Crypto
        const anonymous = yield* manager.run(undefined, UserSession.set({ n: 1 }))
        assert.isUndefined((yield* manager.run(undefined, SessionEnd.keyOf(UserSession))).value)
        const key = yield* crypto.hashId(anonymous.token!)
        assert.strictEqual((yield* manager.run(anonymous.token, SessionEnd.keyOf(UserSession))).value, key)
        const { token } = yield* manager.run(undefined, UserSession.login("ada"))
        if (token === undefined) return assert.fail("no token")
        const { value } = yield* manager.run(token, SessionEnd.keyOf(UserSession))
        assert.strictEqual(value, yield* crypto.hashId(token))
        const cluster = yield* Layer.build(Layer.succeed(ClusterStore.ClusterStore, a.cluster))
        const open = manager.open({ token })
        const socket = yield* Effect.never.pipe(
          SessionEnd.endsWithSession(UserSession),
          Effect.provideService(UserSession, open),
          Effect.provideContext(cluster),
          Effect.flip,
          Effect.forkChild
        )
        const ticks = yield* Stream.never.pipe(
          SessionEnd.endsStreamWithSession(UserSession),
          Stream.runDrain,
          Effect.provideService(UserSession, open),
          Effect.provideContext(cluster),
          Effect.forkChild
        )
        yield* TestClock.adjust(1)
        yield* manager.run(token, UserSession.destroy)
        assert.deepInclude(yield* Fiber.join(socket), { _tag: "SessionEndedError", reason: "ended" })
        yield* Fiber.join(ticks)
        const nobody = Effect.never.pipe(
          SessionEnd.endsWithSession(UserSession),
          Effect.provideService(UserSession, manager.open({})),
          Effect.provideContext(cluster)
        )
        assert.strictEqual((yield* Effect.flip(nobody))._tag, "SessionEndedError")
      }).pipe(Effect.provide(layer))
    }))
})
