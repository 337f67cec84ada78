import { ExpressSession } from "@effect-session/http"
import { assert, describe, it } from "@effect/vitest"
import { Effect, Exit, Redacted } from "effect"
import { TestClock } from "effect/testing"
import { createRequire } from "node:module"
import * as Legacy from "./LegacyApp.ts"

const packages = createRequire(import.meta.url)
const real: { readonly sign: (value: string, secret: string) => string } = packages("cookie-signature")

const setup = Effect.gen(function*() {
  const old = Legacy.oldStore()
  old.entries.set("sess:abc", Legacy.expressRecord({ user: "ada" }))
  const reader = yield* Legacy.expressReader(old)
  const read = (header: string) =>
    Effect.flatMap(reader.find(header), (found) => found === undefined ? Effect.undefined : found.load)
  return { old, reader, read }
})

const cookie = Legacy.expressCookie("abc")
const value = cookie.slice("connect.sid=".length)

describe("ExpressSession", () => {
  it.effect("opens what the package signs, and gives the data without the cookie's attributes", () =>
    Effect.gen(function*() {
      const { read } = yield* setup
      const signed = `connect.sid=${encodeURIComponent(`s:${real.sign("abc", Legacy.expressSecret)}`)}`
      assert.strictEqual(signed, cookie)
      assert.deepStrictEqual(yield* read(signed), { data: { user: "ada" }, expiresAt: undefined })
      assert.deepStrictEqual((yield* read(`theme=dark; ${decodeURIComponent(cookie)}; a=b`))?.data, { user: "ada" })
    }))

  it.effect("opens under any of the secrets and under no other", () =>
    Effect.gen(function*() {
      const { read } = yield* setup
      assert.isDefined(yield* read(Legacy.expressCookie("abc", "newer")))
      assert.isUndefined(yield* read(Legacy.expressCookie("abc", "older")))
    }))

  it.effect("takes a name, a prefix and a store of its own", () =>
    Effect.gen(function*() {
      const old = Legacy.oldStore()
      old.entries.set("app:abc", new TextEncoder().encode(Legacy.expressRecord({ user: "ada" })))
      const reader = yield* ExpressSession.make({
        secrets: [Redacted.make(Legacy.expressSecret)],
        records: old,
        prefix: "app:",
        cookie: { name: "sid", domain: "example.com" }
      })
      const found = yield* reader.find(`sid=${value}`)
      assert.deepStrictEqual((yield* found!.load)?.data, { user: "ada" })
      assert.include(reader.cookies[0].attributes, "Domain=example.com")
    }))

  it.effect("a session past the end of its cookie is over", () =>
    Effect.gen(function*() {
      const { old, read } = yield* setup
      old.entries.set("sess:abc", Legacy.expressRecord({ user: "ada" }, "1970-01-01T00:10:00.000Z"))
      assert.strictEqual((yield* read(cookie))?.expiresAt, 600_000)
      yield* TestClock.adjust("10 minutes")
      assert.isUndefined(yield* read(cookie))
      old.entries.set("sess:abc", Legacy.expressRecord({ user: "ada" }, "soon"))
      assert.isUndefined(yield* read(cookie))
    }))

  it.effect("what is malformed or forged costs no read", () =>
    Effect.gen(function*() {
      const { old, read } = yield* setup
      const { length } = value
      const forged = [
        "",
        "connect.sid",
        "connect.sid=",
        "connect.sid=s%3A",
        "connect.sid=s:.",
        "connect.sid=abc",
        "connect.sid=%",
        "connect.sid=%E0%A4%A",
        `connect.sid=${value.slice(4)}`,
        `connect.sid=j:${value.slice(4)}`,
        `connect.sid=${value.replace("abc", "abd")}`,
        `connect.sid=${value.slice(0, -1)}`,
        `connect.sid=${value}A`,
        `connect.sid="${value}"`,
        `connect.sid=s:${"a".repeat(100_000)}.${value.slice(length - 43)}`,
        `Connect.sid=${value}`,
        `xconnect.sid=${value}`,
        `${cookie}; ${cookie}`,
        `connect.sid=s:a\u0000bc.${value.slice(length - 43)}`,
        `connect.sid=s:${real.sign("", Legacy.expressSecret)}`
      ]
      for (const header of forged) assert.isUndefined(yield* read(header), header.slice(0, 60))
      // Each single change of the signature.
      const signed = decodeURIComponent(value)
      for (let at = signed.lastIndexOf(".") + 1; at < signed.length; at++) {
        const other = signed.slice(0, at) + (signed[at] === "A" ? "B" : "A") + signed.slice(at + 1)
        assert.isUndefined(yield* read(`connect.sid=${encodeURIComponent(other)}`))
      }
      assert.strictEqual(old.reads, 0)
    }))

  it.effect("a record that is none is no session", () =>
    Effect.gen(function*() {
      const { old, read } = yield* setup
      const records = [
        "",
        "{",
        "null",
        "1",
        "[]",
        "{}",
        `{"user":"ada"}`,
        `{"cookie":1}`,
        `{"cookie":null}`,
        "[".repeat(100_000),
        `{"cookie":{},"a":"${"x".repeat(1_100_000)}"}`,
        new Uint8Array([0x7b, 0xff])
      ]
      for (const record of records) {
        old.entries.set("sess:abc", record)
        assert.isUndefined(yield* read(cookie), String(record).slice(0, 20))
      }
      old.entries.delete("sess:abc")
      assert.isUndefined(yield* read(cookie))
    }))

  it.effect("a record changes no prototype", () =>
    Effect.gen(function*() {
      const { old, read } = yield* setup
      old.entries.set("sess:abc", `{"cookie":{},"__proto__":{"admin":true},"a":{"\\u005f_proto__":{"admin":true}}}`)
      const data = (yield* read(cookie))?.data
      assert.deepStrictEqual(data, { a: {} })
      assert.isFalse(Object.hasOwn(data as object, "__proto__"))
      assert.isUndefined(({} as { admin?: boolean }).admin)
    }))

  it.effect("refuses to start without a secret", () =>
    Effect.gen(function*() {
      for (const secrets of [[], [Redacted.make("")]]) {
        assert.isTrue(Exit.isFailure(yield* Effect.exit(ExpressSession.make({ secrets, records: Legacy.oldStore() }))))
      }
    }))
})
