import { textOf } from "./legacyCrypto.ts"

/** Most octets of a record that are read: no session is near it, and more would be work for an attacker's sake. */
export const largestRecord = 1_048_576

/** A record of an old store as text; `undefined` for one that is not, is missing or is too large. */
export const recordText = (value: string | Uint8Array | null | undefined): string | undefined => {
  if (value === undefined || value === null || value.length > largestRecord) return undefined
  return typeof value === "string" ? value : textOf(value)
}
