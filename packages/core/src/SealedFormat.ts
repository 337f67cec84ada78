/**
 * The bytes of a sealed value: how they are laid out, and nothing else.
 *
 * ```text
 * version  suite  key id  salt  commitment  nonce        ciphertext  tag
 * 1        1      2       16    16          12, 16 or 24 any         16 or 32
 * ```
 *
 * Everything here works without a key. A value that is not laid out like this is
 * refused before any cryptography, and every value has one form only.
 *
 * @stability unstable
 * @since 0.1.0
 */

import { charCode } from "./internal/charCode.ts"
import { Slab } from "./internal/slab.ts"

/**
 * Name of a way to seal.
 *
 * **Details**
 *
 * - `aes256Gcm`: AES-256 in Galois/counter mode, the default.
 * - `aes256CbcHmacSha256`: AES-256 in CBC mode, then HMAC-SHA-256 over all of
 *   it, for policies that ask for these two.
 * - `xchacha20Poly1305`: XChaCha20-Poly1305, fast without help of the processor.
 *
 * @stability unstable
 * @category models
 * @since 0.1.0
 */
export type Suite = "aes256Gcm" | "aes256CbcHmacSha256" | "xchacha20Poly1305"

/**
 * Sizes of a suite in octets.
 *
 * @stability unstable
 * @category models
 * @since 0.1.0
 */
export interface Layout {
  readonly suite: Suite
  /** The octet that names the suite. */
  readonly number: number
  readonly keyLength: number
  readonly nonceLength: number
  readonly tagLength: number
  /** The ciphertext is padded to a multiple of this, by at least one octet unless it is 1. */
  readonly blockLength: number
}

/**
 * What a sealed value is bound to. It opens only where all of it is the same.
 *
 * @stability unstable
 * @category models
 * @since 0.1.0
 */
export interface SealContext {
  /** What the value is for: one fixed word such as `session`. */
  readonly purpose: string
  /** Where it is kept: the name of the cookie or of the store. */
  readonly place: string
  /** Which of the values there it is: the key of the record, empty if there is only one. */
  readonly key: string
  /** Whom the record is about, where that stands beside the value. Nobody is not the same as an empty text. */
  readonly subject?: string | undefined
}

/**
 * A sealed value, taken apart. The parts share the memory of the whole. What
 * stands before the nonce, the same in all values of one message key, are the
 * first {@link prefixLength} octets of the whole.
 *
 * @stability unstable
 * @category models
 * @since 0.1.0
 */
export interface Sealed {
  readonly layout: Layout
  readonly keyId: number
  readonly nonce: Uint8Array
  /** Ciphertext and tag. */
  readonly body: Uint8Array
}

/**
 * The version that is written, and the only one that is read.
 *
 * @stability unstable
 * @category constants
 * @since 0.1.0
 */
export const version = 1

/**
 * Octets of a salt.
 *
 * @stability unstable
 * @category constants
 * @since 0.1.0
 */
export const saltLength = 16

/**
 * Octets of a key commitment.
 *
 * @stability unstable
 * @category constants
 * @since 0.1.0
 */
export const commitmentLength = 16

/**
 * Octets before the nonce.
 *
 * @stability unstable
 * @category constants
 * @since 0.1.0
 */
export const prefixLength = 4 + saltLength + commitmentLength

/**
 * Most octets that can be sealed: 64 MiB.
 *
 * @stability unstable
 * @category constants
 * @since 0.1.0
 */
export const maxPlaintext = 2 ** 26

/**
 * The suites.
 *
 * @stability unstable
 * @category constants
 * @since 0.1.0
 */
export const layouts: { readonly [S in Suite]: Layout } = {
  aes256Gcm: { suite: "aes256Gcm", number: 1, keyLength: 32, nonceLength: 12, tagLength: 16, blockLength: 1 },
  aes256CbcHmacSha256: {
    suite: "aes256CbcHmacSha256",
    number: 2,
    keyLength: 64,
    nonceLength: 16,
    tagLength: 32,
    blockLength: 16
  },
  xchacha20Poly1305: {
    suite: "xchacha20Poly1305",
    number: 3,
    keyLength: 32,
    nonceLength: 24,
    tagLength: 16,
    blockLength: 1
  }
}

const byNumber: ReadonlyArray<Layout | undefined> = [
  undefined,
  layouts.aes256Gcm,
  layouts.aes256CbcHmacSha256,
  layouts.xchacha20Poly1305
]

/**
 * Tells whether a text names a suite.
 *
 * @stability unstable
 * @category guards
 * @since 0.1.0
 */
export const isSuite = (text: string): text is Suite => Object.hasOwn(layouts, text)

/**
 * Returns how many octets a sealed value has.
 *
 * @stability unstable
 * @category getters
 * @since 0.1.0
 */
export const sealedLength = (suite: Suite, plaintextLength: number): number => {
  const { blockLength, nonceLength, tagLength } = layouts[suite]
  const padding = blockLength === 1 ? 0 : blockLength - plaintextLength % blockLength
  return prefixLength + nonceLength + plaintextLength + padding + tagLength
}

/**
 * Takes a sealed value apart. `undefined` for bytes that no key of any
 * application could have sealed: an unknown version or suite, a key id of more
 * than 12 bits, an impossible length.
 *
 * @stability unstable
 * @category converting
 * @since 0.1.0
 */
export const parse = (sealed: Uint8Array): Sealed | undefined => {
  if (sealed.length < prefixLength || sealed[0] !== version || sealed[2] > 15) return undefined
  const layout = byNumber[sealed[1]]
  if (layout === undefined) return undefined
  const start = prefixLength + layout.nonceLength
  const ciphertext = sealed.length - start - layout.tagLength
  if (ciphertext < 0 || ciphertext > maxPlaintext + layout.blockLength) return undefined
  if (layout.blockLength > 1 && (ciphertext === 0 || ciphertext % layout.blockLength !== 0)) return undefined
  return {
    layout,
    keyId: sealed[2] << 8 | sealed[3],
    nonce: sealed.subarray(prefixLength, start),
    body: sealed.subarray(start)
  }
}

/**
 * Returns the salt in a prefix, or in a whole value.
 *
 * @stability unstable
 * @category getters
 * @since 0.1.0
 */
export const saltOf = (prefix: Uint8Array): Uint8Array => prefix.subarray(4, 4 + saltLength)

/**
 * Returns the key commitment in a prefix, or in a whole value.
 *
 * @stability unstable
 * @category getters
 * @since 0.1.0
 */
export const commitmentOf = (prefix: Uint8Array): Uint8Array => prefix.subarray(4 + saltLength, prefixLength)

/**
 * Writes what stands before the nonce.
 *
 * @stability unstable
 * @category constructors
 * @since 0.1.0
 */
export const makePrefix = (suite: Suite, keyId: number, salt: Uint8Array, commitment: Uint8Array): Uint8Array => {
  const prefix = new Uint8Array(prefixLength)
  prefix[0] = version
  prefix[1] = layouts[suite].number
  prefix[2] = keyId >>> 8
  prefix[3] = keyId
  prefix.set(salt, 4)
  prefix.set(commitment, 4 + saltLength)
  return prefix
}

/**
 * Puts a sealed value together, in memory of its own unless some is given. The
 * body may come in parts.
 *
 * @stability unstable
 * @category constructors
 * @since 0.1.0
 */
export const write = (
  prefix: Uint8Array,
  nonce: Uint8Array,
  body: ReadonlyArray<Uint8Array>,
  allocate: (length: number) => Uint8Array = (length) => new Uint8Array(length)
): Uint8Array => {
  let length = prefixLength + nonce.length
  for (const part of body) length += part.length
  const sealed = allocate(length)
  sealed.set(prefix)
  sealed.set(nonce, prefixLength)
  let at = prefixLength + nonce.length
  for (const part of body) {
    sealed.set(part, at)
    at += part.length
  }
  return sealed
}

const utf8 = new TextEncoder()
const loneSurrogate = /[\ud800-\udfff]/u

/**
 * Returns the octets of a text as UTF-8, or `undefined` for a text with half a
 * surrogate pair: UTF-8 cannot tell such texts apart.
 *
 * @stability unstable
 * @category converting
 * @since 0.1.0
 */
export const encodeText = (text: string): Uint8Array | undefined =>
  loneSurrogate.test(text) ? undefined : utf8.encode(text)

const writeLength = (data: Uint8Array, at: number, length: number): void => {
  data[at] = length >>> 24
  data[at + 1] = length >>> 16
  data[at + 2] = length >>> 8
  data[at + 3] = length
}

const contexts = new Slab()

// Contexts are ASCII in all but odd cases, and short: a loop is faster than TextEncoder. -1 for other texts.
const writeAscii = (data: Uint8Array, at: number, text: string): number => {
  writeLength(data, at, text.length)
  let next = at + 4
  for (let i = 0; i < text.length; i++) {
    const code = charCode(text, i)
    if (code > 127) return -1
    data[next++] = code
  }
  return next
}

/**
 * Returns what is authenticated along with the ciphertext: the prefix, then
 * purpose, place, key, and the subject if there is one, each after its length in
 * four octets. `undefined` for a context with half a surrogate pair.
 *
 * @stability unstable
 * @category converting
 * @since 0.1.0
 */
export const additionalData = (prefix: Uint8Array, context: SealContext): Uint8Array | undefined => {
  const { key, place, purpose, subject } = context
  const length = prefixLength + 12 + purpose.length + place.length + key.length
  const data = contexts.allocate(subject === undefined ? length : length + 4 + subject.length)
  let at = writeAscii(data, prefixLength, purpose)
  if (at > 0) at = writeAscii(data, at, place)
  if (at > 0) at = writeAscii(data, at, key)
  if (at > 0 && subject !== undefined) at = writeAscii(data, at, subject)
  if (at > 0) {
    data.set(prefix)
    return data
  }
  return additionalUnicode(prefix, subject === undefined ? [purpose, place, key] : [purpose, place, key, subject])
}

const additionalUnicode = (prefix: Uint8Array, texts: ReadonlyArray<string>): Uint8Array | undefined => {
  const parts: Array<Uint8Array> = []
  let length = prefixLength
  for (const text of texts) {
    const part = encodeText(text)
    if (part === undefined) return undefined
    parts.push(part)
    length += 4 + part.length
  }
  const data = new Uint8Array(length)
  data.set(prefix)
  let at = prefixLength
  for (const part of parts) {
    writeLength(data, at, part.length)
    data.set(part, at + 4)
    at += 4 + part.length
  }
  return data
}
