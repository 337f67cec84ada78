import type { Request } from "./sessionRequest.ts"
import type { SessionState } from "./sessionState.ts"

/** Whether the client takes a new id that the request did not ask for. */
export const mayRenewByAge = ({ access = "full", delivers = true }: Request): boolean => delivers && access === "full"

/** Whether the request counts as activity. Where the token is the record, activity is a new token. */
export const isActive = <A>({ request, runtime: { backend } }: SessionState<A>): boolean => {
  const { access = "full", active = true } = request
  return active && (access === "full" || (access === "data" && backend.loadKey !== undefined))
}

/** Whether the client would have to learn of what is recorded. */
export const reachesClient = <A>(state: SessionState<A>): boolean => {
  const { changes, ended, identity, runtime: { backend }, snapshot, tokenChange } = state
  const stays = snapshot?.stored !== undefined && backend.loadKey !== undefined
  return tokenChange._tag !== "Keep" || ended || identity.renew || identity.authenticated ||
    changes.some(({ lifetimes }) => lifetimes !== undefined || !stays)
}
