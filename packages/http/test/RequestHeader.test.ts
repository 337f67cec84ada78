import { SessionMiddleware } from "@effect-session/http"
import { assert, describe, it } from "@effect/vitest"
import { Effect, Layer } from "effect"
import { Headers, HttpRouter, HttpServerRequest, HttpServerResponse } from "effect/http"
import * as RequestHeader from "../src/internal/requestHeader.ts"
import { exchange } from "./RawSocket.ts"
import { backend, makeStore, show, shown, transports, UserSession, withSession } from "./SessionApp.ts"

const names = ["cookie", "sec-purpose", "user-agent", "upgrade", "x-none", "constructor", "__proto__"]
type Seen = ReadonlyArray<string | null>

// What is found without the map, and what the map has.
const both = Effect.map(HttpServerRequest.HttpServerRequest, (request): readonly [Seen, Seen] => {
  const found = names.map((name) => RequestHeader.of(request, name) ?? null)
  return [found, names.map((name) => Object.hasOwn(request.headers, name) ? request.headers[name] ?? null : null)]
})

const isMapMade = Effect.map(
  HttpServerRequest.HttpServerRequest,
  (request) => Reflect.get(request, "headersOverride") !== undefined
)

const answerBoth = HttpRouter.add(
  "GET",
  "/both",
  Effect.map(both, (seen) => HttpServerResponse.text(JSON.stringify(seen)))
)

type Request = HttpServerRequest.HttpServerRequest

/** What a handler may put in the place of the request. */
const others: Readonly<Record<string, (request: Request) => Request>> = {
  "/mine": (request) => request.modify({ url: "/elsewhere" }),
  "/read": (request) => {
    assert.isDefined(request.headers["cookie"])
    return request.modify({ url: "/elsewhere" })
  },
  "/none": (request) => request.modify({ headers: Headers.empty }),
  "/hidden": (request) => Object.create(request, { headers: { value: Headers.empty } }),
  "/behind": (request) => Object.create(Object.create(request, { headers: { value: Headers.empty } })),
  "/own": (request) => Object.defineProperty(request, "headers", { value: Headers.empty })
}

describe("a header of a request", () => {
  for (const [name, transport] of Object.entries(transports)) {
    it.effect(`${name}: is found without a map of all headers, and is the same`, () =>
      Effect.gen(function*() {
        const app = Layer.mergeAll(
          answerBoth,
          HttpRouter.add(
            "GET",
            "/map",
            Effect.gen(function*() {
              yield* UserSession.touch
              return HttpServerResponse.text(String(yield* isMapMade))
            })
          )
        )
        const client = yield* transport(withSession(app, yield* makeStore()))
        const headers = { "user-agent": "Agent/1", "sec-purpose": "prefetch" }
        const [found, mapped] = JSON.parse((yield* client.send("GET", "/both", { headers })).body)
        assert.deepStrictEqual(found, mapped)
        assert.deepStrictEqual(found.slice(1, 3), ["prefetch", "Agent/1"])
        // With a server middleware Effect has made the map before anybody else could.
        if (name.endsWith("with a server middleware")) return
        for (const cookie of [undefined, "session=x"]) {
          const answer = yield* client.send("GET", "/map", cookie === undefined ? {} : { headers: { cookie } })
          assert.strictEqual(answer.body, "false", "the platform keeps its headers elsewhere by now")
        }
      }))
  }

  it.effect("over a socket, is the same whatever is sent", () =>
    Effect.gen(function*() {
      const { port } = yield* transports["Node server"](withSession(answerBoth, yield* makeStore()))
      assert.isDefined(port)
      const cases = [
        "Cookie: a=1\r\nCookie: b=2\r\n",
        "COOKIE: a=1\r\ncookie:   b=2  \r\n",
        "Cookie:\r\n",
        "Cookie: session=\xc3\xa9\xa0\r\n",
        "Sec-Purpose: prefetch\r\nSec-Purpose: prerender\r\n",
        "User-Agent: one\r\nUser-Agent: two\r\n",
        "__proto__: x\r\nconstructor: y\r\n",
        "Upgrade: websocket\r\nUpgrade: h2c\r\n"
      ]
      for (const target of ["/both", "http://other.test/both"]) {
        for (const lines of cases) {
          const answer = yield* exchange(
            port,
            `GET ${target} HTTP/1.1\r\nHost: app.test\r\nConnection: close\r\n${lines}\r\n`
          )
          assert.match(answer, /^HTTP\/1\.1 200 /, lines)
          const [found, mapped] = JSON.parse(answer.slice(answer.indexOf("\r\n\r\n") + 4))
          assert.deepStrictEqual(found, mapped, lines)
          assert.isTrue(found.some((value: unknown) => value !== null), lines)
        }
      }
    }))

  it.effect("of a request that was modified, or stands before another, is what that one says", () =>
    Effect.gen(function*() {
      const store = yield* makeStore()
      const middleware = yield* Effect.provide(SessionMiddleware.make(UserSession), backend(store))
      const seen = middleware<never, never>(show)
      const login = middleware<never, never>(Effect.as(UserSession.login("ada"), HttpServerResponse.empty()))
      const client = yield* transports["Node server"](
        Layer.mergeAll(
          HttpRouter.add("GET", "/login", login),
          ...Object.entries(others).map(([path, other]) =>
            HttpRouter.add(
              "GET",
              path as `/${string}`,
              Effect.flatMap(
                HttpServerRequest.HttpServerRequest,
                (request) => Effect.provideService(seen, HttpServerRequest.HttpServerRequest, other(request))
              )
            )
          )
        )
      )
      const cookie = (yield* client.send("GET", "/login")).setCookies[0].split(";")[0]
      const subjectAt = (path: string) =>
        Effect.map(client.send("GET", path, { headers: { cookie } }), (answer) => shown(answer).subject)
      assert.strictEqual(yield* subjectAt("/mine"), "ada")
      assert.strictEqual(yield* subjectAt("/read"), "ada")
      assert.isNull(yield* subjectAt("/none"))
      assert.isNull(yield* subjectAt("/hidden"))
      assert.isNull(yield* subjectAt("/behind"))
      assert.isNull(yield* subjectAt("/own"))
    }))
})
