import * as Effect from "effect/Effect"
import type { Found, SessionBackend } from "../SessionBackend.ts"
import type { LoadOptions, Lookup, SessionStoreError } from "../SessionStore.ts"
import type { Followed } from "./sessionRequest.ts"

type LoadKey = NonNullable<SessionBackend["Service"]["loadKey"]>

const absent: Lookup = { _tag: "Absent" }

// Longer ones come from nobody having looked while the session was renewed again and again.
const longestChain = 64

/**
 * Loads a session by its key. One that was renewed with a grace window is found under its new key, however long ago that
 * was: this process has known it all along, and is no thief.
 */
export const load = (
  loadKey: LoadKey,
  followed: Followed,
  steps = longestChain
): Effect.Effect<Lookup, SessionStoreError> =>
  Effect.flatMapEager(loadKey(followed.key), (lookup) => {
    const next = lookup._tag === "Live" ? lookup.alias : lookup._tag === "Superseded" ? lookup.successor : undefined
    if (next === undefined) return Effect.succeed(lookup)
    followed.key = next
    return steps === 0 ? Effect.succeed(absent) : load(loadKey, followed, steps - 1)
  })

/** Whether the session goes on for somebody else, or for nobody. */
export const isHandedOver = (lookup: Lookup, { subject }: Followed): boolean =>
  lookup._tag === "Live" && lookup.record.subject !== subject

// What the session of a key is to who follows it.
const find = (loadKey: LoadKey, followed: Followed): Effect.Effect<Found, SessionStoreError> =>
  Effect.mapEager(load(loadKey, followed), (lookup) => ({
    _tag: "Found",
    key: followed.key,
    lookup: isHandedOver(lookup, followed) ? absent : lookup
  }))

/** Finds a session by its key where it is followed and the backend knows keys, else by its token. */
export const findSession = (
  backend: SessionBackend["Service"],
  followed: Followed | undefined,
  token: string,
  options?: LoadOptions
): Effect.Effect<Found, SessionStoreError> =>
  followed === undefined || backend.loadKey === undefined
    ? backend.load(token, options)
    : find(backend.loadKey, followed)
