/**
 * Remembers which sessions of another library were moved, so that each of them is
 * moved once: whoever presents its cookie again afterwards brings nothing back.
 *
 * A session is named by a hash of what identified it, never by its id or its
 * cookie. `layerStore` keeps the marks in the store of the sessions themselves,
 * and is shared by all that share it; `layerRevocations` keeps them in the list
 * that cookie mode has.
 *
 * @stability unstable
 * @since 0.1.0
 */
import * as Revocations from "@effect-session/core/Revocations"
import { SessionStore, type SessionStoreError } from "@effect-session/core/SessionStore"
import * as Clock from "effect/Clock"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"

/**
 * Service that marks sessions as moved.
 *
 * **Details**
 *
 * `claim` is one atomic step: of several calls for one key, from any number of
 * processes, one gets `true`.
 *
 * @stability unstable
 * @category services
 * @since 0.1.0
 */
export class MovedSessions extends Context.Service<MovedSessions, {
  /** Marks a session as moved until an instant in UTC milliseconds, and says whether it was not marked before. */
  readonly claim: (key: string, until: number) => Effect.Effect<boolean, SessionStoreError>
  /** Takes a mark back: the session could not be moved after all. */
  readonly release: (key: string) => Effect.Effect<void, SessionStoreError>
}>()("@effect-session/http/MovedSessions") {}

const markFormat = 0

/**
 * Keeps the marks as records without data in the store of the sessions.
 *
 * **Gotchas**
 *
 * Until they expire the marks count as sessions where a store counts all of them,
 * and in the capacity of a store in memory, which forgets the oldest when it is
 * full.
 *
 * @stability unstable
 * @category layers
 * @since 0.1.0
 */
export const layerStore: Layer.Layer<MovedSessions, never, SessionStore> = Layer.effect(
  MovedSessions,
  Effect.map(SessionStore, (store) =>
    MovedSessions.of({
      claim: (key, until) =>
        Effect.flatMap(Clock.currentTimeMillis, (now) => {
          const lifetime = until - now
          return lifetime < 1
            ? Effect.succeed(false)
            : Effect.map(
              store.create({
                key,
                idleTimeout: lifetime,
                lifetime,
                subject: undefined,
                format: markFormat,
                payload: "moved"
              }),
              ({ _tag }) => _tag === "Created"
            )
        }),
      release: (key) => Effect.asVoid(store.destroy(key))
    }))
)

/**
 * Keeps the marks in the list of what is over: for cookie mode, which has no
 * store.
 *
 * **Gotchas**
 *
 * The list takes nothing back. A session that could not be moved after it was
 * marked is lost, and its user signs in again.
 *
 * @stability unstable
 * @category layers
 * @since 0.1.0
 */
export const layerRevocations: Layer.Layer<MovedSessions, never, Revocations.Revocations> = Layer.effect(
  MovedSessions,
  Effect.map(Revocations.Revocations, (list) =>
    MovedSessions.of({
      claim: list.revoke,
      release: () => Effect.void
    }))
)
