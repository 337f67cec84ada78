/**
 * Keeps sessions in Redis 7 or newer: one server, a master with sentinels, or a
 * cluster.
 *
 * Every step of a session is one script on the server, and a load one plain
 * read. Time is the server's, so that the processes of an application agree on
 * every lifetime, and it is checked on the stored instants: a key that has lost
 * its expiry in Redis ends in time all the same. The store sees keyed hashes of
 * session ids only, and payloads that are sealed unless the preset says
 * otherwise.
 *
 * @stability unstable
 * @since 0.1.0
 */
import type { Crypto } from "@effect-session/core/Crypto"
import * as SessionBackend from "@effect-session/core/SessionBackend"
import type { SessionConfig } from "@effect-session/core/SessionConfig"
import { SessionQuery } from "@effect-session/core/SessionQuery"
import { SessionStore, type SessionStoreError } from "@effect-session/core/SessionStore"
import * as Clock from "effect/Clock"
import * as Config from "effect/Config"
import * as Context from "effect/Context"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as CrossBucket from "./internal/crossBucket.ts"
import * as EvictionPolicy from "./internal/evictionPolicy.ts"
import * as Layout from "./internal/layout.ts"
import * as RedisQuery from "./internal/redisQuery.ts"
import * as Runner from "./internal/runner.ts"
import { ServerClock } from "./internal/serverClock.ts"
import * as ServerVersion from "./internal/serverVersion.ts"
import * as SessionSteps from "./internal/sessionSteps.ts"
import { RedisClient } from "./RedisClient.ts"

/**
 * Options of the Redis store.
 *
 * @stability unstable
 * @category options
 * @since 0.1.0
 */
export interface Options {
  /** Whether sessions leave events for `SessionStream`, in the step that changes them. `true` by default. */
  readonly events?: boolean | undefined
  /** About how many events are kept, in a cluster for each of the 4,096 buckets. 10,000 by default, 100 in a cluster. */
  readonly eventCapacity?: number | undefined
  /** How long events outlive the last one, 7 days by default. */
  readonly eventRetention?: Duration.Input | undefined
  /**
   * How long Redis keeps a record past its deadline, so that its end can be noticed
   * and reported, 10 minutes by default. It is over at its deadline all the same.
   */
  readonly linger?: Duration.Input | undefined
  /**
   * What to do when the server would evict any key (`allkeys-*`) once its memory is
   * full: warn, which is the default, or fail to start.
   */
  readonly onEviction?: "warn" | "fail" | undefined
  /** Of how many sessions a process remembers the last activity, 20,000 by default. */
  readonly rememberedActivity?: number | undefined
}

/**
 * The services of one store.
 *
 * @stability unstable
 * @category models
 * @since 0.1.0
 */
export interface Services {
  readonly store: SessionStore["Service"]
  readonly query: SessionQuery["Service"]
}

const integer = (name: string, value: number, least: number): number => {
  if (!Number.isInteger(value) || value < least) {
    throw new RangeError(`RedisStore: ${name} must be an integer, at least ${least}`)
  }
  return value
}

const millis = (name: string, input: Duration.Input): number =>
  integer(name, Math.ceil(Duration.toMillis(Duration.fromInputUnsafe(input))), 0)

/**
 * Makes a store over a client of Redis.
 *
 * **Details**
 *
 * A server older than Redis 7 is refused: at the start, or by the first operation
 * if it could not be asked before.
 *
 * The eviction policy of the server is looked up with `INFO memory` or `CONFIG
 * GET`; without permission for either the check is skipped, with a line in the
 * log.
 *
 * A user of Redis needs some twenty commands on keys that begin with the prefix;
 * the guide to Redis lists them. One that may run a part of them only can leave
 * a step half done.
 *
 * A scan remembers the keys it has given, in about 25 bytes for each, and holds
 * the records of a few hundred sessions. It may meet a session that is renewed
 * meanwhile under both of its keys, or under none.
 *
 * **Gotchas**
 *
 * In a cluster the key of a signed-in session has to begin with the bucket of
 * its subject, as those of `Crypto` do; otherwise methods die. When a session
 * signs in and moves to another bucket, that takes three scripts on two masters.
 * Wherever they are cut off, exactly one of the two keys is live.
 *
 * The format of a payload has to be an integer of 32 bits, not negative; with any
 * other one methods die.
 *
 * Redis replicates asynchronously. A failover can lose what was acknowledged
 * just before it, the end of a session included: such a session is back until
 * its deadline or its next revocation. `min-replicas-to-write` on the server
 * narrows the window; nothing closes it.
 *
 * Throws a `RangeError` for options out of range, and for a prefix with braces.
 *
 * @stability unstable
 * @category constructors
 * @since 0.1.0
 */
export const make = (options: Options = {}): Effect.Effect<Services, SessionStoreError, RedisClient> => {
  const events = options.events ?? true
  const retention = millis("eventRetention", options.eventRetention ?? "7 days")
  const linger = millis("linger", options.linger ?? "10 minutes")
  const remembered = integer("rememberedActivity", options.rememberedActivity ?? 20_000, 0)
  const capacity = options.eventCapacity === undefined
    ? undefined
    : integer("eventCapacity", options.eventCapacity, 1)
  return Effect.gen(function*() {
    const client = yield* RedisClient
    const layout = Layout.make(client.prefix, client.clustered)
    const runner = Runner.make(client, layout, new ServerClock(yield* Clock.Clock), {
      events: events ? capacity ?? (client.clustered ? 100 : 10_000) : 0,
      retention,
      linger
    })
    yield* ServerVersion.check(client)
    yield* EvictionPolicy.check(client, {
      name: "Redis session store",
      loss: "sessions, and what revoked them, can vanish",
      refuses: (policy) => options.onEviction === "fail" && policy.startsWith("allkeys")
    })
    const crossing = CrossBucket.make(runner)
    return {
      store: SessionSteps.make(runner, crossing, { events, remembered }),
      query: RedisQuery.make(client, runner, crossing)
    }
  })
}

const contextOf = ({ query, store }: Services): Context.Context<SessionStore | SessionQuery> =>
  Context.add(Context.make(SessionStore, store), SessionQuery, query)

/**
 * Provides a Redis store: `SessionStore` and `SessionQuery`.
 *
 * **When to use**
 *
 * Use to put something between the store and the sessions, such as a guard
 * against outages; {@link layer} is the two together.
 *
 * @stability unstable
 * @category layers
 * @since 0.1.0
 */
export const layerStore = (
  options?: Options
): Layer.Layer<SessionStore | SessionQuery, SessionStoreError, RedisClient> =>
  Layer.effectContext(Effect.map(make(options), contextOf))

/**
 * Provides a Redis store from wrapped configuration options.
 *
 * @stability unstable
 * @category layers
 * @since 0.1.0
 */
export const layerStoreConfig = (
  options: Config.Wrap<Options>
): Layer.Layer<SessionStore | SessionQuery, SessionStoreError | Config.ConfigError, RedisClient> =>
  Layer.effectContext(
    Effect.flatMap(Config.unwrap<Options>(options), (options) => Effect.map(make(options), contextOf))
  )

/**
 * Provides the seam that sessions stand on over the store below it, with payloads
 * sealed as the preset says: for compositions that put something between the two.
 *
 * **Example** (Resilience between sessions and Redis)
 *
 * ```ts
 * import { Resilience, SessionConfig } from "@effect-session/core"
 * import * as CryptoNode from "@effect-session/core/CryptoNode"
 * import { RedisClient, RedisStore } from "@effect-session/redis"
 * import { Layer } from "effect"
 *
 * const Sessions = RedisStore.layerBackend.pipe(
 *   Layer.provideMerge(RedisStore.layerStore().pipe(Resilience.over())),
 *   Layer.provide(RedisClient.layerConfig()),
 *   Layer.provide(CryptoNode.layer),
 *   Layer.provide(SessionConfig.layerConfig())
 * )
 * console.log(Layer.isLayer(Sessions)) // => true
 * ```
 *
 * @stability unstable
 * @category layers
 * @since 0.1.0
 */
export const layerBackend: Layer.Layer<
  SessionBackend.SessionBackend,
  never,
  SessionStore | Crypto | SessionConfig
> = SessionBackend.layer("redis", { sealByDefault: true })

/**
 * Provides a Redis store with the seam above it: everything sessions need of a
 * backend.
 *
 * **Example** (How many sessions a user has)
 *
 * ```ts
 * // needs: redis
 * import { SessionConfig, SessionQuery } from "@effect-session/core"
 * import * as CryptoNode from "@effect-session/core/CryptoNode"
 * import { RedisClient, RedisStore } from "@effect-session/redis"
 * import { Effect, Layer, Redacted } from "effect"
 *
 * const Sessions = RedisStore.layer().pipe(
 *   Layer.provide([RedisClient.layerConfig(), CryptoNode.layer]),
 *   Layer.provide(SessionConfig.layer({
 *     preset: "production",
 *     secrets: Redacted.make("jW8_Rt3-Kp6.Vn9+Hx2/Qz5=Ym7~Bc4^Fd1?")
 *   }))
 * )
 *
 * const program = Effect.gen(function*() {
 *   const query = yield* SessionQuery.SessionQuery
 *   return (yield* query.bySubject("ada")).length
 * })
 *
 * console.log(await Effect.runPromise(Effect.provide(program, Sessions))) // => 0
 * ```
 *
 * @stability unstable
 * @category layers
 * @since 0.1.0
 */
export const layer = (
  options?: Options
): Layer.Layer<
  SessionStore | SessionQuery | SessionBackend.SessionBackend,
  SessionStoreError,
  RedisClient | Crypto | SessionConfig
> => Layer.provideMerge(layerBackend, layerStore(options))

/**
 * Provides a Redis store with the seam above it from wrapped configuration
 * options.
 *
 * @stability unstable
 * @category layers
 * @since 0.1.0
 */
export const layerConfig = (
  options: Config.Wrap<Options>
): Layer.Layer<
  SessionStore | SessionQuery | SessionBackend.SessionBackend,
  SessionStoreError | Config.ConfigError,
  RedisClient | Crypto | SessionConfig
> => Layer.provideMerge(layerBackend, layerStoreConfig(options))
