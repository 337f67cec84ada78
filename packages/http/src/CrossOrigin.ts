/**
 * Refuses writes that a browser was made to send by another site, from what the
 * browser itself says about them: `Sec-Fetch-Site`, and `Origin` where that is
 * missing.
 *
 * The first row that fits decides:
 *
 * | method | `Sec-Fetch-Site` | `Origin` | decision |
 * | --- | --- | --- | --- |
 * | `GET`, `HEAD`, `OPTIONS` | any | any | allowed |
 * | any other | `same-origin`, `none` | any | allowed |
 * | any other | `same-site`, `cross-site` | one of `origins` | allowed |
 * | any other | `same-site` | any other, or none | refused, allowed with `allowSameSite` |
 * | any other | `cross-site` | any other, or none | refused |
 * | any other | any other, empty and lists included | any | refused |
 * | any other | missing | one of `origins`; the request's own if there are none | allowed |
 * | any other | missing | any other, `null` and empty included | refused |
 * | any other | missing | missing | allowed, refused with `strict` |
 *
 * Methods and header values count as they are written: `get` is no safe method,
 * `Same-Origin` no known value. Headers that ask for another method, such as
 * `X-HTTP-Method-Override`, are not looked at.
 *
 * What it cannot see: a script of the application's own origin, a `GET` that
 * changes something, and a WebSocket handshake, which is a `GET`. Give
 * {@link decide} the method `CONNECT` for handshakes.
 *
 * @stability unstable
 * @since 0.1.0
 */
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as HttpRouter from "effect/http/HttpRouter"
import * as HttpServerRequest from "effect/http/HttpServerRequest"
import * as HttpServerResponse from "effect/http/HttpServerResponse"
import type * as Layer from "effect/Layer"
import * as Metric from "effect/Metric"
import * as Schema from "effect/Schema"

const TypeId = "~@effect-session/http/CrossOrigin"

/**
 * What decides about a request besides its headers.
 *
 * @stability unstable
 * @category options
 * @since 0.1.0
 */
export interface PolicyOptions {
  /**
   * Origins whose pages may send writes, as in `https://example.com` or
   * `http://localhost:3000`; none by default. Case and the scheme's own port do
   * not matter. A path, even `/`, is refused, and so are user names, wildcards,
   * dots at the ends of the host and letters outside ASCII.
   *
   * With origins given, scheme and port of every `Origin` are checked, so list
   * the application's own origin as well: browsers leave `Sec-Fetch-Site` out
   * over plain HTTP, and old ones always do.
   */
  readonly origins?: ReadonlyArray<string> | undefined
  /** Whether other hosts of the same site, such as sibling subdomains, may send writes. `false` by default. */
  readonly allowSameSite?: boolean | undefined
  /**
   * Whether writes without either header are refused. `false` by default: no
   * current browser sends them, so they come from programs, which carry no
   * cookie that an attacker could use.
   */
  readonly strict?: boolean | undefined
}

/**
 * Options of {@link layer}.
 *
 * @stability unstable
 * @category options
 * @since 0.1.0
 */
export interface Options extends PolicyOptions {
  /** The response to a refused request; 403 without details by default. */
  readonly onRefused?:
    | ((request: HttpServerRequest.HttpServerRequest) => HttpServerResponse.HttpServerResponse)
    | undefined
}

/**
 * Validated options, with origins as browsers write them. Only {@link make}
 * builds one; it never changes.
 *
 * @stability unstable
 * @category models
 * @since 0.1.0
 */
export interface Policy {
  readonly [TypeId]: typeof TypeId
  readonly origins: ReadonlyArray<string>
  readonly allowSameSite: boolean
  readonly strict: boolean
}

/**
 * What is looked at of a request. Absent headers are `undefined`; empty ones are
 * not.
 *
 * @stability unstable
 * @category models
 * @since 0.1.0
 */
export interface Evidence {
  readonly method: string
  readonly secFetchSite?: string | undefined
  readonly origin?: string | undefined
  /** Host and port the request was sent to. */
  readonly host?: string | undefined
  /** Scheme the browser used, if that is certain. */
  readonly scheme?: "http" | "https" | undefined
}

/**
 * The answer of {@link decide}.
 *
 * @stability unstable
 * @category models
 * @since 0.1.0
 */
export type Decision = "allowed" | "refused"

/**
 * Error of options that would not protect what is meant, with every problem
 * found. It shows no values.
 *
 * @stability unstable
 * @category errors
 * @since 0.1.0
 */
export class CrossOriginConfigError
  extends Schema.Error<CrossOriginConfigError>("@effect-session/http/CrossOrigin/CrossOriginConfigError")({
    _tag: Schema.tag("CrossOriginConfigError"),
    problems: Schema.Array(Schema.String)
  })
{
  override get message(): string {
    return `The cross-origin policy has ${this.problems.length} problem(s):\n- ${this.problems.join("\n- ")}`
  }
}

/**
 * Counts refused requests as `session.cross_origin_refused`, without tags.
 *
 * @stability unstable
 * @category metrics
 * @since 0.1.0
 */
export const refused: Metric.Counter<number> = Metric.counter("session.cross_origin_refused", {
  description: "Writes refused because another site caused them",
  incremental: true
})

const originShape = /^https?:\/\/(?:\[[0-9a-f:.]+\]|[0-9a-z_-]+(?:\.[0-9a-z_-]+)*)(?::[0-9]{1,5})?$/i

// Browsers write an origin in one way only. What they send is compared as text with this, and never parsed.
const canonical = (origin: string): string | undefined =>
  originShape.test(origin) && URL.canParse(origin) ? new URL(origin).origin : undefined

/**
 * Returns every problem of the options, each with what to do about it. An empty
 * array means that {@link make} succeeds.
 *
 * @stability unstable
 * @category constructors
 * @since 0.1.0
 */
export const validate = (options: PolicyOptions = {}): ReadonlyArray<string> => {
  const problems: Array<string> = []
  const { allowSameSite = false, origins = [], strict = false } = options
  for (const [field, value] of Object.entries({ allowSameSite, strict })) {
    if (typeof value !== "boolean") problems.push(`${field}: must be true or false`)
  }
  if (!Array.isArray(origins)) return [...problems, "origins: must be an array"]
  for (const [index, origin] of origins.entries()) {
    if (typeof origin === "string" && canonical(origin) !== undefined) continue
    problems.push(
      `origins[${index}]: must be http:// or https://, a host name or address in ASCII and perhaps a port, ` +
        "without anything after it, not even /; write other letters as browsers send them (xn--), and list each " +
        "subdomain"
    )
  }
  return problems
}

/**
 * Builds a policy from options. Throws a {@link CrossOriginConfigError} that
 * lists every problem.
 *
 * @stability unstable
 * @category constructors
 * @since 0.1.0
 */
export const make = (options: PolicyOptions = {}): Policy => {
  const problems = validate(options)
  if (problems.length > 0) throw new CrossOriginConfigError({ problems })
  const origins = new Set(options.origins?.map(canonical).filter((origin) => origin !== undefined))
  return Object.freeze({
    [TypeId]: TypeId,
    origins: Object.freeze([...origins]),
    allowSameSite: options.allowSameSite ?? false,
    strict: options.strict ?? false
  })
}

const isSafe = (method: string): boolean => method === "GET" || method === "HEAD" || method === "OPTIONS"

// With the scheme unknown, the page's own is as good as any: the host is what an attacker cannot choose.
const isOwn = (origin: string, { host, scheme }: Evidence): boolean =>
  host !== undefined && origin === canonical(`${scheme ?? (origin.startsWith("https:") ? "https" : "http")}://${host}`)

/**
 * Decides about a request by the table at the top of this module.
 *
 * **Details**
 *
 * `Origin` must be spelled as browsers spell it: other case, a port that the
 * scheme implies, a path, a user name, a dot at the end or a list never match.
 * Without `origins` the request's own origin is its `host`, port included, under
 * its `scheme`. A page of another site can choose neither.
 *
 * **Gotchas**
 *
 * While the scheme is unknown, `http://example.com` may write to
 * `https://example.com` through a browser that sends no `Sec-Fetch-Site`: who
 * controls the network controls the first. Give `origins` to close that.
 *
 * **Example** (A form on another site)
 *
 * ```ts
 * import * as CrossOrigin from "@effect-session/http/CrossOrigin"
 *
 * const policy = CrossOrigin.make({ origins: ["https://example.com"] })
 *
 * const request = { method: "POST", secFetchSite: "cross-site", origin: "https://attacker.example" }
 * console.log(CrossOrigin.decide(policy, request)) // => refused
 * ```
 *
 * @stability unstable
 * @category deciding
 * @since 0.1.0
 */
export const decide = (policy: Policy, request: Evidence): Decision => {
  if (isSafe(request.method)) return "allowed"
  const { origin, secFetchSite } = request
  switch (secFetchSite) {
    case "same-origin":
    case "none":
      return "allowed"
    case "same-site":
      return policy.allowSameSite || isListed(policy, origin) ? "allowed" : "refused"
    case "cross-site":
      return isListed(policy, origin) ? "allowed" : "refused"
    case undefined:
      if (origin === undefined) return policy.strict ? "refused" : "allowed"
      return (policy.origins.length > 0 ? isListed(policy, origin) : isOwn(origin, request)) ? "allowed" : "refused"
    default:
      return "refused"
  }
}

const isListed = (policy: Policy, origin: string | undefined): boolean =>
  origin !== undefined && policy.origins.includes(origin)

/**
 * Takes the evidence from a request.
 *
 * **Details**
 *
 * The scheme is certain when `HttpMiddleware.xForwardedHeaders` took it from a
 * trusted proxy, or the connection is encrypted. Plain HTTP may come from a proxy
 * that ends TLS, so it leaves the scheme open. The host is the `Host` header;
 * requests of the Fetch API often have none, and then it is that of their URL.
 *
 * @stability unstable
 * @category deciding
 * @since 0.1.0
 */
export const evidence = (request: HttpServerRequest.HttpServerRequest): Evidence => {
  const { headers, method, originalUrl, protocol } = request
  return {
    method,
    secFetchSite: headers["sec-fetch-site"],
    origin: headers["origin"],
    host: headers["host"] ?? /^https?:\/\/([^/?#]+)/i.exec(originalUrl)?.[1],
    scheme: protocol ?? (/^https:/i.test(originalUrl) ? "https" : undefined)
  }
}

const forbidden = HttpServerResponse.text("Forbidden", { status: 403, headers: { "cache-control": "no-store" } })

/**
 * Guards every route of the application, and paths without one.
 *
 * **Details**
 *
 * A refused request reaches no route and no middleware inside this one. It is
 * counted by {@link refused}. Throws a {@link CrossOriginConfigError} at once for
 * options that {@link make} refuses.
 *
 * **Gotchas**
 *
 * Global middlewares nest in the order in which their layers are built. Behind a
 * proxy, provide `HttpMiddleware.xForwardedHeaders` to this layer, so that host
 * and scheme are the ones the browser saw.
 *
 * Sign-in flows that post from another origin, as with `response_mode=form_post`,
 * need that origin in `origins`.
 *
 * **Example** (An application and its front end on another host)
 *
 * ```ts
 * import * as CrossOrigin from "@effect-session/http/CrossOrigin"
 * import * as HttpRouter from "effect/http/HttpRouter"
 * import * as HttpServerResponse from "effect/http/HttpServerResponse"
 * import * as Layer from "effect/Layer"
 *
 * const App = HttpRouter.add("POST", "/notes", HttpServerResponse.empty()).pipe(
 *   Layer.provide(CrossOrigin.layer({ origins: ["https://api.example.com", "https://app.example.com"] }))
 * )
 *
 * const { dispose, handler } = HttpRouter.toWebHandler(App, { disableLogger: true })
 * const post = (headers: Record<string, string>) =>
 *   handler(new Request("https://api.example.com/notes", { method: "POST", headers }))
 *
 * const ours = await post({ "sec-fetch-site": "same-site", "origin": "https://app.example.com" })
 * const theirs = await post({ "sec-fetch-site": "cross-site", "origin": "https://attacker.example" })
 * await dispose()
 *
 * console.log(ours.status, theirs.status) // => 204 403
 * ```
 *
 * @stability unstable
 * @category layers
 * @since 0.1.0
 */
export const layer = (options: Options = {}): Layer.Layer<never, never, HttpRouter.HttpRouter> => {
  const policy = make(options)
  const onRefused = options.onRefused ?? (() => forbidden)
  const refuse = (request: HttpServerRequest.HttpServerRequest) =>
    Effect.andThen(Metric.update(refused, 1), Effect.sync(() => onRefused(request)))
  return HttpRouter.middleware(
    (app) =>
      Effect.withFiber((fiber) => {
        const request = Context.getUnsafe(fiber.context, HttpServerRequest.HttpServerRequest)
        // The method first: safe requests do not even have their headers read.
        return isSafe(request.method) || decide(policy, evidence(request)) === "allowed" ? app : refuse(request)
      }),
    { global: true }
  )
}
