import type { SessionStore } from "@effect-session/core"
import type { Effect } from "effect"
import { describe, expect, test } from "tstyche"

declare const store: SessionStore.SessionStore["Service"]

describe("SessionStore", () => {
  test("load tells what became of a record as a value, and fails only with SessionStoreError", () => {
    expect(store.load("key")).type.toBe<Effect.Effect<SessionStore.Lookup, SessionStore.SessionStoreError>>()
  })

  test("touch and destroy say whether there was a live record", () => {
    expect(store.touch("key")).type.toBe<Effect.Effect<boolean, SessionStore.SessionStoreError>>()
    expect(store.destroy("key")).type.toBe<Effect.Effect<boolean, SessionStore.SessionStoreError>>()
  })

  test("save needs the version that was read", () => {
    const change = { format: 1, payload: "{}", idleTimeout: 1, lifetime: undefined, active: true } as const
    expect(store.save).type.toBeCallableWith("key", 1, change)
    expect(store.save).type.not.toBeCallableWith("key", undefined, change)
  })
})
