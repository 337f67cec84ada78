/** What goes on with a session beside and after its request. */
import {
  MemoryStore,
  Session,
  SessionBackend,
  SessionConfig,
  type SessionError,
  SessionManager,
  type StoreFault
} from "@effect-session/core"
import * as CryptoNode from "@effect-session/core/CryptoNode"
import { FaultStore, SessionTest } from "@effect-session/core/testing"
import { assert, describe, it } from "@effect/vitest"
import { Deferred, Effect, Fiber, Layer, Schema } from "effect"
import { TestClock } from "effect/testing"

class Cart extends Session.Service<Cart>()("test/Cart", {
  data: Schema.Struct({ items: Schema.Int }),
  initial: { items: 0 }
}) {}

const layer = SessionBackend.layer("test").pipe(
  Layer.provideMerge(FaultStore.over(MemoryStore.layerStore())),
  Layer.provideMerge(CryptoNode.layer),
  Layer.provideMerge(SessionConfig.layer({
    preset: "testing",
    sliding: true,
    touchInterval: "1 minute",
    idleTimeout: "20 minutes",
    lifetime: "1 hour",
    renewalInterval: "10 minutes"
  }))
)
const provided = Effect.provide(layer)

const reason = <A, R>(effect: Effect.Effect<A, SessionError.SessionError, R>) =>
  Effect.match(effect, { onFailure: (error) => error.reason._tag, onSuccess: () => "done" })

const add = (items: number) => (data: { readonly items: number }) => ({ items: data.items + items })

const setup = Effect.gen(function*() {
  const faults = yield* FaultStore.FaultStore
  const manager = yield* SessionManager.make(Cart)
  const token = yield* SessionTest.start(Cart, { subject: "ada", data: { items: 7 } })
  /** Holds up the next call of a method until it is released. */
  const hold = Effect.fnUntraced(function*(method: StoreFault.Operation, then: FaultStore.Fault = (call) => call) {
    const [called, gate] = [yield* Deferred.make<void>(), yield* Deferred.make<void>()]
    faults.next(
      method,
      (call, asked) =>
        Effect.andThen(Effect.andThen(Deferred.succeed(called, undefined), Deferred.await(gate)), then(call, asked))
    )
    return { called: Deferred.await(called), release: Deferred.succeed(gate, undefined) }
  })
  return { faults, hold, manager, token }
})

const inBackground = <A, E, R>(effect: Effect.Effect<A, E, R>) => Effect.forkChild(effect, { startImmediately: true })

describe("a session that is followed", () => {
  it.effect.each(["after", "while"] as const)(
    "is the one that its request has begun, asked %s the request commits",
    (when) =>
      Effect.gen(function*() {
        const { hold, manager } = yield* setup
        const session = manager.open({})
        const followed = yield* SessionManager.follow(session)
        yield* session.login("ada")
        const { called, release } = yield* hold("create")
        const commit = yield* inBackground(session.finish("success"))
        yield* called
        const during = when === "while" ? yield* followed.status : "anonymous"
        yield* release
        yield* Fiber.join(commit)
        assert.strictEqual(during, "anonymous")
        assert.strictEqual(yield* followed.status, "active")
        assert.strictEqual((yield* followed.check)._tag, "Live")
      }).pipe(provided)
  )

  it.effect("has the new id that its request gives it, also when it is asked while the request commits", () =>
    Effect.gen(function*() {
      const { hold, manager, token } = yield* setup
      const session = manager.open({ token })
      const followed = yield* SessionManager.follow(session)
      yield* session.renew
      const { called, release } = yield* hold("renew")
      const commit = yield* inBackground(session.finish("success"))
      yield* called
      const during = yield* followed.check
      yield* release
      yield* Fiber.join(commit)
      assert.strictEqual(during._tag, "Live")
      assert.strictEqual((yield* followed.check)._tag, "Live")
      assert.strictEqual(yield* reason(followed.run((session) => session.update(add(1)))), "done")
    }).pipe(provided))

  it.effect("is what is left of it when its request could not be committed", () =>
    Effect.gen(function*() {
      const { faults, manager, token } = yield* setup
      const session = manager.open({ token })
      const followed = yield* SessionManager.follow(session)
      yield* session.update(add(1))
      faults.next("save", FaultStore.failBefore)
      assert.strictEqual(yield* reason(session.finish("success")), "Unavailable")
      yield* followed.run((session) => session.update(add(10)))
      assert.deepStrictEqual(yield* followed.read((session) => session.get), { items: 17 })
    }).pipe(provided))

  it.effect("is none for a request that has none by its route, and nobody looks at its token", () =>
    Effect.gen(function*() {
      const { faults, manager, token } = yield* setup
      const session = manager.open({ token, access: "none" })
      const followed = yield* SessionManager.follow(session)
      yield* session.finish("success")
      faults.forget()
      assert.strictEqual(yield* followed.status, "anonymous")
      assert.isUndefined(followed.key)
      assert.deepStrictEqual(yield* followed.read((session) => session.get), { items: 0 })
      assert.strictEqual(yield* reason(followed.run((session) => session.update(add(1)))), "ReadOnly")
      assert.strictEqual(yield* reason(followed.touch), "ReadOnly")
      assert.deepStrictEqual(yield* followed.check, { _tag: "Over", cause: "ended" })
      assert.strictEqual(faults.count("load"), 0)
    }).pipe(provided))

  it.effect("records activity at most once per interval, however many say so while the store is slow", () =>
    Effect.gen(function*() {
      const { faults, hold, manager, token } = yield* setup
      const session = manager.open({ token })
      const followed = yield* SessionManager.follow(session)
      yield* session.finish("success")
      faults.forget()
      const { called, release } = yield* hold("load")
      const first = yield* inBackground(followed.touch)
      yield* called
      yield* Effect.all(Array.from({ length: 20 }, () => followed.touch), { concurrency: "unbounded" })
      yield* release
      yield* Fiber.join(first)
      assert.deepStrictEqual([faults.count("load"), faults.count("touch")], [1, 1])
    }).pipe(provided))

  it.effect("asks a failing store for activity at most once per interval", () =>
    Effect.gen(function*() {
      const { faults, manager, token } = yield* setup
      const session = manager.open({ token })
      const followed = yield* SessionManager.follow(session)
      yield* session.finish("success")
      faults.forget()
      faults.always(FaultStore.failBefore, "load")
      const touches = Effect.all(Array.from({ length: 5 }, () => reason(followed.touch)))
      assert.deepStrictEqual(yield* touches, ["Unavailable", "done", "done", "done", "done"])
      assert.strictEqual(faults.count("load"), 1)
      yield* TestClock.adjust("1 minute")
      faults.heal()
      yield* touches
      assert.strictEqual(faults.count("touch"), 1)
    }).pipe(provided))

  it.effect.each([false, true])(
    "delivers flash messages also when another write comes between, after a renewal by age: %s",
    (renewed) =>
      Effect.gen(function*() {
        const { faults, manager, token } = yield* setup
        const client = { token: (yield* manager.run(token, Cart.use((cart) => cart.flash.notice("Saved.")))).token }
        const session = manager.open({ token: client.token })
        const followed = yield* SessionManager.follow(session)
        yield* session.finish("success")
        if (renewed) {
          yield* TestClock.adjust("11 minutes")
          client.token = (yield* manager.run(client.token, Cart.get)).token
          yield* TestClock.adjust("1 minute")
        }
        const write = Effect.orDie(manager.run(client.token, Cart.update(add(1))))
        faults.next("save", FaultStore.preceded(write))
        const messages = yield* followed.run((session) => session.flash.all)
        assert.deepStrictEqual(messages, [{ kind: "notice", message: "Saved." }])
        const after = yield* manager.run(client.token, Cart.use((cart) => Effect.all([cart.get, cart.flash.peek])))
        assert.deepStrictEqual(after.value, [{ items: 8 }, []])
      }).pipe(provided)
  )

  it.effect("that is over says so to each who reports activity", () =>
    Effect.gen(function*() {
      const { manager, token } = yield* setup
      const session = manager.open({ token })
      const followed = yield* SessionManager.follow(session)
      yield* session.finish("success")
      yield* manager.run(token, Cart.destroy)
      assert.deepStrictEqual([yield* reason(followed.touch), yield* reason(followed.touch)], ["Gone", "Gone"])
    }).pipe(provided))
})

describe("a request that is detached", () => {
  it.effect("refuses what is written while it commits", () =>
    Effect.gen(function*() {
      const { hold, manager, token } = yield* setup
      const session = manager.open({ token })
      yield* session.update(add(1))
      const { called, release } = yield* hold("save")
      const detached = yield* inBackground(SessionManager.detach(session))
      yield* called
      const writes = [reason(session.update(add(10))), reason(session.destroy), reason(session.renew)]
      const late = yield* Effect.all(writes)
      yield* release
      assert.deepStrictEqual(late, ["Finished", "Finished", "Finished"])
      const followed = yield* Fiber.join(detached)
      assert.deepStrictEqual(yield* session.finish("success"), { _tag: "Keep" })
      assert.deepStrictEqual(yield* followed.read((session) => session.get), { items: 8 })
    }).pipe(provided))

  it.effect("goes on when that could not be committed", () =>
    Effect.gen(function*() {
      const { faults, manager, token } = yield* setup
      const session = manager.open({ token })
      yield* session.update(add(1))
      faults.next("save", FaultStore.failBefore)
      assert.strictEqual(yield* reason(SessionManager.detach(session)), "Unavailable")
      yield* session.update(add(10))
      yield* session.finish("success")
      assert.deepStrictEqual((yield* manager.run(token, Cart.get)).value, { items: 18 })
    }).pipe(provided))

  it.effect.each(["succeeds", "fails"] as const)(
    "does not end before that is committed, or is known to fail: it %s",
    (how) =>
      Effect.gen(function*() {
        const { hold, manager, token } = yield* setup
        const session = manager.open({ token })
        yield* session.update(add(1))
        const { called, release } = yield* hold("save", how === "fails" ? FaultStore.failBefore : undefined)
        const detached = yield* inBackground(reason(SessionManager.detach(session)))
        yield* called
        const unsafe = session.finishUnsafe("success")
        const finished = yield* inBackground(session.finish("success"))
        const waits = finished.pollUnsafe() === undefined
        yield* release
        assert.deepStrictEqual([unsafe, waits], [undefined, true])
        assert.deepStrictEqual(yield* Fiber.join(finished), { _tag: "Keep" })
        assert.strictEqual(yield* Fiber.join(detached), how === "fails" ? "Unavailable" : "done")
        assert.deepStrictEqual((yield* manager.run(token, Cart.get)).value, { items: 8 })
      }).pipe(provided)
  )

  it.effect.each(["destroy", "renew", "touch"] as const)(
    "that ends while %s reads the session does not say that it was done",
    (operation) =>
      Effect.gen(function*() {
        const { hold, manager, token } = yield* setup
        const session = manager.open({ token })
        const { called, release } = yield* hold("load")
        const late = yield* inBackground(reason(session[operation]))
        yield* called
        yield* session.finish("success")
        yield* release
        assert.strictEqual(yield* Fiber.join(late), "Finished")
        assert.strictEqual((yield* manager.run(token, Cart.status)).value, "active")
      }).pipe(provided)
  )
})
