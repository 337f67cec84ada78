import * as Aead from "effect/crypto/Aead"
import * as Effect from "effect/Effect"
import {
  createCipheriv,
  createDecipheriv,
  createHmac,
  createSecretKey,
  hash,
  hkdfSync,
  timingSafeEqual
} from "node:crypto"
import type { Suite } from "../SealedFormat.ts"
import { type Allocate, bitLength, type MessageCipher, type Primitives } from "./primitives.ts"

// A Buffer's `slice` shares memory and a Uint8Array's does not: callers get what the type says.
const octets = (buffer: Buffer): Uint8Array => new Uint8Array(buffer.buffer, buffer.byteOffset, buffer.length)

const none: Effect.Effect<Uint8Array | undefined> = Effect.undefined

/**
 * Runs a decryption. Node throws for a wrong tag and for wrong padding alike;
 * nobody learns which.
 */
const attempt = (decrypt: () => Uint8Array | undefined): Effect.Effect<Uint8Array | undefined> => {
  try {
    const plaintext = decrypt()
    return plaintext === undefined ? none : Effect.succeed(plaintext)
  } catch {
    return none
  }
}

// Without `authTagLength` Node takes tags of 4 octets.
const gcmOptions = { authTagLength: 16 }

/** @internal */
export const gcm = (bytes: Uint8Array): MessageCipher => {
  const key = createSecretKey(bytes)
  return {
    encrypt: (nonce, aad, plaintext) => {
      const cipher = createCipheriv("aes-256-gcm", key, nonce, gcmOptions)
      cipher.setAAD(aad)
      const ciphertext = cipher.update(plaintext)
      cipher.final()
      return Effect.succeed([ciphertext, cipher.getAuthTag()])
    },
    decrypt: (nonce, aad, body) =>
      attempt(() => {
        const end = body.length - 16
        const decipher = createDecipheriv("aes-256-gcm", key, nonce, gcmOptions)
        decipher.setAAD(aad)
        decipher.setAuthTag(body.subarray(end))
        const plaintext = decipher.update(body.subarray(0, end))
        decipher.final()
        return octets(plaintext)
      })
  }
}

/**
 * AES-256-CBC, then an HMAC over associated data, IV, ciphertext and the length
 * of the associated data. The MAC key is the first half of the key (RFC 7518,
 * 5.2.2); the tag is the first 32 octets of the HMAC.
 *
 * @internal
 */
export const cbcHmac = (hashName: "sha256" | "sha512", bytes: Uint8Array): MessageCipher => {
  const macKey = createSecretKey(bytes.subarray(0, 32))
  const cipherKey = createSecretKey(bytes.subarray(32))
  const tagOf = (iv: Uint8Array, aad: Uint8Array, ciphertext: ReadonlyArray<Uint8Array>) => {
    const hmac = createHmac(hashName, macKey).update(aad).update(iv)
    for (const part of ciphertext) hmac.update(part)
    return hmac.update(bitLength(aad)).digest().subarray(0, 32)
  }
  return {
    encrypt: (iv, aad, plaintext) => {
      const cipher = createCipheriv("aes-256-cbc", cipherKey, iv)
      const ciphertext = [cipher.update(plaintext), cipher.final()]
      return Effect.succeed([...ciphertext, tagOf(iv, aad, ciphertext)])
    },
    decrypt: (iv, aad, body) =>
      attempt(() => {
        const end = body.length - 32
        const ciphertext = body.subarray(0, end)
        if (end < 0 || !timingSafeEqual(tagOf(iv, aad, [ciphertext]), body.subarray(end))) return undefined
        const decipher = createDecipheriv("aes-256-cbc", cipherKey, iv)
        const [start, rest] = [decipher.update(ciphertext), decipher.final()]
        // `Buffer.concat` would put what is secret into the pool that all of the process writes from.
        const plaintext = new Uint8Array(start.length + rest.length)
        plaintext.set(start)
        plaintext.set(rest, start.length)
        return plaintext
      })
  }
}

/** What is used of libsodium. */
interface Sodium {
  readonly crypto_aead_xchacha20poly1305_ietf_encrypt: (
    ciphertext: Uint8Array,
    message: Uint8Array,
    additionalData: Uint8Array,
    secretNonce: null,
    nonce: Uint8Array,
    key: Uint8Array
  ) => unknown
  readonly crypto_aead_xchacha20poly1305_ietf_decrypt: (
    message: Uint8Array,
    secretNonce: null,
    ciphertext: Uint8Array,
    additionalData: Uint8Array,
    nonce: Uint8Array,
    key: Uint8Array
  ) => unknown
}

/** Code of effect/crypto, or of a library that can put a plaintext where there is room for it. */
interface XchachaImplementation extends Pick<Aead.Implementation, "encrypt"> {
  readonly decrypt: (
    ...args: [...args: Parameters<Aead.Implementation["decrypt"]>, allocate?: Allocate]
  ) => Uint8Array | undefined
}

/** @internal */
export const sodiumXchacha = (sodium: Sodium): XchachaImplementation => ({
  encrypt: (key, nonce, plaintext, aad) => {
    // From Node's pool: it is copied into the sealed value, and nothing in it is secret.
    const body = Buffer.allocUnsafe(plaintext.length + 16)
    sodium.crypto_aead_xchacha20poly1305_ietf_encrypt(body, plaintext, aad, null, nonce, key)
    return body
  },
  decrypt: (key, nonce, body, aad, allocate) => {
    const length = body.length - 16
    const plaintext = allocate === undefined ? new Uint8Array(length) : allocate(length)
    sodium.crypto_aead_xchacha20poly1305_ietf_decrypt(plaintext, null, body, aad, nonce, key)
    return plaintext
  }
})

/** @internal */
export const xchacha = (implementation: XchachaImplementation) => (bytes: Uint8Array): MessageCipher => {
  const key = new Uint8Array(bytes)
  return {
    encrypt: (nonce, aad, plaintext) => Effect.succeed([implementation.encrypt(key, nonce, plaintext, aad)]),
    decrypt: (nonce, aad, body, allocate) => attempt(() => implementation.decrypt(key, nonce, body, aad, allocate))
  }
}

const isSodium = (u: unknown): u is Sodium =>
  typeof u === "object" && u !== null && "crypto_aead_xchacha20poly1305_ietf_encrypt" in u &&
  "crypto_aead_xchacha20poly1305_ietf_decrypt" in u

/**
 * Looks for libsodium: `undefined` where the optional peer is not installed, or
 * has no build for this machine.
 *
 * @internal
 */
// By a variable, so that neither compilers nor bundlers look for a package that need not be there.
export const loadSodium = (name: string = "sodium-native"): Effect.Effect<Sodium | undefined> =>
  Effect.promise(() =>
    import(name).then(
      (module: { readonly default?: unknown }) => isSodium(module.default) ? module.default : undefined,
      () => undefined
    )
  )

const portableXchacha = (): Aead.Implementation => {
  const { implementation } = Aead.xchacha20Poly1305
  if (implementation === undefined) throw new Error("effect/crypto has no code of its own for XChaCha20-Poly1305")
  return implementation
}

/** @internal */
export const hmac = (bytes: Uint8Array) => {
  const key = createSecretKey(bytes)
  return (data: Uint8Array): Effect.Effect<Uint8Array> =>
    Effect.succeed(octets(createHmac("sha256", key).update(data).digest()))
}

/** @internal */
export const make = (sodium: Sodium | undefined): Primitives => {
  const ciphers: { readonly [S in Suite]: (key: Uint8Array) => MessageCipher } = {
    aes256Gcm: gcm,
    aes256CbcHmacSha256: (key) => cbcHmac("sha256", key),
    xchacha20Poly1305: xchacha(sodium === undefined ? portableXchacha() : sodiumXchacha(sodium))
  }
  return {
    synchronous: true,
    sha256: (text) => Effect.succeed(hash("sha256", text, "base64url")),
    hkdf: (secret) => {
      const key = createSecretKey(secret)
      return (salt, info, length) => Effect.succeed(new Uint8Array(hkdfSync("sha256", key, salt, info, length)))
    },
    hmac: (key) => Effect.succeed(hmac(key)),
    cipher: (suite, key) => Effect.succeed(ciphers[suite](key))
  }
}
