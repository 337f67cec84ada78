/**
 * The application of this library's contenders, on any store.
 */
import { Session, SessionConfig } from "@effect-session/core"
import type { Crypto } from "@effect-session/core/Crypto"
import * as CryptoNode from "@effect-session/core/CryptoNode"
import type { Suite } from "@effect-session/core/SealedFormat"
import type { SessionBackend } from "@effect-session/core/SessionBackend"
import { SessionMiddleware } from "@effect-session/http"
import { Effect, Layer, Redacted, Schema } from "effect"
import { HttpRouter, HttpServerRequest, HttpServerResponse } from "effect/http"
import { randomBytes } from "node:crypto"
import { answers, dataOf, guest } from "./data.ts"
import { listenEffect } from "./listen.ts"

class UserSession extends Session.Service<UserSession>()("bench/UserSession", {
  data: Schema.Struct({
    role: Schema.String,
    userId: Schema.String,
    email: Schema.String,
    permissions: Schema.Array(Schema.String),
    locale: Schema.String,
    theme: Schema.String,
    signedInAt: Schema.Number,
    count: Schema.Number
  }),
  initial: { role: guest, userId: "", email: "", permissions: [], locale: "", theme: "", signedInAt: 0, count: 0 }
}) {}

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
    Effect.map(
      UserSession.update((data) => ({ ...data, count: data.count + 1 })),
      ({ count }) => HttpServerResponse.text(answers.write(count))
    )
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

/** Starts the server with the production preset on a store, and returns its port. */
export const listenOn = <E>(
  store: Layer.Layer<SessionBackend, E, Crypto | SessionConfig.SessionConfig>,
  suite?: Suite
): Promise<number> =>
  listenEffect(Layer.provide(
    routes,
    SessionMiddleware.layer(UserSession, { cookie: { name: "session", secure: false } }).pipe(
      Layer.provide(store),
      Layer.provide(CryptoNode.layer),
      Layer.provide(SessionConfig.layer({ secrets: Redacted.make(randomBytes(32).toString("base64url")), suite }))
    )
  ))
