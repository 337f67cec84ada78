/**
 * What a route may do to its session, and what becomes of its changes.
 *
 * Options are data. They stand at a handler ({@link using}), at routes
 * ({@link layer}), or at endpoints and groups of an `HttpApi` ({@link Route}).
 * They hold for every session of the request, whether they come inside or outside
 * of the session middleware. What is nearest to the handler decides, each option
 * by itself.
 *
 * | `access` | reads | writes | `Set-Cookie` | `Vary: Cookie` |
 * | --- | --- | --- | --- | --- |
 * | `full`, the default | yes | yes | when it has to | when read |
 * | `data` | yes | what needs no new cookie; the rest fails with `Undeliverable` | when the session ends | when read |
 * | `read` | yes | fail with `ReadOnly` | never | when read |
 * | `none` | an anonymous session | fail with `ReadOnly` | never | never |
 *
 * With `read` nothing reaches the store but the read: no activity, no renewal.
 * With `none` nobody looks at the cookie, and the store is not asked.
 *
 * | `commit`: data changes of a handler that | `keepOnFailure` | `discardOnFailure`, the default | `discardOnServerError` | `discardOnErrorStatus` |
 * | --- | --- | --- | --- | --- |
 * | answers below 400 | stored | stored | stored | stored |
 * | answers 4xx | stored | stored | stored | discarded |
 * | answers 5xx | stored | stored | discarded | discarded |
 * | fails with a typed error | stored | discarded | discarded | discarded |
 * | dies, or is interrupted | discarded | discarded | discarded | discarded |
 *
 * The end of a session, a new id and a sign-in stand under every policy; of a
 * client that left only the end. Where another session of the request could not be
 * committed, the data changes of this one are discarded whatever the policy.
 *
 * A middleware between the session middleware and the option that has used the
 * session already has used it: what it wrote stands, and what it read stays read.
 *
 * @stability unstable
 * @since 0.1.0
 */
import type { ReadonlySession, Tag } from "@effect-session/core/Session"
import type * as SessionManager from "@effect-session/core/SessionManager"
import * as Cause from "effect/Cause"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import type * as Exit from "effect/Exit"
import { dual } from "effect/Function"
import * as HttpRouter from "effect/http/HttpRouter"
import * as HttpServerError from "effect/http/HttpServerError"
import * as HttpServerRequest from "effect/http/HttpServerRequest"
import type * as HttpServerResponse from "effect/http/HttpServerResponse"
import type * as Layer from "effect/Layer"
import type * as Types from "effect/Types"
import * as RouteMarks from "./internal/routeMarks.ts"

/**
 * When the data changes of a handler are discarded.
 *
 * **Details**
 *
 * From the mildest to the strictest; see the table of the module. The status is
 * that of the response as it leaves. Flash messages that a discarded handler has
 * taken are put back.
 *
 * @stability unstable
 * @category models
 * @since 0.1.0
 */
export type CommitPolicy = "keepOnFailure" | "discardOnFailure" | "discardOnServerError" | "discardOnErrorStatus"

/**
 * Options of a route. What is left out is as it was.
 *
 * @stability unstable
 * @category options
 * @since 0.1.0
 */
export interface Options {
  /** What the route may do to its session, `full` by default. */
  readonly access?: SessionManager.Access | undefined
  /** When its data changes are discarded, `discardOnFailure` by default. */
  readonly commit?: CommitPolicy | undefined
}

/**
 * Annotation of endpoints and groups of an `HttpApi` behind a middleware of
 * `SessionApi`: their options. Those of an endpoint go before those of its group.
 *
 * **Example** (An endpoint that only reads)
 *
 * ```ts
 * import * as SessionRoute from "@effect-session/http/SessionRoute"
 * import { Schema } from "effect"
 * import { HttpApiEndpoint } from "effect/http-api"
 *
 * const profile = HttpApiEndpoint.get("profile", "/profile", { success: Schema.String })
 *   .annotate(SessionRoute.Route, { access: "read" })
 * ```
 *
 * @stability unstable
 * @category annotations
 * @since 0.1.0
 */
export const Route: Context.Reference<Options> = Context.Reference<Options>(
  "@effect-session/http/SessionRoute/Route",
  { defaultValue: () => none }
)

const none: Options = {}

/**
 * Gives a request options, until its outermost session middleware has committed.
 *
 * **Gotchas**
 *
 * Options belong to the platform's request, which may be more than one run: without
 * a session middleware, they stay for as long as that object does.
 *
 * @stability unstable
 * @category combinators
 * @since 0.1.0
 */
export const mark = (request: HttpServerRequest.HttpServerRequest, { access, commit }: Options): void =>
  RouteMarks.add(request, { access, commit })

/**
 * The options of a request, as far as they are known by now.
 *
 * @stability unstable
 * @category getters
 * @since 0.1.0
 */
export const of = (request: HttpServerRequest.HttpServerRequest): Options => {
  const { access, commit } = RouteMarks.of(request)
  return { access, commit }
}

/**
 * Gives the requests of a handler options.
 *
 * **Example** (A health check below a global session middleware)
 *
 * ```ts
 * import * as SessionRoute from "@effect-session/http/SessionRoute"
 * import { Effect } from "effect"
 * import { HttpRouter, HttpServerResponse } from "effect/http"
 *
 * const healthy = Effect.succeed(HttpServerResponse.text("ok"))
 * const Health = HttpRouter.add("GET", "/health", SessionRoute.using(healthy, { access: "none" }))
 * ```
 *
 * @stability unstable
 * @category combinators
 * @since 0.1.0
 */
export const using: {
  (
    options: Options
  ): <A, E, R>(handler: Effect.Effect<A, E, R>) => Effect.Effect<A, E, R | HttpServerRequest.HttpServerRequest>
  <A, E, R>(
    handler: Effect.Effect<A, E, R>,
    options: Options
  ): Effect.Effect<A, E, R | HttpServerRequest.HttpServerRequest>
} = dual(
  2,
  <A, E, R>(
    handler: Effect.Effect<A, E, R>,
    options: Options
  ): Effect.Effect<A, E, R | HttpServerRequest.HttpServerRequest> =>
    Effect.flatMap(HttpServerRequest.HttpServerRequest, (request) => {
      mark(request, options)
      return handler
    })
)

/**
 * Gives the routes it is provided to options, whether it comes inside or outside
 * of the session middleware.
 *
 * @stability unstable
 * @category layers
 * @since 0.1.0
 */
export const layer = (options: Options): Layer.Layer<never> => HttpRouter.middleware((app) => using(app, options)).layer

/**
 * A session service without the operations that write.
 *
 * @stability unstable
 * @category models
 * @since 0.1.0
 */
export interface ReadonlyClass<in out Self, in out Id extends string, S, in out A>
  extends Context.ServiceClass<Self, Id, ReadonlySession<A>>, ReadonlySession<A, Self>
{
  /** The session service that it is a view of. */
  readonly session: Tag<S, A>
}

/**
 * Defines a view of a session service for routes that only read: handlers that
 * write to it do not compile. {@link layerReadonly} provides it.
 *
 * **Example** (A page that cannot write)
 *
 * ```ts
 * import { Session } from "@effect-session/core"
 * import { SessionRoute } from "@effect-session/http"
 * import { Effect, Layer, Schema } from "effect"
 * import { HttpRouter, HttpServerResponse } from "effect/http"
 *
 * class UserSession extends Session.Service<UserSession>()("app/UserSession", {
 *   data: Schema.Struct({ name: Schema.String }),
 *   initial: { name: "guest" }
 * }) {}
 * class Visitor extends SessionRoute.Readonly<Visitor>()("app/Visitor", UserSession) {}
 *
 * const Hello = HttpRouter.add("GET", "/", Effect.map(Visitor.get, ({ name }) => HttpServerResponse.text(name))).pipe(
 *   Layer.provide(SessionRoute.layerReadonly(Visitor))
 * )
 * ```
 *
 * @stability unstable
 * @category constructors
 * @since 0.1.0
 */
export const Readonly =
  <Self>() => <const Id extends string, S, A>(id: Id, session: Tag<S, A>): ReadonlyClass<Self, Id, S, A> => {
    const tag = Context.Service<Self, ReadonlySession<A>>()(id)
    const reads: ReadonlySession<A, Self> = {
      get: tag.use((session) => session.get),
      status: tag.use((session) => session.status),
      isNew: tag.use((session) => session.isNew),
      subject: tag.use((session) => session.subject),
      info: tag.use((session) => session.info),
      expiresAt: tag.use((session) => session.expiresAt),
      timeUntilExpiry: tag.use((session) => session.timeUntilExpiry),
      isElevated: tag.use((session) => session.isElevated),
      served: tag.use((session) => session.served),
      handle: tag.use((session) => session.handle)
    }
    return Object.assign(tag, reads, { session })
  }

/**
 * Gives the routes it is provided to a view of their session, and `read` as their
 * access. It belongs inside of the session middleware.
 *
 * @stability unstable
 * @category layers
 * @since 0.1.0
 */
export const layerReadonly = <Self, Id extends string, S, A>(
  view: ReadonlyClass<Self, Id, S, A>
): Layer.Layer<HttpRouter.Request.From<"Requires", Self>, never, HttpRouter.Request.From<"Requires", S>> =>
  HttpRouter.middleware<{ provides: Self }>()(Effect.succeed((
    app: Effect.Effect<HttpServerResponse.HttpServerResponse, Types.unhandled, Self>
  ): Effect.Effect<HttpServerResponse.HttpServerResponse, Types.unhandled, HttpServerRequest.HttpServerRequest> =>
    Effect.withFiber((fiber) => {
      mark(Context.getUnsafe(fiber.context, HttpServerRequest.HttpServerRequest), { access: "read" })
      const session = Context.getUnsafe(fiber.context, view.session)
      return Effect.flatMap(session.readonly, (reader) => Effect.provideService(app, view, reader))
    })
  )).layer

const isClientAbort = (reason: Cause.Reason<unknown>): boolean =>
  reason._tag === "Interrupt" && reason.annotations.has(HttpServerError.ClientAbort.key)

/**
 * What becomes of the changes of a handler that ended in some way, and whose
 * response has some status.
 *
 * @stability unstable
 * @category getters
 * @since 0.1.0
 */
export const outcomeOf = (
  exit: Exit.Exit<unknown, unknown>,
  { status }: HttpServerResponse.HttpServerResponse,
  policy: CommitPolicy = "discardOnFailure"
): SessionManager.Outcome => {
  if (exit._tag === "Success") {
    const refused = policy === "discardOnErrorStatus" ? 400 : policy === "discardOnServerError" ? 500 : Infinity
    return status < refused ? "success" : "failure"
  }
  const { reasons } = exit.cause
  // A clean-up that fails after the client left does not bring the client back.
  if (Cause.hasInterruptsOnly(exit.cause) || reasons.some(isClientAbort)) return "aborted"
  return policy === "keepOnFailure" && reasons.every((reason) => reason._tag === "Fail") ? "success" : "failure"
}
