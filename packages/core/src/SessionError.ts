/**
 * What can go wrong with a session, as one error with a `reason`.
 *
 * A session that is not there is not an error: see `status`. No message, cause
 * or field carries an id, a key or data.
 *
 * @stability unstable
 * @since 0.1.0
 */
import * as Predicate from "effect/Predicate"
import * as Schema from "effect/Schema"

/**
 * The store did not serve: down, too slow, or refusing. Nothing is known about
 * the session, and nothing was decided about it.
 *
 * @stability unstable
 * @category errors
 * @since 0.1.0
 */
export class Unavailable extends Schema.Error<Unavailable>("@effect-session/core/SessionError/Unavailable")({
  _tag: Schema.tag("Unavailable"),
  /** When a retry may help, in milliseconds. */
  retryAfter: Schema.optional(Schema.Finite),
  /** Whether a write took effect: surely not, or nobody knows, as when the answer was lost. */
  applied: Schema.optional(Schema.Literals(["no", "unknown"])),
  cause: Schema.optional(Schema.Defect())
}) {
  override get message(): string {
    return "The session store is unavailable; retry later"
  }
}

/**
 * The session changed while this request held it, and the change cannot be
 * replayed: it was set as a whole, or lost the race too often. Read it again and
 * use `update`.
 *
 * @stability unstable
 * @category errors
 * @since 0.1.0
 */
export class Conflict extends Schema.Error<Conflict>("@effect-session/core/SessionError/Conflict")({
  _tag: Schema.tag("Conflict")
}) {
  override get message(): string {
    return "The session was changed by another request at the same time"
  }
}

/**
 * The session ended, or was renewed away, while this request held it. What the
 * request wanted to write is discarded: an ended session never comes back.
 *
 * @stability unstable
 * @category errors
 * @since 0.1.0
 */
export class Gone extends Schema.Error<Gone>("@effect-session/core/SessionError/Gone")({
  _tag: Schema.tag("Gone")
}) {
  override get message(): string {
    return "The session ended while this request was using it"
  }
}

/**
 * The session's data is larger than the configured limit.
 *
 * @stability unstable
 * @category errors
 * @since 0.1.0
 */
export class TooLarge extends Schema.Error<TooLarge>("@effect-session/core/SessionError/TooLarge")({
  _tag: Schema.tag("TooLarge"),
  /** Octets. */
  actual: Schema.Finite,
  /** Octets. */
  maximum: Schema.Finite
}) {
  override get message(): string {
    return `The session data has ${this.actual} octets; at most ${this.maximum} are allowed`
  }
}

/**
 * Stored data that cannot be decoded, with `onInvalid` set to `fail`; a write over
 * data that other nodes can read; or data of this request that its own schema
 * refuses. The stored session is left as it is.
 *
 * @stability unstable
 * @category errors
 * @since 0.1.0
 */
export class Invalid extends Schema.Error<Invalid>("@effect-session/core/SessionError/Invalid")({
  _tag: Schema.tag("Invalid"),
  /**
   * `syntax`, `shape`, `newer` (written by a later version), `migration` and
   * `sealed` (does not open) for stored data; `encoding` for data of this request.
   */
  problem: Schema.Literals(["syntax", "shape", "newer", "migration", "sealed", "encoding"])
}) {
  override get message(): string {
    return this.problem === "encoding"
      ? "The session data does not fit its schema and was not stored"
      : `The stored session data cannot be decoded (${this.problem})`
  }
}

/**
 * The session is bound to another client than the one that presented it, with
 * `onInvalid` set to `fail`. The session itself goes on.
 *
 * @stability unstable
 * @category errors
 * @since 0.1.0
 */
export class BindingMismatch
  extends Schema.Error<BindingMismatch>("@effect-session/core/SessionError/BindingMismatch")({
    _tag: Schema.tag("BindingMismatch")
  })
{
  override get message(): string {
    return "The session is bound to another client; sign in again"
  }
}

/**
 * The subject has as many sessions as it may have, and the limit refuses more.
 *
 * @stability unstable
 * @category errors
 * @since 0.1.0
 */
export class LimitReached extends Schema.Error<LimitReached>("@effect-session/core/SessionError/LimitReached")({
  _tag: Schema.tag("LimitReached"),
  maximum: Schema.Finite
}) {
  override get message(): string {
    return `All ${this.maximum} sessions of this account are in use; end one of them first`
  }
}

/**
 * The operation needs a signed-in session.
 *
 * @stability unstable
 * @category errors
 * @since 0.1.0
 */
export class NotAuthenticated
  extends Schema.Error<NotAuthenticated>("@effect-session/core/SessionError/NotAuthenticated")({
    _tag: Schema.tag("NotAuthenticated")
  })
{
  override get message(): string {
    return "Nobody is signed in to this session"
  }
}

/**
 * The request is over and its session was committed: what is written now would
 * be lost. Write before the response is returned, or `commit` first.
 *
 * @stability unstable
 * @category errors
 * @since 0.1.0
 */
export class Finished extends Schema.Error<Finished>("@effect-session/core/SessionError/Finished")({
  _tag: Schema.tag("Finished")
}) {
  override get message(): string {
    return "The session was used after its request had ended; nothing was stored"
  }
}

/**
 * The request may not write to its session: its route said so. Nothing was
 * stored.
 *
 * @stability unstable
 * @category errors
 * @since 0.1.0
 */
export class ReadOnly extends Schema.Error<ReadOnly>("@effect-session/core/SessionError/ReadOnly")({
  _tag: Schema.tag("ReadOnly")
}) {
  override get message(): string {
    return "The route may not write to its session; nothing was stored"
  }
}

/**
 * The client would have to take a new token, and no response can bring it any
 * more. Nothing was stored. Sign in, renew and begin sessions in a request.
 *
 * @stability unstable
 * @category errors
 * @since 0.1.0
 */
export class Undeliverable extends Schema.Error<Undeliverable>("@effect-session/core/SessionError/Undeliverable")({
  _tag: Schema.tag("Undeliverable")
}) {
  override get message(): string {
    return "The session would need a new token, which cannot reach the client now; nothing was stored"
  }
}

/**
 * Union of the reasons carried by `SessionError`.
 *
 * @stability unstable
 * @category errors
 * @since 0.1.0
 */
export type SessionErrorReason =
  | Unavailable
  | Conflict
  | Gone
  | TooLarge
  | Invalid
  | BindingMismatch
  | LimitReached
  | NotAuthenticated
  | Finished
  | ReadOnly
  | Undeliverable

/**
 * Error of a session, wrapping a concrete failure `reason`.
 *
 * **Example** (Handling one reason)
 *
 * ```ts
 * import { SessionError } from "@effect-session/core"
 * import { Effect } from "effect"
 *
 * const save = Effect.fail(new SessionError.SessionError({ reason: new SessionError.Conflict() }))
 *
 * const handled = save.pipe(
 *   Effect.catchReason("SessionError", "Conflict", (reason) => Effect.succeed(reason.message))
 * )
 * console.log(await Effect.runPromise(handled)) // => The session was changed by another request at the same time
 * ```
 *
 * @stability unstable
 * @category errors
 * @since 0.1.0
 */
export class SessionError extends Schema.Error<SessionError>("@effect-session/core/SessionError/SessionError")({
  _tag: Schema.tag("SessionError"),
  reason: Schema.Union([
    Unavailable,
    Conflict,
    Gone,
    TooLarge,
    Invalid,
    BindingMismatch,
    LimitReached,
    NotAuthenticated,
    Finished,
    ReadOnly,
    Undeliverable
  ])
}) {
  override get message(): string {
    return this.reason.message
  }

  override get cause(): unknown {
    return this.reason._tag === "Unavailable" ? this.reason.cause : undefined
  }
}

/**
 * Tells whether an error is one of a session.
 *
 * @stability unstable
 * @category guards
 * @since 0.1.0
 */
export const isSessionError = (error: unknown): error is SessionError => Predicate.isTagged(error, "SessionError")
