import { StoreConformance } from "@effect-session/core/testing"
import * as StoreModelTest from "@effect-session/core/testing/StoreModelTest"
import { describe, layer } from "@effect/vitest"
import { Effect, Layer } from "effect"
import { layerServer, layerStore } from "./StoreFixture.ts"

const options = { elapse: Effect.sleep, unit: 50, exactTime: false, races: 10 }
const laws = StoreConformance.laws(options)

// The seed repeats a run; a failure names it too.
const print = (what: string, { commands, runs, seed }: StoreModelTest.ModelReport) =>
  Effect.sync(() => process.stdout.write(`${what}: ${runs} sequences, ${commands} calls, seed ${seed}\n`))

// The laws wait on real time, so those that may run at once do.
describe.concurrent("SQL store", () => {
  layer(layerStore({ table: "laws" }).pipe(Layer.provide(layerServer)), { excludeTestServices: true })((it) => {
    for (const law of laws.filter(({ exclusive }) => !exclusive)) it.effect(law.name, () => law.run)
  })
})

describe("SQL store alone", () => {
  layer(layerStore({ table: "alone" }).pipe(Layer.provide(layerServer)), { excludeTestServices: true })((it) => {
    for (const law of laws.filter(({ exclusive }) => exclusive)) it.effect(law.name, () => law.run)

    it.effect("does what its model does", () =>
      Effect.flatMap(
        StoreModelTest.sequential({ ...options, runs: 300 }),
        (report) => print("sequential", report)
      ), 60_000)

    it.effect("does everything in atomic steps", () =>
      Effect.flatMap(
        StoreModelTest.parallel({ ...options, runs: 300 }),
        (report) => print("parallel", report)
      ), 60_000)
  })
})
