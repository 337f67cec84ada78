import { assert, describe, it } from "@effect/vitest"
import { Cause, Effect, Metric } from "effect"
import { TestClock } from "effect/testing"
import { inspect } from "node:util"
import * as SessionData from "../src/SessionData.ts"
import type { SessionError } from "../src/SessionError.ts"
import { SessionStore } from "../src/SessionStore.ts"
import { answerLost, down, failing, type Interceptor, type Method } from "./FaultyStore.ts"
import { increment, issued, layer, loginAs, reasonOf, setup, UserSession } from "./Fixture.ts"

describe("a store that is down", () => {
  it.effect("is unavailable: not anonymous, not expired, not empty", () =>
    Effect.gen(function*() {
      const { open, signIn, store } = yield* setup
      const token = yield* signIn("ada")
      store.always(down)
      store.forget()
      const session = open(token)
      assert.strictEqual(yield* session.status, "unavailable")
      for (
        const operation of [
          session.get,
          session.subject,
          session.info,
          session.isNew,
          session.isElevated,
          session.expiresAt,
          session.timeUntilExpiry,
          session.handle,
          session.update((data) => data),
          session.set({ n: 0, who: "", cart: [] }),
          session.login("ada"),
          session.renew,
          session.reauthenticate,
          session.touch,
          session.flash.all,
          session.flash.notice("hello")
        ]
      ) {
        const error = yield* Effect.flip(Effect.asVoid<unknown, SessionError, never>(operation))
        assert.deepInclude(error.reason, { _tag: "Unavailable", retryAfter: 2000 })
      }
      assert.deepStrictEqual(yield* session.finish("failure"), { _tag: "Keep" })
      assert.strictEqual(store.count("create", "save", "touch", "renew", "destroy"), 0)
    }).pipe(Effect.provide(layer())))

  it.effect("costs nobody a session: the same token has the same data afterwards", () =>
    Effect.gen(function*() {
      const { dataOf, run, signIn, store } = yield* setup
      const tokens = yield* Effect.forEach(Array.from({ length: 1000 }, (_, i) => `user-${i}`), signIn)
      store.always(down)
      for (const token of tokens) {
        assert.strictEqual(yield* reasonOf(run(token, increment)), "Unavailable")
      }
      store.heal()
      for (const [i, token] of tokens.entries()) {
        assert.deepStrictEqual(yield* dataOf(token), { n: 0, who: `user-${i}`, cart: [] })
      }
    }).pipe(Effect.provide(layer())))

  it.effect("is asked to end a session that it could not read", () =>
    Effect.gen(function*() {
      const { keyOf, open, signIn, statusOf, store } = yield* setup
      const token = yield* signIn("ada")
      store.always(down, "load")
      store.forget()
      const session = open(token)
      yield* session.destroy
      assert.deepStrictEqual(yield* session.finish("success"), { _tag: "Revoke" })
      const key = yield* keyOf(token)
      assert.deepStrictEqual(store.calls.map((call) => call.slice(0, 2)), [["load", key], ["destroy", key]])
      store.heal()
      assert.strictEqual(yield* statusOf(token), "anonymous")
    }).pipe(Effect.provide(layer())))

  it.effect("does not sign out whom it has not confirmed as signed out", () =>
    Effect.gen(function*() {
      const { open, signIn, statusOf, store } = yield* setup
      const token = yield* signIn("ada")
      store.always(down)
      const session = open(token)
      yield* session.destroy
      assert.strictEqual(yield* reasonOf(session.finish("success")), "Unavailable")
      assert.deepStrictEqual(session.tokenChange, { _tag: "Keep" })
      store.heal()
      assert.strictEqual(yield* statusOf(token), "active")
    }).pipe(Effect.provide(layer())))

  it.effect("signs out at once where the end is written down, and says that it is not confirmed", () =>
    Effect.gen(function*() {
      const { open, signIn, store } = yield* setup
      const token = yield* signIn("ada")
      store.always(down, "load")
      store.always(failing({ queued: true }), "destroy")
      const session = open(token)
      yield* session.destroy
      assert.strictEqual(yield* reasonOf(session.finish("success")), "Unavailable")
      assert.deepStrictEqual(session.tokenChange, { _tag: "Revoke" })
    }).pipe(Effect.provide(layer())))

  it.effect("lets a request go on without its session, if the policy says so, and keeps it from writing", () =>
    Effect.gen(function*() {
      const { dataOf, open, signIn, store } = yield* setup
      const token = yield* signIn("ada")
      store.always(failing({ continueAs: "anonymous" }))
      store.forget()
      const session = open(token)
      assert.deepStrictEqual(yield* session.get, { n: 0, who: "guest", cart: [] })
      assert.isUndefined(yield* session.subject)
      assert.strictEqual(yield* session.status, "unavailable")
      for (
        const write of [
          session.update((data) => data),
          session.login("eve"),
          session.renew,
          session.touch,
          session.flash.notice("hello")
        ]
      ) {
        assert.strictEqual(yield* reasonOf(Effect.asVoid<unknown, SessionError, never>(write)), "Unavailable")
      }
      assert.deepStrictEqual(yield* session.finish("success"), { _tag: "Keep" })
      assert.deepStrictEqual(store.calls.map(([method]) => method), ["load"])
      store.heal()
      assert.strictEqual((yield* dataOf(token)).who, "ada")
    }).pipe(Effect.provide(layer())))

  describe("and serves a copy", () => {
    const stale: Interceptor = (call) =>
      Effect.map(call, (lookup) =>
        typeof lookup === "object" && lookup !== null && "record" in lookup
          ? { ...lookup, served: { _tag: "Stale", age: 1500 } }
          : lookup)

    it.effect("lets it be read, and says who has answered", () =>
      Effect.gen(function*() {
        const { open, run, signIn, store } = yield* setup
        const { token } = yield* run(yield* signIn("ada"), UserSession.flash.notice("hello"))
        store.always(stale, "load")
        store.forget()
        yield* TestClock.adjust("2 minutes")
        const session = open(token)
        assert.strictEqual((yield* session.get).who, "ada")
        assert.deepStrictEqual(yield* session.served, { _tag: "Stale", age: 1500 })
        // Neither delivered twice nor lost.
        assert.deepStrictEqual(yield* session.flash.all, [])
        assert.deepStrictEqual(yield* session.finish("success"), { _tag: "Keep" })
        assert.deepStrictEqual(store.calls.map(([method]) => method), ["load"])
        store.heal()
        const after = open(token)
        assert.isUndefined(yield* after.served)
        assert.strictEqual((yield* after.flash.all).length, 1)
      }).pipe(Effect.provide(layer())))

    it.effect("is not written to, only ended", () =>
      Effect.gen(function*() {
        const { open, signIn, statusOf, store } = yield* setup
        const token = yield* signIn("ada")
        store.always(stale, "load")
        store.forget()
        for (
          const write of [increment, UserSession.renew, loginAs("eve"), UserSession.setLifetime({ lifetime: "1 hour" })]
        ) {
          const session = open(token)
          yield* Effect.provideService(write, UserSession, session)
          const error = yield* Effect.flip(session.finish("success"))
          assert.deepInclude(error.reason, { _tag: "Unavailable", applied: "no" })
        }
        assert.strictEqual(store.count("create", "save", "touch", "renew", "destroy"), 0)
        const session = open(token)
        yield* session.destroy
        assert.deepStrictEqual(yield* session.finish("success"), { _tag: "Revoke" })
        store.heal()
        assert.strictEqual(yield* statusOf(token), "anonymous")
      }).pipe(Effect.provide(layer())))
  })

  it.effect("is told of when it begins between a lost race and the second read, whatever the policy", () =>
    Effect.gen(function*() {
      for (const policy of [down, failing({ continueAs: "anonymous" })]) {
        const { open, run, start, store } = yield* setup
        const token = yield* start
        const session = open(token)
        yield* session.update((data) => ({ ...data, n: 5 }))
        yield* run(token, increment)
        store.next("load", policy)
        assert.strictEqual(yield* reasonOf(session.finish("success")), "Unavailable")
        assert.deepStrictEqual(session.tokenChange, { _tag: "Keep" })
      }
    }).pipe(Effect.provide(layer())))

  it.effect("is read again by the same request once it is back", () =>
    Effect.gen(function*() {
      const { open, start, store } = yield* setup
      const session = open(yield* start)
      store.next("load", down)
      assert.strictEqual(yield* session.status, "unavailable")
      assert.strictEqual(yield* session.status, "active")
      assert.strictEqual((yield* session.get).n, 1)
    }).pipe(Effect.provide(layer())))

  it.effect("does not matter to visitors without a session who write nothing", () =>
    Effect.gen(function*() {
      const { run, store } = yield* setup
      store.always(down)
      const { value } = yield* run(undefined, Effect.andThen(UserSession.touch, UserSession.get))
      assert.strictEqual(value.n, 0)
      assert.strictEqual(yield* reasonOf(run(undefined, increment)), "Unavailable")
    }).pipe(Effect.provide(layer())))

  const commits: ReadonlyArray<readonly [Method, Effect.Effect<unknown, unknown, UserSession>, boolean]> = [
    ["create", increment, false],
    ["save", increment, true],
    ["renew", loginAs("ada"), true],
    ["renew", UserSession.renew, true],
    ["destroy", UserSession.destroy, true]
  ]
  for (const [method, change, existing] of commits) {
    for (const [what, fault] of [["fails", down], ["does not answer", answerLost]] as const) {
      it.effect(`makes the request fail when its ${method} ${what}, with no token for the client`, () =>
        Effect.gen(function*() {
          const { open, start, statusOf, store } = yield* setup
          const token = existing ? yield* start : undefined
          const session = open(token)
          yield* Effect.provideService(change, UserSession, session)
          store.next(method, fault)
          assert.strictEqual(yield* reasonOf(session.finish("success")), "Unavailable")
          assert.deepStrictEqual(session.tokenChange, { _tag: "Keep" })
          if (fault === down && token !== undefined) assert.strictEqual(yield* statusOf(token), "active")
        }).pipe(Effect.provide(layer())))
    }
  }

  it.effect("lets a commit be tried again by the end of the request", () =>
    Effect.gen(function*() {
      const { dataOf, open, start, store } = yield* setup
      const token = yield* start
      const session = open(token)
      yield* session.update((data) => ({ ...data, n: 5 }))
      store.next("save", down)
      assert.strictEqual(yield* reasonOf(session.commit), "Unavailable")
      yield* session.finish("success")
      assert.strictEqual((yield* dataOf(token)).n, 5)
    }).pipe(Effect.provide(layer())))
})

describe("stored data that cannot be decoded", () => {
  const spoil = (token: string, payload: string, format: number = SessionData.format) =>
    Effect.gen(function*() {
      const { keyOf } = yield* setup
      const store = yield* SessionStore
      const saved = yield* store.save(yield* keyOf(token), 1, {
        format,
        payload,
        idleTimeout: 60_000,
        lifetime: undefined,
        active: true
      })
      assert.strictEqual(saved._tag, "Saved")
    })
  const spoiled = [
    "",
    "{",
    "{}",
    "null",
    `{"t":"app/UserSession","v":1,"d":{"n":"x"}}`
  ]

  it.effect("leaves the session of another service alone, whatever the request does", () =>
    Effect.gen(function*() {
      const { open, signIn, stored } = yield* setup
      const token = yield* signIn("ada")
      yield* spoil(token, `{"t":"app/Other","v":1,"d":{"n":0,"who":"","cart":[]}}`)
      for (const operation of [increment, UserSession.destroy]) {
        const session = open(token)
        assert.strictEqual(yield* session.status, "invalid")
        yield* Effect.provideService(Effect.asVoid(operation), UserSession, session)
        yield* session.finish("success")
        assert.isDefined(yield* stored(token))
      }
    }).pipe(Effect.provide(layer())))

  it.effect("starts a fresh session, and leaves the record until something is written", () =>
    Effect.gen(function*() {
      const { open, run, signIn, stored, store } = yield* setup
      for (const payload of spoiled) {
        const token = yield* signIn("ada")
        yield* spoil(token, payload)
        store.forget()
        const { value } = yield* run(
          token,
          Effect.all([UserSession.status, UserSession.get, UserSession.subject, UserSession.info, UserSession.isNew])
        )
        assert.deepStrictEqual(value, ["invalid", { n: 0, who: "guest", cart: [] }, undefined, undefined, true])
        assert.strictEqual(store.count(), 1)
        assert.isDefined(yield* stored(token))
        const session = open(token)
        yield* session.update((data) => ({ ...data, n: 7 }))
        const next = issued(yield* session.finish("success"))
        assert.notStrictEqual(next, token)
        assert.isUndefined(yield* stored(token))
        assert.strictEqual((yield* run(next, UserSession.get)).value.n, 7)
      }
    }).pipe(Effect.provide(layer())))

  it.effect("fails every read with onInvalid set to fail, and can still be ended", () =>
    Effect.gen(function*() {
      const { open, run, signIn, stored } = yield* setup
      for (const payload of spoiled) {
        const token = yield* signIn("ada")
        yield* spoil(token, payload)
        assert.strictEqual(yield* open(token).status, "invalid")
        const operations = [
          Effect.asVoid(UserSession.get),
          Effect.asVoid(UserSession.subject),
          Effect.asVoid(increment),
          Effect.asVoid(loginAs("ada"))
        ]
        for (const operation of operations) assert.strictEqual(yield* reasonOf(run(token, operation)), "Invalid")
        assert.isDefined(yield* stored(token))
        const session = open(token)
        yield* session.destroy
        assert.deepStrictEqual(yield* session.finish("success"), { _tag: "Revoke" })
        assert.isUndefined(yield* stored(token))
      }
    }).pipe(Effect.provide(layer({ onInvalid: "fail" }))))

  it.effect("is an outcome each time for a thousand poisoned records", () =>
    Effect.gen(function*() {
      const { signIn, statusOf, store } = yield* setup
      const good = `{"t":"app/UserSession","v":1,"d":{"n":1,"who":"ada","cart":["x"]}}`
      const token = yield* signIn("ada")
      yield* spoil(token, good)
      for (let i = 0; i < 1000; i++) {
        const at = i % good.length
        store.next("load", (call) =>
          Effect.map(call, (lookup) =>
            Object.assign({}, lookup, {
              record: Object.assign({}, Reflect.get(Object(lookup), "record"), {
                payload: good.slice(0, at) + String.fromCharCode((i * 7) % 128) + good.slice(at + 1)
              })
            })))
        assert.include(["active", "invalid"], yield* statusOf(token))
      }
    }).pipe(Effect.provide(layer())))
})

describe("errors, logs, metrics and what the store sees", () => {
  it.effect("carry no token, no key and no data", () =>
    Effect.gen(function*() {
      const canary = "canary-in-the-data"
      const { keyOf, open, run, store } = yield* setup
      const signIn = Effect.map(
        run(undefined, UserSession.login("ada", (data) => ({ ...data, who: canary }))),
        ({ token }) => token!
      )
      const tokens: Array<string> = []
      const said: Array<unknown> = []
      const fail = (effect: Effect.Effect<unknown, unknown>) =>
        Effect.map(Effect.flip(effect), (error) => {
          said.push(error, JSON.stringify(error), String(error), Cause.pretty(Cause.fail(error)))
        })
      for (const method of ["load", "save", "renew", "destroy"] as const) {
        const token = yield* signIn
        tokens.push(token)
        const session = open(token)
        if (method !== "load") yield* session.get
        if (method === "save") yield* session.update((data) => ({ ...data, n: 2 }))
        if (method === "renew") yield* session.renew
        if (method === "destroy") yield* session.destroy
        store.next(method, down)
        yield* fail(method === "load" ? Effect.asVoid(session.get) : Effect.asVoid(session.finish("success")))
        said.push(session, session.flash, JSON.stringify(session))
      }
      const token = yield* signIn
      tokens.push(token)
      const late = open(token)
      yield* late.set({ n: 1, who: canary, cart: [] })
      yield* run(token, increment)
      yield* fail(late.finish("success"))
      const large = open(token)
      yield* large.update((data) => ({ ...data, cart: [canary.repeat(10_000)] }))
      yield* fail(large.finish("success"))
      const metrics = yield* Metric.snapshot
      const options = { depth: 10, maxStringLength: null, maxArrayLength: null } as const
      const seen = inspect(store.calls, options)
      const outside = inspect([said, metrics], options)
      assert.isTrue(seen.includes(canary), "the probe works: a plain store sees the data")
      for (const token of tokens) {
        const key = yield* keyOf(token)
        assert.isTrue(seen.includes(key), "the probe works: the store sees keys")
        assert.isFalse(outside.includes(key))
        for (const form of [token, token.slice(4), hex(token), base64(token), base64(token).replace(/=+$/, "")]) {
          assert.isFalse(seen.includes(form))
          assert.isFalse(outside.includes(form))
        }
      }
      assert.isFalse(outside.includes(canary))
    }).pipe(Effect.provide(layer())))
})

const hex = (text: string) => Buffer.from(text).toString("hex")
const base64 = (text: string) => Buffer.from(text).toString("base64")
