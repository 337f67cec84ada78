import { ClusterStore, type Invalidation, SessionEnd } from "@effect-session/cluster"
import { type Crypto, MemoryStore, type SessionQuery, type SessionStore } from "@effect-session/core"
import type { Effect, Layer } from "effect"
import { describe, expect, test } from "tstyche"

describe("ClusterStore", () => {
  test("keeps the other services of the layer it is put in front of", () => {
    expect(ClusterStore.over()(MemoryStore.layerStore())).type.toBe<
      Layer.Layer<
        SessionStore.SessionStore | SessionQuery.SessionQuery | MemoryStore.MemoryStore | ClusterStore.ClusterStore,
        never,
        Invalidation.Invalidation | Crypto.Crypto
      >
    >()
  })

  test("does not go in front of a layer with a backend, which would go past it", () => {
    expect(ClusterStore.over()).type.not.toBeCallableWith(MemoryStore.layer())
  })
})

describe("SessionEnd", () => {
  test("adds its error to an effect", () => {
    expect(SessionEnd.endsWith("key")(null! as Effect.Effect<number, "error">)).type.toBe<
      Effect.Effect<number, "error" | SessionEnd.SessionEndedError, ClusterStore.ClusterStore>
    >()
  })
})
