import { assert, describe, it } from "@effect/vitest"
import { Effect, Layer } from "effect"
import { TestClock } from "effect/testing"
import type { Step } from "../src/CommitPlan.ts"
import * as CookieStore from "../src/CookieStore.ts"
import * as Portable from "../src/Crypto.ts"
import * as CryptoNode from "../src/CryptoNode.ts"
import * as AtOnce from "../src/internal/atOnce.ts"
import * as Revocations from "../src/Revocations.ts"
import { type Applied, SessionBackend } from "../src/SessionBackend.ts"
import * as SessionConfig from "../src/SessionConfig.ts"

const revocations = Revocations.layerMemory()
const layer = CookieStore.layer({ maxToken: 400 }).pipe(
  Layer.provideMerge(revocations),
  Layer.provideMerge(CryptoNode.layer),
  Layer.provideMerge(SessionConfig.layer({ preset: "testing", idleTimeout: "10 minutes" }))
)

const minute = 60_000
const newRecord = { idleTimeout: 10 * minute, lifetime: 60 * minute, format: 1, payload: `{"n":1}` }
const change = { idleTimeout: 10 * minute, lifetime: undefined, format: 1, payload: `{"n":2}`, active: true }

const begin = (subject: string | undefined) =>
  Effect.gen(function*() {
    const backend = yield* SessionBackend
    const load = AtOnce.of(backend.load)!
    const apply = AtOnce.of(backend.apply)!
    const created = yield* backend.apply({ _tag: "Create", record: { ...newRecord, subject }, limit: undefined })
    const { key, record, token } = stored(created)
    const save = (payload = change.payload): Step => ({
      _tag: "Save",
      current: { token, key, record, alias: undefined },
      change: { ...change, payload }
    })
    /** Both ways say the same. */
    const lookUp = Effect.map(backend.load(token), (found) => {
      assert.deepStrictEqual(load(token), found)
      return found._tag === "Found" ? found.lookup._tag : found._tag
    })
    return { backend, load, apply, lookUp, save, key, token }
  })

const stored = (applied: Applied | undefined) =>
  applied?._tag === "Stored" ? applied : assert.fail(applied?._tag ?? "not at once")

describe("CookieStore, where nothing has to be waited for", () => {
  it.effect("reads what it remembers as it would otherwise, to the millisecond of a limit", () =>
    Effect.gen(function*() {
      const { lookUp } = yield* begin("ada")
      assert.strictEqual(yield* lookUp, "Live")
      yield* TestClock.adjust(10 * minute - 1)
      assert.strictEqual(yield* lookUp, "Live")
      yield* TestClock.adjust(1)
      assert.strictEqual(yield* lookUp, "Expired")
    }).pipe(Effect.provide(layer)))

  it.effect("asks for revocations each time", () =>
    Effect.gen(function*() {
      const list = yield* Revocations.Revocations
      const one = yield* begin(undefined)
      yield* list.revoke(one.key, 2 ** 50)
      assert.strictEqual(yield* one.lookUp, "Absent")
      assert.deepStrictEqual(one.apply(one.save()), { _tag: "Gone" })
      const two = yield* begin("ada")
      assert.strictEqual(yield* two.lookUp, "Live")
      yield* list.revokeSubject("ada")
      assert.strictEqual(yield* two.lookUp, "Absent")
      assert.deepStrictEqual(two.apply(two.save()), { _tag: "Gone" })
      const three = yield* begin("bob")
      yield* TestClock.adjust(10 * minute)
      assert.deepStrictEqual(three.apply(three.save()), { _tag: "Gone" })
    }).pipe(Effect.provide(layer)))

  it.effect("writes what it would otherwise, under a nonce of its own", () =>
    Effect.gen(function*() {
      const { apply, backend, save, token } = yield* begin("ada")
      const made = [stored(yield* backend.apply(save())), stored(apply(save())), stored(apply(save()))]
      assert.strictEqual(new Set([token, ...made.map(({ token }) => token)]).size, 4)
      for (const { key, record } of made) assert.deepStrictEqual([key, record], [made[0].key, made[0].record])
      // By who remembers nothing.
      const other = yield* CookieStore.make({ maxToken: 400, remembered: 0 })
      for (const { record, token } of made) {
        const found = yield* other.load(token)
        assert.deepStrictEqual(found._tag === "Found" && found.lookup._tag === "Live" && found.lookup.record, record)
      }
      assert.deepStrictEqual(apply(save("x".repeat(400)))?._tag, "TooLarge")
    }).pipe(Effect.provide(layer)))

  it.effect("leaves all else to the effect: unknown tokens, other steps, lists of others", () =>
    Effect.gen(function*() {
      const { apply, load, save, token } = yield* begin("ada")
      for (const unknown of ["", "x", token.slice(0, -1), `${token}A`, "A".repeat(401), `_${token.slice(1)}`]) {
        assert.isUndefined(load(unknown))
      }
      const step = save()
      if (step._tag !== "Save") return assert.fail()
      assert.isUndefined(apply({ ...step, change: { ...step.change, lifetime: minute } }))
      assert.isUndefined(apply({ _tag: "Touch", current: step.current }))
      const list = yield* Revocations.Revocations
      const wrapped = { ...list, isRevoked: (session: Revocations.Revocable) => list.isRevoked(session) }
      const other = yield* Effect.provideService(CookieStore.make({ maxToken: 400 }), Revocations.Revocations, wrapped)
      assert.deepStrictEqual(yield* Effect.map(other.load(token), ({ _tag }) => _tag), "Found")
      assert.isUndefined(AtOnce.of(other.load)?.(token))
      assert.isUndefined(AtOnce.of(other.apply)?.(step))
    }).pipe(Effect.provide(layer)))

  it.effect("where a cipher has to be waited for, so does a write", () =>
    Effect.gen(function*() {
      const { apply, backend, save } = yield* begin("ada")
      for (let i = 0; i < 3; i++) assert.isUndefined(apply(save()))
      stored(yield* backend.apply(save()))
    }).pipe(Effect.provide(
      CookieStore.layer().pipe(
        Layer.provideMerge(revocations),
        Layer.provideMerge(Portable.layer),
        Layer.provideMerge(SessionConfig.layer({ preset: "testing" }))
      )
    )))
})
