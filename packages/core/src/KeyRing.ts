/**
 * The secrets of an application as a ring of keys, newest first: the newest
 * makes new ids and seals, the others still recognise and open theirs.
 *
 * A secret is never used itself. Every key comes from it by HKDF-SHA-256 with
 * the application's name as salt and one label for each purpose, so that two
 * applications, or two purposes, never share a key. A pass-phrase goes through
 * PBKDF2-HMAC-SHA-256 first, once, when the ring is made.
 *
 * @stability unstable
 * @since 0.1.0
 */
import * as Context from "effect/Context"
import * as Digest from "effect/crypto/Digest"
import * as Kdf from "effect/crypto/Kdf"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Redacted from "effect/Redacted"
import { isPassphrase, saltOf, type Secret } from "./Secret.ts"
import { SessionConfig, SessionConfigError } from "./SessionConfig.ts"
import * as SessionToken from "./SessionToken.ts"

/**
 * One key of the ring. Shows its id only.
 *
 * @stability unstable
 * @category models
 * @since 0.1.0
 */
export interface RingKey {
  /** Name of the key: 12 bits derived from it, as two base64url characters. */
  readonly id: string
  /** The same 12 bits as a number. */
  readonly number: number
  /** Derives the key of a purpose: always the same octets for one purpose. */
  readonly derive: (purpose: string, length: number) => Effect.Effect<Uint8Array>
}

/**
 * Service that holds the ring.
 *
 * @stability unstable
 * @category services
 * @since 0.1.0
 */
export class KeyRing extends Context.Service<KeyRing, {
  readonly newest: RingKey
  /** All keys, newest first, with different ids. */
  readonly keys: ReadonlyArray<RingKey>
}>()("@effect-session/core/KeyRing") {}

const utf8 = new TextEncoder()

// Never fails: what could be wrong with the arguments was refused with the configuration.
const stretch = (kdf: Kdf.Kdf["Service"], secret: Secret): Effect.Effect<Uint8Array> =>
  isPassphrase(secret)
    ? kdf.derive(
      Kdf.pbkdf2({ hash: Digest.sha256, iterations: secret.iterations }),
      utf8.encode(Redacted.value(secret.text)),
      { salt: saltOf(secret), length: 32 }
    ).pipe(Effect.orDie)
    : Effect.succeed(utf8.encode(Redacted.value(secret)))

const makeKey = Effect.fnUntraced(function*(kdf: Kdf.Kdf["Service"], name: string, secret: Secret) {
  const octets = yield* stretch(kdf, secret)
  const salt = utf8.encode(name)
  const derive: RingKey["derive"] = (purpose, length) =>
    kdf.derive(Kdf.hkdfSha256, octets, { salt, info: utf8.encode(`effect-session/1/${purpose}`), length }).pipe(
      Effect.orDie
    )
  const bits = yield* derive("key-id", 2)
  const key: RingKey = { id: SessionToken.fromBytes(bits), number: bits[0] << 4 | bits[1] >>> 4, derive }
  return key
})

/**
 * Creates the ring from the configured secrets.
 *
 * @stability unstable
 * @category constructors
 * @since 0.1.0
 */
export const make: Effect.Effect<KeyRing["Service"], SessionConfigError, SessionConfig | Kdf.Kdf> = Effect.gen(
  function*() {
    const config = yield* SessionConfig
    const kdf = yield* Kdf.Kdf
    const keys = yield* Effect.forEach(config.secrets, (secret) => makeKey(kdf, config.name, secret))
    if (new Set(keys.map(({ id }) => id)).size < keys.length) {
      return yield* new SessionConfigError({
        problems: ["secrets: two of the secrets have the same 12-bit key id; generate another one for the newest"]
      })
    }
    return KeyRing.of({ newest: keys[0], keys })
  }
)

/**
 * Provides the ring with a `Kdf` of your own.
 *
 * @stability unstable
 * @category layers
 * @since 0.1.0
 */
export const layerNoDeps: Layer.Layer<KeyRing, SessionConfigError, SessionConfig | Kdf.Kdf> = Layer.effect(
  KeyRing,
  make
)

/**
 * Provides the ring from WebCrypto, which stretches pass-phrases off the event
 * loop.
 *
 * @stability unstable
 * @category layers
 * @since 0.1.0
 */
export const layer: Layer.Layer<KeyRing, SessionConfigError, SessionConfig> = layerNoDeps.pipe(
  Layer.provide(Kdf.layerWebCrypto)
)
