import { type SessionError, SessionStore } from "@effect-session/core"
import { assert, describe, it } from "@effect/vitest"
import { Deferred, Effect, Fiber } from "effect"
import * as Adapters from "./AdapterApp.ts"
import * as App from "./SessionApp.ts"

const { increment, show } = Adapters

const unavailable = (retryAfter?: number) =>
  Effect.fail(
    new SessionStore.SessionStoreError({
      reason: new SessionStore.StoreUnavailable({ description: "refused by 10.0.0.1:6379", retryAfter })
    })
  )

// A turn of the event loop, as if the store were on another machine.
const turn = Effect.promise(() => new Promise<void>((resolve) => setImmediate(resolve)))

const distances = { "a store in memory": Effect.void, "a store far away": turn } as const

const cases = Object.entries(Adapters.servers).flatMap(([name, serve]) =>
  Object.entries(distances).map(([distance, pause]) => ({ name: `${name}, ${distance}`, serve, pause }))
)

const cookie = (token: string | undefined) => ({ headers: { cookie: `session=${token}` } })

// Operations on the session, with the ways in which a handler can go on.
const operations: Record<string, (session: Adapters.Session) => Promise<unknown>> = {
  write: increment,
  login: (session) => session.login("ada"),
  renew: (session) => session.renew(),
  logout: (session) => session.destroy()
}

const endings: Record<string, () => Adapters.Answer> = {
  ok: () => ({ body: "done" }),
  "empty 204": () => ({ status: 204 }),
  "not modified": () => ({ status: 304 }),
  redirect: () => ({ status: 302, headers: { location: "/me" } }),
  "returned 500": () => ({ status: 500, body: "no" }),
  "large body": () => ({ body: "0123456789".repeat(100_000) })
}

const more: Adapters.Routes = {
  ...Adapters.routes,
  "/do": async (session, query) => {
    await operations[query.get("do") ?? ""](session)
    if (query.has("fail")) throw new Error("boom")
    return endings[query.get("end") ?? "ok"]()
  },
  "/elevate": async (session) => {
    await session.elevate("1 minute")
    return { status: 204 }
  },
  "/floating": async (session) => {
    void increment(session)
    return { body: "done" }
  },
  "/committed": async (session) => {
    await session.login("ada")
    await session.commit()
    await increment(session)
    return { body: "done" }
  },
  "/dressed": async (session) => {
    await increment(session)
    return {
      body: "<p>",
      headers: {
        "content-type": "text/html",
        etag: "\"1\"",
        vary: "Accept-Encoding",
        "cache-control": "max-age=60",
        "set-cookie": "theme=dark"
      }
    }
  },
  "/late": async (session, query) => {
    if (query.has("read")) await session.get()
    const parts = async function*() {
      yield "begun "
      yield await operations[query.get("do") ?? ""](session).then(
        () => "stored",
        (error: SessionError.SessionError) => error.reason._tag
      )
    }
    return { stream: parts() }
  }
}

describe.each(cases)("Adapters, $name", ({ pause, serve }) => {
  const setUp = Effect.fnUntraced(function*(options?: Adapters.Options, routes: Adapters.Routes = more) {
    const store = yield* App.makeStore()
    const up = () => pause
    const fail = (method: App.Method, error = unavailable()) => {
      store.before = (called) => called === method ? Effect.andThen(pause, error) : pause
    }
    const heal = () => {
      store.before = up
    }
    heal()
    const client = yield* serve(routes, store, options)
    return { store, client, fail, heal }
  })

  it.effect("a request that does not use its session costs nothing and says nothing", () =>
    Effect.gen(function*() {
      const { client, store } = yield* setUp()
      for (const options of [{}, cookie("x".repeat(47))]) {
        const answer = yield* client.send("GET", "/plain", options)
        assert.deepStrictEqual([answer.status, answer.body], [200, "plain"])
        assert.deepStrictEqual([answer.header("vary"), answer.header("cache-control")], [undefined, undefined])
        assert.deepStrictEqual(answer.setCookies, [])
      }
      assert.deepStrictEqual(store.calls, [])
    }))

  it.effect("one cookie when a session begins, none while it is the same, one that deletes it at its end", () =>
    Effect.gen(function*() {
      const { client, store } = yield* setUp()
      const stranger = yield* client.send("GET", "/me")
      assert.deepStrictEqual([stranger.setCookies, stranger.header("vary")], [[], "Cookie"])
      const first = yield* client.send("POST", "/inc")
      const token = App.tokenOf(first)
      assert.strictEqual(token?.length, 47)
      assert.deepStrictEqual(first.setCookies, [`session=${token}; Path=/; HttpOnly; SameSite=Lax`])
      assert.deepStrictEqual([first.header("vary"), first.header("cache-control")], ["Cookie", "no-store"])
      const second = yield* client.send("POST", "/inc", cookie(token))
      assert.deepStrictEqual(second.setCookies, [])
      assert.deepStrictEqual(App.shown(second), { status: "active", subject: null, n: 2, note: "" })
      const login = yield* client.send("POST", "/login", cookie(token))
      assert.notStrictEqual(App.tokenOf(login), token)
      assert.strictEqual(App.shown(yield* client.send("GET", "/me", cookie(token))).status, "anonymous")
      const logout = yield* client.send("POST", "/logout", cookie(App.tokenOf(login)))
      assert.deepStrictEqual([logout.status, App.tokenOf(logout)], [204, ""])
      assert.deepStrictEqual(yield* store.keys, [])
    }))

  it.effect("100 parallel updates all count", () =>
    Effect.gen(function*() {
      const { client } = yield* setUp({ config: { preset: "testing", conflictRetries: 100 } })
      const options = cookie(App.tokenOf(yield* client.send("POST", "/note?text=x")))
      const answers = yield* Effect.all(Array.from({ length: 100 }, () => client.send("POST", "/inc", options)), {
        concurrency: "unbounded"
      })
      for (const { setCookies, status } of answers) assert.deepStrictEqual([status, setCookies], [200, []])
      assert.strictEqual(App.shown(yield* client.send("GET", "/me", options)).n, 100)
    }))

  it.effect("a slow request cannot bring back a session that was signed out meanwhile", () =>
    Effect.gen(function*() {
      let arrived = () => {}
      let gate = Promise.resolve()
      const { client, store } = yield* setUp({}, {
        ...more,
        "/slow": async (session, query) => {
          await session.get()
          arrived()
          await gate
          await operations[query.get("do") ?? ""](session)
          return { body: "done" }
        }
      })
      for (const what of ["write", "renew"]) {
        const options = cookie(App.tokenOf(yield* client.send("POST", "/login")))
        const inside = yield* Deferred.make<void>()
        let open = () => {}
        gate = new Promise((resolve) => (open = resolve))
        arrived = () => Deferred.doneUnsafe(inside, Effect.void)
        const fiber = yield* Effect.forkChild(client.send("POST", `/slow?do=${what}`, options))
        yield* Deferred.await(inside)
        assert.strictEqual((yield* client.send("POST", "/logout", options)).status, 204)
        open()
        const answer = yield* Fiber.join(fiber)
        assert.deepStrictEqual([answer.status, answer.body, answer.setCookies], [409, "", []])
        assert.deepStrictEqual(yield* store.keys, [])
      }
    }))

  it.effect.each(Object.keys(endings))(
    "a handler that succeeds stores everything: %s",
    (ending) =>
      Effect.gen(function*() {
        const { client } = yield* setUp()
        const { body = "", headers, status = 200 } = endings[ending]()
        for (const method of ["POST", "HEAD"]) {
          for (const operation of Object.keys(operations)) {
            const options = cookie(App.tokenOf(yield* client.send("POST", "/inc")))
            const answer = yield* client.send(method, `/do?do=${operation}&end=${encodeURIComponent(ending)}`, options)
            assert.deepStrictEqual([answer.status, answer.body], [status, method === "HEAD" ? "" : body])
            if (headers !== undefined) assert.strictEqual(answer.header("location"), "/me")
            assert.strictEqual(answer.header("vary"), "Cookie")
            const old = App.shown(yield* client.send("GET", "/me", options))
            if (operation === "write") {
              assert.deepStrictEqual([answer.setCookies, old.n], [[], 2])
              continue
            }
            assert.strictEqual(answer.setCookies.length, 1)
            assert.strictEqual(old.status, "anonymous")
            const next = App.shown(yield* client.send("GET", "/me", cookie(App.tokenOf(answer))))
            assert.strictEqual(next.subject, operation === "login" ? "ada" : null)
            assert.strictEqual(next.n, operation === "renew" ? 1 : 0)
          }
        }
      })
  )

  it.effect("a handler that fails keeps the end, the new id and the sign-in only", () =>
    Effect.gen(function*() {
      const { client } = yield* setUp()
      for (const operation of Object.keys(operations)) {
        const options = cookie(App.tokenOf(yield* client.send("POST", "/inc")))
        const answer = yield* client.send("POST", `/do?do=${operation}&fail`, options)
        assert.strictEqual(answer.status, 500)
        const old = App.shown(yield* client.send("GET", "/me", options))
        if (operation === "write") {
          assert.deepStrictEqual([answer.setCookies, old.n], [[], 1])
          continue
        }
        // A fetch handler that is rejected has no response to set a cookie on.
        if (client.port === undefined && operation !== "logout") {
          assert.deepStrictEqual([answer.setCookies, old.status, old.subject, old.n], [[], "active", null, 1])
          continue
        }
        assert.strictEqual(old.status, "anonymous")
        if (client.port === undefined) continue
        assert.strictEqual(answer.setCookies.length, 1)
        const next = App.shown(yield* client.send("GET", "/me", cookie(App.tokenOf(answer))))
        assert.strictEqual(next.subject, operation === "login" ? "ada" : null)
      }
    }))

  it.effect("an outage is a 503 that keeps the cookie, whatever the handler has prepared", () =>
    Effect.gen(function*() {
      for (
        const [method, path, retryAfter, sent] of [
          ["load", "/inc", undefined, "1"],
          ["save", "/inc", 2500, "3"],
          ["save", "/dressed", undefined, "1"],
          ["renew", "/login", 400, "1"],
          ["destroy", "/logout", 60_000, "60"]
        ] as const
      ) {
        const { client, fail, heal } = yield* setUp()
        const options = cookie(App.tokenOf(yield* client.send("POST", "/note?text=private")))
        fail(method, unavailable(retryAfter))
        const answer = yield* client.send("POST", path, options)
        assert.deepStrictEqual([answer.status, answer.body, answer.setCookies], [503, "", []])
        assert.strictEqual(answer.header("retry-after"), sent)
        assert.strictEqual(answer.header("cache-control"), "no-store")
        assert.strictEqual(answer.header("vary"), "Cookie")
        for (const name of ["etag", "content-type"]) assert.isUndefined(answer.header(name))
        for (const secret of ["10.0.0.1", "private"]) assert.notInclude(JSON.stringify(answer), secret)
        heal()
        assert.strictEqual(App.shown(yield* client.send("GET", "/me", options)).note, "private")
      }
      const { client, fail } = yield* setUp()
      fail("create")
      const answer = yield* client.send("POST", "/inc")
      assert.deepStrictEqual([answer.status, answer.setCookies], [503, []])
    }))

  it.effect("no client loses its session in an outage", () =>
    Effect.gen(function*() {
      const { client, heal, store } = yield* setUp()
      const users = Array.from({ length: 20 }, (_, i) => ({ name: `user-${i}`, browser: App.browser(client) }))
      const each = <A>(f: (user: typeof users[number]) => Effect.Effect<A>) =>
        Effect.forEach(users, f, { concurrency: "unbounded" })
      yield* each(({ browser, name }) => browser.send("POST", `/login?as=${name}`))
      store.before = () => App.down
      for (const path of ["/me", "/inc", "/login", "/logout"]) {
        for (const answer of yield* each(({ browser }) => browser.send("POST", path))) {
          assert.deepStrictEqual([answer.status, answer.setCookies], [503, []])
        }
      }
      heal()
      const after = yield* each(({ browser }) => browser.send("GET", "/me"))
      assert.deepStrictEqual(after.map((answer) => App.shown(answer).subject), users.map(({ name }) => name))
    }))

  it.effect("session errors that nobody handles are answered: 401, 413, 403", () =>
    Effect.gen(function*() {
      const config = { preset: "testing", maxPayload: 200, maxSessions: 1, onLimit: "refuse" } as const
      const { client } = yield* setUp({ config })
      const options = cookie(App.tokenOf(yield* client.send("POST", "/note?text=kept")))
      yield* client.send("POST", "/login?as=ada")
      for (
        const [path, status] of [["/elevate", 401], [`/note?text=${"x".repeat(300)}`, 413], ["/login?as=ada", 403]]
      ) {
        const answer = yield* client.send("POST", String(path), options)
        assert.deepStrictEqual([answer.status, answer.body, answer.setCookies], [Number(status), "", []])
        assert.strictEqual(answer.header("cache-control"), "no-store")
      }
      assert.strictEqual(App.shown(yield* client.send("GET", "/me", options)).note, "kept")
    }))

  it.effect("the application may answer session errors itself", () =>
    Effect.gen(function*() {
      const onError = ({ reason }: SessionError.SessionError) => {
        if (reason._tag === "TooLarge") throw new Error("a bug in the handler of errors")
        return { status: 599, body: "try later", headers: { "x-a": "b" } }
      }
      const { client, fail, heal } = yield* setUp({ onError, config: { preset: "testing", maxPayload: 200 } })
      const options = cookie(App.tokenOf(yield* client.send("POST", "/inc")))
      for (const method of ["load", "save"] as const) {
        fail(method)
        const answer = yield* client.send("POST", "/inc", options)
        assert.deepStrictEqual([answer.status, answer.body, answer.header("x-a")], [599, "try later", "b"])
      }
      heal()
      const answer = yield* client.send("POST", `/note?text=${"x".repeat(300)}`, options)
      assert.deepStrictEqual([answer.status, answer.body, answer.setCookies], [500, "", []])
    }))

  it.effect("a token that an explicit commit has issued is delivered with whatever follows", () =>
    Effect.gen(function*() {
      const { client, fail, heal } = yield* setUp()
      fail("save")
      const answer = yield* client.send("POST", "/committed")
      heal()
      assert.deepStrictEqual([answer.status, answer.setCookies.length], [503, 1])
      const me = yield* client.send("GET", "/me", cookie(App.tokenOf(answer)))
      assert.deepStrictEqual([App.shown(me).subject, App.shown(me).n], ["ada", 0])
    }))

  it.effect("a write that nobody waited for belongs to the request", () =>
    Effect.gen(function*() {
      const { client, fail } = yield* setUp()
      const options = cookie(App.tokenOf(yield* client.send("POST", "/inc")))
      const answer = yield* client.send("POST", "/floating", options)
      assert.deepStrictEqual([answer.status, answer.body], [200, "done"])
      assert.strictEqual(App.shown(yield* client.send("GET", "/me", options)).n, 2)
      fail("save")
      assert.strictEqual((yield* client.send("POST", "/floating", options)).status, 503)
    }))

  it.effect("headers of the handler stay, but for what the session has to say", () =>
    Effect.gen(function*() {
      const { client } = yield* setUp()
      const answer = yield* client.send("POST", "/dressed")
      assert.strictEqual(answer.header("vary"), "Accept-Encoding, Cookie")
      assert.strictEqual(answer.header("cache-control"), "no-store")
      assert.match(answer.header("content-type") ?? "", /^text\/html/)
      assert.strictEqual(answer.header("etag"), "\"1\"")
      assert.deepStrictEqual(answer.setCookies.map((line) => line.split("=")[0]), ["theme", "session"])
      const options = cookie(App.tokenOf(answer))
      const second = yield* client.send("POST", "/dressed", options)
      assert.strictEqual(second.header("cache-control"), "max-age=60")
      assert.deepStrictEqual(second.setCookies, ["theme=dark"])
    }))

  it.effect("two cookies of the name are none to trust", () =>
    Effect.gen(function*() {
      const { client, store } = yield* setUp()
      const ada = App.tokenOf(yield* client.send("POST", "/login?as=ada"))
      const eve = App.tokenOf(yield* client.send("POST", "/login?as=eve"))
      store.calls.length = 0
      for (const [a, b] of [[ada, eve], [eve, ada], [ada, ada], [ada, "x"], ["", ada]]) {
        const headers = { cookie: `theme=dark; session=${a}; session=${b}` }
        const answer = yield* client.send("GET", "/me", { headers })
        assert.deepStrictEqual(App.shown(answer), { status: "invalid", subject: null, n: 0, note: "" })
        assert.deepStrictEqual(answer.setCookies, [])
      }
      assert.deepStrictEqual(store.calls, [])
    }))

  it.effect("what cannot be a token never reaches the store", () =>
    Effect.gen(function*() {
      const { client, store } = yield* setUp()
      const token = App.tokenOf(yield* client.send("POST", "/login")) ?? ""
      store.calls.length = 0
      const hostile = [
        "",
        "\"\"",
        "../../etc/passwd",
        "__proto__",
        "%00",
        `"${token}"`,
        `${token}=`,
        encodeURIComponent(`${token}\0`),
        token + token,
        `\xa0${token}`,
        `${token}\xa0`,
        "A".repeat(10_000)
      ]
      for (const value of hostile) {
        const answer = yield* client.send("GET", "/me", cookie(value))
        assert.strictEqual(answer.status, 200, value)
        assert.strictEqual(App.shown(answer).subject, null, value)
        assert.notStrictEqual(App.shown(answer).status, "active", value)
        assert.deepStrictEqual(answer.setCookies, [], value)
      }
      assert.deepStrictEqual(store.calls, [])
    }))

  it.effect("what is written before a stream begins is stored before its first byte", () =>
    Effect.gen(function*() {
      const events: Array<string> = []
      const { client, store } = yield* setUp({}, {
        "/stream": async (session) => {
          await increment(session)
          const parts = async function*() {
            events.push("first part")
            yield "o"
            yield "k"
          }
          return { stream: parts() }
        },
        "/me": show
      })
      store.after = (method) => Effect.sync(() => void events.push(method))
      const answer = yield* client.send("POST", "/stream")
      assert.deepStrictEqual([answer.body, answer.setCookies.length], ["ok", 1])
      assert.strictEqual(App.shown(yield* client.send("GET", "/me", cookie(App.tokenOf(answer)))).n, 1)
      assert.deepStrictEqual(events.toSorted(), ["create", "first part", "load"])
    }))

  it.effect("what is written while a body is streamed comes too late, and is told so", () =>
    Effect.gen(function*() {
      const { client, store } = yield* setUp()
      const options = cookie(App.tokenOf(yield* client.send("POST", "/inc")))
      for (const what of Object.keys(operations)) {
        const answer = yield* client.send("POST", `/late?do=${what}&read`, options)
        assert.deepStrictEqual([answer.status, answer.body, answer.setCookies], [200, "begun Finished", []], what)
        assert.strictEqual(answer.header("vary"), "Cookie")
      }
      assert.strictEqual(App.shown(yield* client.send("GET", "/me", options)).n, 1)
      assert.strictEqual((yield* store.keys).length, 1)
    }))
})
