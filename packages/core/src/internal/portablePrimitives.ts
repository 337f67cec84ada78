import * as Aead from "effect/crypto/Aead"
import * as Cipher from "effect/crypto/Cipher"
import type { CryptoError } from "effect/crypto/CryptoError"
import * as Digest from "effect/crypto/Digest"
import * as Kdf from "effect/crypto/Kdf"
import * as Mac from "effect/crypto/Mac"
import * as Effect from "effect/Effect"
import * as Base64Url from "effect/encoding/Base64Url"
import type { Suite } from "../SealedFormat.ts"
import { bitLength, type MessageCipher, type Primitives } from "./primitives.ts"

const utf8 = new TextEncoder()

const concat = (...parts: ReadonlyArray<Uint8Array>): Uint8Array => {
  const whole = new Uint8Array(parts.reduce((length, part) => length + part.length, 0))
  let at = 0
  for (const part of parts) {
    whole.set(part, at)
    at += part.length
  }
  return whole
}

// Every refusal is the same, whatever its reason.
const undefinedOnFailure = (
  plaintext: Effect.Effect<Uint8Array | undefined, CryptoError>
): Effect.Effect<Uint8Array | undefined> => Effect.catch(plaintext, () => Effect.undefined)

/** @internal */
export const aead = (aead: Aead.Aead["Service"], key: Aead.Key): MessageCipher => ({
  encrypt: (nonce, aad, plaintext) =>
    Effect.map(Effect.orDie(aead.encrypt(key, plaintext, { nonce, aad })), (body) => [body]),
  decrypt: (nonce, aad, body) => undefinedOnFailure(aead.decrypt(key, body, { nonce, aad }))
})

/**
 * AES-256-CBC, then an HMAC over associated data, IV, ciphertext and the length
 * of the associated data. The MAC key is the first half of the key (RFC 7518,
 * 5.2.2); the tag is the first 32 octets of the HMAC.
 *
 * @internal
 */
export const cbcHmac = Effect.fnUntraced(function*(
  services: { readonly cipher: Cipher.Cipher["Service"]; readonly mac: Mac.Mac["Service"] },
  algorithm: Mac.Algorithm,
  key: Uint8Array
) {
  const macKey = yield* Mac.key(algorithm, key.subarray(0, 32))
  const cipherKey = yield* Cipher.key(Cipher.aes256Cbc, key.subarray(32))
  const tagOf = (iv: Uint8Array, aad: Uint8Array, ciphertext: Uint8Array) =>
    Effect.map(
      services.mac.sign(macKey, concat(aad, iv, ciphertext, bitLength(aad))),
      (tag) => tag.subarray(0, 32)
    )
  const cipher: MessageCipher = {
    encrypt: (iv, aad, plaintext) =>
      services.cipher.encrypt(cipherKey, plaintext, { iv }).pipe(
        Effect.flatMap((ciphertext) => Effect.map(tagOf(iv, aad, ciphertext), (tag) => [ciphertext, tag])),
        Effect.orDie
      ),
    decrypt: (iv, aad, body) => {
      const ciphertext = body.subarray(0, body.length - 32)
      return undefinedOnFailure(
        Effect.flatMap(
          tagOf(iv, aad, ciphertext),
          (tag): Effect.Effect<Uint8Array | undefined, CryptoError> =>
            Mac.timingSafeEqual(tag, body.subarray(body.length - 32))
              ? services.cipher.decrypt(cipherKey, ciphertext, { iv })
              : Effect.undefined
        )
      )
    }
  }
  return cipher
})

/** @internal */
export const make: Effect.Effect<
  Primitives,
  never,
  Aead.Aead | Cipher.Cipher | Digest.Digest | Kdf.Kdf | Mac.Mac
> = Effect.gen(function*() {
  const services = { aead: yield* Aead.Aead, cipher: yield* Cipher.Cipher, mac: yield* Mac.Mac }
  const digest = yield* Digest.Digest
  const kdf = yield* Kdf.Kdf

  const ciphers: { readonly [S in Suite]: (key: Uint8Array) => Effect.Effect<MessageCipher, CryptoError> } = {
    aes256Gcm: (key) => Effect.map(Aead.key(Aead.aes256Gcm, key), (key) => aead(services.aead, key)),
    aes256CbcHmacSha256: (key) => cbcHmac(services, Mac.hmacSha256, key),
    xchacha20Poly1305: (key) => Effect.map(Aead.key(Aead.xchacha20Poly1305, key), (key) => aead(services.aead, key))
  }

  return {
    synchronous: false,
    sha256: (text) => Effect.map(digest.digest(Digest.sha256, utf8.encode(text)), Base64Url.encode),
    hkdf: (secret) => (salt, info, length) => Effect.orDie(kdf.derive(Kdf.hkdfSha256, secret, { salt, info, length })),
    hmac: (key) =>
      Effect.map(
        Effect.orDie(Mac.key(Mac.hmacSha256, key)),
        (key) => (data) => Effect.orDie(services.mac.sign(key, data))
      ),
    cipher: (suite, key) => Effect.orDie(ciphers[suite](key))
  }
})
