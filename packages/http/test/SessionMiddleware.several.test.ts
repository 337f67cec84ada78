import { Session, type SessionConfig } from "@effect-session/core"
import { SessionMiddleware } from "@effect-session/http"
import { assert, describe, it } from "@effect/vitest"
import { Effect, Layer, Schema } from "effect"
import { HttpRouter, HttpServerResponse } from "effect/http"
import { parseSetCookie } from "./CookieJar.ts"
import * as App from "./SessionApp.ts"

const { AdminSession, UserSession } = App

class Cart extends Session.Service<Cart>()("test/Cart", {
  data: Schema.Struct({ n: Schema.Number }),
  initial: { n: 0 }
}) {}

const count = {
  user: App.increment,
  admin: AdminSession.update(({ n }) => ({ n: n + 1 })),
  cart: Cart.update(({ n }) => ({ n: n + 1 }))
}

const showAll = Effect.gen(function*() {
  return HttpServerResponse.jsonUnsafe([(yield* UserSession.get).n, (yield* AdminSession.get).n, (yield* Cart.get).n])
})

const routes = Layer.mergeAll(
  HttpRouter.add("GET", "/", showAll),
  HttpRouter.add("POST", "/user", Effect.andThen(count.user, showAll)),
  HttpRouter.add("POST", "/admin", Effect.andThen(count.admin, showAll)),
  HttpRouter.add(
    "POST",
    "/all",
    Effect.gen(function*() {
      yield* count.cart
      yield* count.user
      yield* count.admin
      const response = yield* showAll
      return HttpServerResponse.setCookieUnsafe(response, "theme", "dark", { path: "/" })
    })
  ),
  HttpRouter.add(
    "POST",
    "/login",
    Effect.gen(function*() {
      yield* UserSession.login("ada", (data) => ({ ...data, n: 10 }))
      yield* AdminSession.login("ada", () => ({ n: 20 }))
      return yield* showAll
    })
  ),
  HttpRouter.add("POST", "/leave-admin", Effect.as(AdminSession.destroy, HttpServerResponse.empty())),
  HttpRouter.add(
    "POST",
    "/leave",
    Effect.as(Effect.all([UserSession.destroy, AdminSession.destroy, Cart.destroy]), HttpServerResponse.empty())
  )
)

const admin = { name: "admin", path: "/", sameSite: "strict" } as const
const cart = { name: "cart", httpOnly: false, priority: "low" } as const

const ways = {
  "side by side": (store: App.TestStore, config: SessionConfig.Options) =>
    routes.pipe(
      Layer.provide([
        SessionMiddleware.layer(UserSession),
        SessionMiddleware.layer(AdminSession, { cookie: admin }),
        SessionMiddleware.layer(Cart, { cookie: cart })
      ]),
      Layer.provide(App.backend(store, config))
    ),
  "in a global one": (store: App.TestStore, config: SessionConfig.Options) =>
    routes.pipe(
      Layer.provide(SessionMiddleware.layer(AdminSession, { cookie: admin })),
      Layer.provide(SessionMiddleware.layer(Cart, { cookie: cart })),
      Layer.provide(SessionMiddleware.layerGlobal(UserSession)),
      Layer.provide(App.backend(store, config))
    ),
  "all global": (store: App.TestStore, config: SessionConfig.Options) =>
    routes.pipe(
      Layer.provide([
        SessionMiddleware.layerGlobal(Cart, { cookie: cart }),
        SessionMiddleware.layerGlobal(UserSession),
        SessionMiddleware.layerGlobal(AdminSession, { cookie: admin })
      ]),
      Layer.provide(App.backend(store, config))
    )
}

const transports = Object.entries(App.transports)

describe.each(
  Object.entries(ways).flatMap(([way, app]) => transports.map(([name, serve]) => ({ way, app, name, serve })))
)(
  "SessionMiddleware, several sessions $way, $name",
  ({ app, serve }) => {
    it.effect("have a cookie and a life each", () =>
      Effect.gen(function*() {
        const store = yield* App.makeStore()
        const user = App.browser(yield* serve(app(store, { preset: "testing" })))
        const first = yield* user.send("POST", "/user")
        assert.deepStrictEqual([first.body, first.setCookies.length], ["[1,0,0]", 1])
        const second = yield* user.send("POST", "/admin")
        assert.deepStrictEqual([second.body, second.setCookies.length], ["[1,1,0]", 1])
        assert.isDefined(App.tokenOf(second, "admin"))
        const both = yield* user.send("POST", "/login")
        assert.deepStrictEqual([both.body, both.setCookies.length], ["[10,20,0]", 2])
        assert.strictEqual(both.header("vary"), "Cookie")
        assert.strictEqual(both.header("cache-control"), "no-store")
        assert.notStrictEqual(App.tokenOf(both, "admin"), App.tokenOf(both, "session"))
        const left = yield* user.send("POST", "/leave-admin")
        assert.deepStrictEqual(left.setCookies.map((line) => line.split("=")[0]), ["admin"])
        assert.strictEqual((yield* user.send("GET", "/")).body, "[10,0,0]")
        const gone = yield* user.send("POST", "/leave")
        assert.deepStrictEqual(gone.setCookies.map((line) => line.split("=")[0]), ["session"])
        assert.strictEqual(user.jar.size, 0)
        assert.deepStrictEqual(yield* store.keys, [])
      }))

    it.effect("set all cookies in one response with all their attributes", () =>
      Effect.gen(function*() {
        const store = yield* App.makeStore()
        const config = { preset: "testing", persistent: true, lifetime: "1 hour" } as const
        const user = App.browser(yield* serve(app(store, config)))
        const expected = (value: RegExp, maxAge: string, expires: string) => {
          const lifetime = [["Max-Age", maxAge], ["Expires", expires], ["Path", "/"]]
          return new Map([
            ["session", [value, [...lifetime, ["HttpOnly", ""], ["SameSite", "Lax"]]]],
            ["admin", [value, [...lifetime, ["HttpOnly", ""], ["SameSite", "Strict"]]]],
            ["cart", [value, [...lifetime, ["SameSite", "Lax"], ["Priority", "Low"]]]]
          ])
        }
        const check = (answer: App.Reply, wanted: ReturnType<typeof expected>) => {
          for (const [name, [value, attributes]] of wanted) {
            const [one, ...more] = answer.setCookies.map(parseSetCookie).filter((cookie) => cookie.name === name)
            assert.match(one.value, value as RegExp)
            assert.sameDeepMembers(one.attributes.map((pair) => [...pair]), attributes as Array<Array<string>>)
            assert.deepStrictEqual(more, [])
          }
        }
        const answer = yield* user.send("POST", "/all")
        assert.strictEqual(answer.body, "[1,1,1]")
        assert.strictEqual(answer.setCookies.length, 4)
        assert.include(answer.setCookies, "theme=dark; Path=/")
        check(answer, expected(/^[\w-]{47}$/, "3600", "Thu, 01 Jan 1970 01:00:00 GMT"))
        const left = yield* user.send("POST", "/leave")
        assert.strictEqual(left.setCookies.length, 3)
        check(left, expected(/^$/, "0", "Thu, 01 Jan 1970 00:00:00 GMT"))
        assert.strictEqual(user.jar.size, 1)
      }))
  }
)

describe.each(transports)("SessionMiddleware, several sessions of which one fails, %s", (_name, serve) => {
  it.effect("what another has decided reaches the client, and what comes later is not stored", () =>
    Effect.gen(function*() {
      for (const way of Object.values(ways)) {
        for (const broken of [0, 1]) {
          const store = yield* App.makeStore()
          const user = App.browser(yield* serve(way(store, { preset: "testing" })))
          yield* user.send("POST", "/all")
          let renewals = 0
          store.before = (method) => method === "renew" && renewals++ === broken ? App.down : Effect.void
          const answer = yield* user.send("POST", "/login")
          store.before = () => Effect.void
          assert.deepStrictEqual([answer.status, answer.body], [503, ""])
          assert.strictEqual(answer.setCookies.length, 1)
          assert.strictEqual(answer.header("cache-control"), "no-store")
          // The session whose commit failed is as it was; the other is signed in, and the client knows.
          const [n, adminN] = JSON.parse((yield* user.send("GET", "/")).body)
          assert.include([[10, 1], [1, 20]].map(String), String([n, adminN]))

          store.calls.length = 0
          let saves = 0
          store.before = (method) => method === "save" && saves++ === broken ? App.down : Effect.void
          assert.strictEqual((yield* user.send("POST", "/all")).status, 503)
          store.before = () => Effect.void
          assert.strictEqual(store.calls.filter((method) => method === "save").length, broken + 1)
          const after: ReadonlyArray<number> = JSON.parse((yield* user.send("GET", "/")).body)
          assert.strictEqual(after.reduce((a, b) => a + b), n + adminN + 1 + broken)
        }
      }
    }))
})
