import { randomFillSync } from "node:crypto"

const keyLength = 45
const payloadLength = 200
const alphabet = Buffer.from("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_")
const random = new Uint8Array(keyLength * 4096)
const scratch = Buffer.alloc(payloadLength)
let at = random.length

/** A key as in production: 45 characters of base64url, in a string of its own. */
export const makeKey = (): string => {
  if (at === random.length) {
    randomFillSync(random)
    at = 0
  }
  for (let i = 0; i < keyLength; i++) scratch[i] = alphabet[random[at++] & 63]
  return scratch.toString("latin1", 0, keyLength)
}

/** Another string of the same characters, as the next request brings it. */
export const another = (key: string): string => {
  scratch.write(key, "latin1")
  return scratch.toString("latin1", 0, key.length)
}

/** 200 bytes of text that no two sessions share. */
export const makePayload = (i: number): string => {
  scratch.fill("x").write(`{"userId":${i},"pad":"`, "latin1")
  return scratch.toString("latin1")
}

export const median = (values: ReadonlyArray<number>): number => {
  const sorted = values.toSorted((a, b) => a - b)
  return sorted[sorted.length >> 1]
}
