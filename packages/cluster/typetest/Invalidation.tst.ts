import { Invalidation } from "@effect-session/cluster"
import type { Layer } from "effect"
import { describe, expect, test } from "tstyche"

describe("Invalidation", () => {
  test("the memory layers cannot fail, and the nodes of one process share a bus", () => {
    expect(Invalidation.layerMemory()).type.toBe<
      Layer.Layer<Invalidation.Invalidation, never, Invalidation.MemoryBus>
    >()
    expect(Invalidation.layerMemoryBus).type.toBe<Layer.Layer<Invalidation.MemoryBus>>()
  })
})
