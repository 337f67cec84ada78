/**
 * What stands inside a seal, and compressed octets outside of one: an octet that says how the rest is written, then the
 * rest. Of compressed octets in a seal only the bucket shows: length in three octets, octets, zeros.
 *
 * @internal
 */
import type { Algorithm } from "../Compression.ts"
import type { Payload } from "../SessionStore.ts"
import { Slab } from "./slab.ts"

// What memory has before anything is written to it.
const plainMarker = 0
const markers: { readonly [A in Algorithm]: number } = { gzip: 1, brotli: 2 }
const algorithms: ReadonlyArray<Algorithm | undefined> = [undefined, "gzip", "brotli"]

const bucket = 64

/**
 * Octets before those that are compressed.
 *
 * @internal
 */
export const header = 4

// Handed to the cipher, and to nobody else.
const plaintexts = new Slab()

/**
 * A payload as it is, for a cipher.
 *
 * @internal
 */
export const plain = (payload: Payload): Uint8Array => {
  if (typeof payload === "string") return plaintexts.encode(payload, 1)
  const content = plaintexts.allocate(1 + payload.length)
  content.set(payload, 1)
  return content
}

/**
 * The octets of a payload that {@link plain} wrote, or `undefined` for what it did not.
 *
 * @internal
 */
export const plainIn = (content: Uint8Array): Uint8Array | undefined =>
  content[0] === plainMarker ? content.subarray(1) : undefined

/**
 * Compressed octets, in content of a length.
 *
 * @internal
 */
export const compressed = (algorithm: Algorithm, bytes: Uint8Array, length: number): Uint8Array => {
  const content = new Uint8Array(length)
  content[0] = markers[algorithm]
  content[1] = bytes.length >>> 16
  content[2] = bytes.length >>> 8
  content[3] = bytes.length
  content.set(bytes, header)
  return content
}

/**
 * What {@link compressed} wrote, or `undefined` for what it did not.
 *
 * @internal
 */
export const compressedIn = (
  content: Uint8Array
): { readonly algorithm: Algorithm; readonly bytes: Uint8Array } | undefined => {
  const algorithm = algorithms[content[0]]
  const end = header + (content[1] << 16 | content[2] << 8 | content[3])
  return algorithm === undefined || end > content.length
    ? undefined
    : { algorithm, bytes: content.subarray(header, end) }
}

/**
 * The length of content that holds so many compressed octets and shows only the bucket.
 *
 * @internal
 */
export const paddedLength = (length: number): number => Math.ceil((header + length) / bucket) * bucket
