import { assert, describe, it } from "@effect/vitest"
import { Effect, Schema } from "effect"
import * as Session from "../src/Session.ts"
import * as SessionData from "../src/SessionData.ts"
import * as SessionManager from "../src/SessionManager.ts"
import { SessionStore } from "../src/SessionStore.ts"
import { preceded } from "./FaultyStore.ts"
import { issued, layer, setup } from "./Fixture.ts"

// One application in two versions, as it is while its nodes are replaced one after the other.
class Before extends Session.Service<Before>()("app/Session", {
  data: Schema.Struct({ n: Schema.Number }),
  initial: { n: 0 }
}) {}
class After extends Session.Service<After>()("app/Session", {
  data: Schema.Struct({ n: Schema.Number, m: Schema.Number }),
  initial: { n: 0, m: 0 },
  version: 2,
  migrations: { 1: (data) => Object.assign({ m: 0 }, data) }
}) {}

const nodes = Effect.gen(function*() {
  const before = yield* SessionManager.make(Before)
  const after = yield* SessionManager.make(After)
  const { keyOf, store } = yield* setup
  const signIn = Effect.map(after.run(undefined, After.login("ada", () => ({ n: 1, m: 2 }))), ({ token }) => token!)
  return {
    before,
    after,
    store,
    signIn,
    /** Who is signed in on a node of the later version, and with which data. */
    seen: (token: string | undefined) =>
      Effect.map(
        after.run(token, Effect.all([After.status, After.subject, After.get])),
        ({ value }) => value
      ),
    /** What a node that seals under a secret of its own leaves behind. */
    seal: (token: string) =>
      Effect.gen(function*() {
        const saved = yield* (yield* SessionStore).save(yield* keyOf(token), 1, {
          format: SessionData.sealed,
          payload: "another secret",
          idleTimeout: 60_000,
          lifetime: undefined,
          active: true
        })
        assert.strictEqual(saved._tag, "Saved")
      }),
    isStored: (token: string) =>
      Effect.flatMap(
        keyOf(token),
        (key) => Effect.flatMap(SessionStore, (store) => Effect.map(store.load(key), ({ _tag }) => _tag === "Live"))
      )
  }
})

type Seen = [Session.Status, string | undefined, { readonly n: number; readonly m: number }]
const active: Seen = ["active", "ada", { n: 1, m: 2 }]

const writes: ReadonlyArray<readonly [string, Effect.Effect<unknown, unknown, Before>]> = [
  ["set", Before.set({ n: 9 })],
  ["update", Before.update(({ n }) => ({ n: n + 1 }))],
  ["reset", Before.reset],
  ["renew", Before.renew],
  ["touch", Before.touch],
  ["setLifetime", Before.setLifetime({ idleTimeout: "1 hour" })],
  ["a flash message", Before.flash.notice("hello")]
]

describe("a node of an earlier version", () => {
  for (const onInvalid of ["fresh", "fail"] as const) {
    describe(`that meets a session of a later one, with onInvalid ${onInvalid}`, () => {
      for (const [what, write] of writes) {
        it.effect(`refuses ${what}, and leaves session and token as they are`, () =>
          Effect.gen(function*() {
            const { before, seen, signIn } = yield* nodes
            const token = yield* signIn
            const session = before.open({ token })
            const refused = yield* Effect.flip(Effect.provideService(write, Before, session))
            assert.deepInclude(refused, { _tag: "SessionError" })
            assert.deepInclude(Reflect.get(Object(refused), "reason"), { _tag: "Invalid", problem: "newer" })
            for (const outcome of ["failure", "success"] as const) {
              assert.deepStrictEqual(yield* session.finish(outcome), { _tag: "Keep" })
            }
            assert.deepStrictEqual(yield* seen(token), active)
          }).pipe(Effect.provide(layer({ onInvalid }))))
      }

      it.effect("signs in to a session of its own, and leaves the other one alone", () =>
        Effect.gen(function*() {
          const { before, seen, signIn } = yield* nodes
          const token = yield* signIn
          const session = before.open({ token })
          assert.deepStrictEqual(yield* session.login("bob", () => ({ n: 5 })), { n: 5 })
          assert.deepStrictEqual(yield* session.update(({ n }) => ({ n: n + 1 })), { n: 6 })
          const own = issued(yield* session.finish("success"))
          assert.deepStrictEqual(yield* seen(own), ["active", "bob", { n: 6, m: 0 }])
          assert.deepStrictEqual(yield* seen(token), active)
        }).pipe(Effect.provide(layer({ onInvalid }))))

      it.effect("ends it where the user asks for that", () =>
        Effect.gen(function*() {
          const { before, isStored, signIn } = yield* nodes
          const token = yield* signIn
          const session = before.open({ token })
          yield* session.destroy
          assert.deepStrictEqual(yield* session.finish("success"), { _tag: "Revoke" })
          assert.isFalse(yield* isStored(token))
        }).pipe(Effect.provide(layer({ onInvalid }))))
    })
  }

  it.effect("reads a fresh session, and says that it is invalid", () =>
    Effect.gen(function*() {
      const { before, seen, signIn } = yield* nodes
      const token = yield* signIn
      const read = yield* before.run(token, Effect.all([Before.status, Before.subject, Before.get, Before.flash.all]))
      assert.deepStrictEqual(read, { token, value: ["invalid", undefined, { n: 0 }, []] })
      assert.deepStrictEqual(yield* seen(token), active)
    }).pipe(Effect.provide(layer())))

  it.effect("refuses its write, and does not call the session over, when a later one was faster", () =>
    Effect.gen(function*() {
      const { after, before, seen, signIn, store } = yield* nodes
      const begun = yield* before.run(undefined, Before.login("ada", () => ({ n: 1 })))
      yield* signIn
      store.next("save", preceded(Effect.orDie(after.run(begun.token, After.set({ n: 1, m: 2 })))))
      const session = before.open({ token: begun.token })
      yield* session.update(({ n }) => ({ n: n + 1 }))
      const refused = yield* Effect.flip(session.finish("success"))
      assert.deepInclude(refused.reason, { _tag: "Invalid", problem: "newer" })
      assert.deepStrictEqual(session.tokenChange, { _tag: "Keep" })
      assert.deepStrictEqual(yield* seen(begun.token), active)
    }).pipe(Effect.provide(layer())))

  it.effect("leaves alone what another one has sealed under a secret that it does not know", () =>
    Effect.gen(function*() {
      const { before, isStored, seal, signIn } = yield* nodes
      const token = yield* signIn
      yield* seal(token)
      const session = before.open({ token })
      const refused = yield* Effect.flip(session.set({ n: 1 }))
      assert.deepInclude(refused.reason, { _tag: "Invalid", problem: "sealed" })
      assert.deepStrictEqual(yield* session.finish("success"), { _tag: "Keep" })
      assert.isTrue(yield* isStored(token))
      yield* before.run(token, Before.login("bob"))
      assert.isTrue(yield* isStored(token))
      // A visitor is not kept from writing for as long as the session may last.
      const { token: visitor } = yield* before.run(undefined, Before.set({ n: 1 }))
      yield* seal(visitor!)
      const own = yield* before.run(visitor, Before.update(({ n }) => ({ n: n + 1 })))
      assert.notStrictEqual(own.token, visitor)
      assert.deepStrictEqual(own.value, { n: 1 })
      assert.isTrue(yield* isStored(visitor!))
    }).pipe(Effect.provide(layer())))

  it.effect("lets a visitor sign in whose session it cannot open, also with onInvalid fail", () =>
    Effect.gen(function*() {
      const { before, isStored, seal } = yield* nodes
      const { token } = yield* before.run(undefined, Before.set({ n: 1 }))
      yield* seal(token!)
      assert.strictEqual((yield* Effect.flip(before.run(token, Before.get))).reason._tag, "Invalid")
      const ada = yield* before.run(token, Before.login("ada"))
      assert.strictEqual((yield* before.run(ada.token, Before.subject)).value, "ada")
      assert.isTrue(yield* isStored(token!))
    }).pipe(Effect.provide(layer({ onInvalid: "fail" }))))
})
