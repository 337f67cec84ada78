/**
 * Keeps pages for those who are signed in: others are sent to the sign-in page,
 * and come back to where they wanted to go.
 *
 * {@link layerGlobal} guards every path of the application but those on its list,
 * also paths without a route. {@link make} guards one handler, whatever its path.
 *
 * | the request | the answer |
 * | --- | --- |
 * | signed in, or on the list | the route's |
 * | a browser goes to a page, `GET` or `HEAD` | 303 to the sign-in page, with the target |
 * | a browser sends a form | 303 to the sign-in page, without one |
 * | anything else: scripts, programs, paths of `api` | 401 |
 * | the session store does not serve | 503 |
 *
 * Only the path counts, never its query, letter by letter. A path that two
 * programs could read in two ways is never on the list: dot segments, empty
 * segments, backslashes, parameters behind `;`, encoded delimiters.
 *
 * @stability unstable
 * @since 0.1.0
 */
import type { Tag } from "@effect-session/core/Session"
import type { SessionError } from "@effect-session/core/SessionError"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as HttpRouter from "effect/http/HttpRouter"
import * as HttpServerRequest from "effect/http/HttpServerRequest"
import * as HttpServerResponse from "effect/http/HttpServerResponse"
import type * as Layer from "effect/Layer"
import * as Predicate from "effect/Predicate"
import * as Schema from "effect/Schema"
import type * as Types from "effect/Types"
import * as PathPattern from "./internal/pathPattern.ts"
import * as RedirectTarget from "./RedirectTarget.ts"
import * as SessionApi from "./SessionApi.ts"

/**
 * Options of {@link make}.
 *
 * @stability unstable
 * @category options
 * @since 0.1.0
 */
export interface Options {
  /** Path of the sign-in page, as in `/sign-in`. It may have a query. */
  readonly signIn: string
  /** Parameter of the sign-in page that takes the target, `redirect_to` by default. */
  readonly parameter?: string | undefined
}

/**
 * Options of {@link layerGlobal}.
 *
 * @stability unstable
 * @category options
 * @since 0.1.0
 */
export interface GlobalOptions extends Options {
  /**
   * Paths for everybody: `/about` is one path, `/assets/*` everything below one.
   * The sign-in page is always on the list.
   */
  readonly allow?: ReadonlyArray<string> | undefined
  /** Paths that always answer 401, whatever the request says about itself: `/api/*`. */
  readonly api?: ReadonlyArray<string> | undefined
}

/**
 * Error of options that would not guard what is meant, with every problem found.
 *
 * @stability unstable
 * @category errors
 * @since 0.1.0
 */
export class AuthGuardConfigError
  extends Schema.Error<AuthGuardConfigError>("@effect-session/http/AuthGuard/AuthGuardConfigError")({
    _tag: Schema.tag("AuthGuardConfigError"),
    problems: Schema.Array(Schema.String)
  })
{
  override get message(): string {
    return `The guard has ${this.problems.length} problem(s):\n- ${this.problems.join("\n- ")}`
  }
}

/**
 * Returns every problem of the options, each with what to do about it.
 *
 * @stability unstable
 * @category constructors
 * @since 0.1.0
 */
export const validate = (options: GlobalOptions): ReadonlyArray<string> => {
  const problems: Array<string> = []
  const { allow = [], api = [], parameter = "redirect_to", signIn } = options
  if (!RedirectTarget.isTarget(signIn) || PathPattern.canonical(PathPattern.pathOf(signIn)) === undefined) {
    problems.push("signIn: must be a path of this application, such as /sign-in")
  } else if (signIn.includes("#")) problems.push("signIn: must have no fragment")
  if (!/^[\w.~-]+$/.test(parameter)) problems.push("parameter: must be letters, digits and ._~-")
  for (const [field, patterns] of Object.entries({ allow, api })) {
    for (const [index, pattern] of patterns.entries()) {
      const parsed = PathPattern.parse(pattern)
      if (typeof parsed === "string") problems.push(`${field}[${index}]: ${parsed}`)
    }
  }
  return problems
}

const parsed = (patterns: ReadonlyArray<string> = []): ReadonlyArray<PathPattern.PathPattern> =>
  patterns.map(PathPattern.parse).filter((pattern) => typeof pattern !== "string")

/** Whether a browser shows the answer as a page: what it says itself, or else what it accepts. */
const wantsPage = ({ headers }: HttpServerRequest.HttpServerRequest): boolean => {
  const mode = headers["sec-fetch-mode"]
  if (mode !== undefined) return mode === "navigate"
  if (headers["x-requested-with"] !== undefined) return false
  return /(?:^|,)\s*(?:text\/html|application\/xhtml\+xml)\s*(?:[;,]|$)/i.test(headers["accept"] ?? "")
}

// What the browser asked for, also below a prefix of the router. `originalUrl` would bring in the `Host` header.
const targetOf = (request: HttpServerRequest.HttpServerRequest): string | undefined => {
  if (request.method !== "GET" && request.method !== "HEAD") return undefined
  const { source } = request
  const url = Predicate.hasProperty(source, "url") && typeof source.url === "string" ? source.url : request.url
  const target = url.replace(/^https?:\/\/[^/?#]*(?=\/)/i, "").replace(/#.*$/s, "")
  return RedirectTarget.isTarget(target) ? RedirectTarget.fromInput(target) : undefined
}

const headers = { "cache-control": "no-store" }
const unauthorized = HttpServerResponse.text("Unauthorized", { status: 401, headers })

const answer = (
  { parameter = "redirect_to", signIn }: Options,
  request: HttpServerRequest.HttpServerRequest,
  isApi: boolean
): HttpServerResponse.HttpServerResponse => {
  if (isApi || !wantsPage(request)) return unauthorized
  const target = targetOf(request)
  const location = target === undefined
    ? signIn
    : `${signIn}${signIn.includes("?") ? "&" : "?"}${parameter}=${encodeURIComponent(target)}`
  return HttpServerResponse.empty({ status: 303, headers: { ...headers, location } })
}

const check = (options: GlobalOptions): void => {
  const problems = validate(options)
  if (problems.length > 0) throw new AuthGuardConfigError({ problems })
}

/**
 * A function that guards a handler.
 *
 * @stability unstable
 * @category models
 * @since 0.1.0
 */
export type Guard<Self> = <E, R>(
  handler: Effect.Effect<HttpServerResponse.HttpServerResponse, E, R>
) => Effect.Effect<
  HttpServerResponse.HttpServerResponse,
  E | SessionError,
  R | Self | HttpServerRequest.HttpServerRequest
>

/**
 * Creates a guard for handlers, from the session service that says who is signed
 * in.
 *
 * **Gotchas**
 *
 * Throws an {@link AuthGuardConfigError} that lists every problem of the options.
 *
 * @stability unstable
 * @category constructors
 * @since 0.1.0
 */
export const make = <Self, A>(tag: Tag<Self, A>, options: Options): Guard<Self> => {
  check(options)
  return (handler) => guarded(tag, options, () => false, handler)
}

const guarded = <Self, A, E, R>(
  tag: Tag<Self, A>,
  options: Options,
  isApi: (request: HttpServerRequest.HttpServerRequest) => boolean,
  handler: Effect.Effect<HttpServerResponse.HttpServerResponse, E, R>
): Effect.Effect<
  HttpServerResponse.HttpServerResponse,
  E | SessionError,
  R | Self | HttpServerRequest.HttpServerRequest
> =>
  Effect.flatMap(
    tag.use((session) => SessionApi.isAuthenticated(session)),
    (isAuthenticated): Effect.Effect<
      HttpServerResponse.HttpServerResponse,
      E,
      R | HttpServerRequest.HttpServerRequest
    > =>
      isAuthenticated
        ? handler
        : Effect.map(HttpServerRequest.HttpServerRequest, (request) => answer(options, request, isApi(request)))
  )

/**
 * Guards every route of the application, and paths without one, but for those on
 * its list.
 *
 * **Details**
 *
 * Requests on the list do not read their session.
 *
 * **Gotchas**
 *
 * Global middlewares nest in the order in which their layers are built: provide
 * `SessionMiddleware.layerGlobal` to this layer. `HttpRouter.cors` has to come
 * before it, because a preflight carries no cookie.
 *
 * Throws an {@link AuthGuardConfigError} that lists every problem of the options.
 *
 * @stability unstable
 * @category layers
 * @since 0.1.0
 */
export const layerGlobal = <Self, A>(tag: Tag<Self, A>, options: GlobalOptions): Layer.Layer<
  never,
  never,
  | HttpRouter.HttpRouter
  | HttpRouter.Request.From<"GlobalRequires", Exclude<Self, HttpRouter.GlobalProvided>>
  | HttpRouter.Request.From<"GlobalError", SessionError>
> => {
  check(options)
  const signIn = PathPattern.canonical(PathPattern.pathOf(options.signIn)) ?? options.signIn
  const allow = [...parsed(options.allow), { path: signIn, below: false }]
  const api = parsed(options.api)
  const isOn = (patterns: ReadonlyArray<PathPattern.PathPattern>, request: HttpServerRequest.HttpServerRequest) => {
    const path = PathPattern.canonical(PathPattern.pathOf(request.url))
    return path !== undefined && PathPattern.matches(patterns, path)
  }
  return HttpRouter.middleware<Types.unhandled | SessionError, Self | HttpServerRequest.HttpServerRequest, true>(
    (app) => {
      const inside = guarded(tag, options, (request) => isOn(api, request), app)
      return Effect.withFiber((fiber) =>
        isOn(allow, Context.getUnsafe(fiber.context, HttpServerRequest.HttpServerRequest)) ? app : inside
      )
    },
    { global: true }
  )
}
