import { StoreConformance } from "@effect-session/core/testing"
import { describe, it } from "@effect/vitest"
import { Effect } from "effect"
import { TestClock } from "effect/testing"
import * as Models from "./Models.ts"

for (const { make, name } of Models.stores) {
  describe(name, () => {
    for (const law of StoreConformance.laws({ elapse: TestClock.adjust, races: 50 })) {
      it.effect(law.name, () => Effect.flatMap(make, (context) => Effect.provide(law.run, context)))
    }
  })
}

// More of them in chaos/Models.test.ts.
Models.compare(250)
