import type * as Cause from "effect/Cause"
import type { Client } from "../SessionData.ts"

/**
 * What a request may do to its session: anything; change what is stored, and nothing that would give the client a new
 * token; only read; or not even that, as if it had none.
 */
export type Access = "full" | "data" | "read" | "none"

/** A stored session that is followed by its key, also when it is renewed, for what goes on after a request. */
export interface Followed {
  key: string
  /** Whose session it is: it is over when it goes on for somebody else. */
  readonly subject: string | undefined
}

/** What a request brings. */
export interface Request {
  /** The one token the client presented. */
  readonly token?: string | undefined
  /** The client presented something that cannot be a token, or several. Its session is `invalid`. */
  readonly rejected?: "duplicate" | "malformed" | undefined
  /** Whether the request counts as activity, `true` by default. */
  readonly active?: boolean | undefined
  /** What a session created by this request remembers of its client. */
  readonly client?: (() => Client | undefined) | undefined
  /** The client as far as sessions are bound to it. */
  readonly binding?: (() => Client | undefined) | undefined
  /** What the request may do to its session, `full` by default. */
  readonly access?: Access | undefined
  /** Whether a new token surely reaches the client, `true` by default. If not, the id is not renewed without being asked. */
  readonly delivers?: boolean | undefined
}

/** A request, or what goes on after one and knows its session by its key. */
export interface OpenRequest extends Request {
  readonly followed?: Followed | undefined
}

/** What the client has to do about its token: keep what it has, take this one, or drop it. */
export type TokenChange =
  | { readonly _tag: "Keep" }
  | { readonly _tag: "Issue"; readonly token: string; readonly expiresIn: number | undefined }
  | { readonly _tag: "Revoke" }

/** How a request ended: all changes stand, those that concern the identity, or only its end. */
export type Outcome = "success" | "failure" | "aborted"

/** How what has failed ended. */
export const outcomeOf = (cause: Cause.Cause<unknown>): Outcome =>
  cause.reasons.every((reason) => reason._tag === "Interrupt") ? "aborted" : "failure"
