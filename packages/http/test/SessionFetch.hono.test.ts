/** Behind Hono, the real one. */
import { isSessionError } from "@effect-session/core/SessionError"
import { assert, describe, it } from "@effect/vitest"
import { createAdaptorServer } from "@hono/node-server"
import { Deferred, Effect } from "effect"
import { Hono } from "hono"
import { setCookie } from "hono/cookie"
import { HTTPException } from "hono/http-exception"
import { streamText } from "hono/streaming"
import * as Http from "node:http"
import * as Adapters from "./AdapterApp.ts"
import * as App from "./SessionApp.ts"

const { increment } = Adapters

const setUp = Effect.fnUntraced(
  function*(build: (app: Hono, sessionOf: (request: Request) => Adapters.Session) => void) {
    const store = yield* App.makeStore()
    const sessions = yield* Adapters.fetchSessions(store)
    const app = new Hono()
    app.get("/me", async (c) => c.json(JSON.parse((await Adapters.show(sessions.of(c.req.raw))).body ?? "")))
    app.post("/inc", async (c) => c.json(await increment(sessions.of(c.req.raw))))
    app.onError((error, c) => {
      sessions.fail(c.req.raw)
      return sessions.answer(error) ?? (error instanceof HTTPException ? error.getResponse() : c.text("sorry", 500))
    })
    build(app, (request) => sessions.of(request))
    const fetch = sessions.handler(app.fetch)
    const send = (method: string, path: string, token?: string) =>
      Effect.promise(async () => {
        const headers = token === undefined ? {} : { cookie: `session=${token}` }
        const response = await fetch(new Request(`https://app.test${path}`, { method, headers }))
        const lines = response.headers.getSetCookie()
        return {
          status: response.status,
          header: (name: string) => response.headers.get(name),
          names: lines.map((line) => line.split("=")[0]),
          token: lines.find((line) => line.startsWith("session="))?.split(/[=;]/)[1],
          body: await response.text()
        }
      })
    const me = (token: string | undefined) => Effect.map(send("GET", "/me", token), ({ body }) => JSON.parse(body))
    return { send, me, store }
  }
)

describe("SessionFetch behind Hono", () => {
  it.effect("signs in, reads and signs out, beside Hono's own cookies", () =>
    Effect.gen(function*() {
      const { me, send, store } = yield* setUp((app, sessionOf) => {
        app.post("/login", async (c) => {
          await sessionOf(c.req.raw).login("ada")
          setCookie(c, "theme", "dark")
          return c.redirect("/me", 303)
        })
        app.post("/logout", async (c) => {
          await sessionOf(c.req.raw).destroy()
          return c.body(null, 204)
        })
      })
      const login = yield* send("POST", "/login")
      assert.deepStrictEqual([login.status, login.header("location"), login.header("vary")], [303, "/me", "Cookie"])
      assert.deepStrictEqual(login.names.toSorted(), ["session", "theme"])
      assert.strictEqual(login.header("cache-control"), "no-store")
      assert.strictEqual((yield* me(login.token)).subject, "ada")
      const logout = yield* send("POST", "/logout", login.token)
      assert.deepStrictEqual([logout.status, logout.token], [204, ""])
      assert.strictEqual((yield* me(login.token)).subject, null)
      assert.deepStrictEqual(yield* store.keys, [])
    }))

  it.effect("a route that throws discards its data, and what ends a session stands", () =>
    Effect.gen(function*() {
      const { me, send } = yield* setUp((app, sessionOf) => {
        app.post("/write", async (c) => {
          await increment(sessionOf(c.req.raw))
          throw new Error("boom")
        })
        app.post("/refuse", async (c) => {
          await increment(sessionOf(c.req.raw))
          throw new HTTPException(403, { message: "no" })
        })
        app.post("/logout", async (c) => {
          await sessionOf(c.req.raw).destroy()
          throw new Error("boom")
        })
      })
      const { token } = yield* send("POST", "/inc")
      for (const [path, status] of [["/write", 500], ["/refuse", 403]] as const) {
        const answer = yield* send("POST", path, token)
        assert.deepStrictEqual([answer.status, answer.names], [status, []])
        assert.strictEqual((yield* me(token)).n, 1)
      }
      const logout = yield* send("POST", "/logout", token)
      assert.deepStrictEqual([logout.status, logout.body, logout.token], [500, "sorry", ""])
      assert.strictEqual((yield* me(token)).status, "anonymous")
    }))

  it.effect("session errors are answered from onError, and outages whatever the route has prepared", () =>
    Effect.gen(function*() {
      const { send, store } = yield* setUp((app, sessionOf) => {
        app.post("/elevate", async (c) => {
          await sessionOf(c.req.raw).elevate("1 minute")
          return c.text("raised")
        })
        app.post("/handled", (c) =>
          sessionOf(c.req.raw).elevate("1 minute").then(
            () => c.text("raised"),
            (error: unknown) => c.text(isSessionError(error) ? error.reason._tag : "?", 400)
          ))
      })
      const elevate = yield* send("POST", "/elevate")
      assert.deepStrictEqual([elevate.status, elevate.body, elevate.header("cache-control")], [401, "", "no-store"])
      assert.strictEqual((yield* send("POST", "/handled")).body, "NotAuthenticated")
      const { token } = yield* send("POST", "/inc")
      for (const method of ["load", "save"]) {
        store.before = (called) => called === method ? App.down : Effect.void
        const answer = yield* send("POST", "/inc", token)
        assert.deepStrictEqual([answer.status, answer.body, answer.names], [503, "", []])
        assert.strictEqual(answer.header("retry-after"), "1")
      }
    }))

  it.effect("commits before a streamed body, below a route group and a mounted middleware", () =>
    Effect.gen(function*() {
      const { me, send } = yield* setUp((app, sessionOf) => {
        const group = new Hono()
        group.use(async (c, next) => {
          await increment(sessionOf(c.req.raw))
          await next()
          c.header("x-a", "b")
        })
        group.post("/stream", (c) =>
          streamText(c, async (stream) => {
            await stream.write("o")
            await stream.write("k")
          }))
        app.route("/group", group)
      })
      const answer = yield* send("POST", "/group/stream")
      assert.deepStrictEqual([answer.body, answer.names, answer.header("x-a")], ["ok", ["session"], "b"])
      assert.strictEqual((yield* me(answer.token)).n, 1)
      const unknown = yield* send("GET", "/nowhere", answer.token)
      assert.deepStrictEqual([unknown.status, unknown.names, unknown.header("vary")], [404, [], null])
    }))

  it.effect("hands on the bindings of a worker", () =>
    Effect.gen(function*() {
      const sessions = yield* Adapters.fetchSessions(yield* App.makeStore())
      const app = new Hono<{ Bindings: { readonly greeting: string } }>()
      app.get("/", async (c) => c.text(`${c.env.greeting} ${(await sessions.of(c.req.raw).get()).n}`))
      const fetch = sessions.handler(app.fetch)
      const answer = yield* Effect.promise(() => fetch(new Request("https://app.test"), { greeting: "hello" }))
      assert.strictEqual(yield* Effect.promise(() => answer.text()), "hello 0")
    }))

  it.effect("keeps sessions on a Node server, and a client that left is told nothing", () =>
    Effect.gen(function*() {
      const store = yield* App.makeStore()
      const sessions = yield* Adapters.fetchSessions(store)
      const arrived = yield* Deferred.make<void>()
      const left = yield* Deferred.make<void>()
      const over = yield* Deferred.make<void>()
      const app = new Hono()
      app.get("/me", async (c) => c.body((await Adapters.show(sessions.of(c.req.raw))).body ?? ""))
      app.post("/login", async (c) => c.json(await sessions.of(c.req.raw).login("ada")))
      app.post("/slow", async (c) => {
        Deferred.doneUnsafe(arrived, Effect.void)
        c.req.raw.signal.addEventListener("abort", () => Deferred.doneUnsafe(left, Effect.void))
        await Effect.runPromise(Deferred.await(left))
        await increment(sessions.of(c.req.raw))
        return c.text("nobody reads this")
      })
      const handle = sessions.handler(app.fetch)
      const fetch = (request: Request) =>
        handle(request).finally(() => {
          if (request.url.endsWith("/slow")) Deferred.doneUnsafe(over, Effect.void)
        })
      const server = createAdaptorServer({ fetch })
      if (!(server instanceof Http.Server)) return assert.fail("a server for HTTP/1.1 was expected")
      const { port, send } = yield* Adapters.listen(server)
      const token = App.tokenOf(yield* send("POST", "/login"))
      const cookie = `session=${token}`
      assert.strictEqual(App.shown(yield* send("GET", "/me", { headers: { cookie } })).subject, "ada")
      const slow = Http.request({ port, host: "127.0.0.1", method: "POST", path: "/slow", headers: { cookie } })
      slow.on("error", () => {})
      slow.end()
      yield* Deferred.await(arrived)
      slow.destroy()
      yield* Deferred.await(over)
      const me = App.shown(yield* send("GET", "/me", { headers: { cookie } }))
      assert.deepStrictEqual([me.subject, me.n], ["ada", 0])
    }))
})
