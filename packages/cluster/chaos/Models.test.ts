/** Random sequences of calls on cached nodes: many in the long form, next to none in the short one. */
import * as StoreModelTest from "@effect-session/core/testing/StoreModelTest"
import { describe, layer } from "@effect/vitest"
import { Effect } from "effect"
import * as Models from "../test/Models.ts"
import * as RedisNodes from "../test/RedisNodes.ts"

const long = process.env.CHAOS === "long"

Models.compare(long ? 2000 : 10)
Models.onRedis(long ? 20_000 : 20)

const options = { elapse: Effect.sleep, unit: 50, exactTime: false, runs: long ? 400 : 5 }

for (const count of [1, 3]) {
  describe(`${count} cached over Redis`, () => {
    layer(RedisNodes.make(count), { excludeTestServices: true })((it) => {
      it.effect(
        "do what the model does",
        () =>
          Effect.flatMap(StoreModelTest.sequential(options), (report) => Models.print(`${count} over Redis`, report)),
        120_000
      )
    })
  })
}

describe("one cached node over Redis", () => {
  layer(RedisNodes.make(1), { excludeTestServices: true })((it) => {
    it.effect(
      "does everything in atomic steps",
      () =>
        Effect.flatMap(StoreModelTest.parallel(options), (report) => Models.print("1 over Redis, parallel", report)),
      120_000
    )
  })
})
