import { type Crypto, Session, type SessionBackend, type SessionConfig, type SessionError } from "@effect-session/core"
import { SessionMiddleware } from "@effect-session/http"
import { Effect, Layer, Schema } from "effect"
import { HttpRouter, type HttpServer, HttpServerResponse } from "effect/http"
import { describe, expect, test } from "tstyche"

class UserSession extends Session.Service<UserSession>()("app/UserSession", {
  data: Schema.Struct({ visits: Schema.Int }),
  initial: { visits: 0 }
}) {}

class AdminSession extends Session.Service<AdminSession>()("app/AdminSession", {
  data: Schema.Struct({ level: Schema.String }),
  initial: { level: "" }
}) {}

class Refused extends Schema.TaggedError<Refused>()("Refused", {}) {}

type Needs = SessionBackend.SessionBackend | SessionConfig.SessionConfig | Crypto.Crypto

const Route = HttpRouter.add("GET", "/", Effect.as(UserSession.get, HttpServerResponse.empty()))
const Admin = HttpRouter.add("GET", "/admin", Effect.as(AdminSession.get, HttpServerResponse.empty()))
const Refusing = HttpRouter.add("GET", "/no", Effect.andThen(UserSession.destroy, Effect.fail(new Refused())))
const Provided = Route.pipe(Layer.provide(SessionMiddleware.layer(UserSession)))

describe("SessionMiddleware.layer", () => {
  test("a route that uses the session asks for it, and leaves its errors open", () => {
    expect<Layer.Services<typeof Route>>().type.toBe<
      | HttpRouter.HttpRouter
      | HttpRouter.Request<"Requires", UserSession>
      | HttpRouter.Request<"Error", SessionError.SessionError>
    >()
  })

  test("without it an application is not complete", () => {
    const served = HttpRouter.serve(Route)
    expect<Layer.Services<typeof served>>().type.toBe<HttpServer.HttpServer | UserSession>()
    const { handler } = HttpRouter.toWebHandler(Route)
    expect(handler).type.not.toBeCallableWith(new Request("http://localhost"))
  })

  test("provides the session, answers its errors, and asks for what sessions need", () => {
    expect<Layer.Services<typeof Provided>>().type.toBe<HttpRouter.HttpRouter | Needs>()
    const served = HttpRouter.serve(Provided)
    expect<Layer.Services<typeof served>>().type.toBe<HttpServer.HttpServer | Needs>()
    expect<Layer.Error<typeof served>>().type.toBe<never>()
  })

  test("asks for nothing else", () => {
    const layer = SessionMiddleware.layer(UserSession)
    expect<Layer.Services<typeof layer>>().type.toBe<Needs>()
    expect<Layer.Error<typeof layer>>().type.toBe<never>()
  })

  test("does not stand in for the middleware of another session", () => {
    const app = Layer.mergeAll(Route, Admin).pipe(Layer.provide(SessionMiddleware.layer(UserSession)))
    expect<HttpRouter.Request<"Requires", AdminSession>>().type.toBeAssignableTo<Layer.Services<typeof app>>()
    expect<HttpRouter.Request<"Requires", UserSession>>().type.not.toBeAssignableTo<Layer.Services<typeof app>>()
  })

  test("leaves the errors of the application to the application", () => {
    const app = Refusing.pipe(Layer.provide(SessionMiddleware.layer(UserSession)))
    expect<Layer.Services<typeof app>>().type.toBe<
      HttpRouter.HttpRouter | Needs | HttpRouter.Request<"Error", Refused>
    >()
  })

  test("takes session services and known options only", () => {
    expect(SessionMiddleware.layer).type.not.toBeCallableWith(Refused)
    expect(SessionMiddleware.layer).type.toBeCallableWith(UserSession, { cookie: { sameSite: "strict" }, client: true })
    expect(SessionMiddleware.layer).type.not.toBeCallableWith(UserSession, { cookie: { sameSite: "sometimes" } })
  })
})

describe("SessionMiddleware.layerGlobal", () => {
  test("provides the session to routes", () => {
    const app = Route.pipe(Layer.provide(SessionMiddleware.layerGlobal(UserSession)))
    expect<Layer.Services<typeof app>>().type.toBe<HttpRouter.HttpRouter | Needs>()
  })

  test("provides the session to other global middleware", () => {
    const Touching = HttpRouter.middleware((app) => Effect.andThen(Effect.orDie(UserSession.touch), app), {
      global: true
    })
    expect<HttpRouter.Request<"GlobalRequires", UserSession>>().type.toBeAssignableTo<Layer.Services<typeof Touching>>()
    const app = Touching.pipe(Layer.provide(SessionMiddleware.layerGlobal(UserSession)))
    expect<Layer.Services<typeof app>>().type.toBe<HttpRouter.HttpRouter | Needs>()
  })
})

describe("SessionMiddleware.make", () => {
  test("takes the session and its errors from an effect, and leaves the rest", () => {
    const handler = Effect.gen(function*() {
      const { visits } = yield* UserSession.get
      const admin = yield* AdminSession
      if (visits > 0) return yield* new Refused()
      return HttpServerResponse.text(typeof admin)
    })
    const wrapped = Effect.map(SessionMiddleware.make(UserSession), (middleware) => middleware(handler))
    expect<Effect.Services<typeof wrapped>>().type.toBe<Needs>()
    expect<Effect.Error<Effect.Success<typeof wrapped>>>().type.toBe<Refused>()
    expect<AdminSession>().type.toBeAssignableTo<Effect.Services<Effect.Success<typeof wrapped>>>()
    expect<UserSession>().type.not.toBeAssignableTo<Effect.Services<Effect.Success<typeof wrapped>>>()
  })
})
