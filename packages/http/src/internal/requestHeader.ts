import type * as HttpServerRequest from "effect/http/HttpServerRequest"

/** As every platform's request keeps the map of its headers: when somebody has asked for it, or has given others. */
interface Request extends HttpServerRequest.HttpServerRequest {
  readonly headersOverride?: unknown
}

const isNode = (source: object): source is { readonly headers: Readonly<Record<string, unknown>> } =>
  "rawHeaders" in source && "headers" in source

const isWeb = (source: object): source is { readonly headers: Headers } =>
  "headers" in source && source.headers instanceof Headers

/**
 * One header of a request, by its name in lower case; the same as `request.headers` has.
 *
 * That map is made of all headers when somebody first looks at it, and a browser sends a dozen: it costs as much as reading
 * a session in memory. Where a request is as it came in, the header is read where the platform has it. A request that was
 * modified, inherits from another or has headers of its own says itself what they are. Of a `Proxy` only its target is known.
 */
export const of = (request: Request, name: string): string | undefined => {
  // A platform may have no such field, and an object that inherits from a request has none of its own.
  const isUntouched = request.headersOverride === undefined &&
    Object.hasOwn(request, "headersOverride") && !Object.hasOwn(request, "headers")
  const { source } = request
  if (!isUntouched) return request.headers[name]
  if (isNode(source)) {
    const value = source.headers[name]
    return value === undefined || typeof value === "string" ? value : request.headers[name]
  }
  return isWeb(source) ? source.headers.get(name) ?? undefined : request.headers[name]
}
