/**
 * Messages that one request leaves for the next one of the same session, and
 * that are delivered exactly once.
 *
 * Reading is what delivers: `get` and `all` take the waiting messages out of the
 * stored session in one compare-and-set before they return them. Of two tabs
 * that read at the same time, one gets the message. If the request then fails,
 * its messages are put back. Where nothing waits, nothing is written.
 *
 * @stability unstable
 * @since 0.1.0
 */
import type * as Effect from "effect/Effect"
import type { FlashMessage } from "./SessionData.ts"
import type { SessionError } from "./SessionError.ts"

/**
 * The usual kinds of messages. Any other text is a kind as well.
 *
 * @stability unstable
 * @category models
 * @since 0.1.0
 */
export type FlashKind = "notice" | "alert" | "error" | "success" | "warning" | "info" | (string & {})

/**
 * The flash messages of a session.
 *
 * @stability unstable
 * @category models
 * @since 0.1.0
 */
export interface Flash<R = never> {
  /** Queues a message for the next request that reads. */
  readonly add: (kind: FlashKind, message: string) => Effect.Effect<void, SessionError, R>
  readonly notice: (message: string) => Effect.Effect<void, SessionError, R>
  readonly alert: (message: string) => Effect.Effect<void, SessionError, R>
  readonly error: (message: string) => Effect.Effect<void, SessionError, R>
  readonly success: (message: string) => Effect.Effect<void, SessionError, R>
  readonly warning: (message: string) => Effect.Effect<void, SessionError, R>
  readonly info: (message: string) => Effect.Effect<void, SessionError, R>
  /** Adds a message for this request only. It is never stored. */
  readonly now: (kind: FlashKind, message: string) => Effect.Effect<void, never, R>
  /** Delivers the messages of one kind: those that waited, and those of `now`. */
  readonly get: (kind: FlashKind) => Effect.Effect<ReadonlyArray<string>, SessionError, R>
  /** Delivers every message, in the order they were queued. */
  readonly all: Effect.Effect<ReadonlyArray<FlashMessage>, SessionError, R>
  /** The messages that wait, without delivering them. */
  readonly peek: Effect.Effect<ReadonlyArray<FlashMessage>, SessionError, R>
  /** Queues the delivered messages of one kind again, for the next request. */
  readonly keep: (kind: FlashKind) => Effect.Effect<void, SessionError, R>
  /** Queues every delivered message again, for the next request. */
  readonly keepAll: Effect.Effect<void, SessionError, R>
  /** Drops the queued messages of one kind, and hides the delivered ones from this request. */
  readonly discard: (kind: FlashKind) => Effect.Effect<void, SessionError, R>
  /** Drops every queued message, and hides the delivered ones from this request. */
  readonly discardAll: Effect.Effect<void, SessionError, R>
  /** Drops every message there is, also those of `now`. */
  readonly clear: Effect.Effect<void, SessionError, R>
}
