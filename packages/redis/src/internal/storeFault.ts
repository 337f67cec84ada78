/** Turns errors of Redis into errors of the store, and knows those the store finds itself. */
import { SessionStoreError, StoreUnavailable } from "@effect-session/core/SessionStore"
import type { RedisError, Tag } from "../RedisError.ts"

// When the connection, the failover or the operator may be done.
const retryAfter: { readonly [T in Tag]?: number } = {
  NotConnected: 1000,
  PoolTimeout: 1000,
  ConnectionLost: 1000,
  Timeout: 1000,
  MaxClients: 2000,
  Loading: 2000,
  Busy: 1000,
  ReadOnly: 2000,
  MasterDown: 2000,
  NoReplicas: 2000,
  ClusterDown: 2000,
  TryAgain: 100,
  Redirected: 1000,
  Misconf: 10_000,
  OutOfMemory: 10_000
}

/** The error of the store for an error of Redis. */
export const fromRedis = (error: RedisError): SessionStoreError => {
  const { reason } = error
  const after = retryAfter[reason._tag]
  return new SessionStoreError({
    reason: new StoreUnavailable({
      description: error.message,
      applied: reason.outcomeUnknown ? "unknown" : "no",
      transient: reason.transient,
      infrastructure: reason.infrastructure,
      cause: error,
      ...after === undefined ? {} : { retryAfter: after }
    })
  })
}

const problems: ReadonlyMap<string, string> = new Map([
  ["old", "the server is older than Redis 7; nothing was read or written"],
  ["newer", "the record was written by a newer version of this library; it is left as it is"],
  ["damaged", "the record is damaged; it is left as it is"],
  ["foreign", "the key holds something that is no session; it is left as it is"]
])

/** The error for something that this version of the store cannot read, and therefore does not touch. */
export const unreadable = (problem: string): SessionStoreError => refused(problems.get(problem) ?? "an unknown reply")

/** An error that lasts, and says nothing of the health of Redis. */
export const refused = (description: string): SessionStoreError =>
  new SessionStoreError({
    reason: new StoreUnavailable({ description, applied: "no", transient: false, infrastructure: false })
  })
