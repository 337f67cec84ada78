import { assert, describe, it } from "@effect/vitest"
import { Effect, Schema } from "effect"
import * as Session from "../src/Session.ts"
import * as SessionManager from "../src/SessionManager.ts"
import { increment, layer, setup, UserSession } from "./Fixture.ts"

class Other extends Session.Service<Other>()("app/Other", {
  data: Schema.Struct({ m: Schema.Number }),
  initial: { m: 0 }
}) {}

class Bag extends Session.Service<Bag>()("app/Bag", {
  data: Schema.ReadonlyMap(Schema.String, Schema.Json),
  initial: new Map<string, Schema.Json>()
}) {}

describe("several session services", () => {
  it.effect("do not meet within one request", () =>
    Effect.gen(function*() {
      const users = yield* SessionManager.make(UserSession)
      const others = yield* SessionManager.make(Other)
      const both = Effect.andThen(increment, Other.set({ m: 7 }))
      const inner = yield* users.run(undefined, others.run(undefined, both))
      assert.notStrictEqual(inner.token, inner.value.token)
      assert.strictEqual((yield* users.run(inner.token, UserSession.get)).value.n, 1)
      assert.strictEqual((yield* others.run(inner.value.token, Other.get)).value.m, 7)
    }).pipe(Effect.provide(layer())))

  it.effect("do not accept each other's tokens, whatever the shape of the data", () =>
    Effect.gen(function*() {
      const { signIn } = yield* setup
      const token = yield* signIn("ada")
      const others = yield* SessionManager.make(Other)
      const session = others.open({ token })
      assert.strictEqual(yield* session.status, "invalid")
      assert.isUndefined(yield* session.subject)
      assert.isUndefined(yield* session.handle)
    }).pipe(Effect.provide(layer())))
})

describe("KeyValue", () => {
  const bag = Session.KeyValue(Bag)

  it.effect("reads and writes single keys, any text", () =>
    Effect.gen(function*() {
      const { run } = yield* SessionManager.make(Bag)
      const { token } = yield* run(
        undefined,
        Effect.forEach(["a", "__proto__", "constructor", ""], (key) => bag.set(key, { from: key }))
      )
      const { value } = yield* run(
        token,
        Effect.all({
          a: bag.get("a"),
          proto: bag.get("__proto__"),
          none: bag.get("toString"),
          has: bag.has("constructor"),
          size: bag.size,
          isEmpty: bag.isEmpty,
          entries: bag.entries
        })
      )
      assert.deepStrictEqual(value.a, { from: "a" })
      assert.deepStrictEqual(value.proto, { from: "__proto__" })
      assert.deepStrictEqual([value.none, value.has, value.size, value.isEmpty], [undefined, true, 4, false])
      assert.deepStrictEqual(value.entries.map(([key]) => key), ["a", "__proto__", "constructor", ""])
      const removed = yield* run(token, Effect.all([bag.delete("a"), bag.delete("a"), bag.get("a")]))
      assert.deepStrictEqual(removed.value, [true, false, undefined])
    }).pipe(Effect.provide(layer())))

  it.effect("merges parallel writes of different keys", () =>
    Effect.gen(function*() {
      const { run } = yield* SessionManager.make(Bag)
      const { token } = yield* run(undefined, bag.set("first", 1))
      yield* Effect.forEach(
        Array.from({ length: 20 }, (_, i) => i),
        (i) => run(token, bag.set(`k${i}`, i)),
        { concurrency: "unbounded" }
      )
      assert.strictEqual((yield* run(token, bag.size)).value, 21)
    }).pipe(Effect.provide(layer())))
})
