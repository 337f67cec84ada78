/**
 * The sessions that a store keeps in a benchmark.
 */
import { SessionToken } from "@effect-session/core"
import { dataOf } from "../http/data.ts"

/** Milliseconds that a session may live. */
export const lifetime = 86_400_000

/** What the session number `index` holds, about 220 octets. */
export const payloadOf = (index: number): string => JSON.stringify(dataOf(index))

/** Whose the session number `index` is. */
export const subjectOf = (index: number): string => dataOf(index).userId

/** Its key: the bucket of its subject, and 43 characters as those of a hash. */
export const keyOf = (index: number): string =>
  SessionToken.bucketOfSubject(subjectOf(index)) +
  `key-${String(index).padStart(10, "0")}-`.padEnd(43, "Zk3vQ9xL2mN8pR5tW7yB4cF6hJ1dG0s")

export const newRecord = (index: number, subject: string | undefined) => ({
  key: keyOf(index),
  idleTimeout: lifetime,
  lifetime,
  subject,
  format: 1,
  payload: payloadOf(index)
})

export const change = (index: number) => ({
  format: 1,
  payload: payloadOf(index),
  idleTimeout: lifetime,
  lifetime: undefined,
  active: true
})
