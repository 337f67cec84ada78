/**
 * `Crypto` on synchronous `node:crypto`: the entry point for Node servers.
 *
 * Gives and accepts exactly what `Crypto.layer` does. This is the only module
 * of the package that imports from `node:`.
 *
 * @stability unstable
 * @since 0.1.0
 */
import * as Kdf from "effect/crypto/Kdf"
import * as SecureRandom from "effect/crypto/SecureRandom"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import { hash } from "node:crypto"
import * as Crypto from "./Crypto.ts"
import type { SessionConfig, SessionConfigError } from "./SessionConfig.ts"

const sha256: Crypto.Sha256 = (text) => Effect.succeed(hash("sha256", text, "base64url"))

/**
 * Provides the service with a random source of your own, a seeded one in tests
 * for example.
 *
 * @stability unstable
 * @category layers
 * @since 0.1.0
 */
export const layerNoDeps: Layer.Layer<
  Crypto.Crypto,
  SessionConfigError,
  SessionConfig | SecureRandom.SecureRandom | Kdf.Kdf
> = Layer.effect(Crypto.Crypto, Crypto.makeWith(sha256))

/**
 * Provides the service from `node:crypto`.
 *
 * @stability unstable
 * @category layers
 * @since 0.1.0
 */
export const layer: Layer.Layer<Crypto.Crypto, SessionConfigError, SessionConfig> = layerNoDeps.pipe(
  Layer.provide([Kdf.layerWebCrypto, SecureRandom.layerWebCrypto])
)
