import { type Crypto, Session, type SessionBackend, type SessionConfig, type SessionError } from "@effect-session/core"
import { SessionMiddleware, SessionRoute } from "@effect-session/http"
import { Effect, Layer, Schema } from "effect"
import { HttpRouter, type HttpServerRequest, HttpServerResponse } from "effect/http"
import { HttpApiEndpoint } from "effect/http-api"
import { describe, expect, test } from "tstyche"

class UserSession extends Session.Service<UserSession>()("app/UserSession", {
  data: Schema.Struct({ visits: Schema.Int }),
  initial: { visits: 0 }
}) {}

class Visitor extends SessionRoute.Readonly<Visitor>()("app/Visitor", UserSession) {}

type Needs = SessionBackend.SessionBackend | SessionConfig.SessionConfig | Crypto.Crypto

const Page = HttpRouter.add("GET", "/", Effect.as(Visitor.get, HttpServerResponse.empty()))

describe("SessionRoute.Readonly", () => {
  test("reads what the session holds", () => {
    expect(Visitor.get).type.toBe<
      Effect.Effect<{ readonly visits: number }, SessionError.SessionError, Visitor>
    >()
    expect(Visitor.subject).type.toBe<Effect.Effect<string | undefined, SessionError.SessionError, Visitor>>()
  })

  test("has no operation that writes", () => {
    expect(Visitor).type.not.toHaveProperty("set")
    expect(Visitor).type.not.toHaveProperty("update")
    expect(Visitor).type.not.toHaveProperty("modify")
    expect(Visitor).type.not.toHaveProperty("reset")
    expect(Visitor).type.not.toHaveProperty("destroy")
    expect(Visitor).type.not.toHaveProperty("renew")
    expect(Visitor).type.not.toHaveProperty("login")
    expect(Visitor).type.not.toHaveProperty("elevate")
    expect(Visitor).type.not.toHaveProperty("reauthenticate")
    expect(Visitor).type.not.toHaveProperty("touch")
    expect(Visitor).type.not.toHaveProperty("setLifetime")
    expect(Visitor).type.not.toHaveProperty("flash")
    expect(Visitor).type.not.toHaveProperty("commit")
    expect<Effect.Success<typeof Visitor>>().type.not.toHaveProperty("update")
  })

  test("the session middleware alone does not provide it", () => {
    const app = Page.pipe(Layer.provide(SessionMiddleware.layer(UserSession)))
    expect<HttpRouter.Request<"Requires", Visitor>>().type.toBeAssignableTo<Layer.Services<typeof app>>()
  })

  test("its layer needs the session middleware around it", () => {
    const inner = Page.pipe(Layer.provide(SessionRoute.layerReadonly(Visitor)))
    expect<HttpRouter.Request<"Requires", UserSession>>().type.toBeAssignableTo<Layer.Services<typeof inner>>()
    const app = inner.pipe(Layer.provide(SessionMiddleware.layer(UserSession)))
    expect<Layer.Services<typeof app>>().type.toBe<HttpRouter.HttpRouter | Needs>()
  })
})

describe("SessionRoute options", () => {
  test("using keeps what the handler is, and needs the request", () => {
    const handler = Effect.as(UserSession.get, HttpServerResponse.empty())
    type Handler = Effect.Effect<
      HttpServerResponse.HttpServerResponse,
      SessionError.SessionError,
      UserSession | HttpServerRequest.HttpServerRequest
    >
    expect(SessionRoute.using(handler, { access: "read" })).type.toBe<Handler>()
    expect(handler.pipe(SessionRoute.using({ commit: "keepOnFailure" }))).type.toBe<Handler>()
  })

  test("takes known options only", () => {
    expect(SessionRoute.layer).type.toBeCallableWith({ access: "none", commit: "discardOnErrorStatus" })
    expect(SessionRoute.layer).type.not.toBeCallableWith({ access: "write" })
    expect(SessionRoute.layer).type.not.toBeCallableWith({ commit: "always" })
    const endpoint = HttpApiEndpoint.get("a", "/a")
    expect(endpoint.annotate(SessionRoute.Route, { access: "read" })).type.toBe<typeof endpoint>()
  })
})
