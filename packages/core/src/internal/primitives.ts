import type * as Effect from "effect/Effect"
import type { Suite } from "../SealedFormat.ts"

/**
 * Where so many octets go.
 *
 * @internal
 */
export type Allocate = (length: number) => Uint8Array

/**
 * One message key, ready for use.
 *
 * @internal
 */
export interface MessageCipher {
  /** Returns the ciphertext and the tag after it, in one part or more. */
  readonly encrypt: (
    nonce: Uint8Array,
    additionalData: Uint8Array,
    plaintext: Uint8Array
  ) => Effect.Effect<ReadonlyArray<Uint8Array>>
  /**
   * Takes ciphertext and tag. `undefined` when they do not belong together, and never more than that. The plaintext may
   * be put where the caller has room for it.
   */
  readonly decrypt: (
    nonce: Uint8Array,
    additionalData: Uint8Array,
    body: Uint8Array,
    allocate?: Allocate
  ) => Effect.Effect<Uint8Array | undefined>
}

/**
 * HMAC-SHA-256 under one key.
 *
 * @internal
 */
export type Hmac = (data: Uint8Array) => Effect.Effect<Uint8Array>

/**
 * HKDF-SHA-256 from one secret.
 *
 * @internal
 */
export type Hkdf = (salt: Uint8Array, info: Uint8Array, length: number) => Effect.Effect<Uint8Array>

/**
 * The cryptography of a platform.
 *
 * @internal
 */
export interface Primitives {
  /** Whether all effects are done when they are returned. */
  readonly synchronous: boolean
  /** SHA-256 of an ASCII text, as unpadded base64url. */
  readonly sha256: (text: string) => Effect.Effect<string>
  readonly hkdf: (secret: Uint8Array) => Hkdf
  readonly hmac: (key: Uint8Array) => Effect.Effect<Hmac>
  /** The key has the length that the layout of the suite says. */
  readonly cipher: (suite: Suite, key: Uint8Array) => Effect.Effect<MessageCipher>
}

/**
 * The number of bits of some octets, as eight octets: what the MAC of the CBC
 * suite ends with, so that nothing moves between associated data and ciphertext.
 *
 * @internal
 */
export const bitLength = (octets: Uint8Array): Uint8Array => {
  const length = new Uint8Array(8)
  new DataView(length.buffer).setBigUint64(0, BigInt(octets.length) * 8n)
  return length
}
