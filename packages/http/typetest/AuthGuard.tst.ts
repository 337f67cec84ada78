import { Session, type SessionError } from "@effect-session/core"
import { AuthGuard } from "@effect-session/http"
import { Effect, type Layer, Schema } from "effect"
import { HttpRouter, type HttpServerRequest, HttpServerResponse } from "effect/http"
import { describe, expect, test } from "tstyche"

class UserSession extends Session.Service<UserSession>()("app/UserSession", {
  data: Schema.Struct({ visits: Schema.Int }),
  initial: { visits: 0 }
}) {}

describe("AuthGuard", () => {
  test("a global guard asks for the session, also of other global middleware", () => {
    const layer = AuthGuard.layerGlobal(UserSession, { signIn: "/sign-in", allow: ["/"] })
    expect<Layer.Services<typeof layer>>().type.toBe<
      | HttpRouter.HttpRouter
      | HttpRouter.Request<"GlobalRequires", UserSession>
      | HttpRouter.Request<"GlobalError", SessionError.SessionError>
    >()
  })

  test("a guarded handler asks for the session, and leaves its errors open", () => {
    const guard = AuthGuard.make(UserSession, { signIn: "/sign-in" })
    const handler = guard(Effect.succeed(HttpServerResponse.empty()))
    expect<Effect.Services<typeof handler>>().type.toBe<UserSession | HttpServerRequest.HttpServerRequest>()
    expect<Effect.Error<typeof handler>>().type.toBe<SessionError.SessionError>()
    const Route = HttpRouter.add("GET", "/", handler)
    expect<Layer.Services<typeof Route>>().type.toBe<
      | HttpRouter.HttpRouter
      | HttpRouter.Request<"Requires", UserSession>
      | HttpRouter.Request<"Error", SessionError.SessionError>
    >()
  })

  test("needs a sign-in page", () => {
    expect(AuthGuard.make).type.not.toBeCallableWith(UserSession, {})
    expect(AuthGuard.layerGlobal).type.not.toBeCallableWith(UserSession, { allow: ["/"] })
  })
})
