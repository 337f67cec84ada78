import { StoreConformance } from "@effect-session/core/testing"
import * as StoreModelTest from "@effect-session/core/testing/StoreModelTest"
import { describe, layer } from "@effect/vitest"
import { Effect } from "effect"
import * as Models from "./Models.ts"
import * as RedisNodes from "./RedisNodes.ts"

// More of them in chaos/Models.test.ts.
const runs = 60

const options = { elapse: Effect.sleep, unit: 50, exactTime: false, races: 10 }

// What copies cannot keep to the millisecond, or across nodes before a message has arrived.
const notKept = new Set([
  // The time of a copy is estimated, and ahead of the store's by as much as a read takes.
  "create stamps every instant with the store's time",
  "load changes nothing",
  // Another node may serve the old key until it has heard of the renewal.
  "readers beside a renewal always find one live key"
])
const laws = StoreConformance.laws(options).filter(({ name }) => !notKept.has(name))

describe("three cached nodes over Redis, another one for every call", () => {
  layer(RedisNodes.make(3), { excludeTestServices: true })((it) => {
    for (const law of laws) it.effect(law.name, () => law.run)

    it.effect("do what the model does", () =>
      Effect.flatMap(
        StoreModelTest.sequential({ ...options, runs }),
        (report) => Models.print("three nodes over Redis, sequential", report)
      ), 60_000)
  })
})

describe("one cached node over Redis", () => {
  layer(RedisNodes.make(1), { excludeTestServices: true })((it) => {
    it.effect("does what its model does", () =>
      Effect.flatMap(
        StoreModelTest.sequential({ ...options, runs }),
        (report) => Models.print("one node over Redis, sequential", report)
      ), 60_000)

    it.effect("does everything in atomic steps", () =>
      Effect.flatMap(
        StoreModelTest.parallel({ ...options, runs }),
        (report) => Models.print("one node over Redis, parallel", report)
      ), 60_000)
  })
})
