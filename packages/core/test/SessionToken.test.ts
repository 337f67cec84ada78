import { assert, describe, it } from "@effect/vitest"
import { Effect, Layer } from "effect"
import { Crypto } from "../src/Crypto.ts"
import * as CryptoNode from "../src/CryptoNode.ts"
import * as SessionConfig from "../src/SessionConfig.ts"
import * as SessionToken from "../src/SessionToken.ts"
import { secret } from "./Fixture.ts"

const TestLayer = CryptoNode.layer.pipe(Layer.provide(SessionConfig.layer({ preset: "testing", secrets: secret })))

const alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
const valid = `AaBb${"C".repeat(42)}A`

describe("SessionToken", () => {
  it.effect("draws 100,000 distinct tokens in which every random bit is even", () =>
    Effect.gen(function*() {
      const { newToken } = yield* Crypto
      const count = 100_000
      const seen = new Set<string>()
      const ones = new Float64Array(256)
      for (let i = 0; i < count; i++) {
        const token = yield* newToken(undefined)
        seen.add(token)
        const bytes = Buffer.from(token.slice(4), "base64url")
        assert.strictEqual(bytes.length, 32)
        for (let bit = 0; bit < 256; bit++) ones[bit] += (bytes[bit >> 3] >> (bit & 7)) & 1
      }
      assert.strictEqual(seen.size, count)
      for (const one of ones) assert.isTrue(Math.abs(one / count - 0.5) < 0.01, `${one / count}`)
    }).pipe(Effect.provide(TestLayer)))

  it.effect("draws tokens that are tokens, of one length, with the bucket of their subject", () =>
    Effect.gen(function*() {
      const { newToken } = yield* Crypto
      for (let i = 0; i < 2000; i++) {
        const subject = i % 2 === 0 ? undefined : `user-${i}`
        const token = yield* newToken(subject)
        assert.isTrue(SessionToken.isToken(token))
        assert.strictEqual(token.length, SessionToken.length)
        if (subject !== undefined) {
          assert.strictEqual(SessionToken.bucket(token), SessionToken.bucketOfSubject(subject))
        }
      }
    }).pipe(Effect.provide(TestLayer)))

  it("takes a token apart into what it was made of", () => {
    const token = SessionToken.make("k-", "b_", "i".repeat(42) + "A")
    assert.strictEqual(SessionToken.keyId(token), "k-")
    assert.strictEqual(SessionToken.bucket(token), "b_")
    assert.isTrue(SessionToken.isToken(token))
  })

  it("accepts exactly the base64url characters, at every position", () => {
    for (let position = 0; position < SessionToken.length; position++) {
      for (let code = 0; code < 256; code++) {
        const text = valid.slice(0, position) + String.fromCharCode(code) + valid.slice(position + 1)
        const index = alphabet.indexOf(String.fromCharCode(code))
        // The last character carries four bits of 32 bytes: the two spare ones must be zero.
        const expected = position === SessionToken.length - 1 ? index >= 0 && index % 4 === 0 : index >= 0
        assert.strictEqual(SessionToken.isToken(text), expected, JSON.stringify([position, code]))
      }
    }
  })

  it("accepts one spelling of 32 bytes only", () => {
    const bytes = Buffer.alloc(32, 7)
    const id = bytes.toString("base64url")
    const spellings = [...alphabet].map((last) => id.slice(0, -1) + last)
      .filter((text) => Buffer.from(text, "base64url").equals(bytes))
    assert.strictEqual(spellings.length, 4)
    assert.deepStrictEqual(spellings.filter((text) => SessionToken.isToken(`AAAA${text}`)), [id])
  })

  it("refuses what is no token", () => {
    const wrong = [
      "",
      valid.slice(1),
      `${valid}A`,
      `${valid.slice(0, 46)}=`,
      ` ${valid.slice(1)}`,
      `${valid.slice(0, 46)}\n`,
      `${valid.slice(0, 20)}\0${valid.slice(21)}`,
      `../../${valid.slice(6)}`,
      `{tag}*?[${valid.slice(8)}`,
      `é${valid.slice(1)}`,
      `${valid.slice(0, 45)}😀`,
      `${valid.slice(0, 20)}Ａ${valid.slice(21)}`,
      "A".repeat(100_000)
    ]
    for (const text of wrong) assert.isFalse(SessionToken.isToken(text), JSON.stringify(text.slice(0, 60)))
  })

  it("spreads subjects over the buckets", () => {
    const buckets = new Map<string, number>()
    for (let i = 0; i < 40_960; i++) {
      const bucket = SessionToken.bucketOfSubject(`user-${i}`)
      assert.match(bucket, /^[\w-]{2}$/)
      buckets.set(bucket, (buckets.get(bucket) ?? 0) + 1)
    }
    assert.isAbove(buckets.size, 4000)
    assert.isBelow(Math.max(...buckets.values()), 60)
  })
})
