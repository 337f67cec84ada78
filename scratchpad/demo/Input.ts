/** What clients send: checked in size, syntax and shape before a route sees it. */
import * as Data from "effect/Data"
import * as Effect from "effect/Effect"
import * as HttpRouter from "effect/http/HttpRouter"
import * as HttpServerRequest from "effect/http/HttpServerRequest"
import * as HttpServerRespondable from "effect/http/HttpServerRespondable"
import * as HttpServerResponse from "effect/http/HttpServerResponse"
import * as Schema from "effect/Schema"
import * as Stream from "effect/Stream"

/** A request that is answered with an error and its reason. */
export class Problem extends Data.TaggedError("Problem")<{ readonly status: number; readonly reason: string }>
  implements HttpServerRespondable.Respondable
{
  [HttpServerRespondable.symbol]() {
    return Effect.succeed(HttpServerResponse.jsonUnsafe({ error: this.reason }, { status: this.status }))
  }
}

export const badRequest = (reason: string): Problem => new Problem({ status: 400, reason })

const largestBody = 64 * 1024
const longestDelay = 10_000
const deepestValue = 32

const tooLarge = new Problem({ status: 413, reason: "The body is larger than 64 KiB" })

const bodyText = Effect.gen(function*() {
  const request = yield* HttpServerRequest.HttpServerRequest
  const type = request.headers["content-type"]?.split(";")[0].trim().toLowerCase()
  if (type !== "application/json") return yield* badRequest("The content type must be application/json")
  if (Number(request.headers["content-length"]) > largestBody) return yield* tooLarge
  const chunks: Array<Uint8Array> = []
  let size = 0
  yield* Stream.runForEach(
    Stream.mapError(request.stream, () => badRequest("The body could not be read")),
    (chunk) => {
      size += chunk.length
      chunks.push(chunk)
      return size > largestBody ? Effect.fail(tooLarge) : Effect.void
    }
  )
  const bytes = new Uint8Array(size)
  let offset = 0
  for (const chunk of chunks) {
    bytes.set(chunk, offset)
    offset += chunk.length
  }
  return yield* Effect.try({
    try: () => new TextDecoder("utf-8", { fatal: true }).decode(bytes),
    catch: () => badRequest("The body is not UTF-8")
  })
})

// What comes after this is recursive; a megabyte of brackets must not reach it.
const isShallow = (json: unknown): boolean => {
  let level = [json]
  for (let depth = 0; level.length > 0; depth++) {
    if (depth > deepestValue) return false
    level = level.flatMap((value) => typeof value === "object" && value !== null ? Object.values(value) : [])
  }
  return true
}

/** Reads a JSON body of one shape. `like` says in words what is expected. */
export const body = <A, I>(
  schema: Schema.Codec<A, I>,
  like: string
): Effect.Effect<A, Problem, HttpServerRequest.HttpServerRequest> => {
  const decode = Schema.decodeUnknownEffect(schema)
  return Effect.gen(function*() {
    const text = yield* bodyText
    const json: unknown = yield* Effect.try({
      try: () => JSON.parse(text),
      catch: () => badRequest("The body is not JSON")
    })
    if (!isShallow(json)) return yield* badRequest(`The body is nested more than ${deepestValue} levels deep`)
    return yield* Effect.mapError(decode(json), () => badRequest(`The body must be like ${like}`))
  })
}

/** A number of milliseconds from the query, zero if absent, at most ten seconds. */
export const milliseconds = (name: string): Effect.Effect<number, Problem, HttpServerRequest.ParsedSearchParams> =>
  Effect.flatMap(HttpServerRequest.ParsedSearchParams, (query) => {
    const value = query[name] ?? "0"
    return typeof value === "string" && /^\d+$/.test(value)
      ? Effect.succeed(Math.min(Number(value), longestDelay))
      : Effect.fail(badRequest(`"${name}" must be a number of milliseconds`))
  })

/** A parameter of the path. */
export const pathParameter = (name: string): Effect.Effect<string, never, HttpRouter.RouteContext> =>
  Effect.map(HttpRouter.params, (params) => params[name] ?? "")
