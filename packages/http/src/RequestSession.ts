/**
 * The session of a request, for work that outlives the request: a WebSocket, a
 * stream of events, a long body.
 *
 * A request's session is committed before the first byte of the response, and a
 * cookie leaves with that response or never. What goes on afterwards is no request
 * any more: it gets a view that asks the store anew each time, and units of work
 * that commit at once. Neither keeps a snapshot, holds anything open, or can give
 * the client a new cookie.
 *
 * | | before | after |
 * | --- | --- | --- |
 * | {@link make}: streams, server-sent events | writes are committed and their cookie set before the headers | `UserSession` fails with `Finished` |
 * | {@link upgrade}: WebSockets | committed before the 101, which carries no cookie: what needs one fails with `Undeliverable` | the same |
 *
 * Nothing that happens here is activity, unless `touch` says so: a socket that is
 * merely open does not keep a session alive.
 *
 * Over a store the session is known by its key, not by the token. When another
 * request renews it by age, it is followed, however long that was ago. Signing in
 * or out, stepping up and an explicit renewal end the old id at once, and what goes
 * on for it: the client comes back with its new cookie. In cookie mode there is
 * only what the cookie said: reads show that, writes fail with `Undeliverable`, and
 * the session is over at the deadlines the cookie had, or when it is revoked.
 *
 * @stability unstable
 * @since 0.1.0
 */
import type { ReadonlySession, Tag } from "@effect-session/core/Session"
import { Gone, isSessionError, SessionError } from "@effect-session/core/SessionError"
import * as SessionManager from "@effect-session/core/SessionManager"
import * as Clock from "effect/Clock"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import type * as HttpServerError from "effect/http/HttpServerError"
import * as HttpServerRequest from "effect/http/HttpServerRequest"
import type * as Socket from "effect/socket/Socket"
import * as Stream from "effect/Stream"

/**
 * Why a session is over.
 *
 * **Details**
 *
 * - `ended`: signed out, revoked, evicted by a limit, or under a new id that it
 *   was not renewed to by age. Also where there never was a session.
 * - `expired`: it ran into a deadline.
 * - `handedOver`: it goes on for somebody else, or for nobody.
 *
 * @stability unstable
 * @category models
 * @since 0.1.0
 */
export type Cause = "ended" | "expired" | "handedOver"

/**
 * The session of a request that may be over.
 *
 * **Details**
 *
 * Each operation that reads asks the store, and fails with `Gone` when the session
 * is over. A request without a session has none later either, as on a route with
 * the access `none`: reads give the initial data, and there is nothing to wait for
 * the end of.
 *
 * @stability unstable
 * @category models
 * @since 0.1.0
 */
export interface RequestSession<in out Self, in out A> extends ReadonlySession<A> {
  /**
   * Runs a unit of work with the session as it is now, and commits it. If the work
   * fails its changes are discarded; an end of the session stands. Fails with
   * `Gone` when the session is over, and with `Undeliverable` for what would need a
   * new cookie: `login`, `renew`, `elevate`, `reauthenticate`, `setLifetime`, and a
   * first write. `UserSession` is this session within the work.
   */
  readonly run: <B, E, R>(
    effect: Effect.Effect<B, E, R>
  ) => Effect.Effect<B, E | SessionError, Exclude<R, Self>>
  /**
   * Records activity, at most once per `touchInterval` of the configuration. Where
   * the store fails, the first one fails, and the others of the interval ask nobody.
   */
  readonly touch: Effect.Effect<void, SessionError>
  /** Waits until the session is over. An outage is no end; the absolute deadline holds all the same. */
  readonly ended: Effect.Effect<Cause>
  /** Runs an effect while the session lives. When it is over first, the effect is interrupted, and `Gone` the error. */
  readonly whileLive: <B, E, R>(effect: Effect.Effect<B, E, R>) => Effect.Effect<B, E | SessionError, R>
  /** Ends a stream, without an error, when the session is over, also where it is the stream that finds out. */
  readonly streamWhileLive: <B, E, R>(stream: Stream.Stream<B, E, R>) => Stream.Stream<B, E, R>
}

/**
 * How the end of a session is found.
 *
 * @stability unstable
 * @category options
 * @since 0.1.0
 */
export interface Options<R = never> {
  /**
   * How often the store is asked whether the session lives, 10 seconds by default:
   * the longest time for which something goes on after the end. Deadlines need no
   * asking.
   */
  readonly interval?: Duration.Input | undefined
  /**
   * Waits for the end of the session of a store key, in the place of asking:
   * `SessionEnd.wait` of `@effect-session/cluster`, which is told of ends. Unused in
   * cookie mode.
   */
  readonly wait?: ((key: string) => Effect.Effect<Cause, never, R>) | undefined
}

const isGone = (error: unknown): boolean => isSessionError(error) && error.reason._tag === "Gone"

const over = Effect.fail(new SessionError({ reason: new Gone() }))

const poll = <A>(followed: SessionManager.FollowedSession<A>, interval: number): Effect.Effect<Cause> =>
  Effect.gen(function*() {
    const clock = yield* Clock.Clock
    const now = () => clock.currentTimeMillisUnsafe()
    let ends: { readonly idle: number; readonly absolute: number } | undefined
    while (true) {
      const asked = now()
      const check = yield* Effect.catch(followed.check, () => Effect.undefined)
      if (check?._tag === "Over") {
        // Stores forget what has expired.
        return check.cause === "ended" && ends !== undefined && now() >= ends.idle ? "expired" : check.cause
      }
      if (check !== undefined) ends = { idle: asked + check.remaining, absolute: asked + check.expiresIn }
      else if (ends !== undefined && now() >= ends.absolute) return "expired"
      const next = check === undefined ? ends?.absolute : ends?.idle
      yield* Effect.sleep(Math.max(1, Math.min(interval, next === undefined ? interval : next - now() + 1)))
    }
  })

const of = <Self, A, R>(
  tag: Tag<Self, A>,
  followed: SessionManager.FollowedSession<A>,
  { interval: input = "10 seconds", wait }: Options<R>
): Effect.Effect<RequestSession<Self, A>, never, R> =>
  Effect.map(Effect.context<R>(), (context) => {
    const interval = Duration.toMillis(Duration.fromInputUnsafe(input))
    if (!(interval > 0 && Number.isFinite(interval))) {
      throw new RangeError("RequestSession: interval must be above zero and finite")
    }
    const polled = poll(followed, interval)
    const ended = wait === undefined ? polled : Effect.suspend(() => {
      const { key } = followed
      return key === undefined ? polled : Effect.provideContext(wait(key), context)
    })
    return {
      get: followed.read((session) => session.get),
      status: followed.status,
      isNew: followed.read((session) => session.isNew),
      subject: followed.read((session) => session.subject),
      info: followed.read((session) => session.info),
      expiresAt: followed.read((session) => session.expiresAt),
      timeUntilExpiry: followed.read((session) => session.timeUntilExpiry),
      isElevated: followed.read((session) => session.isElevated),
      served: followed.read((session) => session.served),
      handle: followed.read((session) => session.handle),
      run: (effect) => followed.run((session) => Effect.provideService(effect, tag, session)),
      touch: followed.touch,
      ended,
      whileLive: (effect) => Effect.raceFirst(effect, Effect.andThen(ended, over)),
      streamWhileLive: (stream) => Stream.catchIf(Stream.interruptWhen(stream, ended), isGone, () => Stream.empty)
    }
  })

/**
 * Takes the session of the request along, for a response whose body is still to
 * come. Reads the session, so that caches learn of it.
 *
 * **Gotchas**
 *
 * Throws a `RangeError` for an interval that is not above zero and finite.
 *
 * **Example** (Events until the session ends)
 *
 * ```ts
 * import { Session } from "@effect-session/core"
 * import { RequestSession } from "@effect-session/http"
 * import { Effect, Schema, Stream } from "effect"
 * import { HttpRouter, HttpServerResponse } from "effect/http"
 *
 * class UserSession extends Session.Service<UserSession>()("app/UserSession", {
 *   data: Schema.Struct({ unread: Schema.Int }),
 *   initial: { unread: 0 }
 * }) {}
 *
 * const Events = HttpRouter.add("GET", "/events", Effect.gen(function*() {
 *   const session = yield* RequestSession.make(UserSession)
 *   const unread = Stream.tick("5 seconds").pipe(
 *     Stream.mapEffect(() => session.get),
 *     Stream.map((data) => `data: ${data.unread}\n\n`),
 *     Stream.encodeText
 *   )
 *   return HttpServerResponse.stream(session.streamWhileLive(unread), { contentType: "text/event-stream" })
 * }))
 * ```
 *
 * @stability unstable
 * @category constructors
 * @since 0.1.0
 */
export const make = <Self, A, R = never>(
  tag: Tag<Self, A>,
  options: Options<R> = {}
): Effect.Effect<RequestSession<Self, A>, SessionError, Self | R> =>
  Effect.flatMap(
    tag,
    (session) => Effect.flatMap(SessionManager.follow(session), (followed) => of(tag, followed, options))
  )

/**
 * Commits the session of the request now and takes it along, for a response that
 * can bring no cookie. Fails with `Undeliverable`, before anything is stored, if
 * the request has signed somebody in, renewed or ended its session, or begun one.
 *
 * **When to use**
 *
 * For a second session service of a request that is upgraded; {@link upgrade} does
 * it for the first.
 *
 * @stability unstable
 * @category constructors
 * @since 0.1.0
 */
export const detach = <Self, A, R = never>(
  tag: Tag<Self, A>,
  options: Options<R> = {}
): Effect.Effect<RequestSession<Self, A>, SessionError, Self | R> =>
  Effect.flatMap(
    tag,
    (session) => Effect.flatMap(SessionManager.detach(session), (followed) => of(tag, followed, options))
  )

/**
 * A request that was upgraded.
 *
 * @stability unstable
 * @category models
 * @since 0.1.0
 */
export interface Upgraded<in out Self, in out A> {
  readonly socket: Socket.Socket
  readonly session: RequestSession<Self, A>
}

/**
 * Upgrades a request to a WebSocket, and takes its session along: see
 * {@link detach}. The handshake is done when the socket is first used.
 *
 * **Gotchas**
 *
 * Other origins of the same site can open a socket with the user's cookie, and
 * every site can with `SameSite=None`. Ask `CrossOrigin.decide` with the method
 * `CONNECT` before the upgrade.
 *
 * **Example** (A socket that ends with its session)
 *
 * ```ts
 * import { Session } from "@effect-session/core"
 * import { RequestSession } from "@effect-session/http"
 * import { Effect, Schema } from "effect"
 * import { HttpRouter, HttpServerResponse } from "effect/http"
 *
 * class UserSession extends Session.Service<UserSession>()("app/UserSession", {
 *   data: Schema.Struct({ messages: Schema.Int }),
 *   initial: { messages: 0 }
 * }) {}
 * const count = UserSession.update(({ messages }) => ({ messages: messages + 1 }))
 *
 * const Chat = HttpRouter.add("GET", "/chat", Effect.gen(function*() {
 *   const { session, socket } = yield* RequestSession.upgrade(UserSession)
 *   const { pull } = yield* socket.reader
 *   const receive = Effect.andThen(pull, Effect.andThen(session.touch, session.run(count)))
 *   // The client closes it, or the session is over.
 *   yield* session.whileLive(Effect.forever(receive)).pipe(Effect.catch(() => Effect.void))
 *   return HttpServerResponse.empty()
 * }))
 * ```
 *
 * @stability unstable
 * @category constructors
 * @since 0.1.0
 */
export const upgrade = <Self, A, R = never>(
  tag: Tag<Self, A>,
  options: Options<R> = {}
): Effect.Effect<
  Upgraded<Self, A>,
  SessionError | HttpServerError.HttpServerError,
  Self | R | HttpServerRequest.HttpServerRequest
> =>
  Effect.gen(function*() {
    const request = yield* HttpServerRequest.HttpServerRequest
    const socket = yield* request.upgrade
    return { socket, session: yield* detach(tag, options) }
  })
