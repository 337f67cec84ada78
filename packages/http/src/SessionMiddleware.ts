/**
 * Gives every request of an `HttpRouter` its session: cookie in, cookie out.
 *
 * The session is read when a handler first asks for it, and committed when the
 * handler is done, before any header leaves, on every path: success, failure,
 * defect, redirect, `HEAD`, a streamed body, a client that went away. What the
 * client is told is therefore always what is stored.
 *
 * | the handler | data changes | end, new id, sign-in | the response |
 * | --- | --- | --- | --- |
 * | succeeds, whatever its status | stored | stand | its own |
 * | fails or dies | discarded | stand | its error response |
 * | is interrupted, as when the client left | discarded | only the end stands | nobody reads it |
 *
 * A commit that fails replaces the response by an error: never a success for
 * something that was not stored. An outage never clears a cookie.
 *
 * Several session services in one request are committed one after the other,
 * the one nearest to the route first. If one of them cannot be, the data changes
 * of those after it are discarded.
 *
 * The table is the default: `SessionRoute` has other rules for routes, and says
 * which routes only read their session or have none.
 *
 * What a handler's own pre-response handlers write is committed too. What a
 * streamed body writes comes too late and fails with `Finished`: take a
 * `RequestSession` along. A request whose handler has taken the connection over, as
 * a WebSocket, is given no new id by age or for another client, since its response
 * brings no cookie.
 *
 * @stability unstable
 * @since 0.1.0
 */
import type { Crypto } from "@effect-session/core/Crypto"
import type { Tag } from "@effect-session/core/Session"
import { SessionBackend } from "@effect-session/core/SessionBackend"
import { SessionConfig } from "@effect-session/core/SessionConfig"
import { isSessionError, type SessionError } from "@effect-session/core/SessionError"
import * as SessionManager from "@effect-session/core/SessionManager"
import * as Cause from "effect/Cause"
import * as Clock from "effect/Clock"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import type * as Exit from "effect/Exit"
import * as Cookies from "effect/http/Cookies"
import * as HttpEffect from "effect/http/HttpEffect"
import * as HttpRouter from "effect/http/HttpRouter"
import * as HttpServerRequest from "effect/http/HttpServerRequest"
import * as HttpServerResponse from "effect/http/HttpServerResponse"
import type * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import type * as Types from "effect/Types"
import { Incoming } from "./internal/incoming.ts"
import * as RequestCookie from "./internal/requestCookie.ts"
import * as RequestHeader from "./internal/requestHeader.ts"
import * as ResponseHead from "./internal/responseHead.ts"
import * as RouteMarks from "./internal/routeMarks.ts"
import * as Siblings from "./internal/siblings.ts"
import * as LegacySession from "./LegacySession.ts"
import type * as SessionCookie from "./SessionCookie.ts"
import * as SessionRoute from "./SessionRoute.ts"

/**
 * Options of the middleware.
 *
 * @stability unstable
 * @category options
 * @since 0.1.0
 */
export interface Options {
  /**
   * Attributes of the cookie. By default `__Host-session`, `Secure`, `HttpOnly`,
   * `SameSite=Lax`; under a preset without a secure transport (`development`,
   * `testing`) the same without `Secure`, named `session`. Two session services
   * in one application need two names.
   */
  readonly cookie?: SessionCookie.Options | undefined
  /**
   * Whether a session remembers the `User-Agent` (256 characters) and the address
   * it was created or signed in from, for lists of devices. `false` by default.
   * Behind a proxy the address is the proxy's, unless
   * `HttpMiddleware.xForwardedHeaders` comes before this middleware.
   */
  readonly client?: boolean | undefined
  /** The response to a session error; {@link toResponse} by default. */
  readonly onError?: ((error: SessionError) => HttpServerResponse.HttpServerResponse) | undefined
}

const statuses: { readonly [K in SessionError["reason"]["_tag"]]: number } = {
  Unavailable: 503,
  Conflict: 409,
  Gone: 409,
  TooLarge: 413,
  LimitReached: 403,
  NotAuthenticated: 401,
  Invalid: 500,
  BindingMismatch: 401,
  Finished: 500,
  ReadOnly: 500,
  Undeliverable: 500
}

// Another node can read what this one cannot: one of a later version, or with a secret that comes or goes.
const isOfOthers = (reason: SessionError["reason"]): boolean =>
  reason._tag === "Invalid" && (reason.problem === "newer" || reason.problem === "sealed")

/**
 * Turns a session error into a response without details.
 *
 * **Details**
 *
 * | reason | status |
 * | --- | --- |
 * | `Unavailable` | 503 with `Retry-After` in seconds, 1 unless the store says more |
 * | `Invalid` with `newer` or `sealed`, which another node may read | 503 with `Retry-After: 1` |
 * | `Conflict`, `Gone` | 409 |
 * | `TooLarge` | 413 |
 * | `LimitReached` | 403 |
 * | `NotAuthenticated`, `BindingMismatch` | 401 |
 * | any other `Invalid`, `Finished`, `ReadOnly`, `Undeliverable` | 500 |
 *
 * @stability unstable
 * @category converting
 * @since 0.1.0
 */
export const toResponse = (error: SessionError): HttpServerResponse.HttpServerResponse => {
  const { reason } = error
  const headers: Record<string, string> = { "cache-control": "no-store" }
  const status = isOfOthers(reason) ? 503 : statuses[reason._tag]
  if (status === 503) {
    const retryAfter = reason._tag === "Unavailable" ? reason.retryAfter ?? 0 : 0
    headers["retry-after"] = String(Math.max(1, Math.ceil(retryAfter / 1000)))
  }
  return HttpServerResponse.empty({ status, headers })
}

const none: ReadonlyArray<string> = []

const withVary = (response: HttpServerResponse.HttpServerResponse): HttpServerResponse.HttpServerResponse => {
  const vary = response.headers["vary"]
  const varied = ResponseHead.varied(vary)
  return varied === vary ? response : HttpServerResponse.setHeader(response, "vary", varied)
}

// One cookie of the name, whatever the handler has set; cookies of other names stay.
const withCookie = (
  response: HttpServerResponse.HttpServerResponse,
  line: string
): HttpServerResponse.HttpServerResponse => {
  const name = line.slice(0, line.indexOf("="))
  const single = Object.hasOwn(response.cookies.cookies, name)
    ? HttpServerResponse.removeCookie(response, name)
    : response
  const present = single.headers["set-cookie"]
  return present === undefined || present.slice(0, present.indexOf("=")).trim() === name
    ? HttpServerResponse.setHeader(single, "set-cookie", line)
    // A header holds one cookie; a further part, and a second session's, go beside it.
    : HttpServerResponse.updateCookies(single, (cookies) => Cookies.merge(cookies, Cookies.fromSetCookie(line)))
}

const withCookies = (
  response: HttpServerResponse.HttpServerResponse,
  lines: ReadonlyArray<string>
): HttpServerResponse.HttpServerResponse => {
  if (lines.length === 0) return withVary(response)
  const { "cache-control": cacheControl = "", "set-cookie": present, vary } = response.headers
  const headers = {
    vary: ResponseHead.varied(vary),
    "cache-control": ResponseHead.isNeverStored(cacheControl) ? cacheControl : "no-store"
  }
  // Most responses set no cookie of their own, and one session is written at a time: then one copy of them will do.
  return lines.length === 1 && present === undefined && Cookies.isEmpty(response.cookies)
    ? HttpServerResponse.setHeaders(response, { ...headers, "set-cookie": lines[0] })
    : lines.reduce(withCookie, HttpServerResponse.setHeaders(response, headers))
}

// A response that stands for a failure of one session still brings the cookies of the others.
const instead = (
  request: HttpServerRequest.HttpServerRequest,
  response: HttpServerResponse.HttpServerResponse
): HttpServerResponse.HttpServerResponse => {
  const { cookies } = Siblings.of(request)
  Siblings.set(request, { cookies, failed: true })
  return withCookies(response, cookies)
}

/**
 * A function that gives an HTTP effect its session and answers its session
 * errors.
 *
 * @stability unstable
 * @category models
 * @since 0.1.0
 */
export type Middleware<Self> = <E, R>(
  app: Effect.Effect<HttpServerResponse.HttpServerResponse, E | SessionError, R | Self>
) => Effect.Effect<HttpServerResponse.HttpServerResponse, E, R | HttpServerRequest.HttpServerRequest>

/**
 * Creates the function that gives an HTTP effect its session, once per
 * application. {@link layer} and {@link layerGlobal} install it in a router.
 *
 * **Gotchas**
 *
 * Throws a `CookieConfigError` for cookie attributes that browsers would refuse,
 * and for a cookie that cannot carry the longest token of the backend.
 *
 * @stability unstable
 * @category constructors
 * @since 0.1.0
 */
export const make = <Self, A>(
  tag: Tag<Self, A>,
  options: Options = {}
): Effect.Effect<Middleware<Self>, never, SessionBackend | SessionConfig | Crypto> =>
  Effect.gen(function*() {
    const settings = yield* SessionConfig
    const clock = yield* Clock.Clock
    const mover = yield* LegacySession.mover(tag)
    const manager = yield* SessionManager.make(tag)
    const { maxToken } = yield* SessionBackend
    const cookie = RequestCookie.make(settings, maxToken, options.cookie, clock)
    const onError = options.onError ?? toResponse
    // Without being asked: then the client has to get the new id.
    const renews = settings.renewalInterval !== undefined || settings.binding?.policy === "renew"
    const clientOf = (request: HttpServerRequest.HttpServerRequest) => () => ({
      agent: RequestHeader.of(request, "user-agent")?.slice(0, 256),
      address: Option.getOrUndefined(request.remoteAddress)
    })

    const bindingOf = (request: HttpServerRequest.HttpServerRequest) => () => ({
      agent: RequestHeader.of(request, "user-agent"),
      address: Option.getOrUndefined(request.remoteAddress)
    })

    const dress = (
      request: HttpServerRequest.HttpServerRequest,
      response: HttpServerResponse.HttpServerResponse,
      change: SessionManager.TokenChange,
      others: ReadonlyArray<string> = none
    ): HttpServerResponse.HttpServerResponse => {
      const own = cookie.lines(change, RequestHeader.of(request, "cookie"))
      const lines = others.length === 0 ? own : [...own, ...others]
      if (lines.length > 0) {
        const { cookies, failed } = Siblings.of(request)
        Siblings.set(request, { cookies: [...cookies, ...lines], failed })
      }
      return withCookies(response, lines)
    }

    const errorResponse = (cause: Cause.Cause<SessionError>): Effect.Effect<HttpServerResponse.HttpServerResponse> => {
      const error = Option.getOrUndefined(Cause.findErrorOption(cause))
      return error === undefined
        ? Effect.as(Effect.logError("A session could not be committed", cause), internalError)
        : Effect.catchCause(Effect.sync(() => onError(error)), (cause) =>
          Effect.as(Effect.logError("A session error could not be answered", cause), internalError))
    }

    // A pre-response handler that fails or dies would leave the request without any response.
    const commit = (
      session: SessionManager.OpenSession<A>,
      incoming: Incoming,
      exit: Exit.Exit<unknown, unknown>,
      move: LegacySession.Move<A> | undefined
    ): HttpEffect.PreResponseHandler =>
    (request, response) => {
      const outcome = SessionRoute.outcomeOf(exit, response, incoming.settle().commit)
      const standing = outcome === "success" && Siblings.of(request).failed ? "failure" : outcome
      const unused = !session.accessed && session.tokenChange._tag === "Keep"
      // Most requests only read: their answer leaves without another step. What brings an old session may have to end it.
      if (move === undefined && session.finishUnsafe(standing)?._tag === "Keep") {
        return Effect.succeed(unused ? response : withVary(response))
      }
      return Effect.suspend(() =>
        Effect.flatMapEager(session.finishEager(standing), (change) =>
          unused
            ? Effect.succeed(response)
            : move === undefined
            ? Effect.succeed(dress(request, response, change))
            : Effect.map(move.finish, (others) =>
              dress(request, response, change, others)))
      ).pipe(
        Effect.catchCause((cause) =>
          Effect.map(errorResponse(cause), (failed) => dress(request, instead(request, failed), session.tokenChange))
        ),
        Effect.catchCause((cause) =>
          Effect.as(Effect.logError("A session cookie could not be set", cause), instead(request, internalError))
        )
      )
    }

    const answer = <E>(cause: Cause.Cause<E>): Effect.Effect<HttpServerResponse.HttpServerResponse, E> => {
      const error = Option.getOrUndefined(Cause.findErrorOption(cause))
      return isSessionError(error) ? Effect.sync(() => onError(error)) : Effect.failCause(cause)
    }

    return <E, R>(app: Effect.Effect<HttpServerResponse.HttpServerResponse, E | SessionError, R | Self>) =>
      Effect.withFiber<HttpServerResponse.HttpServerResponse, E, R | HttpServerRequest.HttpServerRequest>((fiber) => {
        const request = Context.getUnsafe(fiber.context, HttpServerRequest.HttpServerRequest)
        const client = options.client === true ? clientOf(request) : undefined
        const binding = settings.binding === undefined ? undefined : bindingOf(request)
        const incoming = new Incoming(request, cookie, client, binding)
        const session = manager.open(incoming)
        const move = mover?.(session, RequestHeader.of(request, "cookie"))
        const outer = fiber.context
        const inner = Context.add(outer, tag, move?.session ?? session)
        fiber.setContext(
          renews && RequestHeader.of(request, "upgrade") !== undefined
            ? Context.add(inner, HttpServerRequest.HttpServerRequest, incoming.upgradable())
            : inner
        )
        const observed = Effect.onExitPrimitive(app, (exit) => {
          fiber.setContext(outer)
          RouteMarks.willCommit(request, incoming)
          // Only now, so that it comes after the handlers of the routes, which may use the session too.
          HttpEffect.appendPreResponseHandlerUnsafe(outer, commit(session, incoming, exit, move))
          return undefined
        })
        // The session is in the context, and its errors are answered: what is left of E | SessionError is E.
        return Effect.catchCause(observed, answer) as Effect.Effect<HttpServerResponse.HttpServerResponse, E, R>
      })
  })

const internalError = HttpServerResponse.empty({ status: 500, headers: { "cache-control": "no-store" } })

/**
 * Installs the middleware for the routes it is provided to.
 *
 * **Details**
 *
 * Routes may use the session, and may leave `SessionError`s unhandled: the
 * middleware answers them.
 *
 * @stability unstable
 * @category layers
 * @since 0.1.0
 */
export const layer = <Self, A>(tag: Tag<Self, A>, options?: Options): Layer.Layer<
  HttpRouter.Request.From<"Requires", Self> | HttpRouter.Request.From<"Error", SessionError>,
  never,
  SessionBackend | SessionConfig | Crypto
> => HttpRouter.middleware<{ provides: Self; handles: SessionError }>()(forRouter(tag, options)).layer

/**
 * Installs the middleware for every route of the application.
 *
 * @stability unstable
 * @category layers
 * @since 0.1.0
 */
export const layerGlobal = <Self, A>(tag: Tag<Self, A>, options?: Options): Layer.Layer<
  | HttpRouter.Request.From<"Requires", Self>
  | HttpRouter.Request.From<"Error", SessionError>
  | HttpRouter.Request.From<"GlobalRequires", Self>
  | HttpRouter.Request.From<"GlobalError", SessionError>,
  never,
  SessionBackend | SessionConfig | Crypto | HttpRouter.HttpRouter
> => HttpRouter.middleware<{ provides: Self; handles: SessionError }>()(forRouter(tag, options), { global: true })

const forRouter = <Self, A>(tag: Tag<Self, A>, options?: Options) =>
  Effect.map(make(tag, options), (middleware) =>
  (
    app: Effect.Effect<HttpServerResponse.HttpServerResponse, Types.unhandled | SessionError, Self>
  ): Effect.Effect<
    HttpServerResponse.HttpServerResponse,
    Types.unhandled,
    HttpServerRequest.HttpServerRequest
  > => middleware<Types.unhandled, never>(app))
