/** Stores that are compared with their model: nodes over one memory store. */
import type { SessionQuery, SessionStore } from "@effect-session/core"
import * as StoreModelTest from "@effect-session/core/testing/StoreModelTest"
import { describe, it } from "@effect/vitest"
import { type Context, Effect, type Scope } from "effect"
import { TestClock } from "effect/testing"
import * as Nodes from "./Nodes.ts"

type Stores = Context.Context<SessionStore.SessionStore | SessionQuery.SessionQuery>

// The seed repeats a run; a failure names it too.
export const print = (what: string, { commands, runs, seed }: StoreModelTest.ModelReport): Effect.Effect<void> =>
  Effect.sync(() => process.stdout.write(`${what}: ${runs} sequences, ${commands} calls, seed ${seed}\n`))

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
}
