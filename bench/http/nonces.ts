import { randomFillSync } from "node:crypto"

const perDraw = 256

/** Random nonces of so many octets, drawn many at a time. */
export const make = (length: number): () => Buffer => {
  const drawn = Buffer.alloc(perDraw * length)
  let used = drawn.length
  return () => {
    if (used === drawn.length) {
      randomFillSync(drawn)
      used = 0
    }
    return drawn.subarray(used, used += length)
  }
}
