import { assert, describe, it } from "@effect/vitest"
import { Effect, Layer, Redacted, Schema } from "effect"
import * as Base64Url from "effect/encoding/Base64Url"
import * as FastCheck from "fast-check"
import * as canonicalBase64 from "../src/internal/canonicalBase64.ts"
import * as RecordCodec from "../src/internal/recordCodec.ts"
import * as Session from "../src/Session.ts"
import { SessionBackend } from "../src/SessionBackend.ts"
import * as SessionManager from "../src/SessionManager.ts"
import * as CookieFixture from "./CookieFixture.ts"

const { forge, inside, Script, setup } = CookieFixture

const base64Url = (bytes: Uint8Array | string): string => Buffer.from(bytes).toString("base64url")

const rewrite = (token: string, change: (head: Array<unknown>, payload: string) => string) =>
  Effect.gen(function*() {
    const [head, payload] = new TextDecoder().decode(RecordCodec.encode(yield* inside(token))).split("\n")
    return yield* forge(change(JSON.parse(head), payload))
  })

describe("CookieStore: what is not a token", () => {
  const attempts = (token: string, foreign: string): ReadonlyArray<readonly [name: string, token: string]> => {
    const bytes = Buffer.from(token, "base64url")
    const flipped = Array.from(bytes, (_, i) => {
      const copy = Buffer.from(bytes)
      copy[i] ^= 1 << (i % 8)
      return [`octet ${i} changed`, copy.toString("base64url")] as const
    })
    const truncated = Array.from({ length: token.length }, (_, i) => [`cut at ${i}`, token.slice(0, i)] as const)
    const json = JSON.stringify({ t: "app/UserSession", v: 1, d: { n: 1, who: "ada", cart: [] } })
    return [
      ["empty", ""],
      ["sealed under another secret", foreign],
      ["plain JSON", json],
      ["JSON in base64url", base64Url(json)],
      ["signed only", `${base64Url(json)}.${base64Url("signature of 32 octets..........")}`],
      ["a token of a store", "A".repeat(47)],
      ["an empty tag", base64Url(bytes.subarray(0, -16))],
      ["longer", `${token}AAAA`],
      ...flipped,
      ...truncated
    ]
  }

  it.effect("is rejected, all alike", () =>
    Effect.gen(function*() {
      const { start } = yield* setup
      const token = yield* start
      const other = Redacted.make("Another-8-Zr5_Kt2.Hn7+Wm4/Xc9=Vb3~Ld6^")
      const foreign = yield* Effect.gen(function*() {
        return yield* (yield* setup).start
      }).pipe(Effect.provide(Layer.fresh(CookieFixture.layer({ secrets: other }))))
      const backend = yield* SessionBackend
      for (const [name, attempt] of attempts(token, foreign)) {
        assert.deepStrictEqual(yield* backend.load(attempt), { _tag: "Rejected" }, name)
      }
      assert.strictEqual((yield* backend.load(token))._tag, "Found")
    }).pipe(Effect.provide(CookieFixture.layer())))

  it.effect("costs no cryptography where its syntax is wrong, and asks no list", () =>
    Effect.gen(function*() {
      const { start } = yield* setup
      const script = yield* Script
      const token = yield* start
      const other = token.endsWith("A") ? "B" : "A"
      script.forget()
      const backend = yield* SessionBackend
      const wrong = [
        "",
        "A",
        "A".repeat(4001),
        "A".repeat(1_000_000),
        `${token}=`,
        ` ${token}`,
        `${token}\n`,
        `${token}\u00a0`,
        token.replace(/.$/, "é"),
        token.replace(/./, "+"),
        token.replace(/./, "/"),
        "%00",
        "../../etc/passwd",
        "{\"a\":1}",
        "\u0000".repeat(64)
      ]
      for (const text of wrong) assert.deepStrictEqual(yield* backend.load(text), { _tag: "Rejected" }, text)
      assert.deepStrictEqual([script.opens, script.calls], [0, []])
      assert.deepStrictEqual(yield* backend.load(token.slice(0, -1) + other), { _tag: "Rejected" })
      assert.deepStrictEqual(script.calls, [])
    }).pipe(Effect.provide(CookieFixture.layer())))

  it.effect("a session of another place, purpose or application does not open", () =>
    Effect.gen(function*() {
      const { start, statusOf } = yield* setup
      const { key, record } = yield* inside(yield* start)
      const plaintext = RecordCodec.encode({ key, record })
      assert.strictEqual(yield* statusOf(yield* forge(plaintext)), "active")
      assert.strictEqual(yield* statusOf(yield* forge(plaintext, { place: "other" })), "invalid")
      assert.strictEqual(yield* statusOf(yield* forge(plaintext, { purpose: "csrf" })), "invalid")
      const token = yield* start
      for (const options of [{ cookie: { place: "admin" } }, { name: "tenant-b" }]) {
        const status = yield* Effect.flatMap(setup, ({ statusOf }) => statusOf(token)).pipe(
          Effect.provide(Layer.fresh(CookieFixture.layer(options)))
        )
        assert.strictEqual(status, "invalid")
      }
    }).pipe(Effect.provide(CookieFixture.layer())))

  it.effect("two services of one application do not mix", () =>
    Effect.gen(function*() {
      class Basket extends Session.Service<Basket>()("app/Basket", {
        data: Schema.Struct({ n: Schema.Number, who: Schema.String, cart: Schema.Array(Schema.String) }),
        initial: { n: 0, who: "nobody", cart: [] }
      }) {}
      const { signIn } = yield* setup
      const token = yield* signIn("ada")
      const manager = yield* SessionManager.make(Basket)
      const { value } = yield* manager.run(token, Effect.all([Basket.status, Basket.subject, Basket.get]))
      assert.deepStrictEqual(value, ["invalid", undefined, { n: 0, who: "nobody", cart: [] }])
    }).pipe(Effect.provide(CookieFixture.layer())))

  it.effect("a hostile record under the right key is an outcome", () =>
    Effect.gen(function*() {
      const { start, statusOf } = yield* setup
      const token = yield* start
      const line = new TextDecoder().decode(RecordCodec.encode(yield* inside(token))).split("\n")[0]
      const fields = (JSON.parse(line) as Array<unknown>).length
      const values = [null, -1, 0, 1.5, 1e300, "x", "", [], {}, true]
      for (let i = 0; i < fields; i++) {
        for (const value of values) {
          const forged = yield* rewrite(token, (head, payload) => `${JSON.stringify(head.with(i, value))}\n${payload}`)
          assert.include(
            ["invalid", "expired", "anonymous", "active"],
            yield* statusOf(forged),
            `field ${i}: ${String(value)}`
          )
        }
      }
      for (const value of [null, "x", [], {}, true, 1.5]) {
        // Key and version, the times, the deadlines: none of them may be of another kind.
        for (const i of [0, 2, 3, 4, 6, 7, 8, 10, 11]) {
          const forged = yield* rewrite(token, (head, payload) => `${JSON.stringify(head.with(i, value))}\n${payload}`)
          assert.strictEqual(yield* statusOf(forged), "invalid", `field ${i}: ${String(value)}`)
        }
      }
      const broken = [
        "",
        "\n",
        "[]\n{}",
        "{}\n{}",
        "null\n",
        line,
        `${line.slice(0, -1)}\n{}`,
        `${line.slice(0, -1)},1]\n{}`,
        `${"[".repeat(900)}\n{}`,
        `${line}\n`,
        `${line}\n{"t":"app/UserSession","v":1,"d":`,
        `${line}\n{"t":"app/UserSession","v":1,"d":[1]}`,
        `${line}\n{"t":"app/UserSession","v":1}`,
        `${line}\n[]`,
        `${line}\n{"t":"app/UserSession","v":2,"d":{"n":1,"who":"x","cart":[]}}`
      ]
      for (const plaintext of broken) {
        assert.strictEqual(yield* statusOf(yield* forge(plaintext)), "invalid", plaintext)
      }
      const notUtf8 = new TextEncoder().encode(`${line}\n{"t":"app/UserSession","v":1,"d":{"n":1,"who":"?","cart":[]}}`)
      notUtf8[notUtf8.lastIndexOf(63)] = 0xff
      assert.strictEqual(yield* statusOf(yield* forge(notUtf8)), "invalid")
      const newer = yield* rewrite(token, (head, payload) => `${JSON.stringify(head.with(10, 99))}\n${payload}`)
      assert.strictEqual(yield* statusOf(newer), "invalid")
      const subjectWithoutSignIn = yield* rewrite(
        token,
        (head, payload) => `${JSON.stringify(head.with(9, "ada"))}\n${payload}`
      )
      assert.strictEqual(yield* statusOf(subjectWithoutSignIn), "invalid")
    }).pipe(Effect.provide(CookieFixture.layer())))
})

describe("canonicalBase64", () => {
  it("reads what is written one way, and nothing that is written another way", () => {
    for (let length = 0; length <= 70; length++) {
      const octets = Uint8Array.from({ length }, (_, i) => (i * 89 + length * 31) & 255)
      const text = base64Url(octets)
      assert.strictEqual(text.length, canonicalBase64.encodedLength(length))
      assert.deepStrictEqual(canonicalBase64.decode(text), { octets, text })
      const last = text.slice(-1)
      const others = [..."ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"].filter((c) => c !== last)
      for (const other of others) {
        const decoded = canonicalBase64.decode(text.slice(0, -1) + other)?.octets
        if (length > 0) assert.notDeepEqual(decoded, octets)
      }
      for (
        const wrong of [
          `${text}=`,
          `${text} `,
          `${text}\n`,
          ` ${text}`,
          `${text.slice(0, -1)}+`,
          `${text.slice(0, -1)}\u0141`
        ]
      ) {
        assert.isUndefined(canonicalBase64.decode(wrong))
      }
    }
    for (const text of ["A", "AAAAA", "AB", "AAB", "A===", "AA==", "\ud83d\ude00AA"]) {
      assert.isUndefined(canonicalBase64.decode(text))
    }
  })

  it("is the same where the host has no base64 of its own", () => {
    const text = FastCheck.oneof(
      FastCheck.stringMatching(/^[\w-]{0,40}$/),
      FastCheck.stringMatching(/^[\w+/=-]{0,40}$/),
      FastCheck.string({ unit: "binary", maxLength: 40 })
    )
    FastCheck.assert(
      FastCheck.property(
        text,
        (text) => {
          const octets = canonicalBase64.decodePortable(text)
          assert.deepStrictEqual(canonicalBase64.decode(text), octets && { octets, text })
        }
      ),
      { numRuns: 20_000 }
    )
    FastCheck.assert(FastCheck.property(FastCheck.uint8Array({ maxLength: 300 }), (octets) => {
      assert.strictEqual(canonicalBase64.encode(octets), Base64Url.encode(octets))
      assert.deepStrictEqual(canonicalBase64.decode(canonicalBase64.encode(octets))?.octets, octets)
    }))
  })
})
