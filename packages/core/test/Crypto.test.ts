import { assert, describe, it } from "@effect/vitest"
import { Effect, Layer, Random, Redacted } from "effect"
import * as Digest from "effect/crypto/Digest"
import * as Kdf from "effect/crypto/Kdf"
import * as SecureRandom from "effect/crypto/SecureRandom"
import * as FastCheck from "fast-check"
import { createHash, hkdfSync } from "node:crypto"
import * as Crypto from "../src/Crypto.ts"
import * as CryptoNode from "../src/CryptoNode.ts"
import * as SessionConfig from "../src/SessionConfig.ts"
import * as SessionToken from "../src/SessionToken.ts"
import { FaultyStore, layer as layerOfStore } from "./FaultyStore.ts"
import { layer, reasonOf, secret, setup, UserSession } from "./Fixture.ts"

const older = Redacted.make("Yp3-Mb8_Qw1.Jd6+Rf2/Nz5=Kx9~Ec4^Tg7?")

const config = (options: SessionConfig.Options) =>
  SessionConfig.layer({ preset: "testing", secrets: secret, ...options })
const node = (options: SessionConfig.Options = {}) => CryptoNode.layer.pipe(Layer.provide(config(options)))
const portable = (options: SessionConfig.Options = {}) => Crypto.layer.pipe(Layer.provide(config(options)))

const service = (layer: Layer.Layer<Crypto.Crypto, SessionConfig.SessionConfigError>) =>
  Effect.provide(Crypto.Crypto, layer, { local: true })

/** A source of bytes that counts up from a start, in blocks of one value each. */
const counting = (start: number) =>
  Layer.sync(SecureRandom.SecureRandom, () => {
    let next = start
    return SecureRandom.make((size) => new Uint8Array(size).fill(next++))
  })

const withRandom = (random: Layer.Layer<SecureRandom.SecureRandom>) =>
  service(CryptoNode.layerNoDeps.pipe(Layer.provide([config({}), Kdf.layerWebCrypto, random])))

const ids = FastCheck.uint8Array({ minLength: 32, maxLength: 32 })
const twelveBits = FastCheck.uint8Array({ minLength: 2, maxLength: 2 })

describe("Crypto", () => {
  it.effect("gives the same results from WebCrypto and from node:crypto", () =>
    Effect.gen(function*() {
      const [a, b] = [yield* service(node()), yield* service(portable())]
      const keyId = SessionToken.keyId(yield* a.newToken(undefined))
      yield* Effect.promise(() =>
        FastCheck.assert(FastCheck.asyncProperty(ids, twelveBits, async (id, bucket) => {
          const token = SessionToken.make(keyId, SessionToken.fromBytes(bucket), Buffer.from(id).toString("base64url"))
          const [left, right] = [
            await Effect.runPromise(a.hashId(token)),
            await Effect.runPromise(b.hashId(token))
          ]
          assert.isString(left)
          assert.strictEqual(left, right)
          assert.strictEqual(
            await Effect.runPromise(a.handleOf(left!)),
            await Effect.runPromise(b.handleOf(right!))
          )
        }))
      )
    }))

  it.effect("hashes with SHA-256 under a key from HKDF, as documented", () =>
    Effect.gen(function*() {
      const crypto = yield* service(node({ name: "shop" }))
      const token = yield* crypto.newToken("ada")
      const derived = hkdfSync("sha256", Redacted.value(secret), "shop", "effect-session/1/id-hash", 48)
      const hash = createHash("sha256").update(Buffer.from(derived).toString("base64url")).update(token)
      assert.strictEqual(yield* crypto.hashId(token), SessionToken.bucket(token) + hash.digest("base64url"))
    }))

  it.effect("confuses no token with another one it has just seen", () =>
    Effect.gen(function*() {
      const crypto = yield* service(node({ name: "shop" }))
      const derived = hkdfSync("sha256", Redacted.value(secret), "shop", "effect-session/1/id-hash", 48)
      const block = Buffer.from(derived).toString("base64url")
      const expected = (token: string) =>
        SessionToken.bucket(token) + createHash("sha256").update(block).update(token).digest("base64url")
      const token = yield* crypto.newToken(undefined)
      for (let round = 0; round < 2; round++) {
        // More than are remembered: some take the place of others.
        for (let i = 0; i < 5000; i++) {
          const other = yield* crypto.newToken("ada")
          assert.strictEqual(yield* crypto.hashId(other), expected(other))
          assert.strictEqual(yield* crypto.hashId(other), expected(other))
        }
        yield* crypto.hashId(token)
        for (let i = 2; i < SessionToken.length; i++) {
          for (const character of ["A", "Q", "g"]) {
            const near = token.slice(0, i) + character + token.slice(i + 1)
            assert.strictEqual(yield* crypto.hashId(near), expected(near))
            assert.strictEqual(yield* crypto.hashId(token), expected(token))
          }
        }
        for (const text of [`${token}A`, token.slice(1), `${token.slice(0, 46)}\u0141`]) {
          assert.isUndefined(yield* crypto.hashId(text))
        }
      }
    }))

  it.effect("does not take ids from the Random service", () =>
    Effect.gen(function*() {
      const crypto = yield* service(node())
      const draw = Effect.all([crypto.newToken(undefined), crypto.newToken(undefined)])
      const first = yield* Random.withSeed(draw, "seed")
      const second = yield* Random.withSeed(draw, "seed")
      assert.strictEqual(new Set([...first, ...second]).size, 4)
    }))

  it.effect("takes ids from SecureRandom", () =>
    Effect.gen(function*() {
      const draw = Effect.flatMap(withRandom(counting(5)), (crypto) => crypto.newToken(undefined))
      const first = yield* draw
      assert.strictEqual(first, yield* draw)
      assert.strictEqual(first.slice(4), Buffer.alloc(32, 5).toString("base64url"))
    }))

  it.effect("separates applications by name, and by secret", () =>
    Effect.gen(function*() {
      const token = yield* (yield* service(node())).newToken(undefined)
      const id = token.slice(4)
      const keys = new Set<string | undefined>()
      for (const options of [{}, { name: "other" }, { secrets: older }]) {
        const crypto = yield* service(node(options))
        const own = yield* crypto.newToken(undefined)
        // The same id and bucket under each application's own key id.
        keys.add(yield* crypto.hashId(SessionToken.make(SessionToken.keyId(own), SessionToken.bucket(token), id)))
      }
      assert.strictEqual(keys.size, 3)
      assert.isFalse(keys.has(undefined))
    }))

  it.effect("does not know tokens of another application", () =>
    Effect.gen(function*() {
      const token = yield* (yield* service(node())).newToken(undefined)
      assert.isUndefined(yield* (yield* service(node({ name: "other" }))).hashId(token))
      assert.isUndefined(yield* (yield* service(node({ secrets: older }))).hashId(token))
    }))

  it.effect("recognises tokens of every secret of the ring and draws under the newest", () =>
    Effect.gen(function*() {
      const before = yield* service(node({ secrets: older }))
      const token = yield* before.newToken("ada")
      const key = yield* before.hashId(token)
      const both = yield* service(node({ secrets: [secret, older] }))
      assert.strictEqual(yield* both.hashId(token), key)
      const fresh = yield* both.newToken("ada")
      assert.notStrictEqual(SessionToken.keyId(fresh), SessionToken.keyId(token))
      assert.isUndefined(yield* before.hashId(fresh))
      assert.isString(yield* (yield* service(node({ secrets: secret }))).hashId(fresh))
    }))

  it.effect("gives handles that are neither keys nor tokens", () =>
    Effect.gen(function*() {
      const crypto = yield* service(node())
      const token = yield* crypto.newToken(undefined)
      const key = (yield* crypto.hashId(token))!
      const handle = yield* crypto.handleOf(key)
      assert.match(handle, /^[\w-]{24}$/)
      assert.isFalse(SessionToken.isToken(handle))
      assert.isFalse(SessionToken.isToken(key), "a key leaked from a store is no token")
      assert.isUndefined(yield* crypto.hashId(key))
      assert.notInclude(key, handle)
      assert.notInclude(token, handle)
    }))

  it.effect("refuses two secrets with one key id", () =>
    Effect.gen(function*() {
      // 12 bits: among a few hundred secrets two agree.
      const seen = new Map<string, Redacted.Redacted>()
      let pair: readonly [Redacted.Redacted, Redacted.Redacted] | undefined
      for (let i = 0; pair === undefined; i++) {
        const text = createHash("sha256").update(`secret ${i}`).digest("base64url")
        const bytes = new Uint8Array(hkdfSync("sha256", text, "session", "effect-session/1/key-id", 2))
        const known = seen.get(SessionToken.fromBytes(bytes))
        if (known !== undefined) pair = [Redacted.make(text), known]
        seen.set(SessionToken.fromBytes(bytes), Redacted.make(text))
      }
      const error = yield* Effect.flip(service(node({ secrets: pair })))
      assert.include(error.message, "same 12-bit key id")
    }))
})

describe("a random source that repeats itself", () => {
  const repeating = Layer.succeed(
    SecureRandom.SecureRandom,
    SecureRandom.make((size) => new Uint8Array(size).fill(7))
  )
  const crypto = CryptoNode.layerNoDeps.pipe(Layer.provide([Kdf.layerWebCrypto, repeating]))

  it.effect("replaces no session: whoever comes second gets a typed error", () =>
    Effect.gen(function*() {
      const { run, start, store, stored } = yield* setup
      const token = yield* start
      const before = yield* stored(token)
      for (
        const [method, second] of [
          ["create", run(undefined, UserSession.set({ n: 9, who: "mallory", cart: [] }))],
          ["renew", run(token, UserSession.renew)]
        ] as const
      ) {
        store.forget()
        assert.strictEqual(yield* reasonOf(second), "Unavailable")
        assert.strictEqual(store.count(method), 5)
        assert.deepStrictEqual(yield* stored(token), before)
      }
    }).pipe(Effect.provide(layerOfStore().pipe(Layer.provideMerge(crypto), Layer.provideMerge(config({}))))))
})

const hostile = FastCheck.oneof(
  FastCheck.string({ unit: "binary", maxLength: 64 }),
  FastCheck.string({ unit: "grapheme", minLength: 40, maxLength: 50 }),
  FastCheck.stringMatching(/^[\w-]{46,48}$/),
  FastCheck.stringMatching(/^[\w+/]{46}={0,2}$/),
  FastCheck.constantFrom("", "../../etc/passwd", "\0", "a\r\nb", "*?[", "{tag}", "__proto__", "=".repeat(47)),
  FastCheck.nat(5000).map((length) => "A".repeat(length))
)

describe("tokens that this application never issued", () => {
  it.effect("cost neither a hash nor a store access, and nothing throws", () => {
    let hashes = 0
    const digest = Layer.effect(
      Digest.Digest,
      Effect.map(Digest.Digest, (webCrypto) =>
        Digest.Digest.of({
          ...webCrypto,
          digest: (algorithm, data) => {
            hashes++
            return webCrypto.digest(algorithm, data)
          }
        }))
    ).pipe(Layer.provide(Digest.layerWebCrypto))
    const crypto = Crypto.layerNoDeps.pipe(
      Layer.provide([digest, Kdf.layerWebCrypto, SecureRandom.layerWebCrypto])
    )
    return Effect.gen(function*() {
      const { open, run } = yield* setup
      const store = yield* FaultyStore
      const { token } = yield* run(undefined, UserSession.set({ n: 1, who: "ada", cart: [] }))
      const own = SessionToken.keyId(token!)
      hashes = 0
      store.forget()
      for (const text of FastCheck.sample(hostile, 10_000)) {
        if (text.startsWith(own)) continue
        assert.strictEqual(yield* open(text).status, "invalid")
      }
      assert.strictEqual(hashes, 0)
      assert.strictEqual(store.count(), 0)
      // The same counters move for tokens of ours. The key of one that was just used is remembered.
      assert.strictEqual(yield* open(token).status, "active")
      assert.strictEqual(hashes, 0)
      assert.strictEqual(store.count(), 1)
      assert.strictEqual(yield* open(yield* (yield* Crypto.Crypto).newToken(undefined)).status, "anonymous")
      assert.strictEqual(hashes, 1)
      assert.strictEqual(store.count(), 2)
    }).pipe(Effect.provide(
      layerOfStore().pipe(Layer.provideMerge(crypto), Layer.provideMerge(config({})))
    ))
  })

  it.effect("never resolve to a session: a token with one character changed is another token", () =>
    Effect.gen(function*() {
      const { open, start } = yield* setup
      const token = yield* start
      for (let position = 0; position < token.length; position++) {
        for (const other of ["A", "b", "9", "_", "E", "="]) {
          const changed = token.slice(0, position) + other + token.slice(position + 1)
          if (changed !== token) assert.notStrictEqual(yield* open(changed).status, "active", changed)
        }
      }
      for (const changed of [` ${token}`, `${token} `, `${token}=`, token.toLowerCase(), token.toUpperCase()]) {
        assert.strictEqual(yield* open(changed).status, "invalid")
      }
    }).pipe(Effect.provide(layer())))
})
