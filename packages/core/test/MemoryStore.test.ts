import { describe, it } from "@effect/vitest"
import { Effect } from "effect"
import { TestClock } from "effect/testing"
import * as MemoryStore from "../src/MemoryStore.ts"
import * as StoreConformance from "../src/testing/StoreConformance.ts"

describe("MemoryStore keeps the laws of a store", () => {
  for (const law of StoreConformance.laws({ elapse: TestClock.adjust })) {
    it.effect(law.name, () => Effect.provide(law.run, MemoryStore.layerStore()))
  }
})
