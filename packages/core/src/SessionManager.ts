/**
 * Opens the session of a request from a token, and ends it with what the client
 * has to do about its token: the seam for transports, jobs and command lines.
 *
 * Handlers do not need this module; they use the session service itself.
 *
 * @stability unstable
 * @since 0.1.0
 */
import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import * as ClientBinding from "./ClientBinding.ts"
import { Crypto } from "./Crypto.ts"
import * as Observer from "./internal/observer.ts"
import { prepared } from "./internal/preparedSession.ts"
import { SessionHandle } from "./internal/sessionHandle.ts"
import type * as State from "./internal/sessionState.ts"
import { Metrics } from "./Metrics.ts"
import type { Session, Tag } from "./Session.ts"
import { SessionBackend } from "./SessionBackend.ts"
import { SessionConfig } from "./SessionConfig.ts"
import type { SessionError } from "./SessionError.ts"
import { SessionEvents } from "./SessionEvents.ts"

/**
 * What a request brings.
 *
 * **Details**
 *
 * - `token`: the one token the client presented.
 * - `rejected`: the client presented several tokens, or something that cannot be
 *   one. The session is then `invalid`.
 * - `active`: whether the request counts as activity, `true` by default.
 * - `client`: called when a session begins or is signed in, for lists of devices.
 * - `binding`: called when sessions are bound to their client, see
 *   `ClientBinding`. Without it, the client has no properties.
 *
 * @stability unstable
 * @category models
 * @since 0.1.0
 */
export type Request = State.Request

/**
 * What the client has to do about its token. `expiresIn` are the milliseconds
 * the client should keep it; `undefined` means until it closes.
 *
 * @stability unstable
 * @category models
 * @since 0.1.0
 */
export type TokenChange = State.TokenChange

/**
 * How a request ended.
 *
 * **Details**
 *
 * - `success`: everything stands.
 * - `failure`: changes of the data are discarded. The end of the session, a new
 *   id and a sign-in stand, and flash messages it has taken are put back.
 * - `aborted`: nobody waits for the answer, so no new token can be delivered.
 *   Only the end of the session stands.
 *
 * @stability unstable
 * @category models
 * @since 0.1.0
 */
export type Outcome = State.Outcome

/**
 * The session of one request, with what its transport needs to know.
 *
 * @stability unstable
 * @category models
 * @since 0.1.0
 */
export interface OpenSession<in out A> extends Session<A> {
  /** Whether the request has read its session. */
  readonly accessed: boolean
  /** What the client has to do about its token, as far as it is decided. */
  readonly tokenChange: TokenChange
  /** Ends the request: carries out what stands. After a failure, `tokenChange` still holds. */
  readonly finish: (outcome: Outcome) => Effect.Effect<TokenChange, SessionError>
  /**
   * Ends the request without an effect, if there is nothing to carry out: most
   * requests only read. Returns `undefined`, and does nothing, if there is;
   * `finish` does it then.
   */
  readonly finishUnsafe: (outcome: Outcome) => TokenChange | undefined
}

/**
 * Opens the sessions of one service.
 *
 * @stability unstable
 * @category models
 * @since 0.1.0
 */
export interface SessionManager<in out Self, in out A> {
  /** Opens the session of one request. Reads nothing yet. */
  readonly open: (request: Request) => OpenSession<A>
  /**
   * Runs an effect with the session of a token, commits, and returns the token
   * to use from now on; `undefined` when there is no session.
   */
  readonly run: <B, E, R>(
    token: string | undefined,
    effect: Effect.Effect<B, E, R>
  ) => Effect.Effect<
    { readonly value: B; readonly token: string | undefined },
    E | SessionError,
    Exclude<R, Self>
  >
}

/**
 * Creates the manager of a session service from the backend in the context.
 *
 * @stability unstable
 * @category constructors
 * @since 0.1.0
 */
export const make = <Self, A>(
  tag: Tag<Self, A>
): Effect.Effect<SessionManager<Self, A>, never, SessionBackend | SessionConfig | Crypto> =>
  Effect.gen(function*() {
    const backend = yield* SessionBackend
    const settings = yield* SessionConfig
    const crypto = yield* Crypto
    const clock = yield* Clock.Clock
    const metrics = yield* Metrics
    const events = yield* SessionEvents
    const runtime: State.Runtime<A> = {
      definition: tag.definition,
      settings,
      backend,
      crypto,
      clock,
      reading: settings.sliding ? { touchAfter: settings.touchInterval } : undefined,
      binding: settings.binding === undefined ? undefined : ClientBinding.make(settings.binding, crypto.fingerprint),
      observer: Observer.make(tag.key, backend.name, metrics, events, crypto)
    }
    const open = (request: Request) => new SessionHandle(runtime, request)

    return {
      open,
      run: Effect.fnUntraced(function*(token, effect) {
        const session = open({ token })
        const value = yield* Effect.provideService(effect, tag, session).pipe(
          Effect.onError((cause) =>
            Effect.ignore(
              session.finish(cause.reasons.every((reason) => reason._tag === "Interrupt") ? "aborted" : "failure")
            )
          )
        )
        const change = yield* session.finish("success")
        return {
          value,
          token: change._tag === "Issue" ? change.token : change._tag === "Revoke" ? undefined : token
        }
      })
    }
  })

/**
 * Returns the key under which a store keeps the session of a request: `undefined`
 * where there is none. For layers that stand beside the store, such as a near
 * cache; it opens nothing, and `handle` is what may be shown.
 *
 * @stability unstable
 * @category getters
 * @since 0.1.0
 */
export const keyOf = <A>(session: Session<A>): Effect.Effect<string | undefined, SessionError> =>
  session instanceof SessionHandle ? session.key : Effect.undefined

/**
 * Returns a view of a session that runs an effect once, before it is first asked
 * for anything: for transports that bring the session from somewhere else.
 *
 * **Details**
 *
 * The effect uses the session itself. While it fails, so does every operation, and
 * the status is `unavailable`; each use tries again. A session that nobody asks
 * for runs nothing.
 *
 * @stability unstable
 * @category combinators
 * @since 0.1.0
 */
export const prepare: <A>(session: Session<A>, preparation: Effect.Effect<void, SessionError>) => Session<A> = prepared
