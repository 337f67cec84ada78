/* oxlint-disable oxc/no-async-endpoint-handlers -- Express 5 and Fastify wait for promises. */
import { MemoryStore, Session, SessionConfig } from "@effect-session/core"
import * as CryptoNode from "@effect-session/core/CryptoNode"
import { SessionFastify } from "@effect-session/http"
import * as SessionNode from "@effect-session/http/SessionNode"
import { assert, describe, it } from "@effect/vitest"
import { Effect, Layer, Redacted, Schema } from "effect"
import { TestClock } from "effect/testing"
import fastify from "fastify"
import { readFileSync } from "node:fs"
import * as Http from "node:http"
import { Readable } from "node:stream"
import { fileURLToPath } from "node:url"
import * as Adapters from "./AdapterApp.ts"
import * as CookieMode from "./CookieModeApp.ts"
import * as Express from "./ExpressApp.ts"
import * as App from "./SessionApp.ts"

const { increment } = Adapters
const turn = Effect.promise(() => new Promise<void>((resolve) => setImmediate(resolve)))
const cookie = (token: string | undefined) => ({ headers: { cookie: `session=${token}` } })
const live = (options: SessionConfig.Options) =>
  MemoryStore.layer().pipe(
    Layer.provideMerge(CryptoNode.layer),
    Layer.provideMerge(SessionConfig.layer(options))
  )

const rejection = (promise: Promise<unknown>) =>
  Effect.promise(() => promise.then(() => undefined, (error: unknown) => error))

describe("SessionNode", () => {
  it.effect("does not start with settings that are wrong, a cookie that browsers refuse, or a layer that fails", () =>
    Effect.gen(function*() {
      let released = 0
      const failing = Layer.effectDiscard(
        Effect.andThen(
          Effect.addFinalizer(() => Effect.sync(() => void released++)),
          Effect.fail(new Error("no route to the store"))
        )
      )
      for (
        const [start, message] of [
          [() => SessionNode.make(App.UserSession, live({ preset: "production" })), /secret/],
          [
            () =>
              SessionNode.make(App.UserSession, live({ preset: "testing" }), {
                cookie: { name: "__Host-a", secure: false }
              }),
            /__Host-/
          ],
          [
            () => SessionNode.make(App.UserSession, Layer.provideMerge(failing, live({ preset: "testing" }))),
            /no route to the store/
          ]
        ] as const
      ) assert.match(String(yield* rejection(start())), message)
      assert.strictEqual(released, 1)
    }))

  it.effect("closes its layer, and twice is once", () =>
    Effect.gen(function*() {
      let released = 0
      const counted = Layer.effectDiscard(Effect.addFinalizer(() => Effect.sync(() => void released++)))
      const sessions = yield* Effect.promise(() =>
        SessionNode.make(App.UserSession, Layer.provideMerge(counted, live({ preset: "testing" })))
      )
      assert.strictEqual(released, 0)
      yield* Effect.promise(sessions.close)
      yield* Effect.promise(sessions.close)
      assert.strictEqual(released, 1)
    }))

  it.effect("has a secure cookie with a prefix where the transport is secure", () =>
    Effect.gen(function*() {
      const secrets = Redacted.make("Wq8-Zr5_Kt2.Hn7+Lm3*Pd6!Xc9?Vb4@")
      const sessions = yield* Effect.acquireRelease(
        Effect.promise(() => SessionNode.make(App.UserSession, live({ preset: "production", secrets }))),
        ({ close }) => Effect.promise(close)
      )
      const client = yield* Adapters.listen(Http.createServer(sessions.listener(async (request, response) => {
        await increment(sessions.of(request))
        response.end()
      })))
      const { setCookies } = yield* client.send("POST", "/")
      assert.match(setCookies.join(), /^__Host-session=[\w-]{47}; Path=\/; Secure; HttpOnly; SameSite=Lax$/)
    }))

  it.effect("two services of one request commit both, and an outage of one discards the other's data", () =>
    Effect.gen(function*() {
      class Other extends Session.Service<Other>()("test/Other", {
        data: Schema.Struct({ level: Schema.Number }),
        initial: { level: 0 }
      }) {}
      for (const pause of [Effect.void, turn]) {
        const store = yield* App.makeStore()
        const otherStore = yield* App.makeStore()
        const user = yield* Adapters.nodeSessions(store)
        const layer = yield* Adapters.layerOf(otherStore, undefined)
        const other = yield* Effect.acquireRelease(
          Effect.promise(() => SessionNode.make(Other, layer, { cookie: { name: "other", secure: false } })),
          ({ close }) => Effect.promise(close)
        )
        const app = Express.make()
        app.use(other.middleware)
        app.use(user.middleware)
        app.use(user.middleware)
        app.all("/", async (request, response) => {
          await increment(user.of(request))
          const { level } = await other.of(request).update(({ level }) => ({ level: level + 1 }))
          response.send(String(level))
        })
        const client = yield* Adapters.listen(Http.createServer(app))
        store.before = otherStore.before = () => pause
        const first = yield* client.send("POST", "/")
        assert.deepStrictEqual(first.setCookies.map((line) => line.split("=")[0]), ["session", "other"])
        assert.strictEqual(first.header("vary"), "Cookie")
        const options = {
          headers: { cookie: `session=${App.tokenOf(first)}; other=${App.tokenOf(first, "other")}` }
        }
        // The one that is nearer to the route is the first to be committed.
        store.before = (method) => method === "save" ? Effect.andThen(pause, App.down) : pause
        const failed = yield* client.send("POST", "/", options)
        assert.deepStrictEqual([failed.status, failed.setCookies], [503, []])
        store.before = () => pause
        assert.strictEqual((yield* client.send("POST", "/", options)).body, "2")
        // If the outer one fails, what the inner one has issued is still delivered.
        otherStore.before = (method) => method === "create" ? Effect.andThen(pause, App.down) : pause
        const half = yield* client.send("POST", "/")
        assert.strictEqual(half.status, 503)
        assert.deepStrictEqual(half.setCookies.map((line) => line.split("=")[0]), ["session"])
      }
    }))

  it.effect("serves cookie mode, in as many cookies as a session needs, and refuses to start with too few", () =>
    Effect.gen(function*() {
      const layer = CookieMode.backend({ cookie: { maxToken: 9000 } })
      const start = (chunks: number) =>
        SessionNode.make(App.UserSession, layer, { cookie: { name: "session", chunks } })
      assert.match(String(yield* rejection(start(1))), /chunks: the cookie carries tokens of at most/)
      const sessions = yield* Effect.acquireRelease(
        Effect.promise(() => start(3)),
        ({ close }) => Effect.promise(close)
      )
      const client = yield* Adapters.listen(Http.createServer(sessions.listener(async (request, response) => {
        const session = sessions.of(request)
        const size = Number(request.url?.slice(1))
        if (request.method === "POST") await session.update((data) => ({ ...data, note: "x".repeat(size) }))
        response.end(String((await session.get()).note.length))
      })))
      const user = App.browser(client)
      for (const [size, cookies] of [[6000, 3], [10, 1]]) {
        const { body, setCookies } = yield* user.send("POST", `/${size}`)
        assert.strictEqual(body, String(size))
        assert.strictEqual(setCookies.filter((line) => !line.includes("Max-Age=0")).length, cookies)
        assert.strictEqual((yield* user.send("GET", "/0")).body, String(size))
        assert.strictEqual(user.jar.size, cookies)
      }
    }))

  it.effect("remembers the client, from the socket or from whom the application asks", () =>
    Effect.gen(function*() {
      for (
        const [options, address] of [
          [{}, "127.0.0.1"],
          [{ address: (request: SessionNode.NodeRequest) => request.headers["x-real"]?.toString() }, "10.0.0.7"]
        ] as const
      ) {
        const store = yield* App.makeStore()
        const layer = yield* Adapters.layerOf(store, undefined)
        const sessions = yield* Effect.acquireRelease(
          Effect.promise(() => SessionNode.make(App.UserSession, layer, { client: true, ...options })),
          ({ close }) => Effect.promise(close)
        )
        const client = yield* Adapters.listen(Http.createServer(sessions.listener(async (request, response) => {
          await sessions.of(request).login("ada")
          response.end()
        })))
        yield* client.send("POST", "/", { headers: { "user-agent": "a".repeat(300), "x-real": "10.0.0.7" } })
        const [{ record }] = yield* store.entries
        assert.include(String(record.payload), address)
        assert.include(String(record.payload), "\"" + "a".repeat(256) + "\"")
      }
    }))

  it.effect("a request that a browser makes ahead does not keep the session alive", () =>
    Effect.gen(function*() {
      const store = yield* App.makeStore()
      const config = { preset: "testing", sliding: true, touchInterval: "1 second" } as const
      const sessions = yield* Adapters.nodeSessions(store, { config })
      const client = yield* Adapters.listen(Http.createServer(sessions.listener(async (request, response) => {
        if (request.method === "POST") await increment(sessions.of(request))
        else await sessions.of(request).get()
        response.end()
      })))
      const { headers } = cookie(App.tokenOf(yield* client.send("POST", "/")))
      const lastSeenAt = Effect.map(store.entries, ([{ record }]) => record.lastSeenAt)
      yield* TestClock.adjust("2 seconds")
      yield* client.send("GET", "/", { headers: { ...headers, "sec-purpose": "prefetch;prerender" } })
      assert.strictEqual(yield* lastSeenAt, 0)
      yield* client.send("GET", "/", { headers })
      assert.strictEqual(yield* lastSeenAt, 2000)
    }))

  it.effect("a response that went past the session is whole when only its activity was due", () =>
    Effect.gen(function*() {
      const store = yield* App.makeStore()
      const config = { preset: "testing", sliding: true, touchInterval: "1 second" } as const
      const sessions = yield* Adapters.nodeSessions(store, { config })
      const client = yield* Adapters.listen(Http.createServer(sessions.listener(async (request, response) => {
        if (request.method === "POST") {
          await increment(sessions.of(request))
          response.end()
          return
        }
        await sessions.of(request).get()
        Http.ServerResponse.prototype.writeHead.call(response, 200, { "content-length": "4" })
        response.write("te")
        setImmediate(() => response.end("xt"))
      })))
      const { headers } = cookie(App.tokenOf(yield* client.send("POST", "/")))
      yield* TestClock.adjust("2 seconds")
      assert.strictEqual((yield* client.send("GET", "/", { headers })).body, "text")
    }))

  it.effect("an operation that throws rejects its promise", () =>
    Effect.gen(function*() {
      const store = yield* App.makeStore()
      const sessions = yield* Adapters.nodeSessions(store)
      const client = yield* Adapters.listen(Http.createServer(sessions.listener(async (request, response) => {
        const session = sessions.of(request)
        const told = []
        for (
          const operation of [
            () =>
              session.update(() => {
                throw new Error("mine")
              }),
            () => session.elevate(0),
            () => session.login("")
          ]
        ) told.push(await operation().then(() => "none", (error: Error) => error.constructor.name))
        response.end(told.join())
      })))
      assert.strictEqual((yield* client.send("POST", "/")).body, "Error,RangeError,RangeError")
    }))

  it.effect("has every operation of a session", () =>
    Effect.gen(function*() {
      const store = yield* App.makeStore()
      const sessions = yield* Adapters.nodeSessions(store)
      const told: Array<unknown> = []
      const client = yield* Adapters.listen(Http.createServer(sessions.listener(async (request, response) => {
        const session = sessions.of(request)
        switch (request.url) {
          case "/first":
            told.push(await session.isNew(), await session.info(), await session.expiresAt(), await session.handle())
            await session.set({ n: 1, note: "a" })
            told.push(await session.modify((data) => ["b", { ...data, n: 2 }]))
            await session.login("ada", (data) => ({ ...data, n: 3 }))
            await session.elevate("1 minute")
            told.push(await session.isElevated(), await session.served())
            await session.flash.add("notice", "hello")
            await session.flash.now("alert", "now")
            told.push(await session.flash.get("alert"))
            break
          case "/second":
            told.push((await session.info())?.subject, typeof await session.expiresAt(), typeof await session.handle())
            told.push((await session.flash.peek()).length, await session.flash.get("notice"))
            await session.flash.keep("notice")
            await session.flash.keep()
            await session.reauthenticate()
            await session.touch()
            await session.setLifetime({ persistent: true })
            told.push((await session.get()).n)
            await session.reset()
            await session.commit()
            told.push((await session.get()).n)
            break
          default:
            told.push((await session.flash.all()).map(({ message }) => message))
            await session.flash.discard("notice")
            await session.flash.discard()
            await session.flash.clear()
        }
        response.end()
      })))
      const first = yield* client.send("POST", "/first")
      const second = yield* client.send("POST", "/second", cookie(App.tokenOf(first)))
      assert.match(second.setCookies.join(), /Max-Age=/)
      yield* client.send("POST", "/third", cookie(App.tokenOf(second)))
      const before = [true, undefined, undefined, undefined, "b", true, undefined, ["now"]]
      const later = ["ada", "number", "string", 1, ["hello"], 3, 0]
      assert.deepStrictEqual(told, [...before, ...later, ["hello"]])
    }))

  it.effect("a request without the middleware has no session, and says so", () =>
    Effect.gen(function*() {
      const store = yield* App.makeStore()
      const sessions = yield* Adapters.nodeSessions(store)
      let told = ""
      const client = yield* Adapters.listen(Http.createServer((request, response) => {
        try {
          sessions.of(request)
        } catch (error) {
          told = String(error)
        }
        response.end()
      }))
      yield* client.send("GET", "/")
      assert.match(told, /test\/UserSession: the request has no session; the session middleware comes before/)
    }))

  it.effect("a listener that throws is a 500 that nobody else is disturbed by", () =>
    Effect.gen(function*() {
      const store = yield* App.makeStore()
      const sessions = yield* Adapters.nodeSessions(store)
      const client = yield* Adapters.listen(Http.createServer(sessions.listener((request, response) => {
        if (request.url === "/throw") throw new Error("a secret")
        if (request.url === "/begun") {
          response.write("begun")
          throw new Error("a secret")
        }
        return response.end("fine")
      })))
      const answer = yield* client.send("GET", "/throw")
      assert.deepStrictEqual([answer.status, answer.body], [500, ""])
      const begun = yield* Effect.promise(() =>
        fetch(`http://127.0.0.1:${client.port}/begun`).then((response) => response.text()).then(
          () => "complete",
          () => "broken off"
        )
      )
      assert.strictEqual(begun, "broken off")
      assert.strictEqual((yield* client.send("GET", "/")).body, "fine")
    }))
})

describe("SessionNode, Express 5", () => {
  it.effect("json, redirect, sendFile and a static 304 carry the cookie", () =>
    Effect.gen(function*() {
      const file = fileURLToPath(import.meta.url)
      for (const pause of [Effect.void, turn]) {
        const store = yield* App.makeStore()
        store.before = () => pause
        const sessions = yield* Adapters.nodeSessions(store)
        const app = Express.make()
        app.use(sessions.middleware)
        app.use((request, _response, next) => void increment(sessions.of(request)).then(() => next(), next))
        app.all("/json", (_request, response) => response.json({ a: 1 }))
        app.all("/redirect", (_request, response) => response.redirect("/json"))
        app.all("/file", (_request, response) => response.sendFile(file))
        app.use(sessions.errors)
        const client = yield* Adapters.listen(Http.createServer(app))
        for (
          const [path, status, length] of [["/json", 200, 7], ["/redirect", 302, 27], ["/none", 404, 143]] as const
        ) {
          const answer = yield* client.send("GET", path)
          assert.deepStrictEqual([answer.status, answer.setCookies.length], [status, 1], path)
          if (path !== "/redirect") assert.strictEqual(answer.body.length, length, answer.body)
        }
        const sent = yield* client.send("GET", "/file")
        assert.deepStrictEqual([sent.body, sent.setCookies.length], [readFileSync(file, "utf8"), 1])
        const again = yield* client.send("GET", "/file", { headers: { "if-none-match": sent.header("etag") ?? "" } })
        assert.deepStrictEqual([again.status, again.body, again.setCookies.length], [304, "", 1])
        const head = yield* client.send("HEAD", "/file")
        assert.deepStrictEqual([head.status, head.body, head.setCookies.length], [200, "", 1])
        const part = yield* client.send("GET", "/file", { headers: { range: "bytes=0-5" } })
        assert.deepStrictEqual([part.status, part.body, part.setCookies.length], [206, "/* oxl", 1])
      }
    }))

  it.effect("an error handler before it sees session errors first, one after it the others", () =>
    Effect.gen(function*() {
      const store = yield* App.makeStore()
      const sessions = yield* Adapters.nodeSessions(store)
      const app = Express.make()
      app.use(sessions.middleware)
      app.all("/session", (request) => sessions.of(request).elevate("1 minute"))
      app.all("/other", async (request) => {
        await increment(sessions.of(request))
        throw new Error("boom")
      })
      app.all("/begun", (request, response) => {
        response.write("begun")
        return sessions.of(request).destroy().then(() => increment(sessions.of(request)))
      })
      app.use(sessions.errors)
      app.use((error: unknown, _request: Http.IncomingMessage, response: Express.Response, next: Express.Next) => {
        if (response.headersSent) next(error)
        else response.status(418).send(String(error))
      })
      const client = yield* Adapters.listen(Http.createServer(app))
      assert.strictEqual((yield* client.send("POST", "/session")).status, 401)
      const other = yield* client.send("POST", "/other")
      assert.deepStrictEqual([other.status, other.body, other.setCookies], [418, "Error: boom", []])
      const begun = yield* Effect.promise(() =>
        fetch(`http://127.0.0.1:${client.port}/begun`).then((response) => response.text()).then(
          () => "complete",
          () => "broken off"
        )
      )
      assert.strictEqual(begun, "broken off")
      assert.deepStrictEqual(yield* store.keys, [])
    }))

  it.effect("an application may say itself that a request has failed", () =>
    Effect.gen(function*() {
      const store = yield* App.makeStore()
      const sessions = yield* Adapters.nodeSessions(store)
      const app = Express.make()
      app.use(sessions.middleware)
      app.all("/", async (request, response) => {
        await increment(sessions.of(request))
        sessions.fail(response)
        response.send("sorry")
      })
      const client = yield* Adapters.listen(Http.createServer(app))
      const answer = yield* client.send("POST", "/")
      assert.deepStrictEqual([answer.status, answer.setCookies], [200, []])
      assert.deepStrictEqual(yield* store.keys, [])
    }))
})

describe("SessionFastify", () => {
  const setUp = Effect.fnUntraced(function*(pause: Effect.Effect<void>) {
    const store = yield* App.makeStore()
    store.before = () => pause
    const sessions = yield* Adapters.nodeSessions(store)
    const app = yield* Effect.acquireRelease(
      Effect.sync(() => fastify()),
      (app) => Effect.promise(() => app.close())
    )
    app.register(SessionFastify.plugin(sessions))
    return { app, store, sessions }
  })

  it.effect("streams, hijacked replies, raw writes and injected requests carry the cookie", () =>
    Effect.gen(function*() {
      for (const pause of [Effect.void, turn]) {
        const { app, sessions } = yield* setUp(pause)
        app.register(async (app) => {
          app.get("/stream", async (request, reply) => {
            await increment(sessions.of(request))
            return reply.send(Readable.from(["one ", "two"]))
          })
          app.get("/response", async (request) => {
            await increment(sessions.of(request))
            return new Response("one two", { headers: { "x-a": "b" } })
          })
          app.get("/hijack", async (request, reply) => {
            await increment(sessions.of(request))
            reply.hijack()
            reply.raw.writeHead(200, { "content-type": "text/plain" })
            reply.raw.write("one ")
            reply.raw.end("two")
          })
          app.get("/callback", (request, reply) => {
            void increment(sessions.of(request)).then(() => reply.send("one two"))
          })
        })
        for (const url of ["/stream", "/response", "/hijack", "/callback"]) {
          const { body, headers, statusCode } = yield* Effect.promise(() => app.inject({ url }))
          assert.deepStrictEqual([statusCode, body], [200, "one two"], url)
          assert.match(String(headers["set-cookie"]), /^session=[\w-]{47}; Path=\/; HttpOnly; SameSite=Lax$/)
          assert.strictEqual(headers["vary"], "Cookie")
        }
      }
    }))

  it.effect("failures discard data, whoever answers them", () =>
    Effect.gen(function*() {
      for (const custom of [false, true]) {
        const { app, sessions, store } = yield* setUp(turn)
        if (custom) app.setErrorHandler((_error, _request, reply) => reply.code(418).send("sorry"))
        app.register(async (app) => {
          app.get("/async", async (request) => {
            await increment(sessions.of(request))
            throw new Error("boom")
          })
          app.get("/sync", (request) => {
            void increment(sessions.of(request))
            throw new Error("boom")
          })
          app.get("/session", async (request) => sessions.of(request).elevate("1 minute"))
          app.get("/sent", async (request, reply) => {
            await increment(sessions.of(request))
            if (custom) sessions.fail(reply.raw)
            return reply.send(new Error("boom"))
          })
        })
        for (const url of ["/async", "/sync", "/sent"]) {
          const { headers, statusCode } = yield* Effect.promise(() => app.inject({ url }))
          assert.deepStrictEqual([statusCode, headers["set-cookie"]], [custom ? 418 : 500, undefined], url)
        }
        const { body, headers, statusCode } = yield* Effect.promise(() => app.inject({ url: "/session" }))
        assert.deepStrictEqual([statusCode, body, headers["cache-control"]], [401, "", "no-store"])
        assert.deepStrictEqual(yield* store.keys, [])
      }
    }))

  it.effect("hooks before the handler and before the reply may use the session", () =>
    Effect.gen(function*() {
      const { app, sessions } = yield* setUp(turn)
      app.addHook("preHandler", async (request) => void await increment(sessions.of(request)))
      app.addHook("onSend", async (request) => void await increment(sessions.of(request)))
      app.register(async (app) => {
        app.get("/", async (request) => (await sessions.of(request).get()).n)
      })
      const first = yield* Effect.promise(() => app.inject({ url: "/" }))
      const headers = { cookie: String(first.headers["set-cookie"]).split(";")[0] }
      assert.strictEqual(first.body, "1")
      const second = yield* Effect.promise(() => app.inject({ url: "/", headers }))
      assert.strictEqual(second.body, "3")
    }))
})
