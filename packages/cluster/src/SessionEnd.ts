/**
 * Ends what goes on for a session when the session ends, on whatever node either
 * happens: a socket, a stream of events, a long call.
 *
 * A request checks its session when it begins. What stays open for hours has to
 * be told. The end is heard through the invalidation channel, and looked up in
 * the store before anything is interrupted; while the channel cannot be trusted,
 * the store is asked every two seconds instead. A session that is renewed goes on
 * under its new key, for the same subject. One that runs into a deadline has
 * ended as well.
 *
 * @stability unstable
 * @since 0.1.0
 */
import type { Tag } from "@effect-session/core/Session"
import type { SessionError } from "@effect-session/core/SessionError"
import * as SessionManager from "@effect-session/core/SessionManager"
import * as Effect from "effect/Effect"
import * as Schema from "effect/Schema"
import * as Stream from "effect/Stream"
import { ClusterStore } from "./ClusterStore.ts"

/**
 * What this node has heard of an end.
 *
 * **Details**
 *
 * - `Session`: the session of a store key.
 * - `Subject`: sessions of a subject, by a keyed hash of it.
 *
 * @stability unstable
 * @category models
 * @since 0.1.0
 */
export type Ended =
  | { readonly _tag: "Session"; readonly key: string }
  | { readonly _tag: "Subject"; readonly subjectHash: string }

/**
 * Why a session is over.
 *
 * **Details**
 *
 * - `ended`: signed out, revoked, or evicted by a limit.
 * - `expired`: it ran into a deadline.
 * - `handedOver`: it goes on for somebody else, or for nobody.
 *
 * @stability unstable
 * @category models
 * @since 0.1.0
 */
export type Cause = "ended" | "expired" | "handedOver"

/**
 * Error of work that was interrupted because its session is over.
 *
 * @stability unstable
 * @category errors
 * @since 0.1.0
 */
export class SessionEndedError
  extends Schema.Error<SessionEndedError>("@effect-session/cluster/SessionEnd/SessionEndedError")({
    _tag: Schema.tag("SessionEndedError"),
    reason: Schema.Literals(["ended", "expired", "handedOver"])
  })
{
  override get message(): string {
    return "The session has ended, and with it what was going on for it"
  }
}

/**
 * The ends that this node hears of, its own included, from now on: at most once.
 *
 * @stability unstable
 * @category getters
 * @since 0.1.0
 */
export const stream: Stream.Stream<Ended, never, ClusterStore> = Stream.unwrap(
  Effect.map(ClusterStore, ({ ended }) => ended)
)

/**
 * Waits until the session of a store key is over.
 *
 * @stability unstable
 * @category combinators
 * @since 0.1.0
 */
export const wait = (key: string): Effect.Effect<Cause, never, ClusterStore> =>
  Effect.flatMap(ClusterStore, ({ awaitEnd }) => awaitEnd(key))

/**
 * Runs an effect as long as the session of a store key lives. When that is over
 * first, the effect is interrupted and `SessionEndedError` is the result.
 *
 * @stability unstable
 * @category combinators
 * @since 0.1.0
 */
export const endsWith =
  (key: string) =>
  <A, E, R>(effect: Effect.Effect<A, E, R>): Effect.Effect<A, E | SessionEndedError, R | ClusterStore> =>
    Effect.raceFirst(
      effect,
      Effect.flatMap(wait(key), (reason) => Effect.fail(new SessionEndedError({ reason })))
    )

/**
 * Ends a stream, without an error, when the session of a store key is over.
 *
 * @stability unstable
 * @category combinators
 * @since 0.1.0
 */
export const endsStreamWith =
  (key: string) => <A, E, R>(self: Stream.Stream<A, E, R>): Stream.Stream<A, E, R | ClusterStore> =>
    Stream.interruptWhen(self, wait(key))

/**
 * The store key of a request's session: `undefined` where there is none.
 *
 * @stability unstable
 * @category getters
 * @since 0.1.0
 */
export const keyOf = <Self, A>(tag: Tag<Self, A>): Effect.Effect<string | undefined, SessionError, Self> =>
  Effect.flatMap(tag, SessionManager.keyOf)

/**
 * Runs an effect as long as the session of the request lives, see
 * {@link endsWith}. Without a session it is over at once.
 *
 * **Example** (A socket that ends with its session)
 *
 * ```ts
 * import { SessionEnd } from "@effect-session/cluster"
 * import { Session } from "@effect-session/core"
 * import { Effect, Schema } from "effect"
 *
 * class UserSession extends Session.Service<UserSession>()("app/UserSession", {
 *   data: Schema.Struct({ name: Schema.String }),
 *   initial: { name: "guest" }
 * }) {}
 *
 * const socket = Effect.never
 * const guarded = SessionEnd.endsWithSession(UserSession)(socket)
 * ```
 *
 * @stability unstable
 * @category combinators
 * @since 0.1.0
 */
export const endsWithSession = <Self, A>(tag: Tag<Self, A>) =>
<B, E, R>(
  effect: Effect.Effect<B, E, R>
): Effect.Effect<B, E | SessionEndedError | SessionError, R | Self | ClusterStore> =>
  Effect.flatMap(keyOf(tag), (key) =>
    key === undefined
      ? Effect.fail(new SessionEndedError({ reason: "ended" }))
      : endsWith(key)(effect))

/**
 * Ends a stream, without an error, when the session of the request is over.
 * Without a session it is empty.
 *
 * @stability unstable
 * @category combinators
 * @since 0.1.0
 */
export const endsStreamWithSession =
  <Self, A>(tag: Tag<Self, A>) =>
  <B, E, R>(self: Stream.Stream<B, E, R>): Stream.Stream<B, E | SessionError, R | Self | ClusterStore> =>
    Stream.unwrap(
      Effect.map(keyOf(tag), (key): Stream.Stream<B, E, R | ClusterStore> =>
        key === undefined ? Stream.empty : endsStreamWith(key)(self))
    )
