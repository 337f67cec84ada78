import { Invalidation, type InvalidationError, RedisInvalidation } from "@effect-session/cluster"
import type { Crypto } from "@effect-session/core"
import type { RedisClient } from "@effect-session/redis"
import type { Layer } from "effect"
import { describe, expect, test } from "tstyche"

describe("Invalidation", () => {
  test("the memory layers cannot fail, and the nodes of one process share a bus", () => {
    expect(Invalidation.layerMemory()).type.toBe<
      Layer.Layer<Invalidation.Invalidation, never, Invalidation.MemoryBus | Crypto.Crypto>
    >()
    expect(Invalidation.layerMemoryBus).type.toBe<Layer.Layer<Invalidation.MemoryBus>>()
  })

  test("over Redis it takes the client of the application", () => {
    expect(RedisInvalidation.layer({ urls: [] })).type.toBe<
      Layer.Layer<
        Invalidation.Invalidation,
        InvalidationError.InvalidationError,
        RedisClient.RedisClient | Crypto.Crypto
      >
    >()
  })
})
