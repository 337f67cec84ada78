import { AzuSession } from "@effect-session/http"
import { assert, describe, it } from "@effect/vitest"
import { Effect, Exit, Redacted } from "effect"
import { TestClock } from "effect/testing"
import { gzipSync } from "node:zlib"
import * as Legacy from "./LegacyApp.ts"
import * as App from "./SessionApp.ts"

const { azuId: id, azuMessage, azuRecord, azuSecret } = Legacy
const secret = Redacted.make(azuSecret)
const record = azuRecord({ user: "ada", n: 4, authenticated: true })
const kdf = { salt: "session_kdf_salt", iterations: 1000 }

type Reader = Effect.Success<ReturnType<typeof AzuSession.fromCookie>>
const read = (reader: Reader, header: string) =>
  Effect.flatMap(reader.find(header), (found) => found === undefined ? Effect.undefined : found.load)
const cookies = (message: string, of = id) => `_session=${of}; _session._data_=${message}`

describe("AzuSession.fromCookie", () => {
  it.effect("opens both forms of a message, compressed or not, with a derived key or the secret itself", () =>
    Effect.gen(function*() {
      const plain = yield* AzuSession.fromCookie({ secret })
      const derived = yield* AzuSession.fromCookie({ secret, kdf })
      const expected = { data: { user: "ada", n: 4, authenticated: true }, expiresAt: 8 * 3_600_000 }
      for (const joined of [false, true]) {
        for (const gzip of [false, true]) {
          assert.deepStrictEqual(yield* read(plain, cookies(azuMessage(record, { gzip, joined }))), expected)
          const message = azuMessage(record, { gzip, joined, kdf })
          assert.deepStrictEqual(yield* read(derived, cookies(encodeURIComponent(message))), expected)
          assert.isUndefined(yield* read(plain, cookies(message)))
        }
      }
    }))

  it.effect("a message whose parts hold the separator opens", () =>
    Effect.gen(function*() {
      const reader = yield* AzuSession.fromCookie({ secret })
      for (const part of [0, 1]) {
        const made = () => azuMessage(record, { joined: true })
        let message = made()
        while (![message.slice(0, -46), message.slice(-44)][part].includes("--")) message = made()
        assert.isDefined(yield* read(reader, cookies(message)), message)
      }
    }))

  it.effect("a session past its end is over, which the old application did not see", () =>
    Effect.gen(function*() {
      const reader = yield* AzuSession.fromCookie({ secret })
      const header = cookies(azuMessage(record))
      yield* TestClock.adjust("7 hours")
      assert.isDefined(yield* read(reader, header))
      yield* TestClock.adjust("1 hour")
      assert.isUndefined(yield* read(reader, header))
      assert.isUndefined(yield* read(reader, cookies(azuMessage(azuRecord({}, "soon")))))
    }))

  it.effect("the data has to be that of the id, which the old application did not see", () =>
    Effect.gen(function*() {
      const reader = yield* AzuSession.fromCookie({ secret })
      assert.isUndefined(yield* read(reader, cookies(azuMessage(record), id.replace("0b", "0c"))))
      assert.isUndefined(yield* read(reader, `_session._data_=${azuMessage(record)}`))
      assert.isUndefined(yield* read(reader, cookies(azuMessage("{}"))))
    }))

  it.effect("what is malformed, forged, bloated or changed anywhere is none", () =>
    Effect.gen(function*() {
      const reader = yield* AzuSession.fromCookie({ secret })
      const message = azuMessage(record, { joined: true })
      for (let at = 0; at < message.length; at++) {
        const changed = message.slice(0, at) + (message[at] === "A" ? "B" : "A") + message.slice(at + 1)
        if (message[at] !== "=") assert.isUndefined(yield* read(reader, cookies(changed)), String(at))
      }
      const malformed = [
        "",
        "--",
        "=",
        "%",
        "a--b",
        "W10=",
        "WzEsMl0",
        message.replace("--", "-"),
        azuMessage(record, { secret: "another secret of more than 32 octets" }),
        azuMessage("not json"),
        azuMessage("[]"),
        azuMessage("x".repeat(20_000)),
        azuMessage(`{"session_id":"${id}","a":"${"x".repeat(5_000_000)}"}`, { gzip: true })
      ]
      for (const value of malformed) assert.isUndefined(yield* read(reader, cookies(value)), value.slice(0, 40))
      assert.isUndefined(yield* read(reader, `${cookies(message)}; _session=${id}`))
    }))

  it.effect("a signature that is written another way is not accepted", () =>
    Effect.gen(function*() {
      const reader = yield* AzuSession.fromCookie({ secret })
      const message = azuMessage(record, { joined: true })
      const alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
      // The last two bits of the last character say nothing.
      const last = alphabet.indexOf(message[message.length - 2])
      for (let other = last + 1; other < last + 4; other++) {
        assert.isUndefined(yield* read(reader, cookies(`${message.slice(0, -2)}${alphabet[other]}=`)))
      }
      assert.isDefined(yield* read(reader, cookies(message)))
    }))

  it.effect("a weaker signature is not accepted", () =>
    Effect.gen(function*() {
      const { createHmac } = yield* Effect.promise(() => import("node:crypto"))
      const reader = yield* AzuSession.fromCookie({ secret })
      const [data] = azuMessage(record, { joined: true }).split("--")
      const digest = createHmac("sha1", azuSecret).update(data).digest("base64url")
      assert.isUndefined(yield* read(reader, cookies(`${data}--${digest}`)))
    }))

  it.effect("refuses to start with a short secret", () =>
    Effect.gen(function*() {
      const short = AzuSession.fromCookie({ secret: Redacted.make("x".repeat(31)) })
      assert.isTrue(Exit.isFailure(yield* Effect.exit(short)))
    }))

  it.effect("a cookie is moved once, in either form", () =>
    Effect.gen(function*() {
      const reader = yield* AzuSession.fromCookie({ secret })
      const client = yield* App.inProcess(Legacy.application(yield* App.makeStore(), reader))
      const send = (cookie: string) => client.send("GET", "/me", { headers: { cookie } })
      assert.strictEqual(App.shown(yield* send(cookies(azuMessage(record)))).n, 4)
      assert.strictEqual(App.shown(yield* send(cookies(azuMessage(record, { joined: true })))).subject, null)
    }))
})

describe("AzuSession.fromRecords", () => {
  const header = `_session=${id}`

  it.effect("reads a record as it is, compressed or encrypted", () =>
    Effect.gen(function*() {
      const old = Legacy.oldStore()
      const plain = yield* AzuSession.fromRecords({ records: old })
      const encrypted = yield* AzuSession.fromRecords({ records: old, encryption: { secret } })
      for (const value of [record, Buffer.from(record), gzipSync(record)]) {
        old.entries.set(`session:${id}`, value)
        assert.deepStrictEqual((yield* read(plain, header))?.data, { user: "ada", n: 4, authenticated: true })
        assert.isUndefined(yield* read(encrypted, header))
      }
      old.entries.set(`session:${id}`, azuMessage(record, { gzip: true }))
      assert.deepStrictEqual((yield* read(encrypted, header))?.data, { user: "ada", n: 4, authenticated: true })
      assert.isUndefined(yield* read(plain, header))
    }))

  it.effect("an id of another form is not looked up", () =>
    Effect.gen(function*() {
      const old = Legacy.oldStore()
      const reader = yield* AzuSession.fromRecords({ records: old })
      for (const value of ["", "*", "1", id.toUpperCase(), `${id}x`, `${id}; _session=${id}`, "a".repeat(100_000)]) {
        assert.isUndefined(yield* read(reader, `_session=${value}`))
      }
      assert.strictEqual(old.reads, 0)
      assert.isUndefined(yield* read(reader, header))
      assert.strictEqual(old.reads, 1)
    }))

  it.effect("a record of another id, out of time or too large is none", () =>
    Effect.gen(function*() {
      const old = Legacy.oldStore()
      const reader = yield* AzuSession.fromRecords({ records: old })
      const records = [
        azuRecord({}, undefined, id.replace("0b", "0c")),
        azuRecord({}, "1970-01-01T00:00:00Z"),
        "{}",
        "null",
        "",
        gzipSync("x".repeat(5_000_000)),
        new Uint8Array([0x1f, 0x8b]),
        new Uint8Array(2_000_000)
      ]
      for (const value of records) {
        old.entries.set(`session:${id}`, value)
        assert.isUndefined(yield* read(reader, header))
      }
    }))

  it.effect("is moved, and ended with ours", () =>
    Effect.gen(function*() {
      const old = Legacy.oldStore()
      old.entries.set(`session:${id}`, record)
      const reader = yield* AzuSession.fromRecords({ records: old })
      const client = yield* App.inProcess(Legacy.application(yield* App.makeStore(), reader))
      const send = (cookie: string, path: string, method: string) => client.send(method, path, { headers: { cookie } })
      const moved = yield* send(header, "/me", "GET")
      assert.strictEqual(App.shown(moved).n, 4)
      yield* send(`${header}; session=${App.tokenOf(moved)}`, "/logout", "POST")
      assert.strictEqual(old.entries.size, 0)
    }))
})
