import { SessionManager } from "@effect-session/core"
import { SessionTest } from "@effect-session/core/testing"
import { RequestClass } from "@effect-session/http"
import { assert, describe, it } from "@effect/vitest"
import { Effect, Layer } from "effect"
import { HttpRouter, HttpServerRequest, HttpServerResponse } from "effect/http"
import { TestClock } from "effect/testing"
import * as App from "./SessionApp.ts"

const { UserSession } = App

const show = Effect.map(
  HttpServerRequest.HttpServerRequest,
  (request) => HttpServerResponse.text(RequestClass.of(request))
)

describe("RequestClass", () => {
  it.each([
    ["prefetch", { "sec-purpose": "prefetch" }],
    ["prefetch", { "sec-purpose": "prefetch;prerender" }],
    ["prefetch", { "sec-purpose": "prefetch;anonymous-client-ip" }],
    ["prefetch", { "sec-fetch-purpose": "prefetch" }],
    ["prefetch", { purpose: "prefetch" }],
    ["prefetch", { "x-purpose": "preview" }],
    ["prefetch", { "x-moz": "prefetch" }],
    ["prefetch", { "sec-purpose": " Prefetch " }],
    ["active", {}],
    ["active", { "sec-purpose": "" }],
    ["active", { "sec-purpose": "prefetched" }],
    ["active", { "sec-purpose": "no-prefetch" }],
    ["active", { "sec-fetch-mode": "navigate", "sec-fetch-dest": "document" }]
  ])("%s: %j", (expected, headers) => {
    assert.strictEqual(RequestClass.isPrefetch(headers), expected === "prefetch")
  })

  it.effect("knows a request by its route and by its headers, also below a prefix", () =>
    Effect.gen(function*() {
      const Passive = HttpRouter.add("GET", "/poll", show).pipe(Layer.provide(RequestClass.layerPassive))
      const client = yield* App.inProcess(Layer.mergeAll(
        Passive,
        HttpRouter.add("GET", "/page", show),
        HttpRouter.add("GET", "/beacon", RequestClass.passive(show)),
        HttpRouter.use((router) => router.prefixed("/area").add("GET", "/beacon", RequestClass.passive(show)))
      ))
      const of = (path: string, headers = {}) => Effect.map(client.send("GET", path, { headers }), ({ body }) => body)
      assert.strictEqual(yield* of("/page"), "active")
      assert.strictEqual(yield* of("/page", { "sec-purpose": "prefetch" }), "prefetch")
      for (const path of ["/poll", "/beacon", "/area/beacon"]) assert.strictEqual(yield* of(path), "passive", path)
    }))

  it.effect("a mark on the view of a route is seen on the request around it", () =>
    Effect.sync(() => {
      const request = HttpServerRequest.fromWeb(new Request("http://app.test/a/b"))
      RequestClass.markPassive(request.modify({ url: "/b" }))
      assert.strictEqual(RequestClass.of(request), "passive")
      assert.isTrue(RequestClass.isActive(HttpServerRequest.fromWeb(new Request("http://app.test/a/b"))))
    }))

  it.effect("a mark ends with the run: the next application that gets the same request makes up its own mind", () =>
    Effect.gen(function*() {
      const store = yield* App.makeStore()
      const beacon = HttpRouter.add("GET", "/page", RequestClass.passive(Effect.andThen(UserSession.status, show)))
      const { dispose, handler } = HttpRouter.toWebHandler(App.withSession(beacon, store), { disableLogger: true })
      yield* Effect.addFinalizer(() => Effect.promise(dispose))
      const request = new Request("http://app.test/page")
      const answer = yield* Effect.promise(() => handler(request))
      assert.strictEqual(yield* Effect.promise(() => answer.text()), "passive")
      assert.strictEqual(RequestClass.of(HttpServerRequest.fromWeb(request)), "active")
    }))

  it.effect("a request that is found to be passive while it runs does not extend its session", () =>
    Effect.gen(function*() {
      const manager = yield* SessionManager.make(UserSession)
      const token = yield* SessionTest.start(UserSession, { subject: "ada", data: { n: 0, note: "" } })
      const use = Effect.fnUntraced(function*(mark: boolean) {
        const request = HttpServerRequest.fromWeb(new Request("http://app.test/"))
        const session = manager.open({
          token,
          get active() {
            return RequestClass.isActive(request)
          }
        })
        yield* session.get
        if (mark) RequestClass.markPassive(request)
        yield* session.finish("success")
        return yield* session.status
      })
      // Idle after five minutes, whatever a page polls meanwhile.
      for (let minute = 0; minute < 4; minute++) {
        yield* TestClock.adjust("1 minute")
        assert.strictEqual(yield* use(true), "active")
      }
      yield* TestClock.adjust("2 minutes")
      assert.strictEqual(yield* use(true), "expired")
    }).pipe(Effect.provide(SessionTest.layer({ idleTimeout: "5 minutes", lifetime: "1 hour", sliding: true }))))

  it.effect("an active request does", () =>
    Effect.gen(function*() {
      const manager = yield* SessionManager.make(UserSession)
      const token = yield* SessionTest.start(UserSession, { subject: "ada", data: { n: 0, note: "" } })
      const request = HttpServerRequest.fromWeb(new Request("http://app.test/"))
      for (let minute = 0; minute < 8; minute++) {
        yield* TestClock.adjust("1 minute")
        const session = manager.open({ token, active: RequestClass.isActive(request) })
        yield* session.get
        yield* session.finish("success")
        assert.strictEqual(yield* session.status, "active")
      }
    }).pipe(Effect.provide(SessionTest.layer({ idleTimeout: "5 minutes", lifetime: "1 hour", sliding: true }))))
})
