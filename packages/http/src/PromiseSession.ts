/**
 * The session of a request for code that awaits: the same operations as those of
 * `Session`, each as a method that returns a promise.
 *
 * `SessionNode` and `SessionFetch` give one to each request. Operations that
 * write record what shall happen; the end of the request carries it out, before
 * its first byte leaves. A rejected promise holds a `SessionError`.
 *
 * @stability unstable
 * @since 0.1.0
 */
import type { FlashKind } from "@effect-session/core/Flash"
import type { OutagePolicy } from "@effect-session/core/OutagePolicy"
import type { Info, LifetimeOptions, Status } from "@effect-session/core/Session"
import type { FlashMessage } from "@effect-session/core/SessionData"
import type { SessionError } from "@effect-session/core/SessionError"
import type { Access } from "@effect-session/core/SessionManager"
import type { Served } from "@effect-session/core/SessionStore"
import type * as Duration from "effect/Duration"
import type * as SessionCookie from "./SessionCookie.ts"

/**
 * The session of one request, for code that only reads.
 *
 * @stability unstable
 * @category models
 * @since 0.1.0
 */
export interface ReadonlyPromiseSession<out A> {
  /** The data; the initial data where there is no session. Never writes. */
  readonly get: () => Promise<A>
  /** What the session turned out to be. Never rejected. */
  readonly status: () => Promise<Status>
  /** Whether nothing was stored of this session before this request. */
  readonly isNew: () => Promise<boolean>
  /** Who is signed in. */
  readonly subject: () => Promise<string | undefined>
  /** Times and subject of the stored session, `undefined` where there is none. */
  readonly info: () => Promise<Info | undefined>
  /** When the session ends without further activity, in UTC milliseconds. */
  readonly expiresAt: () => Promise<number | undefined>
  /** Whether a step-up is in force. */
  readonly isElevated: () => Promise<boolean>
  /** Who has answered in the place of the store, in an outage; `undefined` where it was the store. */
  readonly served: () => Promise<Served | undefined>
  /** Opaque name of the stored session, safe to show, log and send. */
  readonly handle: () => Promise<string | undefined>
}

/**
 * The session of one request.
 *
 * **Gotchas**
 *
 * What is written once the first byte of the response has left is refused: the
 * promise is rejected with the reason `Finished`. Operations that are under way
 * when the response begins are waited for. If one of them fails, or one has failed
 * before that nobody has attached to, the request has failed.
 *
 * @stability unstable
 * @category models
 * @since 0.1.0
 */
export interface PromiseSession<in out A> extends ReadonlyPromiseSession<A> {
  /** Replaces the data. Fails to commit if another request changes the session meanwhile: prefer `update`. */
  readonly set: (data: A) => Promise<void>
  /**
   * Changes the data by a function and returns the result. The function must be
   * pure: it runs again on the fresh value when another request was faster.
   */
  readonly update: (f: (data: A) => A) => Promise<A>
  /** Like `update`, and returns a value beside the new data. */
  readonly modify: <B>(f: (data: A) => readonly [B, A]) => Promise<B>
  /** Replaces the data by the initial data, whatever it is by then. */
  readonly reset: () => Promise<void>
  /** Ends the session. What is written afterwards goes into a new one. */
  readonly destroy: () => Promise<void>
  /** Replaces the id and keeps the data. */
  readonly renew: () => Promise<void>
  /**
   * Signs a subject in, under a new id. Of the anonymous data only `keepOnLogin`
   * survives; `f` gets the data until now as well, `undefined` where somebody else
   * was signed in.
   */
  readonly login: (subject: string, f?: (data: A, before: A | undefined) => A) => Promise<A>
  /** Raises a signed-in session for a while, under a new id. */
  readonly elevate: (duration: Duration.Input) => Promise<void>
  /** Records that the subject has proved who it is again, under a new id. */
  readonly reauthenticate: () => Promise<void>
  /** Records activity now, without waiting for the touch interval. */
  readonly touch: () => Promise<void>
  /** Gives this session lifetimes of its own. */
  readonly setLifetime: (options: LifetimeOptions) => Promise<void>
  /** Messages for the next request. */
  readonly flash: PromiseFlash
  /** Carries out what was recorded, now. A later failure of the request does not undo it. */
  readonly commit: () => Promise<void>
}

/**
 * The flash messages of a session.
 *
 * @stability unstable
 * @category models
 * @since 0.1.0
 */
export interface PromiseFlash {
  /** Queues a message for the next request that reads. */
  readonly add: (kind: FlashKind, message: string) => Promise<void>
  /** Adds a message for this request only. It is never stored. */
  readonly now: (kind: FlashKind, message: string) => Promise<void>
  /** Delivers the messages of one kind: those that waited, and those of `now`. */
  readonly get: (kind: FlashKind) => Promise<ReadonlyArray<string>>
  /** Delivers every message, in the order they were queued. */
  readonly all: () => Promise<ReadonlyArray<FlashMessage>>
  /** The messages that wait, without delivering them. */
  readonly peek: () => Promise<ReadonlyArray<FlashMessage>>
  /** Queues the delivered messages of one kind, or every one, again. */
  readonly keep: (kind?: FlashKind) => Promise<void>
  /** Drops the queued messages of one kind, or every one, and hides the delivered ones from this request. */
  readonly discard: (kind?: FlashKind) => Promise<void>
  /** Drops every message there is, also those of `now`. */
  readonly clear: () => Promise<void>
}

/**
 * A response that stands for a session error.
 *
 * @stability unstable
 * @category models
 * @since 0.1.0
 */
export interface ErrorResponse {
  readonly status: number
  readonly headers?: Readonly<Record<string, string>> | undefined
  /** Empty by default. */
  readonly body?: string | undefined
}

/**
 * Options of `SessionNode` and `SessionFetch`.
 *
 * @stability unstable
 * @category options
 * @since 0.1.0
 */
export interface Options<in Request> {
  /**
   * Attributes of the cookie. By default `__Host-session`, `Secure`, `HttpOnly`,
   * `SameSite=Lax`; under a preset without a secure transport the same without
   * `Secure`, named `session`.
   */
  readonly cookie?: SessionCookie.Options | undefined
  /**
   * Whether a session remembers the `User-Agent` (256 characters) and the address
   * it was created or signed in from, for lists of devices. `false` by default.
   */
  readonly client?: boolean | undefined
  /**
   * The address of the client. By default that of the socket, where there is one:
   * behind a proxy the proxy's. Believe no header that a client can send.
   */
  readonly address?: ((request: Request) => string | undefined) | undefined
  /** The response to a session error; that of `SessionMiddleware.toResponse` by default. */
  readonly onError?: ((error: SessionError) => ErrorResponse) | undefined
}

/**
 * What a route says about its session.
 *
 * **Details**
 *
 * It holds for the rest of the request, also for what other code does with the
 * session; what is said last counts, each option by itself. What was read before
 * is read already: a middleware that reads the session of every request comes after
 * the one that says this.
 *
 * @stability unstable
 * @category options
 * @since 0.1.0
 */
export interface RouteOptions {
  /**
   * What the request may do to its session, `full` by default: see `SessionRoute`.
   * With `read` it only reads, and there is neither a write nor a cookie, whoever
   * tries. With `none` nobody looks at its cookie.
   */
  readonly access?: Access | undefined
  /**
   * Whether the request happens by itself, such as a poll or a beacon: it does not
   * keep the session alive. `false` by default.
   */
  readonly passive?: boolean | undefined
  /** What it gets while the store does not serve; by default what the store's own policy says. */
  readonly outage?: OutagePolicy | undefined
}

/**
 * What a route says that does not write to its session.
 *
 * @stability unstable
 * @category options
 * @since 0.1.0
 */
export interface ReadonlyRouteOptions extends RouteOptions {
  readonly access: "read" | "none"
}

/**
 * What a route says that may write to its session.
 *
 * @stability unstable
 * @category options
 * @since 0.1.0
 */
export interface WritableRouteOptions extends RouteOptions {
  readonly access?: "full" | "data" | undefined
}

/**
 * Finds the session of a request, which may say what kind of request it is.
 *
 * @stability unstable
 * @category models
 * @since 0.1.0
 */
export interface SessionOf<in Request, in out A> {
  (request: Request, options: ReadonlyRouteOptions): ReadonlyPromiseSession<A>
  (request: Request, options?: WritableRouteOptions): PromiseSession<A>
}
