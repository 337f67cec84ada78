import { assert, describe, it } from "@effect/vitest"
import { Effect, Layer } from "effect"
import * as Kdf from "effect/crypto/Kdf"
import * as SecureRandom from "effect/crypto/SecureRandom"
import { TestClock } from "effect/testing"
import { randomBytes } from "node:crypto"
import { Crypto } from "../src/Crypto.ts"
import * as CryptoNode from "../src/CryptoNode.ts"
import * as SessionConfig from "../src/SessionConfig.ts"
import { secret } from "./Fixture.ts"
import { service } from "./SealFixture.ts"

const bytes = new Uint8Array([1, 2, 3])
const context = { purpose: "session", place: "memory", key: "one" }
const others = [
  { ...context, purpose: "cookie" },
  { ...context, place: "redis" },
  { ...context, key: "two" },
  { ...context, subject: "ada" },
  { ...context, subject: "" }
]

describe("the context of a seal, in the process that made it", () => {
  for (const platform of ["node", "portable"] as const) {
    it.effect(`${platform}: a value opens in no context but its own, right after it was sealed and opened`, () =>
      Effect.gen(function*() {
        const crypto = yield* service({ platform })
        for (const other of others) {
          const sealed = yield* crypto.seal(context, bytes)
          assert.isUndefined(yield* crypto.open(other, sealed))
          assert.deepStrictEqual((yield* crypto.open(context, sealed))?.plaintext, bytes)
          assert.isUndefined(yield* crypto.open(other, sealed))
        }
        const hers = { ...context, subject: "ada" }
        for (const other of [context, { ...context, subject: "eve" }]) {
          const sealed = yield* crypto.seal(hers, bytes)
          assert.isUndefined(yield* crypto.open(other, sealed))
          assert.deepStrictEqual((yield* crypto.open(hers, sealed))?.plaintext, bytes)
        }
      }))
  }
})

describe("the nonces of seals", () => {
  it.effect("are drawn many at once, used once, and not kept for later", () => {
    let draws = 0
    const random = Layer.sync(SecureRandom.SecureRandom, () =>
      SecureRandom.make((size) => {
        draws++
        return new Uint8Array(randomBytes(size))
      }))
    return Effect.gen(function*() {
      const crypto = yield* Crypto
      const seal = Effect.map(crypto.seal(context, bytes), (sealed) => Buffer.from(sealed).toString("hex"))
      const seen = new Set([yield* seal])
      draws = 0
      for (let i = 1; i < 64; i++) seen.add(yield* seal)
      assert.strictEqual(draws, 0)
      seen.add(yield* seal)
      assert.strictEqual(draws, 1)
      // A snapshot of the memory that is taken here, and continued twice, holds nonces of the draw.
      const steps = [[TestClock.adjust(5), 1], [TestClock.adjust(1), 2], [TestClock.setTime(0), 3]] as const
      for (const [pause, expected] of steps) {
        yield* pause
        seen.add(yield* seal)
        assert.strictEqual(draws, expected)
      }
      assert.strictEqual(seen.size, 68)
    }).pipe(Effect.provide(
      CryptoNode.layerNoDeps.pipe(
        Layer.provide([SessionConfig.layer({ preset: "testing", secrets: secret }), Kdf.layerWebCrypto, random])
      )
    ))
  })
})
