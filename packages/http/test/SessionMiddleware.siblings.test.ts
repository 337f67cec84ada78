import type { SessionError } from "@effect-session/core"
import { SessionMiddleware } from "@effect-session/http"
import { assert, describe, it } from "@effect/vitest"
import { Effect, Layer } from "effect"
import { HttpEffect, HttpRouter, HttpServerRequest, HttpServerResponse } from "effect/http"
import * as App from "./SessionApp.ts"

const { AdminSession, UserSession } = App

type Response = HttpServerResponse.HttpServerResponse
type App<R> = Effect.Effect<Response, SessionError.SessionError, R>

interface Middlewares {
  readonly user: SessionMiddleware.Middleware<App.UserSession>
  readonly admin: SessionMiddleware.Middleware<App.AdminSession>
}

const admin = { cookie: { name: "admin", path: "/", sameSite: "strict" } } as const

const asUser: App<App.UserSession> = Effect.as(
  UserSession.update((data) => ({ ...data, n: data.n + 1 })),
  HttpServerResponse.empty()
)
const asAdmin: App<App.AdminSession> = Effect.as(
  AdminSession.update((data) => ({ n: data.n + 1 })),
  HttpServerResponse.text("admin")
)

type Handler = (middlewares: Middlewares) => Effect.Effect<Response, never, HttpServerRequest.HttpServerRequest>

/** Answers one request by a handler, while this session of those it creates cannot be stored. */
const answer = Effect.fnUntraced(function*(handler: Handler, broken: 0 | 1) {
  const store = yield* App.makeStore()
  const routes = Layer.unwrap(Effect.gen(function*() {
    const user = yield* SessionMiddleware.make(UserSession)
    return HttpRouter.add("POST", "/go", handler({ user, admin: yield* SessionMiddleware.make(AdminSession, admin) }))
  }))
  const client = yield* App.inProcess(routes.pipe(Layer.provide(App.backend(store))))
  let created = 0
  store.before = (method) => method === "create" && created++ === broken ? App.down : Effect.void
  const { body, setCookies, status } = yield* client.send("POST", "/go")
  return { status, body, cookies: setCookies.map((line) => line.split("=")[0]), stored: (yield* store.keys).length }
})

/** One after the other, as a fallback or a second attempt would. */
const inTurn: Handler = ({ admin, user }) =>
  Effect.andThen(Effect.orDie(user<never, never>(asUser)), Effect.orDie(admin<never, never>(asAdmin)))

/** One inside of the other, whose request the handler has put another one in the place of. */
const forAnother: Handler = ({ admin, user }) =>
  Effect.orDie(user<never, HttpServerRequest.HttpServerRequest>(Effect.gen(function*() {
    yield* asUser
    const other = HttpServerRequest.fromWeb(new Request("http://app.test/other", { method: "POST" }))
    return yield* Effect.provideService(
      Effect.orDie(admin<never, never>(asAdmin)),
      HttpServerRequest.HttpServerRequest,
      other
    )
  })))

/** A response of its own inside of another, to the same request. */
const within: Handler = ({ admin, user }) =>
  Effect.orDie(user<never, HttpServerRequest.HttpServerRequest>(Effect.gen(function*() {
    yield* asUser
    const request = yield* HttpServerRequest.HttpServerRequest
    const web = yield* Effect.orDie(HttpServerRequest.toWeb(request))
    const handle = HttpEffect.toWebHandlerWith<never, HttpServerRequest.HttpServerRequest>(
      yield* Effect.context<never>()
    )
    const { status } = yield* Effect.promise(() => handle(Effect.orDie(admin<never, never>(asAdmin)))(web))
    return HttpServerResponse.text(`inside: ${status}`)
  })))

describe("SessionMiddleware: several sessions of one response", () => {
  it.effect.each([["in turn", inTurn, "session"], ["for another request", forAnother, "admin"]] as const)(
    "%s: what was stored before a failure is told, and nothing is stored after one",
    ([, handler, first]) =>
      Effect.gen(function*() {
        const late = yield* answer(handler, 1)
        assert.deepInclude(late, { status: 503, cookies: [first], stored: 1 })
        const early = yield* answer(handler, 0)
        assert.deepInclude(early, { status: 503, cookies: [], stored: 0 })
      })
  )

  it.effect("a response within another has its own", () =>
    Effect.gen(function*() {
      const inner = yield* answer(within, 0)
      assert.deepInclude(inner, { status: 200, body: "inside: 503", cookies: ["session"], stored: 1 })
      const outer = yield* answer(within, 1)
      assert.deepInclude(outer, { status: 503, cookies: [] })
    }))
})
