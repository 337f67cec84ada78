import { assert, describe, it } from "@effect/vitest"
import { Effect, Redacted } from "effect"
import * as FastCheck from "fast-check"
import { createHmac, hkdfSync } from "node:crypto"
import { counters, older, platformNames, secret, service } from "./SealFixture.ts"

const texts = FastCheck.string({ unit: "grapheme", maxLength: 60 })

describe("sign and verify", () => {
  it.effect("node and WebCrypto give the same, and accept each other's", () =>
    Effect.gen(function*() {
      const node = yield* service({ platform: "node" })
      const portable = yield* service({ platform: "portable" })
      yield* Effect.promise(() =>
        FastCheck.assert(
          FastCheck.asyncProperty(FastCheck.constantFrom("csrf", "flash", ""), texts, async (purpose, text) => {
            const signature = await Effect.runPromise(node.sign(purpose, text))
            assert.strictEqual(await Effect.runPromise(portable.sign(purpose, text)), signature)
            assert.match(signature, /^[\w-]{45}$/)
            assert.isTrue(await Effect.runPromise(portable.verify(purpose, text, signature)))
            assert.strictEqual(
              await Effect.runPromise(portable.fingerprint(text)),
              await Effect.runPromise(node.fingerprint(text))
            )
          })
        )
      )
    }))

  it.effect("is HMAC-SHA-256 under a key of the purpose", () =>
    Effect.gen(function*() {
      const crypto = yield* service({ name: "shop" })
      const root = hkdfSync("sha256", Redacted.value(secret), "shop", "effect-session/1/sign", 32)
      const key = hkdfSync("sha256", new Uint8Array(root), "", "csrf", 32)
      const expected = createHmac("sha256", new Uint8Array(key)).update("text").digest("base64url")
      assert.strictEqual((yield* crypto.sign("csrf", "text")).slice(2), expected)
    }))

  for (const platform of platformNames) {
    it.effect(`${platform}: refuses every changed character, other lengths, and what is no signature`, () =>
      Effect.gen(function*() {
        const crypto = yield* service({ platform })
        const signature = yield* crypto.sign("csrf", "text")
        for (let i = 0; i < signature.length; i++) {
          for (const character of "ABab01-_=+ é\0") {
            if (signature[i] === character) continue
            const other = signature.slice(0, i) + character + signature.slice(i + 1)
            assert.isFalse(yield* crypto.verify("csrf", "text", other), other)
          }
          assert.isFalse(yield* crypto.verify("csrf", "text", signature.slice(0, i)))
        }
        for (
          const other of [`${signature}A`, `${signature}=`, ` ${signature}`, `${signature}\n`, "\ud800".repeat(45)]
        ) {
          assert.isFalse(yield* crypto.verify("csrf", "text", other))
        }
      }))

    it.effect(`${platform}: is bound to purpose, text, application and secret`, () =>
      Effect.gen(function*() {
        const crypto = yield* service({ platform })
        const signature = yield* crypto.sign("csrf", "text")
        assert.isFalse(yield* crypto.verify("csr", "ftext", signature))
        assert.isFalse(yield* crypto.verify("flash", "text", signature))
        assert.isFalse(yield* crypto.verify("csrf", "texT", signature))
        for (const options of [{ name: "other" }, { secrets: older }]) {
          const other = yield* service({ platform, ...options })
          assert.isFalse(yield* other.verify("csrf", "text", signature))
          const own = yield* other.sign("csrf", "text")
          assert.isFalse(yield* other.verify("csrf", "text", own.slice(0, 2) + signature.slice(2)))
        }
      }))

    it.effect(`${platform}: the ring verifies what an older key signed, and a retired one does not`, () =>
      Effect.gen(function*() {
        const signature = yield* (yield* service({ platform, secrets: older })).sign("csrf", "text")
        assert.isTrue(
          yield* (yield* service({ platform, secrets: [secret, older] })).verify("csrf", "text", signature)
        )
        assert.isFalse(yield* (yield* service({ platform, secrets: secret })).verify("csrf", "text", signature))
      }))
  }

  it.effect("a text with half a surrogate pair is neither signed nor accepted for another", () =>
    Effect.gen(function*() {
      const crypto = yield* service()
      const signature = yield* crypto.sign("csrf", "\ufffd")
      assert.isFalse(yield* crypto.verify("csrf", "\ud800", signature))
      assert.strictEqual((yield* Effect.exit(crypto.sign("csrf", "\ud800")))._tag, "Failure")
    }))

  it.effect("derives the key of a purpose once, and nothing for what is no signature", () =>
    Effect.gen(function*() {
      const { count, watch } = counters()
      const crypto = yield* service({ watch })
      for (let i = 0; i < 20; i++) yield* crypto.verify("csrf", "text", yield* crypto.sign("csrf", "text"))
      assert.strictEqual(count.derivations, 1)
      yield* crypto.verify("other", "text", "short")
      yield* crypto.verify("other", "text", `__${"A".repeat(43)}`)
      assert.strictEqual(count.derivations, 1)
    }))
})

describe("fingerprint", () => {
  it.effect("tells texts apart, shows nothing of them, and differs between applications", () =>
    Effect.gen(function*() {
      const crypto = yield* service()
      const fingerprint = yield* crypto.fingerprint("203.0.113.7")
      assert.match(fingerprint, /^[\w-]{24}$/)
      assert.strictEqual(yield* crypto.fingerprint("203.0.113.7"), fingerprint)
      assert.notStrictEqual(yield* crypto.fingerprint("203.0.113.8"), fingerprint)
      assert.notStrictEqual(yield* (yield* service({ name: "other" })).fingerprint("203.0.113.7"), fingerprint)
    }))

  it.effect("can be compared with one from before a rotation, as long as its key is in the ring", () =>
    Effect.gen(function*() {
      const before = yield* (yield* service({ secrets: older })).fingerprint("agent")
      const rotated = yield* service({ secrets: [secret, older] })
      assert.notStrictEqual(yield* rotated.fingerprint("agent"), before)
      assert.strictEqual(yield* rotated.fingerprint("agent", before), before)
      assert.notStrictEqual(yield* rotated.fingerprint("another agent", before), before)
      const retired = yield* service({ secrets: secret })
      assert.notStrictEqual(yield* retired.fingerprint("agent", before), before)
    }))
})
