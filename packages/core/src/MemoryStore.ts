/**
 * Keeps sessions in the memory of one process.
 *
 * The store is bounded: at its capacity it ends the session that was used
 * longest ago, and an anonymous one as long as there is any, so that a flood of
 * visitors cannot sign users out. Sessions past their deadline are refused at
 * once and removed by a background sweep, which works in slices and does not
 * stop the process.
 *
 * Sessions do not outlive the layer. For sessions that survive a restart, or
 * that several processes share, take another store.
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
import { Crypto } from "./Crypto.ts"
import * as memoryQuery from "./internal/memoryQuery.ts"
import * as memorySteps from "./internal/memorySteps.ts"
import * as Observer from "./internal/observer.ts"
import { SessionTable } from "./internal/sessionTable.ts"
import { Metrics } from "./Metrics.ts"
import * as SessionBackend from "./SessionBackend.ts"
import { SessionEvents } from "./SessionEvents.ts"
import { type SessionEntry, SessionQuery } from "./SessionQuery.ts"
import { SessionStore } from "./SessionStore.ts"

/**
 * Options of the memory store.
 *
 * @stability unstable
 * @category options
 * @since 0.1.0
 */
export interface Options {
  /** Number of sessions the store holds at most, 1,000,000 by default. */
  readonly capacity?: number | undefined
  /** Time between two sweeps that remove expired sessions, 1 minute by default. */
  readonly sweepInterval?: Duration.Input | undefined
}

/**
 * What the memory store holds, and what it has dropped since it was made.
 *
 * @stability unstable
 * @category models
 * @since 0.1.0
 */
export interface Stats {
  /** Sessions held, those included that have expired since the last sweep. */
  readonly total: number
  /** Sessions without a subject. */
  readonly anonymous: number
  /** Subjects with at least one session. */
  readonly subjects: number
  /** Keys that sessions were renewed away from, and that are remembered. */
  readonly aliases: number
  /** Live sessions ended because the store was full. */
  readonly evicted: number
  /** Sessions removed past their deadline. */
  readonly expired: number
  readonly capacity: number
}

/**
 * Service for what only the memory store can tell.
 *
 * @stability unstable
 * @category services
 * @since 0.1.0
 */
export class MemoryStore extends Context.Service<MemoryStore, {
  readonly stats: Effect.Effect<Stats>
}>()("@effect-session/core/MemoryStore") {}

/**
 * The services of one memory store.
 *
 * @stability unstable
 * @category models
 * @since 0.1.0
 */
export interface Services {
  readonly store: SessionStore["Service"]
  readonly query: SessionQuery["Service"]
  readonly stats: Effect.Effect<Stats>
}

/**
 * Functions that are told what the store does by itself.
 *
 * @stability unstable
 * @category options
 * @since 0.1.0
 */
export interface Hooks {
  /**
   * Called with sessions that a sweep has removed past their deadline, some
   * hundred at a time. A call that fails, dies or takes longer than 5 seconds
   * does not stop the sweep.
   */
  readonly onExpired?: ((entries: ReadonlyArray<SessionEntry>) => Effect.Effect<void>) | undefined
}

// The slots of the table are 32-bit numbers.
const maxCapacity = 2 ** 30

/**
 * Makes a memory store whose sweep runs in the current scope.
 *
 * **Details**
 *
 * Loading, saving, touching, creating and renewing a session counts as use of
 * it. When the store is full and the session of a signed-in subject that was
 * used longest ago has expired, it goes before any anonymous one.
 *
 * A session remembers the last 16 keys it was renewed away from with a grace
 * window, until it ends or is renewed without one; an earlier key is `Absent`.
 *
 * A scan meets a session that is renewed meanwhile once, under the key it has
 * at that moment.
 *
 * **Gotchas**
 *
 * Throws a `RangeError` when `capacity` is not an integer from 1 to 2^30, or
 * `sweepInterval` is not above zero.
 *
 * @stability unstable
 * @category constructors
 * @since 0.1.0
 */
export const make = (options: Options = {}, hooks: Hooks = {}): Effect.Effect<Services, never, Scope.Scope> => {
  const capacity = options.capacity ?? 1_000_000
  if (!Number.isInteger(capacity) || capacity < 1 || capacity > maxCapacity) {
    throw new RangeError(`MemoryStore: capacity must be an integer in [1, 2^30], got ${capacity}`)
  }
  const sweepInterval = Duration.fromInputUnsafe(options.sweepInterval ?? "1 minute")
  if (!(Duration.toMillis(sweepInterval) > 0)) {
    throw new RangeError(`MemoryStore: sweepInterval must be above zero, got ${Duration.format(sweepInterval)}`)
  }
  return Effect.gen(function*() {
    const clock = yield* Clock.Clock
    const table = new SessionTable(capacity)
    const sweeper = memoryQuery.makeSweeper(table, clock, hooks.onExpired)
    yield* sweeper.sweep.pipe(Effect.repeat(Schedule.spaced(sweepInterval)), Effect.forkScoped)
    return {
      store: memorySteps.make(table, clock),
      query: memoryQuery.make(table, clock, sweeper),
      stats: Effect.sync(() => ({
        total: table.total,
        anonymous: table.anonymous,
        subjects: table.subjects,
        aliases: table.aliases,
        evicted: table.evicted,
        expired: table.expired,
        capacity
      }))
    }
  })
}

/**
 * Provides a memory store: `SessionStore`, `SessionQuery` and `MemoryStore`.
 *
 * **Gotchas**
 *
 * Throws a `RangeError` for options that {@link make} refuses.
 *
 * @stability unstable
 * @category layers
 * @since 0.1.0
 */
export const layerStore = (options?: Options): Layer.Layer<SessionStore | SessionQuery | MemoryStore> =>
  Layer.effectContext(Effect.map(make(options), contextOf))

/**
 * Provides a memory store from wrapped configuration options.
 *
 * @stability unstable
 * @category layers
 * @since 0.1.0
 */
export const layerStoreConfig = (
  options: Config.Wrap<Options>
): Layer.Layer<SessionStore | SessionQuery | MemoryStore, Config.ConfigError> =>
  Layer.effectContext(
    Effect.flatMap(Config.unwrap(options), (options) => Effect.map(make(options), contextOf))
  )

/**
 * Provides a memory store with the seam above it: everything sessions need of a
 * backend. Expired sessions that the sweep removes are counted and published as
 * `expired` events; the number of sessions held is the gauge
 * `session.active_count`, refreshed every 5 seconds.
 *
 * **Gotchas**
 *
 * Throws a `RangeError` for options that {@link make} refuses.
 *
 * @stability unstable
 * @category layers
 * @since 0.1.0
 */
export const layer = (
  options?: Options
): Layer.Layer<SessionStore | SessionQuery | MemoryStore | SessionBackend.SessionBackend, never, Crypto> =>
  SessionBackend.layer("memory").pipe(Layer.provideMerge(Layer.effectContext(observed(options))))

/**
 * Provides a memory store with the seam above it from wrapped configuration
 * options.
 *
 * @stability unstable
 * @category layers
 * @since 0.1.0
 */
export const layerConfig = (
  options: Config.Wrap<Options>
): Layer.Layer<
  SessionStore | SessionQuery | MemoryStore | SessionBackend.SessionBackend,
  Config.ConfigError,
  Crypto
> =>
  SessionBackend.layer("memory").pipe(
    Layer.provideMerge(Layer.effectContext(Effect.flatMap(Config.unwrap(options), observed)))
  )

const observed = Effect.fnUntraced(function*(options?: Options) {
  const clock = yield* Clock.Clock
  const metrics = yield* Metrics
  const observer = Observer.make("memory", "memory", metrics, yield* SessionEvents, yield* Crypto)
  const services = yield* make(options, {
    onExpired: (entries) =>
      Effect.forEach(
        entries,
        ({ key, record }) =>
          observer.observe("expired", clock.currentTimeMillisUnsafe(), { key, subject: record.subject }),
        {
          discard: true
        }
      )
  })
  const active = metrics.gauge("session.active_count", { store: "memory" })
  yield* Effect.map(services.stats, ({ total }) => active(total)).pipe(
    Effect.repeat(Schedule.spaced("5 seconds")),
    Effect.forkScoped
  )
  return contextOf(services)
})

const contextOf = ({ query, stats, store }: Services): Context.Context<SessionStore | SessionQuery | MemoryStore> =>
  Context.make(SessionStore, store).pipe(
    Context.add(SessionQuery, query),
    Context.add(MemoryStore, { stats })
  )
