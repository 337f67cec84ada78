/**
 * Sessions for `HttpApi`: middlewares that give endpoints their session, and
 * prove who is signed in.
 *
 * Define one class per promise. Each is part of the API's contract: endpoints
 * behind it have the cookie scheme and the errors in OpenAPI and in generated
 * clients, and their handlers may use what it provides. Others do not compile.
 *
 * | middleware | lets through | provides |
 * | --- | --- | --- |
 * | {@link Session} | everybody | the session |
 * | {@link Authenticated} | who is signed in | the session, and its `principal` |
 * | {@link Fresh} | who has signed in or proved it again `within` a time | the same |
 * | {@link SecondFactor} | whose session is elevated | the same |
 *
 * One is enough for an endpoint. Several share one session, in any order, and
 * all of them must let the request through. Give their layers the same options:
 * those of the outermost apply.
 *
 * A request that is not signed in fails with `Unauthorized` (401), one that needs
 * more with `Forbidden` (403). While the store does not serve nothing is known, so
 * it fails with a `SessionError` (503), never as signed out. `Fresh` and
 * `SecondFactor` do not take an old copy of the session for a proof.
 *
 * @stability unstable
 * @since 0.1.0
 */
import type { Crypto } from "@effect-session/core/Crypto"
import type { ReadonlySession, Tag } from "@effect-session/core/Session"
import type { SessionBackend } from "@effect-session/core/SessionBackend"
import { SessionConfig } from "@effect-session/core/SessionConfig"
import { SessionError, Unavailable } from "@effect-session/core/SessionError"
import * as Context from "effect/Context"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as HttpApiMiddleware from "effect/http-api/HttpApiMiddleware"
import * as HttpApiSecurity from "effect/http-api/HttpApiSecurity"
import * as OpenApi from "effect/http-api/OpenApi"
import * as HttpServerRequest from "effect/http/HttpServerRequest"
import type * as HttpServerResponse from "effect/http/HttpServerResponse"
import * as Layer from "effect/Layer"
import type * as Types from "effect/Types"
import { withoutPrefix } from "./internal/cookieName.ts"
import * as RequestClass from "./RequestClass.ts"
import { failures, Forbidden, toResponse, Unauthorized } from "./SessionApiError.ts"
import * as SessionMiddleware from "./SessionMiddleware.ts"
import * as SessionRoute from "./SessionRoute.ts"

/**
 * Who is signed in, and since when.
 *
 * @stability unstable
 * @category models
 * @since 0.1.0
 */
export interface Principal<out A> {
  readonly subject: string
  /** The data of the session when the request began. */
  readonly data: A
  /** When the subject has last proved who it is, in UTC milliseconds. */
  readonly authenticatedAt: number
}

declare const ProofTypeId: unique symbol

/**
 * Marks what the middleware with an id has proved. Only the middleware provides
 * it.
 *
 * @stability unstable
 * @category models
 * @since 0.1.0
 */
export interface Proof<out Id extends string> {
  readonly [ProofTypeId]: Id
}

/**
 * What a middleware asks of a session.
 *
 * @stability unstable
 * @category models
 * @since 0.1.0
 */
export type Requirement =
  | { readonly _tag: "Authenticated" }
  | { readonly _tag: "Fresh"; readonly within: number }
  | { readonly _tag: "SecondFactor" }

/**
 * The errors that a middleware declares.
 *
 * @stability unstable
 * @category models
 * @since 0.1.0
 */
export type Errors = readonly [typeof Unauthorized, typeof Forbidden, ...typeof failures]

/**
 * Options of the middlewares.
 *
 * @stability unstable
 * @category options
 * @since 0.1.0
 */
export interface Options<Self, A> {
  readonly session: Tag<Self, A>
  /**
   * Name of the cookie, `__Host-session` by default. Where the transport is not
   * secure, as under the preset `development`, the prefix falls away.
   */
  readonly cookie?: string | undefined
}

type Service<Self, Id extends string, Provides> = HttpApiMiddleware.ServiceClass<Self, Id, {
  requires: never
  provides: Provides
  error: Errors
  clientError: never
  requiredForClient: false
  security: { readonly session: HttpApiSecurity.ApiKey }
}>

/**
 * A middleware that provides the session.
 *
 * @stability unstable
 * @category models
 * @since 0.1.0
 */
export type SessionClass<Self, Id extends string, S, A> = Service<Self, Id, S> & {
  readonly definition: Options<S, A>
}

/**
 * A middleware that provides the session and proves something of it.
 *
 * @stability unstable
 * @category models
 * @since 0.1.0
 */
export type ProofClass<Self, Id extends string, S, A, P> = Service<Self, Id, S | Proof<Id>> & {
  readonly definition: Options<S, A> & { readonly requirement: Requirement }
  /** Who is signed in: an effect that only handlers behind the middleware can run. */
  readonly principal: Context.Service<Proof<Id>, P>
}

const errors: Errors = [Unauthorized, Forbidden, ...failures]

const cookieName = (options: { readonly cookie?: string | undefined }) => options.cookie ?? "__Host-session"

const service = <Self, Id extends string, Provides>(
  id: Id,
  options: { readonly cookie?: string | undefined }
): Service<Self, Id, Provides> =>
  HttpApiMiddleware.Service<Self, { provides: Provides }>()(id, {
    error: errors,
    security: {
      session: HttpApiSecurity.annotate(
        HttpApiSecurity.apiKey({ key: cookieName(options), in: "cookie" }),
        OpenApi.Description,
        "The session cookie, set by the server. Browsers send it by themselves."
      )
    }
  })

/**
 * Defines a middleware that provides the session, whoever it is.
 *
 * @stability unstable
 * @category constructors
 * @since 0.1.0
 */
export const Session =
  <Self>() => <const Id extends string, S, A>(id: Id, options: Options<S, A>): SessionClass<Self, Id, S, A> =>
    Object.assign(service<Self, Id, S>(id, options), { definition: options })

const proof = <Self, Id extends string, S, A, P>(
  id: Id,
  options: Options<S, A>,
  requirement: Requirement
): ProofClass<Self, Id, S, A, P> =>
  Object.assign(service<Self, Id, S | Proof<Id>>(id, options), {
    definition: { session: options.session, cookie: options.cookie, requirement },
    principal: Context.Service<Proof<Id>, P>(`${id}/principal`)
  })

/** The principal is of type `P` if the layer makes one of its own. */
type PrincipalOf<A, P> = [P] extends [never] ? Principal<A> : P

/**
 * Defines a middleware that lets through who is signed in.
 *
 * **Details**
 *
 * The second type parameter is for a principal of your own, which
 * {@link layerPrincipal} makes.
 *
 * @stability unstable
 * @category constructors
 * @since 0.1.0
 */
export const Authenticated = <Self, P = never>() =>
<const Id extends string, S, A>(
  id: Id,
  options: Options<S, A>
): ProofClass<Self, Id, S, A, PrincipalOf<A, P>> => proof(id, options, { _tag: "Authenticated" })

/**
 * Defines a middleware that lets through who has signed in, or proved again who
 * it is, `within` a time. `Session.reauthenticate` starts that time anew.
 *
 * **Gotchas**
 *
 * Throws a `RangeError` for a time that is not more than zero and finite.
 *
 * @stability unstable
 * @category constructors
 * @since 0.1.0
 */
export const Fresh = <Self, P = never>() =>
<const Id extends string, S, A>(
  id: Id,
  options: Options<S, A> & { readonly within: Duration.Input }
): ProofClass<Self, Id, S, A, PrincipalOf<A, P>> => {
  const within = Duration.toMillis(Duration.fromInputUnsafe(options.within))
  if (!(within > 0 && Number.isFinite(within))) {
    throw new RangeError("SessionApi.Fresh: within must be more than zero and finite")
  }
  return proof(id, options, { _tag: "Fresh", within })
}

/**
 * Defines a middleware that lets through sessions that are elevated, as
 * `Session.elevate` does after a second factor.
 *
 * @stability unstable
 * @category constructors
 * @since 0.1.0
 */
export const SecondFactor = <Self, P = never>() =>
<const Id extends string, S, A>(
  id: Id,
  options: Options<S, A>
): ProofClass<Self, Id, S, A, PrincipalOf<A, P>> => proof(id, options, { _tag: "SecondFactor" })

const unavailable = Effect.fail(new SessionError({ reason: new Unavailable({}) }))

/**
 * Whether somebody is signed in. Fails where that is not known, because the store
 * does not serve.
 *
 * @stability unstable
 * @category guards
 * @since 0.1.0
 */
export const isAuthenticated = <A, R = never>(
  session: ReadonlySession<A, R>
): Effect.Effect<boolean, SessionError, R> =>
  Effect.flatMap(session.subject, (subject) =>
    subject !== undefined
      ? Effect.succeed(true)
      // A request that goes on without its session in an outage does not know whose it is.
      : Effect.flatMap(session.status, (status) => status === "unavailable" ? unavailable : Effect.succeed(false)))

/**
 * Checks a session: succeeds with its principal if it fulfils the requirement.
 *
 * **When to use**
 *
 * In a handler that decides only then, or outside of an `HttpApi`.
 *
 * @stability unstable
 * @category guards
 * @since 0.1.0
 */
export const check: <A, R = never>(
  session: ReadonlySession<A, R>,
  requirement: Requirement
) => Effect.Effect<Principal<A>, Unauthorized | Forbidden | SessionError, R> = Effect.fnUntraced(
  function*<A, R>(session: ReadonlySession<A, R>, requirement: Requirement) {
    const info = yield* session.info
    if (info?.subject === undefined || info.authenticatedAt === undefined) {
      // Fails in an outage; else nobody is signed in.
      yield* isAuthenticated(session)
      return yield* new Unauthorized()
    }
    const { authenticatedAt, subject } = info
    if (requirement._tag !== "Authenticated" && (yield* session.served)?._tag === "Stale") return yield* unavailable
    if (requirement._tag === "Fresh" && info.now - authenticatedAt > requirement.within) {
      return yield* new Forbidden({ needs: "reauthentication" })
    }
    if (requirement._tag === "SecondFactor" && !(yield* session.isElevated)) {
      return yield* new Forbidden({ needs: "secondFactor" })
    }
    return { subject, data: yield* session.get, authenticatedAt }
  }
)

type App<E, R> = Effect.Effect<HttpServerResponse.HttpServerResponse, E, R>
type Refused = Unauthorized | Forbidden | SessionError

interface Annotated {
  readonly annotations: Context.Context<never>
}

const isPassive = ({ annotations }: Annotated) => Context.getOrUndefined(annotations, RequestClass.Passive)

const markRoute = (context: Context.Context<never>, { annotations }: Annotated): void => {
  const options = Context.getOrUndefined(annotations, SessionRoute.Route)
  if (options !== undefined) {
    SessionRoute.mark(Context.getUnsafe(context, HttpServerRequest.HttpServerRequest), options)
  }
}

const make = <S, A, Provides>(
  { cookie, session: tag }: Options<S, A>,
  guard: (app: App<Types.unhandled, Provides>) => App<Types.unhandled | Refused, S>,
  options: SessionMiddleware.Options
) =>
  Effect.gen(function*() {
    const { secureTransport } = yield* SessionConfig
    const name = cookieName({ cookie })
    const middleware = yield* SessionMiddleware.make(tag, {
      onError: toResponse,
      ...options,
      cookie: {
        name: secureTransport ? name : withoutPrefix(name),
        ...options.cookie
      }
    })
    return {
      session: (
        app: App<Types.unhandled, Provides>,
        { endpoint, group }: { readonly endpoint: Annotated; readonly group: Annotated }
      ) =>
        Effect.withFiber<
          HttpServerResponse.HttpServerResponse,
          Types.unhandled | Refused,
          HttpServerRequest.HttpServerRequest
        >((fiber) => {
          if (isPassive(endpoint) ?? isPassive(group)) {
            RequestClass.markPassive(Context.getUnsafe(fiber.context, HttpServerRequest.HttpServerRequest))
          }
          markRoute(fiber.context, group)
          markRoute(fiber.context, endpoint)
          const guarded = guard(app)
          // Another middleware, of the API or of the router around it, may have opened the session already.
          const open = Context.getOrUndefined(fiber.context, tag)
          return open === undefined
            ? middleware<Types.unhandled | Unauthorized | Forbidden, never>(guarded)
            : Effect.provideService(guarded, tag, open)
        })
    }
  })

type Needs = SessionBackend | SessionConfig | Crypto

/**
 * Implements a middleware of {@link Session}.
 *
 * @stability unstable
 * @category layers
 * @since 0.1.0
 */
export const layerSession = <Self, Id extends string, S, A>(
  middleware: SessionClass<Self, Id, S, A>,
  options: SessionMiddleware.Options = {}
): Layer.Layer<Self, never, Needs> =>
  Layer.effect(middleware, make<S, A, S>(middleware.definition, (app) => app, options))

/**
 * Implements a middleware of {@link Authenticated}, {@link Fresh} or
 * {@link SecondFactor} whose principal is a {@link Principal}.
 *
 * @stability unstable
 * @category layers
 * @since 0.1.0
 */
export const layer = <Self, Id extends string, S, A>(
  middleware: ProofClass<Self, Id, S, A, Principal<A>>,
  options: SessionMiddleware.Options = {}
): Layer.Layer<Self, never, Needs> => layerPrincipal(middleware, Effect.succeed, options)

/**
 * Implements a middleware of {@link Authenticated}, {@link Fresh} or
 * {@link SecondFactor} with a principal of your own, made for each request.
 *
 * **Details**
 *
 * `resolve` runs once the requirement is fulfilled. Without a principal, as for
 * an account that was closed, the request is unauthorized; `resolve` may also fail
 * with `Forbidden`, for a role that is missing.
 *
 * @stability unstable
 * @category layers
 * @since 0.1.0
 */
export const layerPrincipal = <Self, Id extends string, S, A, P, R = never>(
  middleware: ProofClass<Self, Id, S, A, P>,
  resolve: (principal: Principal<A>) => Effect.Effect<P | undefined, Refused, R>,
  options: SessionMiddleware.Options = {}
): Layer.Layer<Self, never, Needs | R> =>
  Layer.effect(
    middleware,
    Effect.flatMap(Effect.context<R>(), (context) => {
      const { requirement, session } = middleware.definition
      const principal = session.use((session) => check(session, requirement)).pipe(
        Effect.flatMap((principal) => Effect.provideContext(resolve(principal), context)),
        Effect.flatMap((principal) =>
          principal === undefined ? Effect.fail(new Unauthorized()) : Effect.succeed(principal)
        )
      )
      const guard = (app: App<Types.unhandled, S | Proof<Id>>) =>
        Effect.flatMap(principal, (principal) => Effect.provideService(app, middleware.principal, principal))
      return make<S, A, S | Proof<Id>>(middleware.definition, guard, options)
    })
  )
