/**
 * Tells requests of a user from those that happen by themselves.
 *
 * A page that polls, a beacon and a prefetch use the session without anybody
 * being there. They must not keep it alive: with one tab open, a session would
 * never idle out. A request counts as activity unless the browser says that it
 * prefetches, or its route says that it is passive.
 *
 * @stability unstable
 * @since 0.1.0
 */
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as HttpRouter from "effect/http/HttpRouter"
import * as HttpServerRequest from "effect/http/HttpServerRequest"
import type * as Layer from "effect/Layer"
import * as Prefetch from "./internal/prefetch.ts"
import * as RequestHeader from "./internal/requestHeader.ts"
import * as RouteMarks from "./internal/routeMarks.ts"

/**
 * What kind of request it is.
 *
 * **Details**
 *
 * - `active`: a user, or nothing says otherwise.
 * - `passive`: its route is annotated.
 * - `prefetch`: the browser loads ahead what may never be shown.
 *
 * @stability unstable
 * @category models
 * @since 0.1.0
 */
export type RequestClass = "active" | "passive" | "prefetch"

/**
 * Annotation of endpoints and groups of an `HttpApi` behind a middleware of
 * `SessionApi`: their requests are passive. `false` by default.
 *
 * **Example** (A status endpoint that a page polls)
 *
 * ```ts
 * import * as RequestClass from "@effect-session/http/RequestClass"
 * import { Schema } from "effect"
 * import { HttpApiEndpoint } from "effect/http-api"
 *
 * const unread = HttpApiEndpoint.get("unread", "/unread", { success: Schema.Int })
 *   .annotate(RequestClass.Passive, true)
 * ```
 *
 * @stability unstable
 * @category annotations
 * @since 0.1.0
 */
export const Passive: Context.Reference<boolean> = Context.Reference<boolean>(
  "@effect-session/http/RequestClass/Passive",
  { defaultValue: () => false }
)

/**
 * Makes a request passive, until its outermost session middleware has committed.
 *
 * **Gotchas**
 *
 * The mark belongs to the platform's request, which may be more than one run:
 * without a session middleware, it stays for as long as that object does.
 *
 * @stability unstable
 * @category combinators
 * @since 0.1.0
 */
export const markPassive = (request: HttpServerRequest.HttpServerRequest): void =>
  RouteMarks.add(request, { passive: true })

/**
 * Makes the requests of a handler passive.
 *
 * **Example** (A beacon)
 *
 * ```ts
 * import * as RequestClass from "@effect-session/http/RequestClass"
 * import { Effect } from "effect"
 * import { HttpRouter, HttpServerResponse } from "effect/http"
 *
 * const received = Effect.succeed(HttpServerResponse.empty())
 * const Beacon = HttpRouter.add("POST", "/beacon", RequestClass.passive(received))
 * ```
 *
 * @stability unstable
 * @category combinators
 * @since 0.1.0
 */
export const passive = <A, E, R>(
  handler: Effect.Effect<A, E, R>
): Effect.Effect<A, E, R | HttpServerRequest.HttpServerRequest> =>
  Effect.flatMap(HttpServerRequest.HttpServerRequest, (request) => {
    markPassive(request)
    return handler
  })

/**
 * Makes the requests of the routes it is provided to passive, whether it comes
 * inside or outside of the session middleware.
 *
 * @stability unstable
 * @category layers
 * @since 0.1.0
 */
export const layerPassive: Layer.Layer<never> = HttpRouter.middleware((app) => passive(app)).layer

/**
 * Whether a browser says that it loads something ahead.
 *
 * @stability unstable
 * @category guards
 * @since 0.1.0
 */
export const isPrefetch = (headers: Readonly<Record<string, string | undefined>>): boolean =>
  Prefetch.isPrefetch((name) => headers[name])

/**
 * Whether a request was made passive by now.
 *
 * @stability unstable
 * @category guards
 * @since 0.1.0
 */
export const isPassive = (request: HttpServerRequest.HttpServerRequest): boolean => RouteMarks.of(request).passive

/**
 * What kind of request this is, as far as it is known by now.
 *
 * @stability unstable
 * @category getters
 * @since 0.1.0
 */
export const of = (request: HttpServerRequest.HttpServerRequest): RequestClass =>
  isPassive(request)
    ? "passive"
    : Prefetch.isPrefetch((name) => RequestHeader.of(request, name))
    ? "prefetch"
    : "active"

/**
 * Whether a request counts as activity.
 *
 * @stability unstable
 * @category getters
 * @since 0.1.0
 */
export const isActive = (request: HttpServerRequest.HttpServerRequest): boolean => of(request) === "active"
