import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Option from "effect/Option"
import type * as CircuitBreaker from "effect/persistence/CircuitBreaker"
import * as PubSub from "effect/PubSub"
import * as Schedule from "effect/Schedule"
import type * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import type * as Take from "effect/Take"
import type { Load, Services } from "../Resilience.ts"
import { Revocations } from "../Revocations.ts"
import { SessionQuery } from "../SessionQuery.ts"
import { SessionStore } from "../SessionStore.ts"
import type { Operation } from "../StoreFault.ts"
import { Bulkhead } from "./bulkhead.ts"
import { Circuit } from "./circuit.ts"
import * as deadlines from "./deadlines.ts"
import { Guard } from "./guard.ts"
import * as guardMetrics from "./guardMetrics.ts"
import { PendingDestroys } from "./pendingDestroys.ts"
import { Recovery } from "./recovery.ts"
import type { Settings } from "./resilienceSettings.ts"
import * as resilientStore from "./resilientStore.ts"
import { RetryBudget } from "./retryBudget.ts"
import { StaleCopies } from "./staleCopies.ts"

// Retries that a store with little traffic has in any case.
const reserve = 10

/** Puts the decorator together. Everything that runs ends with the scope. */
export const make: (settings: Settings) => Effect.Effect<Services, never, SessionStore | Scope.Scope> = Effect
  .fnUntraced(function*(settings: Settings) {
    const { name, outage, probes, retryBudget, shardOf, shutdown, tripPolicy } = settings
    const store = yield* SessionStore
    const query = yield* Effect.serviceOption(SessionQuery)
    const revocations = yield* Effect.serviceOption(Revocations)
    const context = yield* Effect.context<never>()
    const fork = Effect.runForkWith(context)
    const metrics = guardMetrics.make(name, context)
    const timers = yield* deadlines.make(yield* Clock.Clock)
    const transitions = yield* PubSub.sliding<Take.Take<CircuitBreaker.Transition>>(128)
    yield* Effect.addFinalizer(() => PubSub.end(transitions, Exit.void))

    const circuits = new Map<string, Circuit>()
    const recovery = new Recovery(
      store,
      () => circuits.values(),
      timers,
      settings.recoveryCheck,
      settings.slowCall,
      fork
    )
    const circuit = (key: string): Circuit => {
      let found = circuits.get(key)
      if (found === undefined) {
        found = new Circuit(key, tripPolicy, probes, (transition) => {
          metrics.circuit(key, transition.from, transition.to)
          if (transition.to === "Open") recovery.watch()
          fork(PubSub.publish(transitions, [transition]))
        })
        circuits.set(key, found)
      }
      return found
    }
    const readCircuit = circuit(`${name}:read`)
    const writeCircuit = circuit(`${name}:write`)
    const circuitOf = (operation: Operation, key: string | undefined): Circuit => {
      const reads = operation === "load" || operation === "bySubject"
      if (shardOf === undefined || key === undefined) return reads ? readCircuit : writeCircuit
      const shard = shardOf(key)
      return circuit(reads ? `${shard}:read` : `${shard}:write`)
    }

    const bulkhead = new Bulkhead(settings.maxInFlight, settings.maxQueued, timers)
    const budget = new RetryBudget(retryBudget, retryBudget === 0 ? 0 : reserve)
    const guard = new Guard({ ...settings, circuitOf }, timers, bulkhead, budget, metrics, fork)
    // What the fallback of the last process holds is not known yet.
    const fallbacks: resilientStore.Fallbacks = new Set(outage._tag === "Fallback" ? [outage] : [])
    const pending = settings.pending === undefined ? undefined : new PendingDestroys(
      settings.pending,
      timers,
      metrics,
      (key) => resilientStore.endEverywhere(store.destroy(key), key, fallbacks),
      (key) =>
        resilientStore.endEverywhere(
          Effect.withFiber((fiber) => guard.run(fiber, "destroy", key, () => store.destroy(key))),
          key,
          fallbacks
        ),
      fork
    )
    const load = Effect.sync((): Load => ({
      inFlight: bulkhead.inFlight,
      queued: bulkhead.queued,
      retriesLeft: budget.left,
      pendingDestroys: pending?.size ?? 0
    }))
    yield* Effect.map(load, metrics.gauges).pipe(Effect.repeat(Schedule.spaced("5 seconds")), Effect.forkScoped)
    yield* Effect.addFinalizer(() =>
      recovery.close.pipe(
        Effect.andThen(guard.close(shutdown / 2)),
        Effect.andThen(pending === undefined ? Effect.void : pending.close(shutdown / 2))
      )
    )

    const parts: resilientStore.Parts = {
      guard,
      pending,
      copies: settings.maxCopies === undefined ? undefined : new StaleCopies(settings.maxCopies),
      policy: outage,
      revocations: Option.getOrUndefined(revocations)
    }
    return {
      store: resilientStore.make(store, parts, fallbacks),
      query: Option.isSome(query) ? resilientStore.makeQuery(query.value, parts, fallbacks) : undefined,
      resilience: {
        circuits: Effect.sync(() => {
          const now = timers.now()
          return Array.from(circuits.values(), (circuit) => circuit.snapshot(now))
        }),
        transitions: Stream.fromPubSubTake(transitions),
        recent: Effect.sync(() => guard.recent),
        load,
        ready: Effect.sync(() => {
          const now = timers.now()
          return guard.accepting &&
            Array.from(circuits.values()).every((circuit) => !circuit.key.endsWith(":write") || !circuit.isWaiting(now))
        })
      }
    }
  })
