/**
 * Moves in: takes over the live sessions of another library, once each, while the
 * old application and the new one run side by side.
 *
 * A reader knows the cookie and the records of the other library:
 * `ExpressSession`, `IronSession`, `AzuSession`, or one of your own. A function of
 * yours turns its data into the data of the session service. Nothing is read
 * before a handler asks for the session, and nothing once the request has a live
 * session of its own or the deadline has passed.
 *
 * **The rules**
 *
 * - A session of ours that is live always wins over an old one. A cookie of ours
 *   that is not accepted is no reason to look for another one, so the two
 *   applications need cookies of different names.
 * - An old session is moved once. Its cookie brings nothing back afterwards: not
 *   after the move, not after our session was signed out or has expired. Of
 *   several requests that bring it at the same time one moves it, and the others
 *   are without a session.
 * - Whoever signs out of our session signs out of the old one that the same
 *   request brings, moved or not: it is marked, its record is removed and its
 *   cookie is cleared.
 * - What is malformed, forged, expired or refused by the function is as if it were
 *   not there. An outage of the old store is an outage: `Unavailable`.
 * - The session gets a new id. A move counts as a sign-in: both deadlines start
 *   anew, and `authenticatedAt` is the time of the move.
 *
 * @stability unstable
 * @since 0.1.0
 */
import type { LifetimeOptions, Session, Tag } from "@effect-session/core/Session"
import { SessionError, Unavailable } from "@effect-session/core/SessionError"
import * as SessionManager from "@effect-session/core/SessionManager"
import type { SessionStoreError } from "@effect-session/core/SessionStore"
import * as Cause from "effect/Cause"
import * as Clock from "effect/Clock"
import * as Context from "effect/Context"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import { sha256 } from "./internal/legacyCrypto.ts"
import { MovedSessions } from "./MovedSessions.ts"
import * as SessionCookie from "./SessionCookie.ts"

/**
 * What an old session holds.
 *
 * @stability unstable
 * @category models
 * @since 0.1.0
 */
export interface Old {
  /** Its data, from JSON. Nothing has checked its shape. */
  readonly data: unknown
  /** When it ends as it says itself, in UTC milliseconds. */
  readonly expiresAt: number | undefined
}

/**
 * An old session that a request names, with a signature or seal that was checked
 * where there is one.
 *
 * @stability unstable
 * @category models
 * @since 0.1.0
 */
export interface Candidate {
  /** What makes it this session and no other: two cookies of one session have one. */
  readonly id: string
  /** When its cookie cannot be accepted any more, whatever happens, in UTC milliseconds; `undefined` where unknown. */
  readonly until: number | undefined
  /** Reads it. `undefined` where it is not live; fails where nobody knows. */
  readonly load: Effect.Effect<Old | undefined, unknown>
  /** Ends it for the old application, where that is possible. */
  readonly end: Effect.Effect<void, unknown> | undefined
}

/**
 * Knows the sessions of another library.
 *
 * @stability unstable
 * @category models
 * @since 0.1.0
 */
export interface Reader {
  /** One fixed word. Sessions of different names are different. */
  readonly name: string
  /** The cookies that it looks at, with what is needed to clear them. A request with none of them costs nothing. */
  readonly cookies: ReadonlyArray<SessionCookie.SessionCookie>
  /** Finds the session that the raw `Cookie` header names. Asks nobody, and never fails. */
  readonly find: (header: string) => Effect.Effect<Candidate | undefined>
}

/**
 * Where the records of another library are, for readers that need them.
 *
 * @stability unstable
 * @category models
 * @since 0.1.0
 */
export interface Records {
  /** The value of a key, `undefined` where there is none. */
  readonly get: (key: string) => Effect.Effect<string | Uint8Array | undefined, unknown>
  /** Removes a key. Without it, signing out of our session leaves the old one alive for the old application. */
  readonly remove?: ((key: string) => Effect.Effect<unknown, unknown>) | undefined
}

/**
 * What becomes of an old session.
 *
 * @stability unstable
 * @category models
 * @since 0.1.0
 */
export interface Arrival<out A> {
  readonly data: A
  /** Who is signed in; without it the session is anonymous. */
  readonly subject?: string | undefined
  /** Lifetimes of its own, such as what is left of the old session. */
  readonly lifetime?: LifetimeOptions | undefined
}

/**
 * A reader, and what becomes of what it reads.
 *
 * @stability unstable
 * @category models
 * @since 0.1.0
 */
export interface Source<out A> {
  readonly reader: Reader
  /**
   * Turns old data, which nothing has checked, into ours. `undefined` refuses it,
   * and so does a function that throws: the session is as if it were not there.
   */
  readonly map: (data: unknown, old: Old) => Arrival<A> | undefined
}

/**
 * Options of {@link layer}.
 *
 * @stability unstable
 * @category options
 * @since 0.1.0
 */
export interface Options<out A> {
  /** Tried in order; the first that finds a live session is taken. */
  readonly sources: ReadonlyArray<Source<A>>
  /**
   * When it is over: a `Date`, or a text such as `2027-01-31` or
   * `2027-01-31T12:00:00Z`. At most 400 days ahead. From then on old sessions are
   * not looked at.
   */
  readonly deadline: Date | string
  /**
   * Whether a moved session stays alive for the old application, `true` by
   * default: both sides run. `false` ends it and clears its cookie with the move.
   */
  readonly keepOld?: boolean | undefined
  /** Longest wait for the old store, 1 second by default. */
  readonly timeout?: Duration.Input | undefined
}

/**
 * One request that brings an old session, for transports.
 *
 * @stability unstable
 * @category models
 * @since 0.1.0
 */
export interface Move<in out A> {
  /** The session that handlers get. */
  readonly session: Session<A>
  /**
   * To be run when the session of the request is finished: ends the old session
   * where it has to end, and returns the `Set-Cookie` headers that clear it.
   */
  readonly finish: Effect.Effect<ReadonlyArray<string>, SessionError>
}

/**
 * Moves sessions in, for transports. `undefined` for a request that brings nothing
 * of the kind, which is decided without reading anything.
 *
 * @stability unstable
 * @category models
 * @since 0.1.0
 */
export type Mover<in out A> = (session: Session<A>, header: string | undefined) => Move<A> | undefined

/**
 * The mover of a session service: `undefined` unless {@link layer} was provided.
 *
 * @stability unstable
 * @category references
 * @since 0.1.0
 */
export const mover = <Self, A>(tag: Tag<Self, A>): Context.Reference<Mover<A> | undefined> =>
  Context.Reference<Mover<A> | undefined>(`@effect-session/http/LegacySession/${tag.key}`, {
    defaultValue: () => undefined
  })

// As long as any session can live.
const longest = 400 * 24 * 60 * 60 * 1000

const instantOf = (deadline: Date | string): number => {
  // A text without a zone would mean another instant on each server.
  if (typeof deadline === "string" && !/^\d{4}-\d\d-\d\d(?:T[\d:.]+(?:Z|[+-]\d\d:\d\d))?$/.test(deadline)) return NaN
  return new Date(deadline).getTime()
}

const unavailable = (error?: SessionStoreError): SessionError =>
  new SessionError({
    reason: new Unavailable({ applied: "no", retryAfter: error?.reason.retryAfter, cause: error })
  })

const isOver = (status: string): boolean => status === "anonymous" || status === "expired"

/**
 * Creates the mover of a session service. {@link layer} installs it.
 *
 * **Gotchas**
 *
 * Throws a `RangeError` without sources, for a deadline that is no instant or more
 * than 400 days ahead, and for a timeout that is not above zero.
 *
 * @stability unstable
 * @category constructors
 * @since 0.1.0
 */
export const make = <A>(options: Options<A>): Effect.Effect<Mover<A>, never, MovedSessions> =>
  Effect.gen(function*() {
    const { keepOld = true, sources } = options
    const clock = yield* Clock.Clock
    const moved = yield* MovedSessions
    const deadline = instantOf(options.deadline)
    const timeout = Duration.toMillis(Duration.fromInputUnsafe(options.timeout ?? "1 second"))
    const startedAt = clock.currentTimeMillisUnsafe()
    if (sources.length === 0) throw new RangeError("LegacySession: at least one source is needed")
    if (!(timeout > 0)) throw new RangeError("LegacySession: timeout must be above zero")
    if (!(deadline <= startedAt + longest)) {
      throw new RangeError(
        "LegacySession: deadline must be a Date or a text such as 2027-01-31, at most 400 days ahead"
      )
    }
    if (deadline <= startedAt) yield* Effect.logWarning("LegacySession: the deadline has passed; remove the layer")

    // The old store answers in time, or it is an outage. Its error may hold ids, so that it goes nowhere.
    const asked = <B>(effect: Effect.Effect<B, unknown>): Effect.Effect<B, SessionError> =>
      Effect.mapError(Effect.timeout(Effect.interruptible(effect), timeout), () => unavailable())
    const marked = <B>(effect: Effect.Effect<B, SessionStoreError>): Effect.Effect<B, SessionError> =>
      Effect.mapError(effect, unavailable)

    const keyOf = (name: string, { id }: Candidate) => sha256(`moved\n${name}\n${id}`)
    const claim = (key: string, { until }: Candidate) =>
      marked(moved.claim(key, Math.min(until ?? Infinity, clock.currentTimeMillisUnsafe() + longest)))

    const mapped = (source: Source<A>, old: Old): Effect.Effect<Arrival<A> | undefined> =>
      Effect.catchDefect(
        Effect.sync(() => source.map(old.data, old)),
        () =>
          Effect.as(Effect.logWarning(`LegacySession: data of ${source.reader.name} could not be mapped`), undefined)
      )

    // Stores what arrived, under a new id. What our store or schema refuses is as if it had not been there.
    const take = (session: Session<A>, { data, lifetime, subject }: Arrival<A>, name: string) =>
      Effect.gen(function*() {
        yield* subject === undefined ? session.set(data) : session.login(subject, () => data)
        if (lifetime !== undefined) yield* session.setLifetime(lifetime)
        yield* session.commit
        return true
      }).pipe(
        // What could not be stored must not be tried again at the end of the request, when its mark is gone.
        Effect.onError(() => Effect.ignore(session.destroy)),
        Effect.catchCause((cause) => {
          const error = Option.getOrUndefined(Cause.findErrorOption(cause))
          return error?.reason._tag === "Unavailable"
            ? Effect.fail(error)
            : Effect.as(Effect.logWarning(`LegacySession: a session of ${name} was refused`), false)
        })
      )

    return (session, header) => {
      if (header === undefined || clock.currentTimeMillisUnsafe() >= deadline) return undefined
      const named = sources.filter(({ reader }) => reader.cookies.some(({ name }) => header.includes(name)))
      if (named.length === 0) return undefined
      let ended = false
      let arrived: { readonly source: Source<A>; readonly candidate: Candidate } | undefined

      const takeOnce = Effect.fnUntraced(function*(source: Source<A>, candidate: Candidate, arrival: Arrival<A>) {
        const { name } = source.reader
        const key = yield* keyOf(name, candidate)
        if (!(yield* claim(key, candidate))) return
        const taken = yield* take(session, arrival, name).pipe(
          Effect.onExit((exit) =>
            exit._tag === "Success" && exit.value ? Effect.void : Effect.ignore(moved.release(key))
          )
        )
        if (taken) arrived = { source, candidate }
      })

      const arrive = Effect.fnUntraced(function*() {
        if (!SessionManager.isWritable(session) || !isOver(yield* session.status)) return
        for (const source of named) {
          const { reader } = source
          const candidate = yield* reader.find(header)
          const old = candidate === undefined ? undefined : yield* asked(candidate.load)
          const arrival = old === undefined ? undefined : yield* mapped(source, old)
          if (candidate === undefined || arrival === undefined) continue
          // A client that leaves in the middle must not leave a mark without a session.
          yield* Effect.uninterruptible(takeOnce(source, candidate, arrival))
          return
        }
      })

      // What was signed out of must not come in again by the next request.
      const endAll = Effect.fnUntraced(function*() {
        for (const { reader } of named) {
          const candidate = yield* reader.find(header)
          if (candidate === undefined || (yield* asked(candidate.load)) === undefined) continue
          yield* claim(yield* keyOf(reader.name, candidate), candidate)
          if (candidate.end !== undefined) yield* asked(candidate.end)
        }
      })

      const clears = ({ reader }: Source<A>) =>
        reader.cookies.filter((cookie) => SessionCookie.read(cookie, header) !== undefined).map(SessionCookie.clear)

      const prepared = SessionManager.prepare(session, Effect.suspend(arrive))
      const finish = Effect.suspend(() => {
        if (ended) return Effect.as(endAll(), named.flatMap(clears))
        if (arrived === undefined || keepOld) return Effect.succeed([])
        const { candidate, source } = arrived
        return Effect.as(candidate.end === undefined ? Effect.void : asked(candidate.end), clears(source))
      })
      const destroy = Effect.tap(prepared.destroy, () =>
        Effect.sync(() => {
          ended = true
        }))
      return { session: { ...prepared, destroy }, finish }
    }
  })

/**
 * Installs the mover of a session service: the middleware takes over old sessions
 * until the deadline.
 *
 * **Details**
 *
 * Provide it to the layer of the middleware, or merge it into that of `SessionNode`
 * and `SessionFetch`. `MovedSessions` remembers what was moved, and has to be
 * shared by all processes that share the sessions.
 *
 * **Gotchas**
 *
 * Building it dies with a `RangeError` for options that {@link make} refuses.
 *
 * @stability unstable
 * @category layers
 * @since 0.1.0
 */
export const layer = <Self, A>(tag: Tag<Self, A>, options: Options<A>): Layer.Layer<never, never, MovedSessions> =>
  Layer.effect(mover(tag), make(options))
