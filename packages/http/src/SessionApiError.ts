/**
 * Errors of endpoints that need a session, as schemas with a status.
 *
 * `Unauthorized` (401) and `Forbidden` (403) come from the middlewares of
 * `SessionApi`. A `SessionError` that a handler leaves unhandled, or that a commit
 * fails with, is sent with the status of its reason; its cause is not.
 *
 * @stability unstable
 * @since 0.1.0
 */
import * as SessionError from "@effect-session/core/SessionError"
import * as HttpApiSchema from "effect/http-api/HttpApiSchema"
import * as HttpServerResponse from "effect/http/HttpServerResponse"
import * as Schema from "effect/Schema"
import * as SessionMiddleware from "./SessionMiddleware.ts"

/**
 * Nobody is signed in. Status 401.
 *
 * @stability unstable
 * @category errors
 * @since 0.1.0
 */
export class Unauthorized extends Schema.Error<Unauthorized>("@effect-session/http/SessionApiError/Unauthorized")({
  _tag: Schema.tag("Unauthorized")
}, { httpApiStatus: 401 }) {
  override get message(): string {
    return "Sign in first"
  }
}

/**
 * Somebody is signed in, and that is not enough. Status 403.
 *
 * **Details**
 *
 * `needs` says what would be: to prove again who it is, a second factor, or a
 * permission.
 *
 * @stability unstable
 * @category errors
 * @since 0.1.0
 */
export class Forbidden extends Schema.Error<Forbidden>("@effect-session/http/SessionApiError/Forbidden")({
  _tag: Schema.tag("Forbidden"),
  needs: Schema.Literals(["reauthentication", "secondFactor", "permission"])
}, { httpApiStatus: 403 }) {
  override get message(): string {
    return messages[this.needs]
  }
}

const messages = {
  reauthentication: "Sign in again to do this",
  secondFactor: "Confirm this with a second factor",
  permission: "This is not allowed"
}

type Reason = SessionError.SessionErrorReason
type Wire = { readonly _tag: "SessionError"; readonly reason: WireReason }
type WireReason = {
  readonly _tag: Reason["_tag"]
  readonly retryAfter?: number
  readonly maximum?: number
  readonly actual?: number
}

// What a client may know of a reason: nothing of its cause.
const toWire = (error: SessionError.SessionError): Wire => {
  const { reason } = error
  switch (reason._tag) {
    case "Invalid":
      // To its client, a session that only another node can read is not available.
      return {
        _tag: "SessionError",
        reason: { _tag: SessionMiddleware.toResponse(error).status === 503 ? "Unavailable" : reason._tag }
      }
    case "Unavailable":
      return {
        _tag: "SessionError",
        reason: reason.retryAfter === undefined
          ? { _tag: reason._tag }
          : { _tag: reason._tag, retryAfter: reason.retryAfter }
      }
    case "TooLarge":
      return { _tag: "SessionError", reason: { _tag: reason._tag, actual: reason.actual, maximum: reason.maximum } }
    case "LimitReached":
      return { _tag: "SessionError", reason: { _tag: reason._tag, maximum: reason.maximum } }
    default:
      return { _tag: "SessionError", reason: { _tag: reason._tag } }
  }
}

const reasonOf = ({ _tag, actual = 0, maximum = 0, retryAfter }: WireReason): Reason => {
  switch (_tag) {
    case "Unavailable":
      return new SessionError.Unavailable({ retryAfter })
    case "Conflict":
      return new SessionError.Conflict()
    case "Gone":
      return new SessionError.Gone()
    case "TooLarge":
      return new SessionError.TooLarge({ actual, maximum })
    case "LimitReached":
      return new SessionError.LimitReached({ maximum })
    case "NotAuthenticated":
      return new SessionError.NotAuthenticated()
    case "BindingMismatch":
      return new SessionError.BindingMismatch()
    case "Finished":
      return new SessionError.Finished()
    case "ReadOnly":
      return new SessionError.ReadOnly()
    case "Undeliverable":
      return new SessionError.Undeliverable()
    case "Invalid":
      // Which problem it was stays on the server.
      return new SessionError.Invalid({ problem: "shape" })
  }
}

/**
 * Schema of the session errors with one status.
 *
 * @stability unstable
 * @category schemas
 * @since 0.1.0
 */
export interface Failure extends
  Schema.Codec<SessionError.SessionError, {
    readonly body: Wire
    readonly headers: { readonly "cache-control"?: string; readonly "retry-after"?: string }
  }>
{}

const wireOf = (tags: ReadonlyArray<Reason["_tag"]>) =>
  Schema.Struct({
    _tag: Schema.Literal("SessionError"),
    reason: Schema.Struct({
      _tag: Schema.Literals(tags),
      retryAfter: Schema.optionalKey(Schema.Finite),
      maximum: Schema.optionalKey(Schema.Finite),
      actual: Schema.optionalKey(Schema.Finite)
    })
  })

const failure = (identifier: string, status: number, tags: ReadonlyArray<Reason["_tag"]>): Failure =>
  Schema.declare((value): value is SessionError.SessionError =>
    value instanceof SessionError.SessionError && SessionMiddleware.toResponse(value).status === status
  ).pipe(HttpApiSchema.encodeToWithHeaders({
    body: wireOf(tags).annotate({ identifier, httpApiStatus: status }),
    headers: { "cache-control": Schema.optionalKey(Schema.String), "retry-after": Schema.optionalKey(Schema.String) }
  }, {
    decode: ({ body }) => new SessionError.SessionError({ reason: reasonOf(body.reason) }),
    encode: (error) => {
      const { headers } = SessionMiddleware.toResponse(error)
      const retryAfter = headers["retry-after"]
      return {
        body: toWire(error),
        headers: {
          "cache-control": "no-store",
          ...(retryAfter === undefined ? {} : { "retry-after": retryAfter })
        }
      }
    }
  }))

/**
 * Schemas of the errors that each middleware of `SessionApi` declares: a handler
 * behind one may fail with `SessionError`.
 *
 * **Details**
 *
 * Statuses are those of `SessionMiddleware.toResponse`.
 *
 * @stability unstable
 * @category schemas
 * @since 0.1.0
 */
export const failures: readonly [Failure, Failure, Failure, Failure, Failure, Failure] = [
  failure("SessionUnauthorized", 401, ["NotAuthenticated", "BindingMismatch"]),
  failure("SessionLimitReached", 403, ["LimitReached"]),
  failure("SessionConflict", 409, ["Conflict", "Gone"]),
  failure("SessionTooLarge", 413, ["TooLarge"]),
  failure("SessionFailed", 500, ["Invalid", "Finished", "ReadOnly", "Undeliverable"]),
  failure("SessionUnavailable", 503, ["Unavailable"])
]

/**
 * Turns a session error into the response that a generated client decodes to the
 * same error.
 *
 * **When to use**
 *
 * As `onError` of a `SessionMiddleware` that stands around an `HttpApi`. The
 * layers of `SessionApi` use it by themselves.
 *
 * **Details**
 *
 * Status and headers are those of `SessionMiddleware.toResponse`.
 *
 * @stability unstable
 * @category converting
 * @since 0.1.0
 */
export const toResponse = (error: SessionError.SessionError): HttpServerResponse.HttpServerResponse => {
  const { headers, status } = SessionMiddleware.toResponse(error)
  return HttpServerResponse.jsonUnsafe(toWire(error), { status, headers })
}
