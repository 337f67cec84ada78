import { Session, SessionBackend, type SessionError, SessionStore } from "@effect-session/core"
import { SessionMiddleware } from "@effect-session/http"
import { assert, describe, it } from "@effect/vitest"
import { Deferred, Effect, Fiber, Layer, Schema } from "effect"
import { HttpRouter, HttpServerResponse } from "effect/http"
import * as App from "./SessionApp.ts"

const { UserSession } = App
const note = "a-very-private-note"

const unavailable = (retryAfter?: number) =>
  Effect.fail(
    new SessionStore.SessionStoreError({
      reason: new SessionStore.StoreUnavailable({ description: "refused by 10.0.0.1:6379", retryAfter })
    })
  )

const open = Effect.fnUntraced(function*(client: App.Client) {
  const answer = yield* client.send("POST", `/note?text=${note}`)
  const token = App.tokenOf(answer)
  assert.isDefined(token)
  return { token, headers: { cookie: `session=${token}` } }
})

const fail = (method: App.Method, error = unavailable()) => (called: App.Method) =>
  called === method ? error : Effect.void

describe.each(Object.entries(App.transports))("SessionMiddleware, failures, %s", (_name, serve) => {
  const check = Effect.fnUntraced(
    function*(store: App.TestStore, answer: App.Reply, status: number, token: string, issued: string | undefined) {
      assert.strictEqual(answer.status, status)
      assert.strictEqual(answer.body, "")
      assert.strictEqual(answer.header("cache-control"), "no-store")
      assert.deepStrictEqual(
        answer.setCookies.map((line) => /=([^;]*)/.exec(line)?.[1]),
        issued === undefined ? [] : [issued]
      )
      const rest = JSON.stringify([answer.headers.filter(([name]) => name !== "set-cookie"), answer.body])
      for (const secret of [token, note, "10.0.0.1", ...(issued === undefined ? [] : [issued]), ...yield* store.keys]) {
        assert.notInclude(rest, secret)
      }
    }
  )

  it.effect("a store that is down is a 503 that keeps the cookie", () =>
    Effect.gen(function*() {
      for (
        const [method, path, retryAfter, sent] of [
          ["load", "/inc", undefined, "1"],
          ["save", "/inc", 2500, "3"],
          ["renew", "/login", 400, "1"],
          ["destroy", "/logout", 60_000, "60"]
        ] as const
      ) {
        const store = yield* App.makeStore()
        const client = yield* serve(App.withSession(App.routes, store))
        const { headers, token } = yield* open(client)
        store.before = fail(method, unavailable(retryAfter))
        const answer = yield* client.send("POST", path, { headers })
        yield* check(store, answer, 503, token, undefined)
        assert.strictEqual(answer.header("retry-after"), sent)
        assert.strictEqual(answer.header("vary"), "Cookie")
        store.before = () => Effect.void
        assert.strictEqual(App.shown(yield* client.send("GET", "/me", { headers })).note, note)
      }
      const store = yield* App.makeStore()
      const client = yield* serve(App.withSession(App.routes, store))
      store.before = fail("create")
      yield* check(store, yield* client.send("POST", "/inc"), 503, "session", undefined)
    }))

  it.effect("a page for times of an outage is not shown to others", () =>
    Effect.gen(function*() {
      const store = yield* App.makeStore()
      const page = HttpRouter.add(
        "GET",
        "/page",
        Effect.map(UserSession.status, (status) => HttpServerResponse.text(status))
      )
      const client = yield* serve(App.withSession(Layer.mergeAll(App.routes, page), store))
      const { headers } = yield* open(client)
      store.before = fail("load")
      const answer = yield* client.send("GET", "/page", { headers })
      assert.deepStrictEqual([answer.status, answer.body], [200, "unavailable"])
      assert.strictEqual(answer.header("vary"), "Cookie")
      assert.deepStrictEqual(answer.setCookies, [])
    }))

  it.effect("recording activity may fail: the answer is complete", () =>
    Effect.gen(function*() {
      const store = yield* App.makeStore()
      const touching = HttpRouter.add("GET", "/touch", Effect.andThen(UserSession.touch, App.show))
      const client = yield* serve(App.withSession(Layer.mergeAll(App.routes, touching), store))
      const { headers } = yield* open(client)
      store.before = fail("touch")
      const answer = yield* client.send("GET", "/touch", { headers })
      assert.strictEqual(answer.status, 200)
      assert.strictEqual(App.shown(answer).note, note)
      assert.include(store.calls, "touch")
    }))

  it.effect("lost races are a 409 and change nothing", () =>
    Effect.gen(function*() {
      const store = yield* App.makeStore()
      const inside = yield* Deferred.make<void>()
      let arrived = inside
      let gate = inside
      const slow = HttpRouter.add(
        "POST",
        "/slow",
        Effect.gen(function*() {
          yield* UserSession.get
          yield* Deferred.succeed(arrived, undefined)
          yield* Deferred.await(gate)
          yield* UserSession.set({ n: 50, note: "overwritten" })
          return HttpServerResponse.text("done")
        })
      )
      const client = yield* serve(App.withSession(Layer.mergeAll(App.routes, slow), store))
      for (const other of ["/inc", "/logout", "/renew", "/login"]) {
        const { headers, token } = yield* open(client)
        arrived = yield* Deferred.make<void>()
        gate = yield* Deferred.make<void>()
        const fiber = yield* Effect.forkChild(client.send("POST", "/slow", { headers }))
        yield* Deferred.await(arrived)
        const faster = yield* client.send("POST", other, { headers })
        yield* Deferred.succeed(gate, undefined)
        yield* check(store, yield* Fiber.join(fiber), 409, token, undefined)
        const next = App.tokenOf(faster) || token
        const after = App.shown(yield* client.send("GET", "/me", { headers: { cookie: `session=${next}` } }))
        assert.notStrictEqual(after.note, "overwritten")
        assert.strictEqual(after.status, other === "/logout" ? "anonymous" : "active")
      }
    }))

  it.effect("data over the limit is a 413", () =>
    Effect.gen(function*() {
      const store = yield* App.makeStore()
      const client = yield* serve(
        App.withSession(App.routes, store, { config: { preset: "testing", maxPayload: 200 } })
      )
      const { headers, token } = yield* open(client)
      const answer = yield* client.send("POST", `/note?text=${"x".repeat(300)}`, { headers })
      yield* check(store, answer, 413, token, undefined)
      assert.strictEqual(App.shown(yield* client.send("GET", "/me", { headers })).note, note)
    }))

  it.effect("one session too many is a 403", () =>
    Effect.gen(function*() {
      const store = yield* App.makeStore()
      const config = { preset: "testing", maxSessions: 1, onLimit: "refuse" } as const
      const client = yield* serve(App.withSession(App.routes, store, { config }))
      assert.strictEqual((yield* client.send("POST", "/login?as=ada")).status, 200)
      const { headers, token } = yield* open(client)
      yield* check(store, yield* client.send("POST", "/login?as=ada", { headers }), 403, token, undefined)
      assert.strictEqual(App.shown(yield* client.send("GET", "/me", { headers })).subject, null)
    }))

  it.effect("data that does not fit its schema is a 500", () =>
    Effect.gen(function*() {
      class Counter extends Session.Service<Counter>()("test/Counter", {
        data: Schema.Struct({ n: Schema.Int }),
        initial: { n: 0 }
      }) {}
      const store = yield* App.makeStore()
      const routes = HttpRouter.add(
        "POST",
        "/",
        Effect.gen(function*() {
          const half = Number((yield* App.query).get("by"))
          yield* Counter.update(({ n }) => ({ n: n + half }))
          return HttpServerResponse.text("done")
        })
      ).pipe(Layer.provide(SessionMiddleware.layer(Counter)), Layer.provide(App.backend(store)))
      const client = yield* serve(routes)
      assert.strictEqual((yield* client.send("POST", "/?by=1")).status, 200)
      yield* check(store, yield* client.send("POST", "/?by=0.5"), 500, "session=", undefined)
      assert.strictEqual((yield* store.keys).length, 1)
    }))

  it.effect("an operation that needs a sign-in is a 401 without one", () =>
    Effect.gen(function*() {
      const store = yield* App.makeStore()
      const routes = HttpRouter.add("POST", "/", Effect.as(UserSession.elevate("1 minute"), HttpServerResponse.empty()))
      const client = yield* serve(App.withSession(routes, store))
      yield* check(store, yield* client.send("POST", "/"), 401, "session=", undefined)
    }))

  it.effect("a store with a bug is a 500, and the request ends", () =>
    Effect.gen(function*() {
      const store = yield* App.makeStore()
      const client = yield* serve(App.withSession(App.routes, store))
      const { headers, token } = yield* open(client)
      store.before = (method) => method === "save" ? Effect.die(new Error(`bug with ${token}`)) : Effect.void
      yield* check(store, yield* client.send("POST", "/inc", { headers }), 500, token, undefined)
    }))

  it.effect("a token that no cookie can hold is a 500, and the request ends", () =>
    Effect.gen(function*() {
      const store = yield* App.makeStore()
      const huge = Layer.effect(
        SessionBackend.SessionBackend,
        Effect.map(SessionBackend.make("huge"), (backend) => ({
          ...backend,
          apply: (step) =>
            Effect.map(backend.apply(step), (applied) =>
              applied._tag === "Stored" ? { ...applied, token: "x".repeat(5000) } : applied)
        }))
      ).pipe(Layer.provideMerge(App.backend(store)))
      const client = yield* serve(
        App.routes.pipe(Layer.provide(SessionMiddleware.layer(UserSession)), Layer.provide(huge))
      )
      const answer = yield* client.send("POST", "/inc")
      assert.strictEqual(answer.status, 500)
      assert.deepStrictEqual(answer.setCookies, [])
    }))

  it.effect("the application may answer session errors itself", () =>
    Effect.gen(function*() {
      const store = yield* App.makeStore()
      const seen: Array<string> = []
      const onError = (error: SessionError.SessionError) => {
        seen.push(error.reason._tag)
        if (error.reason._tag === "TooLarge") throw new Error("a bug in the handler of errors")
        return HttpServerResponse.text("try later", { status: 599 })
      }
      const config = { preset: "testing", maxPayload: 200 } as const
      const client = yield* serve(App.withSession(App.routes, store, { onError, config }))
      const { headers } = yield* open(client)
      for (const method of ["load", "save"] as const) {
        store.before = fail(method)
        const answer = yield* client.send("POST", "/inc", { headers })
        assert.deepStrictEqual([answer.status, answer.body, answer.setCookies], [599, "try later", []])
      }
      store.before = () => Effect.void
      const answer = yield* client.send("POST", `/note?text=${"x".repeat(300)}`, { headers })
      assert.deepStrictEqual([answer.status, answer.body, answer.setCookies], [500, "", []])
      assert.deepStrictEqual(seen, ["Unavailable", "Unavailable", "TooLarge"])
    }))

  it.effect("a token that an explicit commit has issued is delivered with whatever follows", () =>
    Effect.gen(function*() {
      const store = yield* App.makeStore()
      const committing = HttpRouter.add(
        "POST",
        "/sign-in",
        Effect.gen(function*() {
          yield* UserSession.login("ada")
          yield* UserSession.commit
          store.before = fail("save")
          yield* App.increment
          if ((yield* App.query).has("die")) return yield* Effect.die(new Error("boom"))
          return HttpServerResponse.text("done")
        })
      )
      const client = yield* serve(App.withSession(Layer.mergeAll(App.routes, committing), store))
      for (const [path, status] of [["/sign-in", 503], ["/sign-in?die", 500]] as const) {
        const { headers, token } = yield* open(client)
        const answer = yield* client.send("POST", path, { headers })
        const issued = App.tokenOf(answer)
        assert.isDefined(issued)
        store.before = () => Effect.void
        assert.strictEqual(answer.status, status)
        if (status === 503) yield* check(store, answer, 503, token, issued)
        const me = App.shown(yield* client.send("GET", "/me", { headers: { cookie: `session=${issued}` } }))
        assert.deepStrictEqual([me.subject, me.n], ["ada", 0])
        assert.strictEqual(App.shown(yield* client.send("GET", "/me", { headers })).status, "anonymous")
      }
    }))

  it.effect("it is delivered also when the application cannot answer the error", () =>
    Effect.gen(function*() {
      const store = yield* App.makeStore()
      const committing = HttpRouter.add(
        "POST",
        "/sign-in",
        Effect.gen(function*() {
          yield* UserSession.login("ada")
          yield* UserSession.commit
          store.before = fail("save")
          yield* App.increment
          return HttpServerResponse.text("done")
        })
      )
      const onError = () => {
        throw new Error("a bug in the handler of errors")
      }
      const client = yield* serve(App.withSession(Layer.mergeAll(App.routes, committing), store, { onError }))
      const answer = yield* client.send("POST", "/sign-in")
      store.before = () => Effect.void
      assert.deepStrictEqual([answer.status, answer.body], [500, ""])
      const me = yield* client.send("GET", "/me", { headers: { cookie: `session=${App.tokenOf(answer)}` } })
      assert.strictEqual(App.shown(me).subject, "ada")
    }))

  it.effect("a failed logout can be repeated", () =>
    Effect.gen(function*() {
      const store = yield* App.makeStore()
      const user = App.browser(yield* serve(App.withSession(App.routes, store)))
      yield* user.send("POST", "/login")
      const cookie = user.cookie()
      for (const before of [fail("destroy"), () => unavailable()]) {
        store.before = before
        assert.strictEqual((yield* user.send("POST", "/logout")).status, 503)
        assert.strictEqual(user.cookie(), cookie)
      }
      store.before = () => Effect.void
      assert.strictEqual(App.shown(yield* user.send("GET", "/me")).subject, "ada")
      assert.strictEqual((yield* user.send("POST", "/logout")).status, 204)
      assert.isUndefined(user.cookie())
      assert.deepStrictEqual(yield* store.keys, [])
    }))

  it.effect("a session that cannot be read can be ended", () =>
    Effect.gen(function*() {
      const store = yield* App.makeStore()
      const user = App.browser(yield* serve(App.withSession(App.routes, store)))
      yield* user.send("POST", "/login")
      store.before = fail("load")
      assert.strictEqual((yield* user.send("POST", "/logout")).status, 204)
      assert.isUndefined(user.cookie())
      assert.deepStrictEqual(yield* store.keys, [])
    }))

  it.effect("no client loses its session in an outage", () =>
    Effect.gen(function*() {
      const store = yield* App.makeStore()
      const client = yield* serve(App.withSession(App.routes, store))
      const users = Array.from({ length: 100 }, (_, i) => ({ name: `user-${i}`, browser: App.browser(client) }))
      const each = <A>(f: (user: typeof users[number]) => Effect.Effect<A>) =>
        Effect.forEach(users, f, { concurrency: "unbounded" })
      yield* each(({ browser, name }) => browser.send("POST", `/login?as=${name}`))
      yield* each(({ browser, name }) => browser.send("POST", `/note?text=${name}`))
      store.before = () => App.down
      for (
        const [method, path] of [["GET", "/me"], ["POST", "/inc"], ["POST", "/login"], ["POST", "/logout"]] as const
      ) {
        for (const answer of yield* each(({ browser }) => browser.send(method, path))) {
          assert.strictEqual(answer.status, 503)
          assert.deepStrictEqual(answer.setCookies, [])
        }
      }
      store.before = () => Effect.void
      const after = yield* each(({ browser }) => browser.send("GET", "/me"))
      assert.deepStrictEqual(
        after.map(App.shown),
        users.map(({ name }) => ({ status: "active", subject: name, n: 0, note: name }))
      )
    }))
})

describe("SessionMiddleware, stored data that cannot be read", () => {
  const serve = App.inProcess

  it.effect("a write over what only another node can read asks to come again, and takes nothing away", () =>
    Effect.gen(function*() {
      const store = yield* App.makeStore()
      const client = yield* serve(App.withSession(App.routes, store))
      const { headers } = yield* open(client)
      const [{ key, record }] = yield* store.entries
      yield* SessionStore.SessionStore.use((direct) =>
        direct.save(key, record.version, { ...record, format: 99, lifetime: undefined, active: false })
      ).pipe(Effect.provide(store.layer))
      const answer = yield* client.send("POST", "/inc", { headers })
      assert.strictEqual(answer.status, 503)
      assert.strictEqual(answer.header("retry-after"), "1")
      assert.deepStrictEqual(answer.setCookies, [])
      assert.deepStrictEqual(yield* store.keys, [key])
    }))

  it.effect("starts a fresh session, or fails where asked to", () =>
    Effect.gen(function*() {
      for (const onInvalid of ["fresh", "fail"] as const) {
        const store = yield* App.makeStore()
        const config = { preset: "testing", onInvalid } as const
        const client = yield* serve(App.withSession(App.routes, store, { config }))
        const { headers } = yield* open(client)
        const [{ key, record }] = yield* store.entries
        yield* SessionStore.SessionStore.use((direct) =>
          direct.save(key, record.version, {
            format: record.format,
            payload: "not JSON",
            idleTimeout: record.idleTimeout,
            lifetime: undefined,
            active: false
          })
        ).pipe(Effect.provide(store.layer))
        const answer = yield* client.send("GET", "/me", { headers })
        assert.strictEqual(answer.status, onInvalid === "fresh" ? 200 : 500)
        assert.strictEqual(answer.header("vary"), "Cookie")
        assert.deepStrictEqual(answer.setCookies, [])
        if (onInvalid === "fresh") assert.strictEqual(App.shown(answer).status, "invalid")
        assert.strictEqual((yield* client.send("POST", "/logout", { headers })).status, 204)
        assert.deepStrictEqual(yield* store.keys, [])
      }
    }))
})
