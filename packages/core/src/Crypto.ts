/**
 * Session ids and their store keys, seals, signatures and fingerprints.
 *
 * Tokens come from the system's secure source (`SecureRandom`), 256 random bits
 * each (OWASP ASVS 7.2.3). A store key is a keyed SHA-256 of the token: whoever
 * reads a store, a channel or a backup cannot make a cookie from it (the lesson
 * of CVE-2019-16782), and cannot test a guess without the secret.
 *
 * The key is `SHA-256(K || token)`, where `K` is 64 octets: exactly one block of
 * the hash. All tokens have one length, so inputs are prefix-free, and the
 * cascade of the compression function is a pseudo-random function under the
 * secret `K`; it costs half of an HMAC. Every key comes from the ring
 * (`KeyRing`): two applications, or two purposes, never share one.
 *
 * A sealed value is encrypted and authenticated, and opens only in the context
 * it was sealed for. `SealedFormat` has its layout. Its key is derived from the
 * newest key of the ring and a salt that each process draws, so that no key ever
 * seals enough for its random nonces to meet.
 *
 * {@link layer} runs anywhere with WebCrypto. On Node, `CryptoNode.layer` gives
 * the same results from synchronous `node:crypto`, many times faster.
 *
 * @stability unstable
 * @since 0.1.0
 */
import * as Context from "effect/Context"
import * as Aead from "effect/crypto/Aead"
import * as Cipher from "effect/crypto/Cipher"
import * as Digest from "effect/crypto/Digest"
import * as Kdf from "effect/crypto/Kdf"
import * as Mac from "effect/crypto/Mac"
import * as SecureRandom from "effect/crypto/SecureRandom"
import * as Effect from "effect/Effect"
import * as Base64Url from "effect/encoding/Base64Url"
import * as Layer from "effect/Layer"
import * as portablePrimitives from "./internal/portablePrimitives.ts"
import type * as primitives from "./internal/primitives.ts"
import { RecentKeys } from "./internal/recentKeys.ts"
import * as sealer from "./internal/sealer.ts"
import * as signer from "./internal/signer.ts"
import * as KeyRing from "./KeyRing.ts"
import type { SealContext } from "./SealedFormat.ts"
import type { SessionConfig, SessionConfigError } from "./SessionConfig.ts"
import * as SessionToken from "./SessionToken.ts"

/**
 * What was in a sealed value.
 *
 * @stability unstable
 * @category models
 * @since 0.1.0
 */
export interface Opened {
  readonly plaintext: Uint8Array
  /** Id of the key of the ring that it was sealed under. */
  readonly keyId: string
  /**
   * Whether it was sealed as it would be now: under the newest key, by the
   * configured suite. If not, seal it again at the next write.
   */
  readonly current: boolean
}

/**
 * Service that draws tokens and hashes them, seals, signs and takes
 * fingerprints.
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
   * Returns an opaque name of a stored session for lists, links and events, of 24
   * base64url characters. It reveals neither the token nor the key and opens
   * nothing. It is made under the newest key, or under that of an earlier handle to
   * compare with, as long as it is in the ring.
   */
  readonly handleOf: (key: string, like?: string) => Effect.Effect<string>

  /**
   * Encrypts and authenticates, under the newest key. Two seals of one value
   * differ. Dies for a context with half a surrogate pair and for more than
   * `SealedFormat.maxPlaintext` octets.
   */
  readonly seal: (context: SealContext, plaintext: Uint8Array) => Effect.Effect<Uint8Array>

  /**
   * Opens what any key of the ring sealed for this very context. `undefined` for
   * everything else, and nothing says why. A value that is not laid out like a
   * sealed one, or names a key that is not in the ring, costs no cryptography.
   */
  readonly open: (context: SealContext, sealed: Uint8Array) => Effect.Effect<Opened | undefined>

  /**
   * Returns a signature of 45 base64url characters, under the newest key: its id
   * and an HMAC-SHA-256. Each purpose has a key of its own. Dies for a text with
   * half a surrogate pair.
   */
  readonly sign: (purpose: string, text: string) => Effect.Effect<string>

  /** Tells, in constant time, whether a key of the ring signed the text for this purpose. */
  readonly verify: (purpose: string, text: string, signature: string) => Effect.Effect<boolean>

  /**
   * Returns a keyed hash of 24 base64url characters for what is compared but
   * never shown, such as the address of a client. It is made under the newest
   * key, or under that of an earlier fingerprint to compare with, as long as it
   * is in the ring.
   */
  readonly fingerprint: (text: string, like?: string) => Effect.Effect<string>
}>()("@effect-session/core/Crypto") {}

/**
 * The cryptography of a platform: SHA-256, HMAC, HKDF and the ciphers.
 *
 * @stability unstable
 * @category models
 * @since 0.1.0
 */
export type Primitives = primitives.Primitives

/**
 * Creates the service from the cryptography of a platform. Derives the keys of
 * the ring once, here.
 *
 * @stability unstable
 * @category constructors
 * @since 0.1.0
 */
export const makeWith: (
  primitives: Primitives,
  options?: {
    /** Number of seals after which another salt is drawn: 2^28, which is also the most. */
    readonly sealsPerSalt?: number | undefined
  }
) => Effect.Effect<
  Crypto["Service"],
  never,
  SessionConfig | KeyRing.KeyRing | SecureRandom.SecureRandom
> = Effect.fnUntraced(function*(primitives: Primitives, options) {
  const ring = yield* KeyRing.KeyRing
  const random = yield* SecureRandom.SecureRandom
  const { open, seal } = yield* sealer.make(primitives, options?.sealsPerSalt)
  const { fingerprint, sign, verify } = yield* signer.make(primitives)

  // 48 octets are 64 base64url characters: one block of SHA-256.
  const block = (key: KeyRing.RingKey, purpose: string) => Effect.map(key.derive(purpose, 48), Base64Url.encode)
  const hashKeys = new Map<string, string>()
  const handleKeys = new Map<string, { readonly id: string; readonly key: string }>()
  for (const key of ring.keys) {
    hashKeys.set(key.id, yield* block(key, "id-hash"))
    handleKeys.set(key.id, { id: key.id, key: yield* block(key, "handle") })
  }
  const newest = ring.newest.id
  const newestHandle = { id: newest, key: yield* block(ring.newest, "handle") }
  const { sha256 } = primitives
  const recent = new RecentKeys()

  return Crypto.of({
    newToken: (subject) =>
      Effect.map(random.randomBytes(32), (bytes) =>
        SessionToken.make(
          newest,
          subject === undefined ? SessionToken.fromBytes(bytes.subarray(30)) : SessionToken.bucketOfSubject(subject),
          Base64Url.encode(bytes)
        )),
    hashId: (token) => {
      const known = recent.get(token)
      if (known !== undefined) return known
      if (!SessionToken.isToken(token)) return Effect.undefined
      const key = hashKeys.get(SessionToken.keyId(token))
      if (key === undefined) return Effect.undefined
      return Effect.mapEager(sha256(key + token), (hash) => recent.set(token, SessionToken.bucket(token) + hash))
    },
    handleOf: (key, like) => {
      const by = (like === undefined ? undefined : handleKeys.get(like.slice(0, 2))) ?? newestHandle
      return Effect.map(sha256(by.key + key), (hash) => by.id + hash.slice(0, 22))
    },
    seal,
    open,
    sign,
    verify,
    fingerprint
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
> = Layer.effect(Crypto, Effect.flatMap(portablePrimitives.make, (primitives) => makeWith(primitives))).pipe(
  Layer.provide([KeyRing.layerNoDeps, Aead.layerWebCrypto, Cipher.layerWebCrypto, Mac.layerWebCrypto])
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
