import type { Crypto, SessionBackend, SessionConfig, SessionQuery, SessionStore } from "@effect-session/core"
import * as CookieStore from "@effect-session/core/CookieStore"
import type * as Revocations from "@effect-session/core/Revocations"
import type { Layer } from "effect"
import { describe, expect, test } from "tstyche"

describe("CookieStore", () => {
  test("layer provides the backend alone, and needs a list of revocations", () => {
    expect(CookieStore.layer()).type.toBe<
      Layer.Layer<
        SessionBackend.SessionBackend,
        SessionConfig.SessionConfigError,
        Crypto.Crypto | SessionConfig.SessionConfig | Revocations.Revocations
      >
    >()
  })

  test("without a list it is for anonymous sessions", () => {
    expect(CookieStore.layerAnonymous()).type.toBe<
      Layer.Layer<
        SessionBackend.SessionBackend,
        SessionConfig.SessionConfigError,
        Crypto.Crypto | SessionConfig.SessionConfig
      >
    >()
  })

  test("nobody can ask it for all sessions", () => {
    type Provided = ReturnType<typeof CookieStore.layer> extends Layer.Layer<infer A, infer _E, infer _R> ? A : never
    expect<SessionQuery.SessionQuery>().type.not.toBeAssignableTo<Provided>()
    expect<SessionStore.SessionStore>().type.not.toBeAssignableTo<Provided>()
    expect<SessionBackend.SessionBackend>().type.toBeAssignableTo<Provided>()
  })
})
