/**
 * Carries sessions through outages of their store: one decorator over any
 * `SessionStore`.
 *
 * Every operation ends within a deadline, is tried again where that is safe, and
 * is refused at once while the store is known to be down or overloaded. What a
 * request gets instead is a policy: see `OutagePolicy`. What counts as a fault
 * and may be tried again is one table: see `StoreFault`.
 *
 * **Details**
 *
 * From the outside in, an operation passes:
 *
 * 1. the policy for outages, which answers for a store that does not;
 * 2. single flight: loads of one key that overlap become one, as long as no write
 *    has ended in between;
 * 3. the circuit, two per shard: one for reads and one for writes, so that a store
 *    which refuses to write still reads;
 * 4. the bulkhead, which bounds how many operations are under way, and wait;
 * 5. the deadline, which covers everything from the call to the answer;
 * 6. the retries, inside the deadline and inside their share of the traffic.
 *
 * Circuits speak the language of effect's `CircuitBreaker`: its trip policies, states
 * and transitions. They run on a machine of their own, because `execute` costs
 * more than this decorator may, and its memory store runs on wall-clock time and
 * admits one probe only.
 *
 * Reads are never hedged.
 *
 * **Example** (A store that is down for a moment)
 *
 * ```ts
 * import { MemoryStore, Resilience, SessionStore } from "@effect-session/core"
 * import { FaultStore } from "@effect-session/core/testing"
 * import { Effect, Layer } from "effect"
 *
 * const program = Effect.gen(function*() {
 *   const faults = yield* FaultStore.FaultStore
 *   const store = yield* SessionStore.SessionStore
 *   faults.next("load", FaultStore.failBefore)
 *   console.log((yield* store.load("key"))._tag) // => Absent
 *   console.log((yield* (yield* Resilience.Resilience).recent)[0].outcome) // => retried
 * })
 *
 * const Store = MemoryStore.layerStore().pipe(FaultStore.over, Resilience.over({ retryDelay: "5 millis" }))
 * await Effect.runPromise(Effect.provide(program, Store))
 * ```
 *
 * @stability unstable
 * @since 0.1.0
 */
import * as Config from "effect/Config"
import * as Context from "effect/Context"
import type * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import type * as CircuitBreaker from "effect/persistence/CircuitBreaker"
import type * as Schedule from "effect/Schedule"
import type * as Scope from "effect/Scope"
import type * as Stream from "effect/Stream"
import * as resilienceSettings from "./internal/resilienceSettings.ts"
import * as resilientServices from "./internal/resilientServices.ts"
import type * as OutagePolicy from "./OutagePolicy.ts"
import type { SessionBackend } from "./SessionBackend.ts"
import { SessionQuery } from "./SessionQuery.ts"
import { SessionStore, type SessionStoreError } from "./SessionStore.ts"
import type { Operation } from "./StoreFault.ts"

/**
 * How an operation ended.
 *
 * **Details**
 *
 * - `success`, `retried`: answered, at once or after retries. `slow`: answered so
 *   late that it counts against the store.
 * - `failure`: the store failed. `timeout`: it did not answer within the deadline.
 * - `circuitOpen`, `overloaded`, `closing`, `readOnly`: refused without asking it.
 * - `interrupted`, `defect`: says nothing about the store.
 *
 * @stability unstable
 * @category models
 * @since 0.1.0
 */
export type Outcome =
  | "success"
  | "retried"
  | "slow"
  | "failure"
  | "timeout"
  | "circuitOpen"
  | "overloaded"
  | "closing"
  | "readOnly"
  | "interrupted"
  | "defect"

/**
 * An operation that has ended, and the milliseconds it took.
 *
 * @stability unstable
 * @category models
 * @since 0.1.0
 */
export interface Recent {
  readonly operation: Operation
  readonly outcome: Outcome
  readonly millis: number
}

/**
 * What is going on at this moment.
 *
 * @stability unstable
 * @category models
 * @since 0.1.0
 */
export interface Load {
  /** Operations under way. */
  readonly inFlight: number
  /** Operations that wait for one of them to end. */
  readonly queued: number
  /** Retries that are within the budget. */
  readonly retriesLeft: number
  /** Ended sessions that the store has yet to confirm. */
  readonly pendingDestroys: number
}

/**
 * Service that tells how the store is doing.
 *
 * **Details**
 *
 * The same is recorded as metrics under `session.store.*`: the histogram
 * `operation_time` by operation and outcome, the counters `retries`,
 * `retries_refused`, `circuit_transitions`, `degraded` and `pending_destroy`, the
 * gauges `circuit_state`, `in_flight`, `queued`, `retry_budget` and
 * `pending_destroys`.
 *
 * @stability unstable
 * @category services
 * @since 0.1.0
 */
export class Resilience extends Context.Service<Resilience, {
  /** The state of every circuit. */
  readonly circuits: Effect.Effect<ReadonlyArray<CircuitBreaker.State>>
  /** Changes of circuits from now on; ends with the layer. */
  readonly transitions: Stream.Stream<CircuitBreaker.Transition>
  /** The last hundred operations, the newest first. */
  readonly recent: Effect.Effect<ReadonlyArray<Recent>>
  readonly load: Effect.Effect<Load>
  /** Whether writes are let through to the store, as far as its last answers tell. */
  readonly ready: Effect.Effect<boolean>
}>()("@effect-session/core/Resilience") {}

/**
 * The numbers of the decorator.
 *
 * @stability unstable
 * @category options
 * @since 0.1.0
 */
export interface Limits {
  /** Name of the store in metrics: one fixed word, `store` by default. */
  readonly name?: string | undefined
  /** Time in which every operation ends: queueing, retries and answer. 1 second by default. */
  readonly deadline?: Duration.Input | undefined
  /** Time from which an answer counts as a failure, half of the deadline by default. */
  readonly slowCall?: Duration.Input | undefined
  /** How often an operation is tried at most, 3 times by default. */
  readonly attempts?: number | undefined
  /** Longest time before the first retry, 100 ms by default. Doubles with each, up to 5 seconds; the time is random below it. */
  readonly retryDelay?: Duration.Input | undefined
  /** Share of the traffic that retries may be, 0.1 by default; with little traffic, 10 retries in all. */
  readonly retryBudget?: number | undefined
  /** Time a circuit stays open, 30 seconds by default, jittered by a fifth. */
  readonly openDuration?: Duration.Input | undefined
  /** Calls that have to succeed before a circuit closes again, 1 by default; no other is admitted meanwhile. */
  readonly probes?: number | undefined
  /**
   * Time between reads by which an open circuit finds out that the store is back,
   * 1 second by default; the next call is then the probe. Infinity waits for the
   * end of the open time.
   */
  readonly recoveryCheck?: Duration.Input | undefined
  /** Operations under way at most, 1,000 by default. */
  readonly maxInFlight?: number | undefined
  /** Operations that may wait for their turn, 1,000 by default. */
  readonly maxQueued?: number | undefined
  /** Ended sessions that may wait for the store, 1,000 by default. */
  readonly maxPendingDestroys?: number | undefined
  /** Time after which the end of a session is given up, 24 hours by default. */
  readonly pendingDestroyAge?: Duration.Input | undefined
  /** Sessions of which a copy is kept for stale reads, 10,000 by default. */
  readonly maxCopies?: number | undefined
  /** Time that operations under way have to end when the layer is closed, 5 seconds by default. */
  readonly shutdown?: Duration.Input | undefined
}

/**
 * Options of the decorator.
 *
 * @stability unstable
 * @category options
 * @since 0.1.0
 */
export interface Options extends Limits {
  /** Takes the place of `attempts` and `retryDelay`. Deadline and budget bound it. */
  readonly retry?: Schedule.Schedule<unknown, SessionStoreError> | undefined
  /** When a circuit opens: by default, when half of the last 20 calls failed, of at least 5. */
  readonly tripPolicy?: CircuitBreaker.TripPolicy | undefined
  /** Takes the place of `openDuration`: one step for each time in a row that the circuit opens. */
  readonly openSchedule?: Schedule.Schedule<unknown, number> | undefined
  /** What a route without a policy of its own gets in an outage: `OutagePolicy.fail` by default. */
  readonly outage?: OutagePolicy.OutagePolicy | undefined
  /** Whether copies are kept for routes with stale reads. By default only if `outage` is one. */
  readonly copies?: boolean | undefined
  /**
   * What becomes of a session that is ended in an outage. Both fail; with `queue`,
   * the default, it is over for this process at once and for the store when it is
   * back.
   */
  readonly onDestroyFailed?: "queue" | "refuse" | undefined
  /**
   * The shard or node of a key, each with circuits of its own; one word of a fixed
   * set. All keys are on one by default.
   */
  readonly shardOf?: ((key: string) => string) | undefined
}

/**
 * A decorated store.
 *
 * @stability unstable
 * @category models
 * @since 0.1.0
 */
export interface Services {
  readonly store: SessionStore["Service"]
  readonly query: SessionQuery["Service"] | undefined
  readonly resilience: Resilience["Service"]
}

/**
 * The default policy for retries: exponential, with full jitter. The seed of the
 * delay is `base`; no delay is above 5 seconds.
 *
 * @stability unstable
 * @category constructors
 * @since 0.1.0
 */
export const retrySchedule = (options?: {
  readonly attempts?: number | undefined
  readonly base?: Duration.Input | undefined
}): Schedule.Schedule<unknown, SessionStoreError> =>
  resilienceSettings.retrySchedule(options?.attempts ?? 3, options?.base ?? "100 millis")

/**
 * Decorates the `SessionStore` of the context, and its `SessionQuery` if there is
 * one.
 *
 * **Gotchas**
 *
 * Throws a `RangeError` for a number that is out of range.
 *
 * @stability unstable
 * @category constructors
 * @since 0.1.0
 */
export const make = (options: Options = {}): Effect.Effect<Services, never, SessionStore | Scope.Scope> =>
  resilientServices.make(resilienceSettings.make(options))

const contextOf = ({ query, resilience, store }: Services): Context.Context<SessionStore | Resilience> => {
  const context = Context.make(SessionStore, store).pipe(Context.add(Resilience, resilience))
  return query === undefined ? context : Context.add(context, SessionQuery, query)
}

/**
 * Provides a decorated `SessionStore` in the place of the one that is provided to
 * it. For a layer with more services, see {@link over}.
 *
 * **Gotchas**
 *
 * Throws a `RangeError` for options that {@link make} refuses.
 *
 * @stability unstable
 * @category layers
 * @since 0.1.0
 */
export const layer = (options?: Options): Layer.Layer<SessionStore | Resilience, never, SessionStore> =>
  Layer.effectContext(Effect.map(make(options), contextOf))

/**
 * Provides a decorated `SessionStore` from wrapped configuration options. What is
 * no number goes beside them.
 *
 * @stability unstable
 * @category layers
 * @since 0.1.0
 */
export const layerConfig = (
  limits: Config.Wrap<Limits>,
  options?: Omit<Options, keyof Limits>
): Layer.Layer<SessionStore | Resilience, Config.ConfigError, SessionStore> =>
  Layer.effectContext(
    Effect.flatMap(Config.unwrap(limits), (limits) => Effect.map(make({ ...limits, ...options }), contextOf))
  )

/**
 * Decorates the `SessionStore` of a layer, and its `SessionQuery`, and leaves its
 * other services as they are.
 *
 * **Gotchas**
 *
 * Takes the layer of a store alone, such as `MemoryStore.layerStore()`: a
 * `SessionBackend` that a layer brings along would go past the decorator, so such a
 * layer does not compile. Put `SessionBackend.layer` above:
 *
 * ```ts
 * import { MemoryStore, Resilience, SessionBackend } from "@effect-session/core"
 * import * as CryptoNode from "@effect-session/core/CryptoNode"
 * import * as SessionConfig from "@effect-session/core/SessionConfig"
 * import { Effect, Layer } from "effect"
 *
 * const Store = SessionBackend.layer("memory").pipe(
 *   Layer.provideMerge(MemoryStore.layerStore().pipe(Resilience.over({ deadline: "500 millis" }))),
 *   Layer.provide(CryptoNode.layer),
 *   Layer.provide(SessionConfig.layer({ preset: "development" }))
 * )
 * const ready = Effect.flatMap(Resilience.Resilience, ({ ready }) => ready)
 * console.log(await Effect.runPromise(Effect.provide(ready, Store))) // => true
 * ```
 *
 * @stability unstable
 * @category combinators
 * @since 0.1.0
 */
export const over = (options?: Options) =>
<ROut, E, R>(
  stores: Layer.Layer<ROut, E, R> & Decoratable<ROut>
): Layer.Layer<ROut | Resilience, E, R> => {
  const decorated: Layer.Layer<SessionStore | Resilience, never, SessionStore> = layer(options)
  return Layer.provideMerge(decorated, stores as Layer.Layer<ROut | SessionStore, E, R>)
}

/**
 * A layer that can be decorated: it provides a `SessionStore`, and no
 * `SessionBackend` that has been built over it.
 *
 * @stability unstable
 * @category models
 * @since 0.1.0
 */
export type Decoratable<ROut> = [SessionStore] extends [ROut]
  ? [SessionBackend] extends [ROut]
    ? "take the layer of the store alone: a SessionBackend built below would not see the decorator"
  : unknown
  : "the layer provides no SessionStore"
