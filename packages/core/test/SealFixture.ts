/** Crypto services as the tests of seals and signatures need them. */
import { Effect, Layer, Redacted } from "effect"
import * as Aead from "effect/crypto/Aead"
import * as Cipher from "effect/crypto/Cipher"
import * as Digest from "effect/crypto/Digest"
import * as Kdf from "effect/crypto/Kdf"
import * as Mac from "effect/crypto/Mac"
import * as SecureRandom from "effect/crypto/SecureRandom"
import * as Crypto from "../src/Crypto.ts"
import * as portablePrimitives from "../src/internal/portablePrimitives.ts"
import * as primitivesNode from "../src/internal/primitivesNode.ts"
import * as KeyRing from "../src/KeyRing.ts"
import type { Suite } from "../src/SealedFormat.ts"
import * as SessionConfig from "../src/SessionConfig.ts"

export const secret = Redacted.make("Rk3-Vd8_Ys2.Fp7+Bn4/Jc9=Hw1~Zx6^Mq5?")
export const older = Redacted.make("Lg7-Td2_Wv9.Kx4+Ps6/Nf1=Cy8~Qb3^Rj5?")

export const suites: ReadonlyArray<Suite> = ["aes256Gcm", "aes256CbcHmacSha256", "xchacha20Poly1305"]

export const context = { purpose: "session", place: "__Host-id", key: "r3cord" }

export const bytes = (text: string) => new TextEncoder().encode(text)
export const hex = (text: string) => new Uint8Array(Buffer.from(text, "hex"))

export const webCrypto = Layer.mergeAll(
  Aead.layerWebCrypto,
  Cipher.layerWebCrypto,
  Digest.layerWebCrypto,
  Kdf.layerWebCrypto,
  Mac.layerWebCrypto
).pipe(Layer.provideMerge(SecureRandom.layerWebCrypto))

export const platforms = {
  node: Effect.sync(() => primitivesNode.make(undefined)),
  portable: Effect.provide(portablePrimitives.make, webCrypto)
} as const

export type Platform = keyof typeof platforms
export const platformNames: ReadonlyArray<Platform> = ["node", "portable"]

export interface Options extends SessionConfig.Options {
  readonly platform?: Platform | undefined
  readonly sealsPerSalt?: number | undefined
  /** Changes the cryptography, to watch it. */
  readonly watch?: ((primitives: Crypto.Primitives) => Crypto.Primitives) | undefined
  readonly random?: Layer.Layer<SecureRandom.SecureRandom> | undefined
}

export const service = (
  { platform = "node", random, sealsPerSalt, watch, ...options }: Options = {}
): Effect.Effect<Crypto.Crypto["Service"], SessionConfig.SessionConfigError> =>
  platforms[platform].pipe(
    Effect.map((primitives) => watch === undefined ? primitives : watch(primitives)),
    Effect.flatMap((primitives) => Crypto.makeWith(primitives, { sealsPerSalt })),
    Effect.provide(
      KeyRing.layer.pipe(
        Layer.provideMerge(SessionConfig.layer({ preset: "testing", secrets: secret, ...options })),
        Layer.provideMerge(random ?? SecureRandom.layerWebCrypto)
      ),
      { local: true }
    )
  )

/** Counts derivations of message keys and decryptions. */
export const counters = () => {
  const count = { derivations: 0, decryptions: 0 }
  const watch = (primitives: Crypto.Primitives): Crypto.Primitives => ({
    ...primitives,
    hkdf: (secret) => {
      const hkdf = primitives.hkdf(secret)
      return (salt, info, length) => {
        count.derivations++
        return hkdf(salt, info, length)
      }
    },
    cipher: (suite, key) =>
      Effect.map(primitives.cipher(suite, key), (cipher) => ({
        ...cipher,
        decrypt: (nonce, aad, body) => {
          count.decryptions++
          return cipher.decrypt(nonce, aad, body)
        }
      }))
  })
  return { count, watch }
}
