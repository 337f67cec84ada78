const alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
const invalid = 64

const values = new Uint8Array(128).fill(invalid)
for (let i = 0; i < alphabet.length; i++) values[alphabet.charCodeAt(i)] = i

/** Number of characters of some octets as unpadded base64url. */
export const encodedLength = (octets: number): number => Math.ceil(octets * 4 / 3)

/**
 * Decodes unpadded base64url. `undefined` for everything else, and for a second way to write the same octets: no
 * padding, no white space, no other alphabet, and the spare bits of the last character are zero.
 *
 * @internal
 */
export const decode = (text: string): Uint8Array | undefined => {
  const { length } = text
  const rest = length & 3
  if (rest === 1) return undefined
  const octets = new Uint8Array(Math.floor(length * 3 / 4))
  let at = 0
  let bits = 0
  for (let i = 0; i < length; i++) {
    const code = text.charCodeAt(i)
    const value = code < 128 ? values[code] : invalid
    if (value === invalid) return undefined
    bits = bits << 6 | value
    if ((i & 3) === 3) {
      octets[at++] = bits >>> 16
      octets[at++] = bits >>> 8
      octets[at++] = bits
      bits = 0
    }
  }
  if (rest === 2) {
    if ((bits & 15) !== 0) return undefined
    octets[at] = bits >>> 4
  } else if (rest === 3) {
    if ((bits & 3) !== 0) return undefined
    octets[at++] = bits >>> 10
    octets[at] = bits >>> 2
  }
  return octets
}
