import { MemoryStore, OutagePolicy, Resilience, SessionBackend, SessionConfig } from "@effect-session/core"
import * as CryptoNode from "@effect-session/core/CryptoNode"
import { FaultStore } from "@effect-session/core/testing"
import { SessionMiddleware } from "@effect-session/http"
import { assert, describe, it } from "@effect/vitest"
import { Context, Effect, Layer, type Scope } from "effect"
import { HttpRouter, HttpServerResponse } from "effect/http"
import { TestClock } from "effect/testing"
import * as App from "./SessionApp.ts"

const { UserSession } = App

const writes = {
  update: App.increment,
  login: UserSession.login("eve"),
  renew: UserSession.renew,
  touch: UserSession.touch,
  flash: UserSession.flash.notice("hello"),
  elevate: UserSession.elevate("5 minutes")
}

const show = Effect.gen(function*() {
  return HttpServerResponse.jsonUnsafe({
    status: yield* UserSession.status,
    subject: (yield* UserSession.subject) ?? null,
    n: (yield* UserSession.get).n,
    served: (yield* UserSession.served) ?? null
  })
})

/** The same pages once for each policy. */
const pages = (prefix: "/fail" | "/stale" | "/anonymous", policy: OutagePolicy.OutagePolicy) => {
  const within = Effect.provideService(OutagePolicy.Current, policy)
  return Layer.mergeAll(
    HttpRouter.add("GET", `${prefix}/me`, within(show)),
    HttpRouter.add("GET", `${prefix}/plain`, within(Effect.succeed(HttpServerResponse.text("plain")))),
    ...Object.entries(writes).map(([name, write]) =>
      HttpRouter.add("POST", `${prefix}/${name}`, within(Effect.as(write, HttpServerResponse.empty())))
    )
  )
}

const routes = Layer.mergeAll(
  App.routes,
  pages("/fail", OutagePolicy.fail),
  pages("/stale", OutagePolicy.staleRead({ maxAge: "10 seconds" })),
  pages("/anonymous", OutagePolicy.anonymous)
)

const calm: Resilience.Options = {
  attempts: 1,
  copies: true,
  tripPolicy: { _tag: "Consecutive", failures: 1_000_000 }
}

const setup = Effect.fnUntraced(
  function*(
    serve: (app: App.App) => Effect.Effect<App.Client, unknown, Scope.Scope>,
    options: Resilience.Options = calm
  ) {
    const services = yield* Layer.build(MemoryStore.layerStore().pipe(FaultStore.over, Resilience.over(options)))
    const client = yield* serve(routes.pipe(
      Layer.provide(SessionMiddleware.layer(UserSession)),
      Layer.provide(
        SessionBackend.layer("test").pipe(
          Layer.provide(Layer.succeedContext(services)),
          Layer.provideMerge(CryptoNode.layer),
          Layer.provideMerge(SessionConfig.layer({ preset: "testing" }))
        )
      )
    ))
    const { cookie, jar, send } = App.browser(client)
    yield* send("POST", "/login?as=ada")
    yield* send("POST", "/inc")
    const faults = Context.get(services, FaultStore.FaultStore)
    faults.forget()
    /** The cookie stays as it is, whatever is answered. */
    const assertRefused = Effect.fnUntraced(function*(method: string, path: string) {
      const before = cookie()
      const answer = yield* send(method, path)
      assert.strictEqual(answer.status, 503, `${method} ${path}`)
      assert.isAtLeast(Number(answer.header("retry-after")), 1, path)
      assert.deepStrictEqual(answer.setCookies, [], path)
      assert.strictEqual(cookie(), before)
      return answer
    })
    const assertShown = Effect.fnUntraced(function*(path: string, expected: object) {
      const answer = yield* send("GET", path)
      assert.strictEqual(answer.status, 200, path)
      assert.deepStrictEqual(answer.setCookies, [], path)
      assert.deepStrictEqual(JSON.parse(answer.body), expected)
    })
    return { assertRefused, assertShown, client, cookie, faults, jar, send }
  }
)

const ada = { status: "active", subject: "ada", n: 1, served: null }

describe.each(Object.entries(App.transports))("outage policies of routes, %s", (_name, serve) => {
  it.effect("fail: 503 says when to come back, and the session is there afterwards", () =>
    Effect.gen(function*() {
      const { assertRefused, assertShown, faults, send } = yield* setup(serve, { attempts: 1 })
      faults.always(FaultStore.failBefore)
      for (let i = 0; i < 2; i++) {
        assert.strictEqual((yield* assertRefused("GET", "/fail/me")).header("retry-after"), "1")
      }
      for (let i = 0; i < 4; i++) yield* assertRefused("GET", "/fail/me")
      // From here on nobody asks the store.
      const asked = faults.count()
      const { header } = yield* assertRefused("GET", "/fail/me")
      assert.strictEqual(faults.count(), asked)
      assert.isTrue(Number(header("retry-after")) >= 24 && Number(header("retry-after")) <= 36, "the open time")
      for (const name of Object.keys(writes)) yield* assertRefused("POST", `/fail/${name}`)
      assert.strictEqual((yield* send("GET", "/fail/plain")).status, 200)
      faults.heal()
      yield* TestClock.adjust("36 seconds")
      yield* assertShown("/fail/me", ada)
    }))

  it.effect("staleRead: who reads gets a copy that tells its age, until it is too old", () =>
    Effect.gen(function*() {
      const { assertRefused, assertShown, faults } = yield* setup(serve)
      yield* assertShown("/stale/me", ada)
      faults.always(FaultStore.failBefore)
      yield* TestClock.adjust("4 seconds")
      yield* assertShown("/stale/me", { ...ada, served: { _tag: "Stale", age: 4000 } })
      // It is the policy of this route and no other.
      yield* assertRefused("GET", "/fail/me")
      yield* TestClock.adjust("7 seconds")
      yield* assertRefused("GET", "/stale/me")
      faults.heal()
      yield* assertShown("/stale/me", ada)
    }))

  it.effect("staleRead: a copy is not written to, and a write does not reach the store", () =>
    Effect.gen(function*() {
      const { assertRefused, assertShown, faults, send } = yield* setup(serve)
      yield* assertShown("/stale/me", ada)
      faults.always(FaultStore.failBefore, "load")
      faults.forget()
      for (const name of Object.keys(writes).filter((name) => name !== "touch")) {
        yield* assertRefused("POST", `/stale/${name}`)
      }
      // There is nothing that the client would have to know.
      assert.strictEqual((yield* send("POST", "/stale/touch")).status, 204)
      assert.strictEqual(faults.count("create", "save", "touch", "renew", "destroy"), 0)
      faults.heal()
      yield* assertShown("/stale/me", ada)
    }))

  it.effect("anonymous: goes on without the session, and never sets or clears the cookie", () =>
    Effect.gen(function*() {
      const { assertRefused, assertShown, client, faults, send } = yield* setup(serve)
      faults.always(FaultStore.failBefore)
      faults.forget()
      yield* assertShown("/anonymous/me", { status: "unavailable", subject: null, n: 0, served: null })
      assert.strictEqual((yield* send("GET", "/anonymous/plain")).body, "plain")
      for (const name of Object.keys(writes)) yield* assertRefused("POST", `/anonymous/${name}`)
      assert.strictEqual(faults.count(), faults.count("load"))
      // A visitor without a session is one like any other.
      const visitor = App.browser(client)
      const { setCookies, status } = yield* visitor.send("GET", "/anonymous/me")
      assert.deepStrictEqual([status, setCookies], [200, []])
      faults.heal()
      yield* assertShown("/anonymous/me", ada)
    }))
})

describe.each(Object.entries(App.transports))("signing out in an outage, %s", (_name, serve) => {
  it.effect("queue: 503, the cookie is taken away, and the store ends the session when it is back", () =>
    Effect.gen(function*() {
      const { cookie, faults, client, send } = yield* setup(serve)
      const headers = { cookie: cookie() ?? "" }
      faults.always(FaultStore.failBefore)
      const answer = yield* send("POST", "/logout")
      assert.strictEqual(answer.status, 503)
      assert.isAtLeast(Number(answer.header("retry-after")), 1)
      assert.deepStrictEqual(answer.setCookies.map((line) => /^session=;.*Max-Age=0/.test(line)), [true])
      assert.isUndefined(cookie())
      const replay = Effect.map(client.send("GET", "/me", { headers }), ({ body, status }) => [
        status,
        status === 200 ? JSON.parse(body).subject : body
      ])
      // Nobody gets in with a copy of the cookie, although the store cannot be asked.
      assert.deepStrictEqual(yield* replay, [200, null])
      faults.heal()
      faults.forget()
      yield* TestClock.adjust("1 minute")
      assert.isAtLeast(faults.count("destroy"), 1)
      assert.deepStrictEqual(yield* replay, [200, null])
      assert.isAtLeast(faults.count("load"), 1, "it is the store that says so now")
    }))

  it.effect("refuse: 503, and cookie and session stay", () =>
    Effect.gen(function*() {
      const { assertRefused, assertShown, faults } = yield* setup(serve, { ...calm, onDestroyFailed: "refuse" })
      faults.always(FaultStore.failBefore)
      yield* assertRefused("POST", "/logout")
      faults.heal()
      yield* TestClock.adjust("1 minute")
      yield* assertShown("/fail/me", ada)
    }))
})
