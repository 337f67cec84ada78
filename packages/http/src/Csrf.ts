/**
 * Tokens against cross-site request forgery: a form or a script of the
 * application proves that a page of the application made it.
 *
 * A token is a random part and an HMAC over it and the session's key. It is of no
 * use with another session, it ends with a sign-in, a new id and a sign-out, and no
 * two are alike. It is made under the newest secret, and accepted under every
 * secret of `SessionConfig`. Visitors without a session get tokens too, bound to a
 * cookie of their own, so that a sign-in form is protected without storing
 * anything.
 *
 * {@link layerGlobal} refuses every request whose method is not `GET`, `HEAD` or
 * `OPTIONS` with 403, unless
 *
 * 1. the browser does not say that another site has sent it (`CrossOrigin`), and
 * 2. the header `X-CSRF-Token`, or without it the field `_csrf` of a form that is
 *    URL-encoded, holds a token of this session.
 *
 * A token in a query or a cookie is not looked at. Forms with files are no
 * exception: let a script send the header.
 *
 * An API that is called by scripts only needs no tokens: `CrossOrigin.layer` alone
 * protects it.
 *
 * @stability unstable
 * @since 0.1.0
 */
import { Crypto } from "@effect-session/core/Crypto"
import type { Session, Tag } from "@effect-session/core/Session"
import { SessionConfig } from "@effect-session/core/SessionConfig"
import type { SessionError } from "@effect-session/core/SessionError"
import * as SessionManager from "@effect-session/core/SessionManager"
import * as ByteSize from "effect/ByteSize"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Cookies from "effect/http/Cookies"
import * as HttpEffect from "effect/http/HttpEffect"
import * as HttpIncomingMessage from "effect/http/HttpIncomingMessage"
import * as HttpRouter from "effect/http/HttpRouter"
import type { HttpServerError } from "effect/http/HttpServerError"
import * as HttpServerRequest from "effect/http/HttpServerRequest"
import * as HttpServerResponse from "effect/http/HttpServerResponse"
import type * as Layer from "effect/Layer"
import * as Metric from "effect/Metric"
import * as Schema from "effect/Schema"
import type * as Types from "effect/Types"
import * as CrossOrigin from "./CrossOrigin.ts"
import * as BufferedRequest from "./internal/bufferedRequest.ts"
import { withoutPrefix } from "./internal/cookieName.ts"
import * as CsrfToken from "./internal/csrfToken.ts"
import * as RequestHeader from "./internal/requestHeader.ts"
import * as SessionApi from "./SessionApi.ts"
import * as SessionCookie from "./SessionCookie.ts"

/**
 * The tokens of one request.
 *
 * @stability unstable
 * @category services
 * @since 0.1.0
 */
export class Csrf extends Context.Service<Csrf, {
  /** A new token for the session as it is stored. */
  readonly token: Effect.Effect<string, SessionError>
  /** Name of the form field. */
  readonly field: string
}>()("@effect-session/http/Csrf") {}

/**
 * A token for the header or the form of a page.
 *
 * **Details**
 *
 * Reads the session. The response gets `Cache-Control: no-store` unless it has
 * that header, and for a visitor without a session a cookie.
 *
 * **Gotchas**
 *
 * A handler that signs in or renews the session has to `commit` before it asks for
 * a token: what it writes later gives the session another id.
 *
 * @stability unstable
 * @category getters
 * @since 0.1.0
 */
export const token: Effect.Effect<string, SessionError, Csrf> = Csrf.use(({ token }) => token)

/**
 * A token as the hidden field of an HTML form.
 *
 * @stability unstable
 * @category getters
 * @since 0.1.0
 */
export const input: Effect.Effect<string, SessionError, Csrf> = Csrf.use(({ field, token }) =>
  Effect.map(token, (value) => `<input type="hidden" name="${field}" value="${value}">`)
)

/**
 * Options of {@link layerGlobal} and {@link make}.
 *
 * @stability unstable
 * @category options
 * @since 0.1.0
 */
export interface Options {
  /** Header that takes a token, `x-csrf-token` by default. */
  readonly header?: string | undefined
  /** Form field that takes a token, `_csrf` by default. */
  readonly field?: string | undefined
  /**
   * Which writes need a token: `always`, which is the default, or `unattested`,
   * those that the browser says nothing about (neither `Sec-Fetch-Site` nor
   * `Origin`). The latter trusts the policy of `crossOrigin` alone where it can.
   */
  readonly require?: "always" | "unattested" | undefined
  /** The policy for what the browser says about a write. */
  readonly crossOrigin?: CrossOrigin.PolicyOptions | undefined
  /**
   * Name of the cookie of visitors without a session, `__Host-csrf` by default.
   * Where the transport is not secure, the prefix falls away.
   */
  readonly cookie?: string | undefined
  /** Most octets of a form that is read for its token, 1,048,576 by default. */
  readonly maxBody?: number | undefined
  /** The response to a refused request; 403 without details by default. */
  readonly onRefused?:
    | ((request: HttpServerRequest.HttpServerRequest) => HttpServerResponse.HttpServerResponse)
    | undefined
}

/**
 * Error of options that cannot work, with every problem found.
 *
 * @stability unstable
 * @category errors
 * @since 0.1.0
 */
export class CsrfConfigError extends Schema.Error<CsrfConfigError>("@effect-session/http/Csrf/CsrfConfigError")({
  _tag: Schema.tag("CsrfConfigError"),
  problems: Schema.Array(Schema.String)
}) {
  override get message(): string {
    return `The protection by tokens has ${this.problems.length} problem(s):\n- ${this.problems.join("\n- ")}`
  }
}

/**
 * Counts refused requests as `session.csrf_refused`, without tags.
 *
 * @stability unstable
 * @category metrics
 * @since 0.1.0
 */
export const refused: Metric.Counter<number> = Metric.counter("session.csrf_refused", {
  description: "Writes refused because nothing proved that a page of the application sent them",
  incremental: true
})

/**
 * A function that protects an HTTP effect and gives it its tokens.
 *
 * @stability unstable
 * @category models
 * @since 0.1.0
 */
export type Middleware<Self> = <E, R>(
  app: Effect.Effect<HttpServerResponse.HttpServerResponse, E, R | Csrf>
) => Effect.Effect<
  HttpServerResponse.HttpServerResponse,
  E | SessionError,
  Exclude<R, Csrf> | Self | HttpServerRequest.HttpServerRequest
>

const forbidden = HttpServerResponse.text("Forbidden", { status: 403, headers: { "cache-control": "no-store" } })

const isSafe = (method: string): boolean => method === "GET" || method === "HEAD" || method === "OPTIONS"

const isForm = (contentType: string | undefined): boolean =>
  contentType !== undefined && /^\s*application\/x-www-form-urlencoded\s*(?:;|$)/i.test(contentType)

const settingsOf = (options: Options) => {
  const { field = "_csrf", header = "x-csrf-token", maxBody = 1_048_576 } = options
  const problems: Array<string> = []
  if (!/^[a-z0-9-]+$/i.test(header)) problems.push("header: must be letters, digits and -")
  if (!/^[\w.-]+$/.test(field)) problems.push("field: must be letters, digits and ._-")
  if (!(Number.isSafeInteger(maxBody) && maxBody > 0)) problems.push("maxBody: must be a positive integer of octets")
  if (problems.length > 0) throw new CsrfConfigError({ problems })
  return {
    field,
    header: header.toLowerCase(),
    maxBody: ByteSize.fromInputUnsafe(maxBody),
    policy: CrossOrigin.make(options.crossOrigin),
    onRefused: options.onRefused ?? (() => forbidden),
    isExempt: (evidence: CrossOrigin.Evidence) =>
      options.require === "unattested" && (evidence.secFetchSite !== undefined || evidence.origin !== undefined)
  }
}

/**
 * Creates the function that protects an HTTP effect with the tokens of a session
 * service.
 *
 * **Gotchas**
 *
 * Throws a {@link CsrfConfigError}, a `CrossOriginConfigError` or a
 * `CookieConfigError` for options that cannot work.
 *
 * @stability unstable
 * @category constructors
 * @since 0.1.0
 */
export const make = <Self, A>(
  tag: Tag<Self, A>,
  options: Options = {}
): Effect.Effect<Middleware<Self>, never, Crypto | SessionConfig> =>
  Effect.gen(function*() {
    const { field, header, isExempt, maxBody, onRefused, policy } = settingsOf(options)
    const crypto = yield* Crypto
    const { secureTransport } = yield* SessionConfig
    const name = options.cookie ?? "__Host-csrf"
    const cookie = SessionCookie.make(secureTransport ? { name } : { name: withoutPrefix(name), secure: false })
    const scope = tag.key

    const visitorOf = (request: HttpServerRequest.HttpServerRequest): string | undefined => {
      const value = SessionCookie.read(cookie, RequestHeader.of(request, "cookie"))
      return typeof value === "string" && CsrfToken.isNonce(value) ? value : undefined
    }

    const isValid = Effect.fnUntraced(
      function*(session: Session<A>, request: HttpServerRequest.HttpServerRequest, token: string) {
        if (!CsrfToken.isToken(token)) return false
        const id = yield* SessionManager.keyOf(session)
        if (id !== undefined && (yield* CsrfToken.verify(crypto, scope, { kind: "session", id }, token))) return true
        // What a visitor was given ends with the sign-in.
        if (yield* SessionApi.isAuthenticated(session)) return false
        const visitor = visitorOf(request)
        return visitor !== undefined &&
          (yield* CsrfToken.verify(crypto, scope, { kind: "visitor", id: visitor }, token))
      }
    )

    const dress = (line: string | undefined): HttpEffect.PreResponseHandler => (_, response) => {
      const guarded = response.headers["cache-control"] === undefined || line !== undefined
        ? HttpServerResponse.setHeader(response, "cache-control", "no-store")
        : response
      return Effect.succeed(
        line === undefined
          ? guarded
          : HttpServerResponse.updateCookies(
            guarded,
            (cookies) => Cookies.merge(cookies, Cookies.fromSetCookie(line))
          )
      )
    }

    const csrfOf = (
      session: Session<A>,
      request: HttpServerRequest.HttpServerRequest,
      context: Context.Context<never>
    ): Csrf["Service"] => {
      let fresh: string | undefined
      const answer = (line: string | undefined) => HttpEffect.appendPreResponseHandlerUnsafe(context, dress(line))
      const token = Effect.gen(function*() {
        const id = yield* SessionManager.keyOf(session)
        if (id !== undefined) {
          const isOver = (yield* session.subject) !== undefined && visitorOf(request) !== undefined
          answer(isOver ? SessionCookie.clear(cookie) : undefined)
          return yield* CsrfToken.make(crypto, scope, { kind: "session", id })
        }
        // In an outage nobody knows whether there is a session, and a token for none would not serve it.
        yield* SessionApi.isAuthenticated(session)
        const brought = fresh ?? visitorOf(request)
        const visitor = brought ?? (yield* CsrfToken.nonce(crypto))
        if (brought === undefined) fresh = visitor
        answer(visitor === fresh ? SessionCookie.set(cookie, visitor) : undefined)
        return yield* CsrfToken.make(crypto, scope, { kind: "visitor", id: visitor })
      })
      return { token, field }
    }

    const limited = (request: HttpServerRequest.HttpServerRequest): Effect.Effect<ArrayBuffer, HttpServerError> =>
      Effect.withFiber((fiber) => {
        const set = fiber.getRef(HttpIncomingMessage.MaxBodySize)
        return set !== undefined && set <= maxBody
          ? request.arrayBuffer
          : Effect.provideService(request.arrayBuffer, HttpIncomingMessage.MaxBodySize, maxBody)
      })

    /** What a request is let through with: itself, or itself with its body read. */
    const admit = Effect.fnUntraced(
      function*(session: Session<A>, request: HttpServerRequest.HttpServerRequest) {
        const evidence = CrossOrigin.evidence(request)
        if (CrossOrigin.decide(policy, evidence) === "refused") return undefined
        if (isExempt(evidence)) return request
        const sent = request.headers[header]
        if (sent !== undefined) return (yield* isValid(session, request, sent)) ? request : undefined
        if (!isForm(request.headers["content-type"])) return undefined
        const body = yield* limited(request)
        const values = new URLSearchParams(new TextDecoder().decode(body)).getAll(field)
        return values.length === 1 && (yield* isValid(session, request, values[0]))
          ? BufferedRequest.make(request, body)
          : undefined
      }
    )

    return <E, R>(app: Effect.Effect<HttpServerResponse.HttpServerResponse, E, R | Csrf>) =>
      Effect.withFiber<
        HttpServerResponse.HttpServerResponse,
        E | SessionError,
        Exclude<R, Csrf> | Self | HttpServerRequest.HttpServerRequest
      >((fiber) => {
        const { context } = fiber
        const request = Context.getUnsafe(context, HttpServerRequest.HttpServerRequest)
        const session = Context.getUnsafe(context, tag)
        const inside = Effect.provideService(app, Csrf, csrfOf(session, request, context))
        if (isSafe(request.method)) return inside
        return Effect.matchEffect(admit(session, request), {
          onFailure: (error): Effect.Effect<HttpServerResponse.HttpServerResponse, SessionError> =>
            error._tag === "SessionError" ? Effect.fail(error) : Effect.succeed(unreadable(error)),
          onSuccess: (admitted) =>
            admitted === undefined
              ? Effect.andThen(Metric.update(refused, 1), Effect.sync(() => onRefused(request)))
              : admitted === request
              ? inside
              : Effect.provideService(inside, HttpServerRequest.HttpServerRequest, admitted)
        })
      })
  })

// A form that is too large, or that ended too early.
const unreadable = ({ reason }: HttpServerError): HttpServerResponse.HttpServerResponse =>
  HttpServerResponse.empty({
    status: reason._tag === "RequestParseError" && reason.reason === "BodyTooLarge" ? 413 : 400,
    headers: { "cache-control": "no-store", connection: "close" }
  })

/**
 * Protects every route of the application, and gives each its tokens.
 *
 * **Gotchas**
 *
 * Global middlewares nest in the order in which their layers are built: provide
 * `SessionMiddleware.layerGlobal` to this layer.
 *
 * @stability unstable
 * @category layers
 * @since 0.1.0
 */
export const layerGlobal = <Self, A>(tag: Tag<Self, A>, options?: Options): Layer.Layer<
  | HttpRouter.Request.From<"Requires", Csrf>
  | HttpRouter.Request.From<"GlobalRequires", Csrf>,
  never,
  | Crypto
  | SessionConfig
  | HttpRouter.HttpRouter
  | HttpRouter.Request.From<"GlobalRequires", Exclude<Self, HttpRouter.GlobalProvided>>
  | HttpRouter.Request.From<"GlobalError", SessionError>
> =>
  HttpRouter.middleware<{ provides: Csrf }>()<
    Types.unhandled | SessionError,
    Self | HttpServerRequest.HttpServerRequest,
    never,
    Crypto | SessionConfig,
    true
  >(
    Effect.map(make(tag, options), (middleware) =>
    (
      app: Effect.Effect<HttpServerResponse.HttpServerResponse, Types.unhandled, Csrf>
    ) => middleware<Types.unhandled, never>(app)),
    { global: true }
  )
