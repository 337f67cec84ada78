/** The memory store behind a script, decorated, and what its tests say again and again. */
import { Effect, Exit, Fiber, Layer, Metric } from "effect"
import { TestClock } from "effect/testing"
import * as MemoryStore from "../src/MemoryStore.ts"
import * as Resilience from "../src/Resilience.ts"
import { SessionQuery } from "../src/SessionQuery.ts"
import { SessionStore, type SessionStoreError } from "../src/SessionStore.ts"
import type { Operation } from "../src/StoreFault.ts"
import * as FaultStore from "../src/testing/FaultStore.ts"
import { change, newRecord, replacement } from "./memoryStoreFixture.ts"

/** A store that never opens its circuits, unless told otherwise. */
export const calm: Resilience.Options = { tripPolicy: { _tag: "Consecutive", failures: 1_000_000 } }

export const layer = (options: Resilience.Options = {}) =>
  MemoryStore.layerStore({ sweepInterval: "400 days" }).pipe(
    FaultStore.over,
    Resilience.over(options),
    Layer.provideMerge(FaultStore.layerClock),
    // Every test counts for itself.
    Layer.provideMerge(Layer.effect(Metric.MetricRegistry, Effect.sync(() => new Map())))
  )

export const setup = Effect.gen(function*() {
  const store = yield* SessionStore
  const query = yield* SessionQuery
  const faults = yield* FaultStore.FaultStore
  const resilience = yield* Resilience.Resilience
  const begin = (key: string, subject?: string) => store.create(newRecord(key, { subject }))
  return {
    store,
    query,
    faults,
    resilience,
    clock: yield* FaultStore.FaultClock,
    begin,
    tag: (key: string) => Effect.map(store.load(key), (lookup) => lookup._tag),
    /** One call of every operation, each of them valid for the session under `key`. */
    operations: (key: string): Readonly<Record<Operation, Effect.Effect<unknown, SessionStoreError>>> => ({
      load: store.load(key),
      create: store.create(newRecord(`${key}-new`)),
      save: store.save(key, 1, change("changed")),
      touch: store.touch(key),
      renew: store.renew(key, 1, replacement(`${key}-renewed`)),
      destroy: store.destroy(key),
      bySubject: query.bySubject("ada"),
      destroyBySubject: query.destroyBySubject("ada")
    }),
    outcomes: Effect.map(resilience.recent, (recent) => recent.map(({ outcome }) => outcome)),
    states: Effect.map(resilience.circuits, (circuits) => circuits.map(({ _tag }) => _tag))
  }
})

/** Runs an effect on time that passes as fast as it can, for as long as it may take. */
export const within = <A, E, R>(
  duration: string & Parameters<typeof TestClock.adjust>[0],
  effect: Effect.Effect<A, E, R>
): Effect.Effect<Exit.Exit<A, E> | undefined, never, R> =>
  Effect.gen(function*() {
    const fiber = yield* Effect.forkChild(effect, { startImmediately: true })
    yield* TestClock.adjust(duration)
    const exit = fiber.pollUnsafe()
    yield* Fiber.interrupt(fiber)
    return exit
  })

export const reasonOf = <A>(exit: Exit.Exit<A, SessionStoreError> | undefined) => {
  if (exit === undefined || Exit.isSuccess(exit)) return undefined
  const fail = exit.cause.reasons.find((reason) => reason._tag === "Fail")
  return fail?.error.reason
}

/** Sum of a metric over the series with the given tags. */
export const metric =
  (id: string, tags: Readonly<Record<string, string>> = {}) =>
  (snapshots: ReadonlyArray<Metric.Metric.Snapshot>): number =>
    snapshots
      .filter((snapshot) =>
        snapshot.id === id && Object.entries(tags).every(([name, value]) => snapshot.attributes?.[name] === value)
      )
      .reduce(
        (sum, { state }) => sum + ("count" in state ? Number(state.count) : "value" in state ? Number(state.value) : 0),
        0
      )
