import type { Current } from "../CommitPlan.ts"
import type { Status } from "../Session.ts"
import type { Envelope, Undecodable } from "../SessionData.ts"
import type { SessionStoreError } from "../SessionStore.ts"

/** What was read of the session. */
export interface Snapshot<out A> {
  readonly status: Status
  readonly current: Current | undefined
  readonly stored: Envelope<A> | undefined
  readonly problem: Undecodable | "binding" | undefined
  /** Why nothing was read, and the request goes on. Nothing can be written then. */
  readonly outage?: SessionStoreError | undefined
  /** The key of a session that could not be read. */
  readonly unread?: string | undefined
}

export const anonymous: Snapshot<never> = {
  status: "anonymous",
  current: undefined,
  stored: undefined,
  problem: undefined
}

export const expired: Snapshot<never> = { ...anonymous, status: "expired" }

export const invalid: Snapshot<never> = { ...anonymous, status: "invalid" }

/** Without `current`: whatever this request does, the session of the other client goes on. */
export const foreign: Snapshot<never> = { ...invalid, problem: "binding" }

/** The request goes on without its session, which it cannot touch. */
export const outage = (error: SessionStoreError): Snapshot<never> => ({
  ...anonymous,
  status: "unavailable",
  outage: error
})
