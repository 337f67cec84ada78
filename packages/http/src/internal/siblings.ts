import type * as HttpServerRequest from "effect/http/HttpServerRequest"

/** What the sessions of one response know of each other. */
export interface Siblings {
  /** The cookies they have decided on. */
  readonly cookies: ReadonlyArray<string>
  /** Whether one of them could not be committed. */
  readonly failed: boolean
}

const slot = Symbol("@effect-session/http/SessionMiddleware/Siblings")

const none: Siblings = { cookies: [], failed: false }

interface Request extends HttpServerRequest.HttpServerRequest {
  [slot]?: Siblings
}

/**
 * Those of the request that a response is for, as the handlers get it that run before the response leaves. It is one for
 * all sessions of the response, however they are nested. Other requests may have been made of it, and inherit from it.
 */
export const of = (request: Request): Siblings => Object.hasOwn(request, slot) ? request[slot] ?? none : none

/** Kept by the request itself: in a map of all requests that run, they would outlive theirs for the garbage collector. */
export const set = (request: Request, siblings: Siblings): void => {
  request[slot] = siblings
}
