/** Several accounts in one browser: a session service for each slot, with a cookie of its own. */
import { Session, SessionDevices } from "@effect-session/core"
import { SessionMiddleware } from "@effect-session/http"
import { assert, describe, it } from "@effect/vitest"
import { Effect, Layer, Schema } from "effect"
import { HttpRouter, HttpServerResponse } from "effect/http"
import { parseSetCookie } from "./CookieJar.ts"
import * as App from "./SessionApp.ts"

const account = { data: Schema.Struct({ theme: Schema.String }), initial: { theme: "light" } }
class First extends Session.Service<First>()("test/Account/0", account) {}
class Second extends Session.Service<Second>()("test/Account/1", account) {}
class Third extends Session.Service<Third>()("test/Account/2", account) {}
const slots = [First, Second, Third] as const

/** The session of the slot that the path names; the first one where it names none. */
const slot = Effect.map(HttpRouter.params, ({ slot }) => slots[Number(slot)] ?? First)

const routes = Layer.mergeAll(
  HttpRouter.add(
    "GET",
    "/u/:slot",
    Effect.gen(function*() {
      const session = yield* slot
      return HttpServerResponse.jsonUnsafe([(yield* session.subject) ?? null, (yield* session.get).theme])
    })
  ),
  HttpRouter.add(
    "POST",
    "/u/:slot/login",
    Effect.gen(function*() {
      const name = (yield* App.query).get("as") ?? ""
      yield* (yield* slot).login(name, () => ({ theme: `${name}'s` }))
      return HttpServerResponse.empty()
    })
  ),
  HttpRouter.add(
    "POST",
    "/u/:slot/logout",
    Effect.gen(function*() {
      yield* (yield* slot).destroy
      return HttpServerResponse.empty()
    })
  ),
  HttpRouter.add(
    "POST",
    "/u/:slot/end-all",
    Effect.gen(function*() {
      const session: typeof First | typeof Second | typeof Third = yield* slot
      const ended = yield* (session === First
        ? SessionDevices.revokeAll(First)
        : session === Second
        ? SessionDevices.revokeAll(Second)
        : SessionDevices.revokeAll(Third))
      return HttpServerResponse.text(String(ended))
    })
  ),
  HttpRouter.add(
    "GET",
    "/accounts",
    Effect.gen(function*() {
      const names = yield* Effect.all([First.subject, Second.subject, Third.subject])
      return HttpServerResponse.jsonUnsafe(names.map((name) => name ?? null))
    })
  )
)

const setup = Effect.gen(function*() {
  const store = yield* App.makeStore()
  const services = App.backend(store)
  const client = yield* App.inProcess(routes.pipe(
    HttpRouter.provideRequest(services),
    Layer.provide(SessionMiddleware.layer(First, { cookie: { name: "account0" } })),
    Layer.provide(SessionMiddleware.layer(Second, { cookie: { name: "account1" } })),
    Layer.provide(SessionMiddleware.layer(Third, { cookie: { name: "account2" } })),
    Layer.provide(services)
  ))
  const { jar, send } = App.browser(client)
  const get = (path: string) => Effect.map(send("GET", path), ({ body }) => JSON.parse(body))
  return { client, jar, send, get, store }
})

describe("account switching", () => {
  it.effect("two users are signed in side by side, each in a slot", () =>
    Effect.gen(function*() {
      const { get, send } = yield* setup
      const cookies = (yield* send("POST", "/u/0/login?as=ada")).setCookies
      assert.deepStrictEqual(cookies.map((line) => parseSetCookie(line).name), ["account0"])
      yield* send("POST", "/u/1/login?as=bob")
      assert.deepStrictEqual(yield* get("/accounts"), ["ada", "bob", null])
      assert.deepStrictEqual(yield* get("/u/0"), ["ada", "ada's"])
      assert.deepStrictEqual(yield* get("/u/1"), ["bob", "bob's"])
      assert.deepStrictEqual(yield* get("/u/2"), [null, "light"])
    }))

  it.effect("signing out of one leaves the others", () =>
    Effect.gen(function*() {
      const { get, jar, send } = yield* setup
      yield* send("POST", "/u/0/login?as=ada")
      yield* send("POST", "/u/1/login?as=bob")
      yield* send("POST", "/u/0/logout")
      assert.deepStrictEqual(yield* get("/accounts"), [null, "bob", null])
      assert.strictEqual(jar.size, 1)
    }))

  it.effect("the cookie of one slot opens no other", () =>
    Effect.gen(function*() {
      const { client, send } = yield* setup
      const token = App.tokenOf(yield* send("POST", "/u/0/login?as=ada"), "account0")
      const answer = yield* client.send("GET", "/u/1", { headers: { cookie: `account1=${token}` } })
      assert.deepStrictEqual(JSON.parse(answer.body), [null, "light"])
    }))

  it.effect("ending all sessions of a user ends those of every slot, and nobody else's", () =>
    Effect.gen(function*() {
      const { get, send } = yield* setup
      yield* send("POST", "/u/0/login?as=ada")
      yield* send("POST", "/u/1/login?as=bob")
      yield* send("POST", "/u/2/login?as=ada")
      assert.strictEqual((yield* send("POST", "/u/0/end-all")).body, "2")
      assert.deepStrictEqual(yield* get("/accounts"), [null, "bob", null])
    }))
})
