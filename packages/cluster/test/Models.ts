/** Stores that are compared with their model: nodes over one memory store. */
import { SessionQuery, SessionStore } from "@effect-session/core"
import * as NodesModelTest from "@effect-session/core/testing/NodesModelTest"
import * as StoreModelTest from "@effect-session/core/testing/StoreModelTest"
import { describe, it, layer } from "@effect/vitest"
import { Context, Effect, type Scope } from "effect"
import { TestClock } from "effect/testing"
import * as Nodes from "./Nodes.ts"
import * as RedisNodes from "./RedisNodes.ts"

type Stores = Context.Context<SessionStore.SessionStore | SessionQuery.SessionQuery>

// The seed repeats a run; a failure names it too.
export const print = (what: string, { commands, runs, seed }: StoreModelTest.ModelReport): Effect.Effect<void> =>
  Effect.sync(() => process.stdout.write(`${what}: ${runs} sequences, ${commands} calls, seed ${seed}\n`))

export const printNodes = (what: string, report: NodesModelTest.Report): Effect.Effect<void> =>
  print(`${what}, ${report.hits} reads from copies, ${report.stale} sequences with a stale one`, report)

/** A store whose answers take some turns of the scheduler, there and back. */
const slow: Nodes.Around = (store) => {
  let calls = 0
  const turns = Effect.suspend(() => {
    let left = calls++ % 4
    return Effect.whileLoop({ while: () => left-- > 0, body: () => Effect.yieldNow, step: () => {} })
  })
  const late = <A, E>(call: Effect.Effect<A, E>): Effect.Effect<A, E> =>
    Effect.andThen(turns, Effect.tap(call, () => turns))
  return {
    load: (key, options) => late(store.load(key, options)),
    create: (record, limit) => late(store.create(record, limit)),
    save: (key, version, change) => late(store.save(key, version, change)),
    touch: (key) => late(store.touch(key)),
    renew: (key, version, replacement, options) => late(store.renew(key, version, replacement, options)),
    destroy: (key) => late(store.destroy(key))
  }
}

const nodes = (count: number, options?: Nodes.Options, around?: Nodes.Around) =>
  Effect.map(Nodes.make(count, options, around), ({ nodes }) => Nodes.spread(nodes))

export const stores: ReadonlyArray<
  { readonly name: string; readonly make: Effect.Effect<Stores, never, Scope.Scope> }
> = [
  { name: "one cached node", make: nodes(1) },
  { name: "three cached nodes, another one for every call", make: nodes(3) },
  { name: "a cached node with room for two copies", make: nodes(1, { cache: { maxEntries: 2 } }) },
  { name: "a cached node over a slow store", make: nodes(1, {}, slow) }
]

/** Compares all of them with the model, in so many random sequences each. */
export const compare = (runs: number): void => {
  const options = { elapse: TestClock.adjust, runs }
  for (const { make, name } of stores) {
    describe(name, () => {
      it.effect(
        "does what its model does",
        () =>
          Effect.flatMap(make, (context) =>
            StoreModelTest.sequential(options).pipe(
              Effect.flatMap((report) => print(`${name}, sequential`, report)),
              Effect.provide(context)
            )),
        60_000
      )

      it.effect(
        "does everything in atomic steps",
        () =>
          Effect.flatMap(make, (context) =>
            StoreModelTest.parallel(options).pipe(
              Effect.flatMap((report) => print(`${name}, parallel`, report)),
              Effect.provide(context)
            )),
        60_000
      )
    })
  }

  for (
    const { around, name, staleFor } of [
      { name: "three cached nodes, each with callers of its own", around: undefined, staleFor: 0 },
      // Others hear of a write once the answer of the store is there, which may be after somebody has read it.
      { name: "three cached nodes over a slow store, each with callers of its own", around: slow, staleFor: 100 }
    ]
  ) {
    describe(name, () => {
      it.effect("do everything in atomic steps, of which a copy tells in time", () =>
        Effect.gen(function*() {
          const { nodes, query, store } = yield* Nodes.make(3, {}, around)
          const context = Context.make(SessionStore.SessionStore, store).pipe(
            Context.add(SessionQuery.SessionQuery, query)
          )
          const report = yield* Effect.provide(
            NodesModelTest.parallel({ ...options, nodes: Nodes.three(nodes), staleFor, size: 60 }),
            context
          )
          yield* printNodes(`${name}, parallel`, report)
        }), 60_000)
    })
  }
}

/** Compares three nodes over Redis with the model, each with callers of its own, in so many random sequences. */
export const onRedis = (runs: number): void => {
  describe("three cached nodes over Redis, each with callers of its own", () => {
    // Two of them hear the others late, so that there are copies to be caught.
    layer(RedisNodes.three(0, 1, 4), { excludeTestServices: true })((it) => {
      it.effect("do everything in atomic steps, of which a copy tells within 100 ms", () =>
        Effect.gen(function*() {
          const nodes = yield* RedisNodes.Three
          const options = { elapse: Effect.sleep, unit: 50, exactTime: false, runs, size: 60 }
          const report = yield* NodesModelTest.parallel({ ...options, nodes, staleFor: "100 millis" })
          yield* printNodes("three nodes over Redis, parallel", report)
        }), 600_000)
    })
  })
}
