import { MemoryStore, Resilience, SessionBackend } from "@effect-session/core"
import type { OutagePolicy, SessionQuery, SessionStore } from "@effect-session/core"
import { FaultStore } from "@effect-session/core/testing"
import type { Layer } from "effect"
import { describe, expect, test } from "tstyche"

describe("Resilience", () => {
  test("over a store keeps the services of its layer and adds its own", () => {
    expect(MemoryStore.layerStore().pipe(FaultStore.over, Resilience.over())).type.toBe<
      Layer.Layer<
        | SessionStore.SessionStore
        | SessionQuery.SessionQuery
        | MemoryStore.MemoryStore
        | FaultStore.FaultStore
        | Resilience.Resilience
      >
    >()
  })

  test("does not decorate a layer whose SessionBackend would go past it, nor one without a store", () => {
    expect(Resilience.over()).type.not.toBeCallableWith(MemoryStore.layer())
    expect(Resilience.over()).type.not.toBeCallableWith(SessionBackend.layer("memory"))
    expect(FaultStore.over).type.not.toBeCallableWith(SessionBackend.layer("memory"))
  })

  test("layer takes the place of the store that is provided to it", () => {
    expect(Resilience.layer()).type.toBe<
      Layer.Layer<SessionStore.SessionStore | Resilience.Resilience, never, SessionStore.SessionStore>
    >()
  })

  test("the policy of a route is one of the four", () => {
    expect<OutagePolicy.OutagePolicy["_tag"]>().type.toBe<"Fail" | "StaleRead" | "Anonymous" | "Fallback">()
  })
})
