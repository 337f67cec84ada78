import { Session } from "@effect-session/core"
import { SessionMiddleware } from "@effect-session/http"
import { assert, describe, it } from "@effect/vitest"
import { Effect, Layer, Redacted, Schema } from "effect"
import { HttpEffect, HttpMiddleware, HttpRouter, HttpServerResponse } from "effect/http"
import { TestClock } from "effect/testing"
import * as App from "./SessionApp.ts"

const { UserSession } = App
const secrets = Redacted.make("Wq8-Zr5_Kt2.Hn7+Lm3*Pd6!Xc9?Vb4@")
const attributes = "Path=/; HttpOnly; SameSite=Lax"

const start = Effect.fnUntraced(function*(client: App.Client, path = "/inc") {
  const answer = yield* client.send("POST", path)
  const token = App.tokenOf(answer)
  assert.strictEqual(token?.length, 47)
  return { answer, token, headers: { cookie: `session=${token}` } }
})

describe.each(Object.entries(App.transports))("SessionMiddleware, %s", (_name, serve) => {
  it.effect("a route that does not use the session costs nothing", () =>
    Effect.gen(function*() {
      const store = yield* App.makeStore()
      const client = yield* serve(App.withSession(App.routes, store))
      for (const headers of [{}, { cookie: `session=${"A".repeat(47)}` }]) {
        const answer = yield* client.send("GET", "/plain", { headers })
        assert.strictEqual(answer.status, 200)
        assert.strictEqual(answer.body, "plain")
        assert.isUndefined(answer.header("vary"))
        assert.isUndefined(answer.header("cache-control"))
        assert.deepStrictEqual(answer.setCookies, [])
      }
      assert.deepStrictEqual(store.calls, [])
    }))

  it.effect("reading says so to caches, and nothing else", () =>
    Effect.gen(function*() {
      const store = yield* App.makeStore()
      const client = yield* serve(App.withSession(App.routes, store))
      const { headers } = yield* start(client)
      store.calls.length = 0
      for (const [given, status, calls] of [[{}, "anonymous", 0], [headers, "active", 1]] as const) {
        const answer = yield* client.send("GET", "/me", { headers: given })
        assert.strictEqual(App.shown(answer).status, status)
        assert.strictEqual(answer.header("vary"), "Cookie")
        assert.isUndefined(answer.header("cache-control"))
        assert.deepStrictEqual(answer.setCookies, [])
        assert.deepStrictEqual(store.calls, ["load" as const].slice(0, calls))
      }
    }))

  it.effect("the first write sets one cookie, later writes none", () =>
    Effect.gen(function*() {
      const store = yield* App.makeStore()
      const client = yield* serve(App.withSession(App.routes, store))
      const { answer, headers, token } = yield* start(client)
      assert.strictEqual(answer.status, 200)
      assert.deepStrictEqual(answer.setCookies, [`session=${token}; ${attributes}`])
      assert.strictEqual(answer.header("cache-control"), "no-store")
      assert.strictEqual(answer.header("vary"), "Cookie")
      const second = yield* client.send("POST", "/inc", { headers })
      assert.strictEqual(App.shown(second).n, 2)
      assert.deepStrictEqual(second.setCookies, [])
      assert.strictEqual(second.header("vary"), "Cookie")
      assert.deepStrictEqual(store.calls, ["create", "load", "save"])
    }))

  it.effect("signing in and renewing replace the cookie, signing out removes it", () =>
    Effect.gen(function*() {
      const store = yield* App.makeStore()
      const client = yield* serve(App.withSession(App.routes, store))
      const { headers, token } = yield* start(client)
      const login = yield* client.send("POST", "/login?as=ada", { headers })
      const second = App.tokenOf(login)
      assert.notStrictEqual(second, token)
      assert.deepStrictEqual(login.setCookies, [`session=${second}; ${attributes}`])
      const renewed = yield* client.send("POST", "/renew", { headers: { cookie: `session=${second}` } })
      const third = App.tokenOf(renewed)
      assert.notStrictEqual(third, second)
      assert.strictEqual(App.shown(renewed).subject, "ada")
      const logout = yield* client.send("POST", "/logout", { headers: { cookie: `session=${third}` } })
      assert.strictEqual(logout.status, 204)
      assert.deepStrictEqual(logout.setCookies, [
        `session=; Max-Age=0; Expires=Thu, 01 Jan 1970 00:00:00 GMT; ${attributes}`
      ])
      assert.strictEqual(logout.header("cache-control"), "no-store")
      assert.deepStrictEqual(yield* store.keys, [])
    }))

  it.effect("the headers of the application are kept where they are at least as strict", () =>
    Effect.gen(function*() {
      const store = yield* App.makeStore()
      const answerWith = (name: string) =>
        Effect.gen(function*() {
          const value = (yield* App.query).get("value") ?? ""
          yield* App.increment
          return HttpServerResponse.text("", { headers: { [name]: value } })
        })
      const client = yield* serve(App.withSession(
        Layer.mergeAll(
          HttpRouter.add("POST", "/vary", answerWith("vary")),
          HttpRouter.add("POST", "/cache", answerWith("cache-control"))
        ),
        store
      ))
      const send = (path: string, value: string) => client.send("POST", `${path}?value=${encodeURIComponent(value)}`)
      for (
        const [given, sent] of [
          ["Accept", "Accept, Cookie"],
          ["Accept-Encoding, cookie", "Accept-Encoding, cookie"],
          ["COOKIE,Accept", "COOKIE,Accept"],
          ["X-Cookie", "X-Cookie, Cookie"],
          ["", "Cookie"],
          ["*", "*"]
        ]
      ) {
        assert.strictEqual((yield* send("/vary", given)).header("vary"), sent)
      }
      for (
        const [given, sent] of [
          ["private, no-store, max-age=0", "private, no-store, max-age=0"],
          ["No-Store", "No-Store"],
          ["public, max-age=600", "no-store"],
          ["no-cache=\"Set-Cookie\"", "no-store"],
          ["x-no-store", "no-store"]
        ]
      ) {
        assert.strictEqual((yield* send("/cache", given)).header("cache-control"), sent)
      }
    }))

  it.effect("the cookies of the application stay beside the session's, and none takes its name", () =>
    Effect.gen(function*() {
      const store = yield* App.makeStore()
      const own = HttpServerResponse.text("").pipe(
        HttpServerResponse.setCookieUnsafe("theme", "dark", { path: "/" }),
        HttpServerResponse.setCookieUnsafe("session", "mine")
      )
      const client = yield* serve(App.withSession(
        Layer.mergeAll(
          HttpRouter.add("POST", "/cookies", Effect.as(App.increment, own)),
          HttpRouter.add(
            "POST",
            "/header",
            Effect.as(
              App.increment,
              HttpServerResponse.text("", { headers: { "set-cookie": "session = mine; Path=/" } })
            )
          ),
          HttpRouter.add(
            "POST",
            "/other-header",
            Effect.as(App.increment, HttpServerResponse.text("", { headers: { "set-cookie": "sessionx=1; Path=/" } }))
          ),
          HttpRouter.add(
            "POST",
            "/late",
            Effect.gen(function*() {
              yield* HttpEffect.appendPreResponseHandler((_request, response) =>
                Effect.succeed(HttpServerResponse.setCookieUnsafe(response, "session", "mine"))
              )
              yield* App.increment
              return HttpServerResponse.empty()
            })
          )
        ),
        store
      ))
      const sorted = (answer: App.Reply) => answer.setCookies.toSorted()
      for (
        const [path, others] of [
          ["/cookies", ["theme=dark; Path=/"]],
          ["/header", []],
          ["/other-header", ["sessionx=1; Path=/"]],
          ["/late", []]
        ] as const
      ) {
        const answer = yield* client.send("POST", path)
        const token = answer.setCookies.map((line) => /^session=([\w-]{47});/.exec(line)?.[1]).find((t) =>
          t !== undefined
        )
        const cookies = answer.setCookies.filter((line) => line.startsWith("session"))
        assert.isDefined(token, path)
        assert.strictEqual(cookies.length, path === "/other-header" ? 2 : 1, path)
        assert.strictEqual(sorted(answer).length, others.length + 1, path)
        for (const other of others) assert.include(answer.setCookies, other)
      }
    }))

  it.effect("the whole application is wrapped, other middleware included", () =>
    Effect.gen(function*() {
      const store = yield* App.makeStore()
      const cors = HttpRouter.middleware(
        HttpMiddleware.cors({ allowedOrigins: ["https://a.example", "https://b.example"], credentials: true }),
        { global: true }
      )
      for (const app of [Layer.mergeAll(App.routes, cors), Layer.provideMerge(App.routes, cors)]) {
        const client = yield* serve(App.withGlobalSession(app, store))
        const answer = yield* client.send("POST", "/inc", { headers: { origin: "https://a.example" } })
        const vary = answer.header("vary")?.split(/,\s*/).toSorted()
        assert.deepStrictEqual(vary, ["Cookie", "Origin"])
        assert.strictEqual(answer.setCookies.length, 1)
      }
    }))

  it.effect("what a handler leaves to a pre-response handler of its own is committed too", () =>
    Effect.gen(function*() {
      const store = yield* App.makeStore()
      const client = yield* serve(App.withSession(
        Layer.mergeAll(
          App.routes,
          HttpRouter.add(
            "POST",
            "/late",
            Effect.gen(function*() {
              const session = yield* UserSession
              yield* HttpEffect.appendPreResponseHandler((_request, response) =>
                Effect.as(Effect.orDie(session.update((data) => ({ ...data, n: 7 }))), response)
              )
              return HttpServerResponse.empty()
            })
          )
        ),
        store
      ))
      const answer = yield* client.send("POST", "/late")
      const token = App.tokenOf(answer)
      assert.isDefined(token)
      const me = yield* client.send("GET", "/me", { headers: { cookie: `session=${token}` } })
      assert.strictEqual(App.shown(me).n, 7)
    }))

  it.effect("a session remembers its client where asked to", () =>
    Effect.gen(function*() {
      const payloads = Effect.fnUntraced(function*(options: SessionMiddleware.Options) {
        const store = yield* App.makeStore()
        const client = yield* serve(App.withSession(App.routes, store, options))
        yield* client.send("POST", "/login", { headers: { "user-agent": `Browser/${"x".repeat(400)}` } })
        const [{ record }] = yield* store.entries
        return { client: JSON.parse(String(record.payload)).c, port: client.port }
      })
      const remembered = yield* payloads({ client: true })
      assert.strictEqual(remembered.client.a, `Browser/${"x".repeat(248)}`)
      assert.strictEqual(remembered.client.a.length, 256)
      assert.strictEqual(remembered.client.n, remembered.port === undefined ? undefined : "127.0.0.1")
      assert.isUndefined((yield* payloads({})).client)
    }))
})

describe("SessionMiddleware, cookie attributes", () => {
  const serve = App.inProcess

  const cookieOf = Effect.fnUntraced(function*(options: Parameters<typeof App.withSession>[2]) {
    const client = yield* serve(App.withSession(App.routes, yield* App.makeStore(), options))
    const answer = yield* client.send("POST", "/inc")
    return answer.setCookies.map((line) => line.replace(/=[\w-]{47}/, "=TOKEN"))
  })

  it.effect("depend on the preset", () =>
    Effect.gen(function*() {
      const insecure = ["session=TOKEN; Path=/; HttpOnly; SameSite=Lax"]
      const secure = ["__Host-session=TOKEN; Path=/; Secure; HttpOnly; SameSite=Lax"]
      assert.deepStrictEqual(yield* cookieOf({ config: { preset: "testing" } }), insecure)
      assert.deepStrictEqual(yield* cookieOf({ config: { preset: "development" } }), insecure)
      for (const preset of ["production", "highSecurity", "clustered"] as const) {
        assert.deepStrictEqual(yield* cookieOf({ config: { preset, secrets } }), secure)
      }
    }))

  it.effect("can be chosen, one by one", () =>
    Effect.gen(function*() {
      assert.deepStrictEqual(
        yield* cookieOf({ config: { preset: "production", secrets }, cookie: { sameSite: "strict" } }),
        ["__Host-session=TOKEN; Path=/; Secure; HttpOnly; SameSite=Strict"]
      )
      assert.deepStrictEqual(
        yield* cookieOf({
          cookie: {
            name: "__Secure-id",
            domain: "app.test",
            path: "/a",
            secure: true,
            sameSite: "none",
            partitioned: true,
            priority: "high"
          }
        }),
        ["__Secure-id=TOKEN; Domain=app.test; Path=/a; Secure; HttpOnly; SameSite=None; Partitioned; Priority=High"]
      )
    }))

  it.effect("attributes that browsers refuse stop the start", () =>
    Effect.gen(function*() {
      const store = yield* App.makeStore()
      const failure = yield* Layer.build(
        App.withSession(App.routes, store, { cookie: { name: "__Host-x", domain: "app.test" } }).pipe(
          Layer.provide(HttpRouter.layer)
        )
      ).pipe(Effect.sandbox, Effect.flip)
      assert.include(String(failure.reasons[0]._tag === "Die" && failure.reasons[0].defect), "domain:")
    }))

  it.effect("a persistent session's cookie lasts as long as the session can", () =>
    Effect.gen(function*() {
      const config = { preset: "testing", persistent: true, lifetime: "1 hour" } as const
      const client = yield* serve(App.withSession(App.routes, yield* App.makeStore(), { config }))
      const { answer, headers, token } = yield* start(client)
      assert.deepStrictEqual(answer.setCookies, [
        `session=${token}; Max-Age=3600; Expires=Thu, 01 Jan 1970 01:00:00 GMT; ${attributes}`
      ])
      yield* TestClock.adjust("4 minutes")
      const renewed = yield* client.send("POST", "/renew", { headers })
      assert.deepStrictEqual(renewed.setCookies, [
        `session=${App.tokenOf(renewed)}; Max-Age=3360; Expires=Thu, 01 Jan 1970 01:00:00 GMT; ${attributes}`
      ])
    }))

  it.effect("refreshing only the expiry of a session sends the same token, uncached", () =>
    Effect.gen(function*() {
      const remember = HttpRouter.add(
        "POST",
        "/remember",
        Effect.as(UserSession.setLifetime({ lifetime: "30 days", persistent: true }), HttpServerResponse.empty())
      )
      const client = yield* serve(App.withSession(Layer.mergeAll(App.routes, remember), yield* App.makeStore()))
      const { headers, token } = yield* start(client)
      const answer = yield* client.send("POST", "/remember", { headers })
      assert.deepStrictEqual(answer.setCookies, [
        `session=${token}; Max-Age=2592000; Expires=Sat, 31 Jan 1970 00:00:00 GMT; ${attributes}`
      ])
      assert.strictEqual(answer.header("cache-control"), "no-store")
      assert.strictEqual(answer.header("vary"), "Cookie")
    }))

  it.effect("a session that ends while it is committed leaves no cookie", () =>
    Effect.gen(function*() {
      const store = yield* App.makeStore()
      const config = { preset: "testing", lifetime: "1 hour" } as const
      const remember = HttpRouter.add(
        "POST",
        "/remember",
        Effect.as(UserSession.setLifetime({ persistent: true }), HttpServerResponse.empty())
      )
      const client = yield* serve(App.withSession(Layer.mergeAll(App.routes, remember), store, { config }))
      const { headers } = yield* start(client)
      store.after = (method) => method === "save" ? TestClock.adjust("1 hour") : Effect.void
      const answer = yield* client.send("POST", "/remember", { headers })
      assert.strictEqual(answer.status, 204)
      assert.deepStrictEqual(answer.setCookies, [
        `session=; Max-Age=0; Expires=Thu, 01 Jan 1970 00:00:00 GMT; ${attributes}`
      ])
    }))

  it.effect("deletion names the same cookie as setting it", () =>
    Effect.gen(function*() {
      const config = { preset: "production", secrets } as const
      for (
        const cookie of [
          {},
          { name: "__Secure-id", domain: "app.test", path: "/" },
          { name: "__Secure-p", partitioned: true, sameSite: "none" },
          { name: "plain", secure: false, httpOnly: false }
        ] as const
      ) {
        const client = yield* serve(App.withSession(App.routes, yield* App.makeStore(), { config, cookie }))
        const user = App.browser(client)
        yield* user.send("POST", "/login")
        assert.strictEqual(user.jar.size, 1)
        assert.strictEqual(App.shown(yield* user.send("GET", "/me")).subject, "ada")
        yield* user.send("POST", "/logout")
        assert.strictEqual(user.jar.size, 0)
      }
    }))
})

describe("SessionMiddleware, types of data", () => {
  it.effect("what the handler reads after a write is what the next request reads", () =>
    Effect.gen(function*() {
      class Dated extends Session.Service<Dated>()("test/Dated", {
        data: Schema.Struct({ at: Schema.Date }),
        initial: () => ({ at: new Date(0) })
      }) {}
      const store = yield* App.makeStore()
      const routes = HttpRouter.add(
        "POST",
        "/",
        Effect.gen(function*() {
          const before = (yield* Dated.get).at.getTime()
          yield* Dated.update(() => ({ at: new Date(before + 86_400_000) }))
          return HttpServerResponse.text(String(before))
        })
      ).pipe(Layer.provide(SessionMiddleware.layer(Dated)), Layer.provide(App.backend(store)))
      const user = App.browser(yield* App.inProcess(routes))
      assert.strictEqual((yield* user.send("POST", "/")).body, "0")
      assert.strictEqual((yield* user.send("POST", "/")).body, "86400000")
    }))
})
