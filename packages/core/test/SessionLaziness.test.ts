import { MemoryStore, Session, SessionConfig, SessionManager, SessionStore } from "@effect-session/core"
import * as CryptoNode from "@effect-session/core/CryptoNode"
import { SessionTest } from "@effect-session/core/testing"
import { assert, describe, it } from "@effect/vitest"
import { Effect, Layer, Schema } from "effect"
import { inspect } from "node:util"
import * as AtOnce from "../src/internal/atOnce.ts"
import { SessionBackend } from "../src/SessionBackend.ts"

class Cart extends Session.Service<Cart>()("test/Cart", {
  data: Schema.Struct({ items: Schema.Int }),
  initial: { items: 0 }
}) {}

const opened = Effect.gen(function*() {
  const token = yield* SessionTest.start(Cart, { subject: "ada", data: { items: 7 } })
  const manager = yield* SessionManager.make(Cart)
  return { token, session: manager.open({ token }), again: () => manager.open({ token }) }
})

const operations = (
  session: Session.Session<{ readonly items: number }>
): ReadonlyArray<Effect.Effect<unknown, unknown>> => [
  session.get,
  session.status,
  session.info,
  session.handle,
  session.set({ items: 1 }),
  session.update(({ items }) => ({ items: items + 1 })),
  session.modify((data) => [1, { items: data.items + 1 }]),
  session.reset,
  session.destroy,
  session.renew,
  session.login("bob"),
  session.elevate("1 minute"),
  session.reauthenticate,
  session.touch,
  session.setLifetime({ idleTimeout: "1 hour" }),
  session.commit,
  session.readonly,
  session.flash.success("saved"),
  session.flash.now("notice", "now"),
  session.flash.get("notice"),
  session.flash.all,
  session.flash.peek,
  session.flash.keep("notice"),
  session.flash.keepAll,
  session.flash.discard("notice"),
  session.flash.discardAll,
  session.flash.clear
]

describe("an operation that is not run", () => {
  for (const when of ["before", "after"] as const) {
    it.effect(`does nothing, and shows nothing, ${when} the session was read`, () =>
      Effect.gen(function*() {
        const { again, session, token } = yield* opened
        if (when === "after") yield* session.get
        for (const [index, operation] of operations(session).entries()) {
          const shown = `${inspect(operation, { depth: 9, showHidden: true })}${JSON.stringify(operation)}`
          assert.notInclude(shown, token, `operation ${index}`)
          assert.notInclude(shown, token.slice(4), `operation ${index}`)
          assert.notInclude(shown, "items", `operation ${index}`)
        }
        assert.strictEqual(session.accessed, when === "after")
        assert.deepStrictEqual(yield* session.finish("success"), { _tag: "Keep" })
        const after = again()
        assert.deepStrictEqual(yield* after.get, { items: 7 })
        assert.strictEqual(yield* after.subject, "ada")
        assert.deepStrictEqual(yield* after.flash.peek, [])
      }).pipe(Effect.provide(SessionTest.layer())))
  }

  it.effect("is done as often as it is run", () =>
    Effect.gen(function*() {
      const { again, session } = yield* opened
      yield* session.get
      const add = session.flash.notice("again")
      const increment = session.update(({ items }) => ({ items: items + 1 }))
      for (const operation of [add, add, increment, increment]) yield* operation
      yield* session.finish("success")
      const after = again()
      assert.deepStrictEqual(yield* after.get, { items: 9 })
      assert.lengthOf(yield* after.flash.peek, 2)
    }).pipe(Effect.provide(SessionTest.layer())))
})

describe("a session that was not looked at", () => {
  it.effect("is not written over once it is", () =>
    Effect.gen(function*() {
      const { again, token } = yield* opened
      const manager = yield* SessionManager.make(Cart)
      const request: { token: string; access: SessionManager.Access } = { token, access: "none" }
      const session = manager.open(request)
      assert.deepStrictEqual(yield* session.get, { items: 0 })
      request.access = "full"
      assert.deepStrictEqual(yield* session.update(({ items }) => ({ items: items + 1 })), { items: 8 })
      yield* session.finish("success")
      assert.deepStrictEqual(yield* again().get, { items: 8 })
    }).pipe(Effect.provide(SessionTest.layer())))
})

describe("a store that answers at once", () => {
  const live = MemoryStore.layer().pipe(
    Layer.provideMerge(CryptoNode.layer),
    Layer.provideMerge(SessionConfig.layer({ preset: "testing" }))
  )

  it.effect("is asked without an effect", () =>
    Effect.gen(function*() {
      const { load, save } = yield* SessionStore.SessionStore
      assert.strictEqual(AtOnce.of(load)?.("none")?._tag, "Absent")
      assert.isDefined(AtOnce.of(save))
      const backend = yield* SessionBackend
      assert.isDefined(AtOnce.of(backend.load))
      assert.isDefined(AtOnce.of(backend.apply))
    }).pipe(Effect.provide(live)))

  it.effect("is not passed by whoever copies, watches or wraps its functions", () =>
    Effect.gen(function*() {
      const { load } = yield* SessionStore.SessionStore
      const spy = (key: string) => load(key)
      Object.defineProperties(spy, Object.getOwnPropertyDescriptors(load))
      for (const other of [spy, new Proxy(load, {}), load.bind(undefined)]) assert.isUndefined(AtOnce.of(other))
      assert.isDefined(AtOnce.of({ ...yield* SessionStore.SessionStore }.load))
    }).pipe(Effect.provide(live)))
})
