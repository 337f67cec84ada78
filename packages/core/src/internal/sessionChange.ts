import type { Identity } from "../CommitPlan.ts"
import type { Envelope } from "../SessionData.ts"

/** A recorded change. */
export interface Change<in out A> {
  readonly apply: (envelope: Envelope<A>) => Envelope<A>
  /** Whether it may run again on a value it was not meant for. */
  readonly replay: boolean
  /** Whether it stands when the request fails. */
  readonly stands: boolean
  /** What of the session's lifetimes it changes: any of them, or the absolute deadline too. */
  readonly lifetimes?: "any" | "deadline" | undefined
}

/** What was recorded when an attempt to carry it out began. */
export interface Mark {
  readonly changes: number
  readonly identity: Identity
  readonly ended: boolean
  readonly endings: number
}
