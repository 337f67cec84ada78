/**
 * Keeps copies of sessions in the memory of a node, in front of any store, and
 * gives them up when a session changes anywhere.
 *
 * Reads are answered by a copy if there is one that may be used; writes go to the
 * store, are confirmed there, and are told to the other nodes before they
 * succeed. Every write is compared with the version in the store, so a copy that
 * is too old can make a write fail with a conflict and can never overwrite what
 * it did not see.
 *
 * A copy is used only while this node surely hears the others (`Invalidation`).
 * When it might not, the store is asked, as if there were no copies.
 *
 * @stability unstable
 * @since 0.1.0
 */
import { Crypto } from "@effect-session/core/Crypto"
import type { SessionBackend } from "@effect-session/core/SessionBackend"
import { SessionQuery } from "@effect-session/core/SessionQuery"
import { type Lookup, SessionStore, type SessionStoreError } from "@effect-session/core/SessionStore"
import * as Config from "effect/Config"
import * as Context from "effect/Context"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import type * as Scope from "effect/Scope"
import type * as Stream from "effect/Stream"
import * as clusteredStore from "./internal/clusteredStore.ts"
import * as clusterServices from "./internal/clusterServices.ts"
import { Invalidation, type Stats as ChannelStats } from "./Invalidation.ts"
import type { Cause, Ended } from "./SessionEnd.ts"

/**
 * Whether a read must ask the store, `false` by default. Provide it as `true` to a
 * route that must not act on what may be a hundred milliseconds old.
 *
 * @stability unstable
 * @category services
 * @since 0.1.0
 */
export const Fresh: Context.Reference<boolean> = clusteredStore.Fresh

/**
 * Hits whose copy was at most this old, and older than the bound before.
 *
 * @stability unstable
 * @category models
 * @since 0.1.0
 */
export interface AgeBucket {
  /** Milliseconds since the store was asked; `Infinity` for the last one. */
  readonly upTo: number
  readonly hits: number
}

/**
 * What the cache of a node holds, and what it has counted since it was made.
 *
 * @stability unstable
 * @category models
 * @since 0.1.0
 */
export interface Stats {
  readonly size: number
  /** Estimated bytes of the copies held. */
  readonly bytes: number
  /** Whether copies are used without limit at this moment. */
  readonly trusted: boolean
  readonly hits: number
  readonly misses: number
  /** Hits among the reads that looked for a copy; 0 if there were none. */
  readonly hitRate: number
  /** Reads that went to the store because no copy could be trusted, or was wanted. */
  readonly bypasses: number
  /** Misses that waited for the read of another one. */
  readonly joined: number
  readonly fills: number
  /** Copies dropped because there was no room. */
  readonly evictions: number
  /** Copies dropped because of their age, or a deadline of the session. */
  readonly expirations: number
  /** Times all copies were dropped. */
  readonly flushes: number
  /** Changes that other nodes told of. */
  readonly invalidationsIn: number
  /** Changes that the other nodes were told. */
  readonly invalidationsOut: number
  /** Changes that the other nodes could not be told. */
  readonly publishFailures: number
  /** Hits by the age of the copy. */
  readonly ages: ReadonlyArray<AgeBucket>
  readonly channel: ChannelStats
}

/**
 * Service for what only a cached store can tell and do. All of it concerns this
 * node alone.
 *
 * @stability unstable
 * @category services
 * @since 0.1.0
 */
export class ClusterStore extends Context.Service<ClusterStore, {
  /** Name of this node. */
  readonly node: string
  readonly stats: Effect.Effect<Stats>
  /** Reads a key from the store, whatever there is of copies. */
  readonly fresh: (key: string) => Effect.Effect<Lookup, SessionStoreError>
  /** The age of the copy of a key in milliseconds, `undefined` if there is none. */
  readonly age: (key: string) => Effect.Effect<number | undefined>
  /** Drops the copy of a key and says whether there was one. */
  readonly evict: (key: string) => Effect.Effect<boolean>
  /** Drops all copies. */
  readonly clear: Effect.Effect<void>
  /** Ends of sessions that this node hears of, its own included, from now on. */
  readonly ended: Stream.Stream<Ended>
  /** Waits until the session of a key is over. */
  readonly awaitEnd: (key: string) => Effect.Effect<Cause>
}>()("@effect-session/cluster/ClusterStore") {}

/**
 * Options of the cache.
 *
 * @stability unstable
 * @category options
 * @since 0.1.0
 */
export interface Options {
  /** Name of the store in metrics: one fixed word, `cluster` by default. */
  readonly name?: string | undefined
  /** How long a copy is used at most, 30 seconds by default; each one up to a tenth less. */
  readonly localTtl?: Duration.Input | undefined
  /** How long it is remembered that there is no session, 1 second by default; zero forgets at once. */
  readonly absentTtl?: Duration.Input | undefined
  /** Number of copies at most, 10,000 by default. */
  readonly maxEntries?: number | undefined
  /** Estimated bytes of all copies at most, 64 MiB by default. */
  readonly maxBytes?: number | undefined
  /**
   * What becomes of a session that is ended when the other nodes cannot be told:
   *
   * - `fail` (default): it is over in the store, and the call fails. Call again.
   * - `shorten`: the call succeeds. The others notice that this node is silent, and
   *   use no copy that is older than the channel's `silentTtl`. Fails as well once
   *   that can have lasted so long that they may take this node for dead.
   */
  readonly onPublishFailed?: "fail" | "shorten" | undefined
}

/**
 * A store with its cache.
 *
 * @stability unstable
 * @category models
 * @since 0.1.0
 */
export interface Services {
  readonly store: SessionStore["Service"]
  readonly query: SessionQuery["Service"] | undefined
  readonly cluster: ClusterStore["Service"]
}

const count = (name: string, value: number): number => {
  if (!Number.isInteger(value) || value < 1) {
    throw new RangeError(`ClusterStore: ${name} must be an integer of at least 1, got ${value}`)
  }
  return value
}

const settingsOf = (options: Options) => {
  const localTtl = Duration.toMillis(Duration.fromInputUnsafe(options.localTtl ?? "30 seconds"))
  const absentTtl = Duration.toMillis(Duration.fromInputUnsafe(options.absentTtl ?? "1 second"))
  if (!(localTtl > 0 && Number.isFinite(localTtl))) {
    throw new RangeError(`ClusterStore: localTtl must be above zero and finite, got ${localTtl} ms`)
  }
  if (!(absentTtl >= 0 && absentTtl <= localTtl)) {
    throw new RangeError(`ClusterStore: absentTtl must be from zero to localTtl, got ${absentTtl} ms`)
  }
  return {
    name: options.name ?? "cluster",
    ttl: localTtl,
    absentTtl,
    maxEntries: count("maxEntries", options.maxEntries ?? 10_000),
    maxBytes: count("maxBytes", options.maxBytes ?? 64 * 1024 * 1024),
    onPublishFailed: options.onPublishFailed ?? "fail"
  }
}

/**
 * Puts a cache in front of the `SessionStore` of the context, and of its
 * `SessionQuery` if there is one.
 *
 * **Gotchas**
 *
 * Throws a `RangeError` for a number that is out of range, and for an `absentTtl`
 * above `localTtl`.
 *
 * @stability unstable
 * @category constructors
 * @since 0.1.0
 */
export const make = (
  options: Options = {}
): Effect.Effect<Services, never, SessionStore | Invalidation | Crypto | Scope.Scope> => {
  const settings = settingsOf(options)
  return Effect.gen(function*() {
    return yield* clusterServices.make(settings, {
      store: yield* SessionStore,
      query: Option.getOrUndefined(yield* Effect.serviceOption(SessionQuery)),
      invalidation: yield* Invalidation,
      crypto: yield* Crypto
    })
  })
}

const contextOf = ({ cluster, query, store }: Services): Context.Context<SessionStore | ClusterStore> => {
  const context = Context.make(SessionStore, store).pipe(Context.add(ClusterStore, cluster))
  return query === undefined ? context : Context.add(context, SessionQuery, query)
}

/**
 * Provides a cached `SessionStore` in the place of the one that is provided to it.
 * For a layer with more services, see {@link over}.
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
): Layer.Layer<SessionStore | ClusterStore, never, SessionStore | Invalidation | Crypto> =>
  Layer.effectContext(Effect.map(make(options), contextOf))

/**
 * Provides a cached `SessionStore` from wrapped configuration options.
 *
 * @stability unstable
 * @category layers
 * @since 0.1.0
 */
export const layerConfig = (
  options: Config.Wrap<Options>
): Layer.Layer<SessionStore | ClusterStore, Config.ConfigError, SessionStore | Invalidation | Crypto> =>
  Layer.effectContext(Effect.flatMap(Config.unwrap(options), (options) => Effect.map(make(options), contextOf)))

/**
 * A layer that a cache can be put in front of: it provides a `SessionStore`, and
 * no `SessionBackend` that has been built over it.
 *
 * @stability unstable
 * @category models
 * @since 0.1.0
 */
export type Cacheable<ROut> = [SessionStore] extends [ROut]
  ? [SessionBackend] extends [ROut]
    ? "take the layer of the store alone: a SessionBackend built below would not see the cache"
  : unknown
  : "the layer provides no SessionStore"

/**
 * Puts a cache in front of the `SessionStore` of a layer, and of its
 * `SessionQuery`, and leaves its other services as they are.
 *
 * **Gotchas**
 *
 * Takes the layer of a store alone, such as `MemoryStore.layerStore()`: a
 * `SessionBackend` that a layer brings along would go past the cache, so such a
 * layer does not compile. Put `SessionBackend.layer` above.
 *
 * @stability unstable
 * @category combinators
 * @since 0.1.0
 */
export const over = (options?: Options) =>
<ROut, E, R>(
  stores: Layer.Layer<ROut, E, R> & Cacheable<ROut>
): Layer.Layer<ROut | ClusterStore, E, R | Invalidation | Crypto> => {
  const cached: Layer.Layer<SessionStore | ClusterStore, never, SessionStore | Invalidation | Crypto> = layer(options)
  return Layer.provideMerge(cached, stores as Layer.Layer<ROut | SessionStore, E, R>)
}
