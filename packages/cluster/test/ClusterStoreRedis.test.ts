import { StoreConformance } from "@effect-session/core/testing"
import * as NodesModelTest from "@effect-session/core/testing/NodesModelTest"
import * as StoreModelTest from "@effect-session/core/testing/StoreModelTest"
import { assert, describe, layer } from "@effect/vitest"
import { Effect } from "effect"
import * as Models from "./Models.ts"
import * as RedisNodes from "./RedisNodes.ts"

// More of them in chaos/Models.test.ts.
const runs = 60

const options = { elapse: Effect.sleep, unit: 50, exactTime: false, races: 10 }

// The time of a copy is an estimate: it is ahead of the store's by as long as a request was on its way.
const clockTolerance = 100
const ofTime = new Set(["create stamps every instant with the store's time", "load changes nothing"])
const laws = [
  ...StoreConformance.laws({ ...options, clockTolerance }).filter(({ name }) => !ofTime.has(name)),
  // These with a step of time that is long against it.
  ...StoreConformance.laws({ ...options, clockTolerance, unit: 400 }).filter(({ name }) => ofTime.has(name))
]

// Two reads on two nodes: the second may tell of a time before the first. On one node the law holds.
const acrossNodes = "readers beside a renewal always find one live key"

describe("three cached nodes over Redis, another one for every call", () => {
  layer(RedisNodes.make(3), { excludeTestServices: true })((it) => {
    for (const law of laws) if (law.name !== acrossNodes) it.effect(law.name, () => law.run)

    it.effect("do what the model does", () =>
      Effect.flatMap(
        StoreModelTest.sequential({ ...options, runs }),
        (report) => Models.print("three nodes over Redis, sequential", report)
      ), 60_000)
  })
})

describe("one cached node over Redis", () => {
  layer(RedisNodes.make(1), { excludeTestServices: true })((it) => {
    for (const law of laws) if (law.name === acrossNodes) it.effect(law.name, () => law.run)

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

Models.onRedis(1200)

// What the model must find.
describe("three cached nodes over Redis that hear the others 300 ms late", () => {
  layer(RedisNodes.three(300, 300, 300), { excludeTestServices: true })((it) => {
    it.effect("are found out", () =>
      Effect.gen(function*() {
        const nodes = yield* RedisNodes.Three
        const error = yield* Effect.flip(
          NodesModelTest.parallel({ ...options, nodes, staleFor: "100 millis", runs: 50 })
        )
        assert.include(error.message, "after 100 ms every node says")
      }), 60_000)
  })
})
