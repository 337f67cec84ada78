/**
 * `Crypto` on synchronous `node:crypto`: the entry point for Node servers.
 *
 * Gives and accepts exactly what `Crypto.layer` does. Seals of the suite
 * `xchacha20Poly1305` are made by libsodium where the optional peer
 * `sodium-native` is installed. It imports from `node:`, like `CompressionNode`
 * and nothing else in the package.
 *
 * @stability unstable
 * @since 0.1.0
 */
import * as Kdf from "effect/crypto/Kdf"
import * as SecureRandom from "effect/crypto/SecureRandom"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Crypto from "./Crypto.ts"
import * as primitivesNode from "./internal/primitivesNode.ts"
import * as KeyRing from "./KeyRing.ts"
import { SessionConfig, type SessionConfigError } from "./SessionConfig.ts"

// Native code is loaded only for who asked for its suite.
const make = Effect.gen(function*() {
  const { suite } = yield* SessionConfig
  const sodium = suite === "xchacha20Poly1305" ? yield* primitivesNode.loadSodium() : undefined
  return yield* Crypto.makeWith(primitivesNode.make(sodium))
})

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
> = Layer.effect(Crypto.Crypto, make).pipe(Layer.provide(KeyRing.layerNoDeps))

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
