/**
 * A part of the memory store's table: typed columns of some thousand slots.
 *
 * The table grows by a page, so growing never copies what is there.
 *
 * @internal
 */
import type { Payload } from "../SessionStore.ts"

/**
 * A key that a session was renewed away from.
 *
 * @internal
 */
export interface Alias {
  readonly key: string
  readonly slot: number
  /** End of the grace window. */
  readonly until: number
  older: Alias | undefined
}

export const pageBits = 12
const pageSize = 1 << pageBits
export const pageMask = pageSize - 1

// What a slot holds.
export const nothing = 0
export const text = 1
export const bytes = 2

// Columns of `numbers`: what a load reads lies together.
export const lastSeenAt = 0
export const idleTimeout = 1
export const expiresAt = 2
export const version = 3
export const createdAt = 4
export const issuedAt = 5
export const authenticatedAt = 6
export const format = 7

// Columns of `uses`, neighbours by use; free slots are chained by `newer`. Columns of `signIns`, neighbours by sign-in
// among the sessions of one subject.
export const older = 0
export const newer = 1

export const copy = (payload: Payload): Payload => typeof payload === "string" ? payload : new Uint8Array(payload)

const column = <A>(empty: A): Array<A> => Array.from({ length: pageSize }, () => empty)

export class Page {
  readonly kinds: Uint8Array = new Uint8Array(pageSize)
  readonly numbers: Float64Array = new Float64Array(pageSize * 8)
  readonly uses: Int32Array = new Int32Array(pageSize * 2)
  readonly signIns: Int32Array = new Int32Array(pageSize * 2)
  readonly keys: Array<string> = column("")
  readonly payloads: Array<Payload> = column("")
  readonly subjects: Array<string | undefined> = column(undefined)
  readonly aliases: Array<Alias | undefined> = column(undefined)
}
