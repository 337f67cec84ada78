import { assert, describe, it } from "@effect/vitest"
import { Effect, Layer, Redacted } from "effect"
import * as Kdf from "effect/crypto/Kdf"
import * as SecureRandom from "effect/crypto/SecureRandom"
import { hkdfSync, pbkdf2Sync } from "node:crypto"
import * as Crypto from "../src/Crypto.ts"
import * as CryptoNode from "../src/CryptoNode.ts"
import * as KeyRing from "../src/KeyRing.ts"
import * as Secret from "../src/Secret.ts"
import * as SessionConfig from "../src/SessionConfig.ts"
import { bytes, context, older, secret, service, suites } from "./SealFixture.ts"

const words = Redacted.make("umbrella glacier turmeric violin")
const phrase = Secret.passphrase(words, { salt: "bW4kVq2L9xTz7RcJ" })

const ring = (options: SessionConfig.Options) =>
  Effect.provide(
    KeyRing.KeyRing,
    KeyRing.layer.pipe(Layer.provide(SessionConfig.layer({ preset: "testing", ...options }))),
    { local: true }
  )

describe("KeyRing", () => {
  it.effect("derives by HKDF-SHA-256 with the name as salt and the purpose as label", () =>
    Effect.gen(function*() {
      const { keys, newest } = yield* ring({ name: "shop", secrets: [secret, older] })
      assert.strictEqual(keys[0], newest)
      for (const [i, text] of [secret, older].entries()) {
        const expected = (purpose: string, length: number) =>
          new Uint8Array(hkdfSync("sha256", Redacted.value(text), "shop", `effect-session/1/${purpose}`, length))
        assert.deepStrictEqual(yield* keys[i].derive("some purpose", 40), expected("some purpose", 40))
        const bits = expected("key-id", 2)
        assert.strictEqual(keys[i].number, bits[0] * 16 + Math.floor(bits[1] / 16))
      }
    }))

  it.effect("stretches a pass-phrase by PBKDF2-HMAC-SHA-256 first", () =>
    Effect.gen(function*() {
      const { newest } = yield* ring({ secrets: phrase })
      const stretched = pbkdf2Sync(Redacted.value(words), "bW4kVq2L9xTz7RcJ", 600_000, 32, "sha256")
      assert.deepStrictEqual(
        yield* newest.derive("x", 32),
        new Uint8Array(hkdfSync("sha256", stretched, "session", "effect-session/1/x", 32))
      )
    }))

  it.effect("stretches each pass-phrase once, when it is made, and never again", () => {
    const derivations: Array<string> = []
    const kdf = Layer.effect(
      Kdf.Kdf,
      Effect.map(Kdf.Kdf, (kdf) =>
        Kdf.Kdf.of({
          derive: (algorithm, secret, options) => {
            derivations.push(algorithm._tag)
            return kdf.derive(algorithm, secret, options)
          }
        }))
    ).pipe(Layer.provide(Kdf.layerWebCrypto))
    const layer = Layer.mergeAll(CryptoNode.layerNoDeps, KeyRing.layerNoDeps).pipe(
      Layer.provide(SessionConfig.layer({ preset: "testing", secrets: [phrase, secret] })),
      Layer.provide([kdf, SecureRandom.layerWebCrypto])
    )
    return Effect.gen(function*() {
      const crypto = yield* Crypto.Crypto
      const { newest } = yield* KeyRing.KeyRing
      assert.strictEqual(derivations.filter((tag) => tag === "Pbkdf2").length, 1)
      derivations.length = 0
      for (let i = 0; i < 1_000; i++) {
        yield* crypto.hashId(yield* crypto.newToken(undefined))
        yield* crypto.open(context, yield* crypto.seal(context, bytes("{}")))
        yield* crypto.verify("csrf", "text", yield* crypto.sign("csrf", "text"))
        yield* crypto.fingerprint("text")
      }
      assert.deepStrictEqual(derivations, [])
      yield* newest.derive("x", 32)
      assert.deepStrictEqual(derivations, ["Hkdf"])
    }).pipe(Effect.provide(layer))
  })

  it.effect("a pass-phrase makes ids, seals and signatures like any secret", () =>
    Effect.gen(function*() {
      const [first, second] = [yield* service({ secrets: phrase }), yield* service({ secrets: [secret, phrase] })]
      const token = yield* first.newToken(undefined)
      assert.strictEqual(yield* second.hashId(token), yield* first.hashId(token))
      const opened = yield* second.open(context, yield* first.seal(context, bytes("{}")))
      assert.isFalse(opened?.current)
      const other = Secret.passphrase(words, { salt: "another deployment" })
      assert.isUndefined(
        yield* (yield* service({ secrets: other })).open(context, yield* first.seal(context, bytes("{}")))
      )
    }))

  it.effect("no two purposes share a key, and no key is the secret", () =>
    Effect.gen(function*() {
      const keys: Array<Uint8Array> = []
      const texts: Array<string> = []
      for (const suite of suites) {
        const crypto = yield* service({
          suite,
          secrets: [secret, older],
          watch: (primitives) => ({
            synchronous: primitives.synchronous,
            sha256: (text) => {
              texts.push(text.slice(0, 64))
              return primitives.sha256(text)
            },
            hkdf: (secret) => {
              if (suite === "aes256Gcm") keys.push(secret)
              return primitives.hkdf(secret)
            },
            hmac: (key) => {
              if (suite === "aes256Gcm") keys.push(key)
              return primitives.hmac(key)
            },
            cipher: (suite, key) => {
              keys.push(...suite === "aes256CbcHmacSha256" ? [key.subarray(0, 32), key.subarray(32)] : [key])
              return primitives.cipher(suite, key)
            }
          })
        })
        yield* crypto.seal(context, bytes("{}"))
        if (suite !== "aes256Gcm") continue
        for (const purpose of ["csrf", "flash", "pub/sub", ""]) yield* crypto.sign(purpose, "text")
        const token = yield* crypto.newToken(undefined)
        yield* crypto.handleOf((yield* crypto.hashId(token))!)
      }
      const shown = [...keys.map((key) => Buffer.from(key)), ...texts.map((text) => Buffer.from(text, "base64url"))]
      // For each of two secrets: 3 seal roots, the root of signatures, fingerprints. Then 4 purposes, 4 message keys,
      // the key of ids and that of handles.
      assert.strictEqual(shown.length, 2 * 5 + 4 + 4 + 2)
      assert.strictEqual(new Set(shown.map((key) => key.subarray(0, 32).toString("hex"))).size, shown.length)
      for (const key of shown) {
        assert.isAtLeast(key.length, 32)
        for (const text of [secret, older]) {
          assert.isFalse(Buffer.from(Redacted.value(text)).includes(key.subarray(0, 8)))
        }
      }
    }))

  it.effect("two secrets with one key id stop the start", () =>
    Effect.gen(function*() {
      const seen = new Map<string, string>()
      for (let i = 0;; i++) {
        const text = Buffer.from(`${i}`.padEnd(32, "kR7-wZ2_")).toString("base64url")
        const id = Buffer.from(hkdfSync("sha256", text, "session", "effect-session/1/key-id", 2)).readUInt16BE() >>> 4
        const other = seen.get(`${id}`)
        if (other !== undefined) {
          const error = yield* Effect.flip(ring({ secrets: [Redacted.make(text), Redacted.make(other)] }))
          assert.include(error.message, "same 12-bit key id; generate another one")
          return
        }
        seen.set(`${id}`, text)
      }
    }))
})
