import { type Crypto, Session, type SessionConfig, type SessionError } from "@effect-session/core"
import { Csrf } from "@effect-session/http"
import { Effect, Layer, Schema } from "effect"
import { HttpRouter, HttpServerResponse } from "effect/http"
import { describe, expect, test } from "tstyche"

class UserSession extends Session.Service<UserSession>()("app/UserSession", {
  data: Schema.Struct({ visits: Schema.Int }),
  initial: { visits: 0 }
}) {}

const Form = HttpRouter.add("GET", "/", Effect.map(Csrf.input, (input) => HttpServerResponse.text(input)))

describe("Csrf", () => {
  test("a page with a token is incomplete without the protection", () => {
    expect<HttpRouter.Request<"Requires", Csrf.Csrf>>().type.toBeAssignableTo<Layer.Services<typeof Form>>()
    const Protected = Form.pipe(Layer.provide(Csrf.layerGlobal(UserSession)))
    expect<HttpRouter.Request<"Requires", Csrf.Csrf>>().type.not.toBeAssignableTo<Layer.Services<typeof Protected>>()
  })

  test("the protection asks for the session", () => {
    const layer = Csrf.layerGlobal(UserSession)
    expect<Layer.Services<typeof layer>>().type.toBe<
      | Crypto.Crypto
      | SessionConfig.SessionConfig
      | HttpRouter.HttpRouter
      | HttpRouter.Request<"GlobalRequires", UserSession>
      | HttpRouter.Request<"GlobalError", SessionError.SessionError>
    >()
  })
})
