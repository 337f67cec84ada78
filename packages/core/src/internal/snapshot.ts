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

/** Whether another node may be able to read what this one cannot: it is of a later version, or has another secret. */
export const isReadableElsewhere = ({ problem }: Snapshot<unknown>): boolean =>
  problem === "newer" || problem === "sealed"

/**
 * Why a write is refused, if it is: a session that begins here would take the place of the one that goes on elsewhere. A
 * visitor whose data does not open has little to lose, and may never get rid of it otherwise.
 */
export const problemOfOthers = (snapshot: Snapshot<unknown> | undefined): "newer" | "sealed" | undefined =>
  snapshot?.problem === "newer" || (snapshot?.problem === "sealed" && snapshot.current?.record.subject !== undefined)
    ? snapshot.problem
    : undefined

/** The request goes on without its session, which it cannot touch. */
export const outage = (error: SessionStoreError): Snapshot<never> => ({
  ...anonymous,
  status: "unavailable",
  outage: error
})
