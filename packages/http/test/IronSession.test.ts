import { IronSession } from "@effect-session/http"
import { assert, describe, it } from "@effect/vitest"
import { Effect, Exit, Redacted } from "effect"
import { TestClock } from "effect/testing"
import { sealData } from "iron-session"
import * as Legacy from "./LegacyApp.ts"
import * as App from "./SessionApp.ts"

const password = "complex_password_at_least_32_characters_long"
const other = "another_password_of_more_than_32_characters"
const data = { user: "ada", n: 3, list: [1, null, "é"] }

// The real package seals at the real time; readers are asked at that time.
const now = Effect.sync(() => Date.now())
const sealed = (value: unknown = data, options: { readonly ttl?: number; readonly password?: string } = {}) =>
  Effect.promise(() => sealData(value, { password, ...options }))

const make = (options: Partial<IronSession.Options> = {}) =>
  IronSession.make({ password: Redacted.make(password), cookie: { name: "app" }, ...options })

const read = (reader: Effect.Success<ReturnType<typeof make>>, header: string) =>
  Effect.flatMap(reader.find(header), (found) => found === undefined ? Effect.undefined : found.load)

const atRealTime = Effect.flatMap(now, (millis) => TestClock.setTime(millis))

describe("IronSession", () => {
  it.effect("opens what the package seals", () =>
    Effect.gen(function*() {
      yield* atRealTime
      const reader = yield* make()
      const seal = yield* sealed()
      const old = yield* read(reader, `theme=dark; app=${seal}`)
      assert.deepStrictEqual(old?.data, data)
      assert.isAbove(old?.expiresAt ?? 0, yield* now)
      assert.deepStrictEqual((yield* read(reader, `app=${encodeURIComponent(seal)}`))?.data, data)
      for (const value of [{}, { a: "x".repeat(2000) }]) {
        assert.deepStrictEqual((yield* read(reader, `app=${yield* sealed(value)}`))?.data, value)
      }
    }))

  it.effect("opens a seal without end, and one in parts", () =>
    Effect.gen(function*() {
      yield* atRealTime
      const reader = yield* make()
      const endless = yield* read(reader, `app=${yield* sealed(data, { ttl: 0 })}`)
      assert.deepStrictEqual(endless, { data, expiresAt: undefined })
      const long = yield* sealed({ a: "x".repeat(6000) })
      const parts = `app.0=${long.slice(0, 4000)}; app.1=${long.slice(4000, 8000)}; app.2=${long.slice(8000)}`
      assert.deepStrictEqual((yield* read(reader, parts))?.data, { a: "x".repeat(6000) })
      assert.isUndefined(yield* read(reader, parts.replace("app.1", "app.3")))
      assert.isUndefined(yield* read(reader, `${parts}; app.1=x`))
    }))

  it.effect("opens under a password of the map, by its number", () =>
    Effect.gen(function*() {
      yield* atRealTime
      const seal = yield* sealed()
      const passwords = { 1: Redacted.make(password), 2: Redacted.make(other) }
      assert.isDefined(yield* read(yield* make({ password: passwords }), `app=${seal}`))
      assert.isUndefined(yield* read(yield* make({ password: { 2: passwords[1] } }), `app=${seal}`))
      assert.isUndefined(yield* read(yield* make({ password: passwords[2] }), `app=${seal}`))
    }))

  it.effect("a seal past its end is over", () =>
    Effect.gen(function*() {
      yield* atRealTime
      const reader = yield* make()
      const seal = yield* sealed(data, { ttl: 60 })
      assert.isDefined(yield* read(reader, `app=${seal}`))
      yield* TestClock.adjust("61 seconds")
      assert.isUndefined(yield* read(reader, `app=${seal}`))
    }))

  it.effect("what is malformed or changed anywhere is none", () =>
    Effect.gen(function*() {
      yield* atRealTime
      const reader = yield* make()
      const seal = (yield* sealed()).replace("~2", "")
      const fields = seal.split("*")
      for (let at = 0; at < seal.length; at += at < 90 ? 1 : 7) {
        if (at === seal.length - 1) continue
        const changed = seal.slice(0, at) + (seal[at] === "1" ? "2" : "1") + seal.slice(at + 1)
        assert.isUndefined(yield* read(reader, `app=${changed}`), String(at))
      }
      const malformed = [
        "",
        "Fe26.2",
        "Fe26.2*******",
        "*".repeat(4000),
        "~2",
        `${seal}*`,
        seal.replace("Fe26.2", "Fe26.1"),
        fields.with(1, "").join("*"),
        fields.with(1, "__proto__").join("*"),
        fields.with(5, "").join("*"),
        fields.with(5, "9".repeat(400)).join("*"),
        fields.with(3, "AAAA").join("*"),
        fields.with(4, "").join("*"),
        fields.with(7, "AAAA").join("*"),
        fields.with(4, "A".repeat(20_000)).join("*"),
        "%",
        "Fe26.2*1*é*a*a**a*a"
      ]
      for (const value of malformed) assert.isUndefined(yield* read(reader, `app=${value}`), value.slice(0, 40))
      assert.isUndefined(yield* read(reader, `app=${seal}; app=${seal}`))
    }))

  it.effect("what follows the seal is no part of it: the session is the same one", () =>
    Effect.gen(function*() {
      yield* atRealTime
      const reader = yield* make()
      const seal = yield* sealed()
      const ids = yield* Effect.forEach(
        [seal, seal.replace("~2", "~3"), seal.replace("~2", ""), `${seal}~x`],
        (value) => Effect.map(reader.find(`app=${value}`), (found) => found?.id)
      )
      assert.strictEqual(new Set(ids).size, 1)
      assert.isDefined(ids[0])
    }))

  it.effect("two seals of one session are one where the data says so", () =>
    Effect.gen(function*() {
      yield* atRealTime
      const identify = (value: unknown) => (value as { readonly signIn?: string }).signIn?.toString()
      const reader = yield* make({ identify })
      const idOf = (value: unknown) =>
        Effect.flatMap(sealed(value), (seal) => Effect.map(reader.find(`app=${seal}`), (found) => found?.id))
      assert.strictEqual(yield* idOf({ signIn: "a", n: 1 }), yield* idOf({ signIn: "a", n: 2 }))
      assert.notStrictEqual(yield* idOf({ signIn: "a" }), yield* idOf({ signIn: "b" }))
      assert.notStrictEqual(yield* idOf({}), yield* idOf({}))
      // A function that throws names nothing.
      assert.isDefined(yield* idOf(null))
    }))

  it.effect("refuses to start without a password, and with a short one", () =>
    Effect.gen(function*() {
      for (const password of [{}, Redacted.make("short"), { 1: Redacted.make("short") }]) {
        assert.isTrue(Exit.isFailure(yield* Effect.exit(make({ password }))))
      }
    }))

  it.effect("a seal is moved once, whatever follows it, and signing out ends it here", () =>
    Effect.gen(function*() {
      yield* atRealTime
      const store = yield* App.makeStore()
      const deadline = new Date((yield* now) + 86_400_000)
      const client = yield* App.inProcess(Legacy.application(store, yield* make(), { deadline }))
      const seal = yield* sealed({ user: "ada", n: 5 })
      const send = (cookie: string, path = "/me", method = "GET") => client.send(method, path, { headers: { cookie } })
      const first = yield* send(`app=${seal}`)
      assert.deepStrictEqual(App.shown(first), { status: "active", subject: "ada", n: 5, note: "moved" })
      const out = yield* send(`app=${seal}; session=${App.tokenOf(first)}`, "/logout", "POST")
      assert.isTrue(out.setCookies.some((line) => line.startsWith("app=; Max-Age=0")))
      for (const replay of [seal, seal.replace("~2", "~1")]) {
        assert.strictEqual(App.shown(yield* send(`app=${replay}`)).subject, null)
      }
    }))
})
