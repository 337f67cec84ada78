import * as Base64Url from "effect/encoding/Base64Url"
import { charCode } from "./charCode.ts"

/** What Node, Bun and Deno have of their own, several times faster than any script. */
interface NativeBuffer {
  readonly from: {
    (octets: ArrayBufferLike, start: number, length: number): { readonly toString: (encoding: "base64url") => string }
    (text: string, encoding: "base64url"): Uint8Array
  }
}

const isNativeBuffer = (value: unknown): value is NativeBuffer => typeof value === "function" && "poolSize" in value

const host: unknown = Reflect.get(globalThis, "Buffer")
const native = isNativeBuffer(host) ? host : undefined

const alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
const invalid = 64

const values = new Uint8Array(128).fill(invalid)
for (let i = 0; i < alphabet.length; i++) values[alphabet.charCodeAt(i)] = i

/** Number of characters of some octets as unpadded base64url. */
export const encodedLength = (octets: number): number => Math.ceil(octets * 4 / 3)

/** Encodes as unpadded base64url. */
export const encode = (octets: Uint8Array): string =>
  native === undefined
    ? Base64Url.encode(octets)
    : native.from(octets.buffer, octets.byteOffset, octets.length).toString("base64url")

/** What was decoded. */
export interface Decoded {
  readonly octets: Uint8Array
  /** The same text, in memory of its own. */
  readonly text: string
}

/**
 * Decodes unpadded base64url. `undefined` for everything else, and for a second way to write the same octets: no
 * padding, no white space, no other alphabet, and the spare bits of the last character are zero.
 *
 * @internal
 */
export const decode = (text: string): Decoded | undefined => {
  if (native === undefined) {
    const octets = decodePortable(text)
    return octets && { octets, text: encode(octets) }
  }
  // It reads much that is not base64url, but writes one text only.
  const decoded = native.from(text, "base64url")
  const octets = new Uint8Array(decoded.buffer, decoded.byteOffset, decoded.length)
  const written = encode(octets)
  return written === text ? { octets, text: written } : undefined
}

/** @internal */
export const decodePortable = (text: string): Uint8Array | undefined => {
  const { length } = text
  const rest = length & 3
  if (rest === 1) return undefined
  const octets = new Uint8Array(Math.floor(length * 3 / 4))
  const whole = length - rest
  let at = 0
  for (let i = 0; i < whole; i += 4) {
    const one = charCode(text, i)
    const two = charCode(text, i + 1)
    const three = charCode(text, i + 2)
    const four = charCode(text, i + 3)
    if ((one | two | three | four) > 127) return undefined
    const a = values[one]
    const b = values[two]
    const c = values[three]
    const d = values[four]
    if (((a | b | c | d) & invalid) !== 0) return undefined
    octets[at++] = a << 2 | b >>> 4
    octets[at++] = b << 4 | c >>> 2
    octets[at++] = c << 6 | d
  }
  if (rest === 0) return octets
  const a = valueAt(text, whole)
  const b = valueAt(text, whole + 1)
  const c = rest === 3 ? valueAt(text, whole + 2) : 0
  if (((a | b | c) & invalid) !== 0) return undefined
  if ((rest === 2 ? b & 15 : c & 3) !== 0) return undefined
  octets[at++] = a << 2 | b >>> 4
  if (rest === 3) octets[at] = b << 4 | c >>> 2
  return octets
}

const valueAt = (text: string, index: number): number => {
  const code = charCode(text, index)
  return code < 128 ? values[code] : invalid
}
