/**
 * The text that stands for a session on the client, and its parts.
 *
 * A token is 47 base64url characters:
 *
 * ```text
 * kk bb iiiiiiiiiiiiiiiiiiiiiiiiiiiiiiiiiiiiiiiiiii
 * |  |  '- id: 256 random bits, 43 characters
 * |  '- bucket: 12 bits that place the session on a shard
 * '- key id: 12 bits that name the secret its store key is derived with
 * ```
 *
 * The whole token is the secret. Stores see only its key: the bucket, then a
 * keyed hash of the token. Syntax is checked before any other work, and the
 * encoding is canonical: two different strings are never the same session.
 *
 * @stability unstable
 * @since 0.1.0
 */
import { charCode } from "./internal/charCode.ts"

/**
 * Length of a token in characters.
 *
 * @stability unstable
 * @category constants
 * @since 0.1.0
 */
export const length = 47

const alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"

// 1: a base64url character; 3: one that may end 43 characters of 32 bytes, where the two spare bits are zero.
const characters = new Uint8Array(128)
for (let i = 0; i < alphabet.length; i++) characters[alphabet.charCodeAt(i)] = i % 4 === 0 ? 3 : 1

/**
 * Tells whether a text has the form of a token. Says nothing about whether it
 * was ever issued.
 *
 * @stability unstable
 * @category guards
 * @since 0.1.0
 */
export const isToken = (text: string): boolean => {
  if (text.length !== length) return false
  for (let i = 0; i < length; i++) {
    const code = charCode(text, i)
    if (code > 127 || characters[code] === 0) return false
  }
  return characters[charCode(text, length - 1)] === 3
}

/**
 * Puts a token together from its three parts.
 *
 * @stability unstable
 * @category constructors
 * @since 0.1.0
 */
export const make = (keyId: string, bucket: string, id: string): string => keyId + bucket + id

/**
 * Returns the key id of a token: its first two characters.
 *
 * @stability unstable
 * @category getters
 * @since 0.1.0
 */
export const keyId = (token: string): string => token.slice(0, 2)

/**
 * Returns the bucket of a token.
 *
 * @stability unstable
 * @category getters
 * @since 0.1.0
 */
export const bucket = (token: string): string => token.slice(2, 4)

const twoCharacters = (bits: number): string => alphabet[(bits >>> 6) & 63] + alphabet[bits & 63]

/**
 * Returns the two base64url characters of the first 12 bits of some bytes.
 *
 * @stability unstable
 * @category converting
 * @since 0.1.0
 */
export const fromBytes = (bytes: Uint8Array): string => twoCharacters((bytes[0] << 4) | (bytes[1] >>> 4))

/**
 * Returns the bucket in which all sessions of a subject live: a 12-bit FNV-1a
 * hash, so that one atomic step on one shard covers a subject and its sessions.
 *
 * @stability unstable
 * @category converting
 * @since 0.1.0
 */
export const bucketOfSubject = (subject: string): string => {
  let hash = 0x811c9dc5
  for (let i = 0; i < subject.length; i++) {
    hash = Math.imul(hash ^ charCode(subject, i), 0x01000193)
  }
  return twoCharacters((hash >>> 20) ^ (hash & 0xfff))
}
