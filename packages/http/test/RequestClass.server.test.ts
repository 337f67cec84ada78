import { RequestClass, SessionApi, SessionMiddleware } from "@effect-session/http"
import { assert, describe, it } from "@effect/vitest"
import { Effect, Layer, Schema } from "effect"
import { HttpRouter, HttpServer } from "effect/http"
import { HttpApi, HttpApiBuilder, HttpApiEndpoint, HttpApiGroup } from "effect/http-api"
import { TestClock } from "effect/testing"
import * as App from "./SessionApp.ts"

const { UserSession } = App

class SignedIn extends SessionApi.Authenticated<SignedIn>()("test/SignedIn", { session: UserSession }) {}

const api = HttpApi.make("app").add(
  HttpApiGroup.make("users").add(
    HttpApiEndpoint.get("poll", "/api/poll", { success: Schema.String }).middleware(SignedIn)
      .annotate(RequestClass.Passive, true)
  )
)
const Api = HttpApiBuilder.layer(api).pipe(
  Layer.provide(
    HttpApiBuilder.group(
      api,
      "users",
      (handlers) => handlers.handle("poll", () => Effect.map(SignedIn.principal, ({ subject }) => subject))
    )
  ),
  Layer.provide(SessionApi.layer(SignedIn)),
  Layer.provide(HttpServer.layerServices)
)

const Routes = Layer.mergeAll(
  App.routes,
  HttpRouter.add("GET", "/poll", App.show).pipe(Layer.provide(RequestClass.layerPassive)),
  HttpRouter.add("GET", "/beacon", RequestClass.passive(App.show))
)

const config = { preset: "testing", idleTimeout: "5 minutes", lifetime: "1 hour", sliding: true } as const

const start = Effect.gen(function*() {
  const store = yield* App.makeStore()
  const client = yield* App.inProcess(
    Layer.mergeAll(Routes.pipe(Layer.provide(SessionMiddleware.layer(UserSession))), Api).pipe(
      Layer.provide(App.backend(store, config))
    )
  )
  return App.browser(client)
})

describe("RequestClass", () => {
  it.effect.each(
    [
      ["/poll", {}],
      ["/beacon", {}],
      ["/api/poll", {}],
      ["/me", { "sec-purpose": "prefetch" }]
    ] as const
  )("%s %j does not extend the idle time", ([path, headers]) =>
    Effect.gen(function*() {
      const browser = yield* start
      yield* browser.send("POST", "/login")
      for (let minute = 0; minute < 4; minute++) {
        yield* TestClock.adjust("1 minute")
        assert.include((yield* browser.send("GET", path, { headers })).body, "ada")
      }
      yield* TestClock.adjust("2 minutes")
      assert.notInclude((yield* browser.send("GET", path, { headers })).body, "ada")
    }))

  it.effect("a page does", () =>
    Effect.gen(function*() {
      const browser = yield* start
      yield* browser.send("POST", "/login")
      for (let minute = 0; minute < 8; minute++) {
        yield* TestClock.adjust("1 minute")
        assert.include((yield* browser.send("GET", "/me")).body, "ada")
      }
    }))
})
