/**
 * Draws session ids and turns them into store keys.
 *
 * Tokens come from the system's secure source (`SecureRandom`), 256 random bits
 * each (OWASP ASVS 7.2.3). A store key is a keyed SHA-256 of the token: whoever
 * reads a store, a channel or a backup cannot make a cookie from it (the lesson
 * of CVE-2019-16782), and cannot test a guess without the secret.
 *
 * The key is `SHA-256(K || token)`, where `K` is 64 octets: exactly one block of
 * the hash. All tokens have one length, so inputs are prefix-free, and the
 * cascade of the compression function is a pseudo-random function under the
 * secret `K`; it costs half of an HMAC. `K` comes from the configured secret by
 * HKDF, with the application's name as salt and one label per purpose: two
 * applications, or two purposes, never share a key, and the secret itself is
 * never used.
 *
 * {@link layer} runs anywhere with WebCrypto. On Node, `CryptoNode.layer` gives
 * the same results from synchronous `node:crypto`, many times faster.
 *
 * @stability unstable
 * @since 0.1.0
 */
import * as Context from "effect/Context"
import * as Digest from "effect/crypto/Digest"
import * as Kdf from "effect/crypto/Kdf"
import * as SecureRandom from "effect/crypto/SecureRandom"
import * as Effect from "effect/Effect"
import * as Base64Url from "effect/encoding/Base64Url"
import * as Layer from "effect/Layer"
import * as Redacted from "effect/Redacted"
import { SessionConfig, SessionConfigError } from "./SessionConfig.ts"
import * as SessionToken from "./SessionToken.ts"

/**
 * Service that draws tokens and hashes them.
 *
 * @stability unstable
 * @category services
 * @since 0.1.0
 */
export class Crypto extends Context.Service<Crypto, {
  /**
   * Draws a new token under the newest secret: in the bucket of the subject, or
   * in a random one without a subject.
   */
  readonly newToken: (subject: string | undefined) => Effect.Effect<string>

  /**
   * Returns the store key of a token: its bucket and 43 base64url characters of
   * the keyed hash. `undefined` for a text that is no token, or that names a
   * secret this application does not have: such a value costs no hash and no
   * store access.
   */
  readonly hashId: (token: string) => Effect.Effect<string | undefined>

  /**
   * Returns an opaque name of a stored session for lists, links and events. It
   * reveals neither the token nor the key and opens nothing.
   */
  readonly handleOf: (key: string) => Effect.Effect<string>
}>()("@effect-session/core/Crypto") {}

/**
 * SHA-256 of an ASCII text, as unpadded base64url.
 *
 * @stability unstable
 * @category models
 * @since 0.1.0
 */
export type Sha256 = (text: string) => Effect.Effect<string>

const utf8 = new TextEncoder()

/**
 * Creates the service from a SHA-256. Derives every key once, here.
 *
 * @stability unstable
 * @category constructors
 * @since 0.1.0
 */
export const makeWith: (
  sha256: Sha256
) => Effect.Effect<
  Crypto["Service"],
  SessionConfigError,
  SessionConfig | SecureRandom.SecureRandom | Kdf.Kdf
> = Effect.fnUntraced(function*(sha256: Sha256) {
  const config = yield* SessionConfig
  const random = yield* SecureRandom.SecureRandom
  const kdf = yield* Kdf.Kdf

  const derive = (secret: Redacted.Redacted, purpose: string, length: number) =>
    kdf.derive(Kdf.hkdf(Digest.sha256), utf8.encode(Redacted.value(secret)), {
      salt: utf8.encode(config.name),
      info: utf8.encode(`effect-session/1/${purpose}`),
      length
    }).pipe(Effect.orDie)

  // 48 octets are 64 base64url characters: one block of SHA-256.
  const hashKeys = new Map<string, string>()
  const keyIds: Array<string> = []
  for (const secret of config.secrets) {
    const keyId = SessionToken.fromBytes(yield* derive(secret, "key-id", 2))
    if (hashKeys.has(keyId)) {
      return yield* new SessionConfigError({
        problems: ["secrets: two of the secrets have the same 12-bit key id; generate another one for the newest"]
      })
    }
    hashKeys.set(keyId, Base64Url.encode(yield* derive(secret, "id-hash", 48)))
    keyIds.push(keyId)
  }
  const newest = keyIds[0]
  const handleKey = Base64Url.encode(yield* derive(config.secrets[0], "handle", 48))

  return Crypto.of({
    newToken: (subject) =>
      Effect.map(random.randomBytes(32), (bytes) =>
        SessionToken.make(
          newest,
          subject === undefined ? SessionToken.fromBytes(bytes.subarray(30)) : SessionToken.bucketOfSubject(subject),
          Base64Url.encode(bytes)
        )),
    hashId: (token) => {
      if (!SessionToken.isToken(token)) return Effect.undefined
      const key = hashKeys.get(SessionToken.keyId(token))
      if (key === undefined) return Effect.undefined
      return Effect.mapEager(sha256(key + token), (hash) => SessionToken.bucket(token) + hash)
    },
    handleOf: (key) => Effect.map(sha256(handleKey + key), (hash) => hash.slice(0, 22))
  })
})

/**
 * Provides the portable service from `Digest`, `Kdf` and `SecureRandom`
 * implementations of your own, a seeded random source in tests for example.
 *
 * @stability unstable
 * @category layers
 * @since 0.1.0
 */
export const layerNoDeps: Layer.Layer<
  Crypto,
  SessionConfigError,
  SessionConfig | Digest.Digest | Kdf.Kdf | SecureRandom.SecureRandom
> = Layer.effect(
  Crypto,
  Effect.flatMap(
    Digest.Digest,
    (digest) => makeWith((text) => Effect.map(digest.digest(Digest.sha256, utf8.encode(text)), Base64Url.encode))
  )
)

/**
 * Provides the service from WebCrypto: Node, Bun, Deno, Workers.
 *
 * @stability unstable
 * @category layers
 * @since 0.1.0
 */
export const layer: Layer.Layer<Crypto, SessionConfigError, SessionConfig> = layerNoDeps.pipe(
  Layer.provide([Digest.layerWebCrypto, Kdf.layerWebCrypto, SecureRandom.layerWebCrypto])
)
