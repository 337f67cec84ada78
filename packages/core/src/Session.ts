/**
 * Typed sessions: define one with {@link Service}, use its accessors in
 * handlers.
 *
 * A session is a service that lives as long as one request. Nothing is read
 * before it is needed, and nothing is stored before something is written.
 * Changes are recorded as functions on what was read and committed once, when
 * the request is over and before its response leaves: if another request was
 * faster, the functions run again on the fresh value.
 *
 * **Example** (Using a session without HTTP)
 *
 * ```ts
 * import { MemoryStore, Session, SessionConfig, SessionManager } from "@effect-session/core"
 * import * as CryptoNode from "@effect-session/core/CryptoNode"
 * import { Effect, Schema } from "effect"
 *
 * class Cart extends Session.Service<Cart>()("app/Cart", {
 *   data: Schema.Struct({ items: Schema.Array(Schema.String) }),
 *   initial: { items: [] }
 * }) {}
 *
 * const program = Effect.gen(function*() {
 *   const manager = yield* SessionManager.make(Cart)
 *   const put = Cart.update(({ items }) => ({ items: [...items, "tea"] }))
 *   const { token } = yield* manager.run(undefined, put)
 *   const { value } = yield* manager.run(token, Cart.get)
 *   return value.items
 * }).pipe(
 *   Effect.provide(MemoryStore.layer()),
 *   Effect.provide(CryptoNode.layer),
 *   Effect.provide(SessionConfig.layer({ preset: "testing" }))
 * )
 * console.log((await Effect.runPromise(program)).join()) // => tea
 * ```
 *
 * @stability unstable
 * @since 0.1.0
 */
import * as Context from "effect/Context"
import type * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import type { Flash } from "./Flash.ts"
import { accessors } from "./internal/accessors.ts"
import * as SessionData from "./SessionData.ts"
import type { SessionError } from "./SessionError.ts"
import type { Served } from "./SessionStore.ts"

/**
 * What a request's session turned out to be.
 *
 * **Details**
 *
 * - `anonymous`: there is no session; the first write makes one.
 * - `active`: there is a stored session.
 * - `expired`: there was one, and it is past a deadline.
 * - `invalid`: the token is malformed, doubled, not ours or was renewed away, or
 *   the stored data cannot be decoded.
 * - `unavailable`: the store did not answer. Nothing is known. A request whose
 *   policy for outages lets it go on sees the initial data, and cannot write.
 *
 * @stability unstable
 * @category models
 * @since 0.1.0
 */
export type Status = "anonymous" | "active" | "expired" | "invalid" | "unavailable"

/**
 * Facts about a stored session. Instants are UTC milliseconds.
 *
 * @stability unstable
 * @category models
 * @since 0.1.0
 */
export interface Info {
  readonly createdAt: number
  readonly authenticatedAt: number | undefined
  readonly lastSeenAt: number
  /** When the session ends without further activity. */
  readonly idleExpiresAt: number
  /** When the session ends whatever happens. */
  readonly absoluteExpiresAt: number
  readonly subject: string | undefined
  /** The store's time of the read, for counting down without trusting a local clock. */
  readonly now: number
}

/**
 * Lifetimes that one session has for itself, stored with it.
 *
 * @stability unstable
 * @category options
 * @since 0.1.0
 */
export interface LifetimeOptions {
  /** Longest inactivity. */
  readonly idleTimeout?: Duration.Input | undefined
  /** Time from now to the absolute deadline. */
  readonly lifetime?: Duration.Input | undefined
  /** Whether the client keeps the session when it closes ("remember me"). */
  readonly persistent?: boolean | undefined
}

/**
 * A session that can be read and not written.
 *
 * @stability unstable
 * @category models
 * @since 0.1.0
 */
export interface ReadonlySession<out A, out R = never> {
  /** The data; the initial data where there is no session. Never writes. */
  readonly get: Effect.Effect<A, SessionError, R>
  /** What the session turned out to be. Never fails. */
  readonly status: Effect.Effect<Status, never, R>
  /** Whether nothing was stored of this session before this request. */
  readonly isNew: Effect.Effect<boolean, SessionError, R>
  /** Who is signed in. */
  readonly subject: Effect.Effect<string | undefined, SessionError, R>
  /** Times and subject of the stored session, `undefined` where there is none. */
  readonly info: Effect.Effect<Info | undefined, SessionError, R>
  /** When the session ends without further activity, in UTC milliseconds. */
  readonly expiresAt: Effect.Effect<number | undefined, SessionError, R>
  /** Time left until then, zero where there is no session. */
  readonly timeUntilExpiry: Effect.Effect<Duration.Duration, SessionError, R>
  /** Whether a step-up is in force. */
  readonly isElevated: Effect.Effect<boolean, SessionError, R>
  /** Who has answered in the place of the store, in an outage; `undefined` where it was the store. */
  readonly served: Effect.Effect<Served | undefined, SessionError, R>
  /** Opaque name of the stored session, safe to show, log and send: see `SessionDevices`. */
  readonly handle: Effect.Effect<string | undefined, SessionError, R>
}

/**
 * A session.
 *
 * **Details**
 *
 * Writing operations record what shall happen; `commit`, or the end of the
 * request, carries it out.
 *
 * @stability unstable
 * @category models
 * @since 0.1.0
 */
export interface Session<in out A, out R = never> extends ReadonlySession<A, R> {
  /**
   * Replaces the data. If another request changes the session meanwhile, the
   * commit fails with `Conflict`: use `update` for changes that can be replayed.
   */
  readonly set: (data: A) => Effect.Effect<void, SessionError, R>
  /**
   * Changes the data by a function and returns the result. The function must be
   * pure: it runs again on the fresh value when another request was faster.
   */
  readonly update: (f: (data: A) => A) => Effect.Effect<A, SessionError, R>
  /** Like `update`, and returns a value beside the new data. */
  readonly modify: <B>(f: (data: A) => readonly [B, A]) => Effect.Effect<B, SessionError, R>
  /** Replaces the data by the initial data, whatever it is by then. */
  readonly reset: Effect.Effect<void, SessionError, R>
  /**
   * Ends the session: the store forgets it and the client drops its token. What
   * is written afterwards goes into a new session.
   */
  readonly destroy: Effect.Effect<void, SessionError, R>
  /** Replaces the id and keeps the data. Without a session there is nothing to renew. */
  readonly renew: Effect.Effect<void, SessionError, R>
  /**
   * Signs a subject in, under a new id. Of the anonymous data only the keys in
   * `keepOnLogin` survive; `f` gets the initial data with those, and beside it the
   * data until now, for what a key alone cannot say: carts that become one. Where
   * somebody else was signed in, nothing passes on, lifetimes included, and
   * `before` is `undefined`. A session that only others can read is left to them.
   * Like the function of `update`, `f` must be pure. Dies for a subject that is
   * empty or has half a surrogate pair, which no store could find again.
   */
  readonly login: (
    subject: string,
    f?: (data: A, before: A | undefined) => A
  ) => Effect.Effect<A, SessionError, R>
  /**
   * Raises the session for a while, after a second factor for instance, under a
   * new id. Needs a signed-in session.
   */
  readonly elevate: (duration: Duration.Input) => Effect.Effect<void, SessionError, R>
  /**
   * Records that the subject has proved who it is again, under a new id: both
   * deadlines start anew. Needs a signed-in session.
   */
  readonly reauthenticate: Effect.Effect<void, SessionError, R>
  /** Records activity now, without waiting for the touch interval. */
  readonly touch: Effect.Effect<void, SessionError, R>
  /** Gives this session lifetimes of its own. */
  readonly setLifetime: (options: LifetimeOptions) => Effect.Effect<void, SessionError, R>
  /** Messages for the next request. */
  readonly flash: Flash<R>
  /**
   * Carries out what was recorded, now. Afterwards `get` returns what is stored,
   * also where another request was faster. A later failure of the request does
   * not undo it.
   */
  readonly commit: Effect.Effect<void, SessionError, R>
  /** The same session, without the operations that write. */
  readonly readonly: Effect.Effect<ReadonlySession<A>, never, R>
}

/**
 * Options of {@link Service}.
 *
 * @stability unstable
 * @category options
 * @since 0.1.0
 */
export interface Options<A> extends SessionData.Options<A> {
  /** Keys of the data that survive a login. None by default. */
  readonly keepOnLogin?: ReadonlyArray<keyof A> | undefined
}

/**
 * A session service: the key of a request's session, with its operations as
 * accessors.
 *
 * @stability unstable
 * @category models
 * @since 0.1.0
 */
export interface SessionClass<in out Self, in out Id extends string, in out A>
  extends Context.ServiceClass<Self, Id, Session<A>>, Session<A, Self>
{
  /** How the data is read and written. */
  readonly definition: Definition<A>
}

/**
 * The compiled options of a session service.
 *
 * @stability unstable
 * @category models
 * @since 0.1.0
 */
export interface Definition<in out A> {
  readonly data: SessionData.SessionData<A>
  readonly keepOnLogin: ReadonlyArray<keyof A>
}

/**
 * Any session service with data of type `A`.
 *
 * @stability unstable
 * @category models
 * @since 0.1.0
 */
export type Tag<Self, A> = Context.Service<Self, Session<A>> & { readonly definition: Definition<A> }

/**
 * Defines a session service.
 *
 * **Details**
 *
 * The id names the service in the context; services with different ids are
 * independent of each other, also within one request.
 *
 * **Example** (Migrating stored data)
 *
 * ```ts
 * import { Session } from "@effect-session/core"
 * import { Schema } from "effect"
 *
 * class UserSession extends Session.Service<UserSession>()("app/UserSession", {
 *   data: Schema.Struct({ name: Schema.String, since: Schema.Date }),
 *   initial: () => ({ name: "guest", since: new Date(0) }),
 *   version: 2,
 *   migrations: {
 *     1: (data) => ({ ...(data as { readonly name: string }), since: "1970-01-01T00:00:00.000Z" })
 *   }
 * }) {}
 * console.log(UserSession.key) // => app/UserSession
 * ```
 *
 * @stability unstable
 * @category constructors
 * @since 0.1.0
 */
export const Service =
  <Self>() => <const Id extends string, A>(id: Id, options: Options<A>): SessionClass<Self, Id, A> => {
    const tag = Context.Service<Self, Session<A>>()(id)
    return Object.assign(tag, accessors(tag), {
      definition: { data: SessionData.make(id, options), keepOnLogin: options.keepOnLogin ?? [] }
    })
  }

/**
 * A session seen as a map from text to values.
 *
 * @stability unstable
 * @category models
 * @since 0.1.0
 */
export interface KeyValue<in out V, out R> {
  readonly get: (key: string) => Effect.Effect<V | undefined, SessionError, R>
  readonly has: (key: string) => Effect.Effect<boolean, SessionError, R>
  readonly set: (key: string, value: V) => Effect.Effect<void, SessionError, R>
  /** Removes a key and says whether it was there. */
  readonly delete: (key: string) => Effect.Effect<boolean, SessionError, R>
  readonly size: Effect.Effect<number, SessionError, R>
  readonly isEmpty: Effect.Effect<boolean, SessionError, R>
  /** The entries, in the order in which their keys were first set. */
  readonly entries: Effect.Effect<ReadonlyArray<readonly [string, V]>, SessionError, R>
}

/**
 * Views a session whose data is a map as a key/value store.
 *
 * **Details**
 *
 * Each write changes its own key only: requests that write different keys at the
 * same time all succeed. Any text is a key, also `__proto__`.
 *
 * **Example** (A session as a key/value store)
 *
 * ```ts
 * import { MemoryStore, Session, SessionConfig, SessionManager } from "@effect-session/core"
 * import * as CryptoNode from "@effect-session/core/CryptoNode"
 * import { Effect, Schema } from "effect"
 *
 * class Bag extends Session.Service<Bag>()("app/Bag", {
 *   data: Schema.ReadonlyMap(Schema.String, Schema.Json),
 *   initial: new Map<string, Schema.Json>()
 * }) {}
 * const bag = Session.KeyValue(Bag)
 *
 * const program = Effect.gen(function*() {
 *   const manager = yield* SessionManager.make(Bag)
 *   const { token } = yield* manager.run(undefined, bag.set("colour", "green"))
 *   return (yield* manager.run(token, bag.get("colour"))).value
 * }).pipe(
 *   Effect.provide(MemoryStore.layer()),
 *   Effect.provide(CryptoNode.layer),
 *   Effect.provide(SessionConfig.layer({ preset: "testing" }))
 * )
 * console.log(await Effect.runPromise(program)) // => green
 * ```
 *
 * @stability unstable
 * @category constructors
 * @since 0.1.0
 */
export const KeyValue = <Self, Id extends string, V>(
  session: SessionClass<Self, Id, ReadonlyMap<string, V>>
): KeyValue<V, Self> => ({
  get: (key) => Effect.map(session.get, (data) => data.get(key)),
  has: (key) => Effect.map(session.get, (data) => data.has(key)),
  set: (key, value) => Effect.asVoid(session.update((data) => new Map(data).set(key, value))),
  delete: (key) =>
    session.modify((data) => {
      const next = new Map(data)
      return [next.delete(key), next]
    }),
  size: Effect.map(session.get, (data) => data.size),
  isEmpty: Effect.map(session.get, (data) => data.size === 0),
  entries: Effect.map(session.get, (data) => [...data])
})
