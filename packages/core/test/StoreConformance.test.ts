import { describe, it } from "@effect/vitest"
import { Effect } from "effect"
import { TestClock } from "effect/testing"
import * as MemoryStore from "../src/MemoryStore.ts"
import * as StoreConformance from "../src/testing/StoreConformance.ts"
import * as StoreModelTest from "../src/testing/StoreModelTest.ts"

// The seed repeats a run; a failure names it too.
const print = (what: string, { commands, runs, seed }: StoreModelTest.ModelReport) =>
  Effect.sync(() => process.stdout.write(`${what}: ${runs} sequences, ${commands} calls, seed ${seed}\n`))

describe("memory store", () => {
  for (const law of StoreConformance.laws({ elapse: TestClock.adjust, races: 50 })) {
    it.effect(law.name, () => Effect.provide(law.run, MemoryStore.layerStore()))
  }

  const options = { elapse: TestClock.adjust, runs: 5000 }

  it.effect("does what its model does", () =>
    StoreModelTest.sequential(options).pipe(
      Effect.flatMap((report) => print("sequential", report)),
      Effect.provide(MemoryStore.layerStore())
    ), 60_000)

  it.effect("does everything in atomic steps", () =>
    StoreModelTest.parallel(options).pipe(
      Effect.flatMap((report) => print("parallel", report)),
      Effect.provide(MemoryStore.layerStore())
    ), 60_000)
})
