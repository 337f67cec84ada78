import { assert, describe, it } from "@effect/vitest"
import { type Cause, Deferred, Effect, Fiber, Layer, Schema, Stream } from "effect"
import { HttpRouter, HttpServerRespondable, HttpServerResponse } from "effect/http"
import { TestClock } from "effect/testing"
import * as App from "./SessionApp.ts"

const { UserSession } = App

class Refused extends Schema.TaggedError<Refused>()("Refused", {}) {}

class Teapot extends Schema.TaggedError<Teapot>()("Teapot", {}) {
  [HttpServerRespondable.symbol]() {
    return Effect.succeed(HttpServerResponse.empty({ status: 418 }))
  }
}

const large = "0123456789".repeat(500_000)
const redirect = HttpServerResponse.redirect("/me", { status: 302 })

// How a handler can end, with the status the client sees.
const endings = {
  ok: [200, Effect.succeed(HttpServerResponse.text("done"))],
  "empty 204": [204, Effect.succeed(HttpServerResponse.empty())],
  "not modified": [304, Effect.succeed(HttpServerResponse.empty({ status: 304 }))],
  redirect: [302, Effect.succeed(redirect)],
  "returned 404": [404, Effect.succeed(HttpServerResponse.text("no", { status: 404 }))],
  "returned 500": [500, Effect.succeed(HttpServerResponse.text("no", { status: 500 }))],
  stream: [200, Effect.succeed(HttpServerResponse.stream(Stream.make(new Uint8Array([111]), new Uint8Array([107]))))],
  "large body": [200, Effect.succeed(HttpServerResponse.text(large))],
  "typed failure": [500, Effect.fail(new Refused())],
  "respondable failure": [418, Effect.fail(new Teapot())],
  defect: [500, Effect.die(new Error("boom"))],
  "defect that is a response": [302, Effect.die(redirect)],
  timeout: [500, Effect.timeout(Effect.andThen(TestClock.adjust("2 seconds"), Effect.never), "1 second")],
  interruption: [503, Effect.interrupt]
} as const

type Ending = keyof typeof endings
const all = Object.keys(endings) as ReadonlyArray<Ending>

const stored = {
  success: all.slice(0, all.indexOf("typed failure")),
  failure: all.slice(all.indexOf("typed failure"), all.indexOf("interruption")),
  aborted: ["interruption"]
} as const satisfies Record<string, ReadonlyArray<Ending>>

const operations = {
  write: App.increment,
  login: UserSession.login("ada"),
  renew: UserSession.renew,
  logout: UserSession.destroy
} as const

type Operation = keyof typeof operations

const handle = Effect.gen(function*() {
  const parameters = yield* App.query
  yield* operations[parameters.get("do") as Operation]
  return yield* endings[parameters.get("end") as Ending][1] as Effect.Effect<
    HttpServerResponse.HttpServerResponse,
    Refused | Teapot | Cause.TimeoutError
  >
})

const routes = Layer.mergeAll(
  App.routes,
  HttpRouter.add("POST", "/do", handle),
  HttpRouter.add("GET", "/do", handle)
)

const path = (operation: Operation, ending: Ending) => `/do?do=${operation}&end=${encodeURIComponent(ending)}`

// A session with n = 1, and the reply to one request on it.
const exchange = Effect.fnUntraced(
  function*(client: App.Client, store: App.TestStore, operation: Operation, ending: Ending, method = "POST") {
    const first = App.tokenOf(yield* client.send("POST", "/inc"))
    const headers = { cookie: `session=${first}` }
    const answer = yield* client.send(method, path(operation, ending), { headers })
    const token = App.tokenOf(answer)
    const old = App.shown(yield* client.send("GET", "/me", { headers }))
    const renewed = token === undefined || token === ""
      ? undefined
      : App.shown(yield* client.send("GET", "/me", { headers: { cookie: `session=${token}` } }))
    return { answer, token, old, renewed, keys: yield* store.keys }
  }
)

describe.each(Object.entries(App.transports))("SessionMiddleware, commit, %s", (_name, serve) => {
  it.effect.each(stored.success)("a handler that succeeds stores everything: %s", (ending) =>
    Effect.gen(function*() {
      const store = yield* App.makeStore()
      const client = yield* serve(App.withSession(routes, store))
      const written = yield* exchange(client, store, "write", ending)
      assert.strictEqual(written.answer.status, endings[ending][0])
      assert.deepStrictEqual(written.answer.setCookies, [])
      assert.strictEqual(written.old.n, 2)
      if (ending === "large body") assert.strictEqual(written.answer.body, large)
      if (ending === "stream") assert.strictEqual(written.answer.body, "ok")

      for (const operation of ["login", "renew"] as const) {
        const { answer, old, renewed } = yield* exchange(client, store, operation, ending)
        assert.strictEqual(answer.status, endings[ending][0])
        assert.strictEqual(answer.setCookies.length, 1)
        assert.strictEqual(old.status, "anonymous")
        assert.strictEqual(renewed?.status, "active")
        assert.strictEqual(renewed?.subject, operation === "login" ? "ada" : null)
      }
      const ended = yield* exchange(client, store, "logout", ending)
      assert.strictEqual(ended.answer.status, endings[ending][0])
      assert.strictEqual(ended.token, "")
      assert.strictEqual(ended.old.status, "anonymous")
    }))

  it.effect.each(stored.failure)(
    "a handler that fails keeps the end, the new id and the sign-in only: %s",
    (ending) =>
      Effect.gen(function*() {
        const store = yield* App.makeStore()
        const client = yield* serve(App.withSession(routes, store))
        const written = yield* exchange(client, store, "write", ending)
        assert.strictEqual(written.answer.status, endings[ending][0])
        assert.strictEqual(written.answer.header("vary"), "Cookie")
        assert.deepStrictEqual(written.answer.setCookies, [])
        assert.strictEqual(written.old.n, 1)

        for (const operation of ["login", "renew"] as const) {
          const { answer, old, renewed } = yield* exchange(client, store, operation, ending)
          assert.strictEqual(answer.status, endings[ending][0])
          assert.strictEqual(answer.setCookies.length, 1)
          assert.strictEqual(old.status, "anonymous")
          assert.strictEqual(renewed?.subject, operation === "login" ? "ada" : null)
          assert.strictEqual(renewed?.n, operation === "login" ? 0 : 1)
        }
        const ended = yield* exchange(client, store, "logout", ending)
        assert.strictEqual(ended.token, "")
        assert.strictEqual(ended.old.status, "anonymous")
      })
  )

  it.effect("a handler that is interrupted keeps the end only", () =>
    Effect.gen(function*() {
      const store = yield* App.makeStore()
      const client = yield* serve(App.withSession(routes, store))
      for (const operation of ["write", "login", "renew"] as const) {
        const { answer, old } = yield* exchange(client, store, operation, "interruption")
        assert.strictEqual(answer.status, 503)
        assert.deepStrictEqual(answer.setCookies, [])
        assert.deepStrictEqual(old, { status: "active", subject: null, n: 1, note: "" })
      }
      const ended = yield* exchange(client, store, "logout", "interruption")
      assert.strictEqual(ended.token, "")
      assert.strictEqual(ended.old.status, "anonymous")
    }))

  it.effect("HEAD on a GET route commits like GET, without a body", () =>
    Effect.gen(function*() {
      const store = yield* App.makeStore()
      const client = yield* serve(App.withSession(routes, store))
      for (const ending of ["ok", "stream", "large body"] as const) {
        const { answer, old } = yield* exchange(client, store, "write", ending, "HEAD")
        assert.strictEqual(answer.status, 200)
        assert.strictEqual(answer.body, "")
        assert.strictEqual(answer.header("vary"), "Cookie")
        assert.strictEqual(old.n, 2)
        const login = yield* exchange(client, store, "login", ending, "HEAD")
        assert.strictEqual(login.renewed?.subject, "ada")
      }
    }))

  it.effect.each(all)(
    "no header leaves before the commit, so a failed one is an error: %s",
    (ending) =>
      Effect.gen(function*() {
        const store = yield* App.makeStore()
        const client = yield* serve(App.withSession(routes, store))
        for (const operation of ["write", "login", "renew", "logout"] as const) {
          const headers = { cookie: `session=${App.tokenOf(yield* client.send("POST", "/inc"))}` }
          const before = yield* client.send("GET", "/me", { headers })
          store.calls.length = 0
          store.before = (method) => method === "load" ? Effect.void : App.down
          const answer = yield* client.send("POST", path(operation, ending), { headers })
          store.before = () => Effect.void
          const commits = store.calls.length > 1
          assert.strictEqual(
            commits,
            ending === "interruption"
              ? operation === "logout"
              : operation !== "write" || stored.success.includes(ending as never),
            operation
          )
          if (commits) {
            assert.strictEqual(answer.status, 503)
            assert.strictEqual(answer.header("retry-after"), "1")
            assert.strictEqual(answer.header("cache-control"), "no-store")
            assert.strictEqual(answer.body, "")
          }
          assert.isUndefined(answer.setCookies[0])
          assert.strictEqual((yield* client.send("GET", "/me", { headers })).body, before.body)
        }
      })
  )

  it.effect("what is written before a stream starts is stored before its first byte", () =>
    Effect.gen(function*() {
      const store = yield* App.makeStore()
      const events: Array<string> = []
      store.after = (method) => Effect.sync(() => void events.push(method))
      const body = Stream.fromEffect(Effect.sync(() => {
        events.push("first byte")
        return new Uint8Array([111])
      }))
      const streaming = HttpRouter.add("POST", "/", Effect.as(App.increment, HttpServerResponse.stream(body)))
      const client = yield* serve(App.withSession(streaming, store))
      const answer = yield* client.send("POST", "/")
      assert.strictEqual(answer.body, "o")
      assert.strictEqual(answer.setCookies.length, 1)
      assert.deepStrictEqual(events, ["create", "first byte"])
    }))

  it.effect("what is written while a body is streamed comes too late, and is told so", () =>
    Effect.gen(function*() {
      const store = yield* App.makeStore()
      const streaming = HttpRouter.add(
        "POST",
        "/late",
        Effect.gen(function*() {
          const session = yield* UserSession
          const parameters = yield* App.query
          if (parameters.has("read")) yield* session.get
          const late = {
            write: Effect.asVoid(session.update((data) => ({ ...data, n: 100 }))),
            login: Effect.asVoid(session.login("eve")),
            renew: session.renew,
            logout: session.destroy,
            commit: session.commit
          }[parameters.get("do") ?? "write"]!
          const told = Effect.match(late, { onFailure: ({ reason }) => reason._tag, onSuccess: () => "stored" })
          return HttpServerResponse.stream(Stream.encodeText(Stream.fromEffect(told)))
        })
      )
      const client = yield* serve(App.withSession(Layer.mergeAll(App.routes, streaming), store))
      const headers = { cookie: `session=${App.tokenOf(yield* client.send("POST", "/inc"))}` }
      for (const read of ["read", "unread"]) {
        for (const what of ["write", "login", "renew", "logout", "commit"]) {
          store.calls.length = 0
          const answer = yield* client.send("POST", `/late?do=${what}&${read}`, { headers })
          assert.strictEqual(answer.status, 200)
          assert.strictEqual(answer.body, "Finished", `${what} ${read}`)
          assert.deepStrictEqual(answer.setCookies, [])
          assert.strictEqual(answer.header("vary"), read === "read" ? "Cookie" : undefined)
          assert.deepStrictEqual(store.calls, ["load" as const].slice(0, read === "read" ? 1 : 0))
        }
      }
      assert.deepStrictEqual((yield* client.send("POST", "/late")).setCookies, [])
      assert.strictEqual(App.shown(yield* client.send("GET", "/me", { headers })).n, 1)
      assert.strictEqual((yield* store.keys).length, 1)
    }))

  it.effect("an unknown path is a 404, with the global middleware too", () =>
    Effect.gen(function*() {
      const store = yield* App.makeStore()
      const client = yield* serve(App.withGlobalSession(App.routes, store))
      const headers = { cookie: `session=${App.tokenOf(yield* client.send("POST", "/inc"))}` }
      store.calls.length = 0
      const answer = yield* client.send("GET", "/nowhere", { headers })
      assert.strictEqual(answer.status, 404)
      assert.isUndefined(answer.header("vary"))
      assert.deepStrictEqual(answer.setCookies, [])
      assert.deepStrictEqual(store.calls, [])
    }))

  it.effect("when the client leaves, data, sign-in and renewal are discarded, and the end stands", () =>
    Effect.gen(function*() {
      const store = yield* App.makeStore()
      for (const cleanUp of [Effect.void, Effect.die(new Error("clean-up"))]) {
        const inside = yield* Deferred.make<void>()
        const over = yield* Deferred.make<void>()
        let arrived = inside
        let closed = over
        const waiting = HttpRouter.add(
          "POST",
          "/wait",
          Effect.gen(function*() {
            yield* Effect.addFinalizer(() => Deferred.succeed(closed, undefined))
            yield* operations[(yield* App.query).get("do") as Operation]
            yield* Deferred.succeed(arrived, undefined)
            return yield* Effect.ensuring(Effect.never, cleanUp)
          })
        )
        const client = yield* serve(App.withSession(Layer.mergeAll(App.routes, waiting), store))
        for (const operation of ["write", "login", "renew", "logout"] as const) {
          arrived = yield* Deferred.make<void>()
          closed = yield* Deferred.make<void>()
          const headers = { cookie: `session=${App.tokenOf(yield* client.send("POST", "/inc"))}` }
          const fiber = yield* Effect.forkChild(client.send("POST", `/wait?do=${operation}`, { headers }))
          yield* Deferred.await(arrived)
          yield* Fiber.interrupt(fiber)
          yield* Deferred.await(closed)
          const after = App.shown(yield* client.send("GET", "/me", { headers }))
          assert.deepStrictEqual(
            after,
            operation === "logout"
              ? { status: "anonymous", subject: null, n: 0, note: "" }
              : { status: "active", subject: null, n: 1, note: "" },
            operation
          )
        }
      }
    }))

  it.effect("a commit that is under way when the client leaves is carried out", () =>
    Effect.gen(function*() {
      const store = yield* App.makeStore()
      const client = yield* serve(App.withSession(App.routes, store))
      const headers = { cookie: `session=${App.tokenOf(yield* client.send("POST", "/inc"))}` }
      const saving = yield* Deferred.make<void>()
      const gate = yield* Deferred.make<void>()
      const saved = yield* Deferred.make<void>()
      store.before = (method) =>
        method === "save" ? Effect.andThen(Deferred.succeed(saving, undefined), Deferred.await(gate)) : Effect.void
      store.after = (method) => method === "save" ? Effect.asVoid(Deferred.succeed(saved, undefined)) : Effect.void
      const fiber = yield* Effect.forkChild(client.send("POST", "/inc", { headers }))
      yield* Deferred.await(saving)
      assert.isUndefined(fiber.pollUnsafe())
      yield* Fiber.interrupt(fiber)
      yield* Deferred.succeed(gate, undefined)
      yield* Deferred.await(saved)
      store.before = () => Effect.void
      assert.strictEqual(App.shown(yield* client.send("GET", "/me", { headers })).n, 2)
    }))
})
