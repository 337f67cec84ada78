/**
 * The application of this library's contenders on Effect's server, wherever sessions are.
 */
import { SessionMiddleware } from "@effect-session/http"
import { Effect, Layer } from "effect"
import { HttpRouter, HttpServerRequest, HttpServerResponse } from "effect/http"
import { answers, counted, dataOf } from "./data.ts"
import { listenEffect } from "./listen.ts"
import { cookie, type Live, UserSession } from "./userSession.ts"

const routes = Layer.mergeAll(
  HttpRouter.add(
    "GET",
    "/anonymous",
    Effect.map(UserSession.get, ({ role }) => HttpServerResponse.text(answers.anonymous(role)))
  ),
  HttpRouter.add(
    "GET",
    "/read",
    Effect.map(UserSession.get, ({ userId }) => HttpServerResponse.text(answers.read(userId)))
  ),
  HttpRouter.add(
    "GET",
    "/write",
    Effect.map(UserSession.update(counted), ({ count }) => HttpServerResponse.text(answers.write(count)))
  ),
  HttpRouter.add(
    "GET",
    "/login",
    Effect.gen(function*() {
      const request = yield* HttpServerRequest.HttpServerRequest
      const data = dataOf(Number(request.url.split("=")[1]))
      yield* UserSession.login(data.userId, () => data)
      return HttpServerResponse.text("ok")
    })
  )
)

/** Starts the server, and returns its port. */
export const listenOn = <E>(live: Live<E>): Promise<number> =>
  listenEffect(Layer.provide(routes, SessionMiddleware.layer(UserSession, { cookie }).pipe(Layer.provide(live))))
