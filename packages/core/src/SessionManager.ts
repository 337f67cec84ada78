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
import * as AtOnce from "./internal/atOnce.ts"
import { Following } from "./internal/followedSession.ts"
import * as Observer from "./internal/observer.ts"
import { prepared, underlying } from "./internal/preparedSession.ts"
import { SessionHandle } from "./internal/sessionHandle.ts"
import * as SessionRequest from "./internal/sessionRequest.ts"
import type { Runtime } from "./internal/sessionRuntime.ts"
import { Metrics } from "./Metrics.ts"
import type { Session, Status, Tag } from "./Session.ts"
import { SessionBackend } from "./SessionBackend.ts"
import { SessionConfig } from "./SessionConfig.ts"
import type { SessionError } from "./SessionError.ts"
import { SessionEvents } from "./SessionEvents.ts"
import type { SessionStoreError } from "./SessionStore.ts"

/**
 * What a request may do to its session.
 *
 * **Details**
 *
 * - `full`: everything.
 * - `data`: change what is stored, and end the session. What would give the client
 *   a new token fails with `Undeliverable`: signing in, renewing, stepping up,
 *   beginning a session, changing its lifetimes. Where the token is the record,
 *   that is every write. The request never renews by age.
 * - `read`: read. Every write fails with `ReadOnly`, also taking flash messages
 *   out. The request leaves no trace in the store, and no token.
 * - `none`: the session is anonymous, whatever token there is: nobody looks at it,
 *   and the store is not asked. Every write fails with `ReadOnly`.
 *
 * @stability unstable
 * @category models
 * @since 0.1.0
 */
export type Access = SessionRequest.Access

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
 * - `access`: what the request may do to its session, `full` by default.
 * - `delivers`: whether a new token surely reaches the client, `true` by default.
 *   If not, the id is renewed neither by age nor for another client.
 *
 * `token`, `rejected`, `active`, `access` and `delivers` are asked for when they
 * are needed, and may be getters.
 *
 * @stability unstable
 * @category models
 * @since 0.1.0
 */
export type Request = SessionRequest.Request

/**
 * What the client has to do about its token. `expiresIn` are the milliseconds
 * the client should keep it; `undefined` means until it closes.
 *
 * @stability unstable
 * @category models
 * @since 0.1.0
 */
export type TokenChange = SessionRequest.TokenChange

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
export type Outcome = SessionRequest.Outcome

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
  /** Whether the request has recorded anything that is not carried out. */
  readonly pending: boolean
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
  /**
   * `get`, begun at once: where nothing has to be waited for, the effect is over
   * already. It has to be run, once. For transports that have no fiber yet.
   */
  readonly getEager: () => Effect.Effect<A, SessionError>
  /** `update`, begun at once. Throws what the function throws. */
  readonly updateEager: (f: (data: A) => A) => Effect.Effect<A, SessionError>
  /** `finish`, begun at once. */
  readonly finishEager: (outcome: Outcome) => Effect.Effect<TokenChange, SessionError>
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
    const runtime: Runtime<A> = {
      definition: tag.definition,
      settings,
      backend,
      atOnce: { load: AtOnce.of(backend.load), apply: AtOnce.of(backend.apply) },
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
          Effect.onError((cause) => Effect.ignore(session.finish(SessionRequest.outcomeOf(cause))))
        )
        const change = yield* session.finish("success")
        return {
          value,
          token: change._tag === "Issue" ? change.token : change._tag === "Revoke" ? undefined : token
        }
      })
    }
  })

const handleOf = <A>(session: Session<A>): SessionHandle<A> | undefined => {
  const opened = underlying(session)
  return opened instanceof SessionHandle ? opened : undefined
}

/**
 * Returns the key under which a store keeps the session of a request: `undefined`
 * where there is none. For layers that stand beside the store, such as a near
 * cache; it opens nothing, and `handle` is what may be shown.
 *
 * @stability unstable
 * @category getters
 * @since 0.1.0
 */
export const keyOf = <A>(session: Session<A>): Effect.Effect<string | undefined, SessionError> => {
  const handle = handleOf(session)
  // What prepares the session comes first.
  return handle === undefined
    ? Effect.undefined
    : handle === session
    ? handle.key
    : Effect.flatMap(session.status, () => handle.key)
}

/**
 * Whether the request of a session may do anything to it by now, a new token
 * included.
 *
 * @stability unstable
 * @category guards
 * @since 0.1.0
 */
export const isWritable = <A>(session: Session<A>): boolean => handleOf(session)?.isWritable ?? true

/**
 * What a followed session turned out to be: alive, with the milliseconds until it
 * ends without further activity and until it ends whatever happens; or over.
 *
 * @stability unstable
 * @category models
 * @since 0.1.0
 */
export type Check =
  | { readonly _tag: "Live"; readonly remaining: number; readonly expiresIn: number }
  | { readonly _tag: "Over"; readonly cause: "ended" | "expired" | "handedOver" }

/**
 * A session that is used after its request, by what goes on when the response has
 * begun.
 *
 * **Details**
 *
 * Over a store it is known by its key. It follows the session when that is
 * renewed by age, and is over when somebody signs in to it, steps up or renews it:
 * that ends the old id at once. Where the token is the record, what the request
 * knew is all it ever sees, except for the end of the session.
 *
 * @stability unstable
 * @category models
 * @since 0.1.0
 */
export interface FollowedSession<in out A> {
  /** The store key by now; `undefined` where there is no session, and where the token is the record. */
  readonly key: string | undefined
  /** What the session is now. */
  readonly status: Effect.Effect<Status>
  /** Reads the session anew. Fails with `Gone` when it is over. */
  readonly read: <B>(f: (session: Session<A>) => Effect.Effect<B, SessionError>) => Effect.Effect<B, SessionError>
  /**
   * Runs a unit of work with the session as it is now, and commits: what fails
   * changes nothing but flash messages it has taken. Access is that of `data`, and
   * it is no activity. Fails with `Gone` when the session is over.
   */
  readonly run: <B, E, R>(
    use: (session: Session<A>) => Effect.Effect<B, E, R>
  ) => Effect.Effect<B, E | SessionError, R>
  /** Records activity, at most once per `touchInterval`, whether the store takes its time or fails. */
  readonly touch: Effect.Effect<void, SessionError>
  /** Asks the store whether the session lives. Reports nothing, and is no activity. */
  readonly check: Effect.Effect<Check, SessionStoreError>
}

const followed = <A>(
  session: Session<A>,
  before: (handle: SessionHandle<A>) => Effect.Effect<void, SessionError>
): Effect.Effect<FollowedSession<A>, SessionError> => {
  const handle = handleOf(session)
  const notOpened = () => Effect.die(new Error("SessionManager: the session was not opened by a SessionManager"))
  if (handle === undefined) return notOpened()
  return Effect.flatMap(Effect.andThen(session.isNew, before(handle)), () => {
    const { trace } = handle
    return trace === undefined ? notOpened() : Effect.succeed(new Following(handle, trace))
  })
}

/**
 * Reads the session of a request, and returns it for what goes on when the
 * response has begun. Until then it is what the request has committed.
 *
 * @stability unstable
 * @category combinators
 * @since 0.1.0
 */
export const follow = <A>(session: Session<A>): Effect.Effect<FollowedSession<A>, SessionError> =>
  followed(session, () => Effect.void)

/**
 * Commits the session of a request, ends the request, and returns the session for
 * what goes on: for a response that can bring no token to the client. Fails with
 * `Undeliverable`, before anything is stored, if it would have to. What another
 * fiber of the request writes meanwhile fails with `Finished`.
 *
 * @stability unstable
 * @category combinators
 * @since 0.1.0
 */
export const detach = <A>(session: Session<A>): Effect.Effect<FollowedSession<A>, SessionError> =>
  followed(session, (handle) => handle.detach)

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
