/**
 * Ends sessions whose record is held by the client: a list of what is over.
 *
 * A token that is its own record cannot be deleted, so somebody has to remember
 * that it must not be accepted any more. One session is ended by its key, until
 * the token would have expired by itself. All sessions of a subject are ended by
 * an epoch: whoever signed in at or before it is signed out.
 *
 * A list that cannot be reached fails. It never answers that a session is live
 * because it does not know.
 *
 * **Example** (Signing a user out everywhere)
 *
 * ```ts
 * import * as Revocations from "@effect-session/core/Revocations"
 * import { Effect } from "effect"
 *
 * const program = Effect.gen(function*() {
 *   const revocations = yield* Revocations.Revocations
 *   const now = yield* Effect.clockWith((clock) => clock.currentTimeMillis)
 *   const session = { key: "keyed hash", subject: "ada", authenticatedAt: now, issuedAt: now }
 *   const before = yield* revocations.isRevoked(session)
 *   yield* revocations.revokeSubject("ada")
 *   return [before, yield* revocations.isRevoked(session)].join()
 * }).pipe(Effect.provide(Revocations.layerMemory()))
 * console.log(await Effect.runPromise(program)) // => false,true
 * ```
 *
 * @stability unstable
 * @since 0.1.0
 */
import * as Clock from "effect/Clock"
import * as Config from "effect/Config"
import * as Context from "effect/Context"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Schedule from "effect/Schedule"
import type * as Scope from "effect/Scope"
import * as AtOnce from "./internal/atOnce.ts"
import { DeadlineMap } from "./internal/deadlineMap.ts"
import { SessionStoreError, StoreUnavailable } from "./SessionStore.ts"

/**
 * What a list has to know of a session to say whether it is over. Instants are
 * UTC milliseconds.
 *
 * @stability unstable
 * @category models
 * @since 0.1.0
 */
export interface Revocable {
  /** Keyed hash of the session's id. */
  readonly key: string
  /** Who is signed in; `undefined` for an anonymous session. */
  readonly subject: string | undefined
  /** When the subject last proved who it is. */
  readonly authenticatedAt: number | undefined
  /** When the key was issued. */
  readonly issuedAt: number
}

/**
 * What a list may know of a session that it is to end.
 *
 * @stability unstable
 * @category options
 * @since 0.1.0
 */
export interface RevokeOptions {
  /** Whether nobody is signed in to it, `false` by default: for what is not known. */
  readonly anonymous?: boolean | undefined
}

/**
 * Service that remembers which sessions are over.
 *
 * **Details**
 *
 * Every method is one atomic step. A revocation that has succeeded is seen by
 * every `isRevoked` that begins afterwards.
 *
 * **Gotchas**
 *
 * An implementation must not forget a key before its `until`, nor a subject
 * before `subjectLifetime` has passed since its epoch. One that has lost what it
 * knew must refuse the sessions it might have known. Anybody can begin and end
 * anonymous sessions: where room is limited, theirs must not be that of users who
 * sign out, and a list may forget them, the oldest first.
 *
 * @stability unstable
 * @category services
 * @since 0.1.0
 */
export class Revocations extends Context.Service<Revocations, {
  /**
   * Milliseconds for which the epoch of a subject is remembered. No session may
   * outlive its sign-in by more.
   */
  readonly subjectLifetime: number

  /**
   * Ends the session of a key, and says whether this call did: of several, one
   * does. Remembered until `until`, in UTC milliseconds, when the session is over
   * by itself; `false` where that has passed.
   */
  readonly revoke: (
    key: string,
    until: number,
    options?: RevokeOptions
  ) => Effect.Effect<boolean, SessionStoreError>

  /**
   * Ends every session that its subject signed in to up to now, and returns the
   * epoch, in UTC milliseconds: now, or later if it would not be after the
   * previous one.
   */
  readonly revokeSubject: (subject: string) => Effect.Effect<number, SessionStoreError>

  /**
   * Returns the epoch of a subject, if it has one. A sign-in is dated after it,
   * so that a user who signs in within the millisecond of an epoch stays so.
   */
  readonly epoch: (subject: string) => Effect.Effect<number | undefined, SessionStoreError>

  /** Tells whether a session is over, by its key or by its subject. */
  readonly isRevoked: (session: Revocable) => Effect.Effect<boolean, SessionStoreError>
}>()("@effect-session/core/Revocations") {}

/**
 * Options of the list in memory.
 *
 * @stability unstable
 * @category options
 * @since 0.1.0
 */
export interface Options {
  /**
   * Number of keys that the list remembers at most, again of keys of anonymous
   * sessions, and again of subjects: 1,000,000 by default.
   */
  readonly capacity?: number | undefined
  /**
   * How long the epoch of a subject is remembered, 400 days by default, the
   * longest a session can live. Sessions end this long after their sign-in.
   */
  readonly subjectLifetime?: Duration.Input | undefined
  /** Time between two sweeps that remove what has run out, 1 minute by default. */
  readonly sweepInterval?: Duration.Input | undefined
  /**
   * Whether sessions that are older than the list are accepted, `false` by
   * default. What was revoked before the process started is then live again.
   */
  readonly acceptEarlier?: boolean | undefined
}

/**
 * Options of a list that several processes share, on a server.
 *
 * @stability unstable
 * @category options
 * @since 0.1.0
 */
export interface SharedOptions {
  /**
   * How long the epoch of a subject is remembered, 400 days by default, the
   * longest a session can live. Sessions end this long after their sign-in.
   */
  readonly subjectLifetime?: Duration.Input | undefined
  /**
   * How far the clocks of the application's processes, and of the server, may be
   * apart: 1 second by default. The epoch of a subject lies so far ahead; a sign-in
   * is dated after it all the same. Entries outlive their sessions by as much.
   */
  readonly clockSkew?: Duration.Input | undefined
  /**
   * Whether sessions that are older than the list are accepted, `false` by
   * default. What was revoked before the list was lost is then live again.
   */
  readonly acceptEarlier?: boolean | undefined
}

const longest = 400 * 24 * 60 * 60 * 1000
const longestSkew = 60 * 60 * 1000

/**
 * Reads the times of a list's options, in milliseconds. `who` is named in errors.
 *
 * **Gotchas**
 *
 * Throws a `RangeError` when `subjectLifetime` is not from 1 millisecond to 400
 * days, or `clockSkew` is negative or more than an hour.
 *
 * @stability unstable
 * @category constructors
 * @since 0.1.0
 */
export const times = (
  who: string,
  options: Pick<SharedOptions, "subjectLifetime" | "clockSkew">
): { readonly subjectLifetime: number; readonly clockSkew: number } => {
  const subjectLifetime = Math.floor(Duration.toMillis(Duration.fromInputUnsafe(options.subjectLifetime ?? longest)))
  if (!(subjectLifetime >= 1 && subjectLifetime <= longest)) {
    throw new RangeError(`${who}: subjectLifetime must be from 1 millisecond to 400 days, got ${subjectLifetime} ms`)
  }
  const clockSkew = Math.ceil(Duration.toMillis(Duration.fromInputUnsafe(options.clockSkew ?? "1 second")))
  if (!(clockSkew >= 0 && clockSkew <= longestSkew)) {
    throw new RangeError(`${who}: clockSkew must be from 0 to an hour, got ${clockSkew} ms`)
  }
  return { subjectLifetime, clockSkew }
}

const maxCapacity = 2 ** 30

// Removing many at once costs little more than removing one.
const mostAtOnce = 2048

const full = (what: string): Effect.Effect<never, SessionStoreError> =>
  Effect.fail(
    new SessionStoreError({
      reason: new StoreUnavailable({ description: `the list of revocations holds as many ${what} as it may` })
    })
  )

/**
 * Makes a list in the memory of one process, whose sweep runs in the current
 * scope.
 *
 * **Details**
 *
 * A key is forgotten at its `until`, a subject `subjectLifetime` after its epoch.
 * A full list forgets nothing: the next revocation fails until something has run
 * out. Keys and subjects are counted apart, so that no number of logouts can
 * stand in the way of `revokeSubject`.
 *
 * Keys of anonymous sessions are counted apart too. Where there is no more room
 * for them, the oldest are forgotten: a copy of such a session's token is then
 * accepted again until its deadline.
 *
 * A list that starts empty cannot know what was revoked before, so sessions
 * issued before it was made are over, unless `acceptEarlier` says otherwise.
 *
 * **Gotchas**
 *
 * Other processes do not see this list: several of them need one that they
 * share. Throws a `RangeError` when `capacity` is not an integer from 1 to 2^30,
 * `sweepInterval` is not above zero, or `subjectLifetime` is not between 1
 * millisecond and 400 days.
 *
 * @stability unstable
 * @category constructors
 * @since 0.1.0
 */
export const makeMemory = (options: Options = {}): Effect.Effect<Revocations["Service"], never, Scope.Scope> => {
  const capacity = options.capacity ?? 1_000_000
  if (!Number.isInteger(capacity) || capacity < 1 || capacity > maxCapacity) {
    throw new RangeError(`Revocations: capacity must be an integer in [1, 2^30], got ${capacity}`)
  }
  const sweepInterval = Duration.toMillis(Duration.fromInputUnsafe(options.sweepInterval ?? "1 minute"))
  if (!(sweepInterval > 0)) {
    throw new RangeError(`Revocations: sweepInterval must be above zero, got ${sweepInterval} ms`)
  }
  const { subjectLifetime } = times("Revocations", { subjectLifetime: options.subjectLifetime })
  return Effect.gen(function*() {
    const clock = yield* Clock.Clock
    const startedAt = options.acceptEarlier === true ? -Infinity : clock.currentTimeMillisUnsafe()
    const atOnce = Math.min(mostAtOnce, 1 + (capacity >> 4))
    const keys = new DeadlineMap()
    const visitors = new DeadlineMap()
    const subjects = new DeadlineMap()
    const sweep = Effect.suspend(() => {
      const now = clock.currentTimeMillisUnsafe()
      return Effect.andThen(keys.sweep(now), Effect.andThen(visitors.sweep(now), subjects.sweep(now)))
    })
    yield* sweep.pipe(Effect.repeat(Schedule.spaced(sweepInterval)), Effect.forkScoped)

    const epochOf = (subject: string, now: number): number | undefined => {
      const until = subjects.get(subject, now)
      return until === undefined ? undefined : until - subjectLifetime
    }

    const isRevoked = ({ authenticatedAt, issuedAt, key, subject }: Revocable): boolean => {
      if (issuedAt < startedAt) return true
      const now = clock.currentTimeMillisUnsafe()
      if (keys.get(key, now) !== undefined || visitors.get(key, now) !== undefined) return true
      if (subject === undefined) return false
      const epoch = epochOf(subject, now)
      return epoch !== undefined && (authenticatedAt === undefined || authenticatedAt <= epoch)
    }

    return Revocations.of({
      subjectLifetime,
      revoke: (key, until, options) =>
        Effect.suspend(() => {
          const now = clock.currentTimeMillisUnsafe()
          for (const map of [keys, visitors]) {
            const known = map.get(key, now)
            if (known === undefined) continue
            if (until > known) map.set(key, until)
            return Effect.succeed(false)
          }
          if (until <= now) return Effect.succeed(false)
          const anonymous = options?.anonymous === true
          const map = anonymous ? visitors : keys
          if (map.isFull(capacity, now)) {
            if (!anonymous) return full("keys")
            visitors.removeOldest(atOnce)
          }
          map.set(key, until)
          return Effect.succeed(true)
        }),
      revokeSubject: (subject) =>
        Effect.suspend(() => {
          const now = clock.currentTimeMillisUnsafe()
          const last = epochOf(subject, now)
          if (last === undefined && subjects.isFull(capacity, now)) return full("subjects")
          const epoch = last === undefined ? now : Math.max(now, last + 1)
          subjects.set(subject, epoch + subjectLifetime)
          return Effect.succeed(epoch)
        }),
      epoch: (subject) => Effect.sync(() => epochOf(subject, clock.currentTimeMillisUnsafe())),
      isRevoked: AtOnce.make((session) => Effect.sync(() => isRevoked(session)), isRevoked)
    })
  })
}

/**
 * Provides a list in the memory of one process.
 *
 * **Gotchas**
 *
 * Throws a `RangeError` for options that {@link makeMemory} refuses.
 *
 * @stability unstable
 * @category layers
 * @since 0.1.0
 */
export const layerMemory = (options?: Options): Layer.Layer<Revocations> =>
  Layer.effect(Revocations, makeMemory(options))

/**
 * Provides a list in the memory of one process from wrapped configuration
 * options.
 *
 * @stability unstable
 * @category layers
 * @since 0.1.0
 */
export const layerMemoryConfig = (options: Config.Wrap<Options>): Layer.Layer<Revocations, Config.ConfigError> =>
  Layer.effect(Revocations, Effect.flatMap(Config.unwrap(options), makeMemory))
