import { Session, type SessionError, SessionManager, SessionStore } from "@effect-session/core"
import { SessionTest } from "@effect-session/core/testing"
import { assert, describe, it } from "@effect/vitest"
import { Effect, Schema } from "effect"
import { TestClock } from "effect/testing"

class Cart extends Session.Service<Cart>()("test/Cart", {
  data: Schema.Struct({ items: Schema.Int }),
  initial: { items: 0 }
}) {}

const add = (data: { readonly items: number }) => ({ items: data.items + 1 })

const writes = (
  session: Session.Session<{ readonly items: number }>
): Readonly<Record<string, Effect.Effect<unknown, SessionError.SessionError>>> => ({
  set: session.set({ items: 9 }),
  update: session.update(add),
  modify: session.modify((data) => [undefined, data]),
  reset: session.reset,
  renew: session.renew,
  login: session.login("eve"),
  elevate: session.elevate("1 minute"),
  reauthenticate: session.reauthenticate,
  touch: session.touch,
  setLifetime: session.setLifetime({ persistent: true }),
  "flash.add": session.flash.notice("hello"),
  "flash.discard": session.flash.discardAll,
  destroy: session.destroy
})

/** Which operations are refused, and why. */
const refused = Effect.fnUntraced(function*(session: Session.Session<{ readonly items: number }>) {
  const reasons: Record<string, SessionError.SessionErrorReason["_tag"]> = {}
  for (const [name, write] of Object.entries(writes(session))) {
    const error = yield* Effect.match(write, { onFailure: (error) => error.reason._tag, onSuccess: () => undefined })
    if (error !== undefined) reasons[name] = error
  }
  return reasons
})

const config = {
  sliding: true,
  touchInterval: "1 minute",
  renewalInterval: "2 minutes",
  idleTimeout: "20 minutes",
  lifetime: "1 hour"
} as const

const start = SessionTest.start(Cart, { subject: "ada", data: { items: 1 } })

describe("Access", () => {
  it.effect("full: nothing is refused", () =>
    Effect.gen(function*() {
      const session = (yield* SessionManager.make(Cart)).open({ token: yield* start })
      assert.isTrue(SessionManager.isWritable(session))
      assert.deepStrictEqual(yield* refused(session), {})
      yield* session.finish("success")
      assert.isFalse(SessionManager.isWritable(session))
    }).pipe(Effect.provide(SessionTest.layer(config))))

  it.effect("data: what needs a new token is refused; the end is not", () =>
    Effect.gen(function*() {
      const session = (yield* SessionManager.make(Cart)).open({ token: yield* start, access: "data" })
      assert.isFalse(SessionManager.isWritable(session))
      assert.deepStrictEqual(yield* refused(session), {
        renew: "Undeliverable",
        login: "Undeliverable",
        elevate: "Undeliverable",
        reauthenticate: "Undeliverable",
        setLifetime: "Undeliverable"
      })
      assert.deepStrictEqual(yield* session.finish("success"), { _tag: "Revoke" })
    }).pipe(Effect.provide(SessionTest.layer(config))))

  it.effect.each(["read", "none"] as const)(
    "%s: every write is refused, and nothing is stored",
    (access) =>
      Effect.gen(function*() {
        const token = yield* start
        const store = yield* SessionStore.SessionStore
        const manager = yield* SessionManager.make(Cart)
        yield* TestClock.adjust("3 minutes")
        const session = manager.open({ token, access })
        const reasons = yield* refused(session)
        assert.deepStrictEqual(Object.keys(reasons), Object.keys(writes(session)))
        assert.deepStrictEqual([...new Set(Object.values(reasons))], ["ReadOnly"])
        const { items } = yield* session.get
        assert.deepStrictEqual([yield* session.status, items], access === "read" ? ["active", 1] : ["anonymous", 0])
        assert.strictEqual(session.accessed, access === "read")
        const key = yield* SessionManager.keyOf(manager.open({ token }))
        const before = yield* store.load(key ?? "")
        assert.deepStrictEqual(yield* session.finish("success"), { _tag: "Keep" })
        assert.deepStrictEqual(yield* store.load(key ?? ""), before)
      }).pipe(Effect.provide(SessionTest.layer(config)))
  )

  it.effect("a session that nobody asked for is not looked for in the request", () =>
    Effect.gen(function*() {
      let looked = 0
      const request = {
        get token() {
          looked++
          return undefined
        }
      }
      const manager = yield* SessionManager.make(Cart)
      assert.deepStrictEqual(manager.open(request).finishUnsafe("success"), { _tag: "Keep" })
      assert.strictEqual(looked, 0)
      yield* manager.open(request).get
      assert.strictEqual(looked, 1)
    }).pipe(Effect.provide(SessionTest.layer(config))))

  it.effect("a request whose response may bring no token does not renew by age", () =>
    Effect.gen(function*() {
      const token = yield* start
      const manager = yield* SessionManager.make(Cart)
      yield* TestClock.adjust("3 minutes")
      const quiet = manager.open({ token, delivers: false })
      yield* quiet.get
      assert.deepStrictEqual(yield* quiet.finish("success"), { _tag: "Keep" })
      const next = manager.open({ token })
      yield* next.get
      assert.strictEqual((yield* next.finish("success"))._tag, "Issue")
    }).pipe(Effect.provide(SessionTest.layer(config))))

  it.effect("a session that is prepared first has a key, and can be followed", () =>
    Effect.gen(function*() {
      const token = yield* start
      const manager = yield* SessionManager.make(Cart)
      let prepared = 0
      const session = manager.open({ token })
      const view = {
        ...SessionManager.prepare(
          session,
          Effect.sync(() => {
            prepared++
          })
        )
      }
      const key = yield* SessionManager.keyOf(view)
      assert.strictEqual(key, yield* SessionManager.keyOf(session))
      assert.strictEqual((yield* SessionManager.follow(view)).key, key)
      assert.strictEqual(prepared, 1)
      assert.isTrue(SessionManager.isWritable(view))
    }).pipe(Effect.provide(SessionTest.layer(config))))
})
