/**
 * This library with its memory store and the production preset.
 */
import { MemoryStore, Session, SessionConfig } from "@effect-session/core"
import * as CryptoNode from "@effect-session/core/CryptoNode"
import { SessionMiddleware } from "@effect-session/http"
import { Effect, Layer, Redacted, Schema } from "effect"
import { HttpRouter, HttpServerRequest, HttpServerResponse } from "effect/http"
import { randomBytes } from "node:crypto"
import { answers, dataOf, guest } from "../data.ts"
import { listenEffect } from "../listen.ts"

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

const sessions = SessionMiddleware.layer(UserSession, { cookie: { name: "session", secure: false } }).pipe(
  Layer.provide(MemoryStore.layer()),
  Layer.provide(CryptoNode.layer),
  Layer.provide(SessionConfig.layer({ secrets: Redacted.make(randomBytes(32).toString("base64url")) }))
)

/** Starts the server and returns its port. */
export const listen = (): Promise<number> => listenEffect(Layer.provide(routes, sessions))
