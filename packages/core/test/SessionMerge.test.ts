import { assert, describe, it } from "@effect/vitest"
import { Effect, Schema } from "effect"
import * as Session from "../src/Session.ts"
import { SessionError, Unavailable } from "../src/SessionError.ts"
import * as SessionManager from "../src/SessionManager.ts"
import { layer, setup } from "./Fixture.ts"

class Shop extends Session.Service<Shop>()("app/Shop", {
  data: Schema.Struct({ cart: Schema.Array(Schema.String), theme: Schema.String, resetFor: Schema.String }),
  initial: { cart: [], theme: "light", resetFor: "" },
  keepOnLogin: ["theme"]
}) {}

const saved = ["kettle"]
const merge = (data: { cart: ReadonlyArray<string> }, before: { cart: ReadonlyArray<string> } | undefined) => [
  ...new Set([...saved, ...data.cart, ...before?.cart ?? []])
]
const signIn = (subject: string) => Shop.login(subject, (data, before) => ({ ...data, cart: merge(data, before) }))

describe("the anonymous data at a sign-in", () => {
  it.effect("is merged by the function, and nothing else of it survives", () =>
    Effect.gen(function*() {
      const { run } = yield* SessionManager.make(Shop)
      const visitor = yield* run(undefined, Shop.set({ cart: ["tea"], theme: "dark", resetFor: "mallory" }))
      const { token, value } = yield* run(visitor.token, signIn("ada"))
      assert.deepStrictEqual(value, { cart: ["kettle", "tea"], theme: "dark", resetFor: "" })
      assert.deepStrictEqual((yield* run(token, Shop.get)).value, value)
      assert.strictEqual((yield* run(visitor.token, Shop.status)).value, "anonymous")
    }).pipe(Effect.provide(layer())))

  it.effect("is what the request itself has written until then", () =>
    Effect.gen(function*() {
      const { run } = yield* SessionManager.make(Shop)
      const add = Shop.update((data) => ({ ...data, cart: [...data.cart, "milk"] }))
      const { value } = yield* run(undefined, Effect.andThen(add, signIn("ada")))
      assert.deepStrictEqual(value.cart, ["kettle", "milk"])
    }).pipe(Effect.provide(layer())))

  it.effect("is the initial data where there was no session, and where it was ended", () =>
    Effect.gen(function*() {
      const { run } = yield* SessionManager.make(Shop)
      const seen = Shop.login("ada", (data, before) => ({ ...data, resetFor: JSON.stringify(before) }))
      const initial = JSON.stringify({ cart: [], theme: "light", resetFor: "" })
      assert.strictEqual((yield* run(undefined, seen)).value.resetFor, initial)
      const visitor = yield* run(undefined, Shop.set({ cart: ["tea"], theme: "dark", resetFor: "" }))
      const { value } = yield* run(visitor.token, Effect.andThen(Shop.destroy, seen))
      assert.strictEqual(value.resetFor, initial)
    }).pipe(Effect.provide(layer())))

  it.effect("is not that of somebody else, and is one's own after a second sign-in", () =>
    Effect.gen(function*() {
      const { run } = yield* SessionManager.make(Shop)
      const bob = yield* run(undefined, Shop.login("bob", (data) => ({ ...data, cart: ["secret"] })))
      const ada = yield* run(bob.token, signIn("ada"))
      assert.deepStrictEqual(ada.value.cart, saved)
      const more = yield* run(ada.token, Shop.update((data) => ({ ...data, cart: [...data.cart, "tea"] })))
      assert.deepStrictEqual((yield* run(more.token, signIn("ada"))).value.cart, ["kettle", "tea"])
    }).pipe(Effect.provide(layer())))

  it.effect("is the fresh one when another request was faster", () =>
    Effect.gen(function*() {
      const { open, start } = yield* setup
      const token = yield* start
      const slow = open(token)
      yield* slow.login("ada", (data, before) => ({ ...data, n: (before?.n ?? 0) * 10 }))
      const fast = open(token)
      yield* fast.update((data) => ({ ...data, n: 7 }))
      yield* fast.finish("success")
      const change = yield* slow.finish("success")
      const next = open(change._tag === "Issue" ? change.token : undefined)
      assert.strictEqual((yield* next.get).n, 70)
      assert.strictEqual(yield* next.subject, "ada")
    }).pipe(Effect.provide(layer())))
})

describe("SessionManager.prepare", () => {
  it.effect("prepares once, before the first use, also for fibers at the same time", () =>
    Effect.gen(function*() {
      const { open } = yield* setup
      const session = open()
      let times = 0
      const prepared = SessionManager.prepare(
        session,
        Effect.andThen(
          Effect.yieldNow,
          Effect.suspend(() => {
            times++
            return Effect.asVoid(session.update((data) => ({ ...data, n: 5 })))
          })
        )
      )
      assert.strictEqual(times, 0)
      assert.isFalse(session.accessed)
      const seen = yield* Effect.all([prepared.get, prepared.get, prepared.status, prepared.update((data) => data)], {
        concurrency: "unbounded"
      })
      assert.deepStrictEqual([seen[0].n, seen[1].n, seen[3].n, times], [5, 5, 5, 1])
      assert.strictEqual((yield* Effect.flatMap(prepared.readonly, ({ get }) => get)).n, 5)
      yield* prepared.flash.now("notice", "hello")
      assert.strictEqual((yield* prepared.flash.all).length, 1)
    }).pipe(Effect.provide(layer())))

  it.effect("while it fails so does every operation, and the status is unavailable; then it is tried again", () =>
    Effect.gen(function*() {
      const { open } = yield* setup
      const down = Effect.fail(new SessionError({ reason: new Unavailable({}) }))
      let up = false
      const prepared = SessionManager.prepare(open(), Effect.suspend(() => up ? Effect.void : down))
      assert.strictEqual(yield* prepared.status, "unavailable")
      assert.strictEqual((yield* Effect.flip(prepared.get)).reason._tag, "Unavailable")
      assert.strictEqual((yield* Effect.flip(prepared.flash.all)).reason._tag, "Unavailable")
      assert.strictEqual(
        (yield* Effect.flip(Effect.flatMap(prepared.readonly, ({ get }) => get))).reason._tag,
        "Unavailable"
      )
      up = true
      assert.strictEqual(yield* prepared.status, "anonymous")
    }).pipe(Effect.provide(layer())))
})
