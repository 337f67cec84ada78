import { MemoryStore, Session, SessionConfig } from "@effect-session/core"
import * as CryptoNode from "@effect-session/core/CryptoNode"
import { SessionMiddleware } from "@effect-session/http"
import * as NodeHttpServer from "@effect/platform-node/NodeHttpServer"
import * as NodeRuntime from "@effect/platform-node/NodeRuntime"
import { Effect, Layer, Schema } from "effect"
import { HttpRouter, HttpServerResponse } from "effect/http"
import { createServer } from "node:http"

class UserSession extends Session.Service<UserSession>()("app/UserSession", {
  data: Schema.Struct({ visits: Schema.Int, role: Schema.Literals(["guest", "admin"]) }),
  initial: { visits: 0, role: "guest" }
}) {}

const Routes = HttpRouter.addAll([
  HttpRouter.route(
    "GET",
    "/",
    Effect.gen(function*() {
      const { role, visits } = yield* UserSession.update((data) => ({ ...data, visits: data.visits + 1 }))
      return HttpServerResponse.text(`Hello ${role}, this is visit ${visits}.\n`)
    })
  ),
  HttpRouter.route(
    "POST",
    "/login", // after you have checked who it is: a new id, and a fresh start for the data
    Effect.as(UserSession.login("ada", (data) => ({ ...data, role: "admin" as const })), HttpServerResponse.empty())
  ),
  HttpRouter.route("POST", "/logout", Effect.as(UserSession.destroy, HttpServerResponse.empty()))
])

HttpRouter.serve(Routes.pipe(Layer.provide(SessionMiddleware.layer(UserSession)))).pipe(
  Layer.provide(MemoryStore.layer()),
  Layer.provide(CryptoNode.layer),
  Layer.provide(SessionConfig.layer({ preset: "development" })), // "production" wants secrets: see below
  Layer.provide(NodeHttpServer.layer(createServer, { port: Number(process.env.PORT ?? 3000) })),
  Layer.launch,
  NodeRuntime.runMain
)
