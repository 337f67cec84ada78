import { WebCrypto } from "effect/crypto/WebCrypto"
import * as Effect from "effect/Effect"
import * as Base64Url from "effect/encoding/Base64Url"
import * as Result from "effect/Result"

/** What other libraries seal and sign with, as WebCrypto has it. */

type Octets = Uint8Array<ArrayBuffer>

const encoder = new TextEncoder()
const decoder = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true })

/** A text as its octets in UTF-8. */
export const octets = (text: string): Octets => encoder.encode(text)

/** The text of some octets, or `undefined` where they are not UTF-8. */
export const textOf = (bytes: Uint8Array): string | undefined => {
  try {
    return decoder.decode(bytes)
  } catch {
    return undefined
  }
}

/** Decodes base64url, padded or not. `undefined` for a second way to write the same octets: a cookie has one name only. */
export const base64Url = (text: string): Octets | undefined => {
  const bare = text.replace(/={0,2}$/, "")
  if (!/^[\w-]*$/.test(bare)) return undefined
  const decoded = Base64Url.decode(bare)
  return Result.isSuccess(decoded) && Base64Url.encode(decoded.success) === bare
    ? new Uint8Array(decoded.success)
    : undefined
}

/** Decodes unpadded base64 of the first alphabet. */
export const base64 = (text: string): Octets | undefined =>
  /^[A-Za-z0-9+/]*$/.test(text) ? base64Url(text.replaceAll("+", "-").replaceAll("/", "_")) : undefined

const attempt = <A>(f: (subtle: SubtleCrypto) => Promise<A>): Effect.Effect<A | undefined> =>
  Effect.flatMap(WebCrypto, ({ subtle }) =>
    Effect.matchEffect(Effect.tryPromise(() => f(subtle)), {
      onFailure: () => Effect.undefined,
      onSuccess: Effect.succeed
    }))

/** Imports a key that has to be good: made where an application starts. */
const required = <A>(f: (subtle: SubtleCrypto) => Promise<A>): Effect.Effect<A> =>
  Effect.flatMap(WebCrypto, ({ subtle }) => Effect.promise(() => f(subtle)))

/** Imports a key of HMAC-SHA-256. */
export const hmacKey = (key: Octets): Effect.Effect<CryptoKey> =>
  required((subtle) => subtle.importKey("raw", key, { name: "HMAC", hash: "SHA-256" }, false, ["verify"]))

/** Imports a key of AES-256-CBC. */
export const cbcKey = (key: Octets): Effect.Effect<CryptoKey> =>
  required((subtle) => subtle.importKey("raw", key, "AES-CBC", false, ["decrypt"]))

/** Imports a pass-phrase to derive keys from. */
export const passphrase = (text: string): Effect.Effect<CryptoKey> =>
  required((subtle) => subtle.importKey("raw", octets(text), "PBKDF2", false, ["deriveKey", "deriveBits"]))

/** Derives 32 octets from a pass-phrase. */
export const pbkdf2 = (key: CryptoKey, hash: string, salt: string, iterations: number): Effect.Effect<Octets> =>
  Effect.map(
    required((subtle) => subtle.deriveBits({ name: "PBKDF2", hash, salt: octets(salt), iterations }, key, 256)),
    (bits) => new Uint8Array(bits)
  )

/** Tells, in constant time, whether a key signed a text. */
export const verify = (key: CryptoKey, signature: Octets, text: string): Effect.Effect<boolean> =>
  Effect.map(attempt((subtle) => subtle.verify("HMAC", key, signature, octets(text))), (same) => same === true)

/** Decrypts AES-256-CBC, or tells nothing. */
export const decrypt = (key: CryptoKey, iv: Octets, ciphertext: Octets): Effect.Effect<Octets | undefined> =>
  Effect.map(
    attempt((subtle) => subtle.decrypt({ name: "AES-CBC", iv }, key, ciphertext)),
    (plain) => plain === undefined ? undefined : new Uint8Array(plain)
  )

/** SHA-256 of a text as 43 characters of base64url. */
export const sha256 = (text: string): Effect.Effect<string> =>
  Effect.map(
    required((subtle) => subtle.digest("SHA-256", octets(text))),
    (hash) => Base64Url.encode(new Uint8Array(hash))
  )

/** What some JSON stands for, without keys that would become a prototype; `undefined` for what is not JSON. */
export const json = (text: string): unknown => {
  try {
    return JSON.parse(text, (key, value) => key === "__proto__" ? undefined : value)
  } catch {
    return undefined
  }
}

/** Undoes percent-encoding, or leaves a text as it is. */
export const unescape = (text: string): string => {
  if (!text.includes("%")) return text
  try {
    return decodeURIComponent(text)
  } catch {
    return text
  }
}
